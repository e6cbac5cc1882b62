"""What exists on the loopback Discord: people, servers, channels, messages.

Rule: plain mutable records, owned by `world.World`, changed only through it. Ids are Discord snowflakes
(integers here, strings on the wire); times are seconds since the epoch, UTC, on the playground's clock.
Not covered: JSON (see `payloads`) and what is allowed (see `rules`, `components`, `permissions`).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import Any

Json = dict[str, Any]


class ChannelType(IntEnum):
    TEXT = 0
    DM = 1
    CATEGORY = 4
    ANNOUNCEMENT = 5
    PUBLIC_THREAD = 11
    PRIVATE_THREAD = 12
    FORUM = 15


class MessageType(IntEnum):
    DEFAULT = 0
    RECIPIENT_ADD = 1
    RECIPIENT_REMOVE = 2
    CHANNEL_NAME_CHANGE = 4
    PINNED = 6
    THREAD_CREATED = 18
    REPLY = 19
    CHAT_INPUT_COMMAND = 20
    THREAD_STARTER = 21
    CONTEXT_MENU_COMMAND = 23


class MessageFlag(IntFlag):
    SUPPRESS_EMBEDS = 1 << 2
    HAS_THREAD = 1 << 5
    EPHEMERAL = 1 << 6
    LOADING = 1 << 7
    SUPPRESS_NOTIFICATIONS = 1 << 12
    COMPONENTS_V2 = 1 << 15


@dataclass(kw_only=True)
class User:
    id: int
    name: str
    bot: bool = False
    accepts_dms: bool = True  # False: the bot's direct messages are refused (50007)
    upload_limit: int = 10 * 1024 * 1024  # bytes a file; people with a subscription have more


@dataclass(kw_only=True)
class Role:
    id: int
    name: str
    permissions: int
    position: int = 0


@dataclass(kw_only=True)
class Member:
    user_id: int
    roles: list[int]
    joined_at: float


@dataclass(kw_only=True)
class Overwrite:
    id: int  # a role's or a member's
    kind: int  # 0 role, 1 member
    allow: int = 0
    deny: int = 0


@dataclass(kw_only=True)
class Guild:
    id: int
    name: str
    owner_id: int
    roles: dict[int, Role]  # @everyone has the guild's own id
    members: dict[int, Member] = field(default_factory=dict)
    tier: int = 0  # boosts: 0 and 1 → 10 MiB a file, 2 → 50 MiB, 3 → 100 MiB

    @property
    def attachment_limit(self) -> int:
        """Bytes a file may have in this server."""
        return {2: 50, 3: 100}.get(self.tier, 10) * 1024 * 1024


@dataclass(kw_only=True)
class Attachment:
    id: int
    filename: str
    data: bytes
    content_type: str | None
    channel_id: int
    ephemeral: bool = False
    description: str | None = None
    spoiler: bool = False
    width: int | None = None
    height: int | None = None


@dataclass(kw_only=True)
class Edit:
    """What a message was before an edit, and when it ceased to be that."""

    at: float
    text: str  # all that could be read, in order


@dataclass(kw_only=True)
class Message:
    id: int
    channel_id: int
    author_id: int
    created_at: float
    content: str = ""
    type: int = MessageType.DEFAULT
    flags: int = 0
    embeds: list[Json] = field(default_factory=list)
    components: list[Json] = field(default_factory=list)
    attachments: list[Attachment] = field(default_factory=list)
    edited_at: float | None = None
    reference: Json | None = None  # {"message_id", "channel_id"} of the message replied to
    mentions: list[int] = field(default_factory=list)  # people that were notified
    mention_roles: list[int] = field(default_factory=list)
    mention_everyone: bool = False
    reactions: dict[str, list[int]] = field(default_factory=dict)  # emoji → who, in order
    nonce: str | None = None
    pinned: bool = False
    tts: bool = False
    visible_to: int | None = None  # of an ephemeral message: the one person who sees it
    interaction_id: int | None = None  # the interaction that this message answers
    interaction: Json | None = None  # interaction_metadata, as on the wire
    command_name: str | None = None
    deleted: bool = False
    history: list[Edit] = field(default_factory=list)
    revision: int = 0  # world revision of the last change
    late_edits: list[float] = field(default_factory=list)  # edits made when older than an hour

    @property
    def ephemeral(self) -> bool:
        return bool(self.flags & MessageFlag.EPHEMERAL)

    @property
    def loading(self) -> bool:
        return bool(self.flags & MessageFlag.LOADING)


@dataclass(kw_only=True)
class ThreadState:
    owner_id: int
    created_at: float
    archived: bool = False
    locked: bool = False
    invitable: bool = True
    auto_archive_duration: int = 1440  # minutes
    archived_at: float = 0.0  # when `archived` last changed
    members: dict[int, float] = field(default_factory=dict)  # user id → joined at
    total_sent: int = 0
    applied_tags: list[int] = field(default_factory=list)


@dataclass(kw_only=True)
class Channel:
    id: int
    type: int
    name: str = ""
    guild_id: int | None = None
    parent_id: int | None = None  # category of a channel, channel of a thread
    position: int = 0
    topic: str | None = None
    slowmode: int = 0  # seconds between two messages of one person
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    recipients: list[int] = field(default_factory=list)  # of a direct-message channel
    messages: dict[int, Message] = field(default_factory=dict)  # oldest first
    thread: ThreadState | None = None
    tags: list[Json] = field(default_factory=list)  # of a forum
    typing: list[tuple[int, float]] = field(default_factory=list)  # who, when

    @property
    def is_dm(self) -> bool:
        return self.type == ChannelType.DM

    @property
    def is_thread(self) -> bool:
        return self.thread is not None
