"""People: everything that is kept about one, to take away or to erase.

Rule of this file: whatever table gains rows about a person must be listed here; a test compares this list with the
schema. Files (datasets, adapters, checkpoints) are the caller's business.
"""

from __future__ import annotations

import json
from typing import Any

from bot.records import Owner
from bot.store.database import Database
from bot.store.spending import carry_over

# Tables with columns guild_id and user_id, in an order that foreign keys allow.
TABLES = ("feedback", "votes", "chats", "models", "jobs", "datasets", "people")
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


def _readable(row: dict[str, Any]) -> dict[str, Any]:
    return {name: json.loads(value) if name in _JSON and value else value for name, value in row.items()}
