"""One answer at a time in each place, and no more requests than Discord takes.

Rule of this file: asyncio only; it knows neither Discord nor models. A newer wish cancels the one before and waits
until that has tidied up; the coroutine that is cancelled reads `session.why` to know what to leave behind.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any, Literal
from weakref import WeakValueDictionary

log = logging.getLogger(__name__)

DEBOUNCE = 0.5  # seconds that a second message has to be answered together with the first


class Pace:
    """Spaces requests so that a whole bot stays below `rate` a second, first come first served.

    The distance is kept between the moments at which turns are really given: after a stall of the event loop the
    waiting ones do not all go at once. Of those made with `request` no more than `at_once` are on their way: what a
    slow network or Discord itself holds up would else arrive in one second.
    """

    def __init__(self, rate: float, at_once: int = 15) -> None:
        self._gap = 1 / rate
        self._given = 0.0
        self._waiting = 0
        self._lock = asyncio.Lock()
        self._open = asyncio.Semaphore(at_once)

    @property
    def backlog(self) -> float:
        """Seconds that a new request would wait, at least."""
        return self._waiting * self._gap

    async def turn(self) -> None:
        """Wait for the moment to make one request."""
        self._waiting += 1
        try:
            await self._next()
        finally:
            self._waiting -= 1

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """The block makes one request, in its turn."""
        self._waiting += 1
        try:
            await self._open.acquire()
        finally:
            self._waiting -= 1
        try:
            await self.turn()
            yield
        finally:
            self._open.release()

    async def _next(self) -> None:
        clock = asyncio.get_running_loop().time
        async with self._lock:
            await asyncio.sleep(max(0.0, self._given + self._gap - clock()))
            self._given = clock()


Reason = Literal["newer", "stopped", "deleted", "shutdown"]


class Session:
    """One answer in the making, as the coroutine that writes it sees it."""

    def __init__(self, trigger: int, lock: asyncio.Lock) -> None:
        self.trigger = trigger  # the message that is answered
        self.lock = lock  # of its place; held from the first to the last thing that is shown
        self.task: asyncio.Task[None] | None = None
        self.why: Reason | None = None  # set before the task is cancelled

    def interrupt(self, reason: Reason) -> None:
        if self.why is None and self.task is not None:
            self.why = reason
            self.task.cancel()


Work = Callable[[Session], Coroutine[Any, Any, None]]


class Sessions:
    """One answer at a time in each place; a newer wish replaces it, after it has tidied up."""

    def __init__(self) -> None:
        self._running: dict[int, Session] = {}
        self._locks: WeakValueDictionary[int, asyncio.Lock] = WeakValueDictionary()

    def __len__(self) -> int:
        return len(self._running)

    def trigger(self, place: int) -> int | None:
        """The message that is being answered in `place`."""
        session = self._running.get(place)
        return session.trigger if session else None

    def current(self, place: int) -> Session | None:
        """The answer that is being written in `place`."""
        return self._running.get(place)

    def begin(self, place: int, trigger: int, work: Work, *, delay: float = DEBOUNCE) -> None:
        """Answer `trigger` in `place` after `delay` seconds, instead of whatever runs there."""
        self.interrupt(place, "newer")
        session = Session(trigger, self._locks.setdefault(place, asyncio.Lock()))
        session.task = asyncio.create_task(self._run(place, session, work, delay), name=f"chat {place}")
        self._running[place] = session

    def interrupt(self, place: int, reason: Reason) -> bool:
        """End what runs in `place`; False when nothing does."""
        session = self._running.get(place)
        if session is None:
            return False
        session.interrupt(reason)
        return True

    async def close(self) -> None:
        """End everything, leaving half-written messages for the next start."""
        sessions = list(self._running.values())
        for session in sessions:
            session.interrupt("shutdown")
        await asyncio.gather(*(session.task for session in sessions if session.task), return_exceptions=True)

    async def _run(self, place: int, session: Session, work: Work, delay: float) -> None:
        try:
            async with session.lock:
                await asyncio.sleep(delay)
                await work(session)
        except asyncio.CancelledError:
            pass  # `work` has tidied up
        except Exception:
            log.exception("an answer in %s failed", place)
        finally:
            if self._running.get(place) is session:
                del self._running[place]
