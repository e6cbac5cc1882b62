"""Who erased themselves is not brought back by a backup that was made before, and old backups go."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from bot.backup import back_up, restore
from bot.cli import main
from bot.deletions import FILE, DeletionLog, person
from bot.records import ChatThread, Owner
from bot.settings import Settings
from bot.store import Store
from tests.operations.test_backup import ANA, a_life, settings_of

EVA = Owner(guild_id=1, user_id=20)


@pytest.fixture
async def here(tmp_path: Path) -> Settings:
    settings = settings_of(tmp_path / "aquí")
    await a_life(settings)
    async with Store.open(settings.database) as store:
        await store.open_chat(ChatThread(thread_id=7, owner=EVA, model_id=None, base_id="x", instructions="hola"))
        await store.set_state("home:10", "1")
    return settings


async def test_whoever_erased_themselves_after_the_backup_stays_away(here: Settings, tmp_path: Path) -> None:
    archive = tmp_path / "copias" / "uno.tar"
    back_up(here, archive)
    DeletionLog.of(here).note(person(ANA), time.time())
    back_up(here, tmp_path / "copias" / "dos.tar")  # carries the log to where the copies are
    there = settings_of(tmp_path / "allí")
    done = restore(there, archive)
    assert (done.forgotten, done.missing) == (1, ())
    async with Store.open(there.database) as store:
        assert await store.owners() == [EVA]
        assert len(await store.chats(EVA)) == 1
        assert await store.jobs(ANA) == await store.datasets(ANA) == await store.models(ANA) == []
        assert await store.get_state("home:10") is None
    assert list((there.data_dir / "datasets").rglob("*.jsonl")) == []
    assert list((there.data_dir / "adapters").rglob("*.safetensors")) == []
    assert b"recetas" not in there.database.read_bytes()
    # The next restore, of this very copy, knows it as well.
    assert DeletionLog.of(there).deleted_since([person(ANA)], 0) == {person(ANA)}


async def test_whoever_came_back_after_erasing_themselves_is_restored(here: Settings, tmp_path: Path) -> None:
    DeletionLog.of(here).note(person(ANA), time.time() - 1000)
    back_up(here, tmp_path / "uno.tar")
    there = settings_of(tmp_path / "allí")
    assert restore(there, tmp_path / "uno.tar").forgotten == 0
    async with Store.open(there.database) as store:
        assert len(await store.models(ANA)) == 1


def test_the_log_tells_nobody_who_it_was(tmp_path: Path) -> None:
    log = DeletionLog(tmp_path / FILE)
    log.note(person(ANA), 5.0)
    log.note(person(ANA), 9.0)
    first, second = log.lines()
    assert str(ANA.user_id) not in first.replace('"at": 5.0', "").split('"hash"')[0]
    assert first.split('"hash"')[1] != second.split('"hash"')[1]
    assert log.deleted_since([person(ANA), person(EVA)], 8) == {person(ANA)}
    assert log.deleted_since([person(ANA)], 10) == set()
    assert oct(log.path.stat().st_mode & 0o777) == "0o600"


def test_a_torn_line_costs_no_other(tmp_path: Path) -> None:
    log = DeletionLog(tmp_path / FILE)
    log.note("uno", 1.0)
    with log.path.open("a") as file:
        file.write('{"at": 2.0, "sa')
    log.note("dos", 3.0)
    assert log.deleted_since(["uno", "dos"], 0) == {"uno", "dos"}
    other = DeletionLog(tmp_path / "otro" / FILE)
    other.add([*log.lines(), *log.lines(), "basura"])
    assert len(other.lines()) == 2


async def test_a_new_backup_lets_go_of_those_older_than_people_were_promised(
    here: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "copias"
    folder.mkdir()
    for name, days in (("afina-20200101-000000.tar", 31), ("afina-20200102-000000.tar", 29), ("mía.tar", 400)):
        (folder / name).write_bytes(b"x")
        os.utime(folder / name, (time.time() - days * 86_400,) * 2)
    monkeypatch.setenv("AFINA_DATA_DIR", str(here.data_dir))
    assert main(["backup", str(folder)]) == 0
    names = {path.name for path in folder.iterdir()}
    assert {"afina-20200102-000000.tar", "mía.tar"} < names
    assert "afina-20200101-000000.tar" not in names
