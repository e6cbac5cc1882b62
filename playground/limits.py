"""Rate limits: 50 requests a second for the whole bot, and a bucket for each route and major parameter.

Rule: a window opens with its first request and refills whole when it ends. Figures after what people observe of the
real service, which publishes none; a test that needs room passes its own table.
Not covered: the ban after 10 000 invalid requests (they are counted in `requests`), sub-limits by content.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Rate:
    requests: int
    seconds: float


DEFAULT = Rate(10, 10.0)

# «METHOD template» → rate; the rest has DEFAULT.
RATES: dict[str, Rate] = {
    "GET /channels/{channel}": Rate(20, 10.0),
    "GET /channels/{channel}/messages": Rate(10, 5.0),
    "GET /channels/{channel}/messages/{message}": Rate(10, 5.0),
    "POST /channels/{channel}/messages": Rate(5, 5.0),
    "PATCH /channels/{channel}/messages/{message}": Rate(5, 5.0),
    "DELETE /channels/{channel}/messages/{message}": Rate(5, 1.0),
    "PUT /channels/{channel}/messages/{message}/reactions/{emoji}/@me": Rate(1, 0.25),
    "DELETE /channels/{channel}/messages/{message}/reactions/{emoji}/{user}": Rate(1, 0.25),
    "POST /channels/{channel}/typing": Rate(5, 5.0),
    "POST /webhooks/{application}/{token}": Rate(5, 2.0),
    "GET /webhooks/{application}/{token}/messages/{message}": Rate(5, 2.0),
    "PATCH /webhooks/{application}/{token}/messages/{message}": Rate(5, 2.0),
    "DELETE /webhooks/{application}/{token}/messages/{message}": Rate(5, 2.0),
}


@dataclass
class Window:
    rate: Rate
    ends: float = 0.0
    used: int = 0


@dataclass(frozen=True, kw_only=True)
class Verdict:
    headers: dict[str, str]
    retry_after: float | None = None  # seconds; None: go on
    whole_bot: bool = False


@dataclass
class Limits:
    """Counts requests; `enabled=False` lets everything through, without headers."""

    enabled: bool = True
    rates: dict[str, Rate] = field(default_factory=lambda: dict(RATES))
    default: Rate = DEFAULT
    per_second: int = 50  # for the whole bot; interactions and their webhooks do not count
    _windows: dict[tuple[str, str], Window] = field(default_factory=dict)
    _recent: deque[float] = field(default_factory=deque)

    def take(self, route: str, major: str, *, counts_for_bot: bool) -> Verdict:
        """Count one request of *route* (method and template) with its *major* parameter."""
        if not self.enabled:
            return Verdict(headers={})
        now = time.monotonic()
        if counts_for_bot and (wait := self._whole_bot(now)):
            return Verdict(headers={"X-RateLimit-Global": "true"}, retry_after=wait, whole_bot=True)
        rate = self.rates.get(route, self.default)
        window = self._windows.setdefault((route, major), Window(rate))
        if now >= window.ends:
            window.ends, window.used = now + rate.seconds, 0
        left = window.ends - now
        if window.used >= rate.requests:
            return Verdict(headers=_headers(route, rate, 0, left), retry_after=left)
        window.used += 1
        return Verdict(headers=_headers(route, rate, rate.requests - window.used, left))

    def _whole_bot(self, now: float) -> float | None:
        while self._recent and now - self._recent[0] >= 1.0:
            self._recent.popleft()
        if len(self._recent) >= self.per_second:
            return 1.0 - (now - self._recent[0]) if self._recent else 1.0
        self._recent.append(now)
        return None


def _headers(route: str, rate: Rate, remaining: int, left: float) -> dict[str, str]:
    return {
        "X-RateLimit-Bucket": hashlib.sha256(route.encode()).hexdigest()[:16],
        "X-RateLimit-Limit": str(rate.requests),
        "X-RateLimit-Remaining": str(remaining),
        "X-RateLimit-Reset-After": f"{left:.3f}",
        "X-RateLimit-Reset": f"{time.time() + left:.3f}",
    }
