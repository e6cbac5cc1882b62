"""Examples → what the trainer takes: token ids and labels, checked, cut to length, with their counts.

Rule of this file: an example of which nothing would be learnt, or whose labels cannot be trusted, is left out and
counted; it never trains silently on something else. Reading and splitting files is `jobs.dataset`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from datasets import Dataset

from jobs.dataset.example import Example
from jobs.errors import NothingToLearn
from jobs.gpu.batches import IGNORED
from jobs.gpu.chat import ChatEncoder, Encoded


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Examples that can be trained on, and what was left out."""

    examples: list[Example]
    encoded: list[Encoded]
    cut: int = 0  # longer than allowed, shortened
    dropped: Counter[str] = field(default_factory=Counter)  # reason → examples

    @property
    def tokens(self) -> int:
        return sum(len(e.input_ids) for e in self.encoded)

    def dataset(self) -> Dataset:
        return Dataset.from_dict(
            {"input_ids": [e.input_ids for e in self.encoded], "labels": [e.labels for e in self.encoded]}
        )


def prepare(encoder: ChatEncoder, examples: Sequence[Example], *, max_length: int) -> Prepared:
    """Encode chat and text examples for SFT. Raises NothingToLearn when no example is left."""
    kept: list[Example] = []
    rows: list[Encoded] = []
    dropped: Counter[str] = Counter()
    cut = 0
    for example, encoded in zip(examples, encoder.encode(examples), strict=True):
        fault = encoder.faults(example, encoded)
        if fault is None and len(encoded.input_ids) > max_length:
            cut += 1
            encoded = Encoded(encoded.input_ids[:max_length], encoded.labels[:max_length])
            if all(label == IGNORED for label in encoded.labels):
                fault = "the answer starts beyond the longest row"
        if fault is None:
            kept.append(example)
            rows.append(encoded)
        else:
            dropped[fault] += 1
    if not rows:
        raise NothingToLearn
    return Prepared(examples=kept, encoded=rows, cut=cut, dropped=dropped)
