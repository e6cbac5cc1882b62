"""Figures of the engine for Prometheus, under the names that vLLM gives them: one dashboard for both.

Rule of this file: counting, and writing it down (the text format of Prometheus, version 0.0.4). No label holds an
adapter or a person: only the base. What vLLM has no name for is called `afina_engine_…`.
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import aclosing

from jobs.gpu.engine.engine import Engine, Piece, Target

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
_LIMITS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)  # seconds to the first token


class Figures:
    def __init__(self) -> None:
        self._running: Counter[str] = Counter()
        self._prompt: Counter[str] = Counter()
        self._generated: Counter[str] = Counter()
        self._ended: Counter[tuple[str, str]] = Counter()
        self._first: dict[str, list[float]] = {}  # for each base: how many up to each limit, and above, and their sum

    async def counted(self, target: Target, prompt: int, pieces: AsyncGenerator[Piece]) -> AsyncGenerator[Piece]:
        """`pieces` of an answer, unchanged. `prompt`: tokens that were read for it."""
        base, started, tokens, finish = target.base.id, time.perf_counter(), 0, "abort"
        self._running[base] += 1
        try:
            async with aclosing(pieces):
                async for piece in pieces:
                    if not tokens and piece.tokens:
                        self._prompt[base] += prompt
                        self._note_first(base, time.perf_counter() - started)
                    tokens = max(tokens, piece.tokens)
                    finish = piece.finish or finish
                    yield piece
        finally:
            self._running[base] -= 1
            self._generated[base] += tokens
            self._ended[base, finish] += 1

    def _note_first(self, base: str, seconds: float) -> None:
        noted = self._first.setdefault(base, [0.0] * (len(_LIMITS) + 2))
        noted[bisect_left(_LIMITS, seconds)] += 1
        noted[-1] += seconds

    def render(self, engine: Engine) -> str:
        lines: list[str] = []

        def family(name: str, kind: str, text: str, samples: list[tuple[str, float]]) -> None:
            lines.extend((f"# HELP {name} {text}", f"# TYPE {name} {kind}"))
            lines.extend(f"{name}{rest} {value:g}" for rest, value in samples)

        def by_base(counts: Counter[str]) -> list[tuple[str, float]]:
            return [(f'{{model_name="{base}"}}', float(count)) for base, count in sorted(counts.items())]

        family("vllm:num_requests_running", "gauge", "Answers being written.", by_base(self._running))
        family("vllm:num_requests_waiting", "gauge", "Requests in line.", [("", float(engine.loop.waiting))])
        family("vllm:prompt_tokens_total", "counter", "Tokens read.", by_base(self._prompt))
        family("vllm:generation_tokens_total", "counter", "Tokens written.", by_base(self._generated))
        ended = [
            (f'{{model_name="{base}",finished_reason="{how}"}}', float(count))
            for (base, how), count in sorted(self._ended.items())
        ]
        family("vllm:request_success_total", "counter", "Answers that ended, by how.", ended)
        family("vllm:time_to_first_token_seconds", "histogram", "From request to first token.", self._histogram())
        family("afina_engine_device_memory_bytes", "gauge", "Device memory held.", [("", float(device_memory()))])
        return "\n".join(lines) + "\n"

    def _histogram(self) -> list[tuple[str, float]]:
        samples: list[tuple[str, float]] = []
        for base, (*counts, total) in sorted(self._first.items()):
            below = 0.0
            for limit, count in zip((*_LIMITS, "+Inf"), counts, strict=True):
                below += count
                samples.append((f'_bucket{{model_name="{base}",le="{limit}"}}', below))
            samples += [(f'_sum{{model_name="{base}"}}', total), (f'_count{{model_name="{base}"}}', below)]
        return samples


def device_memory() -> int:
    """Bytes that torch holds on the GPU; 0 where there is none."""
    import torch

    return torch.cuda.memory_reserved() if torch.cuda.is_available() and torch.cuda.is_initialized() else 0
