"""`afina ask`: questions to the course on the command line, one or a file of them."""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from bot.course import Course
from bot.course.answer import Answer
from bot.course.ask_json import ask_object
from bot.errors import BadInput
from bot.llm import make_answerer, make_meaning
from bot.settings import Settings


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    if (arguments.question is None) == (arguments.batch is None):
        print("Dame una pregunta, o un archivo de preguntas con --batch.", file=sys.stderr)
        return 2
    if arguments.passages < 0:
        print("--passages no puede ser negativo.", file=sys.stderr)
        return 2
    course = open_course(arguments.course or settings.course_dir, settings)
    return asyncio.run(_answer_all(arguments, settings, course))


def open_course(folder: Path, settings: Settings) -> Course:
    """The course of a folder, searched by meaning too where the settings have an embedding model.

    Raises BadInput when there is no folder or nothing in it that can be read.
    """
    if not folder.is_dir():
        raise BadInput(f"No existe la carpeta {folder}.", hint="Di con --course dónde está el curso.")
    course = Course.load(folder, meaning=make_meaning(settings))
    if not course.passages:
        raise BadInput(
            f"No encuentro ninguna página en {folder}.", hint="Valen Markdown, texto, PDF, HTML, DOCX y cuadernos."
        )
    return course


async def _answer_all(arguments: argparse.Namespace, settings: Settings, course: Course) -> int:
    answerer = make_answerer(settings, course, settings.engine_url)
    questions = [{"question": arguments.question}] if arguments.batch is None else list(_read(arguments.batch))
    for asked in questions:
        answer = await answerer.answer(asked["question"])
        if arguments.json or arguments.batch is not None:
            row = ask_object(answer, course, passages=arguments.passages, id=asked.get("id"))
            print(json.dumps(row, ensure_ascii=False), flush=True)
        else:
            _show(answer, course, arguments.passages)
    return 0


def _read(path: Path) -> Iterator[dict[str, Any]]:
    """Raises BadInput at the first line that is no question."""
    try:
        lines = path.read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"No puedo leer {path}.", hint="Tiene que ser un archivo JSONL en UTF-8.") from error
    for number, line in enumerate(lines, 1):
        if not line.strip():
            continue
        try:
            asked = json.loads(line)
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or not isinstance(asked.get("question"), str):
            hint = 'Cada línea es un objeto como {"id": "1", "question": "¿qué es LoRA?"}.'
            raise BadInput(f"{path}, línea {number}: falta la pregunta.", hint=hint)
        yield asked


def _show(answer: Answer, course: Course, passages: int) -> None:
    say = Console(soft_wrap=True)
    say.print(Text(answer.text))
    if answer.sources:
        say.print(Text("\nFuentes", style="bold"))
    for number, source in enumerate(answer.sources, 1):
        say.print(Text.assemble(f"  [{number}] {source.title}", (f"  {source.file}", "dim")))
    if answer.suggestions:
        say.print(Text("\nTambién: " + " · ".join(answer.suggestions), style="dim"))
    for passage in course.search(answer.question, passages) if passages else ():
        say.print(Text(f"\n{passage.file} · {passage.title} · {passage.score:.2f}", style="bold"))
        say.print(Text(passage.text))
