"""Copies of the whole database: made while it is in use, and looked through before they are trusted.

Rule of this file: the source is only read (no migration happens here), and what is found is told as values. Only a copy
that is not in use yet may lose people (`without_people`); it may be of an older schema.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from bot.records import Owner
from bot.store.database import MIGRATIONS, StoreUnavailable


@dataclass(frozen=True, kw_only=True, slots=True)
class Examination:
    schema: int  # number of its last migration
    damage: tuple[str, ...]  # what SQLite complains about; empty: whole
    files: tuple[str, ...]  # paths in the artifact root that its rows point to: files of datasets, folders of adapters

    @property
    def too_new(self) -> bool:
        """Made by a later version of Afina than this one."""
        return self.schema > max(int(path.name[:3]) for path in MIGRATIONS.glob("[0-9][0-9][0-9]_*.sql"))


def copy_database(source: Path, target: Path, *, busy_timeout: float = 30.0) -> None:
    """Write a complete copy to `target`, which must not exist. Raises StoreUnavailable when it stays locked."""
    try:
        with closing(sqlite3.connect(source, timeout=busy_timeout, isolation_level=None)) as connection:
            connection.execute("VACUUM INTO ?", (str(target),))
    except sqlite3.OperationalError as error:
        raise StoreUnavailable(f"No puedo copiar la base de datos: {error}.", hint="Prueba otra vez.") from error


def examine_database(path: Path) -> Examination:
    """Look through a database, in use or not. A file that is none is damage, not an error."""
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as connection:
            said = [row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"]
            said += [f"{row[0]}: row {row[1]} points nowhere" for row in connection.execute("PRAGMA foreign_key_check")]
            (schema,) = connection.execute("PRAGMA user_version").fetchone()
            rows = connection.execute("SELECT path FROM datasets UNION SELECT adapter_path FROM models ORDER BY 1")
            return Examination(schema=schema, damage=tuple(said), files=tuple(row[0] for row in rows))
    except sqlite3.DatabaseError as error:
        return Examination(schema=0, damage=(str(error),), files=())


def without_people(path: Path, gone: Callable[[Collection[Owner]], Collection[Owner]]) -> tuple[int, tuple[str, ...]]:
    """Take people out of a copy: (how many, paths in the artifact root that were theirs). `gone`: which of these."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("PRAGMA foreign_keys = ON")
        tables = [
            name
            for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
            if {"guild_id", "user_id"} <= {row[1] for row in connection.execute(f"PRAGMA table_info({name})")}
        ]
        audited = connection.execute("SELECT 1 FROM sqlite_master WHERE name = 'audit'").fetchone()
        every = " UNION ".join(f"SELECT guild_id, user_id FROM {name}" for name in tables)  # noqa: S608  # our own names
        owners = [Owner(guild_id=row[0], user_id=row[1]) for row in connection.execute(every)]
        leaving = gone(owners)
        files: list[str] = []
        connection.execute("BEGIN IMMEDIATE")
        for owner in leaving:
            whose = (owner.guild_id, owner.user_id)
            paths = (
                "SELECT path FROM datasets WHERE guild_id = ?1 AND user_id = ?2"
                " UNION SELECT adapter_path FROM models WHERE guild_id = ?1 AND user_id = ?2"
            )
            files += [row[0] for row in connection.execute(paths, whose)]
            for name in tables:
                connection.execute(f"DELETE FROM {name} WHERE guild_id = ? AND user_id = ?", whose)  # noqa: S608
            connection.execute(
                "DELETE FROM state WHERE (key GLOB 'draft:*' OR key GLOB 'compare:*')"
                " AND json_extract(value, '$.guild_id') = ? AND json_extract(value, '$.user_id') = ?",
                whose,
            )
            connection.execute("DELETE FROM state WHERE key = ?", (f"home:{owner.user_id}",))
            if audited:
                connection.execute("UPDATE audit SET subject_id = NULL WHERE guild_id = ? AND subject_id = ?", whose)
        connection.execute("COMMIT")
        if leaving:
            connection.execute("VACUUM")
    return len(leaving), tuple(files)
