"""Keys and values of the running requests: one row each, all ending in the same column.

Rule of this file: the rows are right-aligned, so a plain two-dimensional mask (zeros on the left) says everything, and
distances between columns are distances between tokens, which is what sliding windows count. A request that joins is
copied in so that its last token lies in the last column; one that leaves is overwritten by another. The buffers
are allocated once and grow by doubling; the window of live columns moves right through them and is moved back when it
reaches the end. What lies outside the window is finite, so that masked columns never yield NaN.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from transformers import Cache
from transformers.cache_utils import DynamicLayer

# Keys and values of one request: per layer, each [heads, tokens, head size].
Row = list[tuple[Tensor, Tensor]]


def sides_of(cache: Cache) -> list[tuple[Tensor, Tensor]]:
    """Keys and values of each layer of a cache that has been written to, each [rows, heads, columns, head size]."""
    return [(layer.keys, layer.values) for layer in cache.layers]  # type: ignore[union-attr, misc]


class _Layer(DynamicLayer):
    """One layer's buffers [rows, heads, columns, head size]; the window is the cache's."""

    keys: Tensor
    values: Tensor

    def __init__(self, window: RowCache, keys: Tensor, values: Tensor) -> None:
        super().__init__()
        self._window = window
        self.keys = keys.new_zeros(0, keys.shape[0], 0, keys.shape[2])
        self.values = values.new_zeros(0, values.shape[0], 0, values.shape[2])
        self.dtype, self.device = keys.dtype, keys.device
        self.is_initialized = True

    def update(self, key_states: Tensor, value_states: Tensor, *_args: Any, **_kwargs: Any) -> tuple[Tensor, Tensor]:
        window = self._window
        end = window.stop + key_states.shape[-2]
        self.keys[: window.rows, :, window.stop : end] = key_states
        self.values[: window.rows, :, window.stop : end] = value_states
        return self.keys[: window.rows, :, window.start : end], self.values[: window.rows, :, window.start : end]

    def get_seq_length(self) -> int:
        return self._window.width

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        return self._window.width + query_length, 0


class RowCache(Cache):
    """The cache of the whole batch, as transformers' models take it."""

    def __init__(self) -> None:
        super().__init__(layers=[])
        self.start = 0  # first live column
        self.stop = 0  # one past the last
        self.lengths: list[int] = []  # tokens of each row

    @property
    def rows(self) -> int:
        return len(self.lengths)

    @property
    def width(self) -> int:
        return self.stop - self.start

    def mask(self, new: int, device: torch.device) -> Tensor:
        """Which columns each row sees, for a pass over `new` more tokens: [rows, width + new] of 0 and 1."""
        columns = torch.arange(self.width + new)
        begins = torch.tensor([self.width - length for length in self.lengths])
        return (columns >= begins[:, None]).to(device)

    def join(self, row: Row) -> None:
        """Add a request whose tokens have been through the model."""
        length = row[0][0].shape[1]
        if not self.layers:
            self.layers = [_Layer(self, keys, values) for keys, values in row]
        self._reserve(rows=self.rows + 1, width=max(self.width, length) + 1)
        if self.stop < length:
            self._move_to(length - self.width)
        self.start = min(self.start, self.stop - length)
        for buffers, sides in zip(sides_of(self), row, strict=True):
            for buffer, side in zip(buffers, sides, strict=True):
                buffer[self.rows, :, self.stop - length : self.stop] = side
        self.lengths.append(length)

    def row(self, index: int) -> Row:
        """A copy of one request's keys and values."""
        columns = slice(self.stop - self.lengths[index], self.stop)
        return [(keys[index, :, columns].clone(), values[index, :, columns].clone()) for keys, values in sides_of(self)]

    def swap(self, one: int, other: int) -> None:
        """Two rows change places."""
        live = slice(self.start, self.stop)
        for buffer in self._buffers():
            kept = buffer[one, :, live].clone()
            buffer[one, :, live] = buffer[other, :, live]
            buffer[other, :, live] = kept
        self.lengths[one], self.lengths[other] = self.lengths[other], self.lengths[one]

    def leave(self, gaps: Sequence[int]) -> None:
        """Drop the row `gaps[0]`; each of the other `gaps`, up to the last row, closes the one before it.

        What is left behind is wiped: if it held a NaN, that must not reach the next one in its place.
        """
        live = slice(self.start, self.stop)
        for buffer in self._buffers():
            buffer[gaps[0]].zero_()
            for gap, row in pairwise(gaps):
                buffer[gap, :, live] = buffer[row, :, live]
            buffer[gaps[-1]].zero_()
        for gap, row in pairwise(gaps):
            self.lengths[gap] = self.lengths[row]
        self.lengths.pop()
        self.start = self.stop - max(self.lengths, default=0)
        if not self.lengths:
            self.start = self.stop = 0

    def prepare(self) -> None:
        """Make room for one more column; call before a pass."""
        self._reserve(rows=self.rows, width=self.width + 1)

    def advance(self) -> None:
        """Count the column that a pass has just written."""
        self.stop += 1
        self.lengths = [length + 1 for length in self.lengths]

    def clear(self) -> None:
        """Forget everything and give the memory back."""
        self.layers = []
        self.lengths = []
        self.start = self.stop = 0

    def _buffers(self) -> Iterator[Tensor]:
        for sides in sides_of(self):
            yield from sides

    def _reserve(self, *, rows: int, width: int) -> None:
        """Let the buffers hold so many rows, and so many columns from `start` on."""
        have_rows, _, have_columns, _ = next(self._buffers()).shape
        if rows <= have_rows and self.start + width <= have_columns:
            return
        if rows > have_rows or 2 * width > have_columns:
            self._allocate(_doubled(have_rows, rows, 4), _doubled(have_columns, 2 * width, 128))
        self._move_to(0)

    def _allocate(self, rows: int, columns: int) -> None:
        live = slice(self.start, self.stop)
        for layer in self.layers:
            for side in ("keys", "values"):
                old = getattr(layer, side)
                new = old.new_zeros(rows, old.shape[1], columns, old.shape[3])
                new[: self.rows, :, live] = old[: self.rows, :, live]
                setattr(layer, side, new)

    def _move_to(self, start: int) -> None:
        """Shift the live columns so that they begin at `start`."""
        if start == self.start:
            return
        live, moved = slice(self.start, self.stop), slice(start, start + self.width)
        for buffer in self._buffers():
            buffer[: self.rows, :, moved] = buffer[: self.rows, :, live].clone()
        self.start, self.stop = moved.start, moved.stop


def _doubled(have: int, need: int, least: int) -> int:
    size = max(have, least)
    while size < need:
        size *= 2
    return size
