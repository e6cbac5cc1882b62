"""The answers of the bot to interactions: the callback, the original answer, follow-ups."""

from __future__ import annotations

from typing import Any

from playground import compose, messages, refusals, rules
from playground.api import Api
from playground.component_rules import check_modal
from playground.field_rules import unknown_keys
from playground.interactions import Callback, Interaction, Kind
from playground.messages import Draft
from playground.model import Channel, Json, Message, MessageFlag, MessageType
from playground.refusals import FormErrors
from playground.rest import Call, Route

MESSAGE_LIKE = (Callback.MESSAGE, Callback.DEFERRED_MESSAGE)
# Which answers fit which interaction.
FITTING: dict[int, tuple[int, ...]] = {
    Kind.COMMAND: (4, 5, 9),
    Kind.COMPONENT: (4, 5, 6, 7, 9),
    Kind.AUTOCOMPLETE: (8,),
    Kind.MODAL: (4, 5, 6, 7),
}
DATA_FIELDS = {"content", "tts", "embeds", "allowed_mentions", "components", "attachments", "flags"}
FOLLOWUP_FIELDS = DATA_FIELDS | {"username", "avatar_url", "thread_name", "applied_tags"}


def _limit(api: Api, channel: Channel) -> int:
    guild = api.world.guild_of(channel)
    return guild.attachment_limit if guild else 10 * 1024 * 1024


def _body(given: Json, allowed: set[str]) -> Json:
    """The message fields of an answer; webhook fields that mean nothing here fall away."""
    errors = FormErrors()
    unknown_keys(given, allowed, errors, "")
    errors.refuse_if_any()
    return {key: value for key, value in given.items() if key in DATA_FIELDS}


async def callback(api: Api, call: Call) -> Json | None:
    interaction = api.interactions.to_acknowledge(call.id("interaction"), call.params["token"])
    kind = call.body.get("type")
    if kind not in FITTING[interaction.kind]:
        choices = ", ".join(map(str, FITTING[interaction.kind]))
        raise refusals.form_error("type", "BASE_TYPE_CHOICES", f"Value must be one of {{{choices}}}.")
    if kind in (Callback.DEFERRED_UPDATE, Callback.UPDATE) and interaction.source is None:
        raise refusals.form_error("type", "INTERACTION_RESPONSE_TYPE_INVALID", "There is no message to update")
    thread = interaction.channel.thread
    if kind in MESSAGE_LIKE and thread and thread.archived and thread.locked:
        raise refusals.thread_archived()
    data: Json = call.body.get("data") or {}
    message: Message | None = None
    match kind:
        case Callback.MESSAGE:
            message = _answer(api, interaction, _body(data, DATA_FIELDS), call)
        case Callback.DEFERRED_MESSAGE:
            message = _think(api, interaction, data)
        case Callback.DEFERRED_UPDATE:
            message = interaction.source
        case Callback.UPDATE:
            message = _update_source(api, interaction, _body(data, DATA_FIELDS), call)
        case Callback.CHOICES:
            interaction.choices = _choices(data)
        case Callback.MODAL:
            errors = FormErrors()
            check_modal(data, errors)
            errors.refuse_if_any()
            interaction.modal = data
    interaction.callback = kind
    interaction.original = message
    api.world.touch()
    if call.query.get("with_response") not in ("1", "true"):
        return None
    return _receipt(api, interaction, message)


def _receipt(api: Api, interaction: Interaction, message: Message | None) -> Json:
    """What `with_response` gives back."""
    receipt: Json = {"id": str(interaction.id), "type": int(interaction.kind)}
    data: Json = {"interaction": receipt, "resource": {"type": interaction.callback}}
    if message:
        receipt |= {
            "response_message_id": str(message.id),
            "response_message_loading": message.loading,
            "response_message_ephemeral": message.ephemeral,
        }
    if message and interaction.callback in (Callback.MESSAGE, Callback.UPDATE):
        data["resource"]["message"] = api.payloads.message(message)
    return data


def _choices(data: Json) -> list[Json]:
    errors = FormErrors()
    choices = data.get("choices")
    if not isinstance(choices, list) or len(choices) > 25:
        errors.add("data.choices", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
        choices = []
    for index, one in enumerate(choices):
        errors.length(f"data.choices.{index}.name", str(one.get("name") or ""), 1, 100)
        if isinstance(one.get("value"), str):
            errors.length(f"data.choices.{index}.value", one["value"], 1, 100)
    errors.refuse_if_any()
    return choices


def _identity(interaction: Interaction, ephemeral: bool) -> Json:
    """What marks a message as the answer to an interaction."""
    return {
        "interaction_id": interaction.id,
        "interaction": interaction.metadata,
        "visible_to": interaction.user_id if ephemeral else None,
        "command_name": interaction.name if interaction.kind == Kind.COMMAND else None,
    }


def _post(api: Api, interaction: Interaction, draft: Draft, *, ephemeral: bool, first: bool) -> Message:
    for name, value in _identity(interaction, ephemeral).items():
        setattr(draft, name, value)
    if first and interaction.kind == Kind.COMMAND:
        draft.type = MessageType.CHAT_INPUT_COMMAND
    elif interaction.source and not interaction.source.ephemeral:
        draft.type = MessageType.REPLY
        draft.reference = {"message_id": interaction.source.id, "channel_id": interaction.channel.id}
    return messages.post(api.world, interaction.channel, api.world.bot.id, draft)


def _answer(api: Api, interaction: Interaction, body: Json, call: Call) -> Message:
    ephemeral = bool(int(body.get("flags") or 0) & MessageFlag.EPHEMERAL)
    channel = interaction.channel
    draft = compose.draft(api.world, channel, body, call.uploads, limit=_limit(api, channel), ephemeral=ephemeral)
    return _post(api, interaction, draft, ephemeral=ephemeral, first=True)


def _think(api: Api, interaction: Interaction, data: Json) -> Message:
    errors = FormErrors()
    unknown_keys(data, DATA_FIELDS, errors, "data")
    errors.refuse_if_any()
    ephemeral = bool(int(data.get("flags") or 0) & MessageFlag.EPHEMERAL)
    interaction.deferred = True
    flags = MessageFlag.LOADING | (MessageFlag.EPHEMERAL if ephemeral else 0)
    return _post(api, interaction, Draft(flags=int(flags)), ephemeral=ephemeral, first=True)


def _update_source(api: Api, interaction: Interaction, body: Json, call: Call) -> Message:
    message = interaction.source
    assert message
    if message.deleted:
        raise refusals.unknown_message()
    _edit(api, interaction, message, body, call)
    return message


def _edit(api: Api, interaction: Interaction, message: Message, body: Json, call: Call) -> None:
    changes = compose.changes(api.world, message, body, call.uploads, limit=_limit(api, interaction.channel))
    messages.edit(api.world, interaction.channel, message, changes, body.get("allowed_mentions"))


async def follow(api: Api, call: Call) -> Json:
    """A follow-up; the first one after a deferred answer fills that answer."""
    interaction = _following(api, call)
    body = _body(call.body, FOLLOWUP_FIELDS)
    channel = interaction.channel
    if channel.id not in api.world.channels:
        raise refusals.unknown_channel()
    if interaction.deferred and interaction.original and not interaction.original.deleted:
        interaction.deferred = False
        kept = int(body.get("flags") or 0) & ~MessageFlag.EPHEMERAL
        _edit(api, interaction, interaction.original, body | ({"flags": kept} if "flags" in body else {}), call)
        return api.payloads.message(interaction.original)
    rules_ephemeral = bool(int(body.get("flags") or 0) & MessageFlag.EPHEMERAL)
    draft = compose.draft(api.world, channel, body, call.uploads, limit=_limit(api, channel), ephemeral=rules_ephemeral)
    message = _post(api, interaction, draft, ephemeral=rules_ephemeral, first=False)
    interaction.followups.append(message)
    return api.payloads.message(message)


def _following(api: Api, call: Call) -> Interaction:
    if call.id("application") != api.world.bot.id:
        raise refusals.unknown_webhook()
    return api.interactions.to_follow(call.params["token"])


def _target(api: Api, call: Call) -> tuple[Interaction, Message]:
    """The message of a webhook path: `@original`, or one that this interaction wrote."""
    interaction = _following(api, call)
    wanted = call.params["message"]
    found: Message | None
    if wanted == "@original":
        found = interaction.original
    else:
        mine = [*interaction.followups, *([interaction.original] if interaction.original else [])]
        found = next((one for one in mine if one.id == call.id("message")), None)
    if found is None or found.deleted:
        raise refusals.unknown_message()
    return interaction, found


async def get_message(api: Api, call: Call) -> Json:
    return api.payloads.message(_target(api, call)[1])


async def edit_message(api: Api, call: Call) -> Json:
    interaction, message = _target(api, call)
    if message is interaction.original:
        interaction.deferred = False
    rules.refuse_archived(interaction.channel)
    _edit(api, interaction, message, _body(call.body, FOLLOWUP_FIELDS), call)
    return api.payloads.message(message)


async def delete_message(api: Api, call: Call) -> None:
    interaction, message = _target(api, call)
    messages.delete(api.world, interaction.channel, message)


def _route(method: str, template: str, handler: Any, limited: bool = True) -> Route:
    return Route(method=method, template=template, handler=handler, by_token=True, limited=limited)


_HOOK = "/webhooks/{application}/{token}"
ROUTES = [
    _route("POST", "/interactions/{interaction}/{token}/callback", callback, limited=False),
    _route("POST", _HOOK, follow),
    _route("GET", _HOOK + "/messages/{message}", get_message),
    _route("PATCH", _HOOK + "/messages/{message}", edit_message),
    _route("DELETE", _HOOK + "/messages/{message}", delete_message),
]
