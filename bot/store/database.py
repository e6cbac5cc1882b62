"""The SQLite file: connections, transactions, migrations, backups.

Rule of this file: one writer connection behind a lock, every write inside `transaction()`, every read of committed
rows through `_all`/`_one` on a second connection. What the rows mean is the business of the modules next to it.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sqlite3
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import aiosqlite

from jobs.errors import AfinaError

MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"
_ID_ALPHABET = "abcdefghijkmnpqrstuvwxyz23456789"


class StoreUnavailable(AfinaError):
    """The database is locked by somebody else for too long, or the disk is full."""

    code = "store_unavailable"
    default = "Ahora mismo no puedo guardar nada: la base de datos está ocupada."
    default_hint = "Inténtalo de nuevo en un momento; no ha cambiado nada."


def new_id() -> str:
    """Twelve random letters and digits, without those that look alike."""
    return "".join(secrets.choice(_ID_ALPHABET) for _ in range(12))


def to_json(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Database:
    """Base of the store; open it with `open`, never by hand."""

    def __init__(
        self,
        writer: aiosqlite.Connection,
        reader: aiosqlite.Connection,
        *,
        lease_seconds: float,
        max_attempts: int,
        clock: Callable[[], float],
    ) -> None:
        self._writer = writer
        self._reader = reader
        self._lock = asyncio.Lock()
        self.lease_seconds = lease_seconds
        self.max_attempts = max_attempts
        self.clock = clock

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        path: Path,
        *,
        lease_seconds: float = 20.0,
        max_attempts: int = 3,
        busy_timeout: float = 5.0,
        clock: Callable[[], float] = time.time,
    ) -> AsyncIterator[Self]:
        """Open or create the database at `path` and bring its schema up to date.

        `lease_seconds`: for how long an event keeps a running attempt alive. `max_attempts`: how many attempts of one
        job may die. `busy_timeout`: seconds to wait for another process. `clock`: Unix seconds.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        async with _connect(path, busy_timeout) as writer:
            await _migrate(writer)
            async with _connect(path, busy_timeout) as reader:
                await reader.execute("PRAGMA query_only = ON")
                yield cls(writer, reader, lease_seconds=lease_seconds, max_attempts=max_attempts, clock=clock)

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[aiosqlite.Connection]:
        """All or nothing, also when the task is cancelled in the middle.

        aiosqlite runs statements first in, first out in its own thread; so a rollback that is queued here comes after
        whatever a cancelled task left there and before the next BEGIN.
        """
        async with self._lock:
            try:
                await self._writer.execute("BEGIN IMMEDIATE")
                yield self._writer
                await asyncio.shield(self._writer.commit())
            except BaseException as error:
                await asyncio.shield(self._writer.rollback())
                if isinstance(error, sqlite3.OperationalError):
                    raise _readable(error) from error
                raise

    async def _all(self, sql: str, parameters: tuple[Any, ...] = ()) -> list[sqlite3.Row]:
        try:
            return list(await self._reader.execute_fetchall(sql, parameters))
        except sqlite3.OperationalError as error:
            raise _readable(error) from error

    async def _one(self, sql: str, parameters: tuple[Any, ...] = ()) -> sqlite3.Row | None:
        rows = await self._all(sql, parameters)
        return rows[0] if rows else None

    async def backup(self, target: Path) -> Path:
        """Write a complete copy of the database to `target`, which must not exist yet."""
        target.parent.mkdir(parents=True, exist_ok=True)
        async with self._lock:
            try:
                await self._writer.execute("VACUUM INTO ?", (str(target),))
            except sqlite3.OperationalError as error:
                raise _readable(error) from error
        return target


@asynccontextmanager
async def _connect(path: Path, busy_timeout: float) -> AsyncIterator[aiosqlite.Connection]:
    async with aiosqlite.connect(path, isolation_level=None, timeout=busy_timeout) as connection:
        connection.row_factory = sqlite3.Row
        # FULL: a job that was promised to a person survives a power cut; 0.3 ms a commit. What is deleted is
        # overwritten in the file.
        for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON", "secure_delete = ON"):
            await connection.execute(f"PRAGMA {pragma}")
        yield connection


async def _migrate(connection: aiosqlite.Connection, folder: Path = MIGRATIONS) -> None:
    """Run the numbered files that this database has not seen, each in a transaction of its own."""
    files = {int(path.name[:3]): path for path in folder.glob("[0-9][0-9][0-9]_*.sql")}
    if await _version(connection) > max(files):
        raise StoreUnavailable(
            "La base de datos es de una versión más nueva de Afina.", hint="Actualiza Afina o restaura una copia."
        )
    for number, path in sorted(files.items()):
        await connection.execute("BEGIN IMMEDIATE")
        try:
            if await _version(connection) < number:
                for statement in _statements(path.read_text(encoding="utf-8")):
                    await connection.execute(statement)
                await connection.execute(f"PRAGMA user_version = {number}")
            await connection.commit()
        except BaseException:
            await asyncio.shield(connection.rollback())
            raise


async def _version(connection: aiosqlite.Connection) -> int:
    (row,) = await connection.execute_fetchall("PRAGMA user_version")
    return int(row[0])


def _statements(script: str) -> Iterator[str]:
    """Cut a script into statements; `executescript` would commit first and break the transaction."""
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


def _readable(error: sqlite3.OperationalError) -> Exception:
    text = str(error)
    if "locked" in text or "busy" in text:
        return StoreUnavailable()
    if "full" in text or "disk I/O" in text:
        return StoreUnavailable(
            "No puedo guardar nada: el disco está lleno.",
            hint="Avisa a quien administra el servidor; no ha cambiado nada.",
        )
    return error
