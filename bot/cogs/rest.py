"""People in threads while the engine's memory is lent to a training job: told before, kept waiting, answered after.

Rule of this file: Discord's side of `bot/arbiter.py`, which decides. What waits is in the store, so a restart in the
middle loses no message. Who wrote meanwhile gets the answer itself; who did not gets one line.
"""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING

import discord
from discord.ext import commands

from bot.arbiter import Arbiter, Phase
from bot.cogs.answering import Place
from bot.cogs.chat import ChatCog
from bot.conversations import NOTE
from bot.render.numbers import duration
from bot.waiting import remaining
from jobs.errors import AfinaError

if TYPE_CHECKING:
    from bot.client import Afina

log = logging.getLogger(__name__)

TALKING = 15 * 60.0  # seconds since its last message for which a thread counts as in use
LEAVING = "⏳ La GPU se va a entrenar un modelo{long}. Lo que escribas aquí se guarda y lo contesto al volver."
BACK = "✅ Ya he vuelto: la GPU está libre otra vez."


class RestCog(commands.Cog):
    def __init__(self, client: Afina, arbiter: Arbiter) -> None:
        self._client = client
        self._arbiter = arbiter
        self._services = client.services
        self._answers: set[asyncio.Task[None]] = set()
        arbiter.subscribe(self.changed)

    @property
    def _talk(self) -> ChatCog:
        talk = self._client.get_cog("ChatCog")
        assert isinstance(talk, ChatCog)
        return talk

    async def cog_unload(self) -> None:
        for task in self._answers:
            task.cancel()
        await asyncio.gather(*self._answers, return_exceptions=True)

    async def changed(self, phase: Phase) -> None:
        if phase is Phase.YIELDING:
            await self._say_goodbye()
        elif phase is Phase.AWAKE:
            await self._come_back()

    @commands.Cog.listener()
    async def on_ready(self) -> None:
        """A restart may have come between the engine's return and the answers."""
        if (await self._arbiter.rest()).phase is Phase.AWAKE:
            await self._come_back()

    async def _say_goodbye(self) -> None:
        text = NOTE + LEAVING.format(long=await self._length())
        for guild in self._client.guilds:
            for thread in guild.threads:
                chat = await self._services.store.chat(thread.id)
                if chat is None or chat.closed or not _in_use(thread):
                    continue
                if await self._services.store.tell_waiting(thread.id):
                    await self._send(thread, text)

    async def _length(self) -> str:
        """« (≈ 12 min)», where the estimate knows."""
        seconds = []
        for job_id in (await self._arbiter.rest()).jobs:
            try:
                seconds.append(await remaining(self._services, await self._services.store.job(job_id)))
            except AfinaError:
                continue
        known = [one for one in seconds if one is not None]
        return f" (≈ {duration(max(known))})" if known else ""

    async def _come_back(self) -> None:
        store = self._services.store
        for thread_id, message_id in await store.waiting_threads():
            if self._services.engine.resting:
                return  # away again: the rest waits on
            chat = await store.chat(thread_id)
            place = None if chat is None or chat.closed else await self._place(thread_id)
            if chat is None or place is None:
                await store.stop_waiting(thread_id)
            elif message_id is None:
                await store.stop_waiting(thread_id)
                await self._send(place, NOTE + BACK)
            elif self._talk.sessions.trigger(thread_id) is None:
                self._talk.begin(place, chat, message_id, delay=0.0)
                self._watch(thread_id)
            elif self._talk.sessions.trigger(thread_id) != message_id:
                await store.stop_waiting(thread_id)  # a newer message of theirs is being answered

    def _watch(self, thread_id: int) -> None:
        """The message waits until its answer has ended: one that a shutdown or the next rest cuts off stays."""

        session = self._talk.sessions.current(thread_id)
        assert session is not None
        assert session.task is not None
        answered = session.task

        async def watch() -> None:
            await asyncio.wait([answered])
            if session.why != "shutdown" and not self._services.engine.resting:
                await self._services.store.stop_waiting(thread_id)

        task = asyncio.create_task(watch(), name=f"waiting thread {thread_id}")
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _place(self, thread_id: int) -> Place | None:
        client = self._client
        try:
            found = client.get_channel(thread_id) or await client.fetch_channel(thread_id)
        except discord.HTTPException as error:
            log.info("thread %s is out of reach: %s", thread_id, error)
            return None
        return found if isinstance(found, Place) else None

    async def _send(self, place: Place, text: str) -> None:
        try:
            await self._talk.pace.turn()
            await place.send(text)
        except discord.HTTPException as error:
            log.info("no note in %s: %s", place.id, error)


def _in_use(thread: discord.Thread) -> bool:
    if thread.last_message_id is None or thread.archived or thread.locked:
        return False
    return time.time() - discord.Object(thread.last_message_id).created_at.timestamp() < TALKING
