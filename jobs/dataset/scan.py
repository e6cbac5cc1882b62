"""The first step of a report: every line judged by itself, as a stream.

Rule of this file: structure only, and little memory: of a good line only its number and shape are kept. What the whole
file shows about its structure (mixed formats, unknown shapes, too few examples) is told at the end.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from jobs.dataset.container import Found
from jobs.dataset.fast import FastReader
from jobs.dataset.limits import MIB, Limits
from jobs.dataset.problem import Findings, Problem, make_problem
from jobs.dataset.reading import Reading, read_line
from jobs.dataset.shapes import MAIN_KEY, Shape


class Scan:
    """What the structure of a file shows."""

    def __init__(self, found: Found) -> None:
        self.found = found
        self.examples = 0  # lines that are not blank
        self.problems: list[Problem] = []
        self.shapes: dict[int, Shape] = {}  # line → its shape, where it is known
        self.unknown: dict[int, Reading] = {}  # line → an object of no known shape
        self.truncated = False  # there are more lines than the limit
        self.usable: set[int] = set()  # lines that can be trained on

    @property
    def main(self) -> Shape | None:
        """The shape of most examples; the first that appeared among equals."""
        counts = Counter(self.shapes.values())
        return max(counts, key=lambda shape: counts[shape]) if counts else None

    @property
    def format(self) -> str | None:
        main = self.main
        if main is not None:
            return main.family
        return Shape.UNKNOWN.value if self.unknown else None


def scan_lines(path: Path, found: Found, limits: Limits) -> Scan:
    """Judge every line, then the structure of the whole."""
    scan = Scan(found)
    fast = FastReader(limits)
    ends = {"CR"} if found.carriage_returns else set()
    for number, raw in numbered_lines(path, found, limits):
        if number > limits.lines:
            scan.truncated = True
            scan.problems.append(make_problem("too_many_lines", limit=limits.lines))
            break
        if raw.endswith(b"\r"):
            ends.add("CRLF")
        if len(raw) <= limits.line_bytes and fast.is_plain_chat(raw):
            scan.examples += 1
            scan.shapes[number] = Shape.MESSAGES
            scan.usable.add(number)
        else:
            _scan_line(scan, number, raw, limits, fast)
    if ends:
        scan.problems.append(make_problem("line_ends", kind=" y ".join(sorted(ends))))
    scan.problems += _whole_file(scan, limits)
    return scan


def _scan_line(scan: Scan, number: int, raw: bytes, limits: Limits, fast: FastReader) -> None:
    if is_blank_line(raw):
        scan.problems.append(make_problem("blank_line", number))
        return
    scan.examples += 1
    findings = Findings(number, limits)
    if len(raw) > limits.line_bytes:
        findings.add("line_too_long", size=round(len(raw) / MIB, 1), limit=round(limits.line_bytes / MIB, 1))
        reading = Reading()
    else:
        reading = read_line(raw, findings, fast)
    scan.problems += findings.problems
    if reading.shape is Shape.UNKNOWN:
        scan.unknown[number] = reading
    elif reading.shape is not None:
        scan.shapes[number] = reading.shape
        if reading.example is not None:
            scan.usable.add(number)


def is_blank_line(raw: bytes) -> bool:
    """Nothing but white space, Unicode's included; a byte order mark alone counts as nothing too."""
    if raw[:1] in (b"{", b"["):
        return False
    return not raw.strip() or (len(raw) < 1024 and not raw.decode("utf-8", "replace").strip("\ufeff \t\r\v\f").strip())


def _whole_file(scan: Scan, limits: Limits) -> Iterator[Problem]:
    main = scan.main
    for number, shape in scan.shapes.items():
        if main is not None and shape is not main:
            scan.usable.discard(number)
            if (shape, main) == (Shape.PROMPT_COMPLETION, Shape.KTO):
                yield make_problem("missing_field", number, "label", name="label")
            else:
                yield make_problem("mixed_formats", number, one=shape, other=main)
    for number, reading in scan.unknown.items():
        yield _unknown(number, reading, main)
    if 0 < scan.examples < limits.few_examples and not scan.truncated:
        yield make_problem("few_examples", count=scan.examples, limit=limits.few_examples)


def _unknown(number: int, reading: Reading, main: Shape | None) -> Problem:
    if main is Shape.MESSAGES:
        return make_problem("missing_messages", number, "messages")
    if main is not None:
        return make_problem("missing_field", number, MAIN_KEY[main], name=MAIN_KEY[main])
    if {"role", "content"} <= set(reading.keys) or {"from", "value"} <= set(reading.keys):
        return make_problem("loose_message", number)
    code = "other_program" if reading.foreign else "unknown_shape"
    return make_problem(code, number, keys=", ".join(reading.keys[:6]) or "ninguna")


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
