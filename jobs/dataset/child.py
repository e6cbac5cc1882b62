"""The child process that looks at files of strangers: limits first, then one task, then the end.

Rule of this file: one JSON object on stdin says what to do, JSON objects (one a line) on stdout say what came of it.
Memory, time and file sizes are limited by the kernel before anything is read, and the child dies with its parent.
Nothing here is imported by the parent; `jobs.dataset.sandbox` is its side.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import signal
import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from jobs.dataset.limits import Limits
from jobs.dataset.report import Report

STORED_PROBLEMS = 500  # of one report that travel; the rest is in the file of the whole report
PR_SET_PDEATHSIG = 1


def main() -> None:
    task = json.loads(sys.stdin.readline())
    limits = Limits.from_dict(task.pop("limits"))
    confine(limits)
    for answer in TASKS[task.pop("do")](limits=limits, **task):
        print(json.dumps(answer, ensure_ascii=False), flush=True)  # noqa: T201  # the answer to the parent


def confine(limits: Limits) -> None:
    """Limits of this process, by the kernel."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    os.nice(5)
    seconds = int(limits.seconds) + 1
    for kind, value in (
        (resource.RLIMIT_AS, limits.memory_bytes),
        (resource.RLIMIT_CPU, seconds),
        (resource.RLIMIT_FSIZE, 8 * limits.file_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        resource.setrlimit(kind, (value, value))


def check(*, limits: Limits, path: str, name: str, deep: bool = True, tokenizer: str | None = None) -> Iterator[Any]:
    """The report on the structure, then the whole one."""
    from jobs.dataset.check import check_steps
    from jobs.dataset.tokens import token_counter

    count = token_counter(Path(tokenizer)) if tokenizer and deep else None
    for report in check_steps(Path(path), limits=limits, deep=deep, name=name, count=count):
        yield summary(report)


def summary(report: Report) -> dict[str, Any]:
    """A report as it is stored: the first problems, and all of them counted by rule."""
    return {
        **replace(report, problems=report.problems[:STORED_PROBLEMS]).to_dict(),
        "groups": report.groups(),
        "complete": report.complete,
    }


def whole(*, limits: Limits, path: str, name: str, out: str) -> Iterator[Any]:
    """Every problem, into two files: `out`.jsonl and `out`.txt."""
    from jobs.dataset.check import check_file

    report = check_file(Path(path), limits=limits, name=name)
    with Path(f"{out}.jsonl").open("w", encoding="utf-8") as lines:
        for problem in report.problems:
            lines.write(json.dumps(problem.to_dict(), ensure_ascii=False) + "\n")
    Path(f"{out}.txt").write_text(report.as_text(), encoding="utf-8")
    yield {"problems": len(report.problems)}


def repair(*, limits: Limits, path: str, out: str, redact: bool = False) -> Iterator[Any]:
    from jobs.dataset.repair import repair_file

    done = repair_file(Path(path), Path(out), limits=limits, redact=redact)
    yield {"usable": done.usable, "changes": [change.to_dict() for change in done.changes]}


def split(*, limits: Limits, path: str, train: str, validation: str, fraction: float, seed: int) -> Iterator[Any]:
    """Two files of whole lines."""
    from jobs.dataset.rewrite import copy_lines, read_all
    from jobs.dataset.split import split_examples

    sides = split_examples(read_all(Path(path), limits), fraction=fraction, seed=seed)
    for examples, out in zip(sides, (train, validation), strict=True):
        copy_lines(Path(path), {example.line for example in examples}, Path(out), limits)
    yield {"train": len(sides[0]), "validation": len(sides[1])}


def merge(*, limits: Limits, paths: list[str], out: str) -> Iterator[Any]:
    from jobs.dataset.rewrite import merge_files

    yield {"examples": merge_files([Path(path) for path in paths], Path(out), limits)}


def sample(*, limits: Limits, path: str, out: str, count: int, seed: int) -> Iterator[Any]:
    from jobs.dataset.rewrite import sample_lines

    yield {"examples": sample_lines(Path(path), Path(out), limits, count=count, seed=seed)}


def without(*, limits: Limits, path: str, out: str, code: str) -> Iterator[Any]:
    from jobs.dataset.rewrite import filter_lines

    kept, dropped = filter_lines(Path(path), Path(out), limits, code=code)
    yield {"kept": kept, "dropped": dropped}


def overlap(*, limits: Limits, train: str, validation: str) -> Iterator[Any]:
    """Problems of both files where they share examples."""
    from jobs.dataset.duplicates import find_overlap
    from jobs.dataset.rewrite import read_all

    sides = find_overlap(read_all(Path(train), limits), read_all(Path(validation), limits))
    yield {
        name: [problem.to_dict() for problem in side] for name, side in zip(("train", "validation"), sides, strict=True)
    }


def show(*, limits: Limits, path: str, template: str | None, start: int, count: int) -> Iterator[Any]:
    """Some examples as the model will see them, from the `start`-th usable one."""
    from itertools import islice

    from jobs.dataset.check import read_examples
    from jobs.dataset.preview import Template, learns_something, preview

    chosen = Template.load(Path(template)) if template else Template()
    for example in islice(read_examples(Path(path), limits=limits), start, start + count):
        try:
            pieces = preview(example, chosen)
        except ValueError as error:
            yield {"line": example.line, "pieces": [], "learns": False, "error": str(error)}
            continue
        yield {
            "line": example.line,
            "pieces": [[piece.text, piece.learnt] for piece in pieces],
            "learns": learns_something(pieces),
        }


TASKS: dict[str, Callable[..., Iterator[Any]]] = {
    "check": check,
    "whole": whole,
    "repair": repair,
    "split": split,
    "merge": merge,
    "sample": sample,
    "without": without,
    "overlap": overlap,
    "show": show,
}

if __name__ == "__main__":
    main()
