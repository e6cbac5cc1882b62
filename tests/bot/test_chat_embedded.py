"""The whole way of a conversation with the real embedded engine as a process of its own, killed in the middle."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest

from bot.arbiter import Arbiter
from bot.client import Afina
from bot.conversations import WRITING
from bot.engine import EngineClient
from bot.records import Job, Owner
from bot.scheduler import Scheduler
from bot.services import Services
from bot.settings import Settings
from bot.store import Store
from jobs.artifacts import Artifacts
from jobs.contract import JobState, Recipe
from jobs.queue import Queue
from jobs.redis_server import RedisServer
from playground import Playground
from playground.people import Person
from tests.bot.conftest import make_services, running
from tests.bot.test_chat import DONE, MakeModel, answer_to, new_model, open_thread
from tests.jobs.fake import FUNCTION

__all__ = ["new_model"]  # a fixture
pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.timeout(300),
    pytest.mark.slow,
]

BASE = "afina-mini"
QUESTION = [{"role": "user", "content": "Hola, ¿qué eres?"}]


class EngineProcess:
    """`python -m jobs.gpu serve`, at one address over its restarts."""

    def __init__(self, data: Path) -> None:
        self._data = data
        self._ready = data / "engine.json"
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def start(self) -> None:
        self._ready.unlink(missing_ok=True)
        command = [sys.executable, "-W", "ignore", "-m", "jobs.gpu", "serve", "--base", BASE, "--threads", "1"]
        where = ["--data", str(self._data), "--artifacts", str(self._data), "--ready-file", str(self._ready)]
        self.process = subprocess.Popen(
            [*command, *where, "--port", str(self.port)],
            env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"},
            stderr=subprocess.DEVNULL,
        )
        async with asyncio.timeout(120):
            while not self._ready.exists():
                assert self.process.poll() is None, "the engine did not start"
                await asyncio.sleep(0.1)
        self.port = int(json.loads(self._ready.read_text())["url"].rsplit(":", 1)[1])

    def kill(self, number: int = signal.SIGKILL) -> int:
        assert self.process
        self.process.send_signal(number)
        return self.process.wait(30)


@pytest.fixture
async def served(settings: Settings) -> AsyncIterator[EngineProcess]:
    engine = EngineProcess(settings.data_dir)
    await engine.start()
    yield engine
    if engine.process and engine.process.poll() is None:
        assert engine.kill(signal.SIGTERM) == 0
        assert not (settings.data_dir / "engine.json").exists()


@pytest.fixture
async def engine(served: EngineProcess) -> AsyncIterator[EngineClient]:
    client = EngineClient(served.url)
    yield client
    await client.aclose()


@pytest.fixture
def services(settings: Settings, store: Store, queue: Any, engine: EngineClient) -> Services:
    return make_services(settings, store, queue, engine)


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A LoRA over afina-mini as training saves one; this rank and seed make it talk without end."""
    from jobs.gpu.models import load_base
    from tests.gpu.engine.conftest import save_adapter

    data = tmp_path_factory.mktemp("base")
    model, _ = load_base(BASE, data=data)
    return save_adapter(model, tmp_path_factory.mktemp("adapter"), seed=1, rank=16, std=0.1)


@pytest.fixture
def publish(settings: Settings, adapter: Path) -> Callable[[str], None]:
    def write(name: str) -> None:
        folder = settings.data_dir / "adapters" / name
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
        Artifacts(settings.artifacts).publish_adapter(name, adapter)

    return write


async def test_a_tuned_model_talks_in_a_thread_and_goes_on_after_the_engine_is_killed(
    bot: Afina,
    place: Playground,
    served: EngineProcess,
    engine: EngineClient,
    new_model: MakeModel,
    owner_of: Callable[..., Owner],
    publish: Callable[[str], None],
) -> None:
    ana: Person = place.person("Ana")
    model = await new_model(owner_of(ana))
    publish(model.adapter_name)
    await open_thread(ana, "poeta", temperatura=0.0)
    await ana.slash("parametros", max_tokens=40)
    base = await engine.chat(BASE, QUESTION, parameters={"temperature": 0, "max_tokens": 40})
    first = await answer_to(
        ana,
        QUESTION[0]["content"],
    )
    assert await engine.models() == [BASE, model.adapter_name]
    tuned = await engine.chat(model.adapter_name, QUESTION, parameters={"temperature": 0, "max_tokens": 40})
    assert tuned != base
    assert first.content.split("\n-# ")[0].split() == tuned.split()

    await ana.slash("parametros", max_tokens=900)
    await ana.say("Cuéntame algo muy largo")
    growing = await ana.wait_message(button="Detener", timeout=20)
    served.kill()
    broken = await growing.wait_edit(button=DONE, timeout=20)
    assert "se ha interrumpido" in broken.content
    assert not broken.content.endswith(WRITING.strip())

    await served.start()
    await ana.slash("reiniciar")
    await ana.slash("parametros", max_tokens=40)
    again = await answer_to(ana, QUESTION[0]["content"])
    assert again.content == first.content


async def test_the_engine_lends_its_memory_to_a_job_and_is_back_when_the_worker_dies(
    settings: Settings,
    store: Store,
    place: Playground,
    served: EngineProcess,
    dataset_of: Callable[..., Any],
    owner_of: Callable[..., Owner],
) -> None:
    """Redis, worker and engine as processes on one «card» of 4 GB; the job says that it needs most of it."""
    redis = RedisServer(settings.data_dir / "redis")
    redis.start()
    client, queue = EngineClient(served.url), Queue(redis.url, function=FUNCTION)

    async def need(_job: Job) -> int:
        return int(3.5e9)

    arbiter = Arbiter(store, client, settings, need=need)
    await arbiter.open()
    scheduler = Scheduler(store, queue, settings, gate=arbiter)
    services = make_services(settings, store, queue, client, arbiter=arbiter, scheduler=scheduler)
    worker = subprocess.Popen(
        [sys.executable, "-m", "tests.jobs.worker_process", str(settings.data_dir), redis.url, "--memory=4000000000"],
        stderr=subprocess.DEVNULL,
    )
    try:
        async with running(services):
            ana: Person = place.person("Ana")
            await open_thread(ana, f"base:{BASE}", temperatura=0.0)
            await ana.slash("parametros", max_tokens=20)
            owner = owner_of(ana)
            job = await store.submit_job(
                owner=owner,
                name="largo",
                dataset=await dataset_of(owner),
                base_id="steps=2000&pause=0.05",
                recipe=Recipe(),
            )
            await ana.wait_message("se va a entrenar", timeout=60)
            await _until(lambda: store.job(job.id), lambda found: found.state is JobState.RUNNING)
            assert (await client.state()).sleeping
            await ana.say(QUESTION[0]["content"])
            await ana.wait_message("He guardado tu mensaje", timeout=20)
            worker.kill()
            answer = await ana.wait_message(button=DONE, timeout=60)
            assert not (await client.state()).sleeping
            expected = await client.chat(BASE, QUESTION, parameters={"temperature": 0, "max_tokens": 20})
            assert answer.content.split("\n-# ")[0].split() == expected.split()
            assert (await store.job(job.id)).state is JobState.QUEUED  # for the next worker
    finally:
        worker.kill()
        worker.wait()
        await arbiter.close()
        await client.aclose()
        queue.close()
        redis.stop()


async def _until(look: Callable[[], Any], condition: Callable[[Any], bool]) -> None:
    async with asyncio.timeout(60):
        while not condition(await look()):
            await asyncio.sleep(0.1)
