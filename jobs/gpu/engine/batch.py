"""The running batch of one base: requests join at token boundaries, one pass moves them all by one token.

Rule of this file: plain synchronous torch on one thread; no queue, no HTTP, no text. Whatever the mix of adapters,
lengths and joining times, each row gets the tokens that `generate` would give it alone (up to rounding, since sums are
taken in another order).
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor
from transformers import DynamicCache

from jobs.gpu.engine.adapters import Adapter
from jobs.gpu.engine.cache import Row, RowCache
from jobs.gpu.engine.lora import LoraRows, linear_sites
from jobs.gpu.engine.prefix import PrefixStore
from jobs.gpu.engine.sampling import Sampling, choose


@dataclass(kw_only=True, eq=False)
class Request:
    """One answer in the making. Only the model's thread changes it, but for `cancelled`."""

    prompt: list[int]
    adapter: Adapter | None  # None: the base alone
    sampling: Sampling
    stop_tokens: frozenset[int]
    deliver: Callable[[Delivery], None]  # called on the model's thread, once a token
    tokens: list[int] = field(default_factory=list)
    cancelled: bool = False  # set by whoever no longer wants it
    cached: int = 0  # tokens of the prompt that did not have to be read again
    dice: random.Random = field(init=False)

    def __post_init__(self) -> None:
        self.dice = random.Random(self.sampling.seed)

    @property
    def longest(self) -> int:
        """Tokens that it may come to occupy."""
        return len(self.prompt) + self.sampling.max_tokens


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a request gets at one token boundary."""

    token: int | None = None
    finish: str | None = None  # "stop", "length", "abort" or "error"; None: more will come
    error: str = ""


class Batch:
    """The rows of one model, and the passes over them."""

    def __init__(
        self, model: Any, *, max_rows: int = 32, prefill_tokens: int = 2048, prefix_tokens: int = 16384
    ) -> None:
        self.model = model
        self.sites = linear_sites(model)
        self.max_rows = max_rows
        self._prefill_tokens = prefill_tokens
        self._lora = LoraRows(model, self.sites)
        self._cache = RowCache()
        self._prefixes = PrefixStore(prefix_tokens)
        self.rows: list[Request] = []

    def close(self) -> None:
        self._lora.close()
        self._cache.clear()
        self._prefixes.clear()

    @property
    def device(self) -> torch.device:
        return self.model.device

    def admit(self, waiting: Sequence[Request], cells: int) -> list[Request]:
        """Which of the waiting requests, in order, may join now: rows are free and `cells` (rows x columns) suffice.

        They share one padded pass, so it stays below a number of tokens, and the shortest is at least half as long as
        the longest. The first one always goes if the batch is empty.
        """
        chosen: list[Request] = []
        longest = max((request.longest for request in self.rows), default=0)
        for request in waiting:
            if self._prefixes.longest(request.adapter, request.prompt) and chosen:
                break  # it goes alone, next
            rows = len(self.rows) + len(chosen) + 1
            longest = max(longest, request.longest)
            if rows > self.max_rows or (rows > 1 and rows * longest > cells):
                break
            lengths = [len(other.prompt) for other in (*chosen, request)]
            if chosen and (len(lengths) * max(lengths) > self._prefill_tokens or 2 * min(lengths) < max(lengths)):
                break
            chosen.append(request)
            if len(chosen) == 1 and self._prefixes.longest(request.adapter, request.prompt):
                break
        return chosen

    @torch.inference_mode()
    def join(self, requests: Sequence[Request]) -> None:
        """Read the prompts of `requests`, give each its first token and let it take part from now on."""
        first = len(self.rows)
        for offset, request in enumerate(requests):
            self._lora.place(first + offset, request.adapter)
        logits, caches = self._read(requests, first)
        for cache in caches:
            self._cache.join(cache)
        self.rows.extend(requests)
        self._deliver(requests, logits)

    @torch.inference_mode()
    def step(self) -> None:
        """One more token for every row."""
        gone = [request for request in self.rows if request.cancelled]
        for request in gone:
            request.deliver(Delivery(finish="abort"))
        self._drop(gone)
        if not self.rows:
            return
        self._cache.prepare()
        device = self.device
        with self._lora.rows(0, len(self.rows)):
            output = self.model(
                input_ids=torch.tensor([[request.tokens[-1]] for request in self.rows], device=device),
                attention_mask=self._cache.mask(1, device),
                position_ids=torch.tensor([[length] for length in self._cache.lengths], device=device),
                past_key_values=self._cache,
                use_cache=True,
            )
        self._cache.advance()
        self._deliver(list(self.rows), output.logits[:, -1])

    def fail(self, message: str) -> None:
        """End every row with an error and start afresh; after a pass that went wrong."""
        for request in self.rows:
            request.deliver(Delivery(finish="error", error=message))
        self.rows.clear()
        self._cache.clear()

    def _read(self, requests: Sequence[Request], first: int) -> tuple[Tensor, list[Row]]:
        """The logits after each prompt [requests, vocabulary], and each prompt's keys and values."""
        known = self._prefixes.longest(requests[0].adapter, requests[0].prompt) if len(requests) == 1 else None
        lengths = [len(request.prompt) for request in requests]
        longest = max(lengths)
        cache = DynamicCache()
        done = 0
        if known is not None:
            done, row = known
            requests[0].cached = done
            for layer, (keys, values) in enumerate(row):
                cache.update(keys[None, :, :done], values[None, :, :done], layer)
        device = self.device
        ids = torch.tensor([[0] * (longest - len(r.prompt)) + r.prompt for r in requests], device=device)
        mask = torch.tensor([[0] * (longest - length) + [1] * length for length in lengths], device=device)
        positions = (mask.cumsum(-1) - 1).clamp(min=0)
        with self._lora.rows(first, first + len(requests)):
            output = self.model(
                input_ids=ids[:, done:],
                attention_mask=mask,
                position_ids=positions[:, done:],
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
        rows = [
            [(layer.keys[i, :, longest - length :], layer.values[i, :, longest - length :]) for layer in cache.layers]
            for i, length in enumerate(lengths)
        ]
        return output.logits[:, -1], rows

    def _deliver(self, requests: Sequence[Request], logits: Tensor) -> None:
        """Choose and hand out a token for each of `requests` (the last rows, or all of them)."""
        good = torch.isfinite(logits).all(dim=-1).tolist()
        tokens = choose(logits, [r.sampling for r in requests], [r.dice for r in requests])
        done: list[Request] = []
        broken: list[Request] = []
        for request, token, finite in zip(requests, tokens, good, strict=True):
            if not finite:
                request.deliver(Delivery(finish="error", error="The model produced numbers that are not finite."))
                broken.append(request)
                continue
            finish = _finish(request, token)
            if finish == "stop":
                request.deliver(Delivery(finish=finish))
            else:
                request.tokens.append(token)
                request.deliver(Delivery(token=token, finish=finish))
            if finish:
                done.append(request)
        for request in done:
            self._remember(self.rows.index(request))
        self._drop(done + broken)

    def _drop(self, requests: Iterable[Request]) -> None:
        for request in requests:
            index = self.rows.index(request)
            self._cache.leave(index)
            last = len(self.rows) - 1
            if index != last:
                self.rows[index] = self.rows[last]
                self._lora.move(last, index)
            self.rows.pop()

    def _remember(self, index: int) -> None:
        request = self.rows[index]
        seen = (request.prompt + request.tokens)[: self._cache.lengths[index]]
        self._prefixes.keep(request.adapter, seen, lambda: self._cache.row(index))


def _finish(request: Request, token: int) -> str | None:
    if token in request.stop_tokens and not request.sampling.ignore_eos:
        return "stop"
    return "length" if len(request.tokens) + 1 >= request.sampling.max_tokens else None
