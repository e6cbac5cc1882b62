"""`afina bases`: the base models on offer, and the one networked step that fetches them."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import subprocess
import sys

from rich.console import Console
from rich.table import Table

from bot.console.up import NO_TORCH
from bot.settings import Settings
from jobs.catalog import Catalog, is_downloaded, load_catalog


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    catalog = load_catalog()
    if arguments.verb == "descargar":
        return _download(arguments.id, catalog, settings)
    if arguments.json:
        for base in catalog:
            here = {"downloaded": is_downloaded(settings.data_dir, base)}
            print(json.dumps(base.model_dump(mode="json") | here, ensure_ascii=False))
        return 0
    show(catalog, settings)
    return 0


def show(catalog: Catalog, settings: Settings) -> None:
    table = Table(box=None, pad_edge=False)
    for title in ("id", "tamaño", "LoRA", "QLoRA", "contexto", "aquí", "licencia"):
        table.add_column(title, no_wrap=title in ("id", "tamaño"), justify="right" if "LoRA" in title else "left")
    for base in catalog:
        size = f"{base.parameters / 1e9:.1f} B" if base.parameters > 1e8 else f"{base.parameters / 1e6:.1f} M"
        memory = [f"{gigabytes:.1f} GB" for gigabytes in (base.lora_gb, base.qlora_gb)]
        here = "sí" if is_downloaded(settings.data_dir, base) else ""
        figures = [cell.replace(".", ",") for cell in (size, *memory)]
        table.add_row(base.id + ("" if base.verified else " *"), *figures, str(base.context), here, base.licence)
    say = Console(soft_wrap=True)
    say.print(table)
    say.print("\n* No se ha probado aquí de principio a fin. Se descarga con: afina bases descargar ID", style="dim")


def _download(base_id: str, catalog: Catalog, settings: Settings) -> int:
    base = catalog.get(base_id)
    if base.repo is None:
        print(f"{base_id} viene con Afina; no hay nada que descargar.")
        return 0
    if importlib.util.find_spec("torch") is None:
        print(NO_TORCH, file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "jobs.gpu", "download", base_id, "--data", str(settings.data_dir.resolve())]
    token = settings.hf_token.get_secret_value() if settings.hf_token else ""
    environment = os.environ | ({"HF_TOKEN": token} if token else {})
    return subprocess.run(command, env=environment, check=False).returncode
