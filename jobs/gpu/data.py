"""Examples → what the trainer takes: token ids and labels, checked, cut to length, with their counts.

Rule of this file: an example of which nothing would be learnt, or whose labels cannot be trusted, is left out and
counted; it never trains silently on something else. Reading and splitting files is `jobs.dataset`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset

from jobs.dataset.example import Example
from jobs.errors import NothingToLearn
from jobs.gpu.chat import ChatEncoder, Encoded

BEYOND_THE_ROW = "the answer starts beyond the longest row"


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Rows that can be trained on, and what was left out."""

    examples: list[Example]
    rows: list[dict[str, Any]]  # columns of the trainer's data set
    tokens: int  # that one epoch computes
    cut: int = 0  # longer than allowed, shortened
    dropped: Counter[str] = field(default_factory=Counter)  # reason → examples

    def dataset(self) -> Dataset:
        return Dataset.from_dict({name: [row[name] for row in self.rows] for name in self.rows[0]})


def prepare(encoder: ChatEncoder, examples: Sequence[Example], *, max_length: int) -> Prepared:
    """Encode chat and text examples for SFT. Raises NothingToLearn when no example is left."""
    kept: list[Example] = []
    rows: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    cut = 0
    for example, encoded in zip(examples, encoder.encode(examples), strict=True):
        fault = encoder.faults(example, encoded)
        row = Encoded(encoded.input_ids[:max_length], encoded.labels[:max_length])
        if fault is None and not row.learnt:
            fault = BEYOND_THE_ROW
        if fault is None:
            kept.append(example)
            rows.append(row.columns)
            cut += len(encoded.input_ids) > max_length
        else:
            dropped[fault] += 1
    if not rows:
        raise NothingToLearn
    return Prepared(
        examples=kept, rows=rows, tokens=sum(len(row["input_ids"]) for row in rows), cut=cut, dropped=dropped
    )
