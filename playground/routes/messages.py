"""Messages and reactions of the bot in a channel."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from playground import compose, messages, refusals, rules
from playground.api import Api
from playground.dispatch import Intent
from playground.model import Channel, Json, Message, MessageType
from playground.permissions import Permission
from playground.rest import Call, Route

CUSTOM_EMOJI = re.compile(r"\w+:\d+")
NONCE_LIFE = 300.0  # seconds within which the same nonce means the same message


def _channel(api: Api, call: Call) -> Channel:
    return api.world.channel_for(api.world.bot.id, call.id("channel"))


def _limit(api: Api, channel: Channel) -> int:
    guild = api.world.guild_of(channel)
    return guild.attachment_limit if guild else 10 * 1024 * 1024


def _render(api: Api, message: Message) -> Json:
    """A message as REST shows it: without the content privilege, what others wrote comes empty."""
    return api.payloads.message(message, intents=~0 if api.message_content else ~int(Intent.MESSAGE_CONTENT))


async def send(api: Api, call: Call) -> Json:
    world, channel = api.world, _channel(api, call)
    rules.may_send(world, world.bot.id, channel)
    nonce = call.body.get("nonce")
    if nonce is not None and call.body.get("enforce_nonce") and (known := _by_nonce(api, channel, str(nonce))):
        return _render(api, known)
    rules.may_attach(world, world.bot.id, channel, call.uploads)
    draft = compose.draft(world, channel, call.body, call.uploads, limit=_limit(api, channel))
    if not world.permissions(world.bot.id, channel) & Permission.EMBED_LINKS:
        draft.embeds = []
    return _render(api, messages.post(world, channel, world.bot.id, draft))


def _by_nonce(api: Api, channel: Channel, nonce: str) -> Message | None:
    now = api.world.clock.now()
    for message in reversed(channel.messages.values()):
        if now - message.created_at > NONCE_LIFE:
            return None
        if message.nonce == nonce and message.author_id == api.world.bot.id:
            return message
    return None


async def history(api: Api, call: Call) -> list[Json]:
    world, channel = api.world, _channel(api, call)
    if not messages.is_text_channel(channel):
        raise refusals.wrong_channel_type()
    if not world.permissions(world.bot.id, channel) & Permission.READ_MESSAGE_HISTORY:
        return []
    limit = int(call.query.get("limit", 50))
    if not 1 <= limit <= 100:
        text = "int value should be between 1 and 100."
        raise refusals.form_error("limit", "NUMBER_TYPE_MAX", text)
    # What is ephemeral for a person is not in the channel's history, not even for the bot.
    shown = [one for one in channel.messages.values() if not one.deleted and not one.ephemeral]
    if "before" in call.query:
        shown = [one for one in shown if one.id < int(call.query["before"])][-limit:]
    elif "after" in call.query:
        shown = [one for one in shown if one.id > int(call.query["after"])][:limit]
    elif "around" in call.query:
        middle = int(call.query["around"])
        older = [one for one in shown if one.id <= middle][-(limit // 2 + 1) :]
        shown = older + [one for one in shown if one.id > middle][: limit - len(older)]
    else:
        shown = shown[-limit:]
    return [_render(api, one) for one in reversed(shown)]


def _message(api: Api, channel: Channel, call: Call) -> Message:
    return api.world.message_in(channel, call.id("message"))


async def fetch(api: Api, call: Call) -> Json:
    channel = _channel(api, call)
    if not api.world.permissions(api.world.bot.id, channel) & Permission.READ_MESSAGE_HISTORY:
        raise refusals.missing_permissions()
    return _render(api, _message(api, channel, call))


async def edit(api: Api, call: Call) -> Json:
    world, channel = api.world, _channel(api, call)
    message = _message(api, channel, call)
    rules.may_edit(world, world.bot.id, message, call.body)
    rules.refuse_archived(channel)
    changes = compose.changes(world, message, call.body, call.uploads, limit=_limit(api, channel))
    messages.edit(world, channel, message, changes, call.body.get("allowed_mentions"))
    return _render(api, message)


async def delete(api: Api, call: Call) -> None:
    world, channel = api.world, _channel(api, call)
    message = _message(api, channel, call)
    own = message.author_id == world.bot.id
    if not own and not world.permissions(world.bot.id, channel) & Permission.MANAGE_MESSAGES:
        raise refusals.missing_permissions()
    if message.type in (MessageType.RECIPIENT_ADD, MessageType.THREAD_STARTER):
        raise refusals.system_message()
    rules.refuse_archived(channel)
    messages.delete(world, channel, message)


def _emoji(call: Call) -> str:
    """The emoji of the path: a custom one as `name:id`, else a Unicode emoji."""
    emoji = unquote(call.params["emoji"])
    if CUSTOM_EMOJI.fullmatch(emoji):
        return emoji
    pictured = any(unicodedata.category(one) in ("So", "Sk") or one in "\u20e3\ufe0f" for one in emoji)
    if not pictured or len(emoji) > 16:
        raise refusals.unknown_emoji()
    return emoji


async def react(api: Api, call: Call) -> None:
    world, channel = api.world, _channel(api, call)
    message = _message(api, channel, call)
    emoji = _emoji(call)
    granted = world.permissions(world.bot.id, channel)
    if not granted & Permission.READ_MESSAGE_HISTORY:
        raise refusals.missing_permissions()
    if emoji not in message.reactions and not granted & Permission.ADD_REACTIONS:
        raise refusals.missing_permissions()
    if emoji not in message.reactions and len(message.reactions) >= rules.MAX_REACTIONS:
        raise refusals.too_many_reactions()
    rules.refuse_archived(channel)
    messages.react(world, channel, message, world.bot.id, emoji)


async def unreact(api: Api, call: Call) -> None:
    world, channel = api.world, _channel(api, call)
    message = _message(api, channel, call)
    emoji = _emoji(call)
    who = world.bot.id if call.params["user"] == "@me" else call.id("user")
    if who != world.bot.id and not world.permissions(world.bot.id, channel) & Permission.MANAGE_MESSAGES:
        raise refusals.missing_permissions()
    rules.refuse_archived(channel)
    messages.unreact(world, channel, message, who, emoji)


_ONE = "/channels/{channel}/messages/{message}"
ROUTES = [
    Route(method="POST", template="/channels/{channel}/messages", handler=send),
    Route(method="GET", template="/channels/{channel}/messages", handler=history),
    Route(method="GET", template=_ONE, handler=fetch),
    Route(method="PATCH", template=_ONE, handler=edit),
    Route(method="DELETE", template=_ONE, handler=delete),
    Route(method="PUT", template=_ONE + "/reactions/{emoji}/@me", handler=react),
    Route(method="DELETE", template=_ONE + "/reactions/{emoji}/{user}", handler=unreact),
]
