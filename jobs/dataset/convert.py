"""Another container → JSONL, where the meaning is certain.

Rule of this file: bytes in, bytes out, one step at a time (a zip may hold UTF-16, which may hold an array). Nothing
is unpacked beyond the limits, names inside archives are never used as paths, and what is not certain is left alone.
"""

from __future__ import annotations

import csv
import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final

from jobs.dataset.container import SEPARATOR_HINT, Container, Found, wrapped
from jobs.dataset.dialects import translate
from jobs.dataset.limits import Limits
from jobs.dataset.mend_json import without_extras

_KNOWN_TABLES: Final = (
    frozenset({"prompt", "chosen", "rejected"}),
    frozenset({"instruction", "output"}),
    frozenset({"prompt", "completion"}),
    frozenset({"text"}),
)


def convert(data: bytes, found: Found, limits: Limits) -> tuple[bytes, str] | None:
    """(the same data one container closer to JSONL, what was done in Spanish); None where nothing is certain."""
    try:
        if found.container is Container.GZIP:
            return unpack_gzip(data, limits), "Descomprimido (gzip)."
        if found.container is Container.ZIP:
            return unpack_zip(data, limits), "Descomprimido (zip)."
        if found.container is Container.UTF16:
            return decode_wide(data, found.encoding), f"Convertido de {found.encoding.upper()} a UTF-8."
        if found.container in (Container.ARRAY, Container.PRETTY):
            values, cut = json_values(data)
            lost = " El último estaba cortado y se ha quedado fuera." if cut else ""
            return _lines(values), f"Convertido a un objeto JSON por línea.{lost}"
        if found.container is Container.CSV:
            return _lines(table_rows(data)), "Convertida la tabla a un ejemplo por línea."
    except (ValueError, EOFError, RecursionError, csv.Error, zlib.error, zipfile.BadZipFile, NotImplementedError):
        return None
    return None


def unpack_gzip(data: bytes, limits: Limits) -> bytes:
    """The first member of a gzip file; a ValueError above the limits."""
    unpacker = zlib.decompressobj(wbits=31)
    unpacked = unpacker.decompress(data, limits.file_bytes + 1)
    return _within(unpacked, limits)


def unpack_zip(data: bytes, limits: Limits) -> bytes:
    """The one file of an archive that may be data; a ValueError where there are several, or above the limits."""
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        members = [
            member
            for member in archive.infolist()
            if not member.is_dir() and not member.filename.startswith("__MACOSX") and not member.flag_bits & 1
        ]
        named = [member for member in members if member.filename.lower().endswith((".jsonl", ".json", ".csv", ".tsv"))]
        (member,) = named if len(named) == 1 else members
        with archive.open(member) as file:
            return _within(file.read(limits.file_bytes + 1), limits)


def _within(unpacked: bytes, limits: Limits) -> bytes:
    if len(unpacked) > limits.file_bytes:
        raise ValueError("larger than the limit once unpacked")
    return unpacked


def decode_wide(data: bytes, encoding: str) -> bytes:
    return data.decode(encoding).removeprefix("\ufeff").encode("utf-8")


def decode_text(data: bytes) -> str:
    """UTF-8, or else Windows-1252, which older spreadsheets write."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252")


def json_values(data: bytes) -> tuple[list[Any], bool]:
    """The values of an array, or values one after the other, however they are laid out; whether the end was cut off.

    A single object that only wraps a list ("data", "examples", …) gives the list.
    """
    text = decode_text(data).strip()
    try:
        return _values_in(text)
    except json.JSONDecodeError:
        return _values_in(without_extras(text).strip())


def _values_in(text: str) -> tuple[list[Any], bool]:
    decoder = json.JSONDecoder()
    values: list[Any] = []
    place = 0
    while place < len(text):
        try:
            value, place = decoder.raw_decode(text, place)
            values += _unwrapped(value)
        except json.JSONDecodeError as error:
            if not _is_cut(error, text):
                raise
            if values:
                return values, True
            if text[place] != "[":
                raise
            place += 1  # an array without an end: its values one by one
        while place < len(text) and text[place] in " \t\r\n,":
            place += 1
    return values, False


def _is_cut(error: json.JSONDecodeError, text: str) -> bool:
    return error.pos >= len(text) or error.msg.startswith("Unterminated string")


def _unwrapped(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return (wrapped(value) if isinstance(value, dict) else None) or [value]


def table_rows(data: bytes) -> Iterator[dict[str, Any]]:
    """Rows of a table whose columns have a certain meaning; a ValueError for other tables."""
    text = SEPARATOR_HINT.sub("", decode_text(data), count=1)
    delimiter = max(",\t;|", key=text.split("\n", 1)[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter)
    names = {name: name.strip().lower() for name in reader.fieldnames or () if name}
    for row in reader:
        plain = {names[name]: text for name, text in row.items() if name in names and text is not None}
        if any(text.strip() for text in plain.values()):
            yield _row(plain)


def _row(row: dict[str, str]) -> dict[str, Any]:
    if any(known <= row.keys() for known in _KNOWN_TABLES):
        return dict(row)
    meant = translate(row)
    if meant is None:
        raise ValueError("no known columns")
    return meant


def _lines(values: Iterable[Any]) -> bytes:
    return b"".join(json.dumps(value, ensure_ascii=False, allow_nan=False).encode() + b"\n" for value in values)
