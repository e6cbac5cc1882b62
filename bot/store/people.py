"""People: everything that is kept about one, to take away or to erase.

Rule of this file: whatever table gains rows about a person must be listed here; a test compares this list with the
schema. Files (datasets, adapters, checkpoints) are the caller's business.
"""

from __future__ import annotations

import json
from typing import Any

import aiosqlite

from bot.records import Owner
from bot.store.database import Database
from bot.store.privacy import note_erasure
from bot.store.spending import carry_over
from bot.store.transitions import adapter_name

# Tables with columns guild_id and user_id, in an order that foreign keys allow.
TABLES = ("departures", "feedback", "votes", "chats", "models", "jobs", "datasets", "people")
# Columns that hold JSON.
_JSON = {"report", "request", "error", "evaluation", "parameters", "data", "sources", "event"}


class PeopleRows(Database):
    async def everything(self, owner: Owner) -> dict[str, list[dict[str, Any]]]:
        """Every row about a person in a server, by table, readable as JSON; the events of their jobs as well."""
        kept: dict[str, list[dict[str, Any]]] = {}
        for table in TABLES:
            rows = await self._all(
                f"SELECT * FROM {table} WHERE guild_id = ? AND user_id = ?",  # noqa: S608  # a name of our own list
                (owner.guild_id, owner.user_id),
            )
            kept[table] = [_readable(dict(row)) for row in rows]
        events = await self._all(
            "SELECT events.* FROM events JOIN jobs ON jobs.id = events.job_id"
            " WHERE jobs.guild_id = ? AND jobs.user_id = ? ORDER BY events.created_at",
            (owner.guild_id, owner.user_id),
        )
        kept["events"] = [_readable(dict(row)) for row in events]
        return kept

    async def erase(self, owner: Owner) -> dict[str, int]:
        """Delete every row about a person in a server, in one transaction; how many by table.

        What Discord messages were handled stays: it is a number without a person. So do, for a week and without a
        name, the device minutes they spent (`bot.store.spending`); the staff's log keeps its lines without them.
        """
        counts = {}
        async with self.transaction() as tx:
            await carry_over(tx, owner, self.clock())
            await tx.execute(
                "UPDATE audit SET subject_id = NULL WHERE guild_id = ? AND subject_id = ?",
                (owner.guild_id, owner.user_id),
            )
            await _note_remains(tx, owner, self.clock())
            for table in TABLES:
                cursor = await tx.execute(
                    f"DELETE FROM {table} WHERE guild_id = ? AND user_id = ?",  # noqa: S608
                    (owner.guild_id, owner.user_id),
                )
                counts[table] = cursor.rowcount
        return counts

    async def forget_states(self, *keys: str) -> None:
        """Delete named values."""
        async with self.transaction() as tx:
            for key in keys:
                await tx.execute("DELETE FROM state WHERE key = ?", (key,))

    async def states(self, prefix: str) -> dict[str, str]:
        """Named values whose name begins with `prefix`."""
        rows = await self._all("SELECT key, value FROM state WHERE substr(key, 1, ?) = ?", (len(prefix), prefix))
        return {row["key"]: row["value"] for row in rows}


async def _note_remains(tx: aiosqlite.Connection, owner: Owner, now: float) -> None:
    """What of theirs lies outside of the database: in Redis, in the engine, on disks (`bot/erasing.py` sees to it)."""
    whose = (owner.guild_id, owner.user_id)
    for row in await tx.execute_fetchall("SELECT path FROM datasets WHERE guild_id = ? AND user_id = ?", whose):
        await note_erasure(tx, "dataset", row["path"], now)
    for row in await tx.execute_fetchall("SELECT adapter_name FROM models WHERE guild_id = ? AND user_id = ?", whose):
        await note_erasure(tx, "adapter", row["adapter_name"], now)
    jobs = await tx.execute_fetchall("SELECT id, name, attempt FROM jobs WHERE guild_id = ? AND user_id = ?", whose)
    for row in jobs:
        await note_erasure(tx, "job", row["id"], now, attempts=row["attempt"])
        for attempt in range(1, row["attempt"] + 1):  # also what an attempt that was given up has published
            await note_erasure(tx, "adapter", adapter_name(row["name"], row["id"], attempt), now)


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: json.loads(value) if name in _JSON and value else value for name, value in row.items()}
