"""What the playground refuses, as Discord does: status, code, and the path of each mistake."""

from __future__ import annotations

from typing import Any

import pytest

from playground import Permission, Playground
from playground.clock import DISCORD_EPOCH_MS
from playground.model import MessageFlag
from tests.playground.conftest import Raw, mistakes

V2 = int(MessageFlag.COMPONENTS_V2)


def button(custom_id: str = "a", **more: Any) -> dict[str, Any]:
    return {"type": 2, "style": 1, "label": "Aceptar", "custom_id": custom_id} | more


def row(*inside: dict[str, Any]) -> dict[str, Any]:
    return {"type": 1, "components": list(inside)}


def select(count: int = 1, **more: Any) -> dict[str, Any]:
    listed = [{"label": f"L{number}", "value": f"v{number}"} for number in range(count)]
    return {"type": 3, "custom_id": "s", "options": listed} | more


def text(content: str = "hola") -> dict[str, Any]:
    return {"type": 10, "content": content}


def container(*inside: dict[str, Any]) -> dict[str, Any]:
    return {"type": 17, "components": list(inside)}


GOOD_MESSAGES: dict[str, dict[str, Any]] = {
    "text": {"content": "hola"},
    "2000 characters": {"content": "x" * 2000},
    "an embed": {"embeds": [{"title": "t", "description": "d", "fields": [{"name": "n", "value": "v"}]}]},
    "five rows of five buttons": {
        "content": "x",
        "components": [row(*(button(f"{i}{j}") for j in range(5))) for i in range(5)],
    },
    "25 options": {"content": "x", "components": [row(select(25, max_values=25))]},
    "a link": {"content": "x", "components": [row({"type": 2, "style": 5, "label": "Ver", "url": "https://a.es"})]},
    "40 components": {"flags": V2, "components": [container(*(text() for _ in range(39)))]},
    "4000 characters of text": {"flags": V2, "components": [text("x" * 4000)]},
    "every kind of layout": {
        "flags": V2,
        "components": [
            {"type": 9, "components": [text()], "accessory": button()},
            {"type": 9, "components": [text()], "accessory": {"type": 11, "media": {"url": "https://a.es/x.png"}}},
            {"type": 12, "items": [{"media": {"url": "https://a.es/x.png"}}]},
            {"type": 14, "divider": True, "spacing": 2},
            container(text(), row(select(2))),
        ],
    },
}

BAD_MESSAGES: dict[str, tuple[dict[str, Any], str, str]] = {
    "2001 characters": ({"content": "x" * 2001}, "content", "BASE_TYPE_MAX_LENGTH"),
    "content that is no text": ({"content": 7}, "content", "STRING_TYPE_CONVERT"),
    "an unknown field": ({"content": "x", "colour": 1}, "colour", "UNKNOWN_FIELD"),
    "a nonce of 26": ({"content": "x", "nonce": "n" * 26}, "nonce", "BASE_TYPE_MAX_LENGTH"),
    "an embed title of 257": ({"embeds": [{"title": "x" * 257}]}, "embeds.0.title", "BASE_TYPE_MAX_LENGTH"),
    "embeds of 6001": (
        {"embeds": [{"description": "x" * 4000}, {"description": "x" * 2001}]},
        "embeds",
        "MAX_EMBED_SIZE_EXCEEDED",
    ),
    "11 embeds": ({"embeds": [{"title": "x"}] * 11}, "embeds", "BASE_TYPE_MAX_LENGTH"),
    "26 fields": (
        {"embeds": [{"fields": [{"name": "n", "value": "v"}] * 26}]},
        "embeds.0.fields",
        "BASE_TYPE_MAX_LENGTH",
    ),
    "six rows": (
        {"content": "x", "components": [row(button(str(i))) for i in range(6)]},
        "components",
        "BASE_TYPE_BAD_LENGTH",
    ),
    "six buttons in a row": (
        {"content": "x", "components": [row(*(button(str(i)) for i in range(6)))]},
        "components.0.components",
        "BASE_TYPE_BAD_LENGTH",
    ),
    "a button outside a row": ({"content": "x", "components": [button()]}, "components.0.type", "BASE_TYPE_CHOICES"),
    "a custom_id of 101": (
        {"content": "x", "components": [row(button("x" * 101))]},
        "components.0.components.0.custom_id",
        "BASE_TYPE_BAD_LENGTH",
    ),
    "a button without custom_id": (
        {"content": "x", "components": [row({"type": 2, "style": 1, "label": "a"})]},
        "components.0.components.0.custom_id",
        "BASE_TYPE_REQUIRED",
    ),
    "a button without words": (
        {"content": "x", "components": [row({"type": 2, "style": 1, "custom_id": "a"})]},
        "components.0.components.0",
        "BUTTON_COMPONENT_INVALID_LABEL",
    ),
    "a button label of 81": (
        {"content": "x", "components": [row(button(label="x" * 81))]},
        "components.0.components.0.label",
        "BASE_TYPE_BAD_LENGTH",
    ),
    "a link with custom_id": (
        {"content": "x", "components": [row(button(style=5, url="https://a.es"))]},
        "components.0.components.0",
        "BUTTON_COMPONENT_CUSTOM_ID_URL_CONFLICT",
    ),
    "the same custom_id twice": (
        {"content": "x", "components": [row(button("a"), button("a"))]},
        "components.0.components.1.custom_id",
        "COMPONENT_CUSTOM_ID_DUPLICATED",
    ),
    "26 options": (
        {"content": "x", "components": [row(select(26))]},
        "components.0.components.0.options",
        "BASE_TYPE_BAD_LENGTH",
    ),
    "more values than options": (
        {"content": "x", "components": [row(select(2, max_values=3))]},
        "components.0.components.0.max_values",
        "SELECT_COMPONENT_MAX_VALUES_EXCEEDED",
    ),
    "an option label of 101": (
        {"content": "x", "components": [row(select(0, options=[{"label": "x" * 101, "value": "v"}]))]},
        "components.0.components.0.options.0.label",
        "BASE_TYPE_BAD_LENGTH",
    ),
    "the same option value twice": (
        {"content": "x", "components": [row(select(0, options=[{"label": "a", "value": "v"}] * 2))]},
        "components.0.components.0.options.1.value",
        "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED",
    ),
    "a list beside a button": (
        {"content": "x", "components": [row(select(1), button())]},
        "components.0.components",
        "BASE_TYPE_BAD_LENGTH",
    ),
    "an unknown field of a button": (
        {"content": "x", "components": [row(button(colour=3))]},
        "components.0.components.0.colour",
        "UNKNOWN_FIELD",
    ),
    "layout without the flag": ({"content": "x", "components": [text()]}, "components.0.type", "BASE_TYPE_CHOICES"),
    "41 components": (
        {"flags": V2, "components": [container(*(text() for _ in range(40)))]},
        "components",
        "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED",
    ),
    "4001 characters in two texts": (
        {"flags": V2, "components": [text("x" * 4000), text("y")]},
        "components",
        "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED",
    ),
    "an empty text": ({"flags": V2, "components": [text("")]}, "components.0.content", "BASE_TYPE_BAD_LENGTH"),
    "content with Components V2": (
        {"flags": V2, "content": "x", "components": [text()]},
        "content",
        "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2",
    ),
    "Components V2 without components": ({"flags": V2}, "components", "BASE_TYPE_REQUIRED"),
    "an empty container": (
        {"flags": V2, "components": [container()]},
        "components.0.components",
        "BASE_TYPE_BAD_LENGTH",
    ),
    "a container in a container": (
        {"flags": V2, "components": [container(container(text()))]},
        "components.0.components.0.type",
        "BASE_TYPE_CHOICES",
    ),
    "a section without accessory": (
        {"flags": V2, "components": [{"type": 9, "components": [text()]}]},
        "components.0.accessory",
        "BASE_TYPE_REQUIRED",
    ),
    "a section of four texts": (
        {"flags": V2, "components": [{"type": 9, "components": [text()] * 4, "accessory": button()}]},
        "components.0.components",
        "BASE_TYPE_BAD_LENGTH",
    ),
    "11 pictures": (
        {"flags": V2, "components": [{"type": 12, "items": [{"media": {"url": "https://a.es"}}] * 11}]},
        "components.0.items",
        "BASE_TYPE_BAD_LENGTH",
    ),
    "a picture that was not sent": (
        {"flags": V2, "components": [{"type": 12, "items": [{"media": {"url": "attachment://x.png"}}]}]},
        "components.0",
        "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND",
    ),
    "a reply to nothing": (
        {"content": "x", "message_reference": {"message_id": "5"}},
        "message_reference",
        "MESSAGE_REFERENCE_UNKNOWN_MESSAGE",
    ),
    "mentions given twice": (
        {"content": "x", "allowed_mentions": {"parse": ["users"], "users": ["1"]}},
        "allowed_mentions",
        "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE",
    ),
    "a file that is not there": (
        {"content": "x", "attachments": [{"id": 0, "filename": "a"}]},
        "attachments.0.id",
        "ATTACHMENT_NOT_FOUND",
    ),
}


@pytest.mark.parametrize("name", GOOD_MESSAGES)
async def test_a_good_message_is_accepted(name: str, place: Playground, raw: Raw) -> None:
    status, answer = await raw.send(place.channel("general").id, **GOOD_MESSAGES[name])
    assert (status, answer.get("errors")) == (200, None)


@pytest.mark.parametrize("name", BAD_MESSAGES)
async def test_a_malformed_message_is_refused_with_the_path_of_the_mistake(
    name: str, place: Playground, raw: Raw
) -> None:
    body, path, code = BAD_MESSAGES[name]
    status, answer = await raw.send(place.channel("general").id, **body)
    assert (status, answer["code"]) == (400, 50035)
    assert mistakes(answer).get(path) == code, mistakes(answer)
    place.rest.unhandled.clear()  # unknown fields are recorded there, which the next test looks at


async def test_what_is_outside_the_contract_is_recorded(place: Playground, raw: Raw) -> None:
    channel = place.channel("general").id
    assert (await raw("GET", "/stage-instances/5"))[0] == 404
    assert (await raw("PUT", f"/channels/{channel}/messages", {}))[0] == 405
    await raw.send(channel, content="x", poll_vote=1)
    assert [one["reason"] for one in place.unhandled] == ["no such route", "no such route", "unknown field"]
    place.rest.unhandled.clear()


async def test_all_mistakes_are_told_at_once(place: Playground, raw: Raw) -> None:
    _status, answer = await raw.send(place.channel("general").id, content="x" * 2001, embeds=[{"title": "x" * 300}])
    assert set(mistakes(answer)) == {"content", "embeds.0.title"}


async def test_an_empty_message_is_refused(place: Playground, raw: Raw) -> None:
    status, answer = await raw.send(place.channel("general").id, content="  \n")
    assert (status, answer["code"]) == (400, 50006)


async def test_a_request_needs_the_token(place: Playground, raw: Raw) -> None:
    status, answer = await raw("GET", "/users/@me", headers={"Authorization": "Bot other"})
    assert (status, answer) == (401, {"message": "401: Unauthorized", "code": 0})


async def test_a_body_that_is_no_json_is_refused(place: Playground, raw: Raw) -> None:
    path = f"/channels/{place.channel('general').id}/messages"
    async with raw.session.post(
        place.api_url + path,
        data=b"{",
        headers={"Authorization": f"Bot {place.token}", "Content-Type": "application/json"},
    ) as answer:
        assert (answer.status, (await answer.json())["code"]) == (400, 50109)


UNKNOWN = [
    ("GET", "/channels/5", 404, 10003),
    ("GET", "/channels/{channel}/messages/5", 404, 10008),
    ("PATCH", "/channels/{channel}/messages/5", 404, 10008),
    ("DELETE", "/channels/{channel}/messages/5", 404, 10008),
    ("PUT", "/channels/{channel}/messages/5/reactions/👍/@me", 404, 10008),
    ("GET", "/guilds/5", 404, 10004),
    ("GET", "/guilds/{guild}/members/5", 404, 10013),
    ("GET", "/guilds/{guild}/members/{stranger}", 404, 10007),
    ("GET", "/users/5", 404, 10013),
    ("GET", "/channels/abc", 400, 50035),
    ("PUT", "/applications/5/commands", 404, 10002),
    ("POST", "/webhooks/{bot}/nothing", 404, 10015),
    ("POST", "/interactions/5/nothing/callback", 404, 10062),
    ("PUT", "/channels/{channel}/thread-members/{stranger}", 400, 50024),
]


@pytest.mark.parametrize(("method", "path", "status", "code"), UNKNOWN)
async def test_what_does_not_exist_is_refused_by_name(
    method: str, path: str, status: int, code: int, place: Playground, raw: Raw
) -> None:
    stranger = place.world.add_user("Forastera")
    guild = next(iter(place.world.guilds))
    where = path.format(channel=place.channel("general").id, guild=guild, stranger=stranger.id, bot=place.world.bot.id)
    assert (await raw(method, where, {} if method in ("POST", "PATCH", "PUT") else None))[0] == status
    assert (await raw(method, where, {} if method in ("POST", "PATCH", "PUT") else None))[1]["code"] == code


def forbid(place: Playground, permission: Permission) -> None:
    """Take *permission* from the bot and from everybody."""
    guild = next(iter(place.world.guilds.values()))
    for role in guild.roles.values():
        place.world.change_role(guild, role, role.permissions & ~permission)


NEEDS = [
    (Permission.VIEW_CHANNEL, "POST", "/channels/{channel}/messages", {"content": "x"}, 50001),
    (Permission.SEND_MESSAGES, "POST", "/channels/{channel}/messages", {"content": "x"}, 50013),
    (Permission.SEND_MESSAGES, "POST", "/channels/{channel}/typing", {}, 50013),
    (Permission.READ_MESSAGE_HISTORY, "GET", "/channels/{channel}/messages/{message}", None, 50013),
    (Permission.ADD_REACTIONS, "PUT", "/channels/{channel}/messages/{message}/reactions/👍/@me", None, 50013),
    (Permission.CREATE_PRIVATE_THREADS, "POST", "/channels/{channel}/threads", {"name": "x", "type": 12}, 50013),
    (Permission.CREATE_PUBLIC_THREADS, "POST", "/channels/{channel}/threads", {"name": "x", "type": 11}, 50013),
    (Permission.CREATE_PUBLIC_THREADS, "POST", "/channels/{channel}/messages/{message}/threads", {"name": "x"}, 50013),
    (Permission.MANAGE_MESSAGES, "DELETE", "/channels/{channel}/messages/{message}", None, 50013),
    (Permission.MANAGE_CHANNELS, "PATCH", "/channels/{channel}", {"name": "x"}, 50013),
    (Permission.MANAGE_CHANNELS, "DELETE", "/channels/{channel}", None, 50013),
]


@pytest.mark.parametrize(("permission", "method", "path", "body", "code"), NEEDS)
async def test_without_the_permission_it_is_refused(
    permission: Permission, method: str, path: str, body: Any, code: int, place: Playground, raw: Raw
) -> None:
    ana = place.person("Ana")
    message = await ana.say("hola")
    forbid(place, permission)
    where = path.format(channel=place.channel("general").id, message=message.id)
    status, answer = await raw(method, where, body)
    assert (status, answer["code"]) == (403, code)


async def test_files_need_the_permission_to_attach(place: Playground, raw: Raw) -> None:
    forbid(place, Permission.ATTACH_FILES)
    path = f"/channels/{place.channel('general').id}/messages"
    assert (await raw.upload(path, {"content": "x"}, ("a.txt", b"1")))[1]["code"] == 50013


async def test_embeds_without_the_permission_disappear_silently(place: Playground, raw: Raw) -> None:
    forbid(place, Permission.EMBED_LINKS)
    status, answer = await raw.send(place.channel("general").id, content="x", embeds=[{"title": "t"}])
    assert (status, answer["embeds"]) == (200, [])


@pytest.mark.parametrize(("tier", "megabytes"), [(0, 10), (2, 50)])
async def test_a_file_may_be_as_large_as_the_server_allows(
    tier: int, megabytes: int, place: Playground, raw: Raw
) -> None:
    guild = place.guild("Otra", tier=tier)
    path = f"/channels/{place.channel('general', guild).id}/messages"
    limit = megabytes << 20
    status, sent = await raw.upload(path, {}, ("a.bin", bytes(limit)))
    assert (status, sent["attachments"][0]["size"]) == (200, limit)
    status, answer = await raw.upload(path, {}, ("a.bin", bytes(limit + 1)))
    assert (status, answer["code"]) == (413, 40005)


async def test_only_ones_own_messages_can_be_edited(place: Playground, raw: Raw) -> None:
    message = await place.person("Ana").say("hola")
    path = f"/channels/{message.channel_id}/messages/{message.id}"
    status, answer = await raw("PATCH", path, {"content": "x"})
    assert (status, answer["code"]) == (403, 50005)


async def test_a_message_older_than_an_hour_takes_few_edits(place: Playground, raw: Raw) -> None:
    _, sent = await raw.send(place.channel("general").id, content="0")
    path = f"/channels/{sent['channel_id']}/messages/{sent['id']}"
    for number in range(10):
        assert (await raw("PATCH", path, {"content": str(number)}))[0] == 200
    place.clock.advance(3700)
    answers = [await raw("PATCH", path, {"content": f"late {number}"}) for number in range(4)]
    assert [status for status, _ in answers] == [200, 200, 200, 429]
    assert answers[-1][1]["code"] == 30046
    assert 0 < answers[-1][1]["retry_after"] <= 3600


async def test_a_message_becomes_v2_only_when_its_text_is_emptied_and_never_goes_back(
    place: Playground, raw: Raw
) -> None:
    _, sent = await raw.send(place.channel("general").id, content="hola")
    path = f"/channels/{sent['channel_id']}/messages/{sent['id']}"
    _status, answer = await raw("PATCH", path, {"flags": V2, "components": [text()]})
    assert mistakes(answer) == {"content": "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2"}
    assert (await raw("PATCH", path, {"flags": V2, "content": None, "components": [text()]}))[0] == 200
    assert (await raw("PATCH", path, {"flags": 0, "components": [row(button())]}))[0] == 400
    assert (await raw("PATCH", path, {"content": "otra vez"}))[0] == 400


async def test_twenty_reactions_are_the_most(place: Playground, raw: Raw) -> None:
    message = await place.person("Ana").say("hola")
    path = f"/channels/{message.channel_id}/messages/{message.id}/reactions/"
    for number in range(20):
        assert (await raw("PUT", path + chr(0x1F600 + number) + "/@me"))[0] == 204
    assert (await raw("PUT", path + "👍/@me"))[1]["code"] == 30010
    assert (await raw("PUT", path + "ok/@me"))[1]["code"] == 10014


async def test_the_ids_tell_the_time(place: Playground, raw: Raw) -> None:
    before = place.clock.now()
    place.clock.advance(3600)
    _, sent = await raw.send(place.channel("general").id, content="x")
    made = ((int(sent["id"]) >> 22) + DISCORD_EPOCH_MS) / 1000
    assert made - before == pytest.approx(3600, abs=60)


GOOD_COMMANDS: dict[str, dict[str, Any]] = {
    "plain": {"name": "preguntar", "description": "Pregunta", "type": 1},
    "with options": {
        "name": "a",
        "description": "b",
        "options": [
            {"type": 3, "name": "x", "description": "y", "required": True, "max_length": 10},
            {"type": 11, "name": "z", "description": "y"},
        ],
    },
    "group in group": {
        "name": "a",
        "description": "b",
        "options": [
            {
                "type": 2,
                "name": "g",
                "description": "g",
                "options": [{"type": 1, "name": "s", "description": "s", "options": []}],
            }
        ],
    },
    "on a message": {"name": "Preguntar al curso", "type": 3},
}
BAD_COMMANDS: dict[str, tuple[dict[str, Any], str, str]] = {
    "capital letters": ({"name": "Datos", "description": "x"}, "0.name", "APPLICATION_COMMAND_INVALID_NAME"),
    "a space": ({"name": "mis datos", "description": "x"}, "0.name", "APPLICATION_COMMAND_INVALID_NAME"),
    "a long name": ({"name": "x" * 33, "description": "x"}, "0.name", "APPLICATION_COMMAND_INVALID_NAME"),
    "no description": ({"name": "x"}, "0.description", "BASE_TYPE_REQUIRED"),
    "a description of 101": ({"name": "x", "description": "y" * 101}, "0.description", "BASE_TYPE_BAD_LENGTH"),
    "26 options": (
        {
            "name": "x",
            "description": "y",
            "options": [{"type": 3, "name": f"o{i}", "description": "d"} for i in range(26)],
        },
        "0.options",
        "BASE_TYPE_MAX_LENGTH",
    ),
    "required after optional": (
        {
            "name": "x",
            "description": "y",
            "options": [
                {"type": 3, "name": "a", "description": "d"},
                {"type": 3, "name": "b", "description": "d", "required": True},
            ],
        },
        "0.options.1",
        "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
    ),
    "26 choices": (
        {
            "name": "x",
            "description": "y",
            "options": [
                {
                    "type": 3,
                    "name": "a",
                    "description": "d",
                    "choices": [{"name": f"c{i}", "value": f"{i}"} for i in range(26)],
                }
            ],
        },
        "0.options.0.choices",
        "BASE_TYPE_MAX_LENGTH",
    ),
    "a message command with description": (
        {"name": "x", "type": 3, "description": "y"},
        "0.description",
        "APPLICATION_COMMAND_CONTEXT_MENU_CANNOT_HAVE",
    ),
}


@pytest.mark.parametrize("name", GOOD_COMMANDS)
async def test_a_good_command_is_registered_and_keeps_its_id(name: str, place: Playground, raw: Raw) -> None:
    path = f"/applications/{place.world.bot.id}/commands"
    status, first = await raw("PUT", path, [GOOD_COMMANDS[name]])
    assert status == 200
    _, second = await raw("PUT", path, [GOOD_COMMANDS[name]])
    assert first[0]["id"] == second[0]["id"]
    assert (await raw("GET", path))[1] == second


@pytest.mark.parametrize("name", BAD_COMMANDS)
async def test_a_malformed_command_is_refused_and_nothing_changes(name: str, place: Playground, raw: Raw) -> None:
    body, path, code = BAD_COMMANDS[name]
    where = f"/applications/{place.world.bot.id}/commands"
    status, answer = await raw("PUT", where, [body])
    assert (status, mistakes(answer).get(path)) == (400, code), mistakes(answer)
    assert (await raw("GET", where))[1] == []


async def test_commands_of_one_server_are_not_offered_in_another(place: Playground, raw: Raw) -> None:
    first = next(iter(place.world.guilds.values()))
    second = place.guild("Otra")
    path = f"/applications/{place.world.bot.id}/guilds/{second.id}/commands"
    assert (await raw("PUT", path, [GOOD_COMMANDS["plain"]]))[0] == 200
    assert await place.person("Ana", first).commands() == []
    assert await place.person("Eva", second).commands() == ["preguntar"]
    without = place.guild("Sin bot", bot_permissions=None)
    path = f"/applications/{place.world.bot.id}/guilds/{without.id}/commands"
    assert (await raw("PUT", path, []))[1]["code"] == 50001
