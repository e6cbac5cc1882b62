"""Any order of wishes, deaths and outages: no job is lost, none is done twice, and what is over stays over.

A real store, a real Redis and the real scheduler and feed; workers are played by hand, step by step, with the real
event files, and everything runs on a clock that only the machine moves.
"""

import asyncio
import contextlib
import shutil
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from bot.errors import WrongState
from bot.progress import ProgressFeed
from bot.records import Dataset, Owner
from bot.scheduler import Scheduler
from bot.settings import Settings
from bot.store import Store
from jobs.artifacts import Artifacts
from jobs.attempt import EventWriter, attempt_folder, connect, read_event_file, stop_key, stop_kind
from jobs.contract import JobState, Recipe, TrainRequest, WorkerInfo
from jobs.errors import QueueUnavailable
from jobs.queue import WORKER_KEY, Queue
from jobs.redis_server import RedisServer

LIST = "rq:queue:afina-train"
LEASE = 20.0
MEMORY = Path("/dev/shm")  # thousands of small transactions: no disk has to hear of them


class Trainer:
    """What a worker does, in steps: take, report, look whether to stop, finish, die."""

    def __init__(self, machine: "Afina", name: str) -> None:
        self.machine = machine
        self.name = name
        self.writer: EventWriter | None = None
        self.request: TrainRequest | None = None

    def take(self) -> None:
        client = connect(self.machine.url)
        rq_id = client.lpop(LIST)
        if rq_id is None:
            return
        job_id, attempt = rq_id.decode().rsplit("-", 1)
        folder = attempt_folder(self.machine.folder, job_id, int(attempt))
        if not client.set(f"afina:claim:{rq_id.decode()}", self.name, nx=True) or read_event_file(folder):
            return
        client.hset(f"rq:job:{rq_id.decode()}", "status", "started")
        job = self.machine.run(self.machine.store.job(job_id))
        self.request = job.request.model_copy(update={"attempt": int(attempt)})
        self.writer = EventWriter(folder, self.machine.url, job_id, int(attempt))
        self.writer.emit("phase", phase="training")

    def finish(self, last: str) -> None:
        if last == "result":
            made = self.machine.folder / "draft"
            made.mkdir(exist_ok=True)
            (made / "adapter_model.safetensors").write_text(self.request.adapter_name)
            (made / "adapter_config.json").write_text("{}")
            published = self.machine.artifacts.publish_adapter(self.request.adapter_name, made)
            self.writer.emit(
                "result", adapter_name=self.request.adapter_name, adapter_path=published.path,
                adapter_sha256=published.sha256, adapter_bytes=published.bytes, trained_tokens=1, seconds=1.0,
            )  # fmt: skip
        elif last == "failed":
            self.writer.emit("failed", "No.", "error", code="diverged", hint="")
        else:
            self.writer.emit("stopped", kind=last, step=1)
        self.put_down()

    def put_down(self) -> None:
        if self.writer:
            self.writer.close()
        self.writer = self.request = None


class Afina(RuleBasedStateMachine):
    @initialize()
    def begin(self) -> None:
        self.now = 1_000_000.0
        self.folder = Path(tempfile.mkdtemp(prefix="afina-machine-", dir=MEMORY if MEMORY.is_dir() else None))
        self.runner = asyncio.Runner()
        self.stack = contextlib.AsyncExitStack()
        self.server = RedisServer(self.folder / "redis")
        self.server.start()
        self.url = self.server.url
        self.up = True
        self.artifacts = Artifacts(str(self.folder))
        self.settings = Settings(data_dir=self.folder, reconcile_every=1e-6, lease_seconds=LEASE, max_running_jobs=2)
        self.trainers = [Trainer(self, f"w{number}") for number in range(2)]
        self.jobs: list[str] = []
        self.over: dict[str, tuple] = {}
        self.attempts: dict[str, int] = {}
        self.start_bot()

    def run(self, coroutine):
        return self.runner.run(coroutine)

    def start_bot(self) -> None:
        opening = Store.open(self.folder / "db", lease_seconds=LEASE, clock=lambda: self.now)
        self.store = self.run(self.stack.enter_async_context(opening))
        queue = Queue(self.url)
        self.scheduler = Scheduler(self.store, queue, self.settings)
        self.feed = ProgressFeed(self.store, queue)

    def teardown(self) -> None:
        if not hasattr(self, "folder"):
            return
        try:
            self.calm_down()
        finally:
            for trainer in self.trainers:
                trainer.put_down()
            self.run(self.stack.aclose())
            self.runner.close()
            self.server.stop()
            shutil.rmtree(self.folder)

    # What people do

    @rule(user=st.integers(1, 3))
    def submit(self, user) -> None:
        if len(self.jobs) >= 6:
            return
        owner = Owner(guild_id=1, user_id=user)
        dataset = Dataset(
            id="d", owner=owner, name="d", version=1, parent_id=None, path="d", sha256="0", bytes=1, format=None,
            verdict="valid", examples=1, usable=1, report={}, consent_at=None, created_at=1.0,
        )  # fmt: skip
        job = self.run(self.store.submit_job(owner=owner, name="m", dataset=dataset, base_id="b", recipe=Recipe()))
        self.jobs.append(job.id)

    @precondition(lambda self: self.jobs)
    @rule(data=st.data(), wish=st.sampled_from(["request_cancel", "request_pause", "resume_job"]))
    def wish(self, data, wish) -> None:
        job_id = data.draw(st.sampled_from(self.jobs))
        with contextlib.suppress(WrongState):
            self.run(getattr(self.store, wish)(job_id))

    # What the bot does

    @rule()
    def schedule(self) -> None:
        if self.up:
            self.introduce()
        with contextlib.suppress(QueueUnavailable):
            self.run(self.scheduler.tick())

    @rule()
    def listen(self) -> None:
        with contextlib.suppress(QueueUnavailable):
            self.run(self.feed.step(block_ms=0))

    @rule()
    def restart_bot(self) -> None:
        self.run(self.stack.aclose())
        self.stack = contextlib.AsyncExitStack()
        self.start_bot()

    # What workers do

    def introduce(self) -> None:
        client = connect(self.url)
        for trainer in self.trainers:
            info = WorkerInfo(name=trainer.name, hostname="h", device="cpu", device_name="d", memory_bytes=1)
            client.set(WORKER_KEY + trainer.name, info.model_dump_json())

    @precondition(lambda self: self.up)
    @rule(number=st.integers(0, 1))
    def take(self, number) -> None:
        if self.trainers[number].request is None:
            self.trainers[number].take()

    @rule(number=st.integers(0, 1), step=st.integers(1, 9))
    def train(self, number, step) -> None:
        if (trainer := self.trainers[number]).writer:
            trainer.writer.emit("metrics", step=step, total_steps=9)

    @rule(number=st.integers(0, 1), last=st.sampled_from(["result", "failed", "interrupted"]))
    def finish(self, number, last) -> None:
        if self.trainers[number].writer:
            self.trainers[number].finish(last)

    @precondition(lambda self: self.up)
    @rule(number=st.integers(0, 1))
    def obey(self, number) -> None:
        trainer = self.trainers[number]
        if trainer.request and (
            kind := stop_kind(connect(self.url).get(stop_key(trainer.request.job_id, trainer.request.attempt)))
        ):
            trainer.finish(kind)

    @rule(number=st.integers(0, 1))
    def die(self, number) -> None:
        self.trainers[number].put_down()

    # What the world does

    @rule(seconds=st.sampled_from([1.0, 15.0, 25.0]))
    def time_passes(self, seconds) -> None:
        self.now += seconds

    @precondition(lambda self: self.up)
    @rule()
    def flush_redis(self) -> None:
        connect(self.url).flushall()

    @precondition(lambda self: self.up)
    @rule()
    def stop_redis(self) -> None:
        self.server.stop()
        self.up = False

    @precondition(lambda self: not self.up)
    @rule()
    def start_redis(self) -> None:
        self.server = RedisServer(self.folder / "redis")
        self.server.start()
        self.up = True

    # What must always hold

    @invariant()
    def what_is_over_stays_over_and_attempts_only_grow(self) -> None:
        for job_id in getattr(self, "jobs", []):
            job = self.run(self.store.job(job_id))
            assert job.attempt >= self.attempts.get(job_id, 1)
            self.attempts[job_id] = job.attempt
            assert job.request.attempt == job.attempt
            models = [model for model in self.run(self.store.models(job.owner)) if model.job_id == job_id]
            assert len(models) == (job.state is JobState.SUCCEEDED)
            state = (job.state, job.attempt, tuple(models))
            if job_id in self.over:
                assert self.over[job_id] == state
            elif job.state.terminal:
                self.over[job_id] = state
                for model in models:
                    assert self.artifacts.adapter(model.adapter_name)

    def calm_down(self) -> None:
        """With good workers and a Redis that stays, every job that nobody paused comes to an end."""
        if not self.up:
            self.start_redis()
        for _ in range(60):
            for number in range(2):
                self.obey(number)
                self.finish(number, "result")
                self.take(number)
            self.listen()
            self.schedule()
            self.now += 7.0
            waiting = [job for job in self.run(self.store.open_jobs()) if job.state is not JobState.PAUSED]
            if not waiting:
                break
        assert waiting == [], self.explain(waiting)
        self.what_is_over_stays_over_and_attempts_only_grow()

    def explain(self, jobs) -> str:
        states = {job.request.rq_id: Queue(self.url).state(job.request.rq_id) for job in jobs}
        files = {
            job.id: [e.type for e in read_event_file(attempt_folder(self.folder, job.id, job.attempt))] for job in jobs
        }
        return f"{self.now} {jobs}\n{states}\n{files}\n{[(t.name, t.request) for t in self.trainers]}"


TestAfina = Afina.TestCase
TestAfina.settings = settings(
    max_examples=12,
    stateful_step_count=40,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # threads and Redis: shrinking takes too long
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
