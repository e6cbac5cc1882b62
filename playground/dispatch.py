"""Which event a session of the bot receives, and with which JSON.

Rule: an event goes out only if the bot may see it (channel, private thread, server) and asked for it (intents).
Not covered: presences and voice.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntFlag

from playground.model import Json
from playground.payloads import Payloads
from playground.world import Event, World


class Intent(IntFlag):
    GUILDS = 1 << 0
    GUILD_MEMBERS = 1 << 1
    GUILD_PRESENCES = 1 << 8
    GUILD_MESSAGES = 1 << 9
    GUILD_MESSAGE_REACTIONS = 1 << 10
    GUILD_MESSAGE_TYPING = 1 << 11
    DIRECT_MESSAGES = 1 << 12
    DIRECT_MESSAGE_REACTIONS = 1 << 13
    DIRECT_MESSAGE_TYPING = 1 << 14
    MESSAGE_CONTENT = 1 << 15


PRIVILEGED = Intent.GUILD_MEMBERS | Intent.GUILD_PRESENCES | Intent.MESSAGE_CONTENT
KNOWN = (1 << 26) - 1


def on_shard(guild_id: int | None, shard: tuple[int, int]) -> bool:
    """Whether a shard (its number, of how many) hears of a server; direct messages are the first one's."""
    number, count = shard
    return number == ((guild_id >> 22) % count if guild_id else 0)


# event → the intents for it in a server, and in a direct message (0: always)
WANTED: dict[str, tuple[int, int]] = {
    "MESSAGE_CREATE": (Intent.GUILD_MESSAGES, Intent.DIRECT_MESSAGES),
    "MESSAGE_UPDATE": (Intent.GUILD_MESSAGES, Intent.DIRECT_MESSAGES),
    "MESSAGE_DELETE": (Intent.GUILD_MESSAGES, Intent.DIRECT_MESSAGES),
    "MESSAGE_REACTION_ADD": (Intent.GUILD_MESSAGE_REACTIONS, Intent.DIRECT_MESSAGE_REACTIONS),
    "MESSAGE_REACTION_REMOVE": (Intent.GUILD_MESSAGE_REACTIONS, Intent.DIRECT_MESSAGE_REACTIONS),
    "TYPING_START": (Intent.GUILD_MESSAGE_TYPING, Intent.DIRECT_MESSAGE_TYPING),
    "GUILD_MEMBER_ADD": (Intent.GUILD_MEMBERS, 0),
    "GUILD_MEMBER_REMOVE": (Intent.GUILD_MEMBERS, 0),
    "GUILD_MEMBER_UPDATE": (Intent.GUILD_MEMBERS, 0),
    "INTERACTION_CREATE": (0, 0),
}


class Dispatcher:
    """Translates events of the world for a session with certain intents."""

    def __init__(self, world: World, payloads: Payloads) -> None:
        self.world = world
        self.payloads = payloads
        self._builders: dict[str, Callable[[Event, int], Json]] = {
            "MESSAGE_CREATE": self._message,
            "MESSAGE_UPDATE": self._message,
            "MESSAGE_DELETE": self._message_delete,
            "MESSAGE_REACTION_ADD": self._reaction,
            "MESSAGE_REACTION_REMOVE": self._reaction,
            "TYPING_START": self._typing,
            "THREAD_CREATE": self._thread_create,
            "THREAD_UPDATE": self._channel,
            "THREAD_DELETE": self._thread_delete,
            "THREAD_MEMBERS_UPDATE": self._thread_members,
            "CHANNEL_CREATE": self._channel,
            "CHANNEL_UPDATE": self._channel,
            "CHANNEL_DELETE": self._channel,
            "GUILD_CREATE": self._guild_create,
            "GUILD_DELETE": lambda event, intents: {"id": str(event.guild_id)},
            "GUILD_ROLE_CREATE": self._role,
            "GUILD_ROLE_UPDATE": self._role,
            "GUILD_MEMBER_ADD": self._member,
            "GUILD_MEMBER_REMOVE": self._member_remove,
            "GUILD_MEMBER_UPDATE": self._member,
            "INTERACTION_CREATE": lambda event, intents: dict(event.subject),
        }

    def translate(self, event: Event, intents: int) -> Json | None:
        """The data of the dispatch, or None when this session does not get it."""
        if not self._asked_for(event, intents) or not self._visible(event):
            return None
        return self._builders[event.name](event, intents)

    def _asked_for(self, event: Event, intents: int) -> bool:
        in_guild, in_dm = WANTED.get(event.name, (Intent.GUILDS, 0))
        wanted = in_guild if event.guild_id else in_dm
        if event.name == "GUILD_MEMBER_UPDATE" and event.subject.user_id == self.world.bot.id:
            return True
        return not wanted or bool(intents & wanted)

    def _visible(self, event: Event) -> bool:
        bot = self.world.bot.id
        if event.name in ("INTERACTION_CREATE", "GUILD_DELETE"):
            return True
        if event.guild_id and bot not in self.world.guilds[event.guild_id].members:
            return False
        if event.name == "THREAD_MEMBERS_UPDATE" and bot in event.detail["removed"]:
            return True
        if event.name.startswith("CHANNEL_"):  # channels are sent whole, visible or not
            return True
        return event.channel is None or self.world.can_see(bot, event.channel)

    # -- builders ---------------------------------------------------------------------------------------------

    def _message(self, event: Event, intents: int) -> Json:
        return self.payloads.gateway_message(event.subject, intents)

    def _place(self, event: Event) -> Json:
        assert event.channel
        place: Json = {"channel_id": str(event.channel.id)}
        return place | ({"guild_id": str(event.guild_id)} if event.guild_id else {})

    def _message_delete(self, event: Event, intents: int) -> Json:
        return {"id": str(event.subject.id), **self._place(event)}

    def _reaction(self, event: Event, intents: int) -> Json:
        user_id = event.detail["user_id"]
        data = {
            "user_id": str(user_id),
            "message_id": str(event.subject.id),
            "message_author_id": str(event.subject.author_id),
            "emoji": self.payloads.emoji(event.detail["emoji"]),
            "type": 0,
            "burst": False,
            **self._place(event),
        }
        if event.guild_id and event.name.endswith("ADD"):
            member = self.world.guilds[event.guild_id].members.get(user_id)
            if member:
                data["member"] = self.payloads.member(member)
        return data

    def _typing(self, event: Event, intents: int) -> Json:
        user_id = event.detail["user_id"]
        data = {"user_id": str(user_id), "timestamp": int(self.world.clock.now()), **self._place(event)}
        if event.guild_id and (member := self.world.guilds[event.guild_id].members.get(user_id)):
            data["member"] = self.payloads.member(member)
        return data

    def _channel(self, event: Event, intents: int) -> Json:
        return self.payloads.channel(event.subject)

    def _thread_create(self, event: Event, intents: int) -> Json:
        data = self.payloads.channel(event.subject)
        return data | ({"newly_created": True} if event.detail["new"] else {})

    def _thread_delete(self, event: Event, intents: int) -> Json:
        thread = event.subject
        data = {"id": str(thread.id), "guild_id": str(thread.guild_id), "parent_id": str(thread.parent_id)}
        return data | {"type": int(thread.type)}

    def _thread_members(self, event: Event, intents: int) -> Json:
        thread = event.subject
        added = [self.payloads.thread_member(thread, one) for one in event.detail["added"]]
        return {
            "id": str(thread.id),
            "guild_id": str(thread.guild_id),
            "member_count": len(thread.thread.members),
            "added_members": added,
            "removed_member_ids": [str(one) for one in event.detail["removed"]],
        }

    def _guild_create(self, event: Event, intents: int) -> Json:
        data = self.payloads.guild_create(event.subject, all_members=bool(intents & Intent.GUILD_MEMBERS))
        # After READY the key says «available again»; a server that the bot has just joined comes without it.
        return data if event.detail else {key: value for key, value in data.items() if key != "unavailable"}

    def _role(self, event: Event, intents: int) -> Json:
        return {"guild_id": str(event.guild_id), "role": self.payloads.role(event.subject)}

    def _member(self, event: Event, intents: int) -> Json:
        return self.payloads.member(event.subject) | {"guild_id": str(event.guild_id)}

    def _member_remove(self, event: Event, intents: int) -> Json:
        user = self.world.users[event.subject.user_id]
        return {"guild_id": str(event.guild_id), "user": self.payloads.user(user)}

    def chunk(self, guild_id: int, request: Json) -> Json:
        """GUILD_MEMBERS_CHUNK for an op 8; the nonce is echoed."""
        guild = self.world.guilds[guild_id]
        members = list(guild.members.values())
        missing: list[str] = []
        if wanted := request.get("user_ids"):
            ids = [int(one) for one in (wanted if isinstance(wanted, list) else [wanted])]
            members = [guild.members[one] for one in ids if one in guild.members]
            missing = [str(one) for one in ids if one not in guild.members]
        elif prefix := str(request.get("query") or "").casefold():
            members = [one for one in members if self.world.users[one.user_id].name.casefold().startswith(prefix)]
        if limit := int(request.get("limit") or 0):
            members = members[:limit]
        data: Json = {
            "guild_id": str(guild_id),
            "members": [self.payloads.member(one) for one in members],
            "chunk_index": 0,
            "chunk_count": 1,
            "not_found": missing,
        }
        if request.get("nonce") is not None:
            data["nonce"] = request["nonce"]
        return data

    def ready(self, session_id: str, resume_url: str, shard: list[int] | None) -> Json:
        world = self.world
        part = (shard[0], shard[1]) if shard else (0, 1)
        guilds = [one for one in world.guilds.values() if world.bot.id in one.members and on_shard(one.id, part)]
        return {
            "v": 10,
            "user": self.payloads.user(world.bot) | {"verified": True, "mfa_enabled": False},
            "guilds": [{"id": str(guild.id), "unavailable": True} for guild in guilds],
            "session_id": session_id,
            "resume_gateway_url": resume_url,
            "application": {"id": str(world.bot.id), "flags": 0},
            **({"shard": shard} if shard else {}),
        }
