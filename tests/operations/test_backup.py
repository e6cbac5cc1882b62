"""Backups: whole, checked, taken from a store in use, and never unpacked where they should not be."""

import hashlib
import io
import json
import sqlite3
import tarfile
import threading

import pytest

from bot.archive import BackupError
from bot.backup import back_up, restore
from bot.cli import main
from bot.records import Dataset, Owner
from bot.settings import Settings
from bot.store import Store
from jobs.artifacts import Artifacts
from jobs.contract import Event, EventType, Recipe, TrainResult

ANA = Owner(guild_id=1, user_id=10)
DATA = b'{"text": "hola"}\n' * 500
WEIGHTS = bytes(range(256)) * 400


def settings_of(folder, **more) -> Settings:
    return Settings(_env_file=None, data_dir=folder, **more)


def dataset(number: int) -> Dataset:
    return Dataset(
        id=f"datos{number}",
        owner=ANA,
        name=f"recetas {number}",
        version=1,
        parent_id=None,
        path=f"datasets/datos{number}/v1.jsonl",
        sha256=hashlib.sha256(DATA).hexdigest(),
        bytes=len(DATA),
        format="text",
        verdict="valid",
        examples=500,
        usable=500,
        report={},
        consent_at=1.0,
        created_at=0.0,
    )


async def a_life(settings: Settings) -> None:
    """A dataset, a trained model, a job in the queue, a course page and the usual clutter."""
    artifacts = Artifacts(settings.artifacts)
    source = settings.data_dir / "uploads" / "f.jsonl"
    source.parent.mkdir(parents=True)
    source.write_bytes(DATA)
    draft = settings.data_dir / "draft"
    draft.mkdir()
    (draft / "adapter_model.safetensors").write_bytes(WEIGHTS)
    (draft / "adapter_config.json").write_text("{}")
    async with Store.open(settings.database) as store:
        data = await store.add_dataset(dataset(1))
        artifacts.put_dataset(data.id, 1, source)
        job = await store.submit_job(
            owner=ANA, name="Cocina", dataset=data, base_id="afina-mini", recipe=Recipe(), channel_id=5
        )
        await store.mark_dispatched(job.id, 1)
        published = artifacts.publish_adapter(job.request.adapter_name, draft)
        result = TrainResult(
            adapter_name=job.request.adapter_name,
            adapter_path=published.path,
            adapter_sha256=published.sha256,
            adapter_bytes=published.bytes,
            trained_tokens=10,
            seconds=1.0,
        )
        said = {"job_id": job.id, "attempt": 1, "created_at": 1.0}
        await store.apply_event(Event(**said, seq=1, type=EventType.RESULT, data=result.model_dump(mode="json")))
        await store.submit_job(owner=ANA, name="Otra", dataset=data, base_id="afina-mini", recipe=Recipe())
    for name in ("course/1/apuntes.md", "bases/afina-mini/model.safetensors"):
        (settings.data_dir / name).parent.mkdir(parents=True, exist_ok=True)
        (settings.data_dir / name).write_bytes(name.encode())
    for clutter in ("bases/otra/model.safetensors", "logs/bot.log", "adapters/.tmp-x-1/adapter_model.safetensors"):
        (settings.data_dir / clutter).parent.mkdir(parents=True, exist_ok=True)
        (settings.data_dir / clutter).write_bytes(b"no")


def rows(database) -> dict[str, list]:
    with sqlite3.connect(database) as connection:
        tables = [name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
        return {table: connection.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall() for table in tables}


@pytest.fixture
async def here(tmp_path) -> Settings:
    settings = settings_of(tmp_path / "here")
    await a_life(settings)
    return settings


@pytest.fixture
def there(tmp_path) -> Settings:
    return settings_of(tmp_path / "there")


async def test_what_was_backed_up_is_there_after_restoring(here, there, tmp_path):
    made = back_up(here, tmp_path / "copy.tar")
    done = restore(there, made.archive)
    assert (made.missing, done.missing) == ((), ())
    assert rows(there.database) == rows(here.database)
    assert Artifacts(there.artifacts).local("datasets/datos1/v1.jsonl").read_bytes() == DATA
    async with Store.open(there.database) as store:
        (model,) = await store.models(ANA)
        folder = Artifacts(there.artifacts).adapter(model.adapter_name)
        assert (folder / "adapter_model.safetensors").read_bytes() == WEIGHTS
        assert [job.name for job in await store.open_jobs()] == ["Otra"]
    assert (there.data_dir / "course/1/apuntes.md").read_bytes() == b"course/1/apuntes.md"
    assert (there.data_dir / "bases/afina-mini/model.safetensors").exists()


async def test_what_can_be_made_again_stays_out(here, there, tmp_path):
    made = back_up(here, tmp_path / "copy.tar")
    tops = {"/".join(name.split("/")[:2]) for name in made.manifest.files}
    (model,) = {name for name in tops if name.startswith("adapters/")}
    assert tops == {"afina.sqlite3", "datasets/datos1", model, "course/1", "bases/afina-mini"}
    assert not any(".tmp-" in name for name in made.manifest.files)


async def test_only_its_owner_may_read_it(here, tmp_path):
    assert back_up(here, tmp_path / "copy.tar").archive.stat().st_mode & 0o777 == 0o600


async def test_a_store_that_is_written_all_the_time_is_copied_whole(here, there, tmp_path):
    """Every dataset row in the copy has its file: a row is written after its file and copied before it."""
    stop = threading.Event()

    def write() -> None:
        import asyncio

        async def work() -> None:
            artifacts = Artifacts(here.artifacts)
            async with Store.open(here.database) as store:
                for number in range(2, 100_000):
                    if stop.is_set():
                        return
                    artifacts.put_dataset(f"datos{number}", 1, here.data_dir / "uploads" / "f.jsonl")
                    await store.add_dataset(dataset(number))

        asyncio.run(work())

    writer = threading.Thread(target=write)
    writer.start()
    try:
        made = [back_up(here, tmp_path / f"{number}.tar") for number in range(5)]
    finally:
        stop.set()
        writer.join()
    assert [copy.missing for copy in made] == [()] * 5
    restore(there, made[-1].archive)
    assert len(rows(there.database)["datasets"]) > len(rows_in(made[0].archive, tmp_path)["datasets"])


def rows_in(archive, tmp_path) -> dict[str, list]:
    folder = settings_of(tmp_path / "look")
    restore(folder, archive)
    return rows(folder.database)


async def test_a_file_that_is_gone_is_told(here, tmp_path):
    Artifacts(here.artifacts).delete("datasets/datos1/v1.jsonl")
    assert back_up(here, tmp_path / "copy.tar").missing == ("datasets/datos1/v1.jsonl",)


async def test_an_archive_is_never_replaced_and_an_empty_folder_has_nothing_to_copy(here, there, tmp_path):
    back_up(here, tmp_path / "copy.tar")
    with pytest.raises(BackupError, match="ya existe"):
        back_up(here, tmp_path / "copy.tar")
    with pytest.raises(BackupError, match="nada que copiar"):
        back_up(there, tmp_path / "other.tar")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.tar", "here"]


async def test_a_damaged_database_is_not_backed_up(here, tmp_path):
    content = bytearray(here.database.read_bytes())
    content[5000:9000] = b"\xff" * 4000
    here.database.write_bytes(content)
    with pytest.raises(BackupError, match="dañada"):
        back_up(here, tmp_path / "copy.tar")
    assert not (tmp_path / "copy.tar").exists()


@pytest.mark.parametrize("taken", ["afina.sqlite3", "datasets/x/v1.jsonl", "adapters/x/manifest.json"])
async def test_nothing_is_restored_over_what_is_there(here, there, tmp_path, taken):
    made = back_up(here, tmp_path / "copy.tar")
    (there.data_dir / taken).parent.mkdir(parents=True)
    (there.data_dir / taken).write_bytes(b"mine")
    with pytest.raises(BackupError, match="ya hay datos"):
        restore(there, made.archive)
    assert [path for path in there.data_dir.rglob("*") if path.is_file()] == [there.data_dir / taken]
    assert (there.data_dir / taken).read_bytes() == b"mine"


async def test_bases_that_were_downloaded_before_stay(here, there, tmp_path):
    for name in ("bases/afina-mini/model.safetensors", "bases/qwen3-0.6b/config.json"):
        (there.data_dir / name).parent.mkdir(parents=True)
        (there.data_dir / name).write_bytes(b"downloaded")
    restore(there, back_up(here, tmp_path / "copy.tar").archive)
    assert (there.data_dir / "bases/qwen3-0.6b/config.json").read_bytes() == b"downloaded"
    # The adapters were made on the afina-mini of the backup.
    assert (there.data_dir / "bases/afina-mini/model.safetensors").read_bytes() != b"downloaded"


async def test_artifacts_in_another_folder_go_there_again(tmp_path):
    here = settings_of(tmp_path / "here", artifacts_url=str(tmp_path / "disk"))
    await a_life(here)
    there = settings_of(tmp_path / "there", artifacts_url=f"file://{tmp_path}/other-disk")
    restore(there, back_up(here, tmp_path / "copy.tar").archive)
    assert Artifacts(there.artifacts).local("datasets/datos1/v1.jsonl").read_bytes() == DATA
    assert not (there.data_dir / "datasets").exists()


async def test_an_object_store_keeps_its_own_versions(tmp_path):
    here = settings_of(tmp_path / "here", artifacts_url="memory://backup-test")
    await a_life(here)
    made = back_up(here, tmp_path / "copy.tar")
    assert made.manifest.artifacts == "memory://backup-test"
    assert not any(name.startswith(("datasets/", "adapters/")) for name in made.manifest.files)
    with pytest.raises(BackupError, match="memory://backup-test"):
        restore(settings_of(tmp_path / "there"), made.archive)
    restore(settings_of(tmp_path / "there", artifacts_url="memory://backup-test"), made.archive)


class TestAnArchiveThatIsNotAsItWasMade:
    @pytest.fixture
    async def archive(self, here, tmp_path):
        return back_up(here, tmp_path / "copy.tar").archive

    def refused(self, there, archive) -> None:
        with pytest.raises(BackupError):
            restore(there, archive)
        assert list(there.data_dir.rglob("*")) == []

    async def test_cut_anywhere(self, there, archive):
        whole = archive.read_bytes()
        ends = {0, 1, 511, 512, 513, len(whole) // 3, len(whole) // 2, *range(1024, len(whole) - 12_000, 20_480)}
        for end in sorted(ends):
            archive.write_bytes(whole[:end])
            self.refused(there, archive)

    async def test_one_byte_changed(self, there, archive):
        with tarfile.open(archive) as tar:
            places = [(member.name, member.offset_data) for member in tar if member.name != "manifest.json"]
        whole = archive.read_bytes()
        for _, offset in places:
            archive.write_bytes(whole[:offset] + bytes([whole[offset] ^ 1]) + whole[offset + 1 :])
            self.refused(there, archive)

    @pytest.mark.parametrize(
        ("name", "change"),
        [
            ("../escaped", {}),
            ("/tmp/escaped", {}),
            ("datasets/../../escaped", {}),
            ("datasets//x", {}),
            ("./datasets/x", {}),
            ("datasets\\..\\x", {}),
            (".env", {}),
            ("logs/x", {}),
            ("bases/otra/model.safetensors", {}),
            ("datasets", {"type": tarfile.DIRTYPE}),
            ("datasets/link", {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"}),
            ("datasets/hard", {"type": tarfile.LNKTYPE, "linkname": "afina.sqlite3"}),
            ("datasets/fifo", {"type": tarfile.FIFOTYPE}),
            ("datasets/device", {"type": tarfile.CHRTYPE}),
            ("datasets/sparse", {"type": tarfile.GNUTYPE_SPARSE}),
            ("afina.sqlite3", {}),
        ],
    )
    async def test_something_that_we_do_not_write(self, there, archive, tmp_path, name, change):
        """Even where the manifest lists it: whoever can write the one can write the other."""
        members = unpack(archive)
        info = tarfile.TarInfo(name)
        for attribute, value in change.items():
            setattr(info, attribute, value)
        manifest = json.loads(members.pop("manifest.json"))
        manifest["files"][name] = {"sha256": hashlib.sha256(b"").hexdigest(), "bytes": 0}
        pack(archive, [*((tarfile.TarInfo(n), c) for n, c in members.items()), (info, b"")], manifest)
        self.refused(there, archive)
        assert not (tmp_path / "escaped").exists()

    @pytest.mark.parametrize(
        "edit",
        [
            lambda manifest: manifest["files"].popitem(),
            lambda manifest: manifest.update(format=2),
            lambda manifest: manifest.pop("files"),
            lambda manifest: manifest.update(files=[]),
        ],
        ids=["a file less", "another format", "no list", "an odd list"],
    )
    async def test_a_manifest_that_says_something_else(self, there, archive, edit):
        members = unpack(archive)
        manifest = json.loads(members.pop("manifest.json"))
        edit(manifest)
        pack(archive, [(tarfile.TarInfo(n), c) for n, c in members.items()], manifest)
        self.refused(there, archive)

    async def test_a_database_of_a_later_version(self, there, archive, tmp_path):
        members = unpack(archive)
        database = tmp_path / "later.sqlite3"
        database.write_bytes(members["afina.sqlite3"])
        with sqlite3.connect(database) as connection:
            connection.execute("PRAGMA user_version = 900")
        connection.close()
        members["afina.sqlite3"] = database.read_bytes()
        manifest = json.loads(members.pop("manifest.json"))
        manifest["files"]["afina.sqlite3"] = {
            "sha256": hashlib.sha256(members["afina.sqlite3"]).hexdigest(),
            "bytes": len(members["afina.sqlite3"]),
        }
        pack(archive, [(tarfile.TarInfo(n), c) for n, c in members.items()], manifest)
        with pytest.raises(BackupError, match="más nueva"):
            restore(there, archive)

    def test_something_else_altogether(self, there, tmp_path):
        for content in (b"", b"hola", b"PK\x03\x04" + b"\0" * 600):
            (tmp_path / "x.tar").write_bytes(content)
            self.refused(there, tmp_path / "x.tar")


def unpack(archive) -> dict[str, bytes]:
    with tarfile.open(archive) as tar:
        return {member.name: tar.extractfile(member).read() for member in tar}


def pack(archive, members, manifest) -> None:
    with tarfile.open(archive, "w") as tar:
        for info, content in [*members, (tarfile.TarInfo("manifest.json"), json.dumps(manifest).encode())]:
            info.size = len(content) if info.isreg() else 0
            tar.addfile(info, io.BytesIO(content))


class TestOnTheCommandLine:
    @pytest.fixture(autouse=True)
    def environment(self, here, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("AFINA_DATA_DIR", str(here.data_dir))

    def test_there_and_back(self, tmp_path, monkeypatch, capsys):
        assert main(["backup", "copias", "--json"]) == 0
        made = json.loads(capsys.readouterr().out)
        assert made["missing"] == []
        monkeypatch.setenv("AFINA_DATA_DIR", str(tmp_path / "new"))
        assert main(["restore", made["archive"]]) == 0
        assert "Ya puedes arrancar" in capsys.readouterr().out
        assert main(["restore", made["archive"]]) == 1
        assert "ya hay datos" in capsys.readouterr().err

    def test_only_the_newest_are_kept(self, tmp_path):
        folder = tmp_path / "copias"
        folder.mkdir()
        for day in (1, 2, 3):
            (folder / f"afina-2020010{day}-000000.tar").write_bytes(b"old")
        (folder / "foto.tar").write_bytes(b"not ours")
        assert main(["backup", "copias", "--keep", "2"]) == 0
        names = sorted(path.name for path in folder.iterdir())
        assert names[0] == "afina-20200103-000000.tar"
        assert len(names) == 3
        assert "foto.tar" in names

    @pytest.mark.parametrize("arguments", [["backup"], ["restore"], ["backup", "x", "--keep", "0"]])
    def test_wrong_use(self, arguments):
        try:
            code: object = main(arguments)
        except SystemExit as left:
            code = left.code
        assert code == 2

    @pytest.mark.parametrize("arguments", [["restore", "nada.tar"], ["backup", "taken.tar"]])
    def test_refusals(self, arguments, tmp_path, capsys):
        (tmp_path / "taken.tar").write_bytes(b"")
        assert main(arguments) == 1
        assert "Traceback" not in capsys.readouterr().err
