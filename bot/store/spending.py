"""What people have used: device time, jobs, files, bytes.

Rule of this file: device time is counted from the first to the last sign of life of each attempt, by the clock of its
worker, so that neither a bot that was away nor a wrong clock costs anybody anything. An attempt whose worker died,
every attempt of a job that failed, and a job that staff cancelled cost nothing. What that leaves of a limit is said by
`bot/limits.py`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import aiosqlite

from bot.limits import WEEK, Ran, Usage
from bot.records import Job, Owner
from bot.store.database import Database
from jobs.contract import Event

Fetch = Callable[[str, tuple[Any, ...]], Awaitable[Iterable[Any]]]

SALT = "leftovers.salt"  # name of the value that keeps the hashes of erased people from being guessed

_RAN = (
    "SELECT attempts.started_at, attempts.seen_at FROM attempts JOIN jobs ON jobs.id = attempts.job_id"
    " WHERE jobs.guild_id = ?1 AND jobs.user_id = ?2 AND attempts.costs AND attempts.seen_at > ?3"
)
_OPEN = (
    "SELECT jobs.state, jobs.estimated_seconds, coalesce(sum(attempts.seen_at - attempts.started_at), 0) AS ran"
    " FROM jobs LEFT JOIN attempts ON attempts.job_id = jobs.id AND attempts.costs"
    " WHERE jobs.guild_id = ?1 AND jobs.user_id = ?2 AND jobs.state IN ('queued', 'dispatched', 'running', 'paused')"
    " GROUP BY jobs.id"
)
_KEPT = (
    "SELECT (SELECT count(*) FROM datasets WHERE guild_id = ?1 AND user_id = ?2) AS datasets,"
    " (SELECT count(*) FROM models WHERE guild_id = ?1 AND user_id = ?2) AS models,"
    " (SELECT coalesce(sum(bytes), 0) FROM datasets WHERE guild_id = ?1 AND user_id = ?2)"
    " + (SELECT coalesce(sum(bytes), 0) FROM models WHERE guild_id = ?1 AND user_id = ?2) AS disk"
)


class SpendingRows(Database):
    async def usage(self, owner: Owner) -> Usage:
        """What one person uses in one server, right now."""
        return await usage_of(self._all, owner, self.clock())


async def usage_of(fetch: Fetch, owner: Owner, now: float) -> Usage:
    """The same inside a transaction (`fetch`: its `execute_fetchall`), so that two wishes at once cannot overspend."""
    ids = (owner.guild_id, owner.user_id)
    opened = list(await fetch(_OPEN, ids))
    (kept,) = await fetch(_KEPT, ids)
    ran = [*await _ran(fetch, owner, now), *await _leftovers(fetch, owner, now)]
    return Usage(
        now=now,
        ran=tuple(sorted(ran, key=lambda one: one.until)),
        reserved=sum(max(0.0, row["estimated_seconds"] - row["ran"]) for row in opened if row["state"] != "paused"),
        open_jobs=len(opened),
        running_jobs=sum(row["state"] in ("dispatched", "running") for row in opened),
        datasets=kept["datasets"],
        models=kept["models"],
        disk_bytes=kept["disk"],
    )


async def still_needed(fetch: Fetch, job: Job) -> float:
    """Device seconds that an open job is expected to take yet."""
    rows = await fetch("SELECT sum(seen_at - started_at) AS ran FROM attempts WHERE job_id = ? AND costs", (job.id,))
    return max(0.0, job.estimated_seconds - sum(row["ran"] or 0.0 for row in rows))


async def _ran(fetch: Fetch, owner: Owner, now: float) -> list[Ran]:
    since = now - WEEK
    rows = await fetch(_RAN, (owner.guild_id, owner.user_id, since))
    return [Ran(seconds=row["seen_at"] - max(row["started_at"], since), until=row["seen_at"]) for row in rows]


async def _leftovers(fetch: Fetch, owner: Owner, now: float) -> list[Ran]:
    who = await _hash(fetch, owner)
    rows = await fetch("SELECT seconds, until FROM leftovers WHERE who = ? AND until > ?", (who, now - WEEK))
    return [Ran(seconds=row["seconds"], until=row["until"]) for row in rows]


async def _hash(fetch: Fetch, owner: Owner) -> str:
    salt = next((row["value"] for row in await fetch("SELECT value FROM state WHERE key = ?", (SALT,))), "")
    return hashlib.sha256(f"{salt}:{owner.guild_id}:{owner.user_id}".encode()).hexdigest()


# Inside the transactions that move a job


async def sign_of_life(tx: aiosqlite.Connection, event: Event, now: float) -> None:
    """A worker spoke for an attempt: it ran at least until then. No clock may run ahead of ours."""
    await tx.execute(
        "INSERT INTO attempts (job_id, attempt, started_at, seen_at) VALUES (?1, ?2, ?3, ?3)"
        " ON CONFLICT DO UPDATE SET seen_at = max(seen_at, excluded.seen_at)",
        (event.job_id, event.attempt, min(event.created_at, now)),
    )


async def give_back(tx: aiosqlite.Connection, job: Job, *, attempt: int | None = None) -> None:
    """One attempt, or the whole job, costs nothing."""
    await tx.execute(
        "UPDATE attempts SET costs = 0 WHERE job_id = ?1 AND (?2 IS NULL OR attempt = ?2)", (job.id, attempt)
    )


async def carry_over(tx: aiosqlite.Connection, owner: Owner, now: float) -> None:
    """Before somebody's jobs are erased: their device time of this week stays, without who they are."""
    await tx.execute("DELETE FROM leftovers WHERE until <= ?", (now - WEEK,))
    await tx.execute("INSERT OR IGNORE INTO state (key, value) VALUES (?, ?)", (SALT, secrets.token_hex(16)))
    who = await _hash(tx.execute_fetchall, owner)
    await tx.executemany(
        "INSERT INTO leftovers (who, seconds, until) VALUES (?, ?, ?)",
        [(who, ran.seconds, ran.until) for ran in await _ran(tx.execute_fetchall, owner, now)],
    )
