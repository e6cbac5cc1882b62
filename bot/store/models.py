"""Models: adapters that jobs left behind.

Rule of this file: a model is made by the RESULT of a job (`bot.store.events`) and by nothing else; its name is
unique per owner, its adapter name for ever. The files lie in the artifact root.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import aiosqlite

from bot.errors import BadInput, NotFound, WrongState
from bot.records import Job, Model, Owner
from bot.store.database import Database, new_id
from jobs.contract import Evaluation, TrainResult


class ModelRows(Database):
    async def models(self, owner: Owner) -> list[Model]:
        """Their own and those shared in their server, newest first."""
        rows = await self._all(
            "SELECT * FROM models WHERE guild_id = ? AND (user_id = ? OR shared) ORDER BY created_at DESC, id",
            (owner.guild_id, owner.user_id),
        )
        return [_model(row) for row in rows]

    async def model(self, id_or_name: str, owner: Owner) -> Model:
        """By id, name or adapter name; one's own before shared ones. Raises NotFound."""
        row = await self._one(
            "SELECT * FROM models WHERE guild_id = ?1 AND (user_id = ?2 OR shared)"
            " AND (id = ?3 OR name = ?3 OR adapter_name = ?3)"
            " ORDER BY id = ?3 DESC, user_id = ?2 DESC, created_at DESC LIMIT 1",
            (owner.guild_id, owner.user_id, id_or_name.strip()),
        )
        return _model(row)

    async def share_model(self, model_id: str, owner: Owner, shared: bool) -> Model:
        """Show it to the whole server, or to its owner only. Raises NotFound."""
        return await self._change(model_id, owner, "shared", int(shared))

    async def rename_model(self, model_id: str, owner: Owner, name: str) -> Model:
        """Raises NotFound, and BadInput when the owner has another model of this name."""
        if not name.strip():
            raise BadInput("El nombre no puede estar vacío.")
        return await self._change(model_id, owner, "name", name.strip())

    async def _change(self, model_id: str, owner: Owner, column: str, value: int | str) -> Model:
        try:
            async with self.transaction() as tx:
                rows = await tx.execute_fetchall(
                    f"UPDATE models SET {column} = ? WHERE id = ? AND guild_id = ? AND user_id = ? RETURNING *",  # noqa: S608
                    (value, model_id, owner.guild_id, owner.user_id),
                )
        except sqlite3.IntegrityError:
            raise BadInput(f"Ya tienes un modelo que se llama «{value}».", hint="Elige otro nombre.") from None
        return _model(_first(rows))

    async def delete_model(self, model_id: str, owner: Owner) -> Model:
        """Delete the row and return what it was, so that its files can go too.

        Raises NotFound, and WrongState while an open job is to continue it.
        """
        async with self.transaction() as tx:
            children = await tx.execute_fetchall(
                "SELECT jobs.name FROM jobs"
                " JOIN models ON models.adapter_name = json_extract(request, '$.parent_adapter') WHERE models.id = ?"
                " AND jobs.guild_id = ? AND jobs.user_id = ?"
                " AND state IN ('queued', 'dispatched', 'running', 'paused') LIMIT 1",
                (model_id, owner.guild_id, owner.user_id),
            )
            for (job,) in children:
                raise WrongState(
                    f"El entrenamiento «{job}» parte de este modelo.", hint="Espera a que termine o cancélalo antes."
                )
            rows = await tx.execute_fetchall(
                "DELETE FROM models WHERE id = ? AND guild_id = ? AND user_id = ? RETURNING *",
                (model_id, owner.guild_id, owner.user_id),
            )
        return _model(_first(rows))


async def insert_model(tx: aiosqlite.Connection, job: Job, result: TrainResult, now: float) -> str:
    """Make the model of a finished job; its id. A taken name gets a number behind it."""
    owner = job.owner
    parents = await tx.execute_fetchall("SELECT id FROM models WHERE adapter_name = ?", (job.request.parent_adapter,))
    parent = _first(parents)
    rows = await tx.execute_fetchall(
        "SELECT name FROM models WHERE guild_id = ? AND user_id = ?", (owner.guild_id, owner.user_id)
    )
    taken = {row["name"].lower() for row in rows}
    name, number = job.name, 1
    while name.lower() in taken:
        number += 1
        name = f"{job.name} {number}"
    model_id = new_id()
    await tx.execute(
        "INSERT INTO models (id, guild_id, user_id, name, adapter_name, adapter_path, adapter_sha256, base_id, job_id,"
        " parent_id, dataset_id, dataset_sha256, evaluation, created_at, bytes)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            model_id,
            owner.guild_id,
            owner.user_id,
            name,
            result.adapter_name,
            result.adapter_path,
            result.adapter_sha256,
            job.request.base_id,
            job.id,
            parent["id"] if parent else None,
            job.dataset_id,
            job.request.dataset_sha256,
            result.evaluation.model_dump_json() if result.evaluation else None,
            now,
            result.adapter_bytes,
        ),
    )
    return model_id


def _first(rows: Iterable[sqlite3.Row]) -> sqlite3.Row | None:
    return next(iter(rows), None)


def _model(row: sqlite3.Row | None) -> Model:
    if row is None:
        raise NotFound("No encuentro ese modelo.", hint="Mira los que tienes con /modelos lista.")
    return Model(
        id=row["id"],
        owner=Owner(guild_id=row["guild_id"], user_id=row["user_id"]),
        name=row["name"],
        adapter_name=row["adapter_name"],
        adapter_path=row["adapter_path"],
        adapter_sha256=row["adapter_sha256"],
        base_id=row["base_id"],
        job_id=row["job_id"],
        parent_id=row["parent_id"],
        dataset_id=row["dataset_id"],
        dataset_sha256=row["dataset_sha256"],
        shared=bool(row["shared"]),
        evaluation=Evaluation.model_validate_json(row["evaluation"]) if row["evaluation"] else None,
        created_at=row["created_at"],
        bytes=row["bytes"],
    )
