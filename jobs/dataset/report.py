"""The verdict on a file: what `afina check --json` prints, what a card shows, what a row of the store keeps.

Rule of this file: values, and their JSON form. The verdict follows from the problems and is never set apart from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from jobs.dataset.problem import Problem, Severity, Verdict


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


def in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    """Those of the whole file first, then by line; the order of finding is kept within a line."""
    return tuple(sorted(problems, key=lambda problem: problem.line or 0))
