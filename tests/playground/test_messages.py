"""Messages with a real discord.py client: sending, editing, replying, reacting, files, mentions, who is notified."""

from __future__ import annotations

import asyncio
import io

import discord
import pytest

from playground import Impossible, Playground
from tests.playground.conftest import Bot, Raw, eventually, running


async def test_the_bot_hears_what_people_write_edit_and_delete(place: Playground) -> None:
    heard: list[str] = []

    def setup(bot: Bot) -> None:
        @bot.event
        async def on_message(message: discord.Message) -> None:
            heard.append(f"+{message.content} {[one.filename for one in message.attachments]}")

        @bot.event
        async def on_message_edit(before: discord.Message, after: discord.Message) -> None:
            heard.append(f"{before.content} → {after.content}")

        @bot.event
        async def on_message_delete(message: discord.Message) -> None:
            heard.append(f"-{message.content}")

    ana = place.person("Ana")
    async with running(place, Bot(setup)):
        message = await ana.attach(("d.jsonl", b"{}"), content="hola")
        await eventually(lambda: heard)
        await message.edit("adiós")
        await message.delete()
        await eventually(lambda: len(heard) == 3)
        assert heard == ["+hola ['d.jsonl']", "hola → adiós", "-adiós"]


async def test_the_bot_streams_by_edits_and_everyone_sees_each_state(place: Playground) -> None:
    def setup(bot: Bot) -> None:
        @bot.event
        async def on_message(message: discord.Message) -> None:
            if message.author == bot.user:
                return
            async with message.channel.typing():
                reply = await message.reply("…", mention_author=False)
            for size in (5, 10, 15):
                await reply.edit(content="había una vez"[:size])

    ana, eva = place.person("Ana"), place.person("Eva")
    async with running(place, Bot(setup)):
        question = await ana.say("cuenta")
        story = await (await ana.wait_message()).settled(quiet=0.3)
        assert story.text == "había una vez"
        assert [one.text for one in story.edits] == ["…", "había", "había una "[:10].strip()]
        assert (story.reply_to, story.notified) == (question.id, [])
        assert (await eva.history())[-1].text == "había una vez"
        assert await ana.typing() == []


async def test_reactions_reach_the_other_side(place: Playground) -> None:
    seen: list[str] = []

    def setup(bot: Bot) -> None:
        @bot.event
        async def on_raw_reaction_add(payload: discord.RawReactionActionEvent) -> None:
            if payload.user_id != bot.user.id:
                seen.append(f"+{payload.emoji} {payload.member.display_name}")

        @bot.event
        async def on_raw_reaction_remove(payload: discord.RawReactionActionEvent) -> None:
            seen.append(f"-{payload.emoji}")

        @bot.event
        async def on_message(message: discord.Message) -> None:
            await message.add_reaction("👍")
            await message.add_reaction("👎")
            await message.remove_reaction("👎", bot.user)

    ana = place.person("Ana")
    async with running(place, Bot(setup)) as bot:
        message = await ana.say("hola")
        await message.wait(lambda one: one.reactions == {"👍": 1} and len(place.requests) >= 5)
        await message.react("👍")
        await message.react("🎉")
        await message.unreact("🎉")
        await eventually(lambda: len(seen) == 4)
        assert sorted(seen) == sorted(["+👍 Ana", "+🎉 Ana", "-👎", "-🎉"])  # two sides act at once
        assert (await message.refresh()).reactions == {"👍": 2}
        assert not bot.errors


@pytest.mark.parametrize(
    ("allowed", "notified"),
    [
        (None, ["Ana", "Eva"]),
        ({"parse": []}, []),
        ({"parse": ["users"]}, ["Ana", "Eva"]),
        ({"users": ["{ana}"]}, ["Ana"]),
    ],
)
async def test_only_allowed_mentions_notify(
    allowed: dict[str, list[str]] | None, notified: list[str], place: Playground, raw: Raw
) -> None:
    ana, eva = place.person("Ana"), place.person("Eva")
    if allowed and "users" in allowed:
        allowed = {"users": [str(ana.id)]}
    body = {"content": f"{ana.mention} {eva.mention} @everyone"} | ({"allowed_mentions": allowed} if allowed else {})
    await raw.send(place.channel("general").id, **body)
    assert (await ana.history())[-1].notified == notified  # @everyone needs a permission that the bot has not


async def test_mentions_inside_components_notify_too(place: Playground, raw: Raw) -> None:
    ana = place.person("Ana")
    await raw.send(
        place.channel("general").id, flags=1 << 15, components=[{"type": 10, "content": f"hola {ana.mention}"}]
    )
    assert (await ana.history())[-1].notified == ["Ana"]


async def test_a_reply_notifies_unless_it_says_not_to(place: Playground, raw: Raw) -> None:
    ana = place.person("Ana")
    message = await ana.say("hola")
    reference = {"message_id": str(message.id)}
    await raw.send(message.channel_id, content="1", message_reference=reference)
    await raw.send(
        message.channel_id,
        content="2",
        message_reference=reference,
        allowed_mentions={"parse": [], "replied_user": False},
    )
    assert [one.notified for one in (await ana.history())[-2:]] == [["Ana"], []]


async def test_a_repeated_nonce_is_not_a_second_message(place: Playground, raw: Raw) -> None:
    channel = place.channel("general").id
    first = await raw.send(channel, content="x", nonce="7", enforce_nonce=True)
    again = await raw.send(channel, content="x", nonce="7", enforce_nonce=True)
    other = await raw.send(channel, content="x", nonce="7")
    assert first[1]["id"] == again[1]["id"] != other[1]["id"]


async def test_files_keep_their_content_and_a_card_finds_them(place: Playground) -> None:
    ana = place.person("Ana")
    async with running(place, Bot()) as bot:
        channel = bot.get_channel(place.channel("general").id)
        files = [discord.File(io.BytesIO(bytes([number])), f"curva {number}.png") for number in range(3)]
        sent = await channel.send("tres", files=files)
        message = (await ana.history())[-1]
        assert [(one.filename, await one.read()) for one in message.attachments] == [
            (f"curva_{number}.png", bytes([number])) for number in range(3)
        ]
        await sent.edit(attachments=[sent.attachments[1], discord.File(io.BytesIO(b"n"), "nueva.png")])
        await message.refresh()
        assert [one.filename for one in message.attachments] == ["curva_1.png", "nueva.png"]


async def test_the_address_of_a_file_is_signed_and_ends_after_a_day(place: Playground, raw: Raw) -> None:
    ana = place.person("Ana")
    message = await ana.attach(("a.txt", b"x"))
    url = message.attachments[0].url
    assert await ana.download(url) == b"x"
    forged = url.replace("hm=", "hm=0")
    for address in (forged, url.split("?")[0]):
        async with raw.session.get(address) as answer:
            assert answer.status == 404
    place.clock.advance(24 * 3600 + 1)
    async with raw.session.get(url) as answer:
        assert answer.status == 404
    assert await (await message.refresh()).attachments[0].read() == b"x"  # a fresh look gives a fresh address


async def test_history_is_paged_by_the_client(place: Playground) -> None:
    ana = place.person("Ana")
    for number in range(120):
        await ana.say(str(number))
    async with running(place, Bot()) as bot:
        channel = bot.get_channel(place.channel("general").id)
        assert [one.content async for one in channel.history(limit=None)] == [str(one) for one in range(119, -1, -1)]
        middle = [one async for one in channel.history(limit=3, oldest_first=True)]
        assert [one.content for one in middle] == ["0", "1", "2"]
        after = [one.content async for one in channel.history(limit=2, after=middle[0], oldest_first=True)]
        assert after == ["1", "2"]


async def test_direct_messages(place: Playground) -> None:
    ana, eva = place.person("Ana"), place.person("Eva")
    async with running(place, Bot(content=False)) as bot:
        user = await bot.fetch_user(ana.id)
        await user.send("hola, Ana")
        direct = await ana.direct()
        assert [one.text for one in await ana.history(direct)] == ["hola, Ana"]
        heard = bot.wait_for("message", check=lambda one: one.author != bot.user, timeout=5)
        waiting = asyncio.ensure_future(heard)
        await ana.say("hola, bot", channel=direct)
        assert (await waiting).content == "hola, bot"
        with pytest.raises(Impossible):
            await eva.say("intrusa", channel=direct)
        place.user(ana).accepts_dms = False
        with pytest.raises(discord.Forbidden) as refusal:
            await user.send("¿sigues?")
        assert refusal.value.code == 50007


async def test_whoever_left_every_shared_server_gets_no_direct_message(place: Playground) -> None:
    ana = place.person("Ana")
    async with running(place, Bot()) as bot:
        user = await bot.fetch_user(ana.id)
        place.leave(ana)
        with pytest.raises(discord.Forbidden) as refusal:
            await user.send("hola")
        assert refusal.value.code == 50007


async def test_without_the_content_intent_only_mentions_replies_and_direct_messages_are_readable(
    place: Playground,
) -> None:
    heard: dict[str, str] = {}

    def setup(bot: Bot) -> None:
        @bot.event
        async def on_message(message: discord.Message) -> None:
            heard[message.author.display_name + str(len(heard))] = message.content

    ana = place.person("Ana")
    bot = Bot(setup, content=False)
    async with running(place, bot):
        await ana.say("esto no se lee")
        await ana.say(f"<@{bot.user.id}> esto sí")
        own = await bot.get_channel(place.channel("general").id).send("lo mío sí")
        await (await ana.history())[-1].reply("la respuesta también")
        await ana.say("y en privado", channel=await ana.direct())
        await eventually(lambda: len(heard) == 5)
        assert own.content == "lo mío sí"
        assert list(heard.values()) == [
            "",
            f"<@{bot.user.id}> esto sí",
            "lo mío sí",
            "la respuesta también",
            "y en privado",
        ]


async def test_the_content_privilege_governs_rest_too() -> None:
    async with Playground(privileged=0) as place:
        place.guild()
        ana = place.person("Ana")
        await ana.say("hola")
        async with running(place, Bot(content=False)) as bot:
            (message,) = [one async for one in bot.get_channel(ana.here).history()]
            assert message.content == ""
            assert not bot.application_flags.gateway_message_content
        with pytest.raises(discord.PrivilegedIntentsRequired):
            async with running(place, Bot(content=True)):
                pass
