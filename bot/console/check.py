"""`afina check`: the dataset desk on the command line."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

from bot.datasets import limits_of
from bot.settings import Settings
from jobs.dataset import Limits, Problem, Report, Severity, check_file, repair_file
from jobs.dataset.report import lines_of

_VERDICT = {
    "valid": "Listo para entrenar",
    "warnings": "Se puede entrenar; míralo antes",
    "rejected": "Hay que corregirlo",
}
_MARK = {"error": ("✗", "red"), "warning": ("⚠", "yellow"), "fixed": ("✓", "green")}
_SHOWN_LINES = 12  # line numbers told for one kind of problem; --json tells all


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    if arguments.fix is not None and len(arguments.files) > 1:
        print("--fix repara un archivo cada vez: dame solo uno.", file=sys.stderr)
        return 2
    limits = limits_of(settings)
    good = True
    for path in arguments.files:
        report = examine(path, limits)
        good = good and report.verdict != "rejected"
        if arguments.json:
            print(json.dumps(report.to_dict(), ensure_ascii=False), flush=True)
        else:
            show(report)
        if arguments.fix is not None and path.is_file():
            good = _fix(path, arguments.fix, limits, quiet=arguments.json)
    return 0 if good else 1


def examine(path: Path, limits: Limits) -> Report:
    """The report on a file; one that cannot be opened is rejected like one that cannot be read."""
    try:
        return check_file(path, limits=limits, name=str(path))
    except OSError as error:
        why = "No existe ese archivo." if isinstance(error, FileNotFoundError) else "No puedo abrir ese archivo."
        problem = Problem(
            code="unreadable_file",
            severity=Severity.ERROR,
            line=None,
            field=None,
            message=why,
            fix="Revisa el nombre, la carpeta y los permisos.",
        )
        return Report(file=str(path), format=None, examples=0, usable=None, problems=(problem,))


def _fix(path: Path, out: Path, limits: Limits, *, quiet: bool) -> bool:
    """Writes the repaired file; whether it can be trained on now."""
    say = Console(stderr=quiet, soft_wrap=True)
    if out.exists() and out.samefile(path):
        say.print("El archivo reparado no puede pisar el original: elige otro nombre para --fix.", markup=False)
        return False
    repair = repair_file(path, out, limits=limits)
    if repair.report is None:
        say.print("No queda ninguna línea utilizable, así que no he escrito nada.", markup=False)
        return False
    say.print(
        f"\n{out}: {plural(repair.usable, 'ejemplo', 'utilizable')}. El original no se ha tocado.",
        markup=False,
    )
    for change in repair.changes[:_SHOWN_LINES]:
        where = f"línea {change.line}: " if change.line is not None else ""
        say.print(f"  {where}{change.message}", markup=False)
    if len(repair.changes) > _SHOWN_LINES:
        say.print(f"  … y {len(repair.changes) - _SHOWN_LINES} cambios más.", markup=False)
    return repair.report.verdict != "rejected"


def plural(number: int, *words: str) -> str:
    return f"{number} " + " ".join(word if number == 1 else f"{word}s" for word in words)


def show(report: Report) -> None:
    say = Console(soft_wrap=True)
    usable = "" if report.usable is None else f" · {plural(report.usable, 'utilizable')}"
    examples = plural(report.examples, "ejemplo")
    title = f"{report.file} · {report.format or 'no es JSONL'} · {examples}{usable}"
    say.print(Text.assemble((title, "bold"), "   ", _VERDICT[report.verdict]))
    for group in report.by_rule():
        _show_group(say, group)


def _show_group(say: Console, problems: list[Problem]) -> None:
    first = problems[0]
    mark, colour = _MARK[first.severity]
    lines = [str(line) for line in lines_of(problems)]
    where = ""
    if lines:
        more = "…" if len(lines) > _SHOWN_LINES else ""
        where = f"línea{'s' if len(lines) > 1 else ''} {', '.join(lines[:_SHOWN_LINES])}{more}: "
    field = f" ({first.field})" if first.field not in (None, "$") else ""
    say.print(Text.assemble(("  " + mark + " ", colour), where, first.message, field))
    say.print(Text("      " + first.fix.replace("«Reparar»", "--fix"), style="dim"))
