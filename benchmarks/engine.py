"""The embedded engine: throughput with many adapters, and time to the first token.

    python benchmarks/engine.py [--adapters 8 32] [--rounds 5] [--users 16]

Everything runs in this process, interleaved, on one random Qwen3 of about 42 M parameters in fp32; the medians of the
paired ratios are printed, with the lowest and highest, and on standard error what each round gave. Before anything is
timed the tokens of all ways are compared. All of them compute on the engine's own thread, as in its process: OpenMP
keeps a pool for every thread that computes, and two pools on two cores put each other to sleep. Reloading is serial, so
it is timed on the first four requests and scaled by the number of tokens.
Quote the ratios, never the tokens a second: the model is a toy and the machine is shared.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import torch
import transformers
from peft import LoraConfig, PeftModel, get_peft_model
from transformers import Qwen3Config, Qwen3ForCausalLM

from jobs.gpu.engine.adapters import Adapter, Place, read_adapter
from jobs.gpu.engine.batch import Batch, Delivery, Request
from jobs.gpu.engine.loop import Loop
from jobs.gpu.engine.sampling import Sampling

VOCABULARY = 8192
ANSWER = 24  # tokens of every answer
RELOADED = 4  # requests of a round that are timed with an adapter read from disk each
RANKS = (8, 12, 16)
Prompts = list[list[int]]
T = TypeVar("T")


def make_model(vocabulary: int = VOCABULARY) -> Qwen3ForCausalLM:
    torch.manual_seed(0)
    config = Qwen3Config(
        vocab_size=vocabulary,
        hidden_size=512,
        intermediate_size=1536,
        num_hidden_layers=12,
        num_attention_heads=8,
        num_key_value_heads=4,
        head_dim=64,
        initializer_range=0.08,
        tie_word_embeddings=False,
    )
    model = Qwen3ForCausalLM(config).eval()
    model.generation_config.eos_token_id = None
    model.generation_config.pad_token_id = 0
    return model


def make_adapters(model: Qwen3ForCausalLM, folder: Path, count: int) -> dict[str, Path]:
    out = {}
    for index in range(count):
        torch.manual_seed(index + 1)
        rank = RANKS[index % len(RANKS)]
        tuned = get_peft_model(model, LoraConfig(r=rank, lora_alpha=2 * rank, target_modules="all-linear"))
        with torch.no_grad():
            for name, parameter in tuned.named_parameters():
                if "lora_B" in name:
                    parameter.normal_(std=0.02)
        tuned.save_pretrained(str(folder / f"a{index}"))
        tuned.unload()
        out[f"a{index}"] = folder / f"a{index}"
    return out


def with_adapters(model: Qwen3ForCausalLM, folders: dict[str, Path]) -> PeftModel:
    first, *others = folders
    tuned = PeftModel.from_pretrained(model, str(folders[first]), adapter_name=first)
    for name in others:
        tuned.load_adapter(str(folders[name]), adapter_name=name)
    return tuned.eval()


class Engine:
    """The engine's own loop over one batch, without HTTP."""

    def __init__(self, model: Qwen3ForCausalLM, folders: dict[str, Path], rows: int) -> None:
        self.batch = Batch(model, max_rows=rows, prefix_tokens=0)
        place = Place(sites=self.batch.sites, max_rank=64, device=model.device, dtype=model.dtype)
        self.adapters: dict[str | None, Adapter | None] = {n: read_adapter(n, f, place) for n, f in folders.items()}
        self.adapters[None] = None
        self.loop = Loop(prefill_tokens=4096)
        self.loop.start()

    def on(self, work: Callable[[], T]) -> T:
        """Do it on the engine's thread."""
        return self.loop.call(work).result()

    def run(self, names: list[str | None], prompts: Prompts) -> tuple[list[list[int]], list[float]]:
        """Tokens of each answer, and the seconds until each one's first token."""
        ended = threading.Semaphore(0)
        requests: list[Request] = []
        firsts = [0.0] * len(prompts)
        started = time.perf_counter()
        for index, (name, prompt) in enumerate(zip(names, prompts, strict=True)):

            def deliver(delivery: Delivery, index: int = index) -> None:
                firsts[index] = firsts[index] or time.perf_counter() - started
                if delivery.finish:
                    ended.release()

            sampling = Sampling(max_tokens=ANSWER, temperature=0.0, ignore_eos=True)
            request = Request(
                prompt=prompt, adapter=self.adapters[name], sampling=sampling, stop_tokens=frozenset(), deliver=deliver
            )
            requests.append(request)
            self.loop.submit(self.batch, request)
        for _ in prompts:
            ended.acquire()
        return [request.tokens for request in requests], firsts


@torch.inference_mode()
def generate(model: torch.nn.Module, prompt: list[int]) -> list[int]:
    ids = torch.tensor([prompt])
    out = model.generate(ids, attention_mask=torch.ones_like(ids), max_new_tokens=ANSWER, do_sample=False)
    return out[0, len(prompt) :].tolist()


def reload_each(
    model: Qwen3ForCausalLM, folders: dict[str, Path], names: list[str], prompts: Prompts
) -> list[list[int]]:
    """One request after the other, its adapter read from disk each time."""
    out = []
    for name, prompt in zip(names, prompts, strict=True):
        tuned = PeftModel.from_pretrained(model, str(folders[name]))
        out.append(generate(tuned.eval(), prompt))
        tuned.unload()
    return out


@torch.inference_mode()
def peft_mixed(tuned: PeftModel, names: list[str], prompts: Prompts) -> list[list[int]]:
    """PEFT's own mixed batch, which loops over the adapters in each layer."""
    longest = max(map(len, prompts))
    ids = torch.tensor([[0] * (longest - len(p)) + p for p in prompts])
    mask = torch.tensor([[0] * (longest - len(p)) + [1] * len(p) for p in prompts])
    out = tuned.generate(
        input_ids=ids, attention_mask=mask, max_new_tokens=ANSWER, do_sample=False, adapter_names=names
    )
    return out[:, longest:].tolist()


def apart(work: Callable[[], T]) -> T:
    """Do it on a thread that ends, and its pool with it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def seconds(work: Callable[[], object]) -> float:
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def tell(line: str) -> None:
    """Progress, beside the figures."""
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def spread(values: list[float]) -> dict[str, float]:
    return {"median": round(statistics.median(values), 2), "min": round(min(values), 2), "max": round(max(values), 2)}


def throughput(count: int, rounds: int, folder: Path) -> dict[str, object]:
    plain, mixed = apart(make_model), apart(make_model)
    folders = apart(lambda: make_adapters(plain, folder, count))
    engine = apart(lambda: Engine(make_model(), folders, rows=count))
    names = list(folders)
    tuned = apart(lambda: with_adapters(mixed, folders))
    dice = random.Random(0)
    prompts = [[dice.randrange(1, VOCABULARY) for _ in range(dice.randrange(16, 97))] for _ in names]
    tell(f"{count} adapters: comparing tokens")
    expected = engine.on(lambda: reload_each(plain, folders, names, prompts))
    got, _ = engine.run(list(names), prompts)
    same = sum(a == b for a, b in zip(expected, got, strict=True))
    ratios: dict[str, list[float]] = {"reload": [], "peft_mixed": [], "base": []}
    for number in range(1, rounds + 1):
        ours = seconds(lambda: engine.run(list(names), prompts))
        ratios["base"].append(seconds(lambda: engine.run([None] * count, prompts)) / ours)
        ratios["peft_mixed"].append(seconds(lambda: engine.on(lambda: peft_mixed(tuned, names, prompts))) / ours)
        some = seconds(lambda: engine.on(lambda: reload_each(plain, folders, names[:RELOADED], prompts[:RELOADED])))
        ratios["reload"].append(some * count / min(count, RELOADED) / ours)
        latest = ", ".join(f"{name} {values[-1]:.2f}" for name, values in ratios.items())
        tell(f"{count} adapters, round {number} of {rounds}: {latest} ({ours:.1f} s)")
    engine.loop.close()
    return {
        "adapters": count,
        "identical_answers": f"{same}/{count}",
        "times_reloading_per_request": spread(ratios["reload"]),
        "times_peft_mixed_batch": spread(ratios["peft_mixed"]),
        "share_of_base_only": spread(ratios["base"]),
    }


def first_token(users: int, rounds: int, folder: Path) -> dict[str, object]:
    """p95 of the time to the first token when `users` ask at once, against one `generate` after the other."""
    plain = apart(make_model)
    folders = apart(lambda: make_adapters(plain, folder, users))
    engine = apart(lambda: Engine(make_model(), folders, rows=users))
    names = list(folders)
    tuned = apart(lambda: with_adapters(plain, folders))
    dice = random.Random(1)
    prompts = [[dice.randrange(1, VOCABULARY) for _ in range(dice.randrange(16, 97))] for _ in names]
    engine.run(list(names), prompts)
    ratios: list[float] = []
    for number in range(1, rounds + 1):
        _, firsts = engine.run(list(names), prompts)
        serial = engine.on(lambda: _serial_first_tokens(tuned, names, prompts))
        ratios.append(_p95(serial) / _p95(firsts))
        tell(f"first token of {users} users, round {number} of {rounds}: {ratios[-1]:.2f}")
    engine.loop.close()
    return {"users": users, "times_sooner_than_serial_generate_p95": spread(ratios)}


def _serial_first_tokens(tuned: PeftModel, names: list[str], prompts: Prompts) -> list[float]:
    firsts = []
    started = time.perf_counter()
    for name, prompt in zip(names, prompts, strict=True):
        tuned.set_adapter(name)
        streamer = _FirstToken()
        ids = torch.tensor([prompt])
        with torch.inference_mode():
            tuned.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=ANSWER,
                do_sample=False,
                streamer=streamer,
            )
        firsts.append(streamer.at - started)
    return firsts


class _FirstToken(transformers.generation.streamers.BaseStreamer):
    def __init__(self) -> None:
        self.calls, self.at = 0, 0.0

    def put(self, value: torch.Tensor) -> None:
        self.calls += 1
        if self.calls == 2:  # the first call is the prompt
            self.at = time.perf_counter()

    def end(self) -> None:
        """Nothing is held back."""


def beside_vllm(executable: str, counts: list[int], rounds: int, threads: int, folder: Path) -> None:
    """Print, for each count of adapters, how many times as fast as vLLM on the same processor the engine is."""
    from benchmarks.engine_vllm import BASE, against_vllm

    model = make_model(vocabulary=4096)  # that of afina-mini's tokenizer
    model.name_or_path = BASE  # what its adapters say that they were made for
    adapters = make_adapters(model, folder / "adapters", max(counts))
    measured = against_vllm(
        executable, model, adapters, folder, counts=counts, rounds=rounds, answer=ANSWER, threads=threads
    )
    for one in measured:
        times = one.pop("seconds")
        ratios = spread([theirs / ours for ours, theirs in times])
        print(json.dumps({**one, "times_as_fast_as_vllm_on_this_processor": ratios, "seconds": times}), flush=True)


def _p95(values: list[float]) -> float:
    return sorted(values)[min(len(values) - 1, int(0.95 * len(values)))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--adapters", type=int, nargs="*", default=[8, 32])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--users", type=int, default=16)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--vllm", metavar="EXECUTABLE", help="only the comparison with this vLLM, made for CPUs")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    transformers.utils.logging.set_verbosity_error()
    print(json.dumps({"torch": torch.__version__, "transformers": transformers.__version__, "threads": args.threads}))
    with tempfile.TemporaryDirectory() as folder:
        if args.vllm:
            beside_vllm(args.vllm, args.adapters, args.rounds, args.threads, Path(folder))
            return
        for count in args.adapters:
            print(json.dumps(throughput(count, args.rounds, Path(folder) / f"t{count}")), flush=True)
        if args.users:
            print(json.dumps(first_token(args.users, args.rounds, Path(folder) / "f")), flush=True)


if __name__ == "__main__":
    main()
