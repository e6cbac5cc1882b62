"""Copies of the whole database: made while it is in use, and looked through before they are trusted.

Rule of this file: the source is only read (no migration happens here), and what is found is told as values.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

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
