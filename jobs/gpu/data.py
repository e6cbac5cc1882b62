"""Examples → what the trainer takes: token ids and labels, checked, cut to length, with their counts.

Rule of this file: an example of which nothing would be learnt, or whose labels cannot be trusted, is left out and
counted; it never trains silently on something else. Many examples are encoded some at a time, so that only their ids
stay in memory. Reading and splitting files is `jobs.dataset`'s.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from datasets import Dataset, concatenate_datasets

from jobs.dataset.example import Example
from jobs.errors import NothingToLearn
from jobs.gpu.chat import ChatEncoder, Encoded

BEYOND_THE_ROW = "the answer starts beyond the longest row"
AT_ONCE = 2_000  # examples that are encoded together


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Rows that can be trained on, and what was left out."""

    examples: list[Example]
    dataset: Dataset  # columns of token ids, as the trainer of the objective takes them
    tokens: int  # that one epoch computes
    cut: int = 0  # longer than allowed, shortened
    dropped: Counter[str] = field(default_factory=Counter)  # reason → examples


def nothing_left(dropped: Counter[str], max_length: int) -> NothingToLearn:
    """The error for data of which every example was left out, with the cause that most of them share."""
    if dropped and dropped.most_common(1)[0][0] == BEYOND_THE_ROW:
        return NothingToLearn(
            f"Con un máximo de {max_length} tokens por ejemplo, la respuesta no cabe en ninguno.",
            hint="Sube la longitud máxima en Avanzado si la base lee más, o acorta las preguntas.",
        )
    return NothingToLearn()


def prepare(encoder: ChatEncoder, examples: Sequence[Example], *, max_length: int) -> Prepared:
    """Encode chat and text examples for SFT. Raises NothingToLearn when no example is left."""
    kept: list[Example] = []
    parts: list[Dataset] = []
    dropped: Counter[str] = Counter()
    tokens = cut = 0
    for some in in_parts(examples):
        rows = []
        for example, encoded in zip(some, encoder.encode(some), strict=True):
            fault = encoder.faults(example, encoded)
            row = Encoded(encoded.input_ids[:max_length], encoded.labels[:max_length])
            if fault is None and not row.learnt:
                fault = BEYOND_THE_ROW
            if fault is not None:
                dropped[fault] += 1
                continue
            kept.append(example)
            rows.append(row.columns)
            tokens += len(row.input_ids)
            cut += len(encoded.input_ids) > max_length
        if rows:
            parts.append(as_dataset(rows))
    if not kept:
        raise nothing_left(dropped, max_length)
    return Prepared(examples=kept, dataset=concatenate_datasets(parts), tokens=tokens, cut=cut, dropped=dropped)


def in_parts(examples: Sequence[Example]) -> Iterator[Sequence[Example]]:
    for start in range(0, len(examples), AT_ONCE):
        yield examples[start : start + AT_ONCE]


def as_dataset(rows: Sequence[dict[str, Any]]) -> Dataset:
    """Rows that all have the same columns, and of which there is one at least."""
    return Dataset.from_dict({name: [row[name] for row in rows] for name in rows[0]})
