"""One contract, two engines: what the client needs holds for the embedded engine and for vLLM.

The vLLM half runs where `AFINA_TEST_VLLM` names its executable.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.engine import EngineClient, TooLong
from jobs.errors import ModelNotFound
from tests.gpu.engine.conftest import make_model, make_tokenizer, new_adapter
from tests.gpu.engine.test_server import generated, serving

__all__ = ["new_adapter"]  # a fixture
pytestmark = [pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"), pytest.mark.timeout(300)]

HELLO = [{"role": "user", "content": "hola, ¿qué tal?"}]
GREEDY = {"temperature": 0, "max_tokens": 12}


@pytest.fixture(scope="session")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data folder with one base, `tiny`; vLLM's attention on a CPU takes no heads smaller than these."""
    folder = tmp_path_factory.mktemp("data")
    make_model("llama", hidden_size=128).save_pretrained(str(folder / "bases" / "tiny"))
    make_tokenizer().save_pretrained(str(folder / "bases" / "tiny"))
    (folder / "adapters").mkdir()
    return folder


@asynccontextmanager
async def vllm(data: Path) -> AsyncIterator[str]:
    """A vLLM process that serves `tiny` as docs/motor.md says."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    sizes = ["--max-lora-rank", "64", "--max-loras", "8", "--max-cpu-loras", "64"]
    here = ["--max-model-len", "512", "--dtype", "float32", "--enforce-eager"]
    process = await asyncio.create_subprocess_exec(
        os.environ["AFINA_TEST_VLLM"], "serve", str(data / "bases" / "tiny"), "--served-model-name", "tiny",
        "--enable-lora", *sizes, *here, "--port", str(port),
        env={
            **os.environ,
            "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
            "VLLM_CPU_KVCACHE_SPACE": "1",
            "HF_HUB_OFFLINE": "1",
        },
    )  # fmt: skip
    url = f"http://127.0.0.1:{port}"
    client = EngineClient(url)
    try:
        async with asyncio.timeout(180):
            while not await client.healthy():
                assert process.returncode is None, "vLLM did not start"
                await asyncio.sleep(0.5)
        yield url
    finally:
        await client.aclose()
        process.terminate()
        await process.wait()


@asynccontextmanager
async def embedded(data: Path) -> AsyncIterator[str]:
    async with serving(data) as http:
        yield str(http.base_url)


def whole(text: str) -> str:
    """Without half a character at the end, where the last token cut it; vLLM keeps that back."""
    return text.rstrip("\ufffd")


ENGINES = [
    pytest.param(embedded, id="embedded"),
    pytest.param(
        vllm,
        id="vllm",
        marks=[pytest.mark.vllm, pytest.mark.skipif("AFINA_TEST_VLLM" not in os.environ, reason="no vLLM")],
    ),
]


@pytest.mark.parametrize("engine", ENGINES)
async def test_load_chat_stream_unload_and_every_refusal(
    engine: Callable, data: Path, new_adapter: Callable[..., Path]
) -> None:
    folders = {f"contract-{seed}": new_adapter(f"contract-{seed}", seed=40 + seed, rank=4 * seed) for seed in (1, 2)}
    too_wide = new_adapter("contract-wide", seed=50, rank=128)
    async with engine(data) as url:
        client = EngineClient(url)
        try:
            assert await client.maker() == {embedded: "afina", vllm: "vllm"}[engine]
            assert "tiny" in await client.bases()
            for name, folder in folders.items():
                await client.ensure_adapter(name, str(folder))
            assert set(folders) <= set(await client.models())
            assert set(folders).isdisjoint(await client.bases())
            names = ["tiny", *folders]
            answers = await asyncio.gather(*(client.chat(name, HELLO, parameters=GREEDY) for name in names))
            assert [whole(text) for text in answers] == [
                whole(generated(data, HELLO, folders.get(name))) for name in names
            ]
            chunks = [chunk async for chunk in client.answer("contract-1", HELLO, parameters=GREEDY)]
            assert "".join(chunk.text for chunk in chunks) == answers[1]
            assert chunks[-1].finish in ("stop", "length")
            count = await client.count("contract-1", HELLO)
            assert count
            assert count.context == 512
            with pytest.raises(TooLong):
                await client.chat("tiny", [{"role": "user", "content": "hola " * 900}], parameters=GREEDY)
            with pytest.raises(ModelNotFound):
                await client.ensure_adapter("contract-wide", str(too_wide))
            with pytest.raises(ModelNotFound):
                await client.ensure_adapter("contract-gone", str(data / "adapters" / "contract-gone"))
            await client.unload("contract-1")
            with pytest.raises(ModelNotFound):
                await client.chat("contract-1", HELLO, parameters=GREEDY)
        finally:
            await client.aclose()
