"""Posting, editing, deleting and reacting: what happens to the state, after the rules have said yes.

Rule: a function here changes one message and emits its event; a message keeps every state it had (`history`).
Not covered: limits and permissions (`rules`), JSON (`payloads`).
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from playground import threads
from playground.components import every_text
from playground.model import Attachment, Channel, ChannelType, Edit, Json, Message, MessageFlag, MessageType
from playground.permissions import Permission
from playground.reading import text_of
from playground.world import Event, World

USER_MENTION = re.compile(r"<@!?(\d+)>")
ROLE_MENTION = re.compile(r"<@&(\d+)>")


@dataclass(kw_only=True)
class Draft:
    """A message as somebody wants it."""

    content: str = ""
    type: int = MessageType.DEFAULT
    flags: int = 0
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    reference: Json | None = None
    nonce: str | None = None
    tts: bool = False
    allowed_mentions: Json | None = None  # None: everything in the text may notify
    visible_to: int | None = None
    interaction_id: int | None = None
    interaction: Json | None = None
    command_name: str | None = None


def post(world: World, channel: Channel, author_id: int, draft: Draft, message_id: int | None = None) -> Message:
    """Add a message to *channel*; wakes an archived thread, adds mentioned people to a private one.

    *message_id*: only for the first message of a forum post, which shares the id of its thread.
    """
    now = world.clock.now()
    message = Message(
        id=message_id or world.clock.snowflake(),
        channel_id=channel.id,
        author_id=author_id,
        created_at=now,
        content=draft.content,
        type=draft.type,
        flags=draft.flags,
        embeds=draft.embeds,
        components=draft.components,
        attachments=draft.attachments,
        reference=draft.reference,
        nonce=draft.nonce,
        tts=draft.tts,
        visible_to=draft.visible_to,
        interaction_id=draft.interaction_id,
        interaction=draft.interaction,
        command_name=draft.command_name,
    )
    notify(world, channel, message, draft.allowed_mentions)
    channel.messages[message.id] = message
    channel.typing = [(who, at) for who, at in channel.typing if who != author_id]
    world.mark(message)
    if channel.thread and not message.ephemeral:
        channel.thread.total_sent += 1
        threads.wake(world, channel, message)
    if not message.ephemeral:
        world.emit(Event(name="MESSAGE_CREATE", guild_id=channel.guild_id, channel=channel, subject=message))
    else:
        world.touch()
    return message


def edit(world: World, channel: Channel, message: Message, changes: Json, allowed_mentions: Json | None = None) -> None:
    """Change the named attributes of *message*. `flags` replaces them whole."""
    now = world.clock.now()
    message.history.append(Edit(at=now, text=text_of(message.content, message.embeds, message.components)))
    was_loading = message.loading
    for name, value in changes.items():
        setattr(message, name, value)
    if not was_loading:  # the first answer after «thinking…» is not an edit in the eyes of people
        message.edited_at = now
        if now - message.created_at > 3600:
            message.late_edits.append(now)
    notify(world, channel, message, allowed_mentions)
    world.mark(message)
    if not message.ephemeral:
        world.emit(Event(name="MESSAGE_UPDATE", guild_id=channel.guild_id, channel=channel, subject=message))
    else:
        world.touch()


def delete(world: World, channel: Channel, message: Message) -> None:
    """Remove *message*; whoever waits still finds it, marked as deleted."""
    message.deleted = True
    for attachment in message.attachments:
        world.files.pop(attachment.id, None)
    world.mark(message)
    if not message.ephemeral:
        world.emit(Event(name="MESSAGE_DELETE", guild_id=channel.guild_id, channel=channel, subject=message))
    else:
        world.touch()


def react(world: World, channel: Channel, message: Message, user_id: int, emoji: str) -> None:
    who = message.reactions.setdefault(emoji, [])
    if user_id in who:
        return
    who.append(user_id)
    world.mark(message)
    detail = {"user_id": user_id, "emoji": emoji}
    event = Event(
        name="MESSAGE_REACTION_ADD", guild_id=channel.guild_id, channel=channel, subject=message, detail=detail
    )
    world.emit(event)


def unreact(world: World, channel: Channel, message: Message, user_id: int, emoji: str) -> None:
    who = message.reactions.get(emoji, [])
    if user_id not in who:
        return
    who.remove(user_id)
    if not who:
        del message.reactions[emoji]
    world.mark(message)
    detail = {"user_id": user_id, "emoji": emoji}
    event = Event(
        name="MESSAGE_REACTION_REMOVE", guild_id=channel.guild_id, channel=channel, subject=message, detail=detail
    )
    world.emit(event)


def start_typing(world: World, channel: Channel, user_id: int) -> None:
    channel.typing.append((user_id, world.clock.now()))
    event = Event(
        name="TYPING_START", guild_id=channel.guild_id, channel=channel, subject=channel, detail={"user_id": user_id}
    )
    world.emit(event)


def notify(world: World, channel: Channel, message: Message, allowed: Json | None) -> None:
    """Work out whom *message* notifies: its mentions, after `allowed_mentions` and the author's permissions."""
    text = "\n".join([message.content, *every_text(message.components)])
    parse = set(allowed.get("parse") or ()) if allowed is not None else {"users", "roles", "everyone"}
    named_users = {int(one) for one in (allowed or {}).get("users") or ()}
    named_roles = {int(one) for one in (allowed or {}).get("roles") or ()}
    guild = world.guild_of(channel)
    granted = world.permissions(message.author_id, channel)

    mentions = [
        user_id
        for user_id in dict.fromkeys(int(one) for one in USER_MENTION.findall(text))
        if user_id in world.users and ("users" in parse or user_id in named_users)
    ]
    replied = (allowed or {}).get("replied_user", allowed is None)
    if message.type == MessageType.REPLY and message.reference and replied:
        original = channel.messages.get(int(message.reference["message_id"]))
        if original and original.author_id not in mentions:
            mentions.append(original.author_id)
    message.mentions = mentions
    message.mention_roles = [
        role_id
        for role_id in dict.fromkeys(int(one) for one in ROLE_MENTION.findall(text))
        if guild and role_id in guild.roles and ("roles" in parse or role_id in named_roles)
    ]
    everyone = "@everyone" in text or "@here" in text
    message.mention_everyone = everyone and "everyone" in parse and bool(granted & Permission.MENTION_EVERYONE)


def visible(world: World, channel: Channel, user_id: int) -> list[Message]:
    """The messages of *channel* that a person sees, oldest first."""
    return [message for message in channel.messages.values() if world.sees(user_id, message)]


def is_text_channel(channel: Channel) -> bool:
    return channel.type not in (ChannelType.FORUM, ChannelType.CATEGORY)


def editable_flags(flags: int, wanted: int) -> int:
    """Flags after an edit: SUPPRESS_EMBEDS may change, COMPONENTS_V2 may only be added, the rest stays."""
    keep = flags & ~MessageFlag.SUPPRESS_EMBEDS & ~MessageFlag.LOADING
    return int(keep | (wanted & (MessageFlag.SUPPRESS_EMBEDS | MessageFlag.COMPONENTS_V2)))


def edit_flags(world: World, channel: Channel, message: Message, flags: int) -> None:
    """Change only the flags; people do not see it as an edit."""
    message.flags = int(flags)
    world.mark(message)
    world.emit(Event(name="MESSAGE_UPDATE", guild_id=channel.guild_id, channel=channel, subject=message))


def announce_thread(world: World, parent: Channel, thread: Channel, owner_id: int, origin: Message | None) -> None:
    """The system messages of a new thread: under its first message, or in the channel of a public one."""
    if origin:
        edit_flags(world, parent, origin, origin.flags | MessageFlag.HAS_THREAD)
        reference: Json = {"message_id": origin.id, "channel_id": parent.id}
        post(world, thread, owner_id, Draft(type=MessageType.THREAD_STARTER, reference=reference))
    elif thread.type == ChannelType.PUBLIC_THREAD and parent.type != ChannelType.FORUM:
        draft = Draft(type=MessageType.THREAD_CREATED, content=thread.name, reference={"channel_id": thread.id})
        post(world, parent, owner_id, draft)


def announce_member(world: World, thread: Channel, user_id: int, by: int) -> None:
    """The system message that says who brought whom into *thread*."""
    post(world, thread, by, Draft(type=MessageType.RECIPIENT_ADD, content=f"<@{user_id}>"))
