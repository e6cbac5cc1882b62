"""After a restart: every conversation goes on where it was left, in threads and in direct messages.

Rule of this file: it reads the end of a place and hands what stands unanswered, or half answered, to whoever answers.
Discord lists a server's active threads by itself; direct messages it does not, so their ids are kept in the store.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable

import discord

from bot.cogs.answering import Place, own_id
from bot.cogs.chat_place import is_for_us
from bot.conversations import WRITING
from bot.records import ChatThread
from bot.sessions import Pace, Sessions
from bot.store import Store

log = logging.getLogger(__name__)

RESUMED_WITHIN = 24 * 3600.0  # seconds; what is older is not answered after a restart
_LOOKED_AT = 20  # messages at the end of a place, to see how it was left
_SPOKEN = (discord.MessageType.default, discord.MessageType.reply)


class Resuming:
    """`begin`: answers a message of a place, as `ChatCog.begin`."""

    def __init__(self, store: Store, sessions: Sessions, pace: Pace, begin: Callable[..., None]) -> None:
        self._store = store
        self._sessions = sessions
        self._pace = pace
        self._begin = begin

    async def guild(self, guild: discord.Guild) -> None:
        """Go on in every thread of a server, and in the direct messages of those who talk from there."""
        for thread in guild.threads:
            chat = await self._store.chat(thread.id)
            if chat is not None and not chat.closed and not thread.locked and _recent(thread.last_message_id):
                await self.place(thread, chat)
        for channel_id in await self._direct(guild.id):
            chat = await self._store.chat(channel_id)
            if chat is None or chat.closed:
                await self._forget(channel_id, guild.id)
                continue
            try:
                await self._pace.turn()
                person = await guild.fetch_member(chat.owner.user_id)
                await self._pace.turn()
                await self.place(await person.create_dm(), chat)
            except discord.HTTPException as error:
                log.info("direct messages of chat %s cannot be opened: %s", channel_id, error)

    async def place(self, place: Place, chat: ChatThread) -> None:
        """Answer what stands unanswered at the end of `place`, or finish an answer that was cut off."""
        if self._sessions.trigger(place.id) is not None:
            return
        try:
            await self._pace.turn()
            newest = [message async for message in place.history(limit=_LOOKED_AT)]
        except discord.HTTPException as error:
            log.info("place %s cannot be read: %s", place.id, error)
            return
        ours: list[discord.Message] = []
        for message in newest:
            if message.author.id != own_id(place):
                break
            ours.insert(0, message)
        if ours and not ours[-1].content.endswith(WRITING.strip()):
            return
        asked = next((m for m in newest[len(ours) :] if not m.author.bot and m.type in _SPOKEN), None)
        if asked is None or asked.id <= chat.since_message_id or not _recent(asked.id) or not is_for_us(asked, chat):
            return
        log.info("conversation %s goes on", place.id)
        await self._store.seen("chat", asked.id)
        self._begin(place, chat, asked.id, existing=ours)

    async def remember(self, place: Place, chat: ChatThread) -> None:
        """So that direct messages are found again after a restart."""
        known = await self._direct(chat.owner.guild_id)
        if isinstance(place, discord.DMChannel) and place.id not in known:
            await self._store.set_state(_key(chat.owner.guild_id), json.dumps([*known, place.id]))

    async def _forget(self, channel_id: int, guild_id: int) -> None:
        """Nobody talks there any more: closed, or erased with its person."""
        others = [one for one in await self._direct(guild_id) if one != channel_id]
        await self._store.set_state(_key(guild_id), json.dumps(others))

    async def _direct(self, guild_id: int) -> list[int]:
        return list(json.loads(await self._store.get_state(_key(guild_id)) or "[]"))


def _key(guild_id: int) -> str:
    return f"chat:direct:{guild_id}"


def _recent(message_id: int | None) -> bool:
    return message_id is not None and time.time() - discord.Object(message_id).created_at.timestamp() < RESUMED_WITHIN
