"""Dense vectors, when somebody configures an embedding address: passages close in meaning, not in words.

Rule of this file: the search by meaning of one course and what happens when a service is away. Where vectors lie is a
`Store` (`vectors.py`: files; `qdrant.py`: Qdrant). Rankings are fused by reciprocal rank (RRF), which needs no common
scale. A service that does not answer takes nothing away: the lexical ranking stands, and for a while nobody waits.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

log = logging.getLogger(__name__)

RRF = 60  # the constant of Cormack, Clarke and Büttcher (2009)
DEPTH = 50  # ranks of each list that count
WEIGHT = 0.3  # a good lexical ranking with a glossary outweighs an embedding model that nobody has measured
PAUSE = 60.0  # seconds without asking a service that did not answer

T = TypeVar("T")


class Store(Protocol):
    """Vectors of the passages of one course; each method may raise whatever a foreign service raises."""

    def fill(self) -> None:
        """Embed what is not there yet. What was done before an error stays."""
        ...

    def closest(self, question: str, k: int) -> list[int]:
        """Numbers of the closest passages, best first."""
        ...

    def prune(self) -> None:
        """Forget vectors of passages that are no longer part of the course."""
        ...


class Outage:
    """Whether the embedding service and the place of the vectors answer; told once when they go or return."""

    def __init__(self, *, pause: float = PAUSE, clock: Callable[[], float] = time.monotonic) -> None:
        self.reason: str | None = None  # the kind of the last error; None: all is well
        self._pause = pause
        self._clock = clock
        self._until = 0.0

    def attempt(self, work: Callable[[], T]) -> T | None:
        """What `work` gives; None while the service is away."""
        if self.resting:
            return None
        try:
            result = work()
        except Exception as error:  # clients of foreign services raise many things
            if self.reason is None:
                log.warning("search by meaning is away, words go on alone: %s", type(error).__name__)
            self.reason = type(error).__name__
            self._until = self._clock() + self._pause
            return None
        if self.reason is not None:
            log.info("search by meaning is back")
            self.reason = None
        return result

    @property
    def resting(self) -> bool:
        return self.reason is not None and self._clock() < self._until


class DenseIndex:
    """The search by meaning of one course; ready once its passages have vectors."""

    def __init__(self, store: Store, outage: Outage, *, weight: float = WEIGHT, aside: bool = False) -> None:
        """`weight` of this ranking beside the lexical one, which has 1; `aside`: vectors are made in a thread of their
        own, and questions do not wait for them."""
        self._store = store
        self._outage = outage
        self.weight = weight
        self._aside = aside
        self._filling = threading.Lock()
        self.ready = False
        self._begin()

    def ranking(self, question: str) -> list[int]:
        """Numbers of the closest passages, best first; empty while there is nothing to compare with."""
        if not self.ready and not self._outage.resting:
            self._begin()
        if not self.ready:
            return []
        return self._outage.attempt(lambda: self._store.closest(question, DEPTH)) or []

    def prune(self) -> None:
        """Forget old vectors, once nobody searches the course that they belonged to."""
        if self.ready:
            self._outage.attempt(self._store.prune)

    def _begin(self) -> None:
        if self._aside:
            threading.Thread(target=self._fill, name="vectors of the course", daemon=True).start()
        else:
            self._fill()

    def _fill(self) -> None:
        if self.ready or not self._filling.acquire(blocking=False):
            return  # somebody else is at it
        try:
            self.ready = bool(self._outage.attempt(self._filled))
        finally:
            self._filling.release()

    def _filled(self) -> bool:
        self._store.fill()
        return True


def fuse(*rankings: tuple[Sequence[int], float]) -> dict[int, float]:
    """Reciprocal rank fusion of rankings and their weights: number → score."""
    scores: dict[int, float] = {}
    for ranking, weight in rankings:
        for rank, number in enumerate(ranking[:DEPTH], 1):
            scores[number] = scores.get(number, 0.0) + weight / (RRF + rank)
    return scores
