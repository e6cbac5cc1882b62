"""People, servers, the application and its commands."""

from __future__ import annotations

from typing import Any

from playground import messages, permissions, refusals, rules
from playground.api import Api
from playground.model import Json
from playground.refusals import FormErrors
from playground.rest import Call, Route

CONTENT_FLAG = 1 << 18  # gateway_message_content
MEMBERS_FLAG = 1 << 14  # gateway_guild_members


async def own_user(api: Api, call: Call) -> Json:
    return api.payloads.user(api.world.bot) | {"verified": True, "mfa_enabled": False, "flags": 0, "locale": "es-ES"}


async def own_guilds(api: Api, call: Call) -> list[Json]:
    world = api.world
    return [
        {
            "id": str(one.id),
            "name": one.name,
            "icon": None,
            "owner": one.owner_id == world.bot.id,
            "permissions": str(int(permissions.in_guild(one, one.members[world.bot.id]))),
            "features": [],
        }
        for one in world.guilds.values()
        if world.bot.id in one.members
    ]


async def application(api: Api, call: Call) -> Json:
    bot = api.world.bot
    return {
        "id": str(bot.id),
        "name": bot.name,
        "icon": None,
        "description": "",
        "bot_public": True,
        "bot_require_code_grant": False,
        "verify_key": "0" * 64,
        "flags": MEMBERS_FLAG | (CONTENT_FLAG if api.message_content else 0),
        "owner": api.payloads.user(bot),
        "approximate_guild_count": sum(bot.id in one.members for one in api.world.guilds.values()),
    }


async def user(api: Api, call: Call) -> Json:
    found = api.world.users.get(call.id("user"))
    if found is None:
        raise refusals.unknown_user()
    return api.payloads.user(found)


async def open_direct(api: Api, call: Call) -> Json:
    world = api.world
    errors = FormErrors()
    recipient = call.body.get("recipient_id")
    if recipient is None or not str(recipient).isdigit():
        errors.required("recipient_id")
    errors.refuse_if_any()
    other = world.users.get(int(str(recipient)))
    if other is None:
        raise refusals.unknown_user()
    if other.bot:
        raise refusals.cannot_message_user()
    return api.payloads.channel(world.direct_channel(world.bot.id, other.id))


async def guild(api: Api, call: Call) -> Json:
    found = api.world.guild_for(api.world.bot.id, call.id("guild"))
    data = api.payloads.guild(found)
    return data | ({"approximate_member_count": len(found.members)} if call.query.get("with_counts") else {})


async def guild_channels(api: Api, call: Call) -> list[Json]:
    found = api.world.guild_for(api.world.bot.id, call.id("guild"))
    channels = [one for one in api.world.channels.values() if one.guild_id == found.id and not one.is_thread]
    return [api.payloads.channel(one) for one in channels]


async def active_threads(api: Api, call: Call) -> Json:
    world = api.world
    found = world.guild_for(world.bot.id, call.id("guild"))
    shown = [one for one in world.threads_of(found.id) if one.thread and not one.thread.archived]
    shown = [one for one in shown if world.can_see(world.bot.id, one)]
    joined = [one for one in shown if one.thread and world.bot.id in one.thread.members]
    return {
        "threads": [api.payloads.channel(one) for one in shown],
        "members": [api.payloads.thread_member(one, world.bot.id) for one in joined],
    }


async def member(api: Api, call: Call) -> Json:
    world = api.world
    found = world.guild_for(world.bot.id, call.id("guild")).members.get(call.id("user"))
    if found is None:
        raise refusals.unknown_member() if call.id("user") in world.users else refusals.unknown_user()
    return api.payloads.member(found)


async def channel(api: Api, call: Call) -> Json:
    return api.payloads.channel(api.world.channel_for(api.world.bot.id, call.id("channel")))


def _check_application(api: Api, call: Call) -> None:
    if call.id("application") != api.world.bot.id:
        raise refusals.unknown_application()


async def put_commands(api: Api, call: Call) -> list[Json]:
    _check_application(api, call)
    guild_id: int | None = None
    if "guild" in call.params:
        guild_id = call.id("guild")
        if guild_id not in api.world.guilds or api.world.bot.id not in api.world.guilds[guild_id].members:
            raise refusals.missing_access()
    wanted: Any = call.body.get("_list", [])
    return api.commands.replace(guild_id, wanted)


async def get_commands(api: Api, call: Call) -> list[Json]:
    _check_application(api, call)
    return api.commands.registered(call.id("guild") if "guild" in call.params else None)


async def typing(api: Api, call: Call) -> None:
    found = api.world.channel_for(api.world.bot.id, call.id("channel"))
    rules.may_send(api.world, api.world.bot.id, found)
    messages.start_typing(api.world, found, api.world.bot.id)


async def gateway_bot(api: Api, call: Call) -> Json:
    limit = {"total": 1000, "remaining": 1000, "reset_after": 0, "max_concurrency": 1}
    url = api.payloads.links.origin.replace("http", "ws", 1) + "/gateway"
    return {"url": url, "shards": 1, "session_start_limit": limit}


ROUTES = [
    Route(method="GET", template="/gateway/bot", handler=gateway_bot),
    Route(method="GET", template="/users/@me", handler=own_user),
    Route(method="GET", template="/users/@me/guilds", handler=own_guilds),
    Route(method="GET", template="/oauth2/applications/@me", handler=application),
    Route(method="GET", template="/users/{user}", handler=user),
    Route(method="POST", template="/users/@me/channels", handler=open_direct),
    Route(method="GET", template="/guilds/{guild}", handler=guild),
    Route(method="GET", template="/guilds/{guild}/channels", handler=guild_channels),
    Route(method="GET", template="/guilds/{guild}/threads/active", handler=active_threads),
    Route(method="GET", template="/guilds/{guild}/members/{user}", handler=member),
    Route(method="GET", template="/channels/{channel}", handler=channel),
    Route(method="POST", template="/channels/{channel}/typing", handler=typing),
    Route(method="PUT", template="/applications/{application}/commands", handler=put_commands),
    Route(method="GET", template="/applications/{application}/commands", handler=get_commands),
    Route(method="PUT", template="/applications/{application}/guilds/{guild}/commands", handler=put_commands),
    Route(method="GET", template="/applications/{application}/guilds/{guild}/commands", handler=get_commands),
]
