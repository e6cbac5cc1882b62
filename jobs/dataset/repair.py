"""A file with problems → a file without errors, change by change.

Rule of this file: deterministic, and every change is listed. Good lines are copied byte by byte; what is certain is
mended (`jobs.dataset.convert`, `mend_json`, `mend`), and a line that cannot be mended is left out and said. The
original is never touched, and repairing a repaired file changes nothing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jobs.dataset.chat import is_blank
from jobs.dataset.check import check_file
from jobs.dataset.container import Container, Found, look_at
from jobs.dataset.convert import convert
from jobs.dataset.example import Example
from jobs.dataset.fingerprint import fingerprint
from jobs.dataset.limits import Limits
from jobs.dataset.manners import judge_manners
from jobs.dataset.mend import mend_object
from jobs.dataset.mend_json import mend_line
from jobs.dataset.problem import Findings, Severity
from jobs.dataset.reading import Reading, read_line, read_object
from jobs.dataset.report import Report
from jobs.dataset.scan import is_blank_line, numbered_lines
from jobs.dataset.shapes import Shape
from jobs.dataset.syntax import INVALID, parse_line
from jobs.moderation import WordList

STEPS = 4  # containers inside containers


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    line: int | None  # in the original, once it is JSONL; None: the whole file
    code: str  # of the problem that it mends
    message: str  # Spanish: what was done

    def to_dict(self) -> dict[str, Any]:
        return {"line": self.line, "code": self.code, "message": self.message}


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    changes: tuple[Change, ...]
    report: Report | None  # of the result; None: no usable line was left and nothing was written

    @property
    def usable(self) -> int:
        return (self.report.usable or 0) if self.report else 0


@dataclass(frozen=True, kw_only=True, slots=True)
class Row:
    """A line of the result."""

    line: int  # where it comes from
    raw: bytes
    shape: Shape
    example: Example


class _Notes:
    """Collects changes, each kind once a line."""

    def __init__(self) -> None:
        self.changes: list[Change] = []
        self.line: int | None = None
        self.touched = False  # something was said since it was set to False; True == 1 hides some changes
        self._said: set[tuple[int | None, str]] = set()

    def __call__(self, code: str, message: str) -> None:
        self.touched = True
        if (self.line, message) not in self._said:
            self._said.add((self.line, message))
            self.changes.append(Change(line=self.line, code=code, message=message))


def repair_file(
    path: Path, out: Path, *, limits: Limits | None = None, redact: bool = False, deep: bool = False
) -> Repair:
    """Write the repaired file to `out`; nothing is written where no usable line is left.

    Args:
        redact: also cover secrets and personal data.
        deep: the report of the result looks at texts too.
    """
    limits = limits or Limits()
    notes = _Notes()
    source, found = _unwrap(path, out, limits, notes)
    try:
        if found.refused is not None:
            return Repair(changes=tuple(notes.changes), report=None)
        rows = list(_mended_rows(source, found, limits, notes, redact))
    finally:
        if source != path:
            source.unlink(missing_ok=True)
    rows = _mannered(rows, notes, limits)
    rows = _one_shape(rows, notes, limits)
    rows = _unique(rows, notes)
    if not rows:
        return Repair(changes=tuple(notes.changes), report=None)
    out.write_bytes(b"".join(row.raw + b"\n" for row in rows))
    return Repair(changes=tuple(notes.changes), report=check_file(out, limits=limits, deep=deep))


def _unwrap(path: Path, out: Path, limits: Limits, notes: _Notes) -> tuple[Path, Found]:
    """The file as JSONL (a temporary file beside `out` if it had to be converted), and what it is."""
    found = look_at(path, limits)
    source = path
    for _ in range(STEPS):
        if found.refused is None or found.container in (Container.JSONL, Container.OTHER):
            break
        converted = convert(source.read_bytes(), found, limits)
        if converted is None:
            break
        data, message = converted
        notes(found.refused.code, message)
        source = out.with_name(out.name + ".converted")
        source.write_bytes(data)
        found = look_at(source, limits)
    return source, found


def _mended_rows(path: Path, found: Found, limits: Limits, notes: _Notes, redact: bool) -> Iterator[Row]:
    if found.mended:
        notes("byte_order_mark", "Quitada la marca BOM.")
    if found.carriage_returns:
        notes("line_ends", "Cambiados los finales de línea.")
    for number, raw in numbered_lines(path, found, limits):
        notes.line = None
        if number > limits.lines:
            notes("too_many_lines", f"Quitadas las líneas a partir de la {limits.lines}.")
            return
        if raw.endswith(b"\r"):
            notes("line_ends", "Cambiados los finales de línea.")
        notes.line = number
        if is_blank_line(raw):
            notes("blank_line", "Línea en blanco quitada.")
        elif len(raw) > limits.line_bytes:
            notes("line_too_long", "Línea quitada: es demasiado larga.")
        else:
            yield from _mended_line(number, raw.rstrip(b"\r"), limits, notes, redact)
    notes.line = None


def _mended_line(number: int, raw: bytes, limits: Limits, notes: _Notes, redact: bool) -> Iterator[Row]:
    """The rows that a line becomes: itself, a mended one, several, or none."""
    findings = Findings(number, limits)
    value = parse_line(raw, findings)
    dirty = bool(findings.problems)
    if value is INVALID:
        values = mend_line(raw, notes)
        if values is None:
            notes(findings.problems[0].code, f"Línea quitada: {findings.problems[0].message}")
            return
    else:
        values = [value]
        if dirty:
            notes("duplicate_key", "Dejada solo la última de las claves repetidas.")
    for item in map(_unquoted, values):
        if not isinstance(item, dict):
            notes("not_object", "Línea quitada: no es un objeto.")
            continue
        notes.touched = False
        try:
            mended = mend_object(item, notes, redact=redact)
        except RecursionError:
            notes("too_deep", "Línea quitada: tiene demasiados niveles.")
            continue
        changed = dirty or item is not value or notes.touched
        row = _judged(number, _written(mended) if changed else raw, limits, notes)
        if row is not None:
            yield row


def _unquoted(value: Any) -> Any:
    """The object that was written as a text, if it was."""
    if not isinstance(value, str) or not value.lstrip().startswith("{"):
        return value
    inner = parse_line(value.encode(errors="replace"), Findings(0, Limits()))
    return inner if isinstance(inner, dict) else value


def _written(value: dict[str, Any]) -> bytes | None:
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None


def _judged(number: int, raw: bytes | None, limits: Limits, notes: _Notes) -> Row | None:
    """The row, if the line can be trained on; else the reason is noted."""
    findings = Findings(number, limits)
    reading = read_line(raw, findings) if raw is not None else Reading()
    if raw is not None and reading.example is not None and reading.shape is not None:
        return Row(line=number, raw=raw, shape=reading.shape, example=reading.example)
    errors = [problem for problem in findings.problems if problem.severity is Severity.ERROR]
    if raw is None:
        notes("absurd_number", "Línea quitada: contiene valores que JSON no admite.")
    elif errors:
        notes(errors[0].code, f"Línea quitada: {errors[0].message}")
    else:
        notes("unknown_shape", "Línea quitada: no reconozco su forma.")
    return None


def _one_shape(rows: list[Row], notes: _Notes, limits: Limits) -> list[Row]:
    """All rows in one shape: as messages where every conversation allows it, else the shape of most."""
    counts = Counter(row.shape for row in rows)
    if len(counts) < 2:
        return rows
    main = max(counts, key=lambda shape: counts[shape])
    kept: list[Row] = []
    for row in rows:
        notes.line = row.line
        converted = _as_messages(row, notes, limits) if {main, row.shape} <= _CHATS else None
        if converted is not None:
            kept.append(converted)
        elif row.shape is main and main not in _CHATS:
            kept.append(row)
        else:
            notes("mixed_formats", "Línea quitada: está en otro formato que el resto.")
    notes.line = None
    return kept


_CHATS = frozenset({Shape.MESSAGES, Shape.PROMPT_COMPLETION, Shape.ALPACA, Shape.SHAREGPT})


def _as_messages(row: Row, notes: _Notes, limits: Limits) -> Row | None:
    if row.shape is Shape.MESSAGES:
        return row
    messages = [
        {**turn.to_dict(), "weight": 0} if turn.role == "assistant" and not turn.learn else turn.to_dict()
        for turn in row.example.messages
        if turn.role != "system" or not is_blank(turn.content)
    ]
    value: dict[str, Any] = {"messages": messages}
    if row.example.tools:
        value["tools"] = list(row.example.tools)
    reading = read_object(value, Findings(row.line, limits))
    raw = _written(value)
    if raw is None or reading.example is None:
        return None
    notes("mixed_formats", "Convertido a «messages».")
    return Row(line=row.line, raw=raw, shape=Shape.MESSAGES, example=reading.example)


def _mannered(rows: list[Row], notes: _Notes, limits: Limits) -> list[Row]:
    """Without what the content filter does not let a model learn."""
    words = WordList(limits.moderation)
    kept: list[Row] = []
    for row in rows:
        unwanted = next(
            (
                problem
                for problem in judge_manners(row.line, json.loads(row.raw), row.shape, words)
                if problem.severity is Severity.ERROR
            ),
            None,
        )
        if unwanted is None:
            kept.append(row)
        else:
            notes.line = row.line
            notes(unwanted.code, f"Línea quitada: {unwanted.message}")
    notes.line = None
    return kept


def _unique(rows: list[Row], notes: _Notes) -> list[Row]:
    """Without exact duplicates."""
    seen: dict[bytes, int] = {}
    kept: list[Row] = []
    for row in rows:
        exact = fingerprint(row.example).exact
        if exact in seen:
            notes.line = row.line
            notes("duplicate", f"Línea quitada: es igual que la {seen[exact]}.")
        else:
            seen[exact] = row.line
            kept.append(row)
    notes.line = None
    return kept
