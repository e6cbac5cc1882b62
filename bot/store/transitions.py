"""How a job moves from one state to the next, inside a transaction.

Rule of this file: functions over an open transaction and no others; the only place where an attempt is made, and a new
attempt and its outbox entry are written together. When a job may move is decided by the callers.
"""

from __future__ import annotations

import json
import re
import sqlite3
import unicodedata
from typing import Any

import aiosqlite

from bot.errors import NotFound
from bot.records import Job, Owner
from bot.store.database import to_json
from bot.store.spending import give_back
from jobs.contract import JobState, Phase, TrainRequest


def adapter_name(name: str, job_id: str, attempt: int) -> str:
    """Engine name of what one attempt makes: readable, unique for ever, a legal folder name."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode().lower()
    slug = re.sub(r"[^a-z0-9]+", "-", plain).strip("-")[:40].strip("-") or "modelo"
    return f"{slug}-{job_id}" if attempt == 1 else f"{slug}-{job_id}-{attempt}"


async def load_job(tx: aiosqlite.Connection, job_id: str) -> Job:
    """Inside a transaction. Raises NotFound."""
    for row in await tx.execute_fetchall("SELECT * FROM jobs WHERE id = ?", (job_id,)):
        return to_job(row)
    raise NotFound("No encuentro ese entrenamiento.", hint="Mira los tuyos con /entrenamientos lista.")


async def finish(
    tx: aiosqlite.Connection, job: Job, state: JobState, now: float, error: dict[str, str] | None = None
) -> None:
    await tx.execute(
        "UPDATE jobs SET state = ?, phase = NULL, lease_until = NULL, cancel_requested = 0, pause_requested = 0,"
        " error = ?, finished_at = ? WHERE id = ?",
        (state, to_json(error) if error else None, now, job.id),
    )
    if state is JobState.FAILED or (state is JobState.CANCELLED and job.by_staff):
        await give_back(tx, job)


async def pause(tx: aiosqlite.Connection, job: Job) -> None:
    await tx.execute(
        "UPDATE jobs SET state = 'paused', phase = NULL, lease_until = NULL, pause_requested = 0 WHERE id = ?",
        (job.id,),
    )


async def new_attempt(tx: aiosqlite.Connection, job: Job, now: float, *, failed: bool = False) -> None:
    """The one place where attempts are made: the fencing token moves on and the outbox gets its entry."""
    if failed:
        await give_back(tx, job, attempt=job.attempt)
    attempt = job.attempt + 1
    request = job.request.model_copy(
        update={"attempt": attempt, "resume": True, "adapter_name": adapter_name(job.name, job.id, attempt)}
    )
    await tx.execute(
        "UPDATE jobs SET state = 'queued', phase = NULL, attempt = ?, request = ?, failures = failures + ?,"
        " lease_until = NULL, pause_requested = 0 WHERE id = ?",
        (attempt, request.model_dump_json(), int(failed), job.id),
    )
    await tx.execute("INSERT INTO outbox (job_id, attempt, created_at) VALUES (?, ?, ?)", (job.id, attempt, now))


async def stopped_attempt(tx: aiosqlite.Connection, job: Job, now: float) -> bool:
    """End an attempt as the person who asked for it wants; False when nobody asked."""
    if job.cancel_requested:
        await finish(tx, job, JobState.CANCELLED, now)
    elif job.pause_requested:
        await pause(tx, job)
    return job.cancel_requested or job.pause_requested


async def lost_attempt(tx: aiosqlite.Connection, job: Job, now: float, max_attempts: int) -> None:
    """The worker of the current attempt died without a word of its own."""
    if await stopped_attempt(tx, job, now):
        return
    if job.failures + 1 < max_attempts:
        await new_attempt(tx, job, now, failed=True)
        return
    error = {
        "code": "worker_died",
        "message": f"El proceso que entrenaba se ha cortado {max_attempts} veces seguidas.",
        "hint": "Suele ser falta de memoria: prueba con ejemplos más cortos o una base más pequeña.",
    }
    await finish(tx, job, JobState.FAILED, now, error)


def to_job(row: sqlite3.Row) -> Job:
    error: dict[str, Any] | None = json.loads(row["error"]) if row["error"] else None
    return Job(
        id=row["id"],
        owner=job_owner(row),
        name=row["name"],
        request=TrainRequest.model_validate_json(row["request"]),
        state=JobState(row["state"]),
        phase=Phase(row["phase"]) if row["phase"] else None,
        attempt=row["attempt"],
        failures=row["failures"],
        step=row["step"],
        total_steps=row["total_steps"],
        cancel_requested=bool(row["cancel_requested"]),
        pause_requested=bool(row["pause_requested"]),
        lease_until=row["lease_until"],
        error=error,
        dataset_id=row["dataset_id"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        channel_id=row["channel_id"],
        message_id=row["message_id"],
        estimated_seconds=row["estimated_seconds"],
        by_staff=bool(row["by_staff"]),
    )


def job_owner(row: sqlite3.Row) -> Owner:
    return Owner(guild_id=row["guild_id"], user_id=row["user_id"])
