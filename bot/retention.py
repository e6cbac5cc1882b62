"""How long things are kept, and letting go of what is too old.

Rule of this file: the periods are settings, `/privacidad` says them, and this is where they come true, once a day. What
somebody made (models) is never deleted by age; data that nobody ever trained on are, and their owner is told before.
Files that no row names go when two looks a day apart find them so. Nothing here needs Discord: telling people is
handed in.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import shutil
import tempfile
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Final

from bot import erasing
from bot.errors import NotFound, WrongState
from bot.records import Dataset, Owner
from bot.services import Services
from bot.store.privacy import EVERYBODY
from jobs.erased import clear_work
from jobs.errors import QueueUnavailable

log = logging.getLogger(__name__)

DAY: Final = 86_400.0
NOTES_DAYS: Final = 30  # the bot's notes for itself: messages already handled, proposals that nobody confirmed
_UPLOAD: Final = re.compile(r"afina-[a-z0-9_]{8}\Z")  # a folder of `tempfile` that a killed process left behind
_SEEN: Final = "orphans"  # state: name → when it was first seen that no row names it

# Told with the data that will go and the days that are left; whether that worked does not matter here.
Tell = Callable[[Owner, Sequence[Dataset], int], Awaitable[None]]


async def sweep(services: Services, tell: Tell) -> None:
    """Everything once. One part that fails is logged and does not hold up the others."""
    for part in (_forget_old, _clear_work, _clear_uploads, _clear_orphans):
        await _guarded(part(services))
    await _guarded(_warn(services, tell))
    await _guarded(_drop_unused(services))
    await _guarded(_erase_departed(services))


async def _guarded(work: Awaitable[None]) -> None:
    try:
        await work
    except Exception:
        log.exception("a part of the daily sweep failed")


def _before(services: Services, days: float) -> float:
    """The time so many days ago; 0 days: never, so before everything."""
    return services.store.clock() - days * DAY if days else 0.0


async def _forget_old(services: Services) -> None:
    settings = services.settings
    counts = await services.store.forget_old(
        chats=_before(services, settings.keep_chats_days),
        feedback=_before(services, settings.keep_feedback_days),
        events=_before(services, settings.keep_events_days),
        notes=_before(services, NOTES_DAYS),
    )
    log.info("old rows deleted: %s", counts, extra={"action": "retention"})


async def _clear_work(services: Services) -> None:
    """Checkpoints and event files of jobs that are long over, on every machine."""
    if not services.settings.keep_work_days:
        return
    done = await services.store.finished_jobs(_before(services, services.settings.keep_work_days))
    if not done:
        return
    try:
        await asyncio.to_thread(services.queue.forget, done)
    except QueueUnavailable:
        return
    for job_id in done:
        await asyncio.to_thread(clear_work, services.settings.data_dir, job_id)
    await services.store.cleared(*done)


async def _clear_uploads(services: Services) -> None:
    def clear() -> None:
        for folder in Path(tempfile.gettempdir()).glob("afina-*"):
            old = folder.is_dir() and not folder.is_symlink() and time.time() - folder.stat().st_mtime > DAY
            if old and _UPLOAD.match(folder.name) and folder.owner() == Path.home().owner():
                shutil.rmtree(folder, ignore_errors=True)

    await asyncio.to_thread(clear)


async def _clear_orphans(services: Services) -> None:
    """Adapters of attempts that were given up, files of uploads that broke off."""
    store, now = services.store, services.store.clock()
    adapters, datasets = await store.named_files()
    found = {name for name in await asyncio.to_thread(services.artifacts.list_adapters) if name not in adapters}
    found |= {f"{one}/" for one in await asyncio.to_thread(services.artifacts.list_datasets) if one not in datasets}
    before: dict[str, float] = json.loads(await store.get_state(_SEEN) or "{}")
    seen = {name: before.get(name, now) for name in found}
    gone = [name for name, first in seen.items() if now - first >= DAY]
    await store.add_erasures("adapter", *(name for name in gone if not name.endswith("/")))
    await store.add_erasures("dataset", *(f"datasets/{name}v1.jsonl" for name in gone if name.endswith("/")))
    await store.set_state(_SEEN, json.dumps({name: first for name, first in seen.items() if name not in gone}))
    if gone:
        log.info("%d orphaned files deleted", len(gone), extra={"action": "retention"})
        await erasing.finish(services)


# Data that nobody uses


async def _warn(services: Services, tell: Tell) -> None:
    keep, notice = services.settings.keep_unused_datasets_days, services.settings.warn_days
    if not keep:
        return
    by_owner: dict[Owner, list[str]] = {}
    for dataset_id, owner in await services.store.unused_datasets(_before(services, max(keep - notice, 0.001))):
        by_owner.setdefault(owner, []).append(dataset_id)
    for owner, ids in by_owner.items():
        await tell(owner, [await services.store.dataset(one, owner) for one in ids], notice)
        await services.store.warned(*ids)


async def _drop_unused(services: Services) -> None:
    """What its owner was told about in time and did not use since."""
    settings, store = services.settings, services.store
    if not settings.keep_unused_datasets_days:
        return
    warned = store.clock() - settings.warn_days * DAY
    keep = _before(services, settings.keep_unused_datasets_days)
    for dataset_id, owner in await store.unused_datasets(keep, warned_before=warned):
        try:
            gone = await store.delete_dataset(dataset_id, owner)
        except (NotFound, WrongState):  # used in this very moment
            continue
        await store.add_erasures("dataset", gone.path)
    await erasing.finish(services)


# Who is gone


async def leave(services: Services, guild_id: int, user_id: int = EVERYBODY) -> None:
    """Somebody left, or Afina was taken out of a server: their jobs pause, and nothing more for a while."""
    await services.store.departed(guild_id, user_id)
    for job in await services.store.open_jobs():
        if job.owner.guild_id == guild_id and user_id in (EVERYBODY, job.owner.user_id):
            try:
                await services.store.request_pause(job.id)
            except (NotFound, WrongState):  # over in this moment, or paused
                continue
    services.scheduler.nudge()


async def come_back(services: Services, guild_id: int, user_id: int = EVERYBODY) -> bool:
    """Everything is as it was; paused jobs wait for their owner. Whether they had been gone."""
    return await services.store.returned(guild_id, user_id)


async def _erase_departed(services: Services) -> None:
    days = services.settings.departure_days
    if not days:
        return
    for guild_id, user_id, _ in await services.store.departures(before=_before(services, days)):
        if user_id != EVERYBODY:
            await erasing.erase(services, Owner(guild_id=guild_id, user_id=user_id))
            continue
        for owner in await services.store.owners():
            if owner.guild_id == guild_id:
                await erasing.erase(services, owner)
        await services.store.forget_server(guild_id)
        for top in ("course", "cache/course"):
            shutil.rmtree(services.settings.data_dir / top / str(guild_id), ignore_errors=True)
        log.info("server %s was erased", guild_id, extra={"action": "retention"})


__all__ = ["come_back", "leave", "sweep"]
