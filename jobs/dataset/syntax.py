"""One line of bytes → one JSON value, with a diagnosis that a student understands.

Rule of this file: JSON and Unicode only; it knows nothing of training. `parse_line` is the slow, complete way: it runs
on lines that the typed decoder of `jobs.dataset.fast` did not take, and is strict where `json` is lenient (NaN,
numbers that no double holds, lone surrogates) and kinder where a position says more than "invalid".
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

from jobs.dataset.problem import Findings, path_to

INVALID: Final = object()  # what parse_line returns when there is no value

ABSURD_DIGITS = 309  # an integer with so many digits does not fit a double
_PYTHON_LITERAL = re.compile(r"(True|False|None)\b")
_NOT_JSON_NUMBER = re.compile(r"-?(NaN|Infinity|inf|nan)\b")
_UNQUOTED_KEY = re.compile(r"[A-Za-z_]\w*\s*:")
_SURROGATE = re.compile("[\ud800-\udfff]")

TYPE_NAMES = {
    dict: "un objeto",
    list: "una lista",
    str: "un texto",
    bool: "un valor lógico",
    int: "un número",
    float: "un número",
    type(None): "null",
}


def type_name(value: object) -> str:
    """Spanish name of a JSON value's type, with its article."""
    return TYPE_NAMES.get(type(value), "otra cosa")


class _Strict(ValueError):
    """A value that `json` would take and training would not."""

    def __init__(self, code: str, **values: Any) -> None:
        super().__init__(code)
        self.code = code
        self.values = values


class _Duplicates:
    """Builds objects and remembers keys that came twice."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def __call__(self, pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        value = dict(pairs)
        if len(value) != len(pairs):
            seen: set[str] = set()
            for key, _ in pairs:
                if key in seen and key not in self.keys:
                    self.keys.append(key)
                seen.add(key)
        return value


def parse_line(raw: bytes, found: Findings) -> Any:
    """The JSON value of a line, or INVALID after telling `found` why.

    Args:
        raw: one line without its end; at most `limits.line_bytes` long.
    """
    text = decode_line(raw, found)
    if text is None:
        return INVALID
    duplicates = _Duplicates()
    try:
        value = json.loads(
            text,
            object_pairs_hook=duplicates,
            parse_constant=_no_constant,
            parse_int=_sane_int,
            parse_float=_sane_float,
        )
    except _Strict as strict:
        found.add(strict.code, **strict.values)
        return INVALID
    except json.JSONDecodeError as error:
        _explain(text, error, found)
        return INVALID
    except RecursionError:
        found.add("too_deep", limit=found.limits.depth)
        return INVALID
    if not is_shallow(value, raw, found.limits.depth):
        found.add("too_deep", limit=found.limits.depth)
        return INVALID
    if "\\u" in text and _SURROGATE.search(json.dumps(value, ensure_ascii=False)):
        found.add("lone_surrogate")
        return INVALID
    for key in duplicates.keys:
        found.add("duplicate_key", path_to("", key), key=key)
    return value


def decode_line(raw: bytes, found: Findings) -> str | None:
    """The line as text; None after telling `found` that it is not UTF-8 or holds a raw NUL."""
    nul = raw.find(b"\0")
    if nul >= 0:
        found.add("raw_nul", column=nul + 1)
        return None
    try:
        return raw.decode("utf-8")
    except UnicodeDecodeError as error:
        found.add("not_utf8", byte=error.start + 1, value=raw[error.start])
        return None


def _no_constant(name: str) -> Any:
    raise _Strict("json_nan", name=name)


def _sane_int(digits: str) -> int:
    if len(digits) >= ABSURD_DIGITS:
        raise _Strict("absurd_number")
    return int(digits)


def _sane_float(digits: str) -> float:
    value = float(digits)
    if value in (float("inf"), float("-inf")):
        raise _Strict("absurd_number")
    return value


def is_shallow(value: Any, raw: bytes, limit: int) -> bool:
    """Whether the nesting of `value` stays within `limit`; counts brackets first because that is cheap."""
    if raw.count(b"{") + raw.count(b"[") <= limit:
        return True
    level = [value]
    for _ in range(limit):
        level = [
            child
            for parent in level
            if isinstance(parent, dict | list)
            for child in (parent.values() if isinstance(parent, dict) else parent)
            if isinstance(child, dict | list)
        ]
        if not level:
            return True
    return False


def _explain(text: str, error: json.JSONDecodeError, found: Findings) -> None:
    code, values = _diagnosis(text, error)
    found.add(code, **values)


def _diagnosis(text: str, error: json.JSONDecodeError) -> tuple[str, dict[str, Any]]:
    """The code that fits a JSON error best, and what fills its sentence."""
    position = error.pos
    column = {"column": position + 1}
    rest = text[position:]
    before = text[:position].rstrip()
    if rest.lstrip().startswith(("//", "#", "/*")):
        return "json_comment", column
    if error.msg.startswith("Extra data"):
        return ("json_trailing_comma" if rest.strip() == "," else "json_two_values"), column
    if error.msg.startswith(("Invalid control character", "Unterminated string")) and not error.msg.startswith("Unt"):
        return "json_control_character", column
    if error.msg.startswith(("Invalid \\escape", "Invalid \\uXXXX escape")):
        ends = len(text) - position <= 6 and error.msg.startswith("Invalid \\u")
        return ("json_truncated", {}) if ends else ("json_bad_escape", column)
    if error.msg.startswith("Unterminated string") or not rest.strip():
        return "json_truncated", {}
    if error.msg.startswith("Illegal trailing comma") or (before.endswith(",") and rest.lstrip()[:1] in ("}", "]")):
        return "json_trailing_comma", column
    if rest.lstrip().startswith("'"):
        return "json_single_quotes", column
    if rest.lstrip().startswith(("“", "”", "„", "‟", "‘", "’")):
        return "json_curly_quotes", column
    if literal := _PYTHON_LITERAL.match(rest):
        return "json_python_literal", {**column, "name": literal[1]}
    if number := _NOT_JSON_NUMBER.match(rest):
        return "json_nan", {"name": number[0]}
    return "json_invalid", column
