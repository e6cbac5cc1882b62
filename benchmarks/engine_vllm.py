"""The embedded engine and real vLLM side by side on one CPU (`benchmarks/engine.py --vllm EXECUTABLE`).

Same model, adapters and requests. Both are processes behind HTTP, with as many threads each, asked by turns: `count`
whole answers at once, each from another adapter, greedy and of a fixed length. Needs a vLLM for CPUs in an environment
of its own. It says how the engines compare without a GPU and nothing about one with a GPU, for which vLLM is made.
"""

from __future__ import annotations

import asyncio
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
from transformers import Qwen3ForCausalLM

from bot.console.stack import free_port
from jobs.gpu.mini import SHIPPED
from jobs.gpu.models import load_tokenizer

BASE = "afina-mini"  # the name under which both serve the model of this benchmark
STARTED_WITHIN = 300.0  # seconds


def against_vllm(
    executable: str,
    model: Qwen3ForCausalLM,
    adapters: Mapping[str, Path],
    folder: Path,
    *,
    counts: Sequence[int],
    rounds: int,
    answer: int,
    threads: int,
) -> Iterator[dict[str, Any]]:
    """For each count: the seconds of both engines for as many answers at once in each round, and equal answers."""
    base = folder / "bases" / BASE
    model.save_pretrained(str(base))
    load_tokenizer(SHIPPED).save_pretrained(str(base))
    with embedded(folder, threads) as ours, vllm(executable, base, threads, folder) as theirs:
        for url in (ours, theirs):
            asyncio.run(load_all(url, adapters))
        for count in counts:
            bodies = requests(list(adapters)[:count], answer)
            texts = [asyncio.run(ask_all(url, bodies))[0] for url in (ours, theirs)]  # warms up, too
            times: list[tuple[float, float]] = []
            for number in range(rounds):
                order = (ours, theirs) if number % 2 else (theirs, ours)
                seconds = {url: asyncio.run(ask_all(url, bodies))[1] for url in order}
                times.append((seconds[ours], seconds[theirs]))
            yield {
                "adapters": count,
                "same_answers": f"{sum(a == b for a, b in zip(*texts, strict=True))}/{count}",
                "tokens": count * answer,
                "seconds": times,
            }


def requests(names: Sequence[str], answer: int) -> list[dict[str, Any]]:
    dice = random.Random(2)
    words = ["agua", "árbol", "barco", "datos", "espejo", "fuego", "gato", "hoja", "isla", "modelo", "palabra", "token"]
    return [
        {
            "model": name,
            "messages": [{"role": "user", "content": " ".join(dice.choices(words, k=dice.randrange(6, 40)))}],
            "max_tokens": answer,
            "temperature": 0,
            "ignore_eos": True,
        }
        for name in names
    ]


async def ask_all(url: str, bodies: Sequence[dict[str, Any]]) -> tuple[list[str], float]:
    """The answers, and the seconds until all were there."""
    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(base_url=url, timeout=600, limits=limits) as http:
        started = time.perf_counter()
        responses = await asyncio.gather(*(http.post("/v1/chat/completions", json=body) for body in bodies))
        seconds = time.perf_counter() - started
    for response in responses:
        response.raise_for_status()
    return [response.json()["choices"][0]["message"]["content"] for response in responses], seconds


async def load_all(url: str, adapters: Mapping[str, Path]) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        for name, path in adapters.items():
            response = await http.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": str(path)})
            if not response.is_success:
                raise RuntimeError(f"{name} is refused: {response.text}")


@contextmanager
def embedded(folder: Path, threads: int) -> Iterator[str]:
    port = str(free_port())
    where = ["--data", str(folder), "--artifacts", str(folder), "--base", BASE, "--port", port]
    command = [sys.executable, "-W", "ignore", "-m", "jobs.gpu", "serve", *where, "--threads", str(threads)]
    with serving(command, port, folder / "ours.log", {"OMP_WAIT_POLICY": "PASSIVE"}) as url:
        yield url


@contextmanager
def vllm(executable: str, base: Path, threads: int, folder: Path) -> Iterator[str]:
    port = str(free_port())
    sizes = ["--max-lora-rank", "16", "--max-loras", "32", "--max-cpu-loras", "64", "--max-num-seqs", "32"]
    here = ["--dtype", "float32", "--max-model-len", "512", "--enforce-eager", "--no-enable-prefix-caching"]
    command = [
        executable,
        "serve",
        str(base),
        "--served-model-name",
        BASE,
        "--port",
        port,
        "--enable-lora",
        *sizes,
        *here,
    ]
    environment = {
        "VLLM_ALLOW_RUNTIME_LORA_UPDATING": "True",
        "VLLM_TARGET_DEVICE": "cpu",
        "VLLM_CPU_KVCACHE_SPACE": "1",
        "HF_HUB_OFFLINE": "1",
        "OMP_NUM_THREADS": str(threads),
    }
    with serving(command, port, folder / "vllm.log", environment) as url:
        yield url


@contextmanager
def serving(command: Sequence[str], port: str, log: Path, environment: Mapping[str, str]) -> Iterator[str]:
    """The process until the block ends, with what it started."""
    url = f"http://127.0.0.1:{port}"
    with log.open("wb") as out:
        process = subprocess.Popen(command, env={**os.environ, **environment}, stdout=out, stderr=out)
    try:
        end = time.monotonic() + STARTED_WITHIN
        while not healthy(url):
            if process.poll() is not None or time.monotonic() > end:
                raise RuntimeError(f"{command[0]} does not serve; see {log}")
            time.sleep(0.2)
        yield url
    finally:
        children = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        process.terminate()
        process.wait(30)
        for child in children:
            if child.is_running():
                child.kill()


def healthy(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health", timeout=2).is_success
    except httpx.HTTPError:
        return False
