"""A file → a Report. The one door for the bot, the worker and the command line.

Rule of this file: it streams the lines, lets the readers judge each, and adds what only the whole file shows (mixed
formats, too few examples). It never raises for what stands in a file; a missing file is the caller's mistake.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from jobs.dataset.container import Found, look_at
from jobs.dataset.example import Example
from jobs.dataset.limits import MIB, Limits
from jobs.dataset.problem import Findings, Problem, make_problem
from jobs.dataset.reading import Reading, read_line
from jobs.dataset.report import Report, in_order
from jobs.dataset.shapes import MAIN_KEY, Shape
from jobs.dataset.stats import summarise


class Scan:
    """What the structure of a file shows, gathered line by line."""

    def __init__(self) -> None:
        self.examples = 0
        self.problems: list[Problem] = []
        self.shapes: list[tuple[int, Shape, bool]] = []  # line, shape, whether it is usable by itself
        self.unknown: list[tuple[int, tuple[str, ...]]] = []
        self.last_shape: Shape | None = None
        self.carriage_returns = False

    @property
    def counts(self) -> Counter[Shape]:
        return Counter(shape for _, shape, _ in self.shapes)

    @property
    def main(self) -> Shape | None:
        """The shape of most examples; the first that appeared among equals."""
        counts = self.counts
        return max(counts, key=lambda shape: counts[shape]) if counts else None

    @property
    def format(self) -> str | None:
        main = self.main
        if main is not None:
            return main.family
        return Shape.UNKNOWN.value if self.unknown else None


def check_file(path: Path, *, limits: Limits | None = None, deep: bool = True, name: str | None = None) -> Report:
    """Judge a file.

    Args:
        deep: also look at what stands in the texts and across examples (slower).
        name: what the report calls the file; its own name by default.
    """
    limits = limits or Limits()
    shown = name or path.name
    found = look_at(path, limits)
    if found.refused is not None:
        usable = 0 if found.refused.code in ("empty_file", "only_blank_lines") else None
        return Report(file=shown, format=None, examples=0, usable=usable, problems=(*found.mended, found.refused))
    scan = scan_lines(path, found, limits)
    problems = [*found.mended, *scan.problems, *_whole_file(scan, limits)]
    usable = sum(1 for _, shape, good in scan.shapes if good and shape is scan.main)
    stats = summarise(read_examples(path, limits=limits)) if deep else {"examples": usable}
    return Report(
        file=shown,
        format=scan.format,
        examples=scan.examples,
        usable=usable,
        problems=in_order(problems),
        stats=stats,
        complete=deep,
    )


def read_examples(path: Path, *, limits: Limits | None = None) -> Iterator[Example]:
    """The usable examples of a file, with their line numbers; nothing of a file that is not JSONL."""
    limits = limits or Limits()
    found = look_at(path, limits)
    if found.refused is not None:
        return
    main = scan_lines(path, found, limits).main
    for number, raw in numbered_lines(path, found, limits):
        if raw.strip() and len(raw) <= limits.line_bytes:
            reading = read_line(raw, Findings(number, limits))
            if reading.example is not None and reading.shape is main:
                yield reading.example


def numbered_lines(path: Path, found: Found, limits: Limits) -> Iterator[tuple[int, bytes]]:
    """Lines with their numbers, from 1, without LF; one more than `limits.lines` at most."""
    with path.open("rb") as file:
        file.seek(found.start)
        if found.carriage_returns:
            lines: Iterator[bytes] = iter(file.read().removesuffix(b"\r").split(b"\r"))
        else:
            lines = iter(file)
        for number, raw in enumerate(lines, start=1):
            yield number, raw.removesuffix(b"\n")
            if number > limits.lines:
                return


def scan_lines(path: Path, found: Found, limits: Limits) -> Scan:
    """Judge every line by itself."""
    scan = Scan()
    scan.carriage_returns = found.carriage_returns
    kinds = {"CR"} if found.carriage_returns else set()
    for number, raw in numbered_lines(path, found, limits):
        if number > limits.lines:
            scan.problems.append(make_problem("too_many_lines", limit=limits.lines))
            break
        if raw.endswith(b"\r"):
            kinds.add("CRLF")
        _scan_line(scan, number, raw, limits)
    if kinds:
        scan.problems.append(make_problem("line_ends", kind=" y ".join(sorted(kinds))))
    return scan


def _scan_line(scan: Scan, number: int, raw: bytes, limits: Limits) -> None:
    if not raw.strip():
        scan.problems.append(make_problem("blank_line", number))
        return
    scan.examples += 1
    findings = Findings(number, limits)
    if len(raw) > limits.line_bytes:
        findings.add("line_too_long", size=round(len(raw) / MIB, 1), limit=round(limits.line_bytes / MIB, 1))
        reading = Reading()
    else:
        reading = read_line(raw, findings)
    scan.problems += findings.problems
    if reading.shape is Shape.UNKNOWN:
        scan.unknown.append((number, reading.keys))
    elif reading.shape is not None:
        scan.shapes.append((number, reading.shape, reading.example is not None))


def _whole_file(scan: Scan, limits: Limits) -> Iterator[Problem]:
    """What only the whole file shows about its structure."""
    main = scan.main
    for number, shape, _ in scan.shapes:
        if shape is not main and main is not None:
            yield make_problem("mixed_formats", number, one=shape, other=main)
    for number, keys in scan.unknown:
        yield _unknown(number, keys, main)
    if 0 < scan.examples < limits.few_examples:
        yield make_problem("few_examples", count=scan.examples, limit=limits.few_examples)


def _unknown(number: int, keys: tuple[str, ...], main: Shape | None) -> Problem:
    if main is Shape.MESSAGES:
        return make_problem("missing_messages", number, "messages")
    if main is not None:
        return make_problem("missing_field", number, MAIN_KEY[main], name=MAIN_KEY[main])
    return make_problem("unknown_shape", number, keys=", ".join(keys[:6]) or "ninguna")
