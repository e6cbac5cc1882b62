"""Faults on demand: what goes wrong on a network and in a large service.

Rule: a fault is armed for some requests or for the gateway and used up (`times`); none is on by default.
Not covered: faults that the state itself can show (someone leaves, a channel is deleted): do those in the world.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from playground.files import Links
    from playground.gateway import Gateway
    from playground.interactions import Interactions

FaultKind = Literal["status", "delay", "drop-before", "drop-after", "rate-limit"]


@dataclass(kw_only=True)
class RestFault:
    """One armed fault of the REST side."""

    kind: FaultKind
    method: str | None = None  # None: any
    path: str = ".*"  # regular expression over the path after /api/v10, or over /attachments/…
    times: int = 1
    status: int = 500
    retry_after: float | None = None  # seconds; in the body and in Retry-After
    seconds: float = 0.0  # of a delay
    whole_bot: bool = False  # of a rate limit: the global one

    def matches(self, method: str, path: str) -> bool:
        return self.times > 0 and self.method in (None, method) and re.fullmatch(self.path, path) is not None


class Faults:
    """Arms faults. REST faults wait for a matching request; gateway faults act at once."""

    def __init__(self, gateway: Gateway, interactions: Interactions, links: Links) -> None:
        self._gateway = gateway
        self._links = links
        self._interactions = interactions
        self.armed: list[RestFault] = []

    # -- REST -------------------------------------------------------------------------------------------------

    def status(
        self, status: int, *, method: str | None = None, path: str = ".*", times: int = 1, after: float | None = None
    ) -> RestFault:
        """Answer *status* without doing anything; *after*: with a `retry_after` of so many seconds."""
        return self._arm(
            RestFault(kind="status", status=status, method=method, path=path, times=times, retry_after=after)
        )

    def delay(self, seconds: float, *, method: str | None = None, path: str = ".*", times: int = 1) -> RestFault:
        """Answer *seconds* later (the effect comes late too)."""
        return self._arm(RestFault(kind="delay", seconds=seconds, method=method, path=path, times=times))

    def drop(
        self, when: Literal["before", "after"], *, method: str | None = None, path: str = ".*", times: int = 1
    ) -> RestFault:
        """Cut the connection before the effect, or after it and before the answer."""
        kind: FaultKind = "drop-before" if when == "before" else "drop-after"
        return self._arm(RestFault(kind=kind, method=method, path=path, times=times))

    def rate_limit(
        self,
        retry_after: float,
        *,
        whole_bot: bool = False,
        method: str | None = None,
        path: str = ".*",
        times: int = 1,
    ) -> RestFault:
        """Answer 429: of this route, or of the whole bot."""
        return self._arm(
            RestFault(
                kind="rate-limit",
                retry_after=retry_after,
                whole_bot=whole_bot,
                method=method,
                path=path,
                times=times,
                status=429,
            )
        )

    def _arm(self, fault: RestFault) -> RestFault:
        self.armed.append(fault)
        return fault

    def take(self, method: str, path: str) -> RestFault | None:
        """The first armed fault for this request, used once."""
        for fault in self.armed:
            if fault.matches(method, path):
                fault.times -= 1
                return fault
        return None

    def clear(self) -> None:
        """Disarm everything."""
        self.armed.clear()
        self._gateway.away = False
        self._gateway.hold_heartbeats = False
        self._gateway.duplicates = Counter()

    # -- gateway ----------------------------------------------------------------------------------------------

    async def reconnect(self) -> None:
        """Op 7: the client shall reconnect and resume."""
        await self._gateway.send_everybody({"op": 7, "d": None, "s": None, "t": None})

    async def invalidate(self, *, resumable: bool) -> None:
        """Op 9: the session is invalid; when not resumable it is forgotten too."""
        await self._gateway.invalidate(resumable)

    async def close(self, code: int) -> None:
        """Close the connection with *code*."""
        await self._gateway.close_everybody(code)

    async def cut(self) -> None:
        """The connection ends without a close frame."""
        self._gateway.cut_everybody()

    def hold_heartbeats(self, held: bool = True) -> None:
        """No heartbeat is acknowledged: the client sees a zombie connection."""
        self._gateway.hold_heartbeats = held

    def gateway_away(self, away: bool = True) -> None:
        """New connections to the gateway fail."""
        self._gateway.away = away

    def duplicate(self, event: str, times: int = 1) -> None:
        """The next *times* dispatches called *event* arrive twice."""
        self._gateway.duplicates[event] += times

    # -- time -------------------------------------------------------------------------------------------------

    def expire_interactions(self) -> None:
        """The tokens of all interactions so far stop working (as after 15 minutes)."""
        self._interactions.expire_all()

    def expire_attachments(self) -> None:
        """The addresses of all attachments so far stop working (as after a day)."""
        self._links.expire_all()
