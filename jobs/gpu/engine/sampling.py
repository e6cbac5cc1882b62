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
_COLDEST = 1e-4  # a lower temperature would overflow; it is greedy anyway


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
    """The next token of each row, from logits [rows, vocabulary].

    The best tokens of all rows are found in one pass and drawn from on the processor; only a row whose nucleus is
    wider is looked at alone.
    """
    tokens: list[int] = logits.argmax(dim=-1).tolist()
    hot = [row for row, wish in enumerate(sampling) if wish.temperature > 0]
    if not hot:
        return tokens
    heat = torch.tensor([[max(sampling[row].temperature, _COLDEST)] for row in hot], device=logits.device)
    scaled = logits[hot].float() / heat
    best, which = scaled.topk(min(_NUCLEUS, logits.shape[1]))
    chances = (best - scaled.logsumexp(dim=-1, keepdim=True)).exp().cpu().double()
    which = which.cpu()
    for place, row in enumerate(hot):
        tokens[row] = _draw(scaled[place], chances[place], which[place], sampling[row], dice[row].random())
    return tokens


def _draw(logits: Tensor, chances: Tensor, tokens: Tensor, wish: Sampling, number: float) -> int:
    """Draw by inverting the cumulative distribution at `number` (0..1), best tokens first.

    `chances` and `tokens`: of the best ones, sorted; the whole row `logits` is sorted if they do not reach far enough.
    """
    wanted = min(wish.top_k or len(logits), len(logits))
    if wanted > len(tokens) and chances.sum() < max(number, wish.top_p):
        best, tokens = (side.cpu() for side in logits.sort(descending=True, stable=True))
        chances = torch.softmax(best.double(), dim=-1)
    chances, tokens = chances[:wanted], tokens[:wanted]
    whole = wish.top_k == 0 and wish.top_p == 1.0  # the rest of the vocabulary counts too
    sums = chances.cumsum(dim=-1)
    if wish.top_k:
        sums = sums / sums[-1]
    if wish.top_p < 1.0:
        sums = sums[: int((sums < wish.top_p).sum()) + 1]  # the token that crosses the line stays
    place = int((sums < (number if whole else number * sums[-1])).sum())
    return int(tokens[min(place, len(sums) - 1)])
