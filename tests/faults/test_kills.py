"""Rows of the failure matrix where a process dies: whatever is killed whenever, a job ends well exactly once."""

import asyncio
import signal

import pytest

from jobs.contract import EventType, JobState
from tests.faults.stage import alive


async def test_without_faults_a_job_ends_well_in_its_first_attempt(stage):
    stage.start()
    job = await stage.done(await stage.submit())
    assert job.attempt == 1
    assert (job.step, job.total_steps) == (10, 10)


@pytest.mark.parametrize("point", ["before-enqueue", "after-enqueue", "before-cursor"])
async def test_a_bot_killed_at_a_crash_point_loses_and_doubles_nothing(stage, point):
    stage.start_worker()
    job = await stage.submit()
    assert stage.start_bot(point).wait(timeout=60) == -signal.SIGKILL
    stage.start_bot()
    assert (await stage.done(job)).attempt == 1


@pytest.mark.parametrize("step", [1, 8])
async def test_a_bot_killed_in_the_middle_picks_the_job_up_again(stage, step):
    bot, _ = stage.start()
    job = await stage.submit("steps=15&pause=0.05")
    await stage.until_step(job, step)
    stage.kill(bot)
    stage.start_bot()
    assert (await stage.done(job)).attempt == 1


async def test_a_job_that_ended_while_no_bot_was_there_is_not_trained_again(stage):
    bot, _ = stage.start()
    job = await stage.submit("steps=10&pause=0.05")
    await stage.until_step(job, 2)
    stage.kill(bot)
    await stage.until(lambda: any(event.type is EventType.RESULT for event in stage.history(job, 1)), "the result")
    await asyncio.sleep(3)  # longer than the lease: silence while nobody listens does not count
    stage.start_bot()
    assert (await stage.done(job)).attempt == 1
    assert stage.started_attempts(job) == [1]


async def test_a_killed_worker_takes_its_child_along_and_the_next_resumes(stage):
    _, worker = stage.start()
    job = await stage.submit("steps=40&pause=0.05")
    await stage.until_step(job, 5)
    (horse,) = stage.horses(worker)
    stage.kill(worker)
    await stage.until(lambda: not alive(horse.pid), "the child to die")
    stage.start_worker()
    over = await stage.done(job)
    assert over.attempt == 2
    assert stage.history(job, 1)[-1].data["code"] == "worker_died"  # the next worker said so; nobody had to wait
    first = next(event.data["first"] for event in stage.history(job, 2) if event.type is EventType.MESSAGE)
    assert first >= 5  # from the checkpoint, not from the start


async def test_a_dead_worker_whose_machine_never_comes_back_is_noticed_by_its_silence(stage):
    _, worker = stage.start()
    job = await stage.submit("steps=40&pause=0.05")
    await stage.until_step(job, 5)
    stage.kill(worker)
    (stage.folder / "jobs" / job.id / "1" / "events.jsonl").unlink()  # as if on another machine's disk
    again = await stage.until_state(job, JobState.QUEUED, JobState.DISPATCHED)
    assert again.attempt == 2
    stage.start_worker()
    assert (await stage.done(job)).attempt == 2


async def test_a_killed_child_is_reported_by_its_parent_at_once(stage):
    _, worker = stage.start()
    job = await stage.submit("steps=10&pause=0.02&die=4&once=1")
    assert (await stage.done(job)).attempt == 2
    assert stage.history(job, 1)[-1].data["code"] == "worker_died"
    assert worker.poll() is None


async def test_a_job_that_always_kills_its_child_is_given_up_after_three_attempts(stage):
    stage.start()
    job = await stage.submit("steps=10&pause=0.02&die=2")
    over = await stage.until_state(job, JobState.FAILED, JobState.SUCCEEDED)
    assert (over.state, over.attempt, over.error["code"]) == (JobState.FAILED, 3, "worker_died")
    assert "memoria" in over.error["hint"]
    await stage.audit(over)


async def test_a_result_that_was_published_but_never_reported_is_found(stage):
    _, worker = stage.start()
    job = await stage.submit("steps=5&pause=0.02&mute=1")  # kills its parent between publication and report
    await stage.until(lambda: worker.poll() is not None, "the worker to die")
    over = await stage.done(job)
    assert over.attempt == 1
    assert stage.started_attempts(job) == [1]


async def test_a_terminated_worker_lets_its_child_write_a_checkpoint_and_hands_the_job_back(stage):
    _, worker = stage.start()
    job = await stage.submit("steps=40&pause=0.05")
    await stage.until_step(job, 5)
    assert stage.kill(worker, signal.SIGTERM) == 0
    last = stage.history(job, 1)[-1]
    assert (last.type, last.data["kind"]) == (EventType.STOPPED, "interrupted")
    stage.start_worker()
    over = await stage.done(job)
    assert (over.attempt, over.failures) == (2, 0)
    first = next(event.data["first"] for event in stage.history(job, 2) if event.type is EventType.MESSAGE)
    assert first == last.data["step"]


async def test_an_idle_worker_leaves_at_once_when_it_is_terminated(stage):
    worker = stage.start_worker()
    await stage.until(lambda: list(stage.client().scan_iter("afina:worker:*")), "the worker to register")
    assert stage.kill(worker, signal.SIGTERM) == 0
    assert not list(stage.client().scan_iter("afina:worker:*"))


async def test_two_bots_on_one_data_folder_are_one_too_many(stage):
    stage.start()
    await stage.done(await stage.submit())
    second = stage.start_bot()
    assert second.wait(timeout=60) != 0
    await stage.done(await stage.submit())


async def test_several_people_and_workers_at_once(stage):
    stage.start(workers=2)
    jobs = [await stage.submit(name=f"modelo {number}") for number in range(6)]
    for job in jobs:
        assert (await stage.done(job)).attempt == 1
