"""How long things take and who is first: workers, measured speed, the queue ahead of a job.

Rule of this file: estimates for people, never decisions; the scheduler decides (`bot/scheduler.py`), and `Fits` is all
that it takes from here. What nobody can know is None.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from statistics import harmonic_mean

from bot.records import Dataset, Job, Owner
from bot.services import Services
from jobs.catalog import Base, Catalog
from jobs.contract import Event, JobState, Method, Recipe, WorkerInfo
from jobs.errors import AfinaError, QueueUnavailable
from jobs.recipe import DataStats, Estimate, estimate, memory_needed


def stats_of(dataset: Dataset) -> DataStats:
    return DataStats.from_report(dataset.report.get("stats") or {})


async def workers(services: Services) -> list[WorkerInfo]:
    """Who trains at the moment; nobody when the queue cannot be asked."""
    try:
        return await asyncio.to_thread(services.queue.workers)
    except QueueUnavailable:
        return []


def best_memory(crew: Sequence[WorkerInfo]) -> int | None:
    return max((worker.memory_bytes for worker in crew), default=None)


async def tokens_per_second(services: Services, base_id: str, method: Method) -> float | None:
    """What the last finished job of this kind reached; None before the first."""
    text = await services.store.get_state(f"speed:{base_id}:{method}")
    return float(text) if text else None


async def expected_cost(
    services: Services, recipe: Recipe, stats: DataStats, base: Base, crew: Sequence[WorkerInfo]
) -> Estimate:
    """What a job would take on the workers that are up; while none is, on those that such a base usually gets."""
    return estimate(
        recipe,
        stats,
        base,
        tokens_per_second=await tokens_per_second(services, base.id, recipe.method),
        device_memory=best_memory(crew),
        gpu=any(worker.device == "cuda" for worker in crew) if crew else base.repo is not None,
    )


async def remember_speed(services: Services, job: Job, events: Sequence[Event]) -> None:
    """Keep what a finished job reached while it trained, for the next estimate.

    The harmonic mean, because each report covers about as many tokens as the next.
    """
    speeds = [float(speed) for event in events if (speed := event.data.get("tokens_per_second"))]
    if speeds:
        key = f"speed:{job.request.base_id}:{job.request.recipe.method}"
        await services.store.set_state(key, f"{harmonic_mean(speeds):.3f}")


class Fits:
    """Whether a job can run on a worker, for the scheduler: by memory, and always on the largest one seen.

    The largest one gets what the estimate, which assumes the longest rows, finds too big: better an honest failure
    there than a job that waits for ever.
    """

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._largest = 0

    def __call__(self, job: Job, worker: WorkerInfo) -> bool:
        self._largest = max(self._largest, worker.memory_bytes)
        if worker.memory_bytes >= self._largest or job.request.base_id not in self._catalog:
            return True
        unknown = DataStats(examples=0, tokens=0, p95_tokens=0, learnt_tokens=0)
        base = self._catalog.get(job.request.base_id)
        return memory_needed(job.request.recipe, unknown, base) <= 0.92 * worker.memory_bytes


async def expected_wait(services: Services, job: Job) -> float | None:
    """Seconds until a queued job starts, from what is ahead of it; None when nobody can know."""
    crew = await workers(services)
    return (await queue_ahead(services, job.owner, crew, job))[1]


async def queue_ahead(
    services: Services, owner: Owner, crew: Sequence[WorkerInfo], job: Job | None = None
) -> tuple[int, float | None]:
    """Place of `job` (or of a new one of `owner`) and the seconds of work ahead of it, shared among the workers.

    Fair share, as the scheduler sees it: everybody's first job comes before anybody's second.
    """
    turns: dict[Owner, int] = {}
    ahead: list[Job] = []
    everyone = [one for one in await services.store.open_jobs() if one.state is not JobState.PAUSED]
    everyone.sort(key=lambda one: (one.state is JobState.QUEUED, one.created_at, one.id))
    ranked: list[tuple[int, Job]] = []
    for one in everyone:
        turns[one.owner] = turns.get(one.owner, 0) + 1
        ranked.append((turns[one.owner], one))
    mine = next((turn for turn, one in ranked if job and one.id == job.id), turns.get(owner, 0) + 1)
    for turn, one in ranked:
        if job is not None and one.id == job.id:
            continue
        earlier = job is None or one.created_at <= job.created_at
        if one.state is not JobState.QUEUED or turn < mine or (turn == mine and earlier):
            ahead.append(one)
    position = 1 + sum(one.state in (JobState.QUEUED, JobState.DISPATCHED) for one in ahead)
    if not crew:
        return position, None
    if len(ahead) < len(crew):
        return position, 0.0
    lengths = [await remaining(services, one) for one in ahead]
    known = [length for length in lengths if length is not None]
    return position, sum(known) / len(crew) if len(known) == len(lengths) else None


async def remaining(services: Services, job: Job) -> float | None:
    """Seconds of work left in somebody's job; None when it cannot be told."""
    try:
        dataset = await services.store.dataset(job.dataset_id, job.owner)
        base = services.catalog.get(job.request.base_id)
        speed = await tokens_per_second(services, base.id, job.request.recipe.method)
        seconds = estimate(job.request.recipe, stats_of(dataset), base, tokens_per_second=speed).seconds
    except AfinaError:
        return None
    done = job.step / job.total_steps if job.total_steps else 0.0
    return seconds * (1 - min(done, 1.0))
