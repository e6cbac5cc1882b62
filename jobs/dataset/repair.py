"""A file with problems → a file without errors, change by change.

Rule of this file: deterministic, and every change is listed. Only what is certain is mended; a line that cannot be
mended is left out and said. The original is never touched, and repairing a repaired file changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from jobs.dataset.check import check_file
from jobs.dataset.container import look_at
from jobs.dataset.limits import Limits
from jobs.dataset.report import Report
from jobs.dataset.scan import numbered_lines, scan_lines


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    line: int | None  # in the original; None: the whole file
    code: str  # of the problem that it mends
    message: str  # Spanish: what was done


@dataclass(frozen=True, kw_only=True, slots=True)
class Repair:
    changes: tuple[Change, ...]
    report: Report | None  # of the result; None: no usable line was left and nothing was written

    @property
    def usable(self) -> int:
        return (self.report.usable or 0) if self.report else 0


def repair_file(path: Path, out: Path, *, limits: Limits | None = None) -> Repair:
    """Write the repaired file to `out`; nothing is written where no usable line is left."""
    limits = limits or Limits()
    found = look_at(path, limits)
    if found.refused is not None:
        return Repair(changes=(), report=None)
    changes = [Change(line=None, code=problem.code, message="Quitada la marca BOM.") for problem in found.mended]
    scan = scan_lines(path, found, limits)
    good = scan.usable
    if not good:
        return Repair(changes=(), report=None)
    with out.open("wb") as target:
        for number, raw in numbered_lines(path, found, limits):
            if number in good:
                target.write(raw.removesuffix(b"\r") + b"\n")
            elif raw.strip():
                changes.append(Change(line=number, code="dropped", message="Línea quitada: no se puede usar."))
            else:
                changes.append(Change(line=number, code="blank_line", message="Línea en blanco quitada."))
    return Repair(changes=tuple(changes), report=check_file(out, limits=limits, deep=False))
