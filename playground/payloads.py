"""The JSON that goes over the wire, built from the state.

Rule: one method a noun; ids become strings, times ISO 8601; nothing here changes the state or decides who may see it,
except for the message-content intent, which empties four fields.
Not covered: voice, stickers, polls, presences: keys are there, empty, where the client needs them.
"""

from __future__ import annotations

import copy

from playground import components
from playground.clock import iso
from playground.files import Links
from playground.model import Attachment, Channel, ChannelType, Guild, Json, Member, Message, Role, User
from playground.world import World

PRIVILEGED_CONTENT = 1 << 15  # the message-content intent


class Payloads:
    """Renders *world*."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.links = Links(world.clock)

    # -- people -----------------------------------------------------------------------------------------------

    def user(self, user: User) -> Json:
        return {
            "id": str(user.id),
            "username": user.name.casefold().replace(" ", "_"),
            "global_name": None if user.bot else user.name,
            "discriminator": "0",
            "avatar": None,
            "bot": user.bot,
            "public_flags": 0,
        } | ({"username": user.name} if user.bot else {})

    def member(self, member: Member, *, with_user: bool = True) -> Json:
        data: Json = {
            "roles": [str(one) for one in member.roles],
            "joined_at": iso(member.joined_at),
            "nick": None,
            "avatar": None,
            "premium_since": None,
            "deaf": False,
            "mute": False,
            "pending": False,
            "flags": 0,
        }
        if with_user:
            data["user"] = self.user(self.world.users[member.user_id])
        return data

    def role(self, role: Role) -> Json:
        return {
            "id": str(role.id),
            "name": role.name,
            "permissions": str(int(role.permissions)),
            "position": role.position,
            "color": 0,
            "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None},
            "hoist": False,
            "managed": False,
            "mentionable": False,
            "flags": 0,
        }

    # -- servers and channels ---------------------------------------------------------------------------------

    def guild(self, guild: Guild) -> Json:
        """A server without its channels and members, as `GET /guilds/{id}` gives it."""
        return {
            "id": str(guild.id),
            "name": guild.name,
            "owner_id": str(guild.owner_id),
            "roles": [self.role(one) for one in guild.roles.values()],
            "premium_tier": guild.tier,
            "preferred_locale": "es-ES",
            "features": [],
            "emojis": [],
            "stickers": [],
            "icon": None,
            "afk_timeout": 300,
            "verification_level": 0,
            "default_message_notifications": 1,
            "explicit_content_filter": 0,
            "mfa_level": 0,
            "nsfw_level": 0,
            "system_channel_flags": 0,
            "max_members": 500_000,
        }

    def guild_create(self, guild: Guild, *, all_members: bool) -> Json:
        """GUILD_CREATE: with channels, the threads that the bot may see, and its own member (or all)."""
        world, bot = self.world, self.world.bot
        channels = [one for one in world.channels.values() if one.guild_id == guild.id and not one.is_thread]
        active = [one for one in world.threads_of(guild.id) if one.thread and not one.thread.archived]
        shown = guild.members.values() if all_members else [guild.members[bot.id]]
        return {
            **self.guild(guild),
            "channels": [self.channel(one) for one in channels],
            "threads": [self.channel(one) for one in active if world.can_see(bot.id, one)],
            "members": [self.member(one) for one in shown],
            "member_count": len(guild.members),
            "joined_at": iso(guild.members[bot.id].joined_at),
            "large": False,
            "unavailable": False,
            "voice_states": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
        }

    def channel(self, channel: Channel) -> Json:
        data: Json = {"id": str(channel.id), "type": int(channel.type), "flags": 0}
        last = next(reversed(channel.messages), None)
        data["last_message_id"] = str(last) if last else None
        if channel.is_dm:
            others = [self.world.users[one] for one in channel.recipients if one != self.world.bot.id]
            return data | {"recipients": [self.user(one) for one in others]}
        data |= {
            "guild_id": str(channel.guild_id),
            "name": channel.name,
            "parent_id": str(channel.parent_id) if channel.parent_id else None,
            "rate_limit_per_user": channel.slowmode,
        }
        if channel.is_thread:
            return data | self._thread(channel)
        data |= {"position": channel.position, "topic": channel.topic, "nsfw": False}
        data["permission_overwrites"] = [
            {"id": str(one.id), "type": one.kind, "allow": str(int(one.allow)), "deny": str(int(one.deny))}
            for one in channel.overwrites.values()
        ]
        if channel.type == ChannelType.FORUM:
            data |= {"available_tags": channel.tags, "default_forum_layout": 0, "default_sort_order": None}
            data["default_reaction_emoji"] = None
        return data

    def _thread(self, channel: Channel) -> Json:
        state = channel.thread
        assert state
        data: Json = {
            "owner_id": str(state.owner_id),
            "message_count": sum(not one.deleted for one in channel.messages.values()),
            "member_count": len(state.members),
            "total_message_sent": state.total_sent,
            "applied_tags": [str(one) for one in state.applied_tags],
            "thread_metadata": {
                "archived": state.archived,
                "locked": state.locked,
                "invitable": state.invitable,
                "auto_archive_duration": state.auto_archive_duration,
                "archive_timestamp": iso(state.archived_at),
                "create_timestamp": iso(state.created_at),
            },
        }
        if self.world.bot.id in state.members:
            data["member"] = self.thread_member(channel, self.world.bot.id)
        return data

    def thread_member(self, channel: Channel, user_id: int) -> Json:
        assert channel.thread
        joined = iso(channel.thread.members[user_id])
        return {"id": str(channel.id), "user_id": str(user_id), "join_timestamp": joined, "flags": 0}

    # -- messages ---------------------------------------------------------------------------------------------

    def message(self, message: Message, *, intents: int = ~0, with_reference: bool = True) -> Json:
        """A message; without the message-content intent, what others wrote in a server comes empty."""
        world = self.world
        channel = world.channels.get(message.channel_id)
        guild = world.guild_of(channel) if channel else None
        data: Json = {
            "id": str(message.id),
            "channel_id": str(message.channel_id),
            "author": self.user(world.users[message.author_id]),
            "type": int(message.type),
            "content": message.content,
            "timestamp": iso(message.created_at),
            "edited_timestamp": iso(message.edited_at) if message.edited_at else None,
            "tts": message.tts,
            "pinned": message.pinned,
            "flags": int(message.flags),
            "mention_everyone": message.mention_everyone,
            "mentions": [self._mention(one, guild) for one in message.mentions if one in world.users],
            "mention_roles": [str(one) for one in message.mention_roles],
            "attachments": [self.attachment(one) for one in message.attachments],
            "embeds": message.embeds,
            "components": self.components(message),
        }
        if message.reactions:
            data["reactions"] = [self._reaction(emoji, who) for emoji, who in message.reactions.items()]
        if message.nonce is not None:
            data["nonce"] = message.nonce
        if message.interaction:
            data |= {"interaction_metadata": message.interaction, "webhook_id": str(world.bot.id)}
        if message.author_id == world.bot.id:
            data["application_id"] = str(world.bot.id)
        if message.reference:
            data |= self._reference(message, channel, with_reference)
        if channel and channel.guild_id and message.id in world.channels:
            data["thread"] = self.channel(world.channels[message.id])
        if self._hidden(message, channel, intents):
            data |= {"content": "", "attachments": [], "embeds": [], "components": []}
        return data

    def gateway_message(self, message: Message, intents: int) -> Json:
        """A message as the gateway sends it: with `guild_id` and the author's `member`."""
        data = self.message(message, intents=intents)
        channel = self.world.channels[message.channel_id]
        if channel.guild_id:
            data["guild_id"] = str(channel.guild_id)
            member = self.world.guilds[channel.guild_id].members.get(message.author_id)
            if member and not message.interaction:
                data["member"] = self.member(member, with_user=False)
        return data

    def _hidden(self, message: Message, channel: Channel | None, intents: int) -> bool:
        bot = self.world.bot.id
        open_to_bot = intents & PRIVILEGED_CONTENT or message.author_id == bot or bot in message.mentions
        return not open_to_bot and channel is not None and not channel.is_dm

    def _mention(self, user_id: int, guild: Guild | None) -> Json:
        data = self.user(self.world.users[user_id])
        if guild and user_id in guild.members:
            data["member"] = self.member(guild.members[user_id], with_user=False)
        return data

    def _reaction(self, emoji: str, who: list[int]) -> Json:
        return {
            "emoji": self.emoji(emoji),
            "count": len(who),
            "count_details": {"normal": len(who), "burst": 0},
            "me": self.world.bot.id in who,
            "me_burst": False,
            "burst_colors": [],
        }

    def emoji(self, emoji: str) -> Json:
        """`👍` or `name:id` as a partial emoji."""
        name, _, number = emoji.partition(":")
        return {"id": number or None, "name": name, "animated": False} if number else {"id": None, "name": emoji}

    def _reference(self, message: Message, channel: Channel | None, with_reference: bool) -> Json:
        assert message.reference
        reference: Json = {key: str(value) for key, value in message.reference.items()} | {"type": 0}
        if channel and channel.guild_id:
            reference["guild_id"] = str(channel.guild_id)
        data: Json = {"message_reference": reference}
        if with_reference and "message_id" in message.reference:
            home = self.world.channels.get(int(message.reference.get("channel_id", message.channel_id)))
            original = home.messages.get(int(message.reference["message_id"])) if home else None
            gone = original is None or original.deleted
            data["referenced_message"] = None if gone or not original else self.message(original, with_reference=False)
        return data

    def components(self, message: Message) -> list[Json]:
        """The components with ids, and with addresses instead of `attachment://name`."""
        tree = copy.deepcopy(message.components)
        by_name = {one.filename: one for one in message.attachments}
        taken = {int(one.get("id") or 0) for _, one in components.walk(tree)}
        fresh = iter(number for number in range(1, 1000) if number not in taken)
        for _, component in components.walk(tree):
            component["id"] = component.get("id") or next(fresh)
            for media in components.media_of(component):
                self._resolve(media, by_name)
            if component["type"] == components.Kind.FILE and (name := self._file_name(component, by_name)):
                component |= {"name": name, "size": len(by_name[name].data)}
        return tree

    def _resolve(self, media: Json, by_name: dict[str, Attachment]) -> None:
        url = str(media.get("url", ""))
        attachment = by_name.get(url.removeprefix("attachment://")) if url.startswith("attachment://") else None
        if attachment:
            media |= {"url": self.links.url(attachment), "attachment_id": str(attachment.id)}
            media |= {"content_type": attachment.content_type, "width": attachment.width, "height": attachment.height}
        media.setdefault("proxy_url", media["url"])
        media |= {"placeholder": "", "placeholder_version": 1, "loading_state": 2, "flags": 0}

    def _file_name(self, component: Json, by_name: dict[str, Attachment]) -> str | None:
        number = component["file"].get("attachment_id")
        return next((name for name, one in by_name.items() if str(one.id) == number), None)

    def attachment(self, attachment: Attachment) -> Json:
        url = self.links.url(attachment)
        data: Json = {
            "id": str(attachment.id),
            "filename": attachment.filename,
            "size": len(attachment.data),
            "url": url,
            "proxy_url": url,
        }
        if attachment.content_type:
            data["content_type"] = attachment.content_type
        if attachment.description:
            data["description"] = attachment.description
        if attachment.width:
            data |= {"width": attachment.width, "height": attachment.height}
        if attachment.ephemeral:
            data["ephemeral"] = True
        return data

    def interaction_member(self, guild: Guild, user_id: int, channel: Channel) -> Json:
        """The member of an interaction carries what they may do in that channel."""
        data = self.member(guild.members[user_id])
        data["permissions"] = str(int(self.world.permissions(user_id, channel)))
        return data
