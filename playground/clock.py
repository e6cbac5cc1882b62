"""The playground's clock and its snowflake ids.

Rule: everything that depends on time (3 s acknowledgement, 15 min token, expiry of links, the hour of late
edits) asks this clock, so that a test moves it forward instead of sleeping.
Not covered: rate limits and heartbeats, which the client measures with its own clock and so run in real time.
"""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable

DISCORD_EPOCH_MS = 1_420_070_400_000


class Clock:
    """Wall-clock time plus an offset that only grows."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._last_id = 0
        self.on_advance: Callable[[], object] = lambda: None  # called when the clock has jumped

    def now(self) -> float:
        """Seconds since the epoch."""
        return time.time() + self._offset

    def advance(self, seconds: float) -> None:
        """Move the clock forward by *seconds* (≥ 0)."""
        if seconds < 0:
            raise ValueError("the clock only moves forward")
        self._offset += seconds
        self.on_advance()

    def snowflake(self) -> int:
        """A new id, greater than all before it, whose upper bits hold the time in milliseconds."""
        fresh = (int(self.now() * 1000) - DISCORD_EPOCH_MS) << 22
        self._last_id = max(fresh, self._last_id + 1)
        return self._last_id


def iso(seconds: float) -> str:
    """ISO 8601 in UTC, as Discord writes times."""
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).isoformat()
