"""What kind of file it is, from its first bytes: JSONL, or something else in its place.

Rule of this file: it looks, and never changes anything; `jobs.dataset.convert` makes JSONL of the kinds that have a
certain meaning. At most `SAMPLE` bytes are looked at, but for searches of a single byte. A file whose lines are
mostly JSON values counts as JSONL, and its bad lines are told one by one.
"""

from __future__ import annotations

import csv
import json
import mmap
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

import msgspec

from jobs.dataset.limits import MIB, Limits
from jobs.dataset.problem import Problem, make_problem
from jobs.dataset.shapes import Shape, shape_of

SAMPLE: Final = MIB
SAMPLE_LINES: Final = 200
BOM: Final = b"\xef\xbb\xbf"

_COMPRESSED: Final = {b"\x1f\x8b": "gzip", b"PK\x03\x04": "zip", b"PK\x05\x06": "zip"}
_BINARY: Final = {
    b"BZh": "bzip2",
    b"\xfd7zXZ\x00": "xz",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"7z\xbc\xaf\x27\x1c": "7z",
    b"Rar!": "rar",
    b"PAR1": "Parquet",
    b"ARROW1": "Arrow",
    b"%PDF": "PDF",
    b"SQLite format 3": "SQLite",
    b"\x89PNG": "imagen PNG",
    b"\xff\xd8\xff": "imagen JPEG",
    b"GIF8": "imagen GIF",
    b"\xd0\xcf\x11\xe0": "documento de Office",
    b"\x7fELF": "programa",
    b"\x80\x04\x95": "pickle",
    b"\x80\x05\x95": "pickle",
}
_WIDE_MARKS: Final = (
    (b"\xff\xfe\x00\x00", "utf-32"),
    (b"\x00\x00\xfe\xff", "utf-32"),
    (b"\xff\xfe", "utf-16"),
    (b"\xfe\xff", "utf-16"),
)
_FRAGMENT: Final = re.compile(
    rb'\s*(?:[\[\]{}][\[\]{},\s]*|"(?:[^"\\]|\\.)*"\s*:.*|"(?:[^"\\]|\\.)*",?|[-\d.]+,?)\s*\Z'
)
_OFFICE: Final = (b"[Content_Types].xml", b"mimetypeapplication/vnd.oasis")
SEPARATOR_HINT: Final = re.compile(r"\A\ufeff?sep=.\r?\n")  # the first line that Excel reads and others do not
# Keys under which one object holds all the examples.
WRAPPERS: Final = ("data", "examples", "rows", "train", "ejemplos", "datos")
_WRAPPED: Final = re.compile(rf'"(?:{"|".join(WRAPPERS)})"\s*:\s*\[\s*\{{'.encode())
_MARKUP: Final = re.compile(rb"\s*<(?:!doctype|html|\?xml|!--|head|body|rss|svg|div|table)", re.IGNORECASE)


class Container(StrEnum):
    JSONL = "jsonl"
    ARRAY = "array"
    PRETTY = "pretty"
    CSV = "csv"
    GZIP = "gzip"
    ZIP = "zip"
    UTF16 = "utf16"
    OTHER = "other"  # nothing that could be converted


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """What kind of file it is. With `refused`, its lines are not worth reading."""

    container: Container
    refused: Problem | None = None
    encoding: str = "utf-8"  # of the text, where it is wide
    mended: tuple[Problem, ...] = ()  # byte order mark
    start: int = 0  # first byte after the mark
    carriage_returns: bool = False  # lines end in CR alone


def look_at(path: Path, limits: Limits) -> Found:
    """What kind of file lies at `path`."""
    size = path.stat().st_size
    if size == 0:
        return _refuse(Container.OTHER, "empty_file")
    if size > limits.file_bytes:
        return _refuse(
            Container.OTHER, "file_too_large", size=round(size / MIB, 1), limit=round(limits.file_bytes / MIB, 1)
        )
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        return _magic(data) or _text(data)


def _refuse(container: Container, code: str, encoding: str = "utf-8", **values: Any) -> Found:
    return Found(container=container, refused=make_problem(code, **values), encoding=encoding)


def _magic(data: mmap.mmap) -> Found | None:
    """Kinds that a mark at the start, or NUL bytes in a pattern, give away."""
    head = data[:4096]
    if head.startswith(b"PK") and any(mark in head for mark in _OFFICE):
        return _refuse(Container.OTHER, "container_office")
    for mark, kind in _COMPRESSED.items():
        if head.startswith(mark):
            return _refuse(Container(kind), "container_compressed", kind=kind)
    for mark, kind in _BINARY.items():
        if head.startswith(mark):
            return _refuse(Container.OTHER, "container_binary", kind=kind)
    for mark, encoding in _WIDE_MARKS:
        if head.startswith(mark):
            return _refuse(Container.UTF16, "container_utf16", encoding, kind=encoding.upper())
    if wide := _wide_without_mark(head):
        return _refuse(Container.UTF16, "container_utf16", wide, kind=wide.upper())
    control = sum(byte < 32 and byte not in b"\t\n\v\f\r" for byte in head)
    if control * 10 > len(head) and b'{"' not in head:
        return _refuse(Container.OTHER, "container_binary", kind="formato desconocido")
    return None


def _wide_without_mark(head: bytes) -> str | None:
    """UTF-16 or UTF-32 without a mark: mostly ASCII text has NULs at every other place."""
    for width, name in ((4, "utf-32"), (2, "utf-16")):
        body = head[: len(head) // width * width]
        if len(body) < 2 * width:
            continue
        count = len(body) // width
        for order, ascii_at in (("le", 0), ("be", width - 1)):
            nuls = [body[place::width].count(0) for place in range(width)]
            if nuls[ascii_at] == 0 and all(
                nuls[place] * 10 >= count * 7 for place in range(width) if place != ascii_at
            ):
                return f"{name}-{order}"
    return None


def _text(data: mmap.mmap) -> Found:
    start = len(BOM) if data[:3] == BOM else 0
    mended = (make_problem("byte_order_mark"),) if start else ()
    only_returns = data.find(b"\n") < 0 and data.find(b"\r", 0, len(data) - 1) >= 0
    head = data[start : start + SAMPLE]
    lines = [line for line in head.split(b"\r" if only_returns else b"\n") if line.strip()]
    if not lines:
        if data[start:].strip():  # a very long run of blanks first
            return Found(container=Container.JSONL, mended=mended, start=start, carriage_returns=only_returns)
        return _refuse(Container.OTHER, "only_blank_lines" if len(data) > start else "empty_file")
    if len(head) == SAMPLE and len(lines) > 1:
        lines.pop()  # cut by the sample
    container = _kind_of(lines[:SAMPLE_LINES], data)
    if container is None:
        return Found(container=Container.JSONL, mended=mended, start=start, carriage_returns=only_returns)
    code = {Container.ARRAY: "container_array", Container.PRETTY: "container_pretty", Container.CSV: "container_csv"}
    if container in code:
        return _refuse(container, code[container])
    return _refuse(Container.OTHER, "container_html" if _MARKUP.match(lines[0]) else "container_text")


def _kind_of(lines: list[bytes], data: mmap.mmap) -> Container | None:
    """None for JSONL, good or bad."""
    if SEPARATOR_HINT.match(lines[0].decode("utf-8", "replace") + "\n"):
        lines = lines[1:] or lines
    first = lines[0].strip()
    whole = [is_json(line) for line in lines]
    if first.startswith(b"["):
        return _array_or_lines(first, lines, whole, data)
    if first.startswith(b"{"):
        if len(lines) == 1 and _WRAPPED.search(first) and _wraps(data):
            return Container.ARRAY
        return Container.PRETTY if _is_pretty(lines, whole) else None
    if any(whole) or any(line.lstrip().startswith(b"{") for line in lines):
        return Container.PRETTY if not any(whole) and _is_pretty(lines, whole) else None
    if not _MARKUP.match(first) and is_table(lines):
        return Container.CSV
    return Container.OTHER


def _wraps(data: mmap.mmap) -> bool:
    """Whether the file is one object that holds all the examples under one of its keys."""
    try:
        value = json.loads(data[:].decode("utf-8-sig"))
    except (ValueError, RecursionError):
        return False
    return isinstance(value, dict) and shape_of(value)[0] is Shape.UNKNOWN and wrapped(value) is not None


def wrapped(value: dict[str, Any]) -> list[dict[str, Any]] | None:
    """The examples that one object holds under one of its keys."""
    lists = (value.get(name) for name in WRAPPERS)
    return next((one for one in lists if isinstance(one, list) and one and all(map(_is_object, one))), None)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _array_or_lines(first: bytes, lines: list[bytes], whole: list[bool], data: mmap.mmap) -> Container | None:
    if len(lines) == 1:
        objects = first[1:].lstrip()[:1] in (b"{", b"]", b"")
        return Container.ARRAY if objects else None
    if first == b"[" or (first.startswith(b"[{") and not whole[0] and sum(whole) * 2 <= len(lines)):
        return Container.ARRAY
    return Container.ARRAY if not any(whole) and data[-64:].rstrip().endswith(b"]") else None


def _is_pretty(lines: list[bytes], whole: list[bool]) -> bool:
    """Whether an object is spread over several lines, and that is how most of the file is."""
    if whole[0] or len(lines) < 2 or sum(whole) * 2 > len(lines):
        return False
    fragments = sum(1 for line in lines if _FRAGMENT.match(line))
    if fragments * 2 >= len(lines) and lines[0].strip() in (b"{", b"[", b"{}"):
        return True
    text = b"\n".join(lines).decode("utf-8", "replace").lstrip()
    try:
        _, end = json.JSONDecoder(strict=True).raw_decode(text)
    except (ValueError, RecursionError):
        return False
    return "\n" in text[:end]


def is_json(line: bytes) -> bool:
    """Whether a line is one JSON value."""
    try:
        msgspec.json.decode(line, type=msgspec.Raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False
    return True


def is_table(lines: list[bytes]) -> bool:
    """Whether lines look like a table with a header: two columns at least, the same number in most rows."""
    text = [line.decode("utf-8", "replace").replace("\r", " ").strip() for line in lines]
    return any(_has_columns(text, delimiter) for delimiter in (",", "\t", ";", "|"))


def _has_columns(text: list[str], delimiter: str) -> bool:
    try:
        header, *rows = csv.reader(text, delimiter=delimiter)
    except (csv.Error, ValueError):
        return False
    names = header[1:] if header and not header[0].strip() else header  # a table with numbered rows
    if len(header) < 2 or not rows or not all(0 < len(cell.strip()) <= 40 for cell in names):
        return False
    return sum(len(row) == len(header) for row in rows) * 2 >= len(rows)
