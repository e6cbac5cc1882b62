"""RQ's worker, patient with a Redis that goes away and comes back: its bookkeeping may fail, the training may not.

Rule of this file: only what RQ writes for itself. What people must hear of travels as events (`jobs.attempt`).
"""

from __future__ import annotations

import contextlib
import time
from typing import Any

import redis
from rq import Worker
from rq.job import Job

REDIS_ERRORS = (redis.RedisError, OSError)
FORGET_SECONDS = 30  # Redis forgets a dead worker and its job after so long


class PatientWorker(Worker):
    max_connection_wait_time = 2.0

    def get_heartbeat_ttl(self, job: Job) -> int:
        return FORGET_SECONDS

    def set_current_job_working_time(self, current_job_working_time: float, pipeline: Any = None) -> None:
        with contextlib.suppress(*REDIS_ERRORS):
            super().set_current_job_working_time(current_job_working_time, pipeline=pipeline)

    def set_state(self, state: str, pipeline: Any = None) -> None:
        self._state = state
        with contextlib.suppress(*REDIS_ERRORS):
            super().set_state(state, pipeline=pipeline)

    def set_shutdown_requested_date(self) -> None:
        """RQ writes to Redis here, in the middle of a signal handler; nobody reads it."""

    def _pubsub_exception_handler(self, exc: Exception, pubsub: Any, pubsub_thread: Any) -> None:
        time.sleep(0.5)  # it subscribes again by itself
