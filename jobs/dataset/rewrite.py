"""New files from the lines of old ones: a part, a sample, several in one.

Rule of this file: lines are copied byte by byte, only usable ones, and the order of the original is kept.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Iterator
from pathlib import Path

from jobs.dataset.check import check_file, read_examples
from jobs.dataset.container import look_at
from jobs.dataset.example import Example
from jobs.dataset.fingerprint import fingerprint
from jobs.dataset.limits import Limits
from jobs.dataset.scan import numbered_lines
from jobs.errors import DatasetError


def read_all(path: Path, limits: Limits) -> list[Example]:
    return list(read_examples(path, limits=limits))


def copy_lines(path: Path, lines: Collection[int], out: Path, limits: Limits) -> None:
    """Write the named lines of `path` to `out`."""
    with out.open("wb") as target:
        target.writelines(raw + b"\n" for raw in _lines_of(path, lines, limits))


def _lines_of(path: Path, lines: Collection[int], limits: Limits) -> Iterator[bytes]:
    for number, raw in numbered_lines(path, look_at(path, limits), limits):
        if number in lines:
            yield raw.rstrip(b"\r")


def sample_lines(path: Path, out: Path, limits: Limits, *, count: int, seed: int) -> int:
    """Write `count` usable lines chosen at random; how many there were to write."""
    lines = [example.line for example in read_examples(path, limits=limits)]
    chosen = sorted(random.Random(seed).sample(lines, min(count, len(lines))))
    copy_lines(path, set(chosen), out, limits)
    return len(chosen)


def filter_lines(path: Path, out: Path, limits: Limits, *, code: str) -> tuple[int, int]:
    """Write the usable lines in which no problem of this code was found: how many stay, how many were left out."""
    told = {problem.line for problem in check_file(path, limits=limits).problems if problem.code == code}
    lines = [example.line for example in read_examples(path, limits=limits)]
    kept = [line for line in lines if line not in told]
    copy_lines(path, set(kept), out, limits)
    return len(kept), len(lines) - len(kept)


def merge_files(paths: list[Path], out: Path, limits: Limits) -> int:
    """Write the usable lines of all files, each example once; how many. DatasetError where the formats differ."""
    seen: set[bytes] = set()
    kinds: set[str] = set()
    with out.open("wb") as target:
        for path in paths:
            kept: set[int] = set()
            for example in read_examples(path, limits=limits):
                kinds.add(example.kind)
                exact = fingerprint(example).exact
                if exact not in seen:
                    seen.add(exact)
                    kept.add(example.line)
            target.writelines(raw + b"\n" for raw in _lines_of(path, kept, limits))
    if len(kinds) > 1:
        raise DatasetError("Esos datos no son de la misma clase.", hint="Une solo conjuntos del mismo formato.")
    return len(seen)
