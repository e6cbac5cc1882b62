"""Tokenised examples → tensors of one step, without padding waste and without mixing documents.

Rule of this file: an example is a dict with `input_ids` and `labels` (ids, -100 where nothing is learnt). `packed`
lays the examples of one step into rows no longer than the longest of them; positions restart at each document, from
which transformers builds a block-diagonal mask (the cache must be off). The examples of a step, and so the training,
are the same packed and unpacked. It does not choose which examples make a step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

IGNORED = -100


def fit_rows(lengths: Sequence[int], width: int) -> list[list[int]]:
    """First-fit decreasing: indices of `lengths` grouped into rows of at most `width` (a longer one stands alone)."""
    rows: list[list[int]] = []
    room: list[int] = []
    for index in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        row = next((r for r, free in enumerate(room) if lengths[index] <= free), None)
        if row is None:
            rows.append([index])
            room.append(width - lengths[index])
        else:
            rows[row].append(index)
            room[row] -= lengths[index]
    return rows


@dataclass(frozen=True, kw_only=True)
class Collator:
    """Examples of one step → `input_ids`, `labels`, `position_ids`, each (rows, width) int64."""

    pad_token_id: int
    packed: bool = True
    flat: bool = False  # one single row: what FlashAttention's variable-length kernels want

    def __call__(self, examples: Sequence[dict[str, Any]]) -> dict[str, torch.Tensor]:
        lengths = [len(example["input_ids"]) for example in examples]
        width = sum(lengths) if self.flat else max(lengths)
        rows = fit_rows(lengths, width) if self.packed or self.flat else [[i] for i in range(len(lengths))]
        shape = (len(rows), width)
        input_ids = torch.full(shape, self.pad_token_id, dtype=torch.long)
        labels = torch.full(shape, IGNORED, dtype=torch.long)
        # Each padding position is a document of its own (position 0 after position 0), so nothing attends to it.
        position_ids = torch.zeros(shape, dtype=torch.long)
        for row, members in enumerate(rows):
            start = 0
            for index in members:
                end = start + lengths[index]
                input_ids[row, start:end] = torch.as_tensor(examples[index]["input_ids"])
                labels[row, start + 1 : end] = torch.as_tensor(examples[index]["labels"])[1:]
                position_ids[row, start:end] = torch.arange(lengths[index])
                start = end
        return {"input_ids": input_ids, "labels": labels, "position_ids": position_ids}
