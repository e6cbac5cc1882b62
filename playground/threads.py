"""Threads: starting, joining, archiving.

Rule: an archived thread that is not locked wakes when somebody writes in it; a locked one needs a moderator.
People who are mentioned in a private thread become members of it.
Not covered: auto-archiving by the clock (nothing archives by itself), notification settings; the system
messages that go with all this are in `messages`.
"""

from __future__ import annotations

from playground.model import Channel, Json, Message, MessageType, ThreadState
from playground.permissions import Permission
from playground.world import Event, World


def start(
    world: World,
    parent: Channel,
    owner_id: int,
    name: str,
    *,
    kind: int,
    duration: int = 1440,
    invitable: bool = True,
    from_message: Message | None = None,
    slowmode: int = 0,
    applied_tags: list[int] | None = None,
) -> Channel:
    """Start a thread under *parent*; *duration* in minutes. A thread from a message shares its id."""
    now = world.clock.now()
    thread = Channel(
        id=from_message.id if from_message else world.clock.snowflake(),
        type=kind,
        name=name,
        guild_id=parent.guild_id,
        parent_id=parent.id,
        slowmode=slowmode,
        thread=ThreadState(
            owner_id=owner_id,
            created_at=now,
            archived_at=now,
            auto_archive_duration=duration,
            invitable=invitable,
            members={owner_id: now},
            applied_tags=applied_tags or [],
        ),
    )
    world.channels[thread.id] = thread
    world.emit(
        Event(name="THREAD_CREATE", guild_id=thread.guild_id, channel=thread, subject=thread, detail={"new": True})
    )
    return thread


def add_member(world: World, thread: Channel, user_id: int) -> bool:
    """Put a person in *thread*. Whether they were not in it before."""
    assert thread.thread
    if user_id in thread.thread.members:
        return False
    thread.thread.members[user_id] = world.clock.now()
    if user_id == world.bot.id:  # only now does the thread exist for the bot
        world.emit(
            Event(name="THREAD_CREATE", guild_id=thread.guild_id, channel=thread, subject=thread, detail={"new": False})
        )
    _members_changed(world, thread, added=[user_id])
    return True


def remove_member(world: World, thread: Channel, user_id: int) -> None:
    assert thread.thread
    if thread.thread.members.pop(user_id, None) is not None:
        _members_changed(world, thread, removed=[user_id])


def _members_changed(
    world: World, thread: Channel, added: list[int] | None = None, removed: list[int] | None = None
) -> None:
    detail = {"added": added or [], "removed": removed or []}
    world.emit(
        Event(name="THREAD_MEMBERS_UPDATE", guild_id=thread.guild_id, channel=thread, subject=thread, detail=detail)
    )


def update(world: World, thread: Channel, changes: Json) -> None:
    """Change name, archived, locked, invitable, duration, slow mode or tags of *thread*."""
    state = thread.thread
    assert state
    for name, value in changes.items():
        if name in ("name", "slowmode"):
            setattr(thread, name, value)
            continue
        if name == "archived" and value != state.archived:
            state.archived_at = world.clock.now()
        setattr(state, name, value)
    world.emit(Event(name="THREAD_UPDATE", guild_id=thread.guild_id, channel=thread, subject=thread))


def wake(world: World, thread: Channel, message: Message) -> None:
    """What a message does to its thread: unarchive it, bring in its author and whom it mentions."""
    state = thread.thread
    assert state
    if state.archived:
        update(world, thread, {"archived": False})
    if message.type in (MessageType.RECIPIENT_ADD, MessageType.THREAD_STARTER):
        return
    newcomers = [message.author_id]
    if state.invitable or world.permissions(message.author_id, thread) & Permission.MANAGE_THREADS:
        newcomers += message.mentions
    for user_id in newcomers:
        if user_id not in state.members and world.can_see(user_id, world.parent(thread)):
            add_member(world, thread, user_id)
