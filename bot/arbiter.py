"""One GPU for training and chat: whether the engine stays beside a job, gives way, and comes back.

Rule of this file: it decides, by memory and by the setting `gpu_sharing`, and moves the engine; the scheduler asks it
before it hands a job over and tells it of every round. What was decided is in the store before the engine is touched,
so a restart of the bot or of the engine at any point goes on from there: the engine's own word is asked for again.
Training never waits for ever: an engine that cannot give way is told of in the log and the job goes with the memory
there is. People are told by whoever listens (`bot/cogs/rest.py`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from enum import StrEnum
from urllib.parse import urlsplit

from pydantic import BaseModel, ConfigDict

from bot.engine import EngineClient, EngineState
from bot.records import Job
from bot.settings import Settings
from bot.store import Store
from bot.waiting import stats_of
from jobs.catalog import Catalog
from jobs.contract import JobState, WorkerInfo
from jobs.errors import AfinaError, EngineUnavailable
from jobs.recipe import DataStats, memory_needed

log = logging.getLogger(__name__)

STATE = "engine.rest"  # key in the store
USABLE = 0.92  # share of a device's memory that is counted on, as in the estimate of what fits
WHOLE_CARD = 0.92  # what vLLM takes unless it is told otherwise
DRAIN_SECONDS = 30.0  # for answers that are being written when the engine is asked to give way
SERVE_SECONDS = 60.0  # for the threads that waited, before the next job takes the memory again
CHECK_SECONDS = 5.0  # between two looks at whether the engine is what it should be, and two tries of an order
TRIES = 3  # of putting the engine to sleep, before a job goes without
_LOCAL = ("127.0.0.1", "localhost", "::1")


class Phase(StrEnum):
    AWAKE = "awake"
    YIELDING = "yielding"  # nothing new is answered; what is being written may end
    ASLEEP = "asleep"
    WAKING = "waking"


class Rest(BaseModel):
    """What is remembered over restarts."""

    model_config = ConfigDict(frozen=True)

    phase: Phase = Phase.AWAKE
    since: float = 0.0  # Unix seconds
    jobs: tuple[str, ...] = ()  # for whom the engine gave way
    beside: tuple[str, ...] = ()  # for whom it could not: they go with the memory there is


Need = Callable[[Job], Awaitable[int]]  # bytes that a job takes
Listener = Callable[[Phase], Awaitable[None]]


def need_from(store: Store, catalog: Catalog) -> Need:
    """What a job takes by the estimate of its recipe on its own data; 0 for a base that nobody knows."""

    async def need(job: Job) -> int:
        if job.request.base_id not in catalog:
            return 0
        stats = DataStats(examples=0, tokens=0, p95_tokens=0, learnt_tokens=0)  # unknown: the longest rows
        with suppress(AfinaError):
            stats = stats_of(await store.dataset(job.dataset_id, job.owner))
        return memory_needed(job.request.recipe, stats, catalog.get(job.request.base_id))

    return need


class Arbiter:
    """See the module. One a data folder, as the scheduler that drives it."""

    def __init__(self, store: Store, engine: EngineClient, settings: Settings, *, need: Need) -> None:
        self._store = store
        self._engine = engine
        self._settings = settings
        self._need = need
        self._rest: Rest | None = None
        self._look_at = 0.0  # the store's clock; when the engine is looked at again
        self._failures = 0  # of the order that is being tried
        self._ordering: asyncio.Task[None] | None = None
        self._listeners: list[Listener] = []
        self._telling: set[asyncio.Task[None]] = set()
        self._behind_chat: set[str] = set()  # ids of jobs that waited for people at the last look

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` when the engine begins to give way (YIELDING) and when it is back (AWAKE)."""
        self._listeners.append(listener)

    async def open(self) -> None:
        """Take up what was decided before this process started; call it before anybody talks to the engine."""
        rest = await self.rest()
        self._engine.resting = rest.phase is not Phase.AWAKE

    async def close(self) -> None:
        """An order that is on its way is given again after the next start."""
        tasks = [*self._telling, *([self._ordering] if self._ordering else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def rest(self) -> Rest:
        if self._rest is None:
            stored = await self._store.get_state(STATE)
            self._rest = Rest.model_validate_json(stored) if stored else Rest()
        return self._rest

    # What the scheduler asks

    def behind_chat(self, job_id: str) -> bool:
        """Whether a job waits because people are talking to the engine."""
        return job_id in self._behind_chat

    async def admits(self, job: Job, workers: Sequence[WorkerInfo]) -> bool:
        """Whether a queued job may be handed over now. While it may not, the engine is being moved, or chat goes on."""
        rest = await self.rest()
        self._behind_chat.discard(job.id)
        if job.id in rest.beside or not await self._in_the_way(job, workers):
            return True
        match rest.phase:
            case Phase.AWAKE:
                if await self._chat_goes_on(rest):
                    self._behind_chat.add(job.id)
                    return False
                await self._enter(Phase.YIELDING, jobs=(job.id,))
            case Phase.YIELDING if job.id not in rest.jobs:
                await self._keep(rest.model_copy(update={"jobs": (*rest.jobs, job.id)}))
            case Phase.ASLEEP:
                if job.id in rest.jobs:
                    return True
                if self._settings.gpu_sharing == "training" or not await self._somebody_waits():
                    await self._keep(rest.model_copy(update={"jobs": (*rest.jobs, job.id)}))
                    return True
        return False

    async def settle(self, jobs: Sequence[Job], workers: Sequence[WorkerInfo]) -> None:
        """Move the engine one step towards where it should be; `jobs`: all that are not over. Never waits for it."""
        self._behind_chat &= {job.id for job in jobs if job.state is JobState.QUEUED}
        rest = await self.rest()
        if self._ordering is not None:
            # What an order has changed since this round began is first shown to the jobs that wait, next round.
            if self._ordering.done():
                self._ordering = None
            return
        active = {job.id for job in jobs if job.state.active}
        match rest.phase:
            case Phase.AWAKE:
                await self._stay_awake(rest, [job for job in jobs if job.state.active], workers)
            case Phase.YIELDING:
                if not any(job.id in rest.jobs and job.state.value in _COMING for job in jobs):
                    await self._enter(Phase.AWAKE)
                elif not self._engine.busy or self._store.clock() - rest.since > DRAIN_SECONDS:
                    self._order(self._put_to_sleep)
            case Phase.ASLEEP:
                if not active & set(rest.jobs):
                    await self._enter(Phase.WAKING)
                    self._order(self._wake)
                elif self._due():
                    self._order(self._keep_asleep)
            case Phase.WAKING:
                self._order(self._wake)

    # Deciding

    async def _in_the_way(self, job: Job, workers: Sequence[WorkerInfo]) -> bool:
        """Whether the engine shares a card with a worker that may run this job, and the two do not fit it together."""
        if self._settings.gpu_sharing == "separate":
            return False
        running = [worker for worker in workers if worker.current_job == job.request.rq_id]
        state: EngineState | None
        try:
            state = await self._engine.state()
        except EngineUnavailable:
            state = EngineState(sleeping=True) if (await self.rest()).phase is not Phase.AWAKE else None
        if state is None:  # it is not there, and takes nothing
            return False
        sharing = [worker for worker in running or workers if self._shares(worker, state)]
        if not sharing:
            return False
        if self._settings.gpu_sharing == "training":
            return True
        need = await self._need(job)
        return any(need + self._taken(worker, state) > USABLE * worker.memory_bytes for worker in sharing)

    def _shares(self, worker: WorkerInfo, state: EngineState) -> bool:
        """Whether the engine lives on this worker's device."""
        if self._settings.engine_gpu_share is not None:
            return worker.device == "cuda"
        if state.hostname is not None:
            return (worker.hostname, worker.device) == (state.hostname, state.device)
        here = urlsplit(self._settings.engine_url or "").hostname in _LOCAL and worker.hostname == socket.gethostname()
        return worker.device == "cuda" and here

    def _taken(self, worker: WorkerInfo, state: EngineState) -> float:
        """Bytes of this worker's device that the engine takes when it is awake."""
        if self._settings.engine_gpu_share is not None:
            return self._settings.engine_gpu_share * worker.memory_bytes
        return WHOLE_CARD * worker.memory_bytes if state.memory_bytes is None else state.memory_bytes

    async def _chat_goes_on(self, rest: Rest) -> bool:
        """Whether a job has to wait for people: those who waited are answered first, and by setting whoever talks."""
        now = self._store.clock()
        if self._settings.gpu_sharing == "training":
            return False
        if now - rest.since < SERVE_SECONDS and (self._engine.busy or await self._somebody_waits()):
            return True
        if self._settings.gpu_sharing != "chat":
            return False
        last = max(self._engine.last_used, await self._store.last_chat())
        return bool(self._engine.busy) or now - last < 60 * self._settings.gpu_chat_idle

    async def _somebody_waits(self) -> bool:
        return any(message is not None for _, message in await self._store.waiting_threads())

    async def _stay_awake(self, rest: Rest, active: Sequence[Job], workers: Sequence[WorkerInfo]) -> None:
        """Look now and then: an engine that came up, or grew, beside a running job gives way; one that sleeps wakes."""
        if self._settings.gpu_sharing == "separate" or not self._due():
            return
        open_jobs = {job.id for job in active}
        if not set(rest.beside) <= open_jobs:
            rest = rest.model_copy(update={"beside": tuple(i for i in rest.beside if i in open_jobs)})
            await self._keep(rest)
        crowded = [job.id for job in active if job.id not in rest.beside and await self._in_the_way(job, workers)]
        if crowded:
            await self._enter(Phase.YIELDING, jobs=tuple(crowded))
            return
        with suppress(EngineUnavailable):
            if (await self._engine.state()).sleeping:
                log.info("the engine sleeps for nobody")
                await self._enter(Phase.WAKING)

    # Moving the engine; each of these runs beside the scheduler, one at a time

    def _order(self, work: Callable[[], Awaitable[None]]) -> None:
        async def run() -> None:
            try:
                await work()
            except Exception:
                log.exception("the engine could not be moved")

        if self._ordering is None and (self._failures == 0 or self._due()):
            self._ordering = asyncio.create_task(run(), name="engine order")

    async def _put_to_sleep(self) -> None:
        rest = await self.rest()
        try:
            done = await self._engine.sleep()
        except EngineUnavailable as error:
            done = not await self._engine.healthy()  # who is not there takes no memory
            log.warning("the engine does not answer when asked to sleep: %s", error)
        if done:
            await self._enter(Phase.ASLEEP, jobs=rest.jobs)
            return
        self._failures += 1
        if self._failures >= TRIES:
            log.error("the engine cannot give way; training goes on with the memory there is")
            beside = (*rest.beside, *rest.jobs)
            await self._enter(Phase.AWAKE, beside=beside)

    async def _keep_asleep(self) -> None:
        """An engine that was restarted is awake again, beside a job that needs its memory."""
        with suppress(EngineUnavailable):
            if not (await self._engine.state()).sleeping:
                log.info("the engine is awake beside a training job; it gives way again")
                await self._engine.sleep()

    async def _wake(self) -> None:
        done = False
        with suppress(EngineUnavailable):
            done = await self._engine.wake() or not (await self._engine.state()).sleeping
        rest = await self.rest()
        if done:
            await self._enter(Phase.AWAKE)
            return
        self._failures += 1
        log.warning("the engine does not wake (%d times); trying again", self._failures)
        if self._store.clock() - rest.since > SERVE_SECONDS and not await self._engine.healthy():
            await self._enter(Phase.AWAKE)  # it is gone; whoever starts it again finds it awake

    # Remembering

    async def _enter(self, phase: Phase, *, jobs: tuple[str, ...] = (), beside: tuple[str, ...] | None = None) -> None:
        rest = await self.rest()
        log.info("engine: %s -> %s", rest.phase, phase, extra={"action": "arbiter"})
        kept = rest.beside if beside is None else beside
        await self._keep(Rest(phase=phase, since=self._store.clock(), jobs=jobs, beside=kept))
        self._failures = 0
        self._look_at = self._store.clock() + CHECK_SECONDS
        self._engine.resting = phase is not Phase.AWAKE
        if phase in (Phase.YIELDING, Phase.AWAKE):
            task = asyncio.create_task(self._tell(phase), name="tell of the engine")
            self._telling.add(task)
            task.add_done_callback(self._telling.discard)

    async def _keep(self, rest: Rest) -> None:
        await self._store.set_state(STATE, rest.model_dump_json())
        self._rest = rest

    async def _tell(self, phase: Phase) -> None:
        for listener in self._listeners:
            try:
                await listener(phase)
            except Exception:
                log.exception("a listener failed")

    def _due(self) -> bool:
        now = self._store.clock()
        if now < self._look_at:
            return False
        self._look_at = now + CHECK_SECONDS
        return True


# States of a job that is on its way to a worker, or with one.
_COMING = ("queued", "dispatched", "running")
