"""Everybody on the stage of a crash campaign: the processes that may be killed and the people who keep them busy."""

import asyncio
import json
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path

import httpx

from bot.console.stack import free_port
from bot.records import Owner
from jobs.contract import Event, EventType, Recipe, TrainResult
from playground import Playground
from tests.faults.stage import Stage
from tests.faults.talkers import Talker

BASE = "afina-mini"
PEOPLE = ("Ana", "Beto", "Carla")
# Kills are far denser than in life: a job may die more often here before it counts as its own fault.
MAX_ATTEMPTS = 1000


class Cast:
    """`embedded_engine`: the real one, else one that only speaks. `real`: workers can train, not only pretend."""

    def __init__(
        self, stage: Stage, place: Playground, *, workers: int, real: bool = False, embedded_engine: bool = False
    ) -> None:
        self.stage = stage
        self.place = place
        self._workers = workers
        self._real = real
        self._embedded = embedded_engine
        self._engine_url = f"http://127.0.0.1:{free_port()}"
        self.bots: list[subprocess.Popen] = []
        self.engines: list[subprocess.Popen] = []
        self.workers: list[subprocess.Popen] = []
        self.owners: list[Owner] = []
        self.talkers: list[Talker] = []
        self._talking: list[asyncio.Task] = []

    async def begin(self) -> None:
        """Everything runs, and everybody talks."""
        guild = self.place.guild("Taller")
        people = [self.place.person(name) for name in PEOPLE]
        self.owners = [Owner(guild_id=guild.id, user_id=person.id) for person in people]
        names = [await self._own_model(owner) for owner in self.owners[1:]]
        self.workers = [self.start_worker() for _ in range(self._workers)]
        self.engines = [self.start_engine()]
        self.bots = [self.start_bot()]
        await self.place.wait_bot("charlar", "parametros", timeout=120)
        models = [f"base:{BASE}", *names]
        self.talkers = [await Talker.begin(person, model) for person, model in zip(people, models, strict=True)]
        self._talking = [asyncio.create_task(talker.talk()) for talker in self.talkers]

    def start_worker(self) -> subprocess.Popen:
        return self.stage.start_worker(real=self._real)

    def start_engine(self) -> subprocess.Popen:
        port = self._engine_url.rsplit(":", 1)[1]
        if not self._embedded:
            return self.stage.run("tests.faults.engine_process", port)
        where = ["--data", str(self.stage.folder), "--artifacts", str(self.stage.folder), "--port", port]
        environment = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
        return self.stage.run("jobs.gpu", "serve", "--base", BASE, "--threads", "1", *where, environment=environment)

    def engine_answers(self) -> bool:
        try:
            return httpx.get(f"{self._engine_url}/health", timeout=2).is_success
        except httpx.HTTPError:
            return False

    def start_bot(self) -> subprocess.Popen:
        environment = {
            "DISCORD_TOKEN": self.place.token,
            "AFINA_DISCORD_API": self.place.api_url,
            "AFINA_DISCORD_GATEWAY": self.place.gateway_url,
            "AFINA_DATA_DIR": str(self.stage.folder),
            "REDIS_URL": self.stage.redis.url,
            "AFINA_ENGINE_URL": self._engine_url,
            "AFINA_LEASE_SECONDS": "15" if self._real else "3",
            "AFINA_RECONCILE_EVERY": "0.5",
            "AFINA_MAX_ATTEMPTS": str(MAX_ATTEMPTS),
            "AFINA_MAX_RUNNING_JOBS": "2",
            "AFINA_CHATS_PER_MINUTE": "100000",
            "AFINA_STREAM_EDIT_EVERY": "0.2",
            "AFINA_CARD_EDIT_EVERY": "1",
        }
        return self.stage.run("tests.faults.whole_bot", environment=environment)

    async def audit_chats(self, findings: dict[str, list[str]], ends: Counter[str]) -> None:
        """Let everybody hear their last answer; add what is lost, doubled and torn, and how answers ended."""
        for talker in self.talkers:
            talker.over = True
        await asyncio.gather(*self._talking)
        for talker in self.talkers:
            found, ended = await talker.audit()
            ends.update(ended)
            for name, lines in found.items():
                findings[name] += lines
        findings["lost"] += [json.dumps(request, default=str) for request in self.place.unhandled]

    async def leave(self) -> None:
        for task in self._talking:
            task.cancel()
        await asyncio.gather(*self._talking, return_exceptions=True)

    async def _own_model(self, owner: Owner) -> str:
        """A model of theirs, as a finished job leaves one; its name."""
        name = f"propio {owner.user_id}"
        job = await self.stage.store.submit_job(
            owner=owner, name=name, dataset=self.stage.dataset(owner), base_id=BASE, recipe=Recipe()
        )
        with tempfile.TemporaryDirectory() as folder:
            await asyncio.to_thread(self._draw_adapter, Path(folder), f"{job.id} {job.attempt}".encode() * 1000)
            published = self.stage.artifacts.publish_adapter(job.request.adapter_name, Path(folder))
        result = TrainResult(
            adapter_name=job.request.adapter_name, adapter_path=published.path, adapter_sha256=published.sha256,
            adapter_bytes=published.bytes, trained_tokens=1, seconds=1.0,
        )  # fmt: skip
        event = Event(
            job_id=job.id, attempt=1, seq=1, created_at=time.time(), type=EventType.RESULT,
            data=result.model_dump(mode="json"),
        )  # fmt: skip
        await self.stage.store.apply_event(event)
        return name

    def _draw_adapter(self, folder: Path, weights: bytes) -> None:
        if not self._embedded:
            (folder / "adapter_config.json").write_text("{}")
            (folder / "adapter_model.safetensors").write_bytes(weights)
            return
        from jobs.gpu.models import load_base
        from tests.gpu.engine.conftest import save_adapter

        model, _ = load_base(BASE, data=self.stage.folder)
        save_adapter(model, folder, seed=1, rank=8)
        (folder / "README.md").unlink(missing_ok=True)
