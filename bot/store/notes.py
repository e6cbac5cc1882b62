"""Small notes: workshops of people, what was already handled, votes, feedback, and named values of the bot itself."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from bot.records import Owner
from bot.store.database import Database, to_json


class NoteRows(Database):
    async def workshop(self, owner: Owner) -> int | None:
        """The person's private thread («Taller de …»)."""
        row = await self._one(
            "SELECT workshop_thread_id FROM people WHERE guild_id = ? AND user_id = ?", (owner.guild_id, owner.user_id)
        )
        return row["workshop_thread_id"] if row else None

    async def set_workshop(self, owner: Owner, thread_id: int | None) -> None:
        async with self.transaction() as tx:
            await tx.execute(
                "INSERT INTO people (guild_id, user_id, workshop_thread_id) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET workshop_thread_id = excluded.workshop_thread_id",
                (owner.guild_id, owner.user_id, thread_id),
            )

    async def seen(self, kind: str, key: int) -> bool:
        """True when this was already handled; the first call for a key says False, every later one True."""
        async with self.transaction() as tx:
            cursor = await tx.execute(
                "INSERT OR IGNORE INTO seen (kind, key, at) VALUES (?, ?, ?)", (kind, key, self.clock())
            )
            return cursor.rowcount == 0

    async def add_vote(self, message_id: int, voter: Owner, value: str, kind: str, data: dict[str, Any]) -> None:
        """One vote a person, kind and message; a second one replaces the first."""
        async with self.transaction() as tx:
            await tx.execute(
                "INSERT INTO votes (kind, message_id, guild_id, user_id, value, data, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)"
                " ON CONFLICT DO UPDATE SET value = excluded.value, data = excluded.data",
                (kind, message_id, voter.guild_id, voter.user_id, value, to_json(data), self.clock()),
            )

    async def votes(self, kind: str, guild_id: int) -> list[dict[str, Any]]:
        """All votes of a kind in a server: {"message_id", "user_id", "value", "data", "created_at"}, oldest first."""
        rows = await self._all(
            "SELECT message_id, user_id, value, data, created_at FROM votes WHERE kind = ? AND guild_id = ?"
            " ORDER BY created_at",
            (kind, guild_id),
        )
        return [{**dict(row), "data": json.loads(row["data"])} for row in rows]

    async def add_feedback(self, question: str, answer: str, sources: Sequence[Any], value: int, owner: Owner) -> None:
        """What a person thought of an answer about the course; `value`: 1 useful, -1 not."""
        async with self.transaction() as tx:
            await tx.execute(
                "INSERT INTO feedback (guild_id, user_id, question, answer, sources, value, created_at)"
                " VALUES (?, ?, ?, ?, ?, ?, ?)",
                (owner.guild_id, owner.user_id, question, answer, to_json(list(sources)), value, self.clock()),
            )

    async def feedback(self, guild_id: int) -> list[dict[str, Any]]:
        """All feedback of a server, oldest first."""
        rows = await self._all(
            "SELECT user_id, question, answer, sources, value, created_at FROM feedback WHERE guild_id = ? ORDER BY id",
            (guild_id,),
        )
        return [{**dict(row), "sources": json.loads(row["sources"])} for row in rows]

    async def get_state(self, key: str) -> str | None:
        row = await self._one("SELECT value FROM state WHERE key = ?", (key,))
        return row["value"] if row else None

    async def set_state(self, key: str, value: str) -> None:
        async with self.transaction() as tx:
            await tx.execute(
                "INSERT INTO state (key, value) VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value",
                (key, value),
            )
