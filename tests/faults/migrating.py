"""Migrates a database slowly: `python -m tests.faults.migrating DATABASE MIGRATIONS TRIALS SEED`.

Each trial makes a database as an earlier version left it, forks a child that brings it up to date, kills the child at
some moment and looks: the schema is that of one version, whole, and the next start finishes the rest. Prints the
versions at which children died.
"""

import asyncio
import json
import os
import random
import signal
import sqlite3
import sys
import time
from contextlib import closing
from pathlib import Path

from bot.store.database import _connect, _migrate

COUNT = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c WHERE x < 30000)"
SLOW = f"{COUNT} SELECT max(x) FROM c;\n"  # a few milliseconds


async def migrate(database: Path, folder: Path) -> None:
    async with _connect(database, 5.0) as connection:
        await _migrate(connection, folder)


def schema(database: Path) -> tuple[int, list[tuple[str, str]]]:
    with closing(sqlite3.connect(database)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL ORDER BY name").fetchall()
        return version, rows


def slowed(source: Path, target: Path, up_to: int | None = None) -> None:
    """The same migrations with a pause between any two statements."""
    target.mkdir()
    for path in sorted(source.glob("[0-9]*.sql")):
        if up_to is None or int(path.name[:3]) <= up_to:
            text = path.read_text(encoding="utf-8")
            lines = [line + SLOW if line.rstrip().endswith(";") else line for line in text.splitlines(keepends=True)]
            (target / path.name).write_text("".join(lines), encoding="utf-8")


def main(work: Path, migrations: Path, trials: int, seed: int) -> list[int]:
    chance = random.Random(seed)
    latest = max(int(path.name[:3]) for path in migrations.glob("[0-9]*.sql"))
    expected = {0: []}
    for version in range(1, latest + 1):
        slowed(migrations, work / f"to{version}", up_to=version)
        asyncio.run(migrate(work / f"whole{version}.db", work / f"to{version}"))
        expected[version] = schema(work / f"whole{version}.db")[1]
    started = time.monotonic()
    asyncio.run(migrate(work / "timed.db", work / f"to{latest}"))
    whole = time.monotonic() - started
    died = []
    for trial in range(trials):
        database = work / f"trial{trial}.db"
        child = os.fork()
        if child == 0:
            asyncio.run(migrate(database, work / f"to{latest}"))
            os._exit(0)
        time.sleep(chance.random() * whole)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        version, found = schema(database)
        assert found == expected[version], f"half a migration after version {version}: {found}"
        died.append(version)
        asyncio.run(migrate(database, work / f"to{latest}"))
        assert schema(database) == (latest, expected[latest])
    return died


if __name__ == "__main__":
    sys.stdout.write(json.dumps(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))))
