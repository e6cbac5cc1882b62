"""The queue: hand over once, take back, ask to stop; Redis errors have one name."""

import threading

import pytest
import rq
from rq.serializers import JSONSerializer

from jobs.attempt import connect, stop_key
from jobs.contract import QUEUE_NAME, TrainRequest, WorkerInfo
from jobs.errors import QueueUnavailable
from jobs.queue import WORKER_KEY, Queue


@pytest.fixture
def queue(redis_server):
    return Queue(redis_server.url)


def request(attempt: int = 1) -> TrainRequest:
    return TrainRequest(
        job_id="trabajo", attempt=attempt, base_id="b", dataset_path="d", dataset_sha256="0", adapter_name="a"
    )


def length(server, worker: str = "") -> int:
    return connect(server.url).llen(f"rq:queue:{QUEUE_NAME}{':' + worker if worker else ''}")


def test_an_attempt_is_accepted_once(queue, redis_server):
    assert queue.submit(request(), timeout=60)
    assert not queue.submit(request(), timeout=60)
    assert queue.submit(request(2), timeout=60)
    assert length(redis_server) == 2


def test_of_many_at_once_one_is_accepted(redis_server):
    accepted = []
    threads = [
        threading.Thread(target=lambda: accepted.append(Queue(redis_server.url).submit(request(), timeout=60)))
        for _ in range(12)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(accepted) == 1
    assert length(redis_server) == 1


def test_what_travels_is_json_under_a_dotted_name(queue, redis_server):
    queue.submit(request(), timeout=77)
    job = rq.job.Job.fetch("trabajo-1", connection=connect(redis_server.url), serializer=JSONSerializer)
    assert job.func_name == "jobs.gpu.train.run"
    assert TrainRequest.model_validate(job.args[0]) == request()
    assert job.timeout == 77
    assert job.retries_left is None


def test_states(queue, redis_server):
    assert queue.state("trabajo-1") == "missing"
    queue.submit(request(), timeout=60)
    assert queue.state("trabajo-1") == "queued"
    connect(redis_server.url).lpop(f"rq:queue:{QUEUE_NAME}")
    assert queue.state("trabajo-1") == "started"  # somebody took it
    connect(redis_server.url).hset("rq:job:trabajo-1", "status", "failed")
    assert queue.state("trabajo-1") == "failed"


def test_a_job_for_one_worker_waits_in_its_own_list(queue, redis_server):
    queue.submit(request(), timeout=60, worker="w1")
    assert (length(redis_server), length(redis_server, "w1")) == (0, 1)
    assert queue.target("trabajo-1") == "w1"
    assert queue.state("trabajo-1") == "queued"
    queue.submit(request(2), timeout=60)
    assert queue.target("trabajo-2") is None


def test_what_waits_can_be_withdrawn_and_sent_again(queue, redis_server):
    queue.submit(request(), timeout=60, worker="w1")
    assert queue.withdraw("trabajo-1")
    assert not queue.withdraw("trabajo-1")
    assert queue.state("trabajo-1") == "missing"
    assert queue.submit(request(), timeout=60)


def test_a_stop_sets_the_flag_and_withdraws_what_waits(queue, redis_server):
    queue.submit(request(), timeout=60)
    for _ in range(2):
        queue.request_stop("trabajo", 1, "cancelled")
    assert connect(redis_server.url).get(stop_key("trabajo", 1)) == b"cancelled"
    assert queue.state("trabajo-1") == "missing"
    assert length(redis_server) == 0


def test_a_stop_is_told_to_the_worker_that_has_the_job(queue, redis_server):
    queue.submit(request(), timeout=60)
    client = connect(redis_server.url)
    client.lpop(f"rq:queue:{QUEUE_NAME}")
    client.hset("rq:job:trabajo-1", mapping={"status": "started", "worker_name": "w1"})
    listener = client.pubsub(ignore_subscribe_messages=True)
    listener.subscribe("rq:pubsub:w1")
    listener.get_message(timeout=5)
    queue.request_stop("trabajo", 1, "paused")
    message = None
    while message is None:
        message = listener.get_message(timeout=5)
    assert b"stop-job" in message["data"]
    listener.close()


def test_workers_are_those_that_introduced_themselves(queue, redis_server):
    info = WorkerInfo(name="w1", hostname="h", device="cpu", device_name="d", memory_bytes=1, labels=("a",))
    client = connect(redis_server.url)
    client.set(WORKER_KEY + "w1", info.model_dump_json())
    client.set(WORKER_KEY + "w2", "basura")
    assert queue.workers() == [info]


@pytest.mark.parametrize(
    "call",
    [
        lambda queue: queue.submit(request(), timeout=1),
        lambda queue: queue.state("x-1"),
        lambda queue: queue.withdraw("x-1"),
        lambda queue: queue.request_stop("x", 1, "paused"),
        lambda queue: queue.workers(),
        lambda queue: queue.target("x-1"),
        lambda queue: queue.read_events("0", 1),
    ],
)
def test_without_redis_everything_says_so(tmp_path, call):
    queue = Queue(f"unix://{tmp_path}/nobody.sock")
    assert not queue.ping()
    with pytest.raises(QueueUnavailable, match="cola"):
        call(queue)


def test_a_redis_that_refuses_to_write_says_so_too(queue, redis_server):
    client = connect(redis_server.url)
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(QueueUnavailable):
            queue.submit(request(), timeout=60)
    finally:
        client.config_set("maxmemory", "0")
    assert queue.state("trabajo-1") == "missing"
