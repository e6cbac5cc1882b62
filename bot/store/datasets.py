"""Datasets: what people uploaded, in versions.

Rule of this file: rows only; the files lie in the artifact root and whoever deletes a row deletes its file.
"""

from __future__ import annotations

import json
import sqlite3
from dataclasses import replace

from bot.errors import NotFound, WrongState
from bot.limits import Limits, check_datasets
from bot.records import Dataset, Owner
from bot.store.database import Database, to_json
from bot.store.spending import usage_of


class DatasetRows(Database):
    async def add_dataset(self, dataset: Dataset, *, limits: Limits | None = None) -> Dataset:
        """Insert it. Where its owner already has this name in this version, it becomes the next version.

        `limits`: what its owner may keep; LimitReached above it.
        """
        owner = dataset.owner
        async with self.transaction() as tx:
            if limits is not None:
                used = await usage_of(tx.execute_fetchall, owner, self.clock())
                check_datasets(limits, used, bytes=dataset.bytes)
            ((newest,),) = await tx.execute_fetchall(
                "SELECT coalesce(max(version), 0) FROM datasets WHERE guild_id = ? AND user_id = ? AND name = ?",
                (owner.guild_id, owner.user_id, dataset.name),
            )
            dataset = replace(
                dataset, version=max(dataset.version, newest + 1), created_at=dataset.created_at or self.clock()
            )
            await tx.execute(
                "INSERT INTO datasets (id, guild_id, user_id, name, version, parent_id, path, sha256, bytes, format,"
                " verdict, examples, usable, report, validation_id, consent_at, created_at,"
                " consent_version, licence)"
                " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    dataset.id,
                    owner.guild_id,
                    owner.user_id,
                    dataset.name,
                    dataset.version,
                    dataset.parent_id,
                    dataset.path,
                    dataset.sha256,
                    dataset.bytes,
                    dataset.format,
                    dataset.verdict,
                    dataset.examples,
                    dataset.usable,
                    to_json(dataset.report),
                    dataset.validation_id,
                    dataset.consent_at,
                    dataset.created_at,
                    dataset.consent_version,
                    dataset.licence,
                ),
            )
        return dataset

    async def update_dataset(self, dataset: Dataset) -> Dataset:
        """Write what a later look at the same file found: format, verdict, counts, report, validation. NotFound."""
        await self.dataset(dataset.id, dataset.owner)
        async with self.transaction() as tx:
            await tx.execute(
                "UPDATE datasets SET format = ?, verdict = ?, examples = ?, usable = ?, report = ?, validation_id = ?"
                " WHERE id = ?",
                (
                    dataset.format,
                    dataset.verdict,
                    dataset.examples,
                    dataset.usable,
                    to_json(dataset.report),
                    dataset.validation_id,
                    dataset.id,
                ),
            )
        return dataset

    async def dataset(self, dataset_id: str, owner: Owner) -> Dataset:
        """Raises NotFound; also for somebody else's."""
        row = await self._one(
            "SELECT * FROM datasets WHERE id = ? AND guild_id = ? AND user_id = ?",
            (dataset_id, owner.guild_id, owner.user_id),
        )
        return _dataset(row)

    async def dataset_by_name(self, owner: Owner, name: str) -> Dataset:
        """The newest version under this name. Raises NotFound."""
        row = await self._one(
            "SELECT * FROM datasets WHERE guild_id = ? AND user_id = ? AND name = ? ORDER BY version DESC LIMIT 1",
            (owner.guild_id, owner.user_id, name),
        )
        return _dataset(row)

    async def datasets(self, owner: Owner) -> list[Dataset]:
        """Every version of every dataset of theirs, newest first."""
        rows = await self._all(
            "SELECT * FROM datasets WHERE guild_id = ? AND user_id = ? ORDER BY created_at DESC, version DESC",
            (owner.guild_id, owner.user_id),
        )
        return [_dataset(row) for row in rows]

    async def delete_dataset(self, dataset_id: str, owner: Owner) -> Dataset:
        """Delete the row and return what it was. Raises NotFound, and WrongState while an open job needs it."""
        dataset = await self.dataset(dataset_id, owner)
        async with self.transaction() as tx:
            users = await tx.execute_fetchall(
                "SELECT name FROM jobs WHERE (dataset_id = ? OR json_extract(request, '$.validation_path') = ?)"
                " AND state IN ('queued', 'dispatched', 'running', 'paused') LIMIT 1",
                (dataset_id, dataset.path),
            )
            for (job,) in users:
                raise WrongState(
                    f"El entrenamiento «{job}» todavía usa estos datos.", hint="Espera a que termine o cancélalo antes."
                )
            await tx.execute("DELETE FROM datasets WHERE id = ?", (dataset_id,))
        return dataset


def _dataset(row: sqlite3.Row | None) -> Dataset:
    if row is None:
        raise NotFound("No encuentro esos datos.", hint="Mira los que tienes con /datos lista.")
    return Dataset(
        id=row["id"],
        owner=Owner(guild_id=row["guild_id"], user_id=row["user_id"]),
        name=row["name"],
        version=row["version"],
        parent_id=row["parent_id"],
        path=row["path"],
        sha256=row["sha256"],
        bytes=row["bytes"],
        format=row["format"],
        verdict=row["verdict"],
        examples=row["examples"],
        usable=row["usable"],
        report=json.loads(row["report"]),
        validation_id=row["validation_id"],
        consent_at=row["consent_at"],
        created_at=row["created_at"],
        consent_version=row["consent_version"],
        licence=row["licence"],
    )
