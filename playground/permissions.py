"""Permission bits and how Discord computes them in a channel.

Rule: owner and administrators hold everything; otherwise @everyone, then roles, then the channel's
overwrites (everyone, roles, member). Threads take the permissions of their parent.
Not covered: time-outs, two-factor requirements and role hierarchy.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import IntFlag

from playground.model import Channel, Guild, Member


class Permission(IntFlag):
    CREATE_INSTANT_INVITE = 1 << 0
    KICK_MEMBERS = 1 << 1
    BAN_MEMBERS = 1 << 2
    ADMINISTRATOR = 1 << 3
    MANAGE_CHANNELS = 1 << 4
    MANAGE_GUILD = 1 << 5
    ADD_REACTIONS = 1 << 6
    VIEW_CHANNEL = 1 << 10
    SEND_MESSAGES = 1 << 11
    MANAGE_MESSAGES = 1 << 13
    EMBED_LINKS = 1 << 14
    ATTACH_FILES = 1 << 15
    READ_MESSAGE_HISTORY = 1 << 16
    MENTION_EVERYONE = 1 << 17
    USE_EXTERNAL_EMOJIS = 1 << 18
    MANAGE_ROLES = 1 << 28
    USE_APPLICATION_COMMANDS = 1 << 31
    MANAGE_THREADS = 1 << 34
    CREATE_PUBLIC_THREADS = 1 << 35
    CREATE_PRIVATE_THREADS = 1 << 36
    SEND_MESSAGES_IN_THREADS = 1 << 38


ALL = Permission((1 << 50) - 1)

# What a new server gives to everybody.
EVERYONE = (
    Permission.CREATE_INSTANT_INVITE
    | Permission.ADD_REACTIONS
    | Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.USE_EXTERNAL_EMOJIS
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.CREATE_PUBLIC_THREADS
    | Permission.SEND_MESSAGES_IN_THREADS
)

# What an invitation of the bot usually asks for; no administrator, no @everyone.
BOT = EVERYONE | Permission.CREATE_PRIVATE_THREADS | Permission.MANAGE_THREADS

# In a direct message everybody may do the everyday things.
DIRECT = (
    Permission.ADD_REACTIONS
    | Permission.VIEW_CHANNEL
    | Permission.SEND_MESSAGES
    | Permission.EMBED_LINKS
    | Permission.ATTACH_FILES
    | Permission.READ_MESSAGE_HISTORY
    | Permission.USE_EXTERNAL_EMOJIS
    | Permission.USE_APPLICATION_COMMANDS
    | Permission.MENTION_EVERYONE
)


def in_guild(guild: Guild, member: Member) -> Permission:
    """Permissions of *member* in *guild* before any channel overwrite."""
    if member.user_id == guild.owner_id:
        return ALL
    granted = guild.roles[guild.id].permissions
    for role_id in member.roles:
        granted |= guild.roles[role_id].permissions
    return ALL if granted & Permission.ADMINISTRATOR else Permission(granted)


def in_channel(guild: Guild, member: Member, channel: Channel) -> Permission:
    """Permissions of *member* in *channel* (of a thread: pass its parent), overwrites applied."""
    base = in_guild(guild, member)
    if base == ALL:
        return base
    order: list[Iterable[int]] = [[guild.id], member.roles, [member.user_id]]
    for ids in order:
        allow = deny = 0
        for overwritten in ids:
            if overwrite := channel.overwrites.get(overwritten):
                allow |= overwrite.allow
                deny |= overwrite.deny
        base = Permission((base & ~deny) | allow)
    if not base & Permission.VIEW_CHANNEL:
        return Permission(0)
    return base
