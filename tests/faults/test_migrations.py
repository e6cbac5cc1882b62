"""The failure matrix: a kill in the middle of a migration leaves the old schema or the new one, and the data."""

import json
import sqlite3
import subprocess
import sys
from contextlib import closing

import pytest

from bot.store import Store
from bot.store.database import MIGRATIONS, _connect, _migrate
from tests.faults.stage import ROOT


@pytest.mark.timeout(200)
def test_a_bot_killed_while_it_brings_the_database_up_to_date_leaves_a_whole_schema(tmp_path):
    command = [sys.executable, "-m", "tests.faults.migrating", str(tmp_path), str(MIGRATIONS), "12", "1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=180)
    assert done.returncode == 0, done.stderr
    assert len(json.loads(done.stdout)) == 12


async def test_a_database_of_the_first_version_keeps_its_rows(tmp_path):
    """What somebody has from the first day is there after every update."""
    first = tmp_path / "first"
    first.mkdir()
    (first / "001_initial.sql").write_text((MIGRATIONS / "001_initial.sql").read_text(encoding="utf-8"))
    async with _connect(tmp_path / "db", 1.0) as connection:
        await _migrate(connection, first)
    with closing(sqlite3.connect(tmp_path / "db")) as old:
        old.execute("INSERT INTO state (key, value) VALUES ('home:1', '2')")
        described = old.execute("PRAGMA table_info(models)").fetchall()
        needed = [(name, kind) for _, name, kind, not_null, default, _ in described if not_null and default is None]
        values = [{"INTEGER": 1, "REAL": 1.0}.get(kind, f"m-{name}") for name, kind in needed]
        names, marks = ", ".join(name for name, _ in needed), ", ".join("?" * len(needed))
        old.execute(f"INSERT INTO models (id, {names}) VALUES ('m', {marks})", values)
        old.commit()
    async with Store.open(tmp_path / "db") as store:
        assert await store.get_state("home:1") == "2"
    with closing(sqlite3.connect(tmp_path / "db")) as new:
        assert new.execute("SELECT count(*) FROM models").fetchone() == (1,)
