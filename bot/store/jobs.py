"""Jobs as people see them: submit, look, cancel, pause, resume, repeat.

Rule of this file: every wish is one guarded transaction. What the scheduler needs is in `bot.store.dispatch`, what
workers report is applied in `bot.store.events`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace

import aiosqlite

from bot.errors import NotFound, WrongState
from bot.limits import Limits, check_job, check_minutes
from bot.records import Dataset, Job, Owner
from bot.store.database import Database, new_id
from bot.store.spending import still_needed, usage_of
from bot.store.transitions import adapter_name, finish, job_owner, load_job, new_attempt, pause, to_job
from jobs.contract import JobState, Recipe, TrainRequest

# Who is next: everybody's first job comes before anybody's second, the older one first. Jobs that a worker has count.
TURNS = (
    "SELECT id, rowid AS number, created_at, state, row_number() OVER"
    " (PARTITION BY guild_id, user_id ORDER BY state = 'queued', created_at, rowid) AS turn"
    " FROM jobs WHERE state IN ('queued', 'dispatched', 'running')"
)

_OVER = {
    JobState.SUCCEEDED: "Este entrenamiento ya terminó.",
    JobState.FAILED: "Este entrenamiento ya terminó: falló.",
    JobState.CANCELLED: "Este entrenamiento ya estaba cancelado.",
}


def _over(job: Job) -> WrongState:
    return WrongState(_OVER[job.state], hint="Puedes lanzarlo otra vez con /entrenamientos repetir.")


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
        estimated_seconds: float = 0.0,
        limits: Limits | None = None,
    ) -> Job:
        """Promise a job: the row and its outbox entry in one transaction.

        `estimated_seconds`: of a device, which stay reserved. `limits`: what this owner may use; LimitReached above it.
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
                tx,
                request,
                owner=owner,
                name=name,
                dataset_id=dataset.id,
                channel_id=channel_id,
                estimated_seconds=estimated_seconds,
                limits=limits,
            )

    async def repeat_job(
        self,
        job_id: str,
        owner: Owner,
        recipe: Recipe | None = None,
        *,
        validation_path: str | None = None,
        estimated_seconds: float | None = None,
        limits: Limits | None = None,
    ) -> Job:
        """A new job like an old one, perhaps with another recipe. Raises NotFound and LimitReached.

        `validation_path`: rows kept apart to measure with, as they are now; those of the old job may be deleted.
        """
        old = await self.job(job_id, owner)
        fresh = new_id()
        changes = {
            "job_id": fresh,
            "attempt": 1,
            "resume": False,
            "adapter_name": adapter_name(old.name, fresh, 1),
            "recipe": recipe or old.request.recipe,
            "validation_path": validation_path,
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
                estimated_seconds=old.estimated_seconds if estimated_seconds is None else estimated_seconds,
                limits=limits,
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
        estimated_seconds: float,
        limits: Limits | None,
    ) -> Job:
        now = self.clock()
        if limits is not None:
            check_job(limits, await usage_of(tx.execute_fetchall, owner, now), estimated_seconds)
        await tx.execute(
            "INSERT INTO jobs (id, guild_id, user_id, name, dataset_id, request, state, channel_id, created_at,"
            " estimated_seconds) VALUES (?, ?, ?, ?, ?, ?, 'queued', ?, ?, ?)",
            (
                request.job_id,
                owner.guild_id,
                owner.user_id,
                name,
                dataset_id,
                request.model_dump_json(),
                channel_id,
                now,
                estimated_seconds,
            ),
        )
        await tx.execute("INSERT INTO outbox (job_id, attempt, created_at) VALUES (?, 1, ?)", (request.job_id, now))
        return await load_job(tx, request.job_id)

    async def job(self, job_id: str, owner: Owner | None = None) -> Job:
        """Raises NotFound; with an owner, also for somebody else's."""
        row = await self._one("SELECT * FROM jobs WHERE id = ?", (job_id,))
        if row is None or (owner is not None and owner != job_owner(row)):
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
            f"WITH turns AS ({TURNS}) SELECT count(*) AS position FROM turns AS other, turns AS mine"  # noqa: S608
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

    async def request_cancel(self, job_id: str, owner: Owner | None = None, *, by_staff: bool = False) -> Job:
        """Cancel: at once where no worker has it, else as soon as the worker notices. Asking twice is fine.

        `by_staff`: its owner did not ask for it and pays nothing.

        Raises NotFound, and WrongState when it is over.
        """
        async with self._open_job(job_id, owner) as (tx, job):
            staff = job.by_staff or (by_staff and not job.cancel_requested)
            await tx.execute("UPDATE jobs SET by_staff = ? WHERE id = ?", (staff, job_id))
            if job.state.active:
                await tx.execute("UPDATE jobs SET cancel_requested = 1 WHERE id = ?", (job_id,))
            else:
                await finish(tx, replace(job, by_staff=staff), JobState.CANCELLED, self.clock())
        return await self.job(job_id)

    async def request_pause(self, job_id: str, owner: Owner | None = None) -> Job:
        """Pause: at once where no worker has it, else after its next step. Asking twice is fine.

        Raises NotFound, and WrongState when it is over or being cancelled.
        """
        async with self._open_job(job_id, owner) as (tx, job):
            if job.cancel_requested:
                raise WrongState("Ya se está cancelando.", hint="Tarda unos segundos en detenerse.")
            if job.state.active:
                await tx.execute("UPDATE jobs SET pause_requested = 1 WHERE id = ?", (job_id,))
            else:
                await pause(tx, job)
        return await self.job(job_id)

    @asynccontextmanager
    async def _open_job(self, job_id: str, owner: Owner | None) -> AsyncIterator[tuple[aiosqlite.Connection, Job]]:
        """A transaction about a job that is not over. Raises NotFound and WrongState."""
        await self.job(job_id, owner)
        async with self.transaction() as tx:
            job = await load_job(tx, job_id)
            if job.state.terminal:
                raise _over(job)
            yield tx, job

    async def resume_job(self, job_id: str, owner: Owner | None = None, *, limits: Limits | None = None) -> Job:
        """Send a paused job on, as a new attempt from its newest checkpoint.

        Raises NotFound and WrongState, and LimitReached when what it still needs is more than `limits` leave.
        """
        await self.job(job_id, owner)
        async with self.transaction() as tx:
            job = await load_job(tx, job_id)
            if job.state.terminal:
                raise _over(job)
            if job.pause_requested or job.cancel_requested:
                raise WrongState("Todavía se está deteniendo.", hint="Espera unos segundos.")
            if job.state is not JobState.PAUSED:
                raise WrongState("No está en pausa: está en la cola o en marcha.", hint="No hace falta que hagas nada.")
            now = self.clock()
            if limits is not None:
                used = await usage_of(tx.execute_fetchall, job.owner, now)
                check_minutes(limits, used, await still_needed(tx.execute_fetchall, job))
            await new_attempt(tx, job, now)
            return await load_job(tx, job_id)
