"""Keys and values of finished conversations, so that the next turn reads only what is new.

Rule of this file: an entry belongs to one adapter (or the base) by identity, so a reloaded adapter never meets the
state of its namesake. Entries are kept while their tokens fit the budget, the most recently used longest. It pays from
`WORTH` shared tokens on; below that reading anew is as quick as copying.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from jobs.gpu.engine.adapters import Adapter
from jobs.gpu.engine.cache import Row

WORTH = 48  # tokens


@dataclass(frozen=True, slots=True)
class _Entry:
    adapter: Adapter | None
    tokens: list[int]
    row: Row


class PrefixStore:
    """At most `budget` tokens of remembered conversations."""

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self._entries: list[_Entry] = []  # least recently used first
        self._tokens = 0

    def __len__(self) -> int:
        return self._tokens

    def longest(self, adapter: Adapter | None, prompt: Sequence[int]) -> tuple[int, Row] | None:
        """How many tokens of `prompt` are known, at most all but one, and the row that knows them."""
        best, length = self._best(adapter, prompt)
        length = min(length, len(prompt) - 1)
        if best is None or length < WORTH:
            return None
        self._entries.remove(best)
        self._entries.append(best)
        return length, best.row

    def keep(self, adapter: Adapter | None, tokens: list[int], row: Callable[[], Row]) -> None:
        """Remember a conversation; what is a beginning of it is forgotten."""
        if not WORTH <= len(tokens) <= self.budget:
            return
        for entry in [e for e in self._entries if e.adapter is adapter and tokens[: len(e.tokens)] == e.tokens]:
            self._forget(entry)
        self._entries.append(_Entry(adapter, tokens, row()))
        self._tokens += len(tokens)
        while self._tokens > self.budget:
            self._forget(self._entries[0])

    def clear(self) -> None:
        self._entries.clear()
        self._tokens = 0

    def _forget(self, entry: _Entry) -> None:
        self._entries.remove(entry)
        self._tokens -= len(entry.tokens)

    def _best(self, adapter: Adapter | None, prompt: Sequence[int]) -> tuple[_Entry | None, int]:
        best, length = None, 0
        for entry in self._entries:
            if entry.adapter is adapter and (shared := _shared(entry.tokens, prompt)) > length:
                best, length = entry, shared
        return best, length


def _shared(left: Sequence[int], right: Sequence[int]) -> int:
    for index, (a, b) in enumerate(zip(left, right, strict=False)):
        if a != b:
            return index
    return min(len(left), len(right))
