"""Cancel, pause and resume in every state a job can be in, on real processes."""

import shutil
import subprocess
import sys

import pytest

from bot.errors import WrongState
from jobs.contract import EventType, JobState
from tests.faults.stage import alive

LONG = "steps=2000&pause=0.02"


async def test_cancelling_a_job_that_waits_in_redis_takes_it_back(stage):
    stage.start()
    running, waiting = await stage.submit(LONG), await stage.submit(LONG)
    await stage.until_step(running, 1)
    await stage.until_state(waiting, JobState.DISPATCHED)
    await stage.store.request_cancel(waiting.id)
    await stage.until_state(waiting, JobState.CANCELLED)
    assert stage.client().llen("rq:queue:afina-train") == 0
    await stage.store.request_cancel(running.id)
    await stage.until_state(running, JobState.CANCELLED)
    assert stage.started_attempts(waiting) == []


async def test_cancelling_a_running_job_stops_it_and_leaves_no_adapter(stage):
    _, worker = stage.start()
    job = await stage.submit(LONG)
    await stage.until_step(job, 3)
    await stage.store.request_cancel(job.id)
    over = await stage.until_state(job, JobState.CANCELLED)
    await stage.audit(over)
    assert stage.artifacts.list_adapters() == []
    await stage.until(lambda: not stage.horses(worker), "the child to be gone")


async def test_a_child_that_does_not_listen_is_killed_in_the_end(stage):
    _, worker = stage.start()
    job = await stage.submit("steps=100000&pause=0.02&deaf=1")
    await stage.until_step(job, 1)
    (horse,) = stage.horses(worker)
    await stage.store.request_cancel(job.id)
    over = await stage.until_state(job, JobState.CANCELLED)
    assert not alive(horse.pid)
    assert worker.poll() is None
    await stage.audit(over)


async def test_a_paused_job_goes_on_where_it_stopped(stage):
    stage.start()
    job = await stage.submit("steps=60&pause=0.03")
    await stage.until_step(job, 5)
    await stage.store.request_pause(job.id)
    paused = await stage.until_state(job, JobState.PAUSED)
    assert stage.history(job, 1)[-1].data["kind"] == "paused"
    await stage.store.resume_job(job.id)
    over = await stage.done(job)
    assert (over.attempt, over.failures) == (2, 0)
    first = next(event.data["first"] for event in stage.history(job, 2) if event.type is EventType.MESSAGE)
    assert first >= paused.step >= 5


async def test_a_paused_job_can_be_cancelled(stage):
    stage.start()
    job = await stage.submit(LONG)
    await stage.until_step(job, 2)
    await stage.store.request_pause(job.id)
    await stage.until_state(job, JobState.PAUSED)
    await stage.store.request_cancel(job.id)
    assert (await stage.store.job(job.id)).state is JobState.CANCELLED


async def test_cancelling_while_pausing_means_cancelled(stage):
    stage.start()
    job = await stage.submit(LONG)
    await stage.until_step(job, 2)
    await stage.store.request_pause(job.id)
    await stage.store.request_cancel(job.id)
    await stage.until_state(job, JobState.CANCELLED)


async def test_stopping_what_is_over_says_so(stage):
    stage.start()
    job = await stage.done(await stage.submit())
    for action in (stage.store.request_cancel, stage.store.request_pause, stage.store.resume_job):
        with pytest.raises(WrongState):
            await action(job.id)


async def test_a_wish_to_cancel_survives_the_death_of_the_worker_that_should_have_heard_it(stage):
    bot, worker = stage.start()
    job = await stage.submit(LONG)
    await stage.until_step(job, 2)
    stage.kill(bot)
    await stage.store.request_cancel(job.id)
    stage.kill(worker)
    stage.start()
    over = await stage.until_state(job, JobState.CANCELLED)
    assert over.attempt == 1


async def test_a_failure_of_the_job_itself_is_told_and_not_repeated(stage):
    stage.start()
    job = await stage.submit("fail=diverged")
    over = await stage.until_state(job, JobState.FAILED)
    assert over.error == {"code": "diverged", "message": "No ha podido ser.", "hint": "Prueba otra cosa."}
    assert over.attempt == 1


@pytest.mark.skipif(not shutil.which("unshare"), reason="needs unshare")
def test_a_full_disk_publishes_nothing_half(tmp_path):
    """On a tmpfs of 1 MB in a mount namespace of its own."""
    script = """
import pathlib, sys
from jobs.artifacts import Artifacts
root = pathlib.Path(sys.argv[1])
(root / "small").mkdir()
draft = pathlib.Path(sys.argv[2])
artifacts = Artifacts(str(root))
try:
    artifacts.publish_adapter("grande", draft)
except OSError as error:
    assert error.errno == 28, error
else:
    sys.exit("published on a full disk?")
assert artifacts.list_adapters() == [] and not list((root / "adapters").iterdir())
"""
    draft, disk = tmp_path / "draft", tmp_path / "disk"
    draft.mkdir()
    disk.mkdir()
    (draft / "adapter_model.safetensors").write_bytes(b"x" * 2_000_000)
    (draft / "adapter_config.json").write_text("{}")
    inside = f'mount -t tmpfs -o size=1m none {disk} && exec "$0" -c "$1" {disk} {draft}'
    done = subprocess.run(
        ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, sys.executable, script],
        check=False,
        capture_output=True,
        text=True,
        cwd=".",
    )
    if "unshare" in done.stderr or "mount" in done.stderr:
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr
