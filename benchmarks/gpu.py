"""Our training against plain TRL on a GPU: `python -m benchmarks.gpu`, and one JSON object on standard output.

Random weights of the sizes of a 1 B and an 8 B Qwen3 (made here, nothing is downloaded) over rows of mixed lengths. For
each size, interleaved, every measurement in a process of its own:

- useful (non-padding) tokens a second, ours and a plain `SFTTrainer` script with its defaults, and their paired ratio;
- ours as a share of the compute bound: peak FLOP/s ÷ (4 × parameters), or ÷ (6 ×) where activations are recomputed;
- the peak of the device's memory, LoRA and QLoRA, ours and plain;
- ours with FlashAttention, Liger and torch.compile, each where it is installed; without saying so, none is used.

Ours is forked from a parent that has imported everything and must not have touched CUDA, as in the worker: where that
does not work, nothing here does. `--sizes 0.01 --rounds 1` runs every path on a processor, to see that it runs; the
figures of that say nothing.
"""

from __future__ import annotations

import argparse
import gc
import importlib.util
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# hidden size, inner size, layers, heads, heads of keys, vocabulary
SIZES = {
    "0.01": (64, 192, 2, 4, 2, 4_096),
    "1": (2048, 6144, 16, 16, 8, 151_936),
    "8": (4096, 12_288, 36, 32, 8, 151_936),
}
PEAK = {"H200": 989e12, "H100": 989e12, "A100": 312e12, "L40S": 362e12, "4090": 165e12, "3090": 71e12}  # bf16, dense
RECIPE = {"batch_size": 8, "rank": 16, "alpha": 32, "learning_rate": 2e-4, "epochs": 1, "max_length": 2048, "seed": 1}
PARAMETERS = "parameters"  # a file that says how many the base has
VARIANTS = {
    "ours": (),
    "ours, QLoRA": ("four_bit",),
    "ours, FlashAttention": ("flash_attn",),
    "ours, Liger": ("liger_kernel",),
    "ours, compiled": ("compile",),
    "plain": (),
    "plain, QLoRA": ("four_bit",),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--sizes", nargs="+", choices=SIZES, default=["1", "8"], help="billions of parameters")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--rows", type=int, default=400)
    arguments.add_argument("--peak", type=float, help="FLOP/s of the device in bf16, where its name is not known here")
    arguments.add_argument("--one", nargs=2, metavar=("VARIANT", "FOLDER"), help=argparse.SUPPRESS)
    args = arguments.parse_args()
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")
    if args.one:
        variant, folder = args.one
        print(json.dumps(plain(Path(folder), "four_bit" in VARIANTS[variant])))
        return
    from benchmarks.train import describe
    from jobs.gpu.device import describe_device

    device = describe_device()
    peak = args.peak or next((flops for name, flops in PEAK.items() if name in device["device_name"]), None)
    report: dict[str, Any] = {"machine": describe() | device, "recipe": RECIPE | {"rows": args.rows}}
    with tempfile.TemporaryDirectory() as folder:
        for size in args.sizes:
            report[size] = compare(stage(Path(folder) / size, size, args.rows), args.rounds, peak)
    print(json.dumps(report, indent=2))


def stage(folder: Path, size: str, rows: int) -> Path:
    """A data folder with a base (under the id afina-mini, which both sides load) and the rows."""
    script = "import sys; from benchmarks.gpu import make_base; make_base(*sys.argv[1:])"  # this one stays clean
    subprocess.run([sys.executable, "-c", script, str(folder), size], check=True)
    rng = random.Random(0)
    words = [f"palabra{number}" for number in range(400)]
    longest = 8 if size == "0.01" else 160
    for file, count in (("train", rows), ("held_out", 8)):
        lines = []
        for number in range(count):
            spoken = rng.choices(words, k=min(longest, 4 + int(rng.expovariate(1 / 40))))
            turns = [("user", f"{file} {number}: {' '.join(spoken)}"), ("assistant", " ".join(reversed(spoken)))]
            lines.append(json.dumps({"messages": [{"role": role, "content": text} for role, text in turns]}))
        (folder / f"{file}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def make_base(folder: str, size: str) -> None:
    import torch
    from transformers import AutoTokenizer, Qwen3Config, Qwen3ForCausalLM

    from jobs.gpu.mini import ensure_mini
    from jobs.gpu.models import best_device

    base = ensure_mini(Path(folder))
    tokenizer = AutoTokenizer.from_pretrained(base)
    hidden, inner, layers, heads, keys, vocabulary = SIZES[size]
    config = Qwen3Config(
        vocab_size=max(vocabulary, len(tokenizer)), hidden_size=hidden, intermediate_size=inner,
        num_hidden_layers=layers, num_attention_heads=heads, num_key_value_heads=keys, head_dim=hidden // heads,
        max_position_embeddings=4096, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    torch.set_default_dtype(torch.bfloat16)
    with best_device():
        model = Qwen3ForCausalLM(config)
    model.save_pretrained(base)
    (Path(folder) / PARAMETERS).write_text(str(model.num_parameters()))


# -- rounds ------------------------------------------------------------------------------------------------------------


def compare(folder: Path, rounds: int, peak: float | None) -> dict[str, Any]:
    measured: dict[str, list[dict[str, Any]]] = {name: [] for name in VARIANTS if installed(VARIANTS[name])}
    for turn in range(rounds):
        names = list(measured) if turn % 2 else list(measured)[::-1]
        for name in names:
            measured[name].append(run(name, folder))
            print(f"{folder.name} B, round {turn + 1}, {name}: {measured[name][-1]}", file=sys.stderr, flush=True)
    report = {name: medians(runs, peak) for name, runs in measured.items()}
    pairs = {"ours": "plain", "ours, QLoRA": "plain, QLoRA"}
    for ours, theirs in pairs.items():
        both = zip(measured[ours], measured[theirs], strict=True)
        ratios = sorted(o["tokens_per_second"] / t["tokens_per_second"] for o, t in both if not _failed(o, t))
        if ratios:
            report[f"{ours} ÷ {theirs}"] = {
                "median": statistics.median(ratios), "least": ratios[0], "greatest": ratios[-1]
            }  # fmt: skip
    return report


def installed(needs: tuple[str, ...]) -> bool:
    packages = [need for need in needs if need not in ("four_bit", "compile")]
    return all(importlib.util.find_spec(package) for package in packages)


def _failed(*runs: dict[str, Any]) -> bool:
    return any("failed" in run for run in runs)


def medians(runs: list[dict[str, Any]], peak: float | None) -> dict[str, Any]:
    worked = [run for run in runs if not _failed(run)]
    if not worked:
        return runs[0]
    report: dict[str, Any] = {name: statistics.median(run[name] for run in worked) for name in worked[0]}
    if peak is not None:
        times = 6 if report["recomputed"] else 4
        report["share_of_bound"] = report["tokens_per_second"] * times * report["parameters"] / peak
    return report


def run(name: str, folder: Path) -> dict[str, Any]:
    """One measurement; {"failed": why} where it does not run."""
    if name.startswith("plain"):
        command = [sys.executable, "-m", "benchmarks.gpu", "--one", name, str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        return json.loads(done.stdout.splitlines()[-1]) if done.returncode == 0 else {"failed": done.stderr[-400:]}
    import torch

    import jobs.gpu.train  # noqa: F401 - warm, as in the worker

    assert not torch.cuda.is_initialized(), "the parent must not touch CUDA"
    reader, writer = os.pipe()
    gc.freeze()
    child = os.fork()
    if child == 0:
        try:
            said = ours(folder, VARIANTS[name])
        except BaseException as error:
            said = {"failed": f"{type(error).__name__}: {error}"[-400:]}
        os.write(writer, json.dumps(said).encode())
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        said = json.loads(answer.read() or '{"failed": "the child died"}')
    os.waitpid(child, 0)
    return said


# -- the two sides -----------------------------------------------------------------------------------------------------


class Clock:
    """Times of steps; a step counts as over when the GPU has done it."""

    def __init__(self) -> None:
        self.steps: list[float] = []

    def tick(self) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.steps.append(time.perf_counter())

    def report(self, folder: Path, tokens: int, *, recomputed: bool) -> dict[str, Any]:
        """`tokens`: useful ones of all steps. `recomputed`: the activations, in the backward pass."""
        import torch

        done = len(self.steps)
        return {
            "tokens_per_second": tokens * (done - 1) / done / (self.steps[-1] - self.steps[0]),
            "peak_bytes": torch.cuda.max_memory_allocated() if torch.cuda.is_available() else 0,
            "parameters": int((folder / PARAMETERS).read_text()),
            "recomputed": recomputed,
        }


def ours(folder: Path, options: tuple[str, ...]) -> dict[str, Any]:
    """The worker's way as far as the end of training, without evaluation and publication."""
    import torch
    from transformers import TrainerCallback

    from jobs.catalog import load_catalog
    from jobs.contract import Method, Recipe
    from jobs.dataset import read_examples
    from jobs.gpu import models
    from jobs.gpu.chat import ChatEncoder
    from jobs.gpu.data import prepare
    from jobs.gpu.device import describe_device
    from jobs.gpu.fitting import Fitting
    from jobs.gpu.lora import new_adapter
    from jobs.gpu.progress import Progress
    from jobs.recipe import DataStats, fit

    class Tick(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick()

    class Never:
        def requested(self) -> None:
            return None

    class Tuned(Fitting):
        def arguments(self, recipe: Recipe) -> dict[str, Any]:
            more = {"torch_compile": "compile" in options, "use_liger_kernel": "liger_kernel" in options}
            return super().arguments(recipe) | more | {"save_strategy": "no"}

    clock = Clock()
    base = folder / "bases" / "afina-mini"
    tokenizer = models.load_tokenizer(base)
    rows = prepare(ChatEncoder(tokenizer), list(read_examples(folder / "train.jsonl")), max_length=2048)
    torch.manual_seed(1)
    attention = "flash_attention_2" if "flash_attn" in options else "sdpa"
    model = models.load_model(base, four_bit="four_bit" in options, attention=attention)
    config, longest = model.config, max(map(len, rows.dataset["input_ids"]))
    shape = {
        "parameters": int((folder / PARAMETERS).read_text()), "hidden_size": config.hidden_size,
        "intermediate_size": config.intermediate_size, "layers": config.num_hidden_layers,
        "vocabulary": config.vocab_size,
    }  # fmt: skip
    described = load_catalog().get("afina-mini").model_copy(update=shape)
    recipe = Recipe(method=Method.QLORA if "four_bit" in options else Method.LORA, **RECIPE)
    data = DataStats(
        examples=len(rows.examples), tokens=rows.tokens, p95_tokens=longest, longest=longest, learnt_tokens=0
    )
    recipe = fit(recipe, data, described, describe_device()["memory_bytes"])
    adapted = new_adapter(model, recipe)
    progress = Progress(lambda *_, **__: None, Never())
    fitting = Tuned(
        model=adapted, tokenizer=tokenizer, train=rows.dataset, validation=None, tokens_per_epoch=rows.tokens,
        folder=folder / "ours" / "1" / "checkpoints", progress=progress, trackers=[Tick()],
    )  # fmt: skip
    fitting.run(recipe)
    return clock.report(folder, rows.tokens, recomputed=recipe.gradient_checkpointing)


def plain(folder: Path, four_bit: bool) -> dict[str, Any]:
    """What a practitioner writes, with TRL's defaults where nothing must be said."""
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig, TrainerCallback
    from trl import SFTConfig, SFTTrainer

    class Tick(TrainerCallback):
        def on_step_end(self, *_: Any, **__: Any) -> None:
            clock.tick()

    clock, cuda = Clock(), torch.cuda.is_available()
    base = folder / "bases" / "afina-mini"
    dtype = torch.bfloat16 if cuda else torch.float32
    quantised = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True, bnb_4bit_compute_dtype=dtype
    )
    model = AutoModelForCausalLM.from_pretrained(
        base, dtype=dtype, device_map="cuda" if cuda else None, quantization_config=quantised if four_bit else None
    )
    args = SFTConfig(
        output_dir=str(folder / "plain"), num_train_epochs=RECIPE["epochs"], learning_rate=RECIPE["learning_rate"],
        per_device_train_batch_size=RECIPE["batch_size"], max_length=RECIPE["max_length"], assistant_only_loss=True,
        lr_scheduler_type="cosine", use_cpu=not cuda, bf16=cuda, report_to=[], save_strategy="no",
    )  # fmt: skip
    trainer = SFTTrainer(
        model=model, args=args, processing_class=AutoTokenizer.from_pretrained(base), callbacks=[Tick()],
        train_dataset=load_dataset("json", data_files=str(folder / "train.jsonl"), cache_dir=folder / "cache")["train"],
        peft_config=LoraConfig(
            r=RECIPE["rank"], lora_alpha=RECIPE["alpha"], target_modules="all-linear", task_type="CAUSAL_LM"
        ),
    )  # fmt: skip
    trainer.train()
    tokens = sum(map(len, trainer.train_dataset["input_ids"])) * RECIPE["epochs"]
    return clock.report(folder, tokens, recomputed=args.gradient_checkpointing)


if __name__ == "__main__":
    main()
