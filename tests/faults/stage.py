"""The whole way of a job on real processes: SQLite, embedded Redis, a bot without Discord, workers with a fake trainer.

Everything waits on conditions with generous limits; nothing here depends on how fast the machine is.
"""

import asyncio
import contextlib
import hashlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import replace
from pathlib import Path

import psutil

from bot.console.process import die_with_parent
from bot.records import CONSOLE, Dataset, Job, Model, Owner
from bot.store import Store
from jobs.artifacts import Artifacts
from jobs.attempt import attempt_folder, connect, read_event_file
from jobs.contract import EventType, JobState, Recipe
from jobs.redis_server import RedisServer
from playground import task

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds; a limit, not an expectation


class Stage:
    def __init__(self, folder: Path, store: Store) -> None:
        self.folder = folder
        self.store = store
        self.artifacts = Artifacts(str(folder))
        self.redis = RedisServer(folder / "redis")
        self.processes: list[subprocess.Popen] = []
        self.log = (folder / "processes.log").open("ab")

    @classmethod
    @contextlib.asynccontextmanager
    async def open(cls, folder: Path) -> AsyncIterator["Stage"]:
        async with Store.open(folder / "afina.sqlite3") as store:
            stage = cls(folder, store)
            stage.redis.start()
            try:
                yield stage
            finally:
                stage.close()

    def close(self) -> None:
        for process in list(self.processes):
            self.kill(process)
        self.redis.stop()
        self.log.close()

    # Processes

    def run(self, *arguments: str, environment: Mapping[str, str] | None = None) -> subprocess.Popen:
        """`python -m ARGUMENTS` until this stage closes, or dies itself."""
        process = subprocess.Popen(
            [sys.executable, "-m", *arguments],
            cwd=ROOT,
            env={**os.environ, **(environment or {})},
            preexec_fn=die_with_parent(),  # noqa: PLW1509 - it only calls prctl
            stdin=subprocess.DEVNULL,
            stdout=self.log,
            stderr=self.log,
            start_new_session=True,
        )
        self.processes.append(process)
        return process

    def start_bot(self, crash_point: str = "", *, max_attempts: int = 3) -> subprocess.Popen:
        arguments = (str(self.folder), self.redis.url, crash_point, str(max_attempts))
        return self.run("tests.faults.bot_process", *arguments)

    def start_worker(self, *, real: bool = False) -> subprocess.Popen:
        """`real`: it can also train afina-mini, and takes as long to start as one that can."""
        return self.run("tests.jobs.worker_process", str(self.folder), self.redis.url, *(["--real"] if real else []))

    def start(self, *, workers: int = 1) -> tuple[subprocess.Popen, subprocess.Popen]:
        """A bot and workers; the bot and the first worker."""
        first, *_ = [self.start_worker() for _ in range(workers)]
        return self.start_bot(), first

    def kill(self, process: subprocess.Popen, number: int = signal.SIGKILL) -> int:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(number)
        code = process.wait(timeout=PATIENCE)
        if process in self.processes:
            self.processes.remove(process)
        return code

    def restart_redis(self) -> None:
        self.redis.stop()
        self.redis = RedisServer(self.folder / "redis")
        self.redis.start()

    def client(self):
        return connect(self.redis.url)

    @staticmethod
    def horses(worker: subprocess.Popen) -> list[psutil.Process]:
        with contextlib.suppress(psutil.NoSuchProcess):
            return psutil.Process(worker.pid).children()
        return []

    # Jobs

    async def submit(
        self, options: str = "steps=10&pause=0.02", *, owner: Owner = CONSOLE, name: str = "modelo"
    ) -> Job:
        """`options`: see tests/jobs/fake.py."""
        return await self.store.submit_job(
            owner=owner, name=name, dataset=self.dataset(owner), base_id=options, recipe=Recipe()
        )

    async def submit_real(self, *, owner: Owner = CONSOLE, name: str = "modelo") -> Job:
        """A job that trains afina-mini on a few rows of the demo's task."""
        rows, _ = task.rows(seed=3, train=40, held_out=8)
        file = self.folder / "avisos.jsonl"
        file.write_text(task.to_jsonl(rows), encoding="utf-8")
        path = self.artifacts.put_dataset("avisos", 1, file)
        recipe = Recipe(rank=4, learning_rate=1e-3, epochs=3, batch_size=8, max_length=128, packing=False)
        dataset = replace(self.dataset(owner), path=path)
        return await self.store.submit_job(owner=owner, name=name, dataset=dataset, base_id="afina-mini", recipe=recipe)

    @staticmethod
    def dataset(owner: Owner) -> Dataset:
        return Dataset(
            id="datos", owner=owner, name="datos", version=1, parent_id=None, path="datasets/datos/v1.jsonl",
            sha256="0" * 64, bytes=1, format="messages", verdict="valid", examples=1, usable=1, report={},
            consent_at=1.0, created_at=1.0,
        )  # fmt: skip

    async def until(self, condition: Callable, what: str = "condition") -> None:
        end = time.monotonic() + PATIENCE
        while not await _truth(condition):
            assert time.monotonic() < end, f"waited in vain for: {what}\n{self.tail()}"
            await asyncio.sleep(0.02)

    async def until_state(self, job: Job, *states: JobState) -> Job:
        async def there() -> bool:
            return (await self.store.job(job.id)).state in states

        await self.until(there, f"{job.id} to be {states}, is {(await self.store.job(job.id))}")
        return await self.store.job(job.id)

    async def until_step(self, job: Job, step: int) -> Job:
        async def there() -> bool:
            now = await self.store.job(job.id)
            return now.step >= step or now.state.terminal

        await self.until(there, f"{job.id} to reach step {step}")
        return await self.store.job(job.id)

    async def done(self, job: Job) -> Job:
        """Wait for the end and check that the job ended well exactly once: one model, whole, of the last attempt."""
        over = await self.until_state(job, JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)
        assert over.state is JobState.SUCCEEDED, f"{over}\n{self.tail()}"
        await self.audit(over)
        return over

    async def audit(self, job: Job) -> None:
        """0 lost, 0 doubled, 0 torn: for a job that is over."""
        models = [model for model in await self.store.models(job.owner) if model.job_id == job.id]
        events = await self.store.events(job.id)
        assert len({(event.attempt, event.seq) for event in events}) == len(events)
        results = [event for event in events if event.type is EventType.RESULT]
        if job.state is not JobState.SUCCEEDED:
            assert (models, results) == ([], [])
            return
        assert (len(models), len(results)) == (1, 1), (models, results)
        assert self.whole(job, models[0])

    def whole(self, job: Job, model: Model) -> bool:
        """The weights are those that the last attempt published."""
        weights = (self.artifacts.adapter(model.adapter_name) / "adapter_model.safetensors").read_bytes()
        pretended = job.request.base_id != "afina-mini"
        if pretended and weights != f"{job.id} {job.attempt}".encode() * 1000:
            return False
        return hashlib.sha256(weights).hexdigest() == model.adapter_sha256

    def started_attempts(self, job: Job) -> list[int]:
        """Attempts of which a trainer wrote a first word."""
        folders = (self.folder / "jobs" / job.id).glob("[0-9]*")
        return sorted(int(folder.name) for folder in folders if read_event_file(folder))

    def history(self, job: Job, attempt: int) -> list:
        return read_event_file(attempt_folder(self.folder, job.id, attempt))

    def tail(self) -> str:
        self.log.flush()
        return (self.folder / "processes.log").read_bytes()[-6000:].decode(errors="replace")


async def _truth(condition: Callable) -> bool:
    answer = condition()
    return bool(await answer if asyncio.iscoroutine(answer) else answer)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def stop_process(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
