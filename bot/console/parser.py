"""The grammar of the command line, in Spanish.

Rule of this file: names, arguments and help only; nothing runs. argparse words its own messages in English, so the few
that a person can meet are translated here.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NoReturn

from jobs.contract import Method, Preset

_MESSAGES = (
    (r"the following arguments are required: (.*)", r"falta: \1"),
    (r"unrecognized arguments: (.*)", r"no conozco: \1"),
    (r"argument (.*?): invalid choice: (.*?) \(choose from (.*)\)", r"\1: no puede ser \2; elige entre \3"),
    (r"argument (.*?): invalid (?:int|float|\w+) value: (.*)", r"\1: \2 no es un número"),
    (r"argument (.*?): expected one argument", r"\1: falta el valor"),
    (r"argument (.*?): expected at least one argument", r"\1: falta al menos un valor"),
    (r"argument (.*?): not allowed with argument (.*)", r"\1 no se puede usar junto con \2"),
    (r"one of the arguments (.*) is required", r"hace falta uno de: \1"),
)


class _Help(argparse.HelpFormatter):
    def add_usage(
        self,
        usage: str | None,
        actions: Iterable[argparse.Action],
        groups: Iterable[Any],
        prefix: str | None = None,
    ) -> None:
        super().add_usage(usage, actions, groups, "Uso: " if prefix is None else prefix)


class Parser(argparse.ArgumentParser):
    """argparse's parser, speaking Spanish. Wrong use ends the process with code 2."""

    def __init__(self, *, prog: str | None = None, description: str | None = None) -> None:
        super().__init__(prog, description=description, formatter_class=_Help, add_help=False, allow_abbrev=False)
        self._positionals.title = "Argumentos"
        self._optionals.title = "Opciones"
        self.add_argument("-h", "--help", action="help", help="muestra esta ayuda")

    def error(self, message: str) -> NoReturn:
        for english, spanish in _MESSAGES:
            message = re.sub(english, spanish, message)
        self.print_usage(sys.stderr)
        self.exit(2, f"{self.prog}: {message}. Mira «{self.prog} --help».\n")


def build_parser() -> Parser:
    parser = Parser(prog="afina", description="Afina: aprende a ajustar modelos de lenguaje, en español.")
    commands = parser.add_subparsers(dest="command", metavar="ORDEN", title="Órdenes", required=True)

    def add(name: str, text: str) -> Parser:
        added: Parser = commands.add_parser(name, help=text, description=text)
        return added

    demo = add("demo", "enseña todo Afina en esta máquina, sin token ni GPU")
    demo.add_argument("--keep", action="store_true", help="al terminar, sigue en marcha hasta Ctrl-C")
    demo.add_argument("--json", type=Path, metavar="ARCHIVO", help="guarda cifras y conversación")
    demo.add_argument("--svg", type=Path, metavar="ARCHIVO", help="guarda una imagen de la terminal")
    up = add("up", "arranca Redis, el trabajador, el motor y el bot (necesita DISCORD_TOKEN)")
    up.add_argument("--sin-bot", action="store_true", help="todo menos el bot")
    add("bot", "arranca solo el bot")
    worker = add("worker", "arranca solo un trabajador que entrena")
    worker.add_argument("--redis", help="dirección de Redis (por defecto, REDIS_URL)")
    worker.add_argument("--labels", default="", metavar="A,B", help="etiquetas de este trabajador")
    serve = add("serve", "arranca solo el motor que sirve los modelos")
    serve.add_argument("--base", metavar="ID", help="modelo base (por defecto, AFINA_DEFAULT_BASE)")
    serve.add_argument("--host", default="127.0.0.1", metavar="DIRECCIÓN")
    serve.add_argument("--port", type=int, default=8000, metavar="PUERTO")
    doctor = add("doctor", "mira qué falta en esta máquina y cómo arreglarlo")
    doctor.add_argument("--json", action="store_true")
    _data_commands(add)
    _model_commands(add)
    _care_commands(add)
    return parser


def _data_commands(add: Callable[[str, str], Parser]) -> None:
    check = add("check", "revisa archivos JSONL: cada problema, con su línea y cómo arreglarlo")
    check.add_argument("files", nargs="+", type=Path, metavar="ARCHIVO")
    check.add_argument("--fix", type=Path, metavar="SALIDA", help="escribe aquí el archivo reparado (uno solo)")
    check.add_argument("--json", action="store_true", help="un objeto JSON por archivo")
    ask = add("ask", "pregunta al curso")
    ask.add_argument("question", nargs="?", metavar="PREGUNTA")
    ask.add_argument("--course", type=Path, metavar="CARPETA", help="otro curso (por defecto, el incluido)")
    ask.add_argument("--batch", type=Path, metavar="ARCHIVO", help="JSONL con objetos {id, question}")
    ask.add_argument("--passages", type=int, default=0, metavar="K", help="añade los K mejores pasajes")
    ask.add_argument("--json", action="store_true", help="un objeto JSON por pregunta")
    course = add("course", "mide las respuestas del curso")
    verbs = course.add_subparsers(dest="verb", metavar="VERBO", required=True)
    evaluate = verbs.add_parser("eval", help="mide la búsqueda con un archivo de preguntas")
    evaluate.add_argument("file", type=Path, metavar="ARCHIVO", help="JSONL con preguntas y sus respuestas")
    evaluate.add_argument("--course", type=Path, metavar="CARPETA")
    evaluate.add_argument("--json", action="store_true")


def _model_commands(add: Callable[[str, str], Parser]) -> None:
    train = add("train", "entrena un modelo con un archivo JSONL")
    train.add_argument("file", type=Path, metavar="ARCHIVO")
    train.add_argument("--base", metavar="ID", help="modelo base (por defecto, AFINA_DEFAULT_BASE)")
    train.add_argument("--name", metavar="NOMBRE", help="nombre del modelo (por defecto, el del archivo)")
    train.add_argument("--preset", choices=[preset.value for preset in Preset], default=Preset.BALANCED.value)
    train.add_argument("--method", choices=[method.value for method in Method], default=Method.LORA.value)
    train.add_argument("--seed", type=int, metavar="N")
    train.add_argument(
        "--validation", type=Path, metavar="ARCHIVO", help="ejemplos aparte para medir (sin él, se aparta una décima)"
    )
    train.add_argument("--config", type=Path, metavar="RECETA", help="un recipe.yaml: repite esos mismos ajustes")
    train.add_argument("--json", action="store_true", help="los eventos y el resultado, un objeto JSON por línea")
    models = add("models", "lista los modelos hechos aquí, o fusiona uno con su base")
    models.add_argument("--json", action="store_true")
    verbs = models.add_subparsers(dest="verb", metavar="VERBO")
    merge = verbs.add_parser("fusionar", help="escribe un modelo completo, para motores que no cargan adaptadores")
    merge.add_argument("model", metavar="MODELO", help="un modelo hecho aquí, o el nombre de cualquier adaptador")
    merge.add_argument("out", type=Path, metavar="CARPETA", help="nueva o vacía")
    chat = add("chat", "charla con un modelo")
    chat.add_argument("model", metavar="MODELO", help="un modelo tuyo, o el identificador de una base")
    chat.add_argument("--message", metavar="TEXTO", help="un solo mensaje; sin él, conversación")
    chat.add_argument("--system", default="", metavar="TEXTO", help="instrucciones para el modelo")
    chat.add_argument("--temperature", type=float, default=0.7, metavar="T")
    chat.add_argument("--json", action="store_true", help="la respuesta como objeto JSON (con --message)")
    bases = add("bases", "lista los modelos base, o descarga uno")
    bases.add_argument("--json", action="store_true")
    verbs = bases.add_subparsers(dest="verb", metavar="VERBO")
    download = verbs.add_parser("descargar", help="descarga un modelo base (el único paso que usa la red)")
    download.add_argument("id", metavar="ID")


def _care_commands(add: Callable[[str, str], Parser]) -> None:
    backup = add("backup", "copia de seguridad: base de datos, datos y modelos, sin parar el bot")
    backup.add_argument("out", type=Path, metavar="SALIDA", help="un archivo .tar, o una carpeta")
    backup.add_argument("--keep", type=int, metavar="N", help="deja en esa carpeta solo las N copias más nuevas")
    backup.add_argument("--json", action="store_true")
    restore = add("restore", "restaura una copia de seguridad en una carpeta de datos vacía")
    restore.add_argument("file", type=Path, metavar="ARCHIVO")
    restore.add_argument("--json", action="store_true")
