"""What can be wrong with a dataset: one value, `Problem`, and how a rule's words are filled in.

Rule of this file: a problem is made here and nowhere else, from a rule of `jobs.dataset.rules`, so that code,
severity and words never drift apart. Whatever comes from the file (a role, a key, a piece of text) passes through
`quote`, which keeps it short, printable and unable to ping, format or reveal anything.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any

from jobs.dataset.limits import Limits
from jobs.dataset.rules import RULES, Severity

__all__ = ["Findings", "Problem", "Severity", "Verdict", "make_problem", "quote"]

_LIKE_A_KEY = re.compile(r"(?=\S*\d)(?=\S*[^\W\d])\S{16,}")
_PLAIN_KEY = re.compile(r"[^\W\d][\w-]{0,39}\Z")
WHOLE_LINE = "$"  # the field of a problem with the line itself rather than with a part of it


class Verdict(StrEnum):
    VALID = "valid"  # nothing to report
    WARNINGS = "warnings"  # no error, at least one warning or mended thing
    REJECTED = "rejected"  # at least one error


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    code: str  # stable; a key of RULES
    severity: Severity
    line: int | None  # from 1, split at "\n", blank lines included; None: the whole file
    field: str | None  # path inside the line, "$" for the line itself; None: the whole file
    message: str  # Spanish: what is wrong
    fix: str  # Spanish: what to do

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def make_problem(code: str, line: int | None = None, field: str | None = None, **values: Any) -> Problem:
    """A problem of rule `code`; `values` fill the blanks of its sentences.

    Plain strings among `values` are quoted, for they may come from the file; a line without a field gets "$".
    """
    rule = RULES[code]
    safe = {name: quote(value) if type(value) is str else value for name, value in values.items()}
    if line is not None and field is None:
        field = WHOLE_LINE
    return Problem(
        code=code,
        severity=rule.severity,
        line=line,
        field=None if line is None else field,
        message=rule.message.format_map(safe),
        fix=rule.fix.format_map(safe),
    )


class Findings:
    """Collects the problems of one line."""

    __slots__ = ("failed", "limits", "line", "problems")

    def __init__(self, line: int, limits: Limits) -> None:
        self.line = line
        self.limits = limits
        self.problems: list[Problem] = []
        self.failed = False  # at least one error

    def add(self, code: str, field: str = WHOLE_LINE, **values: Any) -> None:
        problem = make_problem(code, self.line, field, **values)
        self.failed = self.failed or problem.severity is Severity.ERROR
        self.problems.append(problem)


def quote(text: str, limit: int = 40) -> str:
    """`text` of a stranger as it may stand in a report: one line, short, inert.

    Control, format, surrogate and private characters become "·", and so do the marks that Discord or Markdown
    would act on; long runs of letters with digits, which may be keys, are cut to three; what is cut ends in "…".
    """
    text = _LIKE_A_KEY.sub(lambda run: run[0][:3] + "…", text[: 4 * limit])
    shown = "".join(_inert(character) for character in text[: limit + 1])
    return shown[:limit] + "…" if len(text) > limit else shown


def path_to(where: str, key: str) -> str:
    """The path of `key` inside the object at `where`; `where` itself for a key that may not be shown."""
    if not _PLAIN_KEY.match(key) or _LIKE_A_KEY.search(key):
        return where or WHOLE_LINE
    return f"{where}.{key}" if where else key


def _inert(character: str) -> str:
    if character.isspace():
        return " "
    if character in "@`*~|<>[]()#\\":
        return "·"
    return "·" if unicodedata.category(character)[0] in "CZ" else character
