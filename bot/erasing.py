"""Erasing for good: from what acts to what lies, until nothing is left anywhere.

Rule of this file: running jobs are asked to stop, then all rows vanish in one transaction that also writes down what
still lies elsewhere (from then on nobody can ask for anything, and a crash forgets nothing), then the database is
rewritten without them. `finish` clears Redis, the engine, files and work folders, again and again until it is done:
a worker may need a moment to stop, or be away. Who was erased is remembered as a hash, so that a restored backup does
not bring them back (`bot/deletions.py`).
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import suppress

from bot.deletions import DeletionLog, person
from bot.drafts import Draft
from bot.errors import NotFound, WrongState
from bot.records import Job, Owner
from bot.services import Services
from bot.store.privacy import Erasure
from jobs.erased import clear_work
from jobs.errors import AfinaError, QueueUnavailable

log = logging.getLogger(__name__)

SILENCE = 30.0  # seconds after which a job that no worker names as its own counts as ended


async def erase(services: Services, owner: Owner) -> dict[str, int]:
    """Erase a person from a server for good: how many rows went, by table. `finish` sees to the rest."""
    store = services.store
    jobs = await store.jobs(owner)
    for job in jobs:
        if not job.state.terminal:
            await _stop(services, job)
    counts = await store.erase(owner)
    await store.forget_states(*await _states_of(services, owner, jobs))
    await asyncio.to_thread(DeletionLog.of(services.settings).note, person(owner), store.clock())
    if not await store.scrub():
        log.warning("the database is in use; it will be rewritten later")
    await finish(services)
    return counts


async def _stop(services: Services, job: Job) -> None:
    with suppress(NotFound, WrongState):  # over in this very moment
        await services.store.request_cancel(job.id, job.owner)
    try:
        await asyncio.to_thread(services.queue.request_stop, job.id, job.attempt, "cancelled")
    except QueueUnavailable:  # its events find no job any more, and `finish` asks again
        log.warning("a job of an erased person may still run", extra={"job": job.id})


async def _states_of(services: Services, owner: Owner, jobs: Sequence[Job]) -> list[str]:
    """Named values that hold something of this person's."""
    store = services.store
    drafts = await store.states("draft:")
    contests = await store.states("compare:")
    mine = [key for key, text in drafts.items() if Draft.model_validate_json(text).owner == owner]
    for key, text in contests.items():
        asked = json.loads(text)
        if (asked.get("guild_id"), asked.get("user_id")) == (owner.guild_id, owner.user_id):
            mine.append(key)
    home = f"home:{owner.user_id}"
    if await store.get_state(home) == str(owner.guild_id):
        mine.append(home)
    return [*mine, *(f"told:{job.id}" for job in jobs)]


async def finish(services: Services) -> int:
    """Clear what is left of what was erased, as far as nobody is at work on it; how much must be tried again."""
    left = await services.store.erasures()
    if left:
        running = await _running(services, [one for one in left if one.kind == "job"])
        idle = [one for one in left if not any(one.key == job or one.key.endswith(job) for job in _tails(running))]
        done = await _clear_files(services, [one for one in idle if one.kind != "job"])
        done += await _clear_jobs(services, [one for one in idle if one.kind == "job"])
        await services.store.erased(*done)
        left = [one for one in left if one not in done]
        if done:  # the names of what was looked for go from the file, too
            await services.store.scrub()
    elif await services.store.needs_scrubbing():
        await services.store.scrub()
    return len(left)


def _tails(running: dict[str, int]) -> list[str]:
    """How the names of things end that belong to jobs at work: adapters carry the job's id, and the attempt."""
    return [
        tail for job, attempts in running.items() for tail in (job, *(f"{job}-{n}" for n in range(2, attempts + 1)))
    ]


async def _running(services: Services, jobs: Sequence[Erasure]) -> dict[str, int]:
    """Those that a worker may still be at, asked to stop once more; all of them while Redis is away."""
    found: dict[str, int] = {}
    now = services.store.clock()
    try:
        crew = {worker.current_job for worker in await asyncio.to_thread(services.queue.workers)}
        for job in jobs:
            for attempt in range(1, job.attempts + 1):
                rq_id = f"{job.key}-{attempt}"
                state = await asyncio.to_thread(services.queue.state, rq_id)
                if state == "queued" or rq_id in crew or (state == "started" and now - job.since < SILENCE):
                    await asyncio.to_thread(services.queue.request_stop, job.key, attempt, "cancelled")
                    if state != "queued":
                        found[job.key] = job.attempts
    except QueueUnavailable:
        return {job.key: job.attempts for job in jobs}
    return found


async def _clear_files(services: Services, things: Sequence[Erasure]) -> list[Erasure]:
    done = []
    for one in things:
        path = f"adapters/{one.key}" if one.kind == "adapter" else one.key.rpartition("/")[0]
        try:
            if one.kind == "adapter":
                await services.engine.unload(one.key)
        except AfinaError:  # it has nothing loaded after its next start
            log.info("adapter %s was not unloaded", one.key)
        try:
            await asyncio.to_thread(services.artifacts.delete, path)
            done.append(one)
        except (OSError, AfinaError):
            log.exception("%s could not be deleted yet", path)
    return done


async def _clear_jobs(services: Services, jobs: Sequence[Erasure]) -> list[Erasure]:
    """Work folders here, and through Redis those of every worker."""
    data = services.settings.data_dir
    done = [job for job in jobs if await asyncio.to_thread(clear_work, data, job.key)]
    if not done:
        return []
    try:
        await asyncio.to_thread(services.queue.forget, [job.key for job in done])
    except QueueUnavailable:
        return []
    return done
