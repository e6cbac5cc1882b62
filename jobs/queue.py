"""The queue between bot and workers; the only RQ client.

Rule of this file: a thin, synchronous wrapper that says QueueUnavailable when Redis does not answer. It decides
nothing: which job goes when, and what a state means, is the scheduler's business. What workers write is in
`jobs.attempt`. RQ's registries are never read here: reading them runs clean-up, and callbacks, in this process.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Iterator
from typing import Any, Literal

import redis
import rq
from pydantic import ValidationError
from rq.command import send_command
from rq.exceptions import DuplicateJobError, NoSuchJobError
from rq.serializers import JSONSerializer

from jobs.attempt import KEEP_SECONDS, STREAM, Control, EventWriter, connect, stop_key
from jobs.contract import QUEUE_NAME, TRAIN_FUNCTION, Event, TrainRequest, WorkerInfo
from jobs.erased import forget
from jobs.errors import QueueUnavailable

__all__ = ["WORKER_KEY", "Control", "EventWriter", "Queue", "QueueState"]

QueueState = Literal["queued", "started", "finished", "failed", "stopped", "canceled", "missing"]
WORKER_KEY = "afina:worker:"  # + name: WorkerInfo as JSON, expires when the worker is silent
_STATES: dict[str, QueueState] = {
    "queued": "queued",
    "started": "started",
    "finished": "finished",
    "failed": "failed",
    "stopped": "stopped",
    "canceled": "canceled",
}


class Queue:
    """One queue in one Redis. Every method raises QueueUnavailable when Redis does not answer or refuses to write."""

    def __init__(self, redis_url: str, *, name: str = QUEUE_NAME, function: str = TRAIN_FUNCTION) -> None:
        self._redis = connect(redis_url)
        self._name = name
        self._function = function

    def submit(self, request: TrainRequest, *, timeout: int, worker: str | None = None) -> bool:
        """Hand one attempt over; `worker`: only to this one. `timeout` in seconds.

        False when Redis already has this attempt, whatever became of it.
        """
        with _answering():
            try:
                self._queue(worker).enqueue_call(
                    self._function,
                    args=(request.model_dump(mode="json"),),
                    job_id=request.rq_id,
                    timeout=timeout,
                    result_ttl=KEEP_SECONDS,
                    failure_ttl=KEEP_SECONDS,
                    description=request.rq_id,
                    unique=True,
                )
            except DuplicateJobError:
                return False
        return True

    def state(self, rq_id: str) -> QueueState:
        """What RQ believes; a hint. A job that says "queued" but is in no list was taken: "started"."""
        with _answering():
            try:
                job = rq.job.Job.fetch(rq_id, connection=self._redis, serializer=JSONSerializer)
            except NoSuchJobError:
                return "missing"
            state = _STATES.get(str(job.get_status(refresh=False).value), "started")
            if state == "queued" and self._redis.lpos(f"rq:queue:{job.origin}", rq_id) is None:
                return "started"
            return state

    def withdraw(self, rq_id: str) -> bool:
        """Take an attempt back that no worker has taken yet. False when it is too late, or it is not there."""
        with _answering():
            try:
                job = rq.job.Job.fetch(rq_id, connection=self._redis, serializer=JSONSerializer)
            except NoSuchJobError:
                return False
            if not self._redis.lrem(f"rq:queue:{job.origin}", 0, rq_id):
                return False
            self._redis.delete(job.key)
            return True

    def target(self, rq_id: str) -> str | None:
        """The one worker that an attempt was handed to; None: any, or the attempt is not there."""
        with _answering():
            origin: Any = self._redis.hget(f"rq:job:{rq_id}", "origin")
        _, _, worker = (origin or b"").decode().partition(f"{self._name}:")
        return worker or None

    def request_stop(self, job_id: str, attempt: int, kind: Literal["cancelled", "paused"]) -> None:
        """Ask for an attempt to stop, in two ways: a flag that is polled every step, and a command for speed.

        Asking again is fine; a later "cancelled" overrides "paused". An attempt that still waits is withdrawn.
        """
        rq_id = f"{job_id}-{attempt}"
        with _answering():
            self._redis.set(stop_key(job_id, attempt), kind, ex=KEEP_SECONDS)
            if self.withdraw(rq_id):
                return
            with contextlib.suppress(NoSuchJobError):
                job = rq.job.Job.fetch(rq_id, connection=self._redis, serializer=JSONSerializer)
                if job.worker_name:
                    send_command(self._redis, job.worker_name, "stop-job", job_id=rq_id)

    def workers(self) -> list[WorkerInfo]:
        """Those heard of in the last seconds, by name."""
        with _answering():
            keys = list(self._redis.scan_iter(f"{WORKER_KEY}*", count=1000))
            values = self._redis.mget(keys) if keys else []
        infos = []
        for value in values:
            with contextlib.suppress(ValidationError):
                infos.append(WorkerInfo.model_validate_json(value or b""))
        return sorted(infos, key=lambda info: info.name)

    def forget(self, job_ids: Collection[str]) -> None:
        """Take everything about jobs that do not run any more out of Redis, and have workers clear their disks."""
        with _answering():
            forget(self._redis, job_ids)

    def read_events(
        self, after_id: str = "0", block_ms: int = 1000, count: int = 500
    ) -> list[tuple[str, Event | None]]:
        """(position, event) after a position in the stream, oldest first; None: something that is no event.

        Waits `block_ms` for the first one; 0: not at all.
        """
        with _answering():
            answer: Any = self._redis.xread({STREAM: after_id}, count=count, block=block_ms or None)
        entries = answer[0][1] if answer else []
        return [(entry_id.decode(), _event(fields)) for entry_id, fields in entries]

    def ping(self) -> bool:
        """Does Redis answer? Never raises."""
        try:
            return bool(self._redis.ping())
        except (redis.RedisError, OSError):
            return False

    def close(self) -> None:
        self._redis.close()

    def _queue(self, worker: str | None) -> rq.Queue:
        name = f"{self._name}:{worker}" if worker else self._name
        return rq.Queue(name, connection=self._redis, serializer=JSONSerializer)


def _event(fields: dict[bytes, bytes]) -> Event | None:
    try:
        return Event.model_validate_json(fields.get(b"event", b""))
    except ValidationError:
        return None


@contextlib.contextmanager
def _answering() -> Iterator[None]:
    try:
        yield
    except (redis.RedisError, OSError) as error:
        raise QueueUnavailable from error
