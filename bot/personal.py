"""Taking away what Afina keeps about a person: one ZIP.

Rule of this file: rows (`bot/store/people.py`) and files together, as far as they fit into what Discord carries; what
does not is named, with the way to get it. Erasing is the business of `bot/erasing.py`.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import zipfile
from pathlib import Path

from bot.records import Owner
from bot.services import Services
from jobs.errors import AfinaError

log = logging.getLogger(__name__)

WEIGHTS = ("adapter_model.safetensors", "adapter_config.json")
README = """Todo lo que Afina guarda de ti en este servidor.

datos/      los archivos que subiste o reparaste
filas.json  datos, modelos, entrenamientos con sus eventos, hilos, votos y opiniones, tal como están guardados
modelos/    tus modelos: el adaptador (se carga con PEFT, vLLM o Afina), su receta y su informe
omitidos.txt  lo que no cupo en un archivo de Discord y cómo conseguirlo, si algo no cupo
"""


async def take_out(services: Services, owner: Owner, *, limit: int) -> bytes:
    """A ZIP of at most about `limit` bytes: all rows, and files as far as they fit, the smaller ones first."""
    rows = await services.store.everything(owner)
    files = {
        f"datos/{_file_name(dataset.name)} v{dataset.version}.jsonl": dataset.path
        for dataset in await services.store.datasets(owner)
    }
    for model in await services.store.models(owner):
        if model.owner == owner:
            for name in ("README.md", "recipe.yaml", "results.csv", *WEIGHTS):
                files[f"modelos/{model.adapter_name}/{name}"] = f"{model.adapter_path}/{name}"
    return await asyncio.to_thread(_pack, services, json.dumps(rows, ensure_ascii=False, indent=1), files, limit)


def _file_name(name: str) -> str:
    """A name that a person chose, as a name inside an archive: no folders, no surprises."""
    return "".join(c if c.isalnum() or c in " ._-" else "_" for c in name).strip(". ")[:80] or "datos"


def _how_to_get(name: str) -> str:
    """Where something is to be had that did not fit."""
    if name.startswith("datos/"):
        return "descárgalo con /datos ver, botón «Descargar»"
    return "descárgalo con /modelos exportar; si tampoco cabe, pídeselo a quien administra el bot"


def _pack(services: Services, rows: str, files: dict[str, str], limit: int) -> bytes:
    found: dict[str, Path] = {}
    for name, inside in files.items():
        try:
            found[name] = services.artifacts.local(inside)
        except AfinaError:
            log.info("no file %s to take out", inside)
    left_out = []
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=6) as archive:
        archive.writestr("LEEME.txt", README)
        archive.writestr("filas.json", rows)
        for name, path in sorted(found.items(), key=lambda item: item[1].stat().st_size):
            # Text shrinks to a third or less and weights hardly; a quarter of a megabyte is left for the directory.
            shrunk = path.stat().st_size // (1 if name.endswith(".safetensors") else 3)
            if buffer.tell() + shrunk > limit - 2**18:
                left_out.append(name)
                continue
            archive.write(path, name)
        if left_out:
            archive.writestr("omitidos.txt", "".join(f"{name}: {_how_to_get(name)}\n" for name in left_out))
    return buffer.getvalue()
