"""Threads and forum posts: starting, changing, members, lists."""

from __future__ import annotations

from playground import compose, messages, refusals, rules, threads
from playground.api import Api
from playground.field_rules import unknown_keys
from playground.model import Channel, ChannelType, Json
from playground.permissions import Permission
from playground.refusals import FormErrors
from playground.rest import Call, Route

START_FIELDS = {"name", "auto_archive_duration", "type", "invitable", "rate_limit_per_user", "message", "applied_tags"}
UPDATE_FIELDS = {
    "name", "archived", "auto_archive_duration", "locked", "invitable", "rate_limit_per_user", "flags", "applied_tags",
}  # fmt: skip
CHANNEL_FIELDS = {
    "name", "type", "position", "topic", "nsfw", "rate_limit_per_user", "permission_overwrites", "parent_id",
}  # fmt: skip
MOST_ACTIVE = 1000  # threads of a server


def _channel(api: Api, call: Call) -> Channel:
    return api.world.channel_for(api.world.bot.id, call.id("channel"))


def _thread(api: Api, call: Call) -> Channel:
    channel = _channel(api, call)
    if not channel.is_thread:
        raise refusals.wrong_channel_type()
    return channel


def _check_start(api: Api, parent: Channel, body: Json) -> None:
    errors = FormErrors()
    unknown_keys(body, START_FIELDS, errors, "")
    rules.check_thread_name(body, errors)
    errors.refuse_if_any()
    active = [one for one in api.world.threads_of(parent.guild_id or 0) if one.thread and not one.thread.archived]
    if len(active) >= MOST_ACTIVE:
        raise refusals.too_many_threads()


async def start_from_message(api: Api, call: Call) -> Json:
    world, parent = api.world, _channel(api, call)
    if parent.type not in (ChannelType.TEXT, ChannelType.ANNOUNCEMENT):
        raise refusals.wrong_channel_type()
    origin = world.message_in(parent, call.id("message"))
    if origin.id in world.channels:
        raise refusals.thread_exists()
    if not world.permissions(world.bot.id, parent) & Permission.CREATE_PUBLIC_THREADS:
        raise refusals.missing_permissions()
    _check_start(api, parent, call.body)
    thread = threads.start(
        world,
        parent,
        world.bot.id,
        call.body["name"].strip(),
        kind=ChannelType.PUBLIC_THREAD,
        duration=call.body.get("auto_archive_duration") or 1440,
        from_message=origin,
        slowmode=call.body.get("rate_limit_per_user") or 0,
    )
    messages.announce_thread(world, parent, thread, world.bot.id, origin)
    return api.payloads.channel(thread)


async def start(api: Api, call: Call) -> Json:
    world, parent, body = api.world, _channel(api, call), call.body
    if parent.type == ChannelType.FORUM:
        return await start_post(api, parent, call)
    if parent.type not in (ChannelType.TEXT, ChannelType.ANNOUNCEMENT):
        raise refusals.wrong_channel_type()
    kind = int(body.get("type") or ChannelType.PRIVATE_THREAD)
    if kind not in (ChannelType.PUBLIC_THREAD, ChannelType.PRIVATE_THREAD):
        raise refusals.form_error("type", "BASE_TYPE_CHOICES", "Value must be one of {10, 11, 12}.")
    private = kind == ChannelType.PRIVATE_THREAD
    needed = Permission.CREATE_PRIVATE_THREADS if private else Permission.CREATE_PUBLIC_THREADS
    if not world.permissions(world.bot.id, parent) & needed:
        raise refusals.missing_permissions()
    _check_start(api, parent, body)
    thread = threads.start(
        world,
        parent,
        world.bot.id,
        body["name"].strip(),
        kind=kind,
        duration=body.get("auto_archive_duration") or 1440,
        invitable=bool(body.get("invitable", True)),
        slowmode=body.get("rate_limit_per_user") or 0,
    )
    messages.announce_thread(world, parent, thread, world.bot.id, None)
    return api.payloads.channel(thread)


async def start_post(api: Api, forum: Channel, call: Call) -> Json:
    """A post of a forum: a thread and its first message, which share an id."""
    world, body = api.world, call.body
    rules_needed = Permission.SEND_MESSAGES
    if not world.permissions(world.bot.id, forum) & rules_needed:
        raise refusals.missing_permissions()
    _check_start(api, forum, body)
    if not isinstance(body.get("message"), dict):
        raise refusals.form_error("message", "BASE_TYPE_REQUIRED", "This field is required")
    guild = world.guild_of(forum)
    assert guild
    draft = compose.draft(world, forum, body["message"], call.uploads, limit=guild.attachment_limit)
    thread = threads.start(
        world,
        forum,
        world.bot.id,
        body["name"].strip(),
        kind=ChannelType.PUBLIC_THREAD,
        duration=body.get("auto_archive_duration") or 1440,
        slowmode=body.get("rate_limit_per_user") or 0,
        applied_tags=[int(one) for one in body.get("applied_tags") or []],
    )
    message = messages.post(world, thread, world.bot.id, draft, message_id=thread.id)
    return api.payloads.channel(thread) | {"message": api.payloads.message(message)}


async def update(api: Api, call: Call) -> Json:
    channel = _channel(api, call)
    if not channel.is_thread:
        return _update_channel(api, channel, call.body)
    world, body, state = api.world, call.body, channel.thread
    assert state
    errors = FormErrors()
    unknown_keys(body, UPDATE_FIELDS, errors, "")
    if "name" in body or "auto_archive_duration" in body:
        rules.check_thread_name({"name": channel.name} | body, errors)
    errors.refuse_if_any()
    granted = world.permissions(world.bot.id, channel)
    moderator = bool(granted & Permission.MANAGE_THREADS)
    owner = state.owner_id == world.bot.id
    waking = body.get("archived") is False
    if state.archived and not waking and set(body) - {"archived"}:
        raise refusals.thread_archived()
    if state.archived and state.locked and waking and not moderator:
        raise refusals.missing_permissions()
    only_owner = set(body) <= {"name", "archived", "auto_archive_duration", "applied_tags", "invitable"}
    if set(body) == {"archived"} and waking and granted & Permission.SEND_MESSAGES_IN_THREADS:
        pass
    elif not moderator and not (owner and only_owner):
        raise refusals.missing_permissions()
    names = {"rate_limit_per_user": "slowmode"}
    wanted = {names.get(key, key): value for key, value in body.items() if key != "flags" and value is not None}
    if "applied_tags" in wanted:
        wanted["applied_tags"] = [int(one) for one in wanted["applied_tags"]]
    threads.update(world, channel, wanted)
    return api.payloads.channel(channel)


def _update_channel(api: Api, channel: Channel, body: Json) -> Json:
    """Name, topic and slow mode of a channel; other fields of the contract are read and kept as they are."""
    world = api.world
    errors = FormErrors()
    unknown_keys(body, CHANNEL_FIELDS, errors, "")
    if "name" in body:
        errors.length("name", str(body["name"]), 1, 100)
    errors.refuse_if_any()
    if channel.is_dm:
        raise refusals.wrong_channel_type()
    if not world.permissions(world.bot.id, channel) & Permission.MANAGE_CHANNELS:
        raise refusals.missing_permissions()
    channel.name = body.get("name", channel.name)
    channel.topic = body.get("topic", channel.topic)
    channel.slowmode = body.get("rate_limit_per_user", channel.slowmode)
    world.channel_changed(channel)
    return api.payloads.channel(channel)


async def delete(api: Api, call: Call) -> Json:
    world, channel = api.world, _channel(api, call)
    if channel.is_dm:
        raise refusals.wrong_channel_type()
    needed = Permission.MANAGE_THREADS if channel.is_thread else Permission.MANAGE_CHANNELS
    if not world.permissions(world.bot.id, channel) & needed:
        raise refusals.missing_permissions()
    data = api.payloads.channel(channel)
    world.remove_channel(channel)
    return data


async def put_member(api: Api, call: Call) -> None:
    world, thread = api.world, _thread(api, call)
    rules.refuse_archived(thread)
    if call.params["user"] == "@me":
        threads.add_member(world, thread, world.bot.id)
        return
    user_id = call.id("user")
    if user_id not in world.users:
        raise refusals.unknown_user()
    if not world.permissions(world.bot.id, thread) & Permission.SEND_MESSAGES_IN_THREADS:
        raise refusals.missing_permissions()
    if not world.can_see(user_id, world.parent(thread)):
        raise refusals.missing_access()
    state = thread.thread
    assert state
    moderator = world.permissions(world.bot.id, thread) & Permission.MANAGE_THREADS
    closed = thread.type == ChannelType.PRIVATE_THREAD and not state.invitable
    if closed and not moderator and state.owner_id != world.bot.id:
        raise refusals.missing_permissions()
    if threads.add_member(world, thread, user_id):
        messages.announce_member(world, thread, user_id, world.bot.id)


async def drop_member(api: Api, call: Call) -> None:
    world, thread = api.world, _thread(api, call)
    rules.refuse_archived(thread)
    user_id = world.bot.id if call.params["user"] == "@me" else call.id("user")
    assert thread.thread
    moderator = world.permissions(world.bot.id, thread) & Permission.MANAGE_THREADS
    owner = thread.type == ChannelType.PRIVATE_THREAD and thread.thread.owner_id == world.bot.id
    if user_id != world.bot.id and not moderator and not owner:
        raise refusals.missing_permissions()
    threads.remove_member(world, thread, user_id)


async def members(api: Api, call: Call) -> list[Json]:
    thread = _thread(api, call)
    assert thread.thread
    return [api.payloads.thread_member(thread, one) for one in thread.thread.members]


async def one_member(api: Api, call: Call) -> Json:
    thread = _thread(api, call)
    user_id = api.world.bot.id if call.params["user"] == "@me" else call.id("user")
    if thread.thread is None or user_id not in thread.thread.members:
        raise refusals.unknown_member()
    return api.payloads.thread_member(thread, user_id)


async def archived(api: Api, call: Call) -> Json:
    """The archived threads of a channel that the bot may see, newest first."""
    world, parent = api.world, _channel(api, call)
    private = call.params["kind"] == "private"
    if private and not world.permissions(world.bot.id, parent) & Permission.MANAGE_THREADS:
        raise refusals.missing_permissions()
    kind = ChannelType.PRIVATE_THREAD if private else ChannelType.PUBLIC_THREAD
    found = [one for one in world.threads_of(parent.guild_id or 0) if one.parent_id == parent.id and one.type == kind]
    found = [one for one in found if one.thread and one.thread.archived]
    found.sort(key=lambda one: one.thread.archived_at if one.thread else 0, reverse=True)
    limit = int(call.query.get("limit", 50))
    return {
        "threads": [api.payloads.channel(one) for one in found[:limit]],
        "members": [],
        "has_more": len(found) > limit,
    }


_MEMBER = "/channels/{channel}/thread-members/{user}"
ROUTES = [
    Route(method="POST", template="/channels/{channel}/messages/{message}/threads", handler=start_from_message),
    Route(method="POST", template="/channels/{channel}/threads", handler=start),
    Route(method="PATCH", template="/channels/{channel}", handler=update),
    Route(method="DELETE", template="/channels/{channel}", handler=delete),
    Route(method="GET", template="/channels/{channel}/thread-members", handler=members),
    Route(method="GET", template=_MEMBER, handler=one_member),
    Route(method="PUT", template=_MEMBER, handler=put_member),
    Route(method="DELETE", template=_MEMBER, handler=drop_member),
    Route(method="GET", template="/channels/{channel}/threads/archived/{kind}", handler=archived),
]
