"""How many things a minute: a sliding minute for each person, in memory.

Rule of this file: it counts; how many are allowed is said by the caller. A restart forgets, which costs nobody
anything.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from bot.errors import LimitReached
from bot.records import Owner

MINUTE = 60.0
REMEMBERED = 5000  # people; beyond that, those who did nothing lately are forgotten


class Rate:
    """One kind of thing, e.g. questions. `clock`: seconds that only go forward."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._done: dict[Owner, deque[float]] = {}

    def spend(self, owner: Owner, most: int | None, *, of: str, amount: int = 1) -> None:
        """Count `amount` more; None counts nothing. Raises LimitReached, and counts nothing, above `most` a minute.

        `of`: what they are, as a person reads it («preguntas»).
        """
        if most is None:
            return
        now = self._clock()
        done = self._done.setdefault(owner, deque())
        while done and now - done[0] > MINUTE:
            done.popleft()
        if len(done) + amount > most:
            # The place that has to become free; a single wish larger than the limit waits for all of them.
            place = min(len(done), len(done) + amount - most) - 1
            wait = max(1, round(MINUTE - (now - done[place]))) if done else 0
            hint = f"Puedes seguir en {wait} s." if wait and amount <= most else "Pide menos a la vez."
            raise LimitReached(f"Vas muy deprisa: el máximo aquí es de {most} {of} por minuto.", hint=hint)
        done.extend([now] * amount)
        if len(self._done) > REMEMBERED:
            self._done = {who: when for who, when in self._done.items() if when and now - when[-1] <= MINUTE}
