"""Train and validation: a split by group, so that twins never stand on both sides.

Rule of this file: deterministic in the examples and the seed, and in nothing else. Examples with the same input (the
system message apart, where somebody says more) or the same text form a group; groups go whole to one side.
"""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Sequence

from jobs.dataset.example import Example, Kind
from jobs.dataset.words import normalised


def split_examples(examples: Sequence[Example], *, fraction: float, seed: int) -> tuple[list[Example], list[Example]]:
    """(train, validation), each in the order of the file.

    Args:
        fraction: share of examples for validation, 0..1. At least one example stays on each side where there are two
            groups; with `fraction` 0 or a single group validation is empty. Where every group is larger than the
            share, the smallest one is held out.
    """
    groups: defaultdict[str, list[int]] = defaultdict(list)
    for index, example in enumerate(examples):
        groups[group_key(example)].append(index)
    wanted = round(fraction * len(examples))
    if fraction > 0:
        wanted = max(1, wanted)
    keys = list(groups)
    random.Random(seed).shuffle(keys)
    chosen: set[int] = set()
    for key in keys[:-1]:  # the last group always trains
        if len(chosen) + len(groups[key]) <= wanted:
            chosen.update(groups[key])
    if fraction > 0 and not chosen and len(keys) > 1:
        chosen.update(groups[min(keys, key=lambda key: len(groups[key]))])
    train = [example for index, example in enumerate(examples) if index not in chosen]
    return train, [examples[index] for index in sorted(chosen)]


def group_key(example: Example) -> str:
    """The same for examples that would give each other away."""
    if example.kind is Kind.TEXT:
        return normalised(example.text)
    spoken = [message for message in example.prompt if message.role != "system"] or example.prompt
    return "\x1f".join(f"{message.role}:{normalised(message.content)}" for message in spoken)
