"""Jobs and their attempts: what people and the scheduler ask for.

Rule of this file: every change of state is one guarded transaction, and only here is a new attempt made; a new attempt
and its outbox entry are written together. What workers report is applied in `bot.store.events`.
"""

from __future__ import annotations

import json
import re
import sqlite3
import unicodedata
from typing import Any

import aiosqlite

from bot.errors import LimitReached, NotFound, WrongState
from bot.records import Dataset, Job, Owner
from bot.store.database import Database, new_id, to_json
from jobs.contract import JobState, Phase, Recipe, TrainRequest

# Who is next: everybody's first job comes before anybody's second, the older one first. Jobs that a worker has count.
_TURNS = (
    "SELECT id, rowid AS number, created_at, state, row_number() OVER"
    " (PARTITION BY guild_id, user_id ORDER BY state = 'queued', created_at, rowid) AS turn"
    " FROM jobs WHERE state IN ('queued', 'dispatched', 'running')"
)


class JobRows(Database):
    async def submit_job(
        self,
        *,
        owner: Owner,
        name: str,
        dataset: Dataset,
        base_id: str,
        recipe: Recipe,
        validation_path: str | None = None,
        parent_adapter: str | None = None,
        channel_id: int | None = None,
        limit: int | None = None,
    ) -> Job:
        """Promise a job: the row and its outbox entry in one transaction.

        `limit`: how many jobs of this owner may wait or run; LimitReached above it.
        """
        job_id = new_id()
        request = TrainRequest(
            job_id=job_id,
            attempt=1,
            base_id=base_id,
            dataset_path=dataset.path,
            dataset_sha256=dataset.sha256,
            validation_path=validation_path,
            adapter_name=adapter_name(name, job_id, 1),
            parent_adapter=parent_adapter,
            recipe=recipe,
        )
        async with self.transaction() as tx:
            return await self._insert(
                tx, request, owner=owner, name=name, dataset_id=dataset.id, channel_id=channel_id, limit=limit
            )

    async def repeat_job(
        self, job_id: str, owner: Owner, recipe: Recipe | None = None, *, limit: int | None = None
    ) -> Job:
        """A new job like an old one, perhaps with another recipe. Raises NotFound and LimitReached."""
        old = await self.job(job_id, owner)
        fresh = new_id()
        changes = {
            "job_id": fresh,
            "attempt": 1,
            "resume": False,
            "adapter_name": adapter_name(old.name, fresh, 1),
            "recipe": recipe or old.request.recipe,
        }
        request = old.request.model_copy(update=changes)
        async with self.transaction() as tx:
            return await self._insert(
                tx,
                request,
                owner=owner,
                name=old.name,
                dataset_id=old.dataset_id,
                channel_id=old.channel_id,
                limit=limit,
            )

    async def _insert(
        self,
        tx: aiosqlite.Connection,
        request: TrainRequest,
        *,
        owner: Owner,
        name: str,
        dataset_id: str,
        channel_id: int | None,
        limit: int | None,
    ) -> Job:
        if limit is not None:
            ((count,),) = await tx.execute_fetchall(
                "SELECT count(*) FROM jobs WHERE guild_id = ? AND user_id = ?"
                " AND state IN ('queued', 'dispatched', 'running', 'paused')",
                (owner.guild_id, owner.user_id),
            )
            if count >= limit:
                raise LimitReached(
                    f"Ya tienes {count} entrenamientos sin terminar; el máximo es {limit}.",
                    hint="Espera a que acabe uno o cancela alguno.",
                )
        now = self.clock()
        await tx.execute(
            "INSERT INTO jobs (id, guild_id, user_id, name, dataset_id, request, state, channel_id, created_at)"
            " VALUES (?, ?, ?, ?, ?, ?, 'queued', ?, ?)",
            (
                request.job_id,
                owner.guild_id,
                owner.user_id,
                name,
                dataset_id,
                request.model_dump_json(),
                channel_id,
                now,
            ),
        )
        await tx.execute("INSERT INTO outbox (job_id, attempt, created_at) VALUES (?, 1, ?)", (request.job_id, now))
        return await load_job(tx, request.job_id)

    async def job(self, job_id: str, owner: Owner | None = None) -> Job:
        """Raises NotFound; with an owner, also for somebody else's."""
        row = await self._one("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if row is None or (owner is not None and owner != _owner(row)):
            raise NotFound("No encuentro ese entrenamiento.", hint="Mira los tuyos con /entrenamientos lista.")
        return to_job(row)

    async def jobs(self, owner: Owner) -> list[Job]:
        """All of theirs, newest first."""
        rows = await self._all(
            "SELECT * FROM jobs WHERE guild_id = ? AND user_id = ? ORDER BY created_at DESC, rowid DESC",
            (owner.guild_id, owner.user_id),
        )
        return [to_job(row) for row in rows]

    async def open_jobs(self) -> list[Job]:
        """Everybody's jobs that are not over (queued, dispatched, running, paused), oldest first."""
        rows = await self._all(
            "SELECT * FROM jobs WHERE state IN ('queued', 'dispatched', 'running', 'paused') ORDER BY created_at, rowid"
        )
        return [to_job(row) for row in rows]

    async def queue_position(self, job_id: str) -> int:
        """1 for the job that is next; 0 when it does not wait."""
        row = await self._one(
            f"WITH turns AS ({_TURNS}) SELECT count(*) AS position FROM turns AS other, turns AS mine"  # noqa: S608
            " WHERE mine.id = ? AND mine.state != 'running' AND other.state != 'running'"
            " AND (other.state = 'queued', other.turn, other.created_at, other.number)"
            " <= (mine.state = 'queued', mine.turn, mine.created_at, mine.number)",
            (job_id,),
        )
        return int(row["position"]) if row else 0

    async def set_card(self, job_id: str, channel_id: int, message_id: int) -> None:
        """Remember where the progress card of a job is."""
        async with self.transaction() as tx:
            await tx.execute(
                "UPDATE jobs SET channel_id = ?, message_id = ? WHERE id = ?", (channel_id, message_id, job_id)
            )

    async def request_cancel(self, job_id: str, owner: Owner | None = None) -> Job:
        """Cancel: at once where no worker has it, else as soon as the worker notices. Asking twice is fine.

        Raises NotFound, and WrongState when it is over.
        """
        await self.job(job_id, owner)
        async with self.transaction() as tx:
            job = await load_job(tx, job_id)
            if job.state.terminal:
                raise WrongState(_OVER[job.state])
            if job.state.active:
                await tx.execute("UPDATE jobs SET cancel_requested = 1 WHERE id = ?", (job_id,))
            else:
                await finish(tx, job, JobState.CANCELLED, self.clock())
            return await load_job(tx, job_id)

    async def request_pause(self, job_id: str, owner: Owner | None = None) -> Job:
        """Pause: at once where no worker has it, else after its next step. Asking twice is fine.

        Raises NotFound, and WrongState when it is over.
        """
        await self.job(job_id, owner)
        async with self.transaction() as tx:
            job = await load_job(tx, job_id)
            if job.state.terminal:
                raise WrongState(_OVER[job.state])
            if job.state.active:
                await tx.execute("UPDATE jobs SET pause_requested = 1 WHERE id = ?", (job_id,))
            else:
                await pause(tx, job)
            return await load_job(tx, job_id)

    async def resume_job(self, job_id: str, owner: Owner | None = None) -> Job:
        """Send a paused job on, as a new attempt from its newest checkpoint. Raises NotFound and WrongState."""
        await self.job(job_id, owner)
        async with self.transaction() as tx:
            job = await load_job(tx, job_id)
            if job.state is not JobState.PAUSED:
                stopping = job.pause_requested and not job.state.terminal
                raise WrongState(
                    "Todavía se está deteniendo; espera unos segundos." if stopping else "No está en pausa."
                )
            await new_attempt(tx, job, self.clock())
            return await load_job(tx, job_id)

    # What the scheduler needs

    async def outbox(self) -> list[Job]:
        """Queued jobs whose current attempt Redis may not have yet, in fair order."""
        rows = await self._all(
            f"SELECT jobs.* FROM jobs JOIN ({_TURNS}) AS turns USING (id)"  # noqa: S608
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


_OVER = {
    JobState.SUCCEEDED: "Este entrenamiento ya terminó.",
    JobState.FAILED: "Este entrenamiento ya terminó: falló.",
    JobState.CANCELLED: "Este entrenamiento ya estaba cancelado.",
}


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


async def pause(tx: aiosqlite.Connection, job: Job) -> None:
    await tx.execute(
        "UPDATE jobs SET state = 'paused', phase = NULL, lease_until = NULL, pause_requested = 0 WHERE id = ?",
        (job.id,),
    )


async def new_attempt(tx: aiosqlite.Connection, job: Job, now: float, *, failed: bool = False) -> None:
    """The one place where attempts are made: the fencing token moves on and the outbox gets its entry."""
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
        owner=_owner(row),
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
    )


def _owner(row: sqlite3.Row) -> Owner:
    return Owner(guild_id=row["guild_id"], user_id=row["user_id"])
