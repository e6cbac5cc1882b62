"""What the engine tells Prometheus: vLLM's names, counted right, nothing about anybody."""

from __future__ import annotations

import re
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.settings import ROOT
from tests.gpu.engine.test_server import HELLO, ask, client, serving

__all__ = ["client"]  # a fixture
pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


async def read(client: httpx.AsyncClient) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = (await client.get("/metrics")).text
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


async def test_answers_and_tokens_are_counted_by_base(client: httpx.AsyncClient) -> None:
    whole = (await ask(client, max_tokens=5)).json()
    async with client.stream(
        "POST", "/v1/chat/completions", json={"model": "tiny", "messages": HELLO, "max_tokens": 7, "stream": True}
    ) as stream:
        pieces = [line async for line in stream.aiter_lines() if line.startswith("data: {")]
    assert pieces
    assert (await ask(client, "nobody")).status_code == 404
    found = await read(client)
    base = (("model_name", "tiny"),)
    assert found["vllm:num_requests_running", base] == 0
    assert found["vllm:num_requests_waiting", ()] == 0
    assert found["vllm:prompt_tokens_total", base] == 2 * whole["usage"]["prompt_tokens"]
    assert found["vllm:generation_tokens_total", base] >= whole["usage"]["completion_tokens"] + 1
    assert found["vllm:time_to_first_token_seconds_count", base] == 2
    assert found["vllm:time_to_first_token_seconds_bucket", (("le", "+Inf"), *base)] == 2
    assert sum(value for (name, _), value in found.items() if name == "vllm:request_success_total") == 2


async def test_the_dashboard_asks_for_what_the_engine_tells(client: httpx.AsyncClient) -> None:
    await ask(client, max_tokens=2)
    told = {name for name, _ in await read(client)}
    asked = set(re.findall(r"(?:vllm:|afina_engine_)\w+", Path(ROOT, "docker", "grafana.json").read_text("utf-8")))
    assert len(asked) >= 6
    assert asked - told == set()


async def test_a_closed_engine_tells_nothing_to_strangers(data: Path) -> None:
    async with serving(data, key="k") as closed:
        assert (await closed.get("/metrics")).status_code == 401
