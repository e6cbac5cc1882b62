"""Leaving and forgetting: who is gone, what is old, and what must still vanish elsewhere.

Rule of this file: it decides nothing. Times are Unix seconds; what is too old is said by the caller
(`bot/retention.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import aiosqlite

from bot.limits import WEEK
from bot.records import Owner
from bot.store.database import Database, StoreUnavailable
from bot.store.servers import KEPT_SECONDS

EVERYBODY = 0  # in place of a person: the whole server
_SCRUB = "scrub"  # state: deleted rows may still be in the file

Kind = Literal["job", "adapter", "dataset"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Erasure:
    """Something deleted whose remains are looked for outside of the database."""

    kind: Kind
    key: str  # id of a job, name of an adapter, path of a dataset's file
    attempts: int  # of a job
    since: float


class PrivacyRows(Database):
    # What must still vanish

    async def erasures(self) -> list[Erasure]:
        rows = await self._all("SELECT kind, key, attempts, since FROM erasures ORDER BY since")
        return [Erasure(**dict(row)) for row in rows]

    async def add_erasures(self, kind: Kind, *keys: str) -> None:
        async with self.transaction() as tx:
            for key in keys:
                await note_erasure(tx, kind, key, self.clock())

    async def erased(self, *done: Erasure) -> None:
        """Nothing of these is left anywhere."""
        async with self.transaction() as tx:
            for one in done:
                await tx.execute("DELETE FROM erasures WHERE kind = ? AND key = ?", (one.kind, one.key))

    async def scrub(self) -> bool:
        """Rewrite the file without what was deleted, and empty its log; False when somebody is in the way.

        Asked for again after a crash: `needs_scrubbing`.
        """
        await self._set_scrub()
        async with self._lock:
            try:
                await self._writer.execute("VACUUM")
                ((busy, *_),) = await self._writer.execute_fetchall("PRAGMA wal_checkpoint(TRUNCATE)")
            except aiosqlite.OperationalError:
                return False
        if busy:
            return False
        async with self.transaction() as tx:
            await tx.execute("DELETE FROM state WHERE key = ?", (_SCRUB,))
        return True

    async def needs_scrubbing(self) -> bool:
        return await self._one("SELECT 1 FROM state WHERE key = ?", (_SCRUB,)) is not None

    async def _set_scrub(self) -> None:
        async with self.transaction() as tx:
            await tx.execute("INSERT OR IGNORE INTO state (key, value) VALUES (?, '')", (_SCRUB,))

    # Who is gone

    async def owners(self) -> list[Owner]:
        """Everybody of whom anything is kept, but the command line."""
        tables = ("datasets", "jobs", "models", "chats", "votes", "feedback", "people")
        every = " UNION ".join(f"SELECT guild_id, user_id FROM {table}" for table in tables)  # noqa: S608
        rows = await self._all(f"SELECT guild_id, user_id FROM ({every}) WHERE guild_id != 0 ORDER BY 1, 2")  # noqa: S608
        return [Owner(guild_id=row["guild_id"], user_id=row["user_id"]) for row in rows]

    async def departed(self, guild_id: int, user_id: int = EVERYBODY) -> None:
        """Somebody left; the first time counts."""
        async with self.transaction() as tx:
            await tx.execute(
                "INSERT OR IGNORE INTO departures (guild_id, user_id, since) VALUES (?, ?, ?)",
                (guild_id, user_id, self.clock()),
            )

    async def returned(self, guild_id: int, user_id: int = EVERYBODY) -> bool:
        """They are back: nothing will be erased. Whether they had been gone."""
        async with self.transaction() as tx:
            cursor = await tx.execute("DELETE FROM departures WHERE guild_id = ? AND user_id = ?", (guild_id, user_id))
        return cursor.rowcount > 0

    async def has_departed(self, guild_id: int, user_id: int = EVERYBODY) -> bool:
        row = await self._one("SELECT 1 FROM departures WHERE guild_id = ? AND user_id = ?", (guild_id, user_id))
        return row is not None

    async def departures(self, before: float | None = None) -> list[tuple[int, int, float]]:
        """(server, person or EVERYBODY, since), of those gone since before a time."""
        rows = await self._all(
            "SELECT guild_id, user_id, since FROM departures WHERE ?1 IS NULL OR since < ?1 ORDER BY since", (before,)
        )
        return [(row["guild_id"], row["user_id"], row["since"]) for row in rows]

    async def forget_server(self, guild_id: int) -> None:
        """What the staff of a server decided, and the log of it."""
        async with self.transaction() as tx:
            await tx.execute("DELETE FROM servers WHERE guild_id = ?", (guild_id,))
            await tx.execute("DELETE FROM audit WHERE guild_id = ?", (guild_id,))
            for prefix in ("forum", "moderation", "chat:direct"):
                await tx.execute("DELETE FROM state WHERE key = ?", (f"{prefix}:{guild_id}",))
            await tx.execute("DELETE FROM departures WHERE guild_id = ?", (guild_id,))

    # What is old

    async def unused_datasets(self, before: float, *, warned_before: float | None = None) -> list[tuple[str, Owner]]:
        """(id, owner) of data brought before a time that no job, model or other data needs.

        Without `warned_before`: those whose owner was not told yet; with it: those told before that time.
        """
        told = "warned_at IS NULL" if warned_before is None else "warned_at < ?2"
        rows = await self._all(
            "SELECT id, guild_id, user_id FROM datasets AS mine WHERE created_at < ?1 AND guild_id != 0"  # noqa: S608
            f" AND {told}"
            " AND NOT EXISTS (SELECT 1 FROM jobs WHERE dataset_id = mine.id)"
            " AND NOT EXISTS (SELECT 1 FROM models WHERE dataset_id = mine.id)"
            " AND NOT EXISTS (SELECT 1 FROM datasets AS other"
            " WHERE other.validation_id = mine.id OR (other.parent_id = mine.id AND other.created_at >= ?1))"
            " ORDER BY created_at",
            (before,) if warned_before is None else (before, warned_before),
        )
        return [(row["id"], Owner(guild_id=row["guild_id"], user_id=row["user_id"])) for row in rows]

    async def named_files(self) -> tuple[set[str], set[str]]:
        """(names of adapters, ids of datasets) that a row or a job that is not over names."""
        models = await self._all("SELECT adapter_name FROM models")
        jobs = await self._all(
            "SELECT json_extract(request, '$.adapter_name') AS adapter FROM jobs"
            " WHERE state IN ('queued', 'dispatched', 'running', 'paused')"
        )
        datasets = await self._all("SELECT path FROM datasets")
        adapters = {row["adapter_name"] for row in models} | {row["adapter"] for row in jobs}
        return adapters, {row["path"].split("/")[1] for row in datasets if row["path"].count("/") >= 2}

    async def warned(self, *dataset_ids: str) -> None:
        async with self.transaction() as tx:
            for one in dataset_ids:
                await tx.execute("UPDATE datasets SET warned_at = ? WHERE id = ?", (self.clock(), one))

    async def touch_chat(self, thread_id: int) -> None:
        async with self.transaction() as tx:
            await tx.execute("UPDATE chats SET used_at = ? WHERE thread_id = ?", (self.clock(), thread_id))

    async def finished_jobs(self, before: float) -> list[str]:
        """Ids of jobs that were over before a time and whose work folders were not cleared yet."""
        rows = await self._all(
            "SELECT id FROM jobs WHERE state IN ('succeeded', 'failed', 'cancelled') AND finished_at < ?"
            " AND NOT cleared",
            (before,),
        )
        return [row["id"] for row in rows]

    async def cleared(self, *job_ids: str) -> None:
        async with self.transaction() as tx:
            for one in job_ids:
                await tx.execute("UPDATE jobs SET cleared = 1 WHERE id = ?", (one,))

    async def forget_old(self, *, chats: float, feedback: float, events: float, notes: float) -> dict[str, int]:
        """Delete what is older than these times: conversations' settings, opinions and votes, events of jobs that are
        over, notes of the bot for itself; and device minutes of erased people and lines of the staff's log that are
        past their time. How many rows by table."""
        counts: dict[str, int] = {}
        async with self.transaction() as tx:
            for table, sql, before in (
                ("chats", "DELETE FROM chats WHERE coalesce(used_at, created_at) < ?", chats),
                ("feedback", "DELETE FROM feedback WHERE created_at < ?", feedback),
                ("votes", "DELETE FROM votes WHERE created_at < ?", feedback),
                ("events", "DELETE FROM events WHERE job_id IN (SELECT id FROM jobs WHERE finished_at < ?)", events),
                ("seen", "DELETE FROM seen WHERE at < ?", notes),
                ("leftovers", "DELETE FROM leftovers WHERE until < ?", self.clock() - WEEK),
                ("audit", "DELETE FROM audit WHERE at < ?", self.clock() - KEPT_SECONDS),
                (
                    "state",
                    "DELETE FROM state WHERE key GLOB 'draft:*' AND json_extract(value, '$.created_at') < ?",
                    notes,
                ),
                (
                    "state",
                    "DELETE FROM state WHERE key GLOB 'compare:*' AND json_extract(value, '$.created_at') < ?",
                    feedback,
                ),
            ):
                cursor = await tx.execute(sql, (before,))
                counts[table] = counts.get(table, 0) + cursor.rowcount
        return counts


async def note_erasure(tx: aiosqlite.Connection, kind: Kind, key: str, now: float, attempts: int = 0) -> None:
    """Inside a transaction: look for remains of it until nothing is left."""
    await tx.execute(
        "INSERT OR IGNORE INTO erasures (kind, key, attempts, since) VALUES (?, ?, ?, ?)", (kind, key, attempts, now)
    )


__all__ = ["EVERYBODY", "Erasure", "PrivacyRows", "StoreUnavailable", "note_erasure"]
