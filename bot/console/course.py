"""`afina course eval`: how good the search of a course is, over a file of questions."""

from __future__ import annotations

import argparse
import json
from typing import Any

from rich.console import Console
from rich.table import Table

from bot.console.ask import open_course
from bot.course.evaluate import evaluate
from bot.errors import BadInput
from bot.settings import Settings


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    course = open_course(arguments.course or settings.course_dir, settings)
    try:
        figures = evaluate(arguments.file, course)
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"No puedo leer {arguments.file}.", hint="Tiene que ser un archivo JSONL en UTF-8.") from error
    if arguments.json:
        print(json.dumps(figures, ensure_ascii=False))
    else:
        show(figures)
    return 0


def show(figures: dict[str, Any]) -> None:
    table = Table("", "preguntas", "recall@5", "MRR@10", "rechazadas", box=None)
    rows = {"todas": figures["all"], **figures["kinds"], "ajenas al curso": figures["off_topic"]}
    for name, row in rows.items():
        shares = [row.get(column) for column in ("recall@5", "mrr@10", "refused")]
        cells = ["—" if share is None else f"{share:.3f}".replace(".", ",") for share in shares]
        table.add_row(name, str(row["questions"]), *cells)
    say = Console(soft_wrap=True)
    say.print(table)
    latency = {name: "—" if value is None else f"{value:.1f}" for name, value in figures["latency_ms"].items()}
    say.print(f"\nLatencia: mediana {latency['p50']} ms, p95 {latency['p95']} ms", highlight=False)
