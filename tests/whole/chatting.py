"""A bot and an engine as processes of their own on the loopback Discord, with models that people can talk to.

Everything may be killed and started again; the people stay.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import psutil

from bot.console.stack import free_port
from bot.records import Model, Owner
from jobs.contract import Event, EventType, Recipe, TrainResult
from playground import Limits, Playground
from tests.faults.stage import Stage

BASE = "afina-mini"
STARTED_WITHIN = 180.0  # seconds; a limit, not an expectation


class Chatting:
    """`vllm`: the executable to serve with instead of the embedded engine. `settings`: of the bot, as it reads them."""

    def __init__(
        self, stage: Stage, place: Playground, *, vllm: str | None = None, settings: Mapping[str, str] | None = None
    ) -> None:
        self.stage = stage
        self.place = place
        self._vllm = vllm
        self._settings = dict(settings or {})
        self.engine_url = f"http://127.0.0.1:{free_port()}"
        self.bot: subprocess.Popen[bytes] | None = None
        self.engine: subprocess.Popen[bytes] | None = None

    @classmethod
    @asynccontextmanager
    async def open(
        cls, folder: Path, *, limits: Limits | None = None, acknowledge_within: float = 60.0, **options: object
    ) -> AsyncIterator[Chatting]:
        """Nothing runs yet but the place."""
        async with (
            Playground(limits=limits or Limits(enabled=False), acknowledge_within=acknowledge_within) as place,
            Stage.open(folder) as stage,
        ):
            chatting = cls(stage, place, **options)
            try:
                yield chatting
            finally:
                if chatting.engine and chatting.engine.poll() is None:
                    await chatting.kill_engine()

    # Processes

    async def begin(self) -> None:
        self.start_engine()
        self.start_bot()
        await self.engine_answers()
        await self.place.wait_bot("charlar", "parametros", "comparar", timeout=STARTED_WITHIN)

    def start_bot(self) -> None:
        environment = {
            "DISCORD_TOKEN": self.place.token,
            "AFINA_DISCORD_API": self.place.api_url,
            "AFINA_DISCORD_GATEWAY": self.place.gateway_url,
            "AFINA_DATA_DIR": str(self.stage.folder),
            "REDIS_URL": self.stage.redis.url,
            "AFINA_ENGINE_URL": self.engine_url,
            "AFINA_DEFAULT_BASE": BASE,
            "AFINA_CHATS_PER_MINUTE": "10000",
            **self._settings,
        }
        self.bot = self.stage.run("bot", environment=environment)

    def start_engine(self) -> None:
        port = self.engine_url.rsplit(":", 1)[1]
        if self._vllm:
            self.engine = self._start_vllm(self._vllm, port)
            return
        where = ["--data", str(self.stage.folder), "--artifacts", str(self.stage.folder), "--port", port]
        environment = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": "1"}
        self.engine = self.stage.run(
            "jobs.gpu", "serve", "--base", BASE, "--threads", "1", *where, environment=environment
        )

    def _start_vllm(self, executable: str, port: str) -> subprocess.Popen[bytes]:
        """As docs/motor.md says, with what a CPU needs besides."""
        from jobs.gpu.models import available_folder

        base = available_folder(BASE, data=self.stage.folder)
        command = [executable, "serve", str(base), "--served-model-name", BASE, "--port", port, "--enable-lora"]
        sizes = ["--max-lora-rank", "64", "--max-loras", "8", "--max-cpu-loras", "64"]
        here = ["--dtype", "float32", "--max-model-len", "1024", "--enforce-eager"]
        process = subprocess.Popen(
            [*command, *sizes, *here],
            env={
                **os.environ,
                "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
                "VLLM_TARGET_DEVICE": "cpu",
                "VLLM_CPU_KVCACHE_SPACE": "1",
                "HF_HUB_OFFLINE": "1",
            },
            stdin=subprocess.DEVNULL,
            stdout=self.stage.log,
            stderr=self.stage.log,
            start_new_session=True,
        )
        self.stage.processes.append(process)
        return process

    async def engine_answers(self) -> None:
        async with httpx.AsyncClient() as http, asyncio.timeout(STARTED_WITHIN):
            while True:
                assert self.engine
                assert self.engine.poll() is None, f"the engine did not start\n{self.stage.tail()}"
                try:
                    if (await http.get(f"{self.engine_url}/health", timeout=2)).is_success:
                        return
                except httpx.HTTPError:
                    pass
                await asyncio.sleep(0.1)

    async def bot_is_ready(self) -> None:
        """Connected to Discord: what people do before reaches nobody."""
        async with asyncio.timeout(STARTED_WITHIN):
            while True:
                assert self.bot
                assert self.bot.poll() is None, f"the bot did not start\n{self.stage.tail()}"
                with suppress(OSError, ValueError):
                    if json.loads((self.stage.folder / "run" / "bot.json").read_text())["pid"] == self.bot.pid:
                        return
                await asyncio.sleep(0.1)

    async def kill_bot(self, number: int = signal.SIGKILL) -> int:
        assert self.bot
        return await asyncio.to_thread(self.stage.kill, self.bot, number)

    async def kill_engine(self, number: int = signal.SIGKILL) -> int:
        """With the processes that it started (vLLM's do the work), as a machine takes them along."""
        assert self.engine
        children = psutil.Process(self.engine.pid).children(recursive=True)
        code = await asyncio.to_thread(self.stage.kill, self.engine, number)
        for child in children:
            with suppress(psutil.NoSuchProcess):
                child.kill()
        return code

    # Models

    async def publish(self, owner: Owner, name: str, adapter: Path, *, shared: bool = True) -> Model:
        """The adapter in this folder as a model of `owner`, as a finished job leaves one."""
        job = await self.stage.store.submit_job(
            owner=owner, name=name, dataset=self.stage.dataset(owner), base_id=BASE, recipe=Recipe()
        )
        published = self.stage.artifacts.publish_adapter(job.request.adapter_name, adapter)
        result = TrainResult(
            adapter_name=job.request.adapter_name, adapter_path=published.path, adapter_sha256=published.sha256,
            adapter_bytes=published.bytes, trained_tokens=1, seconds=1.0,
        )  # fmt: skip
        event = Event(
            job_id=job.id, attempt=1, seq=1, created_at=time.time(), type=EventType.RESULT,
            data=json.loads(result.model_dump_json()),
        )  # fmt: skip
        await self.stage.store.apply_event(event)
        model = await self.stage.store.model(name, owner)
        return await self.stage.store.share_model(model.id, owner, True) if shared else model
