"""`afina bot`, `afina worker`, `afina serve`: one part of Afina, in place of this process.

For hosts that share the work: each part finds the others by its settings (`REDIS_URL`, `AFINA_ENGINE_URL`).
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import sys
from typing import NoReturn

from bot.console.stack import settings_environment
from bot.console.up import NO_TOKEN, NO_TORCH
from bot.settings import Settings
from jobs.errors import QueueUnavailable


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    if arguments.command == "bot":
        if settings.discord_token is None:
            print(NO_TOKEN, file=sys.stderr)
            return 1
        _become(["-m", "bot"], settings)
    if importlib.util.find_spec("torch") is None:
        print(NO_TORCH, file=sys.stderr)
        return 1
    artifacts = settings.artifacts_url or str(settings.data_dir.resolve())
    common = ["--data", str(settings.data_dir.resolve()), "--artifacts", artifacts]
    if arguments.command == "worker":
        redis = arguments.redis or settings.redis_url
        if not redis:
            raise QueueUnavailable(
                "Un trabajador suelto necesita saber dónde está Redis.", hint="Pon REDIS_URL o --redis."
            )
        os.environ["REDIS_URL"] = redis  # not on the command line: it may hold a password
        _become(["-m", "jobs.gpu", "worker", *common, "--labels", arguments.labels], settings)
    base = arguments.base or settings.default_base
    ready = settings.data_dir.resolve() / "run" / "engine.json"
    ready.parent.mkdir(parents=True, exist_ok=True)
    address = ["--host", arguments.host, "--port", str(arguments.port), "--ready-file", str(ready)]
    _become(["-m", "jobs.gpu", "serve", *common, "--base", base, *address], settings)


def _become(command: list[str], settings: Settings) -> NoReturn:
    os.execve(sys.executable, [sys.executable, *command], {**os.environ, **settings_environment(settings)})
