"""`afina models`: what was made here with the command line, and one of them as a model that needs no base."""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import json
import subprocess
import sys
from dataclasses import asdict
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bot.console.up import NO_TORCH
from bot.records import CONSOLE, Model
from bot.render.evaluation import headline
from bot.settings import Settings
from bot.store import Store


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    models = asyncio.run(_models(settings))
    if arguments.verb == "fusionar":
        return _merge(arguments, settings, {model.name: model.adapter_name for model in models})
    if arguments.json:
        for model in models:
            print(json.dumps(_row(model), ensure_ascii=False))
        return 0
    if not models:
        print("Todavía no hay modelos. Haz uno con: afina train datos.jsonl --name mi-modelo")
        return 0
    table = Table("modelo", "base", "acierto o chrF", "veredicto", "hecho", box=None)
    for model in models:
        made = datetime.fromtimestamp(model.created_at).strftime("%Y-%m-%d %H:%M")
        score, verdict = _score(model)
        table.add_row(Text(model.name), model.base_id, score, verdict, made)
    Console(soft_wrap=True).print(table)
    return 0


async def _models(settings: Settings) -> list[Model]:
    if not settings.database.exists():
        return []
    async with Store.open(settings.database) as store:
        return await store.models(CONSOLE)


def _merge(arguments: argparse.Namespace, settings: Settings, adapters: dict[str, str]) -> int:
    """In a process of its own: this one has no torch."""
    if importlib.util.find_spec("torch") is None:
        print(NO_TORCH, file=sys.stderr)
        return 1
    data = str(settings.data_dir.resolve())
    adapter = adapters.get(arguments.model, arguments.model)
    print("Fusionando; con una base grande son unos minutos…", file=sys.stderr, flush=True)
    where = ["--out", str(arguments.out.absolute()), "--data", data, "--artifacts", settings.artifacts_url or data]
    return subprocess.run([sys.executable, "-m", "jobs.gpu", "merge", *where, "--", adapter], check=False).returncode


def _row(model: Model) -> dict[str, Any]:
    row = asdict(model)
    row["evaluation"] = model.evaluation.model_dump(mode="json") if model.evaluation else None
    return row


def _score(model: Model) -> tuple[str, str]:
    if model.evaluation is None:
        return "—", "sin evaluar"
    tuned = model.evaluation.tuned
    best = tuned.accuracy or tuned.exact_match
    score = f"{best.value:.0%}" if best else (f"{tuned.chrf.value:.1f}" if tuned.chrf else "—")
    return score, headline(model.evaluation)
