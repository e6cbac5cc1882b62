"""Which job goes next, and the care that none is lost on the way.

Rule of this file: one scheduler at a time (a lock file), which moves jobs from SQLite to Redis and looks after those
that are there. SQLite is the truth and RQ a hint; every change is a guarded one in the store, so that each step may be
repeated after a crash at any point. What workers report is applied by `bot.progress`, not here.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Literal, Protocol

from bot.lock import only_one
from bot.members import limits_for
from bot.records import Job, Owner
from bot.settings import Settings
from bot.store import Store, StoreUnavailable
from jobs.artifacts import Artifacts
from jobs.attempt import attempt_folder, read_event_file
from jobs.contract import Event, EventType, JobState, WorkerInfo
from jobs.errors import QueueUnavailable
from jobs.logs import about
from jobs.queue import Queue

log = logging.getLogger(__name__)

TICK_SECONDS = 0.5
STOP_AGAIN_SECONDS = 5.0
# Number of an event that no worker wrote: the result that was found beside a published adapter.
FOUND_SEQ = 2**31 - 1

Fits = Callable[[Job, WorkerInfo], bool]
Listener = Callable[[Job], Awaitable[None]]


class Gate(Protocol):
    """Who decides whether a job may have the card now (`bot/arbiter.py`)."""

    async def admits(self, job: Job, workers: Sequence[WorkerInfo]) -> bool: ...

    async def settle(self, jobs: Sequence[Job], workers: Sequence[WorkerInfo]) -> None: ...


def _uptime() -> float:
    """Seconds, also those that the machine was suspended."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


def fits_anywhere(job: Job, worker: WorkerInfo) -> bool:
    return True


def pick(
    jobs: Sequence[Job],
    workers: Sequence[WorkerInfo],
    *,
    max_running: int | Mapping[Owner, int | None] = 1,
    fits: Fits = fits_anywhere,
) -> list[Job]:
    """Which queued jobs to hand over now, in order; pure.

    At most one job waits in Redis per worker that takes jobs. Whoever has the fewest jobs with workers goes first, then
    the older job; nobody has more than `max_running` there (for all, or for each owner; None: no limit); what fits no
    worker waits.
    """
    workers = [worker for worker in workers if not worker.paused]
    room = len(workers) - sum(job.state is JobState.DISPATCHED for job in jobs)
    held: Counter[Owner] = Counter(job.owner for job in jobs if job.state.active)
    waiting = [job for job in jobs if job.state is JobState.QUEUED and any(fits(job, worker) for worker in workers)]
    chosen: list[Job] = []
    most = max_running if isinstance(max_running, Mapping) else {job.owner: max_running for job in jobs}
    while len(chosen) < room and (open_to := [job for job in waiting if _below(held[job.owner], most[job.owner])]):
        job = min(open_to, key=lambda job: (held[job.owner], job.created_at))
        waiting.remove(job)
        held[job.owner] += 1
        chosen.append(job)
    return chosen


def _below(held: int, most: int | None) -> bool:
    return most is None or held < most


def target(job: Job, workers: Sequence[WorkerInfo], fits: Fits) -> str | None:
    """None when any worker will do, else the name of the one that fits with the least to do."""
    takers = [worker for worker in workers if not worker.paused]
    able = [worker for worker in takers if fits(job, worker)]
    if len(able) == len(takers):
        return None
    return min(able, key=lambda worker: (worker.current_job is not None, worker.name)).name


class Scheduler:
    """`run()` works until it is cancelled. `fits`: may this job run on that worker? `artifacts`: where finished
    adapters are looked for when their result got lost. `gate`: may this job start now?"""

    def __init__(
        self,
        store: Store,
        queue: Queue,
        settings: Settings,
        *,
        artifacts: Artifacts | None = None,
        fits: Fits = fits_anywhere,
        gate: Gate | None = None,
        tick_seconds: float = TICK_SECONDS,
    ) -> None:
        self._store = store
        self._queue = queue
        self._settings = settings
        self._artifacts = artifacts or Artifacts(settings.artifacts)
        self._fits = fits
        self._gate = gate
        self._tick_seconds = tick_seconds
        self._wake = asyncio.Event()
        self._listeners: list[Listener] = []
        self._blind = True  # nothing could be heard of workers lately
        self._last_round = 0.0  # uptime
        self._reconcile_at = 0.0  # uptime
        self._asked: dict[str, tuple[str, float]] = {}  # rq id → kind of stop, uptime when it was last asked for

    def subscribe(self, listener: Listener) -> None:
        """Call `listener` with every job that changed here."""
        self._listeners.append(listener)

    def nudge(self) -> None:
        """Something is new in the store: look at once."""
        self._wake.set()

    async def run(self) -> None:
        """Raises AfinaError when another process schedules for this data folder."""
        with only_one(self._settings.data_dir / "run" / "scheduler.lock"):
            await asyncio.to_thread(self._artifacts.sweep)
            while True:
                await self._tick_safely()
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self._tick_seconds)
                self._wake.clear()

    async def _tick_safely(self) -> None:
        try:
            await self.tick()
        except QueueUnavailable:
            if not self._blind:
                log.warning("Redis does not answer; jobs wait in SQLite")
            self._blind = True
        except StoreUnavailable as error:
            log.warning("the store is not available: %s", error)
        except Exception:
            log.exception("scheduler tick failed, trying again")

    async def tick(self) -> None:
        """One round. Raises QueueUnavailable; a round that broke off may be repeated from the start."""
        workers = await asyncio.to_thread(self._queue.workers)
        now = _uptime()
        slept = now - self._last_round > self._settings.lease_seconds / 2  # a busy or suspended machine
        if self._blind or slept:
            await self._store.extend_leases()
            self._blind, self._reconcile_at = False, 0.0
        self._last_round = now
        due = now >= self._reconcile_at
        jobs = await self._store.open_jobs()
        self._asked = {job.request.rq_id: at for job in jobs if (at := self._asked.get(job.request.rq_id))}
        for job in jobs:
            with about(job=job.id, attempt=job.attempt):
                if job.state.active and (job.cancel_requested or job.pause_requested):
                    await self._stop(job, now)
                elif job.lease_until is not None and job.lease_until < self._store.clock():
                    await self._bury(job)
                elif due and job.state is JobState.DISPATCHED:
                    await self._look_after(job, workers)
        if due:
            self._reconcile_at = now + self._settings.reconcile_every
        await self._dispatch(workers)
        if self._gate is not None:
            await self._gate.settle(await self._store.open_jobs(), workers)

    async def _dispatch(self, workers: Sequence[WorkerInfo]) -> None:
        jobs = await self._store.open_jobs()
        most = {
            owner: (await limits_for(self._settings, self._store, owner)).max_running_jobs
            for owner in {job.owner for job in jobs if job.state is JobState.QUEUED}
        }
        for job in pick(jobs, workers, max_running=most, fits=self._fits):
            with about(job=job.id, attempt=job.attempt):
                if self._gate is None or await self._gate.admits(job, workers):
                    await self._send(job, target(job, workers, self._fits))

    async def _send(self, job: Job, worker: str | None) -> None:
        """Redis first, then the mark. A crash between the two sends it again, which Redis refuses as a double."""
        await asyncio.to_thread(self._queue.submit, job.request, timeout=self._settings.job_timeout, worker=worker)
        if await self._store.mark_dispatched(job.id, job.attempt):
            log.info("handed over to %s", worker or "the first worker that is free")
            await self._announce(await self._store.job(job.id))
        else:  # cancelled or paused in between
            await asyncio.to_thread(self._queue.request_stop, job.id, job.attempt, "cancelled")

    async def _stop(self, job: Job, now: float) -> None:
        """Pass a person's wish on, again and again until the worker answers."""
        kind: Literal["cancelled", "paused"] = "cancelled" if job.cancel_requested else "paused"
        rq_id = job.request.rq_id
        asked, at = self._asked.get(rq_id, ("", 0.0))
        if asked != kind or now - at >= STOP_AGAIN_SECONDS:
            await asyncio.to_thread(self._queue.request_stop, job.id, job.attempt, kind)
            self._asked[rq_id] = (kind, now)
        silent = job.lease_until is None or job.lease_until < self._store.clock()
        if silent and await asyncio.to_thread(self._queue.state, rq_id) != "started":
            await self._give_up(job)
        elif job.lease_until is None:
            await self._store.start_lease(job.id, job.attempt, seconds=self._settings.lease_seconds)
        elif silent:
            await self._bury(job)

    async def _bury(self, job: Job) -> None:
        """No sign of life: look whether it ended without our hearing of it, else give the attempt up."""
        folder = attempt_folder(self._settings.data_dir, job.id, job.attempt)
        written = await asyncio.to_thread(read_event_file, folder)  # where the worker shares our disk
        alive = written and abs(self._store.clock() - written[-1].created_at) < self._settings.lease_seconds
        await self._store.apply_events(written if alive else [e for e in written if e.type is not EventType.HEARTBEAT])
        if alive:
            return
        result = await asyncio.to_thread(self._artifacts.result, job.request.adapter_name)
        if result is not None:
            found = Event(
                job_id=job.id,
                attempt=job.attempt,
                seq=FOUND_SEQ,
                created_at=self._store.clock(),
                type=EventType.RESULT,
                message="Recuperado después de un corte.",
                data=result.model_dump(mode="json"),
            )
            await self._store.apply_event(found)
        after = await self._store.job(job.id)
        if after.attempt == job.attempt and after.state.active:
            await self._give_up(after, silent_since=job.lease_until)
        else:
            await self._announce(after)

    async def _give_up(self, job: Job, *, silent_since: float | None = None) -> None:
        log.warning("this attempt is dead (silent since %s)", silent_since)
        after = await self._store.give_up_attempt(job.id, job.attempt, seen_lease=job.lease_until)
        if after is not None:
            await self._announce(after)

    async def _look_after(self, job: Job, workers: Sequence[WorkerInfo]) -> None:
        """A dispatched job of which no worker has spoken yet."""
        rq_id = job.request.rq_id
        match await asyncio.to_thread(self._queue.state, rq_id):
            case "missing":  # Redis lost it
                takers = [worker for worker in workers if not worker.paused]
                if takers and not any(self._fits(job, worker) for worker in takers):
                    await self._store.take_back(job.id, job.attempt)  # nobody who is here can do it
                else:
                    await self._send(job, target(job, workers, self._fits) if workers else None)
            case "queued":
                chosen = await asyncio.to_thread(self._queue.target, rq_id)
                gone = chosen is not None and chosen not in {worker.name for worker in workers}
                if gone and await asyncio.to_thread(self._queue.withdraw, rq_id):
                    await self._store.take_back(job.id, job.attempt)
            case _:  # taken: its first word is due
                await self._store.start_lease(job.id, job.attempt, seconds=self._settings.lease_seconds)

    async def _announce(self, job: Job) -> None:
        for listener in self._listeners:
            try:
                await listener(job)
            except Exception:
                log.exception("a listener failed on job %s", job.id)
