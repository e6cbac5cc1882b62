"""`afina bases`: the base models on offer, and the one networked step that fetches them."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from bot.console.parts import NO_TORCH
from bot.settings import Settings
from jobs.artifacts import base_folder
from jobs.catalog import Catalog, load_catalog


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    catalog = load_catalog()
    if arguments.verb == "descargar":
        return _download(arguments.id, catalog, settings)
    if arguments.json:
        for base in catalog:
            here = base_folder(settings.data_dir, base.id).exists()
            print(json.dumps({**base.model_dump(mode="json"), "downloaded": here}, ensure_ascii=False))
        return 0
    table = Table("id", "parámetros", "licencia", "contexto", "LoRA", "QLoRA", "aquí", "", box=None)
    for base in catalog:
        here = "sí" if base.repo is None or base_folder(settings.data_dir, base.id).exists() else ""
        size = f"{base.parameters / 1e9:.1f} B" if base.parameters > 1e8 else f"{base.parameters / 1e6:.1f} M"
        memory = (f"{base.lora_gb:.0f} GB", f"{base.qlora_gb:.0f} GB")
        note = "" if base.verified else "sin verificar aquí"
        table.add_row(base.id, size.replace(".", ","), base.licence, str(base.context), *memory, here, note)
    Console(soft_wrap=True).print(table)
    return 0


def _download(base_id: str, catalog: Catalog, settings: Settings) -> int:
    base = catalog.get(base_id)
    if base.repo is None:
        print(f"{base_id} viene con Afina; no hay nada que descargar.")
        return 0
    if importlib.util.find_spec("torch") is None:
        print(NO_TORCH, file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "jobs.gpu", "download", base_id, "--data", str(settings.data_dir.resolve())]
    environment = None
    if settings.hf_token is not None:
        import os

        environment = {**os.environ, "HF_TOKEN": settings.hf_token.get_secret_value()}
    return subprocess.run(command, env=environment, check=False).returncode
