"""Attempts whose worker died on this machine: their last word, said by the next worker.

Rule of this file: what nobody holds any more and did not end is dead; what ended but never reached Redis is sent.
Whether a dead attempt is tried again is the bot's business.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Iterator
from pathlib import Path

from jobs.attempt import EVENTS_FILE, KEEP_SECONDS, LOCK_FILE, EventWriter, hold
from jobs.contract import JOB_ID_PATTERN, EventType


def report_orphans(data: Path, redis_url: str) -> None:
    """Say the last word for attempts whose worker on this machine died, and send what never reached Redis."""
    for folder, job_id, attempt in _attempts(data):
        with hold(folder) as free:
            if not free:
                continue
            writer = EventWriter(folder, redis_url, job_id, attempt)
            with contextlib.suppress(OSError):
                if writer.finished:
                    writer.flush()
                else:
                    say_died(writer)
            writer.close()


def _attempts(data: Path) -> Iterator[tuple[Path, str, int]]:
    """Attempts of the last days that a worker held; what runs without a queue is not ours."""
    for path in sorted((data / "jobs").glob(f"*/*/{EVENTS_FILE}")):
        folder, job_id = path.parent, path.parent.parent.name
        known = re.match(JOB_ID_PATTERN, job_id) and re.match(r"^[1-9][0-9]*$", folder.name)
        if known and (folder / LOCK_FILE).exists() and time.time() - path.stat().st_mtime < KEEP_SECONDS:
            yield folder, job_id, int(folder.name)


def say_died(writer: EventWriter) -> None:
    writer.emit(
        EventType.FAILED,
        "El proceso que entrenaba se ha cortado.",
        "error",
        code="worker_died",
        hint="Suele ser falta de memoria.",
    )
