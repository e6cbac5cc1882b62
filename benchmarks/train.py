"""Our training against a plain TRL script: the same data, model, epochs and adapter, interleaved in one run.

`python -m benchmarks.train [--rounds 5] [--rows 500] [--epochs 2] [--hidden 256]`. Two models: afina-mini, and a random
Qwen3 (`--hidden 2048 --layers 16` is about 1 B: for a GPU). Each measurement is a process of its own. Plain is what
people write: a fresh interpreter, `SFTTrainer` with its defaults, `assistant_only_loss` and a LoraConfig. Ours is the
worker's way: a parent that has imported everything forks a child, which goes through `jobs.gpu.train.train`, events,
checkpoints and all.

Prints one JSON object: for each model the medians of both sides, and the median, least and greatest paired ratio of
time to the first step, useful (non-padding) tokens a second, rows prepared a second and peak memory (proportional
set size, the parent's included), and the validation losses. It stops where TRL's tokens and masks are not ours. Ratios
on a processor say nothing about a GPU.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

THREADS = os.cpu_count() or 1
SETTINGS = {"learning_rate": 5e-4, "batch": 8, "rank": 16, "alpha": 32, "seed": 1}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in {"rounds": 5, "rows": 500, "epochs": 2, "hidden": 256, "layers": 4}.items():
        arguments.add_argument(f"--{name}", type=int, default=value)
    arguments.add_argument("--plain", type=Path, help=argparse.SUPPRESS)  # one measurement of the plain script
    args = arguments.parse_args()
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # for both sides: other programs run here too
    if args.plain:
        plain(args.plain, args.epochs)
        return
    with tempfile.TemporaryDirectory() as folder:
        report = {"machine": describe(), "settings": SETTINGS | vars(args) | {"plain": None}}
        for name in ("afina-mini", "qwen3-random"):
            report[name] = compare(stage(Path(folder) / name, name, args), args)
        print(json.dumps(report, indent=2))


def describe() -> dict[str, Any]:
    import torch
    import transformers
    import trl

    versions = {module.__name__: module.__version__ for module in (torch, transformers, trl)}
    return versions | {"python": platform.python_version(), "threads": THREADS, "cuda": torch.cuda.device_count()}


def stage(folder: Path, name: str, args: argparse.Namespace) -> Path:
    """A data folder with the base (under the id afina-mini, which both sides load) and the rows."""
    script = (
        "import sys; from benchmarks.train import make_base; make_base(*sys.argv[1:])"  # the parent computes nothing
    )
    subprocess.run([sys.executable, "-c", script, str(folder), name, str(args.hidden), str(args.layers)], check=True)
    rng = random.Random(0)
    words = [f"palabra{number}" for number in range(400)]
    for file, count in (("train", args.rows), ("held_out", 60)):
        lines = []
        for number in range(count):
            spoken = rng.sample(words, rng.choice((3, 5, 8, 12, 20, 40)))
            turns = [("user", f"{file} {number}: {' '.join(spoken)}"), ("assistant", " ".join(reversed(spoken[:4])))]
            lines.append(json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}))
        (folder / f"{file}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def make_base(folder: str, name: str, hidden: str, layers: str) -> None:
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from jobs.gpu.mini import ensure_mini

    base = ensure_mini(Path(folder))
    if name == "qwen3-random":
        torch.manual_seed(0)
        width, tokenizer = int(hidden), AutoTokenizer.from_pretrained(base)
        Qwen3ForCausalLM(
            Qwen3Config(
                vocab_size=len(tokenizer), hidden_size=width, intermediate_size=3 * width,
                num_hidden_layers=int(layers),
                num_attention_heads=max(2, width // 64), num_key_value_heads=max(1, width // 128), head_dim=64,
                max_position_embeddings=1024, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
            )
        ).save_pretrained(base)  # fmt: skip


# -- one round ---------------------------------------------------------------------------------------------------------


def compare(folder: Path, args: argparse.Namespace) -> dict[str, Any]:
    sides: dict[str, list[dict[str, float]]] = {"plain": [], "ours": []}
    for turn in range(args.rounds):
        order = ("plain", "ours") if turn % 2 else ("ours", "plain")
        for side in order:
            sides[side].append(run_ours(folder, args.epochs) if side == "ours" else run_plain(folder, args.epochs))
            print(f"{folder.name}, round {turn + 1}, {side}: {sides[side][-1]}", file=sys.stderr, flush=True)
    names = sides["plain"][0]
    medians = {side: {n: statistics.median(r[n] for r in rounds) for n in names} for side, rounds in sides.items()}
    ratios = {}
    for name in names:
        paired = sorted(ours[name] / theirs[name] for ours, theirs in zip(sides["ours"], sides["plain"], strict=True))
        ratios[name] = {"median": statistics.median(paired), "least": paired[0], "greatest": paired[-1]}
    return {"medians": medians, "ours_over_plain": ratios}


def run_plain(folder: Path, epochs: int) -> dict[str, float]:
    started = time.time()
    command = [sys.executable, "-m", "benchmarks.train", "--plain", str(folder), "--epochs", str(epochs)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    memory = Memory(process.pid)
    out, _ = process.communicate()
    result = json.loads(out.splitlines()[-1])
    result["first_step_seconds"] = result.pop("first_step_at") - started
    return result | {"peak_bytes": memory.peak()}


def run_ours(folder: Path, epochs: int) -> dict[str, float]:
    import jobs.gpu.train  # noqa: F401 - warm, as in the worker

    reader, writer = os.pipe()
    gc.freeze()  # as the worker does
    started = time.time()
    child = os.fork()
    if child == 0:
        try:
            os.write(writer, json.dumps(ours(folder, epochs)).encode())
        finally:
            os._exit(0)
    os.close(writer)
    memory = Memory(child, os.getpid())
    result = json.loads(os.fdopen(reader).read())
    os.waitpid(child, 0)
    result["first_step_seconds"] = result.pop("first_step_at") - started
    return result | {"peak_bytes": memory.peak()}


class Memory:
    """Watches the proportional set size of some processes; `peak` once they have ended."""

    def __init__(self, *processes: int) -> None:
        self._processes = [psutil.Process(process) for process in processes]
        self._peak = 0
        self._thread = threading.Thread(target=self._watch)
        self._done = threading.Event()
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.25):
            try:
                self._peak = max(self._peak, sum(p.memory_full_info().pss for p in self._processes))
            except psutil.Error:
                return

    def peak(self) -> int:
        self._done.set()
        self._thread.join()
        return self._peak


def result(
    first: float, last: float, steps: int, tokens: int, prepared: float, rows: int, loss: float
) -> dict[str, float]:
    """`first`, `last`: when the first and the last step ended; tokens of all steps."""
    speed = tokens * (steps - 1) / steps / (last - first)
    return {
        "first_step_at": first,
        "tokens_per_second": speed,
        "rows_prepared_per_second": rows / prepared,
        "validation_loss": loss,
    }


# -- the two sides -----------------------------------------------------------------------------------------------------


def plain(folder: Path, epochs: int) -> None:
    """What a practitioner writes, with TRL's defaults where nothing must be said."""
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Clock(TrainerCallback):
        def __init__(self) -> None:
            self.steps: list[float] = []

        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.steps.append(time.time())

    prepared = [0.0]

    class Timed(SFTTrainer):
        def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
            started = time.time()
            dataset = super()._prepare_dataset(dataset, *args, **kwargs)
            prepared[0] += time.time() - started
            return dataset

    base = folder / "bases" / "afina-mini"
    tokenizer = AutoTokenizer.from_pretrained(base)
    clock = Clock()
    trainer = Timed(
        model=AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32),
        args=SFTConfig(
            output_dir=str(folder / "plain"),
            num_train_epochs=epochs,
            per_device_train_batch_size=SETTINGS["batch"],
            learning_rate=SETTINGS["learning_rate"],
            lr_scheduler_type="cosine",
            assistant_only_loss=True,
            use_cpu=not torch.cuda.is_available(),
            bf16=torch.cuda.is_available(),
            report_to=[],
            seed=SETTINGS["seed"],
        ),
        train_dataset=load_dataset("json", data_files=str(folder / "train.jsonl"), cache_dir=folder / "cache")["train"],
        processing_class=tokenizer,
        callbacks=[clock],
        peft_config=LoraConfig(
            r=SETTINGS["rank"], lora_alpha=SETTINGS["alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )
    trainer.train()
    shutil.rmtree(folder / "cache")

    from jobs.dataset import read_examples
    from jobs.gpu.chat import ChatEncoder
    from jobs.gpu.evaluate import measure_loss

    encoder = ChatEncoder(tokenizer)
    loss = measure_loss(trainer.model.eval(), encoder, encoder.encode(list(read_examples(folder / "held_out.jsonl"))))[
        0
    ]
    rows = encoder.encode(list(read_examples(folder / "train.jsonl")))
    theirs = [(row["input_ids"], row["labels"]) for row in trainer.train_dataset]
    assert theirs == [(row.input_ids, row.labels) for row in rows]
    tokens = sum(len(row.input_ids) for row in rows) * epochs
    steps = clock.steps
    print(json.dumps(result(steps[0], steps[-1], len(steps), tokens, prepared[0], len(rows), loss)))


def ours(folder: Path, epochs: int) -> dict[str, float]:
    from jobs.artifacts import Artifacts
    from jobs.contract import EventType, Recipe, TrainRequest
    from jobs.dataset import read_examples
    from jobs.gpu.chat import ChatEncoder
    from jobs.gpu.data import prepare
    from jobs.gpu.models import load_tokenizer
    from jobs.gpu.progress import Progress
    from jobs.gpu.train import train

    store = Artifacts(str(folder))
    attempt = time.time_ns()
    request = TrainRequest(
        job_id="medida",
        attempt=attempt,
        base_id="afina-mini",
        dataset_path=store.put_dataset("datos01", 1, folder / "train.jsonl"),
        validation_path=store.put_dataset("datos01", 2, folder / "held_out.jsonl"),
        dataset_sha256="0" * 64,
        adapter_name=f"medida-{attempt}",
        recipe=Recipe(
            epochs=epochs,
            batch_size=SETTINGS["batch"],
            learning_rate=SETTINGS["learning_rate"],
            rank=SETTINGS["rank"],
            alpha=SETTINGS["alpha"],
            warmup_ratio=0.0,
            seed=SETTINGS["seed"],
        ),
    )
    said: list[tuple[float, EventType, dict[str, Any]]] = []

    class Never:
        def requested(self) -> None:
            return None

    progress = Progress(lambda type, message="", level="info", **data: said.append((time.time(), type, data)), Never())
    examples = list(read_examples(folder / "train.jsonl"))
    encoder = ChatEncoder(load_tokenizer(folder / "bases" / "afina-mini"))
    started = time.time()
    prepare(encoder, examples, max_length=1024)
    prepared = time.time() - started
    done = train(request, data=folder, artifacts=store, work=folder / "jobs" / str(attempt), progress=progress)
    steps = [(at, data["step"]) for at, type, data in said if type is EventType.METRICS]
    (first, _), (last, count) = steps[0], steps[-1]
    return result(first, last, count, done.trained_tokens, prepared, len(examples), done.evaluation.tuned.loss)


if __name__ == "__main__":
    main()
