"""Rows of the failure matrix where Redis is away, empty, or lies."""

import asyncio
import json
import os
import signal

import rq
from rq.serializers import JSONSerializer

from jobs.attempt import stop_key
from jobs.contract import EventType, JobState, TrainRequest
from tests.faults.stage import alive


async def test_a_job_submitted_while_redis_is_away_is_sent_later(stage):
    stage.redis.stop()
    stage.start()
    job = await stage.submit()
    await asyncio.sleep(0.5)
    assert (await stage.store.job(job.id)).state is JobState.QUEUED
    stage.restart_redis()
    assert (await stage.done(job)).attempt == 1


async def test_training_goes_on_while_redis_is_away_and_counts_once(stage):
    stage.start()
    job = await stage.submit("steps=60&pause=0.05")
    await stage.until_step(job, 5)
    stage.redis.stop()
    await asyncio.sleep(4)  # two leases
    stage.restart_redis()
    over = await stage.done(job)
    assert (over.attempt, over.step) == (1, 60)
    assert len([event for event in await stage.store.events(job.id) if event.type is EventType.METRICS]) == 60


async def test_a_job_that_ends_while_redis_is_away_is_not_trained_again(stage):
    _, worker = stage.start()
    job = await stage.submit("steps=20&pause=0.05")
    await stage.until_step(job, 5)
    stage.redis.stop()
    await stage.until(lambda: any(event.type is EventType.RESULT for event in stage.history(job, 1)), "the result")
    await asyncio.sleep(2.5)
    stage.restart_redis()
    assert (await stage.done(job)).attempt == 1
    assert stage.started_attempts(job) == [1]
    assert worker.poll() is None
    assert (await stage.done(await stage.submit())).attempt == 1  # the same worker takes the next one


async def test_a_killed_redis_comes_back_by_itself_and_nothing_is_lost(stage):
    stage.start()
    jobs = [await stage.submit("steps=20&pause=0.03", name=str(number)) for number in range(2)]
    await stage.until_step(jobs[0], 3)
    dead = stage.redis.pid
    os.kill(dead, signal.SIGKILL)
    await stage.until(lambda: stage.redis.pid not in (dead, None), "Redis to be started again")
    for job in jobs:
        assert (await stage.done(job)).attempt == 1


async def test_a_flushed_redis_loses_neither_waiting_nor_running_jobs(stage):
    stage.start()
    jobs = [await stage.submit("steps=30&pause=0.05", name=str(number)) for number in range(3)]
    await stage.until_step(jobs[0], 5)
    stage.client().flushall()
    for job in jobs:
        over = await stage.done(job)
        assert over.attempt == 1
        assert len([event for event in await stage.store.events(job.id) if event.type is EventType.METRICS]) == 30


async def test_a_redis_flushed_after_the_end_does_not_hide_the_result(stage):
    bot, _ = stage.start()
    job = await stage.submit("steps=10&pause=0.05")
    await stage.until_step(job, 2)
    stage.kill(bot)
    await stage.until(lambda: any(event.type is EventType.RESULT for event in stage.history(job, 1)), "the result")
    stage.client().flushall()
    stage.start_bot()
    assert (await stage.done(job)).attempt == 1
    assert stage.started_attempts(job) == [1]


async def test_a_lost_stop_command_is_made_up_for_by_the_flag(stage):
    stage.start()
    job = await stage.submit("steps=400&pause=0.05")
    await stage.until_step(job, 2)
    stage.client().execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    await stage.store.request_cancel(job.id)
    assert (await stage.until_state(job, JobState.CANCELLED, JobState.SUCCEEDED)).state is JobState.CANCELLED
    await stage.audit(await stage.store.job(job.id))


async def test_a_duplicate_in_the_queue_is_run_once(stage):
    stage.start(workers=2)
    job = await stage.submit("steps=30&pause=0.05")
    await stage.until_step(job, 2)
    for _ in range(3):
        stage.client().rpush("rq:queue:afina-train", f"{job.id}-1")
    over = await stage.done(job)
    assert over.attempt == 1
    await stage.until(lambda: stage.client().llen("rq:queue:afina-train") == 0, "the duplicates to be taken")
    runs = stage.folder / "jobs" / job.id / "1" / "runs"
    assert len(runs.read_text().splitlines()) == 1
    assert (await stage.store.job(job.id)).state is JobState.SUCCEEDED


async def test_a_stale_entry_of_rq_does_not_unfinish_a_finished_job(stage):
    stage.start()
    job = await stage.done(await stage.submit())
    stage.client().zadd("rq:wip:afina-train", {f"{job.id}-1:stale": 1.0})
    again = await stage.submit()
    await stage.done(again)
    assert (await stage.store.job(job.id)).state is JobState.SUCCEEDED
    await stage.audit(await stage.store.job(job.id))


async def test_forged_jobs_run_nothing_and_do_not_stop_the_worker(stage, tmp_path):
    _, worker = stage.start()
    await stage.done(await stage.submit())
    marker = tmp_path / "owned"
    queue = rq.Queue("afina-train", connection=stage.client(), serializer=JSONSerializer)
    queue.enqueue("os.system", f"touch {marker}")
    queue.enqueue("tests.jobs.fake.run", {"job_id": "../../etc", "attempt": 1})
    request = TrainRequest(
        job_id="falso123", attempt=1, base_id="x", dataset_path="x", dataset_sha256="x", adapter_name="x"
    )
    queue.enqueue("tests.jobs.fake.forbidden", request.model_dump(mode="json"), job_id=request.rq_id)
    queue.enqueue(
        "tests.jobs.fake.run",
        {},
        on_success=rq.Callback("os.getcwd"),
        on_failure=rq.Callback("os.getcwd"),
        on_stopped=rq.Callback("os.getcwd"),
    )
    rq.Queue("afina-train", connection=stage.client()).enqueue("os.system", f"touch {marker}")  # a pickle
    stage.client().hset("rq:job:basura", mapping={"data": b"\xff\xfe", "created_at": "never"})
    stage.client().rpush("rq:queue:afina-train", "basura")
    stage.client().publish("rq:pubsub:x", "{")
    assert (await stage.done(await stage.submit())).attempt == 1
    assert not marker.exists()
    assert not (stage.folder / "forbidden").exists()
    assert worker.poll() is None


async def test_nonsense_in_the_event_stream_is_skipped(stage):
    stage.start_bot()
    job = await stage.submit()
    client = stage.client()
    client.xadd("afina:events", {"event": b"\xff{"})
    client.xadd("afina:events", {"other": "x"})
    forged = {"job_id": job.id, "attempt": 7, "seq": 1, "created_at": 1.0, "type": "result", "data": {}}
    client.xadd("afina:events", {"event": json.dumps(forged)})
    stage.start_worker()
    assert (await stage.done(job)).attempt == 1


async def test_a_worker_without_its_redis_waits_for_it(stage):
    stage.redis.stop()
    worker = stage.start_worker()
    await asyncio.sleep(1.5)
    assert alive(worker.pid)
    stage.restart_redis()
    stage.start_bot()
    assert (await stage.done(await stage.submit())).attempt == 1


async def test_a_stop_flag_that_came_before_the_worker_is_obeyed(stage):
    job = await stage.submit()
    stage.client().set(stop_key(job.id, 1), "cancelled")
    stage.start()
    await stage.store.job(job.id)
    assert (await stage.until_state(job, JobState.CANCELLED, JobState.SUCCEEDED)).state is JobState.CANCELLED
