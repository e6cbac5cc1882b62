"""Vectors of a real encoder of a few random weights, as langchain's OpenAI client reads them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import numpy as np
import pytest
import torch
import uvicorn
from langchain_openai import OpenAIEmbeddings
from transformers import BertConfig, BertModel

from jobs.gpu.engine.embeddings import SLICE, Embedder
from jobs.gpu.engine.server import application
from tests.gpu.engine.conftest import make_tokenizer

TEXTS = ["hola", "afinar un modelo de lenguaje con LoRA", "", "niño añejo € " * 400]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder") / "diminuto"
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 64}
    BertModel(BertConfig(vocab_size=320, max_position_embeddings=128, **sizes)).save_pretrained(folder)
    make_tokenizer().save_pretrained(folder)
    return folder


@pytest.fixture
async def url(folder: Path) -> AsyncIterator[str]:
    app = application(None, key="secreto", embedder=Embedder(folder))  # the engine is not asked for vectors
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off"))
    with socket.create_server(("127.0.0.1", 0)) as listening:
        task = asyncio.create_task(server.serve(sockets=[listening]))
        yield f"http://127.0.0.1:{listening.getsockname()[1]}/v1"
        server.should_exit = True
        await task


def alone(folder: Path, text: str) -> list[float]:
    """The mean of the last hidden states, normalised, with nothing beside it and no padding."""
    model = BertModel.from_pretrained(folder).eval()
    rows = make_tokenizer()([text or " "], truncation=True, max_length=128, return_tensors="pt")
    with torch.inference_mode():
        hidden = model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"]).last_hidden_state[0]
    mean = hidden.mean(0)
    return (mean / mean.norm()).tolist()


async def test_langchain_reads_the_vectors_that_each_text_has_alone(url: str, folder: Path) -> None:
    async with httpx.AsyncClient() as http:
        client = OpenAIEmbeddings(
            model="diminuto",
            base_url=url,
            api_key="secreto",
            check_embedding_ctx_length=False,
            max_retries=0,
            http_async_client=http,
        )
        vectors = await client.aembed_documents(TEXTS)
        assert np.allclose(await client.aembed_query(TEXTS[1]), vectors[1], atol=1e-5)
    assert np.allclose(vectors, [alone(folder, text) for text in TEXTS], atol=1e-5)
    assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)


async def test_more_texts_than_a_slice_keep_their_order(url: str) -> None:
    texts = [f"texto {number}" for number in range(2 * SLICE + 3)]
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": "Bearer secreto"}) as client:
        data = (await client.post("/embeddings", json={"model": "diminuto", "input": texts})).json()
        one = (await client.post("/embeddings", json={"input": texts[-1]})).json()
    assert [row["index"] for row in data["data"]] == list(range(len(texts)))
    assert np.allclose(data["data"][-1]["embedding"], one["data"][0]["embedding"], atol=1e-5)
    assert data["usage"]["total_tokens"] > len(texts)
    assert one["model"] == "diminuto"


@pytest.mark.parametrize(
    "change",
    [{"input": []}, {"input": [1, 2, 3]}, {"input": ["a"] * 3000}, {"dimensions": 8}, {"encoding_format": "int8"}],
)
async def test_what_cannot_be_embedded_is_a_400(url: str, change: dict) -> None:
    async with httpx.AsyncClient(base_url=url, headers={"Authorization": "Bearer secreto"}) as client:
        response = await client.post("/embeddings", json={"model": "diminuto", "input": "hola", **change})
    assert (response.status_code, response.json()["error"]["code"]) == (400, 400)
