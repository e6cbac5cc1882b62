"""Reading prompts: several in one padded pass, or a long one in chunks.

Rule of this file: prompts in, the logits after them and their keys and values out. What is known from an earlier turn
is not read again. Rows end in the same column, as in `cache`; a row that needs fewer new tokens than its neighbours
leaves some of what is known unused, so that every row of a pass reads the same columns.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from jobs.gpu.engine.cache import Row, sides_of

Known = tuple[int, Row]  # tokens, and the keys and values of at least so many


def read_together(model: Any, prompts: Sequence[list[int]], known: Sequence[Known]) -> tuple[Tensor, list[Row]]:
    """The logits after each prompt [prompts, vocabulary], and each prompt's keys and values.

    The adapters are the caller's business, as for every pass.
    """
    lengths = [len(prompt) for prompt in prompts]
    longest = max(lengths)
    new = max(length - count for length, (count, _) in zip(lengths, known, strict=True))
    device = model.device
    ids = torch.tensor([([0] * (longest - len(prompt)) + prompt)[longest - new :] for prompt in prompts], device=device)
    begins = torch.tensor([longest - length for length in lengths], device=device)
    columns = torch.arange(longest, device=device)
    cache = _past([row for _, row in known], lengths, longest - new)
    output = model(
        input_ids=ids,
        attention_mask=(columns >= begins[:, None]).long(),
        position_ids=(columns[longest - new :] - begins[:, None]).clamp(min=0),
        past_key_values=cache,
        use_cache=True,
        logits_to_keep=1,
    )
    rows = [
        [(keys[i, :, longest - length :], values[i, :, longest - length :]) for keys, values in sides_of(cache)]
        for i, length in enumerate(lengths)
    ]
    return output.logits[:, -1], rows


def _past(rows: Sequence[Row], lengths: Sequence[int], width: int) -> DynamicCache:
    """What is known of each row, ending where the pass begins: `width` columns, zeros before a row's first token."""
    cache = DynamicCache()
    if width == 0:
        return cache
    longest = max(lengths)
    shape = next(row for row in rows if row)
    for index, (keys, values) in enumerate(shape):
        sides = []
        for side, like in enumerate((keys, values)):
            past = like.new_zeros(len(rows), like.shape[0], width, like.shape[2])
            for place, (row, length) in enumerate(zip(rows, lengths, strict=True)):
                count = length - (longest - width)  # known tokens that this pass does not read
                if count > 0:
                    past[place, :, width - count :] = row[index][side][:, :count]
            sides.append(past)
        cache.update(sides[0], sides[1], index)
    return cache


class Reading:
    """One long prompt, read a chunk at a time."""

    def __init__(self, prompt: list[int], known: Known) -> None:
        self.done, row = known
        self._prompt = prompt
        self._cache = _past([row], [len(prompt)], self.done) if row else DynamicCache()

    def chunk(self, model: Any, size: int) -> Tensor | None:
        """Read `size` more tokens. The logits after the prompt [1, vocabulary] once it is whole, None before."""
        end = min(self.done + size, len(self._prompt))
        device = model.device
        output = model(
            input_ids=torch.tensor([self._prompt[self.done : end]], device=device),
            attention_mask=torch.ones(1, end, dtype=torch.long, device=device),
            position_ids=torch.arange(self.done, end, device=device)[None],
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=1,
        )
        self.done = end
        return output.logits[:, -1] if end == len(self._prompt) else None

    def row(self) -> Row:
        """The keys and values of what was read."""
        return [(keys[0], values[0]) for keys, values in sides_of(self._cache)]
