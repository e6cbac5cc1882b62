"""Keeping house: who left, what is too old, what still has to vanish.

Rule of this file: Discord's side of `bot/retention.py`. Servers that throw the bot out are told by an event; people
who leave too, where the members intent is on, else a daily look at everybody of whom something is kept finds it. Before
anything is erased Discord is asked once more. Whoever is back within the time has everything as it was.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Sequence
from typing import Any

import discord
from discord.ext import commands

from bot import erasing, retention
from bot.records import Dataset, Owner
from bot.render.numbers import plain
from bot.services import Services
from bot.store.privacy import EVERYBODY

log = logging.getLogger(__name__)

LOOK_EVERY = 10.0  # seconds between two looks at what still has to vanish
BETWEEN_QUESTIONS = 0.5  # seconds; asking Discord about everybody is no hurry
SWEPT = "swept"  # state: when the last daily sweep began


class KeepingCog(commands.Cog):
    def __init__(self, services: Services) -> None:
        self.services = services
        self._task: asyncio.Task[None] | None = None
        self._client: commands.Bot | None = None

    def start(self, client: commands.Bot) -> None:
        """Begin to keep house; starting twice is fine."""
        self._client = client
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="keeping house")

    async def cog_unload(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        welcomed = False
        while True:
            try:
                if not welcomed:
                    await self._welcome_back()
                    welcomed = True
                await erasing.finish(self.services)
                if await self._due():
                    await self.sweep()
            except Exception:
                log.exception("keeping house failed, trying again")
            await asyncio.sleep(LOOK_EVERY)

    async def _due(self) -> bool:
        """Whether a day has gone by; the first one begins when Afina starts for the first time."""
        store, now = self.services.store, self.services.store.clock()
        last = await store.get_state(SWEPT)
        due = last is not None and now - float(last) >= retention.DAY
        if due or last is None:
            await store.set_state(SWEPT, str(now))
        return due

    async def _welcome_back(self) -> None:
        """Servers that took the bot back while it was not running."""
        assert self._client is not None
        for guild_id, user_id, _ in await self.services.store.departures():
            if user_id == EVERYBODY and self._client.get_guild(guild_id):
                await retention.come_back(self.services, guild_id)

    async def sweep(self) -> None:
        """Everything of a day."""
        await self.look_for_people()
        await retention.sweep(self.services, self._tell)

    # Who is here

    async def look_for_people(self) -> None:
        """Ask Discord about everybody of whom something is kept."""
        client = self._client
        assert client is not None
        here = {guild.id: guild for guild in client.guilds}
        for owner in await self.services.store.owners():
            guild = here.get(owner.guild_id)
            if guild is None:
                await retention.leave(self.services, owner.guild_id)
            elif not guild.unavailable:
                await self._look_for(guild, owner)
                await asyncio.sleep(BETWEEN_QUESTIONS)
        for guild_id in here:
            await retention.come_back(self.services, guild_id)

    async def _look_for(self, guild: discord.Guild, owner: Owner) -> None:
        try:
            await guild.fetch_member(owner.user_id)
        except discord.NotFound:
            await retention.leave(self.services, guild.id, owner.user_id)
        except discord.HTTPException as error:  # nobody is erased for an answer that did not come
            log.info("Discord does not say who is in server %s: %s", guild.id, error)
            await self.services.store.returned(guild.id, owner.user_id)
        else:
            await retention.come_back(self.services, guild.id, owner.user_id)

    @commands.Cog.listener()
    async def on_guild_remove(self, guild: discord.Guild) -> None:
        """The bot was thrown out; a server that is only unreachable is another event."""
        log.info("server %s is gone", guild.id, extra={"action": "departure"})
        await retention.leave(self.services, guild.id)

    @commands.Cog.listener()
    async def on_guild_join(self, guild: discord.Guild) -> None:
        await retention.come_back(self.services, guild.id)

    @commands.Cog.listener()
    async def on_raw_member_remove(self, payload: discord.RawMemberRemoveEvent) -> None:
        await retention.leave(self.services, payload.guild_id, payload.user.id)

    @commands.Cog.listener()
    async def on_member_join(self, member: discord.Member) -> None:
        await retention.come_back(self.services, member.guild.id, member.id)

    # Telling

    async def _tell(self, owner: Owner, datasets: Sequence[Dataset], days: int) -> None:
        """In the workshop, else in direct messages, else nowhere: `/privacidad` says it, too."""
        names = ", ".join(f"«{plain(dataset.name, 40)}»" for dataset in datasets[:10])
        more = f" y {len(datasets) - 10} más" if len(datasets) > 10 else ""
        text = (
            f"Dentro de {days} días borraré {names}{more}: llevan mucho tiempo aquí y nunca has entrenado con ellos. "
            "Para conservarlos, entrena con ellos; para llevártelos, `/misdatos descargar`."
        )
        with contextlib.suppress(discord.HTTPException):
            place = await self._place_of(owner)
            if place is not None:
                await place.send(text)

    async def _place_of(self, owner: Owner) -> Any:
        client = self._client
        assert client is not None
        known = await self.services.store.workshop(owner)
        if known is not None:
            with contextlib.suppress(discord.NotFound, discord.Forbidden):
                return client.get_channel(known) or await client.fetch_channel(known)
        return await (await client.fetch_user(owner.user_id)).create_dm()


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return []
