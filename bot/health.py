"""How the parts of the bot are doing, asked of each part at the same time.

Rule of this file: nothing here raises and nothing waits longer than a few seconds; a part that does not answer is a
finding, not an error.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from bot.services import Services
from bot.waiting import workers
from jobs.contract import JobState, WorkerInfo

T = TypeVar("T")

PATIENCE = 5.0  # seconds for each part
LITTLE_DISK = 2 * 2**30  # bytes; below this, say so


@dataclass(frozen=True, kw_only=True, slots=True)
class Health:
    queue: bool  # Redis answers
    crew: tuple[WorkerInfo, ...]
    engine: bool
    queued: int
    running: int
    disk_free: int  # bytes of the data folder's disk
    disk_total: int
    meaning: str | None = None  # why search by meaning is away; None: it is not, or nobody configured it

    @property
    def well(self) -> bool:
        return self.queue and bool(self.crew) and self.engine and self.disk_free > LITTLE_DISK


async def examine(services: Services) -> Health:
    queue, crew, engine, jobs = await asyncio.gather(
        _patiently(asyncio.to_thread(services.queue.ping), False),
        _patiently(workers(services), []),
        _patiently(services.engine.healthy(), False),
        services.store.open_jobs(),
    )
    disk = await asyncio.to_thread(shutil.disk_usage, services.settings.data_dir)
    return Health(
        queue=queue,
        crew=tuple(crew),
        engine=engine,
        queued=sum(job.state is JobState.QUEUED for job in jobs),
        running=sum(job.state.active for job in jobs),
        disk_free=disk.free,
        disk_total=disk.total,
        meaning=services.lessons.outage,
    )


async def _patiently(answer: Awaitable[T], otherwise: T) -> T:
    try:
        return await asyncio.wait_for(answer, PATIENCE)
    except TimeoutError:
        return otherwise
