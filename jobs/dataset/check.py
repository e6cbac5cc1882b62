"""A file → a Report. The one door for the bot, the worker and the command line.

Rule of this file: it puts the steps one after the other: what kind of file it is, the structure, then (if asked) what
stands in the texts. It never raises for what stands in a file; a missing file is the caller's mistake.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from jobs.dataset.container import look_at
from jobs.dataset.example import Example
from jobs.dataset.limits import Limits
from jobs.dataset.problem import Findings
from jobs.dataset.reading import read_line
from jobs.dataset.report import Report, in_order
from jobs.dataset.scan import numbered_lines, scan_lines
from jobs.dataset.stats import CountTokens


def check_file(
    path: Path,
    *,
    limits: Limits | None = None,
    deep: bool = True,
    name: str | None = None,
    count: CountTokens | None = None,
) -> Report:
    """Judge a file.

    Args:
        deep: also look at what stands in the texts and across examples (slower).
        name: what the report calls the file; its own name by default.
        count: counts tokens with the tokenizer of the chosen base; an estimate otherwise.
    """
    *_, last = check_steps(path, limits=limits, deep=deep, name=name, count=count)
    return last


def check_steps(
    path: Path,
    *,
    limits: Limits | None = None,
    deep: bool = True,
    name: str | None = None,
    count: CountTokens | None = None,
) -> Iterator[Report]:
    """The report on the structure, then (if `deep`) the whole one."""
    limits = limits or Limits()
    shown = name or path.name
    found = look_at(path, limits)
    if found.refused is not None:
        yield Report(
            file=shown,
            format=None,
            examples=0,
            usable=0 if found.refused.code in ("empty_file", "only_blank_lines") else None,
            problems=(*found.mended, found.refused),
        )
        return
    scan = scan_lines(path, found, limits)
    structure = Report(
        file=shown,
        format=scan.format,
        examples=scan.examples,
        usable=len(scan.usable),
        problems=in_order([*found.mended, *scan.problems]),
        stats={"examples": len(scan.usable)},
        complete=False,
    )
    yield structure
    if deep:
        from jobs.dataset.deep import look_deep  # ftfy and lingua are heavy

        more = look_deep(path, scan, limits, count)
        problems = in_order([*structure.problems, *more.problems])
        unwanted = {problem.line for problem in more.problems if problem.code == "disallowed_content"}
        usable = len(scan.usable - unwanted)
        yield replace(structure, usable=usable, problems=problems, stats=more.stats, complete=True)


def read_examples(path: Path, *, limits: Limits | None = None) -> Iterator[Example]:
    """The usable examples of a file, with their line numbers; nothing of a file that is not JSONL."""
    limits = limits or Limits()
    found = look_at(path, limits)
    if found.refused is not None:
        return
    scan = scan_lines(path, found, limits)
    for number, raw in numbered_lines(path, found, limits):
        if number in scan.usable:
            example = read_line(raw, Findings(number, limits)).example
            if example is not None:
                yield example
