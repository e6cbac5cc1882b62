"""A line that is no JSON → the values that were certainly meant.

Rule of this file: text only. Commas and comments are taken away outside of strings, Python literals are read by
Python's own literal parser (never evaluated), several values on a line are taken apart. A line that was cut is left
alone: nobody knows what it would have said.
"""

from __future__ import annotations

import ast
import codecs
import json
import math
import re
from collections.abc import Callable
from typing import Any, Final

Note = Callable[[str, str], None]

_STRING: Final = r'"(?:[^"\\]|\\.)*"'
_COMMENTS: Final = re.compile(rf"({_STRING})|//[^\n]*|/\*.*?\*/|#[^\n]*", re.DOTALL)
_COMMAS: Final = re.compile(rf"({_STRING})|,(?=\s*[}}\]])|[,;]\s*\Z", re.DOTALL)
_STRAIGHT: Final = str.maketrans("“”„‟", '""""')
_LITERAL_CHARACTERS: Final = 200_000  # longer texts are not given to Python's parser


def mend_line(raw: bytes, note: Note) -> list[Any] | None:
    """Values of a line that the strict parser refused; None where nothing is certain."""
    text = _decoded(raw, note)
    if text is None:
        return None
    for attempt in (_as_it_is, _without_extras, _straight_quotes, _python_literal, _several):
        values = attempt(text, note)
        if values is not None:
            return values
    return None


def _decoded(raw: bytes, note: Note) -> str | None:
    if b"\0" in raw:
        note("raw_nul", "Quitados bytes NUL.")
        raw = raw.replace(b"\0", b"")
    if raw.startswith(codecs.BOM_UTF8):
        note("byte_order_mark", "Quitada la marca BOM.")
        while raw.startswith(codecs.BOM_UTF8):
            raw = raw.removeprefix(codecs.BOM_UTF8)
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError:
        pass
    try:
        text = raw.decode("cp1252")
    except UnicodeDecodeError:
        return None
    note("not_utf8", "Convertida de Windows-1252 a UTF-8.")
    return text


def _as_it_is(text: str, note: Note) -> list[Any] | None:
    """Only too lenient for the strict way: control characters in strings, NaN, lone surrogates."""
    constants: list[str] = []
    try:
        value = json.loads(text, strict=False, parse_constant=constants.append)
    except (ValueError, RecursionError):
        return None
    if constants:
        note("json_nan", "Cambiado NaN o Infinity por null.")
    elif not _is_strict(text):
        note("json_control_character", "Escapados caracteres de control.")
    return [value]


def _is_strict(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _without_extras(text: str, note: Note) -> list[Any] | None:
    plain = without_extras(text)
    if not plain.strip():
        note("json_comment", "Quitada una línea que solo era un comentario.")
        return []
    try:
        value = json.loads(plain, strict=False)
    except (ValueError, RecursionError):
        return None
    note("json_trailing_comma", "Quitadas comas o comentarios que sobraban.")
    return [value]


def without_extras(text: str) -> str:
    """The text without comments and commas that JSON does not admit."""
    plain = _COMMENTS.sub(lambda match: match[1] or " ", text)
    return _COMMAS.sub(lambda match: match[1] or " ", plain)


def _straight_quotes(text: str, note: Note) -> list[Any] | None:
    """What a word processor did to the quotes; those inside of texts would not parse."""
    straight = text.translate(_STRAIGHT)
    if straight == text:
        return None
    try:
        value = json.loads(straight, strict=False)
    except (ValueError, RecursionError):
        return None
    note("json_curly_quotes", "Cambiadas las comillas tipográficas por comillas rectas.")
    return [value]


def _python_literal(text: str, note: Note) -> list[Any] | None:
    """What `str(dict)` writes: single quotes, True, False, None."""
    if len(text) > _LITERAL_CHARACTERS or not text.lstrip().startswith("{"):
        return None
    python = re.sub(rf"({_STRING}|'(?:[^'\\]|\\.)*')|\b(true|false|null)\b", _as_python, text)
    try:
        value = ast.literal_eval(python.strip().rstrip(","))
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return None
    if not is_json_value(value):
        return None
    note("json_single_quotes", "Reescrito como JSON un objeto de Python.")
    return [value]


def _as_python(match: re.Match[str]) -> str:
    return match[1] or {"true": "True", "false": "False", "null": "None"}[match[2]]


def is_json_value(value: Any) -> bool:
    if isinstance(value, dict):
        return all(isinstance(key, str) and is_json_value(item) for key, item in value.items())
    if isinstance(value, list):
        return all(is_json_value(item) for item in value)
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, str | bool | int)


def _several(text: str, note: Note) -> list[Any] | None:
    """Objects one after the other, with blanks or commas between."""
    decoder = json.JSONDecoder(strict=False)
    values: list[Any] = []
    place = 0
    text = text.strip()
    while place < len(text):
        try:
            value, place = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            return None
        values.append(value)
        while place < len(text) and text[place] in " \t\r,":
            place += 1
    if len(values) < 2 or not all(isinstance(value, dict) for value in values):
        return None
    note("json_two_values", f"Separados {len(values)} objetos en sus propias líneas.")
    return values
