"""The running batch of one base: requests join at token boundaries, one pass moves them all by one token.

Rule of this file: plain synchronous torch on one thread; no queue, no HTTP, no text. Whatever the mix of adapters,
lengths and joining times, each row gets the tokens that `generate` would give it alone (up to rounding, since sums are
taken in another order). A long prompt is read a chunk at a time between the steps of the others, so that it stalls
nobody; how prompts are read is in `prefill`. Rows lie in the order of their adapters' ranks, as `lora` wants them.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from jobs.gpu.engine.adapters import Adapter
from jobs.gpu.engine.cache import Row, RowCache
from jobs.gpu.engine.lora import LoraRows, linear_sites, stacked_rank
from jobs.gpu.engine.packed import pack
from jobs.gpu.engine.prefill import Reading, read_together
from jobs.gpu.engine.prefix import PrefixStore
from jobs.gpu.engine.sampling import Sampling, choose

# What a process with torch takes beside its models: the CUDA context and its kernels; libraries.
_RUNTIME = {"cuda": 700 * 2**20, "cpu": 500 * 2**20, "mps": 500 * 2**20}

_SLACK = 16  # tokens of padding that cost less than another pass


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
        self,
        model: Any,
        *,
        max_rows: int = 32,
        prefill_tokens: int = 2048,
        prefill_chunk: int = 512,
        prefix_tokens: int = 16384,
    ) -> None:
        pack(model)
        self.model = model
        self.sites = linear_sites(model)
        self.max_rows = max_rows
        self._prefill_tokens = prefill_tokens
        self._chunk = prefill_chunk
        self._lora = LoraRows(model, self.sites)
        self._cache = RowCache()
        self._prefixes = PrefixStore(prefix_tokens)
        self._long: tuple[Request, Reading] | None = None  # a long prompt that is being read
        self.rows: list[Request] = []

    def close(self) -> None:
        self._lora.close()
        self._cache.clear()
        self._prefixes.clear()

    @property
    def device(self) -> torch.device:
        device: torch.device = self.model.device
        return device

    def bytes(self, cells: int) -> int:
        """What the model takes of its device, with `cells` tokens of running answers, what is remembered of earlier
        ones and the adapters of every row."""
        config = self.model.config.get_text_config()
        heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
        size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        token = 2 * config.num_hidden_layers * heads * size * self.model.dtype.itemsize
        weights = self.model.get_memory_footprint()
        return int(weights + token * (cells + self._prefixes.budget) + self._lora.bytes + _RUNTIME[self.device.type])

    @property
    def idle(self) -> bool:
        return not self.rows and self._long is None

    def admit(self, waiting: Sequence[Request], cells: int) -> list[Request]:
        """Which of the waiting requests may join now: rows are free and `cells` (rows x columns) suffice.

        The first one that waits goes first, with those of about its length: they share one padded pass over what is
        new in each, so it stays below a number of tokens, and no row is padded by more than a quarter (a few tokens do
        not matter: another pass costs more). Of long prompts one is read at a time, and shorter ones may overtake the
        next. The first one always goes if the batch is empty.
        """
        chosen: list[Request] = []
        lengths: list[int] = []
        held = [*self.rows, *([self._long[0]] if self._long else [])]
        longest = max((request.longest for request in held), default=0)
        for request in waiting:
            rows = len(held) + len(chosen) + 1
            longest = max(longest, request.longest)
            if rows > self.max_rows or (rows > 1 and rows * longest > cells):
                break
            new = len(request.prompt) - self._known(request)[0]
            if new > self._chunk:
                if self._long is None and not chosen:
                    return [request]
                continue
            count, most, least = len(chosen) + 1, max([*lengths, new]), min([*lengths, new])
            if chosen and (count * most > self._prefill_tokens or most - least > max(_SLACK, most // 4)):
                continue
            chosen.append(request)
            lengths.append(new)
        return chosen

    @torch.inference_mode()
    def join(self, requests: Sequence[Request]) -> int:
        """Read the prompts of `requests`, give each its first token and let it take part from now on.

        Of a long prompt only the first chunk is read; `read_on` does the rest. Returns the tokens that were read.
        """
        requests = sorted(requests, key=lambda request: -stacked_rank(request.adapter))
        known = [self._known(request) for request in requests]
        for request, (count, _) in zip(requests, known, strict=True):
            request.cached = count
        if len(requests) == 1 and len(requests[0].prompt) - requests[0].cached > self._chunk:
            self._long = requests[0], Reading(requests[0].prompt, known[0])
            return self.read_on()
        first = len(self.rows)
        for offset, request in enumerate(requests):
            self._lora.place(first + offset, request.adapter)
        with self._lora.rows(first, first + len(requests)):
            logits, caches = read_together(self.model, [request.prompt for request in requests], known)
        for request, cache in zip(requests, caches, strict=True):
            self._take_in(request, cache)
        self._deliver(requests, logits)
        return sum(len(request.prompt) - request.cached for request in requests)

    @torch.inference_mode()
    def read_on(self) -> int:
        """One more chunk of the long prompt in progress; with the last one it joins. Returns the tokens read."""
        if self._long is None:
            return 0
        request, reading = self._long
        if request.cancelled:
            self._long = None
            request.deliver(Delivery(finish="abort"))
            return 0
        before = reading.done
        with self._lora.all(request.adapter):
            logits = reading.chunk(self.model, self._chunk)
        if logits is not None:
            self._lora.place(len(self.rows), request.adapter)
            self._long = None
            self._take_in(request, reading.row())
            self._deliver([request], logits)
        return reading.done - before

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
        """End every request with an error and start afresh; after a pass that went wrong."""
        for request in [*self.rows, *([self._long[0]] if self._long else [])]:
            request.deliver(Delivery(finish="error", error=message))
        self.rows.clear()
        self._long = None
        self._cache.clear()

    def holds(self, request: Request) -> bool:
        """Whether it takes part: `fail` ends it."""
        return request in self.rows or (self._long is not None and self._long[0] is request)

    def _known(self, request: Request) -> tuple[int, Row]:
        """How many tokens of its prompt an earlier turn has left, and where."""
        return self._prefixes.longest(request.adapter, request.prompt) or (0, [])

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

    def _take_in(self, request: Request, cache: Row) -> None:
        """Add a row whose adapter is in its place, and let it find the row that its rank calls for, highest first."""
        self._cache.join(cache)
        self.rows.append(request)
        last = len(self.rows) - 1
        while (lower := next((i for i in range(last) if self._rank(i) < self._rank(last)), None)) is not None:
            self.rows[lower], self.rows[last] = self.rows[last], self.rows[lower]
            self._lora.place(lower, self.rows[lower].adapter)
            self._lora.place(last, self.rows[last].adapter)
            self._cache.swap(lower, last)

    def _drop(self, requests: Iterable[Request]) -> None:
        """Take rows out; the last row of each rank that follows closes the gap of the one before."""
        for request in requests:
            gaps = [self.rows.index(request)]
            while (following := gaps[-1] + 1) < len(self.rows):
                rank = self._rank(following)
                gaps.append(max(i for i in range(following, len(self.rows)) if self._rank(i) == rank))
            for gap, row in pairwise(gaps):
                self.rows[gap] = self.rows[row]
                self._lora.place(gap, self.rows[gap].adapter)
            self._cache.leave(gaps)
            self.rows.pop()

    def _rank(self, row: int) -> int:
        return stacked_rank(self.rows[row].adapter)

    def _remember(self, index: int) -> None:
        request = self.rows[index]
        seen = (request.prompt + request.tokens)[: self._cache.lengths[index]]
        self._prefixes.keep(request.adapter, seen, lambda: self._cache.row(index))


def _finish(request: Request, token: int) -> str | None:
    if token in request.stop_tokens and not request.sampling.ignore_eos:
        return "stop"
    return "length" if len(request.tokens) + 1 >= request.sampling.max_tokens else None
