"""Progress cards: one message a job that always shows how it stands.

Rule of this file: the card is a view of the store and may be drawn at any time from nothing else, so a restart, a
deleted message or an old one only means drawing it again. One card is edited at most every `card_edit_every` seconds,
except for the last time. The person is mentioned once, when their job ends. What a card says is in
`bot/render/job.py`.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import discord

from bot import waiting
from bot.errors import NotFound
from bot.progress import JobView
from bot.progress import view as progress_view
from bot.records import CONSOLE, Job
from bot.render import cards
from bot.render import job as job_text
from bot.render.curve import draw
from bot.services import Services
from jobs.contract import JobState

if TYPE_CHECKING:
    from bot.client import Afina

log = logging.getLogger(__name__)

RENEW_AFTER = 55 * 60  # seconds; Discord hardly lets a message older than an hour be edited
LOOK_AGAIN = 20.0  # seconds between looks at open jobs without news: places in the queue move
UNWANTED = 15 * 60.0  # seconds until a card that found no place (workshop gone, messages closed) is tried again
AFTER_REFUSAL = 2.0  # times the usual pause when Discord refused to show a card
OPEN_CARDS = "cards"  # state key: ids of jobs whose card is not final, as JSON

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
UNKNOWN_CHANNEL = 10003
UNKNOWN_MESSAGE = 10008
TOO_OLD_TO_EDIT = 30046
ARCHIVED_THREAD = 50083


@dataclass(kw_only=True, slots=True)
class _Card:
    """What the board remembers about one card; losing it costs one superfluous edit."""

    news: asyncio.Event = field(default_factory=asyncio.Event)
    last: asyncio.Event = field(default_factory=asyncio.Event)  # the job ended: do not wait for the next edit
    shown: list[dict[str, Any]] | None = None  # components drawn last, to leave out edits that change nothing
    unwanted_until: float = 0.0  # clock of the store; nobody can be shown it until then
    task: asyncio.Task[None] | None = None


class Board:
    """Every job's card. `start` it once Discord is there."""

    def __init__(self, client: Afina, services: Services) -> None:
        self._client = client
        self._services = services
        self._cards: dict[str, _Card] = {}
        self._looking: asyncio.Task[None] | None = None
        self._closed = False

    async def start(self) -> None:
        """Listen to changes, and draw every card that is not final. Calling it again does nothing."""
        if self._looking is None:
            self._services.feed.subscribe(self.changed)
            self._services.scheduler.subscribe(self.changed)
            self._looking = asyncio.create_task(self._look_around(), name="board")

    async def close(self) -> None:
        self._closed = True
        tasks = [card.task for card in self._cards.values() if card.task]
        tasks += [self._looking] if self._looking else []
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._cards.clear()

    async def changed(self, job: Job) -> None:
        """A job moved on: draw it again, soon."""
        if job.owner == CONSOLE or self._closed:
            return
        card = self._cards.get(job.id)
        if card is None:
            card = self._cards[job.id] = _Card()
            card.task = asyncio.create_task(self._keep(job.id, card), name=f"card {job.id}")
        card.news.set()
        if job.state.terminal:
            card.last.set()

    async def show(self, job: Job) -> str:
        """Draw a job's card now and return the address of the message; a job that has one keeps it."""
        await self._remember(job.id, is_open=True)
        await self._draw(job.id, self._cards.get(job.id) or _Card())
        await self.changed(job)
        job = await self._services.store.job(job.id)
        return f"https://discord.com/channels/{job.owner.guild_id}/{job.channel_id}/{job.message_id}"

    async def _look_around(self) -> None:
        """Draws what is not final, again and again: after a restart, and because queues move without events."""
        while True:
            try:
                unfinished = {job.id: job for job in await self._services.store.open_jobs()}
                for job_id in await self._remembered():
                    with contextlib.suppress(NotFound):
                        unfinished.setdefault(job_id, await self._services.store.job(job_id))
                for job in unfinished.values():
                    await self.changed(job)
            except Exception:
                log.exception("the board could not look around")
            await asyncio.sleep(LOOK_AGAIN)

    async def _keep(self, job_id: str, card: _Card) -> None:
        """Draw whenever there is news, not too often, until the job is over and its person knows."""
        try:
            while True:
                await card.news.wait()
                card.news.clear()
                try:
                    if await self._draw(job_id, card):
                        break
                    pause = self._services.settings.card_edit_every
                except NotFound:
                    break  # the person erased the job
                except Exception:
                    log.exception("the card could not be drawn", extra={"job": job_id})
                    pause = AFTER_REFUSAL * self._services.settings.card_edit_every
                    card.news.set()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(card.last.wait(), pause)
                    card.last.clear()
        finally:
            self._cards.pop(job_id, None)
        await self._remember(job_id, is_open=False)

    async def _draw(self, job_id: str, card: _Card) -> bool:
        """Bring the message up to date; True when nothing more will change."""
        async with self._client.lock("card", job_id):
            store = self._services.store
            job = await store.job(job_id)
            state = progress_view(job, await store.events(job_id), now=store.clock())
            view = job_text.job_card(job, state, await self.queue_place(job))
            components = view.to_components()  # type: ignore[no-untyped-call]
            if components != card.shown and store.clock() >= card.unwanted_until:
                try:
                    await self._put(job, view)
                except (discord.NotFound, discord.Forbidden) as error:
                    # Refusals count: too many of them, and Discord locks this machine out.
                    log.warning("no place to show this card: %s", error, extra={"job": job.id})
                    card.unwanted_until = store.clock() + UNWANTED
                card.shown = components
            if job.state.terminal:
                await self._tell(await store.job(job_id), state)
            return job.state.terminal

    async def queue_place(self, job: Job) -> job_text.QueuePlace | None:
        """None for a job that does not wait."""
        if job.state not in (JobState.QUEUED, JobState.DISPATCHED):
            return None
        arbiter = self._services.arbiter
        return job_text.QueuePlace(
            position=await self._services.store.queue_position(job.id),
            wait=await waiting.expected_wait(self._services, job),
            behind_chat=arbiter is not None and arbiter.behind_chat(job.id),
        )

    # Discord

    async def _put(self, job: Job, view: discord.ui.LayoutView) -> None:
        """Edit the card; post a new one where there is none, it is gone, or it is too old to be edited."""
        if job.channel_id and job.message_id:
            message = self._client.get_partial_messageable(job.channel_id).get_partial_message(job.message_id)
            fresh = self._services.store.clock() - message.created_at.timestamp() < RENEW_AFTER
            if fresh and await self._edit(message, view):
                return
            with contextlib.suppress(discord.HTTPException):
                await message.delete()
        message_id, channel_id = await self._post(job, view)
        await self._services.store.set_card(job.id, channel_id, message_id)

    async def _edit(self, message: discord.PartialMessage, view: discord.ui.LayoutView) -> bool:
        """False when this message cannot be used any more."""
        try:
            await message.edit(view=view)
        except discord.HTTPException as error:
            if error.code == ARCHIVED_THREAD and await self._open_thread(message.channel.id):
                await message.edit(view=view)
                return True
            if error.code in (UNKNOWN_MESSAGE, UNKNOWN_CHANNEL, TOO_OLD_TO_EDIT, ARCHIVED_THREAD):
                return False
            if isinstance(error, discord.Forbidden):
                return False
            raise
        return True

    async def _open_thread(self, thread_id: int) -> bool:
        with contextlib.suppress(discord.HTTPException):
            thread = await self._client.fetch_channel(thread_id)
            if isinstance(thread, discord.Thread):
                await thread.edit(archived=False)
                return True
        return False

    async def _post(
        self, job: Job, view: discord.ui.LayoutView, picture: bytes | None = None, **more: Any
    ) -> tuple[int, int]:
        """(message, channel). Where the job's channel is gone: the person's workshop, else their direct messages."""
        places = [job.channel_id, await self._services.store.workshop(job.owner)]
        for place in dict.fromkeys(place for place in places if place):
            try:
                message = await self._client.get_partial_messageable(place).send(
                    view=view, files=_files(picture), **more
                )
                return message.id, place
            except (discord.NotFound, discord.Forbidden) as error:
                log.warning("no card in channel %s: %s", place, error, extra={"job": job.id})
        person = await self._client.fetch_user(job.owner.user_id)
        message = await person.send(view=view, files=_files(picture), **more)
        await self._client.make_home(job.owner.user_id, job.owner.guild_id)
        return message.id, message.channel.id

    async def _tell(self, job: Job, state: JobView) -> None:
        """Mention the person, once, with what came of their job."""
        key = f"told:{job.id}"
        if job.state is JobState.CANCELLED or await self._services.store.get_state(key):
            return
        await self._learn_speed(job)
        points = job_text.curve_points(state)
        picture = await asyncio.to_thread(draw, points, title=job.name) if points else None
        model = next((one for one in await self._services.store.models(job.owner) if one.job_id == job.id), None)
        view = job_text.end_card(job, state, model, curve=picture is not None)
        try:
            # The nonce makes Discord return the first message if we crash before noting that it was sent.
            await self._post(
                job,
                view,
                picture,
                nonce=f"end-{job.id}"[:25],
                allowed_mentions=discord.AllowedMentions(users=[discord.Object(job.owner.user_id)]),
            )
        except (discord.NotFound, discord.Forbidden):
            log.warning("nobody to tell", extra={"job": job.id})
        await self._services.store.set_state(key, job.state)

    async def notify(self, job: Job, text: str) -> None:
        """Tell the owner of a job something that others did to it, where their things are."""
        mention = f"<@{job.owner.user_id}>"
        people = discord.AllowedMentions(users=[discord.Object(job.owner.user_id)])
        try:
            await self._post(job, cards.card(text, accent=cards.Accent.WARN, outside=mention), allowed_mentions=people)
        except discord.HTTPException as error:
            log.warning("nobody to tell: %s", error, extra={"job": job.id})

    async def _learn_speed(self, job: Job) -> None:
        """The next estimates for this base know how fast this job was."""
        if job.state is JobState.SUCCEEDED:
            await waiting.remember_speed(self._services, job, await self._services.store.events(job.id))

    # What outlives the process

    async def _remembered(self) -> list[str]:
        return list(json.loads(await self._services.store.get_state(OPEN_CARDS) or "[]"))

    async def _remember(self, job_id: str, *, is_open: bool) -> None:
        async with self._client.lock(OPEN_CARDS):
            ids = set(await self._remembered())
            if (job_id in ids) != is_open:
                ids ^= {job_id}
                await self._services.store.set_state(OPEN_CARDS, json.dumps(sorted(ids)))


def _files(picture: bytes | None) -> list[discord.File]:
    """A new File for each try: the library closes it after sending, also when that failed."""
    return [discord.File(io.BytesIO(picture), job_text.CURVE)] if picture else []
