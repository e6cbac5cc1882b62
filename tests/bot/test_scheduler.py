"""Who is next, and how a job is looked after; a real store and a real Redis, no workers."""

import asyncio

import pytest

from bot.lock import only_one
from bot.records import Dataset, Job, Owner
from bot.scheduler import Scheduler, pick, target
from bot.settings import Settings
from bot.store import Store
from jobs.attempt import attempt_folder, connect
from jobs.contract import Event, EventType, JobState, Recipe, TrainRequest, WorkerInfo
from jobs.errors import AfinaError, QueueUnavailable
from jobs.queue import WORKER_KEY, Queue
from jobs.redis_server import RedisServer

ANA, LUIS, EVA = (Owner(guild_id=1, user_id=number) for number in (1, 2, 3))


def job(number: int, owner: Owner = ANA, state: JobState = JobState.QUEUED) -> Job:
    return Job(
        id=f"trabajo{number}", owner=owner, name="m", state=state, phase=None, attempt=1, step=0, total_steps=0,
        request=TrainRequest(
            job_id=f"trabajo{number}", attempt=1, base_id="b", dataset_path="d", dataset_sha256="0", adapter_name="a"
        ),
        cancel_requested=False, pause_requested=False, lease_until=None, error=None, dataset_id="d",
        created_at=float(number), started_at=None, finished_at=None, channel_id=None, message_id=None,
    )  # fmt: skip


def worker(name: str, memory: int = 8, **more) -> WorkerInfo:
    return WorkerInfo(name=name, hostname="h", device="cpu", device_name="d", memory_bytes=memory, **more)


def ids(jobs) -> list[int]:
    return [int(job.id.removeprefix("trabajo")) for job in jobs]


class TestPick:
    def test_without_workers_everything_waits(self):
        assert pick([job(1)], []) == []

    def test_one_job_waits_in_redis_per_worker(self):
        jobs = [job(number, Owner(guild_id=1, user_id=number)) for number in range(5)]
        assert ids(pick(jobs, [worker("a"), worker("b")])) == [0, 1]

    def test_what_already_waits_there_counts_and_what_runs_does_not(self):
        running, waiting = job(1, ANA, JobState.RUNNING), job(2, LUIS, JobState.DISPATCHED)
        assert pick([running, waiting, job(3, EVA)], [worker("a")]) == []
        assert ids(pick([running, job(3, EVA)], [worker("a")])) == [3]

    def test_everybody_is_served_before_anybody_twice(self):
        jobs = [job(1), job(2), job(3, LUIS), job(4, EVA)]
        workers = [worker(name) for name in "abcd"]
        assert ids(pick(jobs, workers, max_running=2)) == [1, 3, 4, 2]

    def test_nobody_has_more_than_their_share_with_workers(self):
        jobs = [job(1, ANA, JobState.RUNNING), job(2), job(3, LUIS)]
        workers = [worker(name) for name in "abc"]
        assert ids(pick(jobs, workers, max_running=1)) == [3]
        assert ids(pick(jobs, workers, max_running=2)) == [3, 2]

    def test_everybody_may_have_a_share_of_their_own(self):
        jobs = [job(1, ANA, JobState.RUNNING), job(2), job(3, LUIS), job(4, LUIS), job(5, EVA)]
        workers = [worker(name) for name in "abcdef"]
        assert ids(pick(jobs, workers, max_running={ANA: None, LUIS: 1, EVA: 1})) == [3, 5, 2]

    def test_paused_and_finished_jobs_and_paused_workers_do_not_take_part(self):
        jobs = [job(1, ANA, JobState.PAUSED), job(2, LUIS, JobState.SUCCEEDED), job(3, EVA)]
        assert pick(jobs, [worker("a", paused=True)]) == []
        assert ids(pick(jobs, [worker("a")])) == [3]

    def test_a_job_that_fits_nowhere_does_not_hold_up_the_others(self):
        def fits(job, worker):
            return worker.memory_bytes >= 16 or job.id != "trabajo1"

        assert ids(pick([job(1), job(2, LUIS)], [worker("small")], fits=fits)) == [2]
        assert ids(pick([job(1), job(2, LUIS)], [worker("small"), worker("big", 16)], fits=fits)) == [1, 2]

    def test_a_job_goes_where_it_fits(self):
        def fits(job, worker):
            return worker.memory_bytes >= 16

        workers = [worker("big", 32, current_job="x-1"), worker("mid", 16), worker("small")]
        assert target(job(1), workers, fits) == "mid"
        assert target(job(1), workers[:2], fits) is None


class Clock:
    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def store(tmp_path, clock):
    async with Store.open(tmp_path / "afina.sqlite3", lease_seconds=20, clock=clock) as store:
        yield store


@pytest.fixture
def redis_server(tmp_path):
    with RedisServer(tmp_path / "redis") as server:
        yield server


@pytest.fixture
def queue(redis_server):
    return Queue(redis_server.url)


@pytest.fixture
def announced():
    return []


@pytest.fixture
def scheduler(store, queue, tmp_path, redis_server, announced):
    scheduler = Scheduler(store, queue, Settings(data_dir=tmp_path, reconcile_every=1e-6, lease_seconds=20))

    async def listen(job):
        announced.append((job.state, job.attempt))

    scheduler.subscribe(listen)
    connect(redis_server.url).set(WORKER_KEY + "w1", worker("w1").model_dump_json())
    return scheduler


async def submit(store, name: str = "m") -> Job:
    dataset = Dataset(
        id="d", owner=ANA, name="d", version=1, parent_id=None, path="d", sha256="0", bytes=1, format=None,
        verdict="valid", examples=1, usable=1, report={}, consent_at=None, created_at=1.0,
    )  # fmt: skip
    return await store.submit_job(owner=ANA, name=name, dataset=dataset, base_id="b", recipe=Recipe())


def event(job: Job, seq: int, type: str, **data) -> Event:
    return Event(job_id=job.id, attempt=job.attempt, seq=seq, created_at=0.0, type=EventType(type), data=data)


def take(redis_server, job: Job, status: str = "started") -> None:
    """As a worker does that pops the job and says nothing."""
    client = connect(redis_server.url)
    client.delete("rq:queue:afina-train")
    client.hset(f"rq:job:{job.request.rq_id}", "status", status)


class TestARound:
    async def test_hands_a_job_over_and_says_so(self, scheduler, store, queue, announced):
        job = await submit(store)
        await scheduler.tick()
        assert (await store.job(job.id)).state is JobState.DISPATCHED
        assert queue.state(job.request.rq_id) == "queued"
        assert announced == [(JobState.DISPATCHED, 1)]

    async def test_without_redis_changes_nothing(self, scheduler, store, redis_server):
        job = await submit(store)
        redis_server.stop()
        with pytest.raises(QueueUnavailable):
            await scheduler.tick()
        assert (await store.job(job.id)).state is JobState.QUEUED

    async def test_sends_again_what_redis_lost(self, scheduler, store, queue, redis_server):
        job = await submit(store)
        await scheduler.tick()
        client = connect(redis_server.url)
        client.flushall()
        client.set(WORKER_KEY + "w1", worker("w1").model_dump_json())
        await scheduler.tick()
        assert queue.state(job.request.rq_id) == "queued"
        assert (await store.job(job.id)).attempt == 1

    async def test_a_worker_that_took_a_job_and_never_spoke_loses_it(self, scheduler, store, clock, redis_server):
        job = await submit(store)
        await scheduler.tick()
        take(redis_server, job)
        await scheduler.tick()
        clock.now += 19
        await scheduler.tick()
        assert (await store.job(job.id)).attempt == 1
        clock.now += 2
        await scheduler.tick()
        again = await store.job(job.id)
        assert (again.attempt, again.state, again.request.resume) == (2, JobState.DISPATCHED, True)

    async def test_a_silent_attempt_is_given_up_after_its_lease(self, scheduler, store, clock, redis_server, announced):
        job = await submit(store)
        await scheduler.tick()
        take(redis_server, job)
        await store.apply_event(event(job, 1, "phase", phase="training"))
        clock.now += 21
        await scheduler.tick()
        assert announced[-2:] == [(JobState.QUEUED, 2), (JobState.DISPATCHED, 2)]

    async def test_heartbeats_keep_an_attempt(self, scheduler, store, clock, redis_server):
        job = await submit(store)
        await scheduler.tick()
        take(redis_server, job, "failed")  # RQ's opinion does not matter while the worker speaks
        for beat in range(1, 6):
            await store.apply_event(event(job, beat, "heartbeat"))
            clock.now += 15
            await scheduler.tick()
        assert (await store.job(job.id)).attempt == 1

    async def test_silence_while_redis_was_away_does_not_count(self, scheduler, store, clock, redis_server, tmp_path):
        job = await submit(store)
        await scheduler.tick()
        await store.apply_event(event(job, 1, "heartbeat"))
        redis_server.stop()
        await scheduler._tick_safely()
        clock.now += 500
        with RedisServer(tmp_path / "redis"):
            await scheduler.tick()
            assert (await store.job(job.id)).attempt == 1
            clock.now += 21
            await scheduler.tick()
            assert (await store.job(job.id)).attempt == 2

    async def test_silence_while_no_bot_was_there_does_not_count(self, scheduler, store, clock, queue, tmp_path):
        job = await submit(store)
        await store.apply_event(event(job, 1, "heartbeat"))
        clock.now += 5000
        await scheduler.tick()
        assert (await store.job(job.id)).attempt == 1

    async def test_silence_while_the_bot_was_too_busy_to_listen_does_not_count(self, scheduler, store, clock):
        job = await submit(store)
        await scheduler.tick()
        await store.apply_event(event(job, 1, "heartbeat"))
        clock.now += 21
        scheduler._last_round -= 21  # as if nothing had run here for so long
        await scheduler.tick()
        assert (await store.job(job.id)).attempt == 1

    async def test_what_a_worker_wrote_on_our_disk_counts_before_an_attempt_is_given_up(
        self, scheduler, store, clock, tmp_path
    ):
        job = await submit(store)
        await scheduler.tick()
        await store.apply_event(event(job, 1, "phase", phase="training"))
        folder = attempt_folder(tmp_path, job.id, 1)
        folder.mkdir(parents=True)
        lines = [event(job, 1, "phase", phase="training"), event(job, 2, "failed", code="diverged", message="No.")]
        (folder / "events.jsonl").write_text("".join(line.model_dump_json() + "\n" for line in lines))
        clock.now += 21
        await scheduler.tick()
        over = await store.job(job.id)
        assert (over.state, over.error["code"], over.attempt) == (JobState.FAILED, "diverged", 1)

    async def test_a_worker_that_only_redis_cannot_hear_is_left_alone(self, scheduler, store, clock, tmp_path):
        job = await submit(store)
        await scheduler.tick()
        await store.apply_event(event(job, 1, "phase", phase="training"))
        clock.now += 21
        beat = event(job, 2, "heartbeat").model_copy(update={"created_at": clock.now - 1})
        folder = attempt_folder(tmp_path, job.id, 1)
        folder.mkdir(parents=True)
        (folder / "events.jsonl").write_text(beat.model_dump_json() + "\n")
        await scheduler.tick()
        after = await store.job(job.id)
        assert (after.attempt, after.lease_until) == (1, clock.now + 20)

    async def test_cancelling_what_waits_in_redis_takes_it_back(self, scheduler, store, queue, redis_server):
        job = await submit(store)
        await scheduler.tick()
        await store.request_cancel(job.id)
        await scheduler.tick()
        assert (await store.job(job.id)).state is JobState.CANCELLED
        assert connect(redis_server.url).llen("rq:queue:afina-train") == 0

    async def test_pausing_what_waits_in_redis_pauses_it(self, scheduler, store):
        job = await submit(store)
        await scheduler.tick()
        await store.request_pause(job.id)
        await scheduler.tick()
        assert (await store.job(job.id)).state is JobState.PAUSED
        await store.resume_job(job.id)
        await scheduler.tick()
        assert (await store.job(job.id)).state is JobState.DISPATCHED

    async def test_a_dead_worker_cannot_hold_up_a_cancellation(self, scheduler, store, clock, redis_server):
        job = await submit(store)
        await scheduler.tick()
        take(redis_server, job)
        await store.apply_event(event(job, 1, "phase", phase="training"))
        await store.request_cancel(job.id)
        await scheduler.tick()
        assert (await store.job(job.id)).state is JobState.RUNNING
        clock.now += 21
        await scheduler.tick()
        assert (await store.job(job.id)).state is JobState.CANCELLED

    async def test_what_waits_for_a_worker_that_is_gone_goes_to_another(self, store, queue, redis_server, tmp_path):
        def fits(job, worker):
            return worker.memory_bytes >= 16

        scheduler = Scheduler(
            store, queue, Settings(data_dir=tmp_path, reconcile_every=1e-6, lease_seconds=20), fits=fits
        )
        client = connect(redis_server.url)
        client.set(WORKER_KEY + "small", worker("small").model_dump_json())
        client.set(WORKER_KEY + "big", worker("big", 16).model_dump_json())
        job = await submit(store)
        await scheduler.tick()
        assert queue.target(job.request.rq_id) == "big"
        client.delete(WORKER_KEY + "big")
        client.set(WORKER_KEY + "other", worker("other", 16).model_dump_json())
        await scheduler.tick()
        assert queue.target(job.request.rq_id) == "other"
        assert (await store.job(job.id)).attempt == 1

    async def test_what_redis_lost_and_nobody_who_is_left_can_do_waits_and_holds_up_no_other(
        self, store, queue, redis_server, tmp_path
    ):
        def fits(job, worker):
            return worker.memory_bytes >= (16 if job.name == "large" else 8)

        scheduler = Scheduler(
            store, queue, Settings(data_dir=tmp_path, reconcile_every=1e-6, lease_seconds=20), fits=fits
        )
        client = connect(redis_server.url)
        client.set(WORKER_KEY + "big", worker("big", 16).model_dump_json())
        large = await submit(store, name="large")
        await scheduler.tick()
        client.flushall()
        client.set(WORKER_KEY + "small", worker("small", 8).model_dump_json())
        other = await submit(store)
        await scheduler.tick()
        assert (await store.job(large.id)).state is JobState.QUEUED
        assert (await store.job(other.id)).state is JobState.DISPATCHED


class TestRunning:
    async def test_a_nudge_is_answered_at_once(self, store, queue, tmp_path, redis_server):
        connect(redis_server.url).set(WORKER_KEY + "w1", worker("w1").model_dump_json())
        scheduler = Scheduler(store, queue, Settings(data_dir=tmp_path), tick_seconds=3600)
        running = asyncio.create_task(scheduler.run())
        await asyncio.sleep(0.2)
        job = await submit(store)
        scheduler.nudge()
        async with asyncio.timeout(30):
            while (await store.job(job.id)).state is JobState.QUEUED:
                await asyncio.sleep(0.01)
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)

    async def test_a_listener_that_fails_stops_nothing(self, scheduler, store):
        async def broken(job):
            raise RuntimeError("no")

        scheduler.subscribe(broken)
        job = await submit(store)
        await scheduler.tick()
        assert (await store.job(job.id)).state is JobState.DISPATCHED

    async def test_one_scheduler_at_a_time(self, tmp_path):
        second = only_one(tmp_path / "run" / "lock")
        with only_one(tmp_path / "run" / "lock"), pytest.raises(AfinaError, match="otro bot"), second:
            pass
        with only_one(tmp_path / "run" / "lock"):
            pass
