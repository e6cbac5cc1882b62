"""`afina …`: the command line. Parses, calls one function of `bot.console`, turns errors into a sentence and a code.

Exit codes: 0 good (or good with warnings), 1 refused or failed, 2 wrong use. No traceback reaches a person: surprises
are written to `logs/afina.log` in the data folder.
"""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from datetime import datetime

from dotenv import dotenv_values
from pydantic import ValidationError

from bot.console.parser import build_parser
from bot.settings import Settings, explain
from jobs.errors import AfinaError

# command -> module of bot.console whose `run(arguments, settings)` returns the exit code; imported when asked for
COMMANDS = {
    "demo": "demo",
    "up": "up",
    "bot": "parts",
    "worker": "parts",
    "serve": "parts",
    "doctor": "doctor",
    "check": "check",
    "ask": "ask",
    "course": "course",
    "train": "train",
    "models": "models",
    "chat": "chat",
    "bases": "bases",
    "backup": "backup",
    "restore": "backup",
}


def main(arguments: Sequence[str] | None = None) -> int:
    for stream in (sys.stdout, sys.stderr):
        # A file name or a model's answer may hold what the terminal's encoding cannot say.
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    parsed = build_parser().parse_args(arguments)
    _take_keys_of_others()
    try:
        settings = Settings()
    except ValidationError as error:
        print(explain(error), file=sys.stderr)
        return 2
    try:
        return _run(parsed, settings)
    except AfinaError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nInterrumpido.", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception:
        print(_surprise(settings), file=sys.stderr)
        return 1


def _take_keys_of_others() -> None:
    """Those in `.env` become environment variables: s3fs, trackers and the processes we start look for them there."""
    for name, value in dotenv_values(".env").items():
        if name.startswith(("AWS_", "WANDB_", "TRACKIO_")) and value:
            os.environ.setdefault(name, value)


def _run(parsed: argparse.Namespace, settings: Settings) -> int:
    module = importlib.import_module(f"bot.console.{COMMANDS[parsed.command]}")
    code: int = module.run(parsed, settings)
    return code


def _surprise(settings: Settings) -> str:
    """Keep the traceback for whoever maintains this; tell the person what happened."""
    sentence = "Algo ha fallado por nuestra parte, no por la tuya."
    log = settings.data_dir / "logs" / "afina.log"
    try:
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a", encoding="utf-8", errors="backslashreplace") as out:
            out.write(f"--- {datetime.now().astimezone().isoformat()} {sys.argv[1:]}\n{traceback.format_exc()}\n")
    except OSError:
        return f"{sentence} ({sys.exc_info()[0]})"
    return f"{sentence} El detalle está en {log}; si lo cuentas, adjúntalo."


if __name__ == "__main__":
    sys.exit(main())
