"""More hosts: Redis over TLS with users, artifacts in an object store, several workers; on one machine, over TCP."""

import asyncio
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import pytest
import redis

from bot import erasing
from bot.console.doctor import examine
from bot.progress import ProgressFeed
from bot.records import Dataset, Owner
from bot.scheduler import Scheduler
from bot.settings import Settings
from bot.store import Store
from jobs.artifacts import MANIFEST, Artifacts
from jobs.attempt import connect
from jobs.contract import Recipe
from jobs.errors import ModelNotFound, QueueUnavailable
from jobs.queue import Queue
from tests.bot.conftest import make_services
from tests.bot.scripted import ScriptedEngine
from tests.jobs.fake import FUNCTION
from tests.operations.conftest import PASSWORD, certificate

ROOT = Path(__file__).resolve().parent.parent.parent
ANA = Owner(guild_id=1, user_id=10)


class TestRedisOverTls:
    def test_the_queue_works_with_the_rights_of_the_page(self, shared_redis):
        queue = Queue(shared_redis.url)
        assert queue.ping()
        assert queue.workers() == []
        assert queue.state("x-1") == "missing"

    def test_without_the_authority_nobody_connects(self, shared_redis, tmp_path):
        stranger = tmp_path / "stranger"
        certificate(stranger, name="otra")
        url = shared_redis.url.replace(str(shared_redis.authority), str(stranger / "cert.pem"))
        assert not Queue(url).ping()
        assert not Queue(shared_redis.url.split("?")[0]).ping()

    @pytest.mark.parametrize(
        "credentials",
        ["afina:otra", "", ":clave-de-prueba", "default:clave-de-prueba"],
        ids=lambda who: who or "none",
    )
    def test_without_the_password_nobody_gets_in(self, shared_redis, credentials):
        at = f"{credentials}@" if credentials else ""
        url = f"rediss://{at}127.0.0.1:{shared_redis.port}/0?ssl_ca_certs={shared_redis.authority}"
        with pytest.raises(redis.RedisError):
            connect(url, retries=0).get("rq:x")
        with pytest.raises(QueueUnavailable):
            Queue(url).workers()

    @pytest.mark.parametrize(
        "command",
        [
            ("FLUSHALL",),
            ("CONFIG", "SET", "dir", "/tmp"),
            ("SHUTDOWN", "NOSAVE"),
            ("KEYS", "*"),
            ("ACL", "SETUSER", "afina", "+@all"),
            ("REPLICAOF", "127.0.0.1", "1"),
            ("DEBUG", "SLEEP", "0"),
            ("MODULE", "LIST"),
            ("SAVE",),
            ("SET", "otra:clave", "1"),
            ("PUBLISH", "otro:canal", "1"),
        ],
        ids=lambda command: command[0],
    )
    def test_even_with_the_password_the_server_is_not_theirs(self, shared_redis, command):
        with pytest.raises(redis.exceptions.NoPermissionError):
            connect(shared_redis.url).execute_command(*command)


class TestArtifactsInAnObjectStore:
    @pytest.fixture
    def draft(self, tmp_path):
        folder = tmp_path / "draft"
        (folder / "extra").mkdir(parents=True)
        (folder / "adapter_model.safetensors").write_bytes(os.urandom(300_000))
        (folder / "adapter_config.json").write_text('{"r": 8}')
        (folder / "extra" / "results.csv").write_text("step,loss\n")
        return folder

    def test_what_one_host_publishes_another_reads(self, object_store, draft, tmp_path):
        here, there = (Artifacts(object_store, cache=tmp_path / name) for name in ("here", "there"))
        published = here.publish_adapter("mio-1", draft, details={"trained_tokens": 9, "seconds": 1.5})
        folder = there.adapter("mio-1")
        assert (folder / "adapter_model.safetensors").read_bytes() == (draft / "adapter_model.safetensors").read_bytes()
        assert (folder / "extra" / "results.csv").read_text() == "step,loss\n"
        assert there.result("mio-1").adapter_sha256 == published.sha256
        assert there.list_adapters() == ["mio-1"]
        there.delete(published.path)
        assert here.list_adapters() == []

    def test_datasets_travel_and_are_kept_in_the_cache(self, object_store, tmp_path):
        (tmp_path / "f.jsonl").write_bytes(b'{"a": 1}\n')
        here, there = (Artifacts(object_store, cache=tmp_path / name) for name in ("here", "there"))
        path = here.put_dataset("abc", 1, tmp_path / "f.jsonl")
        assert there.local(path).read_bytes() == b'{"a": 1}\n'
        assert there.local(path).is_relative_to(tmp_path / "there")

    def test_a_publication_that_is_killed_anywhere_is_not_there(self, object_store, draft, tmp_path):
        """SIGKILL at the n-th request to the store, for every n until one run gets through."""
        script = """
import os, pathlib, signal, sys
from aiobotocore.httpsession import AIOHTTPSession
left, send = int(sys.argv[3]), AIOHTTPSession.send
async def watched(self, request):
    global left
    if request.method in ("PUT", "POST", "DELETE"):
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return await send(self, request)
AIOHTTPSession.send = watched
from jobs.artifacts import Artifacts
folder = pathlib.Path(sys.argv[2])
Artifacts(sys.argv[1], cache=folder / "c").publish_adapter("mio", folder / "draft")
"""
        outcomes = []
        for count in range(1, 20):
            command = [sys.executable, "-c", script, object_store, str(tmp_path), str(count)]
            done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True)
            fresh = Artifacts(object_store, cache=tmp_path / f"cache{count}")
            fresh._fs.invalidate_cache()
            whole = fresh.list_adapters() == ["mio"]
            if whole:
                fresh.adapter("mio")
            else:
                with pytest.raises(ModelNotFound):
                    fresh.adapter("mio")
            outcomes.append(whole)
            if done.returncode == 0:
                break
            assert done.returncode == -signal.SIGKILL, done.stderr.decode()
        # Three files and then the manifest, which alone makes it visible.
        assert outcomes == [False, False, False, False, True]

    def test_weights_that_were_changed_in_the_bucket_are_refused(self, object_store, draft, tmp_path):
        here = Artifacts(object_store, cache=tmp_path / "here")
        here.publish_adapter("mio", draft)
        here._fs.pipe_file(f"{object_store}/adapters/mio/adapter_model.safetensors", b"otros pesos")
        with pytest.raises(ModelNotFound):
            Artifacts(object_store, cache=tmp_path / "there").adapter("mio")

    def test_the_manifest_in_the_bucket_is_the_last_word(self, object_store, draft, tmp_path):
        here = Artifacts(object_store, cache=tmp_path / "here")
        here.publish_adapter("mio", draft)
        here._fs.rm_file(f"{object_store}/adapters/mio/{MANIFEST}")
        with pytest.raises(ModelNotFound):
            Artifacts(object_store, cache=tmp_path / "there").adapter("mio")


async def test_two_workers_elsewhere_train_what_this_host_is_asked_for_and_forget_it_when_told(
    shared_redis, object_store, tmp_path
):
    """Bot, Redis, bucket and two workers share nothing but addresses; each has a folder of its own."""
    settings = Settings(
        _env_file=None,
        data_dir=tmp_path / "bot",
        redis_url=shared_redis.url,
        artifacts_url=object_store,
        max_running_jobs=4,
        reconcile_every=0.5,
    )
    artifacts = Artifacts(object_store, cache=tmp_path / "bot" / "cache")
    workers = [worker(tmp_path / f"worker{number}", shared_redis.url, object_store, number) for number in (1, 2)]
    logs = [tmp_path / f"worker{number}" / "log" for number in (1, 2)]
    try:
        async with Store.open(settings.database) as store:
            queue = Queue(shared_redis.url, function=FUNCTION)
            scheduler = Scheduler(store, queue, settings, artifacts=artifacts, tick_seconds=0.1)
            feed = ProgressFeed(store, queue)
            source = tmp_path / "f.jsonl"
            source.write_text('{"text": "hola"}\n')
            data = await store.add_dataset(dataset(artifacts, source))
            for number in range(4):
                await store.submit_job(
                    owner=ANA, name=f"m{number}", dataset=data, base_id="steps=3&pause=0.02", recipe=Recipe()
                )
            deadline = time.monotonic() + 60
            while await store.open_jobs() and time.monotonic() < deadline:
                await scheduler.tick()
                await feed.step(block_ms=100)
            assert await store.open_jobs() == [], "\n".join(log.read_text() for log in logs)
            models = await store.models(ANA)
            for model in models:
                assert (Artifacts(object_store, cache=tmp_path / "engine").adapter(model.adapter_name)).is_dir()
            folders = [tmp_path / f"worker{number}" / "jobs" for number in (1, 2)]
            assert sum(len(list(folder.iterdir())) for folder in folders if folder.exists()) == 4
            services = make_services(settings, store, queue, ScriptedEngine(), artifacts=artifacts)
            await erasing.erase(services, ANA)
            deadline = time.monotonic() + 120
            while (left := [path for folder in folders for path in folder.glob("*")]) or await erasing.finish(services):
                assert time.monotonic() < deadline, left
                await asyncio.sleep(0.2)
            assert (artifacts.list_adapters(), artifacts.list_datasets()) == ([], [])
            assert not [path for path in (tmp_path / "bot" / "cache").rglob("*") if path.is_file()]
    finally:
        for process in workers:
            process.terminate()
        for process in workers:
            process.wait(30)
    assert len(models) == 4
    said = "".join(log.read_text() for log in logs)
    assert PASSWORD not in said
    assert [process.returncode for process in workers] == [0, 0]


def worker(folder: Path, redis_url: str, artifacts: str, number: int) -> subprocess.Popen:
    folder.mkdir()
    code = f"""
import logging, sys
import tests.jobs.fake
from jobs.contract import WorkerInfo
from jobs.worker import run_worker
logging.basicConfig(level=logging.INFO)
info = WorkerInfo(name="w{number}", hostname="h{number}", device="cpu", device_name="CPU", memory_bytes=2**33)
data, artifacts, redis = sys.argv[1:]
environment = {{"AFINA_WORK_DATA": data, "AFINA_WORK_ARTIFACTS": artifacts, "AFINA_WORK_REDIS": redis}}
sys.exit(run_worker(redis, info=info, environment=environment, functions=["{FUNCTION}"]))
"""
    with (folder / "log").open("w") as log:
        return subprocess.Popen(
            [sys.executable, "-c", code, str(folder), artifacts, redis_url], cwd=ROOT, stdout=log, stderr=log
        )


def dataset(artifacts: Artifacts, source: Path) -> Dataset:
    identity = uuid.uuid4().hex[:12]
    return Dataset(
        id=identity,
        owner=ANA,
        name="datos",
        version=1,
        parent_id=None,
        path=artifacts.put_dataset(identity, 1, source),
        sha256=hashlib.sha256(source.read_bytes()).hexdigest(),
        bytes=source.stat().st_size,
        format="text",
        verdict="valid",
        examples=1,
        usable=1,
        report={},
        consent_at=1.0,
        created_at=0.0,
    )


def test_the_keys_of_the_store_may_stand_in_the_env_file(object_store, tmp_path):
    """As the page says; and nothing else of that file reaches the processes that we start."""
    keys = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL")
    lines = [f"{name}={os.environ[name]}" for name in keys] + ["DISCORD_TOKEN=solo-para-el-bot"]
    (tmp_path / ".env").write_text("\n".join(lines), encoding="utf-8")
    bare = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "AFINA_", "DISCORD_"))}
    code = "import os, sys; from bot.cli import main; main(['models']); from jobs.artifacts import Artifacts\n"
    code += "print(Artifacts(sys.argv[1]).list_adapters(), 'DISCORD_TOKEN' in os.environ)"
    done = subprocess.run(
        [sys.executable, "-c", code, object_store],
        cwd=tmp_path,
        env=bare | {"PYTHONPATH": str(ROOT), "AFINA_DATA_DIR": str(tmp_path / "d")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout.endswith("[] False\n"), done.stderr


async def test_doctor_says_when_the_shared_redis_does_not_answer(shared_redis, tmp_path):
    async def finding(url: str):
        settings = Settings(_env_file=None, data_dir=tmp_path / "d", redis_url=url)
        return next(found for found in await examine(settings) if found.name == "Redis")

    assert (await finding(shared_redis.url)).text == "responde, pero no hay ningún trabajador"
    wrong = await finding(shared_redis.url.replace(PASSWORD, "otra"))
    assert wrong.state == "bad"
    assert PASSWORD not in json.dumps([wrong.text, wrong.fix])
