"""Events: what workers report, applied once and in the right attempt.

Rule of this file: an event changes its job and its row in `events` in one transaction; `(attempt, seq)` removes
doubles, and an attempt that is not the current one is not listened to. Heartbeats renew the lease and leave no row.
"""

from __future__ import annotations

from collections.abc import Sequence

import aiosqlite
from pydantic import ValidationError

from bot.errors import NotFound
from bot.records import Job
from bot.store.database import Database
from bot.store.models import insert_model
from bot.store.spending import sign_of_life
from bot.store.transitions import finish, load_job, lost_attempt, new_attempt, pause, stopped_attempt
from jobs.contract import Event, EventType, JobState, Metrics, Phase, TrainResult

WORKER_DIED = "worker_died"  # code of a FAILED event that a worker writes for a child that can no longer speak


class EventRows(Database):
    async def events(self, job_id: str) -> list[Event]:
        """The history of a job over all attempts, oldest first, without heartbeats."""
        rows = await self._all("SELECT event FROM events WHERE job_id = ? ORDER BY attempt, seq", (job_id,))
        return [Event.model_validate_json(row["event"]) for row in rows]

    async def apply_event(self, event: Event) -> Job | None:
        """Apply one event; the job as it is now, or None when nothing changed.

        Nothing changes for an unknown job, another attempt than the current one, a job that is over or paused, an
        event that was applied before, one whose data cannot be read, and a heartbeat of a running job.
        """
        changed = await self.apply_events([event])
        return changed[0] if changed else None

    async def newest_metrics(self, job_id: str) -> Event | None:
        """The last numbers that the job's newest attempt reported."""
        row = await self._one(
            "SELECT event FROM events WHERE job_id = ? AND json_extract(event, '$.type') = 'metrics'"
            " ORDER BY attempt DESC, seq DESC LIMIT 1",
            (job_id,),
        )
        return Event.model_validate_json(row["event"]) if row else None

    async def apply_events(self, events: Sequence[Event]) -> list[Job]:
        """Apply several in order, in one transaction; the jobs that changed, each once, as they are now."""
        async with self.transaction() as tx:
            changed = {event.job_id: None for event in events if await self._apply(tx, event)}
            return [await load_job(tx, job_id) for job_id in changed]

    async def _apply(self, tx: aiosqlite.Connection, event: Event) -> bool:
        try:
            job = await load_job(tx, event.job_id)
        except NotFound:
            return False
        waiting = job.state in (JobState.QUEUED, JobState.DISPATCHED)
        if event.attempt != job.attempt or not (waiting or job.state is JobState.RUNNING):
            return False
        if event.type is not EventType.HEARTBEAT and not await _insert(tx, event):
            return False
        now = self.clock()
        await sign_of_life(tx, event, now)
        if waiting:  # an enqueue whose mark got lost counts as sent
            await tx.execute(
                "UPDATE outbox SET sent_at = coalesce(sent_at, ?) WHERE job_id = ? AND attempt = ?",
                (now, job.id, job.attempt),
            )
        await tx.execute(
            "UPDATE jobs SET state = 'running', lease_until = ?, started_at = coalesce(started_at, ?) WHERE id = ?",
            (now + self.lease_seconds, now, job.id),
        )
        try:
            await self._effect(tx, job, event, now)
        except (ValidationError, ValueError):
            return False  # the row stays in the history; a garbled progress line must not stop the rest
        return waiting or event.type is not EventType.HEARTBEAT

    async def _effect(self, tx: aiosqlite.Connection, job: Job, event: Event, now: float) -> None:
        match event.type:
            case EventType.PHASE:
                await tx.execute(
                    "UPDATE jobs SET phase = ? WHERE id = ?", (Phase(str(event.data.get("phase"))), job.id)
                )
            case EventType.METRICS:
                metrics = Metrics.model_validate(event.data)
                await tx.execute(
                    "UPDATE jobs SET step = ?, total_steps = ? WHERE id = ?",
                    (metrics.step, metrics.total_steps, job.id),
                )
            case EventType.RESULT:
                result = TrainResult.model_validate(event.data)
                name = job.request.adapter_name
                if result.adapter_name != name or result.adapter_path != f"adapters/{name}":
                    raise ValueError("result names an adapter that is not of this attempt")
                await insert_model(tx, job, result, now)
                await finish(tx, job, JobState.SUCCEEDED, now)
            case EventType.STOPPED:
                await _stopped(tx, job, str(event.data.get("kind")), now)
            case EventType.FAILED if event.data.get("code") == WORKER_DIED:
                await lost_attempt(tx, job, now, self.max_attempts)
            case EventType.FAILED:
                if not await stopped_attempt(tx, job, now):
                    error = {key: str(event.data.get(key, "")) for key in ("code", "message", "hint")}
                    await finish(tx, job, JobState.FAILED, now, error)


async def _stopped(tx: aiosqlite.Connection, job: Job, kind: str, now: float) -> None:
    if await stopped_attempt(tx, job, now):  # the latest wish counts, also when the worker saw an earlier one
        return
    if kind == "cancelled":
        await finish(tx, job, JobState.CANCELLED, now)
    elif kind == "paused":
        await pause(tx, job)
    else:  # the machine is going away; not the job's fault
        await new_attempt(tx, job, now)


async def _insert(tx: aiosqlite.Connection, event: Event) -> bool:
    cursor = await tx.execute(
        "INSERT OR IGNORE INTO events (job_id, attempt, seq, created_at, event) VALUES (?, ?, ?, ?, ?)",
        (event.job_id, event.attempt, event.seq, event.created_at, event.model_dump_json()),
    )
    return cursor.rowcount == 1
