"""The verdict on a file: what `afina check --json` prints, what a card shows, what a row of the store keeps.

Rule of this file: values, and their JSON form. The verdict follows from the problems and is never set apart from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobs.dataset.problem import Problem, Severity, Verdict

GROUP_LINES = 12  # lines named in a group


@dataclass(frozen=True, kw_only=True, slots=True)
class Report:
    file: str  # the name to show, never used as a path
    format: str | None  # messages, prompt_completion, alpaca, sharegpt, preference, text, unknown; None: unreadable
    examples: int  # lines that are not blank
    usable: int | None  # lines that can be trained on by themselves; None: not readable as JSONL
    problems: tuple[Problem, ...]  # in the order of lines, those of the whole file first
    stats: dict[str, Any] = field(default_factory=dict)  # see jobs.dataset.stats
    complete: bool = True  # False: only the structure was looked at

    @property
    def verdict(self) -> Verdict:
        if any(problem.severity is Severity.ERROR for problem in self.problems):
            return Verdict.REJECTED
        return Verdict.WARNINGS if self.problems else Verdict.VALID

    @property
    def secrets(self) -> tuple[Problem, ...]:
        """Must be confirmed or redacted before training."""
        return tuple(problem for problem in self.problems if problem.code == "secret")

    def to_dict(self) -> dict[str, Any]:
        return {
            "file": self.file,
            "verdict": self.verdict.value,
            "format": self.format,
            "examples": self.examples,
            "usable": self.usable,
            "problems": [problem.to_dict() for problem in self.problems],
            "stats": self.stats,
        }

    def by_rule(self) -> list[list[Problem]]:
        """Problems that are told together (each unused key by itself), the gravest first."""
        order = [Severity.ERROR, Severity.WARNING, Severity.FIXED]
        found: dict[tuple[str, str], list[Problem]] = {}
        for problem in self.problems:
            told = problem.message if problem.code == "unknown_key" else ""
            found.setdefault((problem.code, told), []).append(problem)
        return sorted(found.values(), key=lambda group: (order.index(group[0].severity), -len(group)))

    def groups(self) -> list[dict[str, Any]]:
        """`by_rule` for a card: how many lines, and which (the first of them)."""
        groups = []
        for problems in self.by_rule():
            first, lines = problems[0], lines_of(problems)
            groups.append(
                {
                    "code": first.code,
                    "severity": first.severity.value,
                    "count": len(lines) or len(problems),
                    "lines": lines[:GROUP_LINES],
                    "field": first.field,
                    "message": first.message,
                    "fix": first.fix,
                }
            )
        return groups

    def as_text(self) -> str:
        """Every problem for people to read, one a line."""
        marks = {Severity.ERROR: "✗", Severity.WARNING: "⚠", Severity.FIXED: "✓"}
        lines = [
            f"{self.file}: {self.examples} ejemplos, {self.usable} utilizables, {len(self.problems)} observaciones"
        ]
        for problem in self.problems:
            where = "archivo" if problem.line is None else f"línea {problem.line}"
            field = f" ({problem.field})" if problem.field not in (None, "$") else ""
            lines.append(
                f"{marks[problem.severity]} {where}{field}: {problem.message} → {problem.fix} [{problem.code}]"
            )
        return "\n".join(lines) + "\n"

    @classmethod
    def from_dict(cls, value: dict[str, Any]) -> Report:
        """The inverse of `to_dict`."""
        problems = tuple(
            Problem(**{**problem, "severity": Severity(problem["severity"])}) for problem in value["problems"]
        )
        return cls(
            file=value["file"],
            format=value["format"],
            examples=value["examples"],
            usable=value["usable"],
            problems=problems,
            stats=value["stats"],
        )


def lines_of(problems: list[Problem]) -> list[int]:
    """The lines that problems stand in, each once."""
    return list(dict.fromkeys(problem.line for problem in problems if problem.line is not None))


def in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    """Those of the whole file first, then by line; the order of finding is kept within a line."""
    return tuple(sorted(problems, key=lambda problem: problem.line or 0))
