"""How quickly a chat file of 10 MiB is judged, beside the checks of OpenAI's fine-tuning notebook.

    python -m benchmarks.validate [--mib 10] [--rounds 7] [--json FILE]

Both judge the same file in the same process, by turns, and the median of each is compared. The notebook's checks are
written anew here from their published list (counts by kind, no lines, `json` for parsing; tokens are left out of both
sides). Ours tells every error with its line. The whole report (texts, duplicates, languages, tokens) runs once, in the
child process that the bot uses; memory is the peak of fresh processes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

from jobs.dataset import Limits, check_file
from jobs.dataset.sandbox import child_steps

WORDS = """el la de que y a en un ser se no haber por con su para como estar tener le lo todo pero más hacer poder decir
este ir otro ese si me ya ver porque dar cuando muy sin vez mucho saber qué sobre mi alguno mismo yo también hasta año
dos querer entre así primero desde grande eso ni nos llegar pasar tiempo día uno bien poco deber entonces"""
KNOWN_KEYS = ("role", "content", "name", "function_call", "weight")
KNOWN_ROLES = ("system", "user", "assistant", "function")


def write_chats(path: Path, size: int) -> int:
    """About `size` bytes of conversations of one to four exchanges; how many."""
    rng = random.Random(0)
    words = WORDS.split()

    def say(low: int, high: int) -> str:
        return " ".join(rng.choices(words, k=rng.randint(low, high)))

    written = lines = 0
    with path.open("wb") as file:
        while written < size:
            messages = [{"role": "system", "content": say(8, 12)}]
            for _ in range(rng.randint(1, 4)):
                messages += [
                    {"role": "user", "content": say(5, 40)},
                    {"role": "assistant", "content": say(10, 90)},
                ]
            written += file.write(json.dumps({"messages": messages}, ensure_ascii=False).encode() + b"\n")
            lines += 1
    return lines


def notebook_checks(path: Path) -> dict[str, int]:
    """The format checks of the notebook: how often each kind of mistake occurs."""
    with path.open(encoding="utf-8") as file:
        dataset = [json.loads(line) for line in file]
    errors: defaultdict[str, int] = defaultdict(int)
    for example in dataset:
        if not isinstance(example, dict):
            errors["data_type"] += 1
            continue
        messages: Any = example.get("messages", None)
        if not messages:
            errors["missing_messages_list"] += 1
            continue
        for message in messages:
            if "role" not in message or "content" not in message:
                errors["message_missing_key"] += 1
            if any(key not in KNOWN_KEYS for key in message):
                errors["message_unrecognized_key"] += 1
            if message.get("role", None) not in KNOWN_ROLES:
                errors["unrecognized_role"] += 1
            content = message.get("content", None)
            function_call = message.get("function_call", None)
            if (not content and not function_call) or not isinstance(content, str):
                errors["missing_content"] += 1
        if not any(message.get("role", None) == "assistant" for message in messages):
            errors["example_missing_assistant_message"] += 1
    return dict(errors)


def timed(work: Any, *arguments: Any, **named: Any) -> float:
    start = time.perf_counter()
    work(*arguments, **named)
    return time.perf_counter() - start


def peak_memory(path: Path, *, deep: bool) -> float:
    """MiB that a fresh process needs at most to judge the file."""
    code = (
        "import sys, resource, pathlib; from jobs.dataset import check_file;"
        f"check_file(pathlib.Path(sys.argv[1]), deep={deep});"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    return float(
        subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, check=True, text=True).stdout
    )


async def in_child(path: Path) -> tuple[float, float, float]:
    """(seconds to the structure, seconds to the whole report, 99th percentile of the loop's lag in ms meanwhile)."""
    lags: list[float] = []

    async def watch() -> None:
        while True:
            start = time.perf_counter()
            await asyncio.sleep(0.005)
            lags.append(1000 * (time.perf_counter() - start - 0.005))

    watcher = asyncio.create_task(watch())
    start = time.perf_counter()
    steps = [time.perf_counter() - start async for _ in child_steps("check", limits=Limits(), path=str(path), name="x")]
    watcher.cancel()
    return steps[0], steps[-1], sorted(lags)[int(0.99 * len(lags))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--mib", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "chats.jsonl")
        lines = write_chats(path, arguments.mib * 2**20)
        check_file(path, deep=False)
        notebook_checks(path)
        theirs, ours = [], []
        for _ in range(arguments.rounds):
            theirs.append(timed(notebook_checks, path))
            ours.append(timed(check_file, path, deep=False))
        structure, whole, lag = asyncio.run(in_child(path))
        figures = {
            "mib": arguments.mib,
            "examples": lines,
            "notebook_seconds": statistics.median(theirs),
            "structure_seconds": statistics.median(ours),
            "ratio": statistics.median(theirs) / statistics.median(ours),
            "structure_mib": peak_memory(path, deep=False),
            "whole_mib": peak_memory(path, deep=True),
            "child_structure_seconds": structure,
            "child_whole_seconds": whole,
            "loop_lag_p99_ms": lag,
        }
    for name, value in figures.items():
        print(f"{name:26} {value:10.3f}" if isinstance(value, float) else f"{name:26} {value:10}")
    print(f"{'own peak, both in it':26} {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:10.1f} MiB")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
