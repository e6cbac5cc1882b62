"""What the scheduler asks of the store: the outbox, marks, leases.

Rule of this file: every method may be repeated after a crash at any point; each change is guarded by the attempt and
the state that the caller saw.
"""

from __future__ import annotations

from bot.records import Job
from bot.store.database import Database
from bot.store.jobs import TURNS
from bot.store.transitions import load_job, lost_attempt, to_job


class DispatchRows(Database):
    async def outbox(self) -> list[Job]:
        """Queued jobs whose current attempt Redis may not have yet, in fair order."""
        rows = await self._all(
            f"SELECT jobs.* FROM jobs JOIN ({TURNS}) AS turns USING (id)"  # noqa: S608
            " JOIN outbox ON outbox.job_id = jobs.id AND outbox.attempt = jobs.attempt"
            " WHERE jobs.state = 'queued' AND outbox.sent_at IS NULL ORDER BY turns.turn, jobs.created_at, jobs.rowid"
        )
        return [to_job(row) for row in rows]

    async def mark_dispatched(self, job_id: str, attempt: int) -> bool:
        """Redis has this attempt. False when a person was quicker and it must be taken back."""
        async with self.transaction() as tx:
            now = self.clock()
            await tx.execute(
                "UPDATE outbox SET sent_at = ? WHERE job_id = ? AND attempt = ? AND sent_at IS NULL",
                (now, job_id, attempt),
            )
            await tx.execute(
                "UPDATE jobs SET state = 'dispatched', lease_until = NULL"
                " WHERE id = ? AND attempt = ? AND state = 'queued'",
                (job_id, attempt),
            )
            job = await load_job(tx, job_id)
            return job.attempt == attempt and job.state.active

    async def take_back(self, job_id: str, attempt: int) -> None:
        """A dispatched attempt was withdrawn from Redis: it waits here again."""
        async with self.transaction() as tx:
            cursor = await tx.execute(
                "UPDATE jobs SET state = 'queued', lease_until = NULL"
                " WHERE id = ? AND attempt = ? AND state = 'dispatched'",
                (job_id, attempt),
            )
            if cursor.rowcount:
                await tx.execute("UPDATE outbox SET sent_at = NULL WHERE job_id = ? AND attempt = ?", (job_id, attempt))

    async def start_lease(self, job_id: str, attempt: int, *, seconds: float) -> None:
        """A worker took a dispatched attempt but has not said a word: give it so long for the first one."""
        async with self.transaction() as tx:
            await tx.execute(
                "UPDATE jobs SET lease_until = ? WHERE id = ? AND attempt = ? AND lease_until IS NULL"
                " AND state = 'dispatched'",
                (self.clock() + seconds, job_id, attempt),
            )

    async def extend_leases(self) -> None:
        """Nobody can have heard of the workers lately (restart, Redis away): count no silence against them."""
        async with self.transaction() as tx:
            await tx.execute(
                "UPDATE jobs SET lease_until = max(lease_until, ?)"
                " WHERE state IN ('dispatched', 'running') AND lease_until IS NOT NULL",
                (self.clock() + self.lease_seconds,),
            )

    async def give_up_attempt(self, job_id: str, attempt: int, *, seen_lease: float | None) -> Job | None:
        """The current attempt is dead: cancel, pause or try again from the newest checkpoint, or fail after too many.

        None when the job moved on since `seen_lease` was read (an event came in after all).
        """
        async with self.transaction() as tx:
            job = await load_job(tx, job_id)
            if job.attempt != attempt or not job.state.active or job.lease_until != seen_lease:
                return None
            await lost_attempt(tx, job, self.clock(), self.max_attempts)
            return await load_job(tx, job_id)
