"""The safe worker, as a real process with a real Redis; no bot."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import rq
from rq.serializers import JSONSerializer

from jobs.attempt import EventWriter, attempt_folder, connect, hold, read_event_file
from jobs.contract import EventType, TrainRequest
from jobs.queue import Queue
from tests.jobs.fake import FUNCTION

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def queue(redis_server):
    return Queue(redis_server.url, function=FUNCTION)


@pytest.fixture
def start(tmp_path, redis_server):
    """Start a worker process; all are gone afterwards."""
    workers = []

    def start(*options: str) -> subprocess.Popen:
        command = [sys.executable, "-m", "tests.jobs.worker_process", str(tmp_path), redis_server.url, *options]
        with (tmp_path / "worker.log").open("ab") as log:
            workers.append(subprocess.Popen(command, cwd=ROOT, stdout=log, stderr=log, start_new_session=True))
        return workers[-1]

    yield start
    for worker in workers:
        worker.kill()
        worker.wait()


def request(options: str = "steps=2&pause=0.01", *, job: str = "trabajo", attempt: int = 1) -> TrainRequest:
    return TrainRequest(
        job_id=job,
        attempt=attempt,
        base_id=options,
        dataset_path="d",
        dataset_sha256="0",
        adapter_name=f"a-{job}-{attempt}",
    )


def last(tmp_path, job: str = "trabajo", attempt: int = 1):
    events = read_event_file(attempt_folder(tmp_path, job, attempt))
    return events[-1] if events else None


def until(condition, what: str = "") -> None:
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, what
        time.sleep(0.02)


def test_with_burst_it_does_what_is_there_and_leaves(start, queue, tmp_path):
    for number in range(3):
        queue.submit(request(job=f"trabajo{number}"), timeout=60)
    assert start("--burst").wait(60) == 0
    assert [last(tmp_path, f"trabajo{number}").type for number in range(3)] == [EventType.RESULT] * 3
    assert queue.state("trabajo0-1") == "finished"


def test_it_introduces_itself_with_a_name_of_its_own_and_says_what_it_does(start, queue):
    start()
    start()
    until(lambda: len(queue.workers()) == 2)
    first, second = queue.workers()
    assert first.name != second.name
    assert first.name.startswith("prueba-")
    queue.submit(request("steps=500&pause=0.02"), timeout=60, worker=first.name)
    until(lambda: [worker.current_job for worker in queue.workers()] == ["trabajo-1", None])


def test_a_killed_one_is_forgotten_soon(start, queue, redis_server):
    worker = start()
    until(queue.workers)
    (info,) = queue.workers()
    worker.kill()
    worker.wait()
    assert 0 < connect(redis_server.url).ttl(f"afina:worker:{info.name}") <= 15
    assert 0 < connect(redis_server.url).ttl(f"rq:worker:{info.name}") <= 90


def test_a_job_that_takes_too_long_is_ended_and_says_why(start, queue, tmp_path):
    worker = start()
    queue.submit(request("hang=600"), timeout=1)
    until(lambda: (event := last(tmp_path)) and event.type is EventType.FAILED)
    assert last(tmp_path).data["code"] == "timeout"
    assert worker.poll() is None


def test_a_child_that_hangs_with_the_interpreter_lock_is_killed_and_the_next_job_runs(start, queue, tmp_path):
    """Neither its timeout nor a wish reaches it: it is noticed by its silence."""
    worker = start("--impatient")
    queue.submit(request("stuck=1"), timeout=600)
    until(lambda: (event := last(tmp_path)) and event.type is EventType.FAILED)
    assert last(tmp_path).data["code"] == "worker_died"
    assert b"silent for too long" in (tmp_path / "worker.log").read_bytes()
    queue.submit(request(job="otromas"), timeout=60)
    until(lambda: (event := last(tmp_path, "otromas")) and event.type is EventType.RESULT)
    assert worker.poll() is None


def test_a_timeout_that_the_job_swallows_ends_it_all_the_same(start, queue, tmp_path):
    worker = start("--impatient")
    queue.submit(request("swallow=1"), timeout=1)
    until(lambda: (event := last(tmp_path)) and event.type is EventType.FAILED)
    assert last(tmp_path).data["code"] == "timeout"
    assert worker.poll() is None


def test_every_entry_of_its_log_that_is_about_a_job_names_it(start, queue, tmp_path):
    """Those of the worker, of RQ, and of the child."""
    queue.submit(request("raise=1"), timeout=60)
    assert start("--burst", "--json").wait(60) == 0
    lines = (tmp_path / "worker.log").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines if line.startswith("{")]
    named = [entry for entry in entries if entry.get("job") == "trabajo" and entry["attempt"] == 1]
    assert len({entry["process"] for entry in named}) == 2  # the worker and its child
    assert {"jobs.worker", "rq.worker"} <= {entry["logger"] for entry in named}
    assert any("RuntimeError: a bug" in entry.get("error", "") + entry["message"] for entry in named)


def test_an_attempt_that_has_events_already_is_not_run_again(start, queue, tmp_path):
    writer = EventWriter(attempt_folder(tmp_path, "trabajo", 1), None, "trabajo", 1)
    writer.emit("result")
    writer.close()
    queue.submit(request(), timeout=60)
    assert start("--burst").wait(60) == 0
    assert not (attempt_folder(tmp_path, "trabajo", 1) / "runs").exists()


def test_what_a_dead_predecessor_left_unsaid_is_said_at_the_start(start, queue, tmp_path):
    for job, words in (("muerto1", ["phase"]), ("muerto2", ["phase", "failed"]), ("sincola", ["phase"])):
        writer = EventWriter(attempt_folder(tmp_path, job, 1), None, job, 1)
        if job != "sincola":  # that one is not a worker's
            with hold(attempt_folder(tmp_path, job, 1)):
                pass
        for word in words:
            writer.emit(word, phase="training", code="diverged")
        writer.close()
    assert start("--burst").wait(60) == 0
    carried = [(event.job_id, event.type.value, event.data.get("code")) for _, event in queue.read_events("0", 1)]
    assert carried == [
        ("muerto1", "phase", "diverged"), ("muerto1", "failed", "worker_died"),
        ("muerto2", "phase", "diverged"), ("muerto2", "failed", "diverged"),
    ]  # fmt: skip


@pytest.mark.parametrize("kind", ["cancelled", "paused"])
def test_a_stop_command_is_quicker_than_the_poll(start, queue, tmp_path, kind):
    start()
    queue.submit(request("steps=100000&pause=0.01"), timeout=600)
    until(lambda: (event := last(tmp_path)) and event.type is EventType.METRICS)
    queue.request_stop("trabajo", 1, kind)
    until(lambda: last(tmp_path).type is EventType.STOPPED)
    assert last(tmp_path).data["kind"] == kind


def test_callbacks_and_webhooks_never_run(start, queue, redis_server, tmp_path):
    jobs = rq.Queue("afina-train", connection=connect(redis_server.url), serializer=JSONSerializer)
    for job, options in (("bien", "steps=1"), ("mal", "raise=1")):
        asked = request(options, job=f"{job}1234")
        jobs.enqueue(
            FUNCTION,
            asked.model_dump(mode="json"),
            job_id=asked.rq_id,
            on_success=rq.Callback("tests.jobs.fake.forbidden"),
            on_failure=rq.Callback("tests.jobs.fake.forbidden"),
            on_stopped=rq.Callback("tests.jobs.fake.forbidden"),
        )
    assert start("--burst").wait(60) == 0
    log = (tmp_path / "worker.log").read_text()
    assert last(tmp_path, "bien1234").type is EventType.RESULT
    assert "forbidden" not in log, log
    assert not (tmp_path / "forbidden").exists()


def test_garbage_over_pubsub_changes_nothing(start, queue, redis_server, tmp_path):
    worker = start()
    queue.submit(request("steps=40&pause=0.02"), timeout=60)
    until(lambda: (event := last(tmp_path)) and event.type is EventType.METRICS)
    (info,) = queue.workers()
    for text in ("{", "[]", json.dumps({"command": "kill-horse"}), json.dumps({"command": "shutdown"})):
        connect(redis_server.url).publish(f"rq:pubsub:{info.name}", text)
    until(lambda: last(tmp_path).type is EventType.RESULT)
    assert worker.poll() is None


def test_a_second_sigterm_takes_the_child_down_and_still_leaves_a_last_word(start, queue, tmp_path):
    worker = start()
    queue.submit(request("steps=100000&pause=0.01&deaf=1"), timeout=600)
    until(lambda: (event := last(tmp_path)) and event.type is EventType.METRICS)
    (horse,) = psutil.Process(worker.pid).children()
    worker.send_signal(signal.SIGTERM)
    time.sleep(1.2)  # RQ takes two within a second for one
    worker.send_signal(signal.SIGTERM)
    worker.wait(60)
    until(lambda: not horse.is_running() or horse.status() == psutil.STATUS_ZOMBIE)
    assert (last(tmp_path).type, last(tmp_path).data["kind"]) == (EventType.STOPPED, "interrupted")
