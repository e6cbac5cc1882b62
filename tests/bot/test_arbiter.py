"""One card for training and chat: the engine stays where both fit, gives way where they do not, and always comes back.

Store, scheduler and HTTP are real; the engine is scripted (vLLM's routes), and the test speaks for the worker.
The clock advances one second a round.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from bot.arbiter import DRAIN_SECONDS, Arbiter, Phase
from bot.engine import EngineClient, EngineResting
from bot.records import Dataset, Job, Owner
from bot.scheduler import Scheduler
from bot.settings import Settings
from bot.store import Store
from jobs.contract import EventType, JobState, Recipe, WorkerInfo
from tests.bot.protocol_engine import BASE, ProtocolEngine, protocol_engine
from tests.bot.scripted import ScriptedQueue, ScriptedWorker

GB = 10**9
OWNER = Owner(guild_id=1, user_id=2)
HERE = socket.gethostname()
CARD = WorkerInfo(name="uno", hostname=HERE, device="cuda", device_name="L4", memory_bytes=24 * GB)
TAKES = {"hostname": HERE, "device": "cuda", "memory_bytes": 14 * GB}
THREAD, MESSAGE = 77, 1001


class Scene:
    """A bot without Discord: what was decided survives `restart`."""

    def __init__(self, engine: ProtocolEngine, settings: Settings) -> None:
        self.engine = engine
        self.settings = settings
        self.queue = ScriptedQueue(crew=[CARD])
        self.now = 1_000_000.0
        self.needs: dict[str, int] = {}  # bytes by name of the job
        self.told: list[Phase] = []

    @asynccontextmanager
    async def opened(self) -> AsyncIterator[Scene]:
        path = self.settings.database
        async with Store.open(path, lease_seconds=10_000, clock=lambda: self.now) as self.store:
            self.client = EngineClient(self.engine.url)
            self.arbiter = Arbiter(self.store, self.client, self.settings, need=self._need)
            self.arbiter.subscribe(self._hear)
            await self.arbiter.open()
            self.scheduler = Scheduler(self.store, self.queue, self.settings, gate=self.arbiter)
            try:
                yield self
            finally:
                await self.arbiter.close()
                await self.client.aclose()

    async def _need(self, job: Job) -> int:
        return self.needs[job.name]

    async def _hear(self, phase: Phase) -> None:
        self.told.append(phase)

    async def submit(self, name: str, need: int, owner: Owner = OWNER) -> Job:
        self.needs[name] = need
        dataset = Dataset(
            id="datos", owner=owner, name="datos", version=1, parent_id=None, path="datasets/datos/v1.jsonl",
            sha256="0" * 64, bytes=1, format="messages", verdict="valid", examples=1, usable=1, report={},
            consent_at=1.0, created_at=1.0,
        )  # fmt: skip
        return await self.store.submit_job(owner=owner, name=name, dataset=dataset, base_id=BASE, recipe=Recipe())

    async def round(self) -> None:
        self.now += 1
        await self.scheduler.tick()
        await asyncio.sleep(0.02)  # for an order that is on its way

    async def rounds(self, count: int) -> None:
        for _ in range(count):
            await self.round()

    async def until(self, condition: Callable[[], bool], most: int = 60) -> int:
        """Rounds until `condition`; fails after `most`."""
        for number in range(most):
            if condition():
                return number
            await self.round()
        raise AssertionError(f"in vain: {self.engine.orders}, {await self.arbiter.rest()}")

    async def phase(self) -> Phase:
        return (await self.arbiter.rest()).phase

    def started(self) -> list[str]:
        return [request.job_id for request in self.queue.submitted]

    async def starts(self, job: Job) -> ScriptedWorker:
        """The job is handed over, and a worker takes it."""
        await self.until(lambda: job.id in self.started())
        worker = ScriptedWorker(self.queue, next(r for r in self.queue.submitted if r.job_id == job.id))
        worker.emit(EventType.PHASE, phase="starting")
        await self.hear()
        return worker

    async def hear(self) -> None:
        """What the progress feed does."""
        for _, event in self.queue.read_events(block_ms=0):
            await self.store.apply_event(event)

    async def ends(self, worker: ScriptedWorker) -> None:
        worker.stop("cancelled")
        await self.hear()


@pytest.fixture
async def make(tmp_path: Path) -> AsyncIterator[Callable[..., Scene]]:
    async with protocol_engine() as engine:
        engine.footprint = dict(TAKES)

        def scene(**settings: Any) -> Scene:
            wanted = {"data_dir": tmp_path, "max_running_jobs": 5, "engine_url": engine.url, **settings}
            return Scene(engine, Settings(_env_file=None, **wanted))

        yield scene


@pytest.mark.parametrize(
    ("settings", "footprint", "worker", "need", "gives_way"),
    [
        ({}, TAKES, CARD, 8, False),
        ({}, TAKES, CARD, 9, True),  # 14 + 9 is more than 92 % of 24
        ({}, {**TAKES, "hostname": "otra"}, CARD, 20, False),
        ({}, {**TAKES, "device": "cpu"}, CARD, 20, False),
        ({}, {}, CARD, 2, True),  # vLLM on this machine takes nearly the whole card unless it is told otherwise
        ({}, {}, CARD.model_copy(update={"hostname": "otra"}), 20, False),
        ({"engine_gpu_share": 0.45}, {}, CARD, 11, False),
        ({"engine_gpu_share": 0.45}, {}, CARD, 12, True),
        ({"engine_gpu_share": 0.45}, {}, CARD.model_copy(update={"hostname": "contenedor"}), 12, True),
        ({"engine_gpu_share": 0.45}, {}, CARD.model_copy(update={"device": "cpu"}), 20, False),
        ({"gpu_sharing": "separate"}, TAKES, CARD, 20, False),
        ({"gpu_sharing": "training"}, TAKES, CARD, 1, True),
        ({"gpu_sharing": "chat"}, TAKES, CARD, 9, True),  # nobody has said a word
    ],
)
async def test_by_memory_and_setting_the_engine_stays_or_gives_way_and_the_job_starts(
    make: Callable[..., Scene],
    settings: dict[str, Any],
    footprint: dict[str, Any],
    worker: WorkerInfo,
    need: int,
    gives_way: bool,
) -> None:
    scene = make(**settings)
    scene.engine.footprint = footprint
    scene.queue.crew = [worker]
    async with scene.opened():
        job = await scene.submit("uno", need * GB)
        running = await scene.starts(job)
        assert scene.engine.asleep is gives_way
        assert scene.told == ([Phase.YIELDING] if gives_way else [])
        await scene.ends(running)
        await scene.rounds(3)
        assert scene.engine.orders == (["sleep", "wake"] if gives_way else [])
        assert scene.told == ([Phase.YIELDING, Phase.AWAKE] if gives_way else [])


async def test_while_it_is_asleep_nothing_is_asked_of_it_and_adapters_are_loaded_anew_afterwards(
    make: Callable[..., Scene],
) -> None:
    async with make().opened() as scene:
        await scene.client.ensure_adapter("modelo", "/x")
        running = await scene.starts(await scene.submit("uno", 20 * GB))
        for question in (scene.client.chat(BASE, [{"role": "user", "content": "hola"}]), scene.client.count(BASE, [])):
            with pytest.raises(EngineResting):
                await question
        with pytest.raises(EngineResting):
            await scene.client.ensure_adapter("modelo", "/x")
        assert not scene.client.has("modelo")
        await scene.ends(running)
        await scene.until(lambda: not scene.client.resting)
        await scene.client.ensure_adapter("modelo", "/x")
        assert scene.engine.loads == ["modelo", "modelo"]
        assert scene.engine.asked_asleep == 0


async def test_an_answer_that_is_being_written_may_end_first_but_not_for_ever(make: Callable[..., Scene]) -> None:
    async with make().opened() as scene:
        scene.engine.pause = 0.05
        scene.engine.say = lambda _body: ["a"] * 10_000
        async with aclosing(scene.client.stream(BASE, [{"role": "user", "content": "hola"}])) as pieces:
            await anext(pieces)
            job = await scene.submit("uno", 20 * GB)
            waited = await scene.until(lambda: scene.engine.asleep)
            assert waited >= DRAIN_SECONDS
            await scene.starts(job)


async def test_two_jobs_in_a_row_move_the_engine_once(make: Callable[..., Scene]) -> None:
    async with make().opened() as scene:
        first, second = [await scene.submit(name, 20 * GB) for name in ("uno", "dos")]
        await scene.ends(await scene.starts(first))
        running = await scene.starts(second)
        assert scene.engine.orders == ["sleep"]
        await scene.ends(running)
        await scene.rounds(3)
        assert scene.engine.orders == ["sleep", "wake"]


async def test_between_two_jobs_who_waited_is_answered_first(make: Callable[..., Scene]) -> None:
    async with make().opened() as scene:
        first, second = [await scene.submit(name, 20 * GB) for name in ("uno", "dos")]
        running = await scene.starts(first)
        await scene.store.keep_waiting(THREAD, MESSAGE)
        await scene.ends(running)
        await scene.until(lambda: scene.engine.orders == ["sleep", "wake"])
        await scene.rounds(5)
        assert second.id not in scene.started()
        await scene.store.stop_waiting(THREAD)
        await scene.starts(second)
        assert scene.engine.orders == ["sleep", "wake", "sleep"]


async def test_training_first_goes_on_to_the_next_job_whoever_waits(make: Callable[..., Scene]) -> None:
    async with make(gpu_sharing="training").opened() as scene:
        first, second = [await scene.submit(name, 20 * GB) for name in ("uno", "dos")]
        running = await scene.starts(first)
        await scene.store.keep_waiting(THREAD, MESSAGE)
        await scene.ends(running)
        await scene.starts(second)
        assert scene.engine.orders == ["sleep"]


async def test_chat_first_lets_a_job_wait_until_nobody_talks(make: Callable[..., Scene]) -> None:
    async with make(gpu_sharing="chat", gpu_chat_idle=1.0).opened() as scene:
        await scene.store.seen("chat", MESSAGE)
        small, large = await scene.submit("pequeño", 2 * GB), await scene.submit("grande", 20 * GB)
        await scene.rounds(40)
        assert scene.started() == [small.id]  # it fits beside
        await scene.store.seen("chat", MESSAGE + 1)
        await scene.rounds(50)
        assert scene.engine.orders == []
        scene.queue.crew.append(CARD.model_copy(update={"name": "dos"}))
        await scene.starts(large)
        assert scene.engine.orders == ["sleep"]


async def test_a_job_that_waits_for_people_can_say_so(make: Callable[..., Scene]) -> None:
    async with make(gpu_sharing="chat", gpu_chat_idle=1.0).opened() as scene:
        await scene.store.seen("chat", MESSAGE)
        job, next_one = await scene.submit("uno", 20 * GB), await scene.submit("dos", 20 * GB)
        await scene.rounds(3)
        assert scene.arbiter.behind_chat(job.id)
        assert not scene.arbiter.behind_chat(next_one.id)  # it waits for its turn
        await scene.starts(job)
        assert not scene.arbiter.behind_chat(job.id)


async def test_a_job_that_is_cancelled_before_it_starts_does_not_put_the_engine_to_sleep(
    make: Callable[..., Scene],
) -> None:
    async with make().opened() as scene:
        scene.engine.pause = 0.05
        scene.engine.say = lambda _body: ["a"] * 10_000
        async with aclosing(scene.client.stream(BASE, [{"role": "user", "content": "hola"}])) as pieces:
            await anext(pieces)
            job = await scene.submit("uno", 20 * GB)
            await scene.rounds(3)
            assert await scene.phase() is Phase.YIELDING
            await scene.store.request_cancel(job.id, OWNER)
            await scene.rounds(3)
        assert (await scene.phase(), scene.engine.orders) == (Phase.AWAKE, [])
        assert scene.told == [Phase.YIELDING, Phase.AWAKE]
        assert not scene.client.resting


async def test_a_worker_that_dies_gives_the_card_back(make: Callable[..., Scene]) -> None:
    async with make().opened() as scene:
        job = await scene.submit("uno", 20 * GB)
        await scene.starts(job)
        scene.queue.crew = []
        held = await scene.store.job(job.id)
        await scene.store.give_up_attempt(job.id, 1, seen_lease=held.lease_until)
        assert (await scene.store.job(job.id)).state is JobState.QUEUED
        await scene.until(lambda: scene.engine.orders == ["sleep", "wake"])
        scene.queue.crew = [CARD]
        await scene.until(lambda: len(scene.queue.submitted) == 2)
        assert scene.engine.asleep


@pytest.mark.parametrize("status", [404, 500])
async def test_an_engine_that_cannot_give_way_does_not_stop_training(make: Callable[..., Scene], status: int) -> None:
    async with make().opened() as scene:
        scene.engine.order_refusal = (status, "no")
        job = await scene.submit("uno", 20 * GB)
        running = await scene.starts(job)
        assert scene.engine.orders == ["sleep"] * 3
        assert not scene.client.resting
        await scene.rounds(20)
        assert scene.engine.orders == ["sleep"] * 3
        await scene.ends(running)
        scene.engine.order_refusal = None
        await scene.starts(await scene.submit("dos", 20 * GB))
        assert scene.engine.asleep


async def test_an_engine_that_is_away_takes_no_memory_and_gives_way_when_it_comes(make: Callable[..., Scene]) -> None:
    async with make().opened() as scene:
        port = int(scene.engine.url.rsplit(":", 1)[1])
        await scene.engine.stop()
        await scene.starts(await scene.submit("uno", 20 * GB))
        await scene.engine.start(port)
        await scene.until(lambda: scene.engine.asleep)


async def test_an_engine_that_is_restarted_beside_a_job_gives_way_again_and_wakes_once(
    make: Callable[..., Scene],
) -> None:
    async with make().opened() as scene:
        running = await scene.starts(await scene.submit("uno", 20 * GB))
        await scene.engine.restart()
        await scene.until(lambda: scene.engine.asleep)
        assert scene.told == [Phase.YIELDING]
        await scene.engine.restart()
        await scene.ends(running)
        await scene.until(lambda: not scene.client.resting)
        assert scene.told == [Phase.YIELDING, Phase.AWAKE]


async def test_an_engine_that_cannot_wake_is_asked_again_until_it_does(make: Callable[..., Scene]) -> None:
    async with make().opened() as scene:
        running = await scene.starts(await scene.submit("uno", 20 * GB))
        scene.engine.order_refusal = (503, "no memory")
        await scene.ends(running)
        await scene.rounds(12)
        assert scene.client.resting
        scene.engine.order_refusal = None
        await scene.until(lambda: not scene.client.resting)
        assert not scene.engine.asleep


async def test_a_bot_that_is_restarted_finds_out_how_things_stand(make: Callable[..., Scene]) -> None:
    """While the engine sleeps beside a job; after the job has ended unseen; in the middle of each order."""
    scene = make()
    async with scene.opened():
        job = await scene.submit("uno", 20 * GB)
        running = await scene.starts(job)
    async with scene.opened():
        assert scene.client.resting
        await scene.rounds(10)
        assert scene.engine.orders == ["sleep"]
    running.stop("cancelled")
    async with scene.opened():
        await scene.hear()
        await scene.until(lambda: not scene.client.resting)
        assert scene.engine.orders == ["sleep", "wake"]
        second = await scene.submit("dos", 20 * GB)
        await scene.round()
        assert await scene.phase() in (Phase.YIELDING, Phase.ASLEEP)
    scene.engine.asleep = True  # the order arrived, and nobody heard so
    async with scene.opened():
        assert scene.client.resting
        await scene.ends(await scene.starts(second))
        scene.engine.pause = 0
        await scene.scheduler.tick()
    async with scene.opened():
        await scene.until(lambda: not scene.client.resting)
        assert not scene.engine.asleep
        assert scene.engine.asked_asleep == 0


async def test_an_engine_that_sleeps_for_nobody_is_woken(make: Callable[..., Scene]) -> None:
    async with make().opened() as scene:
        scene.engine.asleep = True
        await scene.until(lambda: scene.engine.orders == ["wake"])
    other = make(gpu_sharing="separate")
    async with other.opened():
        other.engine.asleep = True
        await other.rounds(10)
        assert other.engine.orders == ["wake"]
