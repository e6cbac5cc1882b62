"""Which jobs of Redis a worker takes: those of ours, named on a list, and nothing else that somebody wrote there.

Rule of this file: whoever can write to Redis can write any job, so nothing of a job is believed: not its function,
not its arguments, not its callbacks.
"""

from __future__ import annotations

import logging
from collections.abc import Collection
from typing import Any

from rq.job import Job

from jobs.contract import TrainRequest

log = logging.getLogger(__name__)


class SafeJob(Job):
    """A job whose callbacks and webhooks never run: whoever can write to Redis could name any."""

    def execute_success_callback(self, *_: Any, **__: Any) -> None: ...

    def execute_failure_callback(self, *_: Any, **__: Any) -> None: ...

    def execute_stopped_callback(self, *_: Any, **__: Any) -> None: ...

    def send_webhooks(self, *_: Any, **__: Any) -> None: ...


def allowed(job: Job, functions: Collection[str]) -> TrainRequest | None:
    """What `job` asks for, if its function is one of these (dotted names) and all the rest is as we write it."""
    try:
        if job.func_name not in functions or job.instance is not None or job.kwargs or len(job.args) != 1:
            return None
        request = TrainRequest.model_validate(job.args[0])
    except Exception as error:  # whatever a forged job makes RQ's deserialiser raise
        log.warning("unreadable job %r: %s", job.id, error)
        return None
    return request if request.rq_id == job.id else None
