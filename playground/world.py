"""The state of the loopback Discord: who exists, where, who may see what, and who is told of a change.

Rule: every change goes through this class or through `messages` and `threads`, which end in `emit`; so the
gateway and the people who wait see the same order of events.
Not covered: whether a request is well formed or permitted; callers ask `rules` and `permissions` first.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeVar

from playground import permissions, refusals
from playground.clock import Clock
from playground.model import Attachment, Channel, ChannelType, Guild, Member, Message, Overwrite, Role, User
from playground.permissions import Permission

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Event:
    """Something that happened, for whoever may know it."""

    name: str  # as the gateway calls it: MESSAGE_CREATE …
    guild_id: int | None = None
    channel: Channel | None = None  # where; None: the whole server
    subject: Any = None  # the record it is about
    detail: Any = None  # what the record does not say (emoji, who reacted, …)


class World:
    """All servers, people and channels. One application with one bot user lives in it."""

    def __init__(self, clock: Clock | None = None, bot_name: str = "Afina") -> None:
        self.clock = clock or Clock()
        self.users: dict[int, User] = {}
        self.guilds: dict[int, Guild] = {}
        self.channels: dict[int, Channel] = {}  # threads and direct messages too
        self.files: dict[int, Attachment] = {}  # everything uploaded; goes with its message
        self.revision = 0  # grows with every change
        self.listeners: list[Callable[[Event], None]] = []
        self._bell = asyncio.Event()
        self._latest: dict[int, Message] = {}  # in the order of their last change
        self.clock.on_advance = self.touch
        self.bot = self.add_user(bot_name, bot=True)

    # -- being told -------------------------------------------------------------------------------------------

    def touch(self) -> int:
        """Count a change and wake everybody who waits for one. Returns the new revision."""
        self.revision += 1
        bell, self._bell = self._bell, asyncio.Event()
        bell.set()
        return self.revision

    def mark(self, message: Message) -> None:
        """Note that *message* changes with the next revision."""
        message.revision = self.revision + 1
        self._latest.pop(message.id, None)
        self._latest[message.id] = message

    def changed_since(self, revision: int) -> list[Message]:
        """The messages that changed after *revision*, deleted ones too, oldest change first."""
        found = itertools.takewhile(lambda one: one.revision > revision, reversed(self._latest.values()))
        return list(found)[::-1]

    def emit(self, event: Event) -> None:
        """Tell the gateway (and whoever else listens), then wake the waiting."""
        for listener in self.listeners:
            listener(event)
        self.touch()

    async def until(self, check: Callable[[], T | None], timeout: float) -> T | None:
        """The first result of *check* that is not None, asked again after every change; None after *timeout* s."""
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            bell = self._bell
            if (found := check()) is not None:
                return found
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                return None
            try:
                await asyncio.wait_for(bell.wait(), left)
            except TimeoutError:
                return check()

    # -- people and servers -----------------------------------------------------------------------------------

    def add_user(self, name: str, *, bot: bool = False) -> User:
        user = User(id=self.clock.snowflake(), name=name, bot=bot)
        self.users[user.id] = user
        return user

    def add_guild(
        self, name: str, owner: User, *, tier: int = 0, bot_permissions: int | None = permissions.BOT
    ) -> Guild:
        """A new server. *bot_permissions*: of the bot's own role; None leaves the bot outside."""
        guild_id = self.clock.snowflake()
        everyone = Role(id=guild_id, name="@everyone", permissions=int(permissions.EVERYONE))
        guild = Guild(id=guild_id, name=name, owner_id=owner.id, roles={guild_id: everyone}, tier=tier)
        self.guilds[guild_id] = guild
        self._admit(guild, owner, [])
        if bot_permissions is not None:
            self.invite_bot(guild, bot_permissions)
        return guild

    def invite_bot(self, guild: Guild, bot_permissions: int = permissions.BOT) -> None:
        role = self.add_role(guild, self.bot.name, bot_permissions)
        self._admit(guild, self.bot, [role.id])
        self.emit(Event(name="GUILD_CREATE", guild_id=guild.id, subject=guild))

    def add_role(self, guild: Guild, name: str, granted: int) -> Role:
        role = Role(id=self.clock.snowflake(), name=name, permissions=int(granted), position=len(guild.roles))
        guild.roles[role.id] = role
        self.emit(Event(name="GUILD_ROLE_CREATE", guild_id=guild.id, subject=role))
        return role

    def change_role(self, guild: Guild, role: Role, granted: int) -> None:
        role.permissions = int(granted)
        self.emit(Event(name="GUILD_ROLE_UPDATE", guild_id=guild.id, subject=role))

    def _admit(self, guild: Guild, user: User, roles: list[int]) -> Member:
        member = Member(user_id=user.id, roles=roles, joined_at=self.clock.now())
        guild.members[user.id] = member
        return member

    def join(self, guild: Guild, user: User, roles: Iterable[int] = ()) -> Member:
        member = self._admit(guild, user, list(roles))
        self.emit(Event(name="GUILD_MEMBER_ADD", guild_id=guild.id, subject=member))
        return member

    def set_roles(self, guild: Guild, user_id: int, roles: Iterable[int]) -> None:
        guild.members[user_id].roles = list(roles)
        self.emit(Event(name="GUILD_MEMBER_UPDATE", guild_id=guild.id, subject=guild.members[user_id]))

    def leave(self, guild: Guild, user_id: int) -> None:
        """A member goes, or is removed; they leave the server's threads too."""
        member = guild.members.pop(user_id)
        for channel in self.channels.values():
            if channel.guild_id == guild.id and channel.thread:
                channel.thread.members.pop(user_id, None)
        if user_id == self.bot.id:
            self.emit(Event(name="GUILD_DELETE", guild_id=guild.id, subject=guild))
        else:
            self.emit(Event(name="GUILD_MEMBER_REMOVE", guild_id=guild.id, subject=member))

    # -- channels ---------------------------------------------------------------------------------------------

    def add_channel(
        self,
        guild: Guild,
        name: str,
        kind: int = ChannelType.TEXT,
        *,
        parent_id: int | None = None,
        topic: str | None = None,
        overwrites: Iterable[Overwrite] = (),
    ) -> Channel:
        siblings = [one for one in self.channels.values() if one.guild_id == guild.id and not one.is_thread]
        channel = Channel(
            id=self.clock.snowflake(), type=kind, name=name, guild_id=guild.id, parent_id=parent_id, topic=topic
        )
        channel.position = len(siblings)
        channel.overwrites = {one.id: one for one in overwrites}
        self.channels[channel.id] = channel
        self.emit(Event(name="CHANNEL_CREATE", guild_id=guild.id, channel=channel, subject=channel))
        return channel

    def channel_changed(self, channel: Channel) -> None:
        self.emit(Event(name="CHANNEL_UPDATE", guild_id=channel.guild_id, channel=channel, subject=channel))

    def remove_channel(self, channel: Channel) -> None:
        """Delete a channel with its threads, or one thread."""
        for other in list(self.channels.values()):
            if other.is_thread and other.parent_id == channel.id:
                self.remove_channel(other)
        name = "THREAD_DELETE" if channel.is_thread else "CHANNEL_DELETE"
        self.emit(Event(name=name, guild_id=channel.guild_id, channel=channel, subject=channel))
        for message in channel.messages.values():
            message.deleted = True
            self.mark(message)
        del self.channels[channel.id]
        self.touch()

    def direct_channel(self, one: int, other: int) -> Channel:
        """The direct-message channel of two people, opened if needed."""
        for channel in self.channels.values():
            if channel.is_dm and set(channel.recipients) == {one, other}:
                return channel
        channel = Channel(id=self.clock.snowflake(), type=ChannelType.DM, recipients=[one, other])
        self.channels[channel.id] = channel
        return channel

    # -- who sees what ----------------------------------------------------------------------------------------

    def guild_of(self, channel: Channel) -> Guild | None:
        return self.guilds[channel.guild_id] if channel.guild_id is not None else None

    def parent(self, channel: Channel) -> Channel:
        """The channel that a thread hangs from; any other channel is its own."""
        return self.channels[channel.parent_id] if channel.is_thread and channel.parent_id else channel

    def permissions(self, user_id: int, channel: Channel) -> Permission:
        """What a person may do in *channel*; nothing when they cannot see it."""
        guild = self.guild_of(channel)
        if guild is None:
            return permissions.DIRECT if user_id in channel.recipients else Permission(0)
        member = guild.members.get(user_id)
        if member is None:
            return Permission(0)
        granted = permissions.in_channel(guild, member, self.parent(channel))
        if channel.type == ChannelType.PRIVATE_THREAD and channel.thread:
            inside = user_id in channel.thread.members or granted & Permission.MANAGE_THREADS
            return granted if inside else Permission(0)
        return granted

    def can_see(self, user_id: int, channel: Channel) -> bool:
        return bool(self.permissions(user_id, channel) & Permission.VIEW_CHANNEL)

    def sees(self, user_id: int, message: Message) -> bool:
        """Whether a person sees *message*: the channel is open to them and it is not ephemeral for another."""
        channel = self.channels.get(message.channel_id)
        if channel is None or message.deleted or not self.can_see(user_id, channel):
            return False
        return message.visible_to in (None, user_id)

    # -- look-up ----------------------------------------------------------------------------------------------

    def channel_for(self, user_id: int, channel_id: int) -> Channel:
        """The channel, or the refusal that Discord gives: 10003 unknown, 50001 not visible."""
        channel = self.channels.get(channel_id)
        if channel is None:
            raise refusals.unknown_channel()
        if not self.can_see(user_id, channel):
            raise refusals.missing_access()
        return channel

    def message_in(self, channel: Channel, message_id: int) -> Message:
        """A message that everybody in *channel* sees; ephemeral ones do not exist here (10008)."""
        message = channel.messages.get(message_id)
        if message is None or message.deleted or message.ephemeral:
            raise refusals.unknown_message()
        return message

    def guild_for(self, user_id: int, guild_id: int) -> Guild:
        """The server, or 10004 when it does not exist or the person is not in it."""
        guild = self.guilds.get(guild_id)
        if guild is None or user_id not in guild.members:
            raise refusals.unknown_guild()
        return guild

    def threads_of(self, guild_id: int) -> list[Channel]:
        return [one for one in self.channels.values() if one.guild_id == guild_id and one.is_thread]

    def mutual_guilds(self, one: int, other: int) -> list[Guild]:
        return [guild for guild in self.guilds.values() if one in guild.members and other in guild.members]
