"""When the child of an attempt has to be killed, because asking is not enough.

Rule of this file: it looks and decides; the worker kills. Three reasons: the child was asked to stop and does not, its
time is long over, or it has said nothing for so long that it hangs (a heartbeat comes every 2 s from a thread of its
own; what holds the interpreter lock stops even that, and the signal of its timeout too). Time is monotonic: a machine
that was suspended blames nobody.
"""

from __future__ import annotations

import time
from pathlib import Path

from jobs.attempt import EVENTS_FILE

HANG_SECONDS = 60.0  # of silence, or beyond the timeout of the job


class Watch:
    """Over one child, from the moment before it is forked.

    `timeout`: seconds that the job may take; it ends itself then, and is given `hang_seconds` to do so.
    """

    def __init__(self, folder: Path, *, timeout: float, hang_seconds: float = HANG_SECONDS) -> None:
        self._file = folder / EVENTS_FILE
        self._hang_seconds = hang_seconds
        self._began = self._heard_at = time.monotonic()
        self._timeout = timeout
        self._size = -1  # bytes of the event file when it last grew
        self._leave_by = float("inf")

    @property
    def timed_out(self) -> bool:
        """Its time is over, whether or not it has ended."""
        return time.monotonic() - self._began >= self._timeout

    def leave_within(self, seconds: float) -> None:
        """It was asked to stop; an earlier limit stays."""
        self._leave_by = min(self._leave_by, time.monotonic() + seconds)

    def overdue(self) -> str | None:
        """Why the child must be killed now; None while it may live. To be asked about once a second."""
        now = time.monotonic()
        size = self._file.stat().st_size if self._file.exists() else 0
        if size != self._size:
            self._size, self._heard_at = size, now
        if now >= self._leave_by:
            return "it was asked to stop and does not"
        if now - self._began >= self._timeout + self._hang_seconds:
            return "its time is long over"
        if now - self._heard_at >= self._hang_seconds:
            return "it has been silent for too long"
        return None
