"""From logits to the next token of each row.

Rule of this file: a row's choice depends on its own logits, parameters and random numbers alone, never on its
neighbours in the batch; with a seed it is the same every time. Temperature 0 is greedy.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

# So many of the best tokens nearly always hold the whole nucleus; only otherwise is the vocabulary sorted.
_NUCLEUS = 256


@dataclass(frozen=True, kw_only=True, slots=True)
class Sampling:
    max_tokens: int
    temperature: float = 1.0  # 0: greedy
    top_p: float = 1.0  # 0..1
    top_k: int = 0  # 0: all
    seed: int | None = None
    stop: tuple[str, ...] = ()
    ignore_eos: bool = False  # for measuring


def choose(logits: Tensor, sampling: Sequence[Sampling], dice: Sequence[random.Random]) -> list[int]:
    """The next token of each row, from logits [rows, vocabulary]."""
    tokens = logits.argmax(dim=-1).tolist()
    hot = [row for row, wish in enumerate(sampling) if wish.temperature > 0]
    if hot:
        scaled = logits[hot].float() / torch.tensor(
            [sampling[row].temperature for row in hot], device=logits.device
        ).unsqueeze(1)
        for place, row in enumerate(hot):
            tokens[row] = _draw(scaled[place], sampling[row], dice[row].random())
    return tokens


def _draw(logits: Tensor, wish: Sampling, number: float) -> int:
    """Draw by inverting the cumulative distribution at `number` (0..1), best tokens first."""
    size = logits.shape[0]
    if wish.top_k:
        best, tokens = logits.topk(min(wish.top_k, size))
        chances = torch.softmax(best, dim=-1)
    else:
        best, tokens = logits.topk(min(_NUCLEUS, size))
        chances = torch.exp(best - logits.logsumexp(dim=-1))
        if chances.sum() < max(wish.top_p, number) and len(tokens) < size:
            best, tokens = logits.sort(descending=True, stable=True)
            chances = torch.softmax(best, dim=-1)
    sums = chances.cumsum(dim=-1)
    if wish.top_p < 1.0:
        kept = int((sums < wish.top_p).sum()) + 1  # the token that crosses the line stays
        sums = sums[:kept]
    place = int((sums < number * sums[-1] if wish.top_p < 1.0 or wish.top_k else sums < number).sum())
    return int(tokens[min(place, len(sums) - 1)])
