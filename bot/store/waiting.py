"""Threads that wait for the engine while its memory is lent to a training job.

Rule of this file: which threads were told, and which message of each is to be answered afterwards.
"""

from __future__ import annotations

from bot.store.database import Database


class WaitingRows(Database):
    async def tell_waiting(self, thread_id: int) -> bool:
        """The thread is told that the engine goes away; False when it knows already."""
        async with self.transaction() as tx:
            cursor = await tx.execute(
                "INSERT OR IGNORE INTO waiting_threads (thread_id, told_at) VALUES (?, ?)", (thread_id, self.clock())
            )
            return cursor.rowcount > 0

    async def keep_waiting(self, thread_id: int, message_id: int) -> bool:
        """This message is to be answered later, instead of an earlier one of the thread; True for the first."""
        async with self.transaction() as tx:
            before = await tx.execute_fetchall(
                "SELECT 1 FROM waiting_threads WHERE thread_id = ? AND message_id IS NOT NULL", (thread_id,)
            )
            await tx.execute(
                "INSERT INTO waiting_threads (thread_id, message_id, told_at) VALUES (?, ?, ?)"
                " ON CONFLICT DO UPDATE SET message_id = excluded.message_id",
                (thread_id, message_id, self.clock()),
            )
            return not list(before)

    async def waiting_threads(self) -> list[tuple[int, int | None]]:
        """Threads that were told, with the message that each wants answered; who was told first comes first."""
        rows = await self._all("SELECT thread_id, message_id FROM waiting_threads ORDER BY told_at, thread_id")
        return [(row["thread_id"], row["message_id"]) for row in rows]

    async def stop_waiting(self, thread_id: int) -> None:
        async with self.transaction() as tx:
            await tx.execute("DELETE FROM waiting_threads WHERE thread_id = ?", (thread_id,))

    async def last_chat(self) -> float:
        """When somebody last wrote to a model in a thread, Unix seconds; 0: never."""
        row = await self._one("SELECT max(at) AS at FROM seen WHERE kind = 'chat'")
        return float(row["at"]) if row and row["at"] is not None else 0.0
