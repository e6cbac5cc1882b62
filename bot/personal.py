"""What Afina keeps about a person: taking it away, and erasing it.

Rule of this file: rows (`bot/store/people.py`) and files together. Erasing goes from what acts to what lies: running
jobs are stopped first, then rows vanish (from then on nobody can ask for anything), then files; a file that cannot be
deleted is logged and does not bring the rest back.
"""

from __future__ import annotations

import asyncio
import io
import json
import logging
import shutil
import zipfile
from collections.abc import Iterable
from pathlib import Path

from bot.drafts import Draft
from bot.records import Owner
from bot.services import Services
from jobs.errors import AfinaError, QueueUnavailable

log = logging.getLogger(__name__)

README = """Todo lo que Afina guarda de ti en este servidor.

datos/      los archivos que subiste o reparaste
filas.json  datos, modelos, entrenamientos con sus eventos, hilos, votos y opiniones, tal como están guardados
modelos/    los informes de tus modelos; los adaptadores se descargan con /modelos exportar
omitidos.txt  lo que no cupo en un archivo de Discord, si algo no cupo
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
            for name in ("README.md", "recipe.yaml", "results.csv"):
                files[f"modelos/{model.adapter_name}/{name}"] = f"{model.adapter_path}/{name}"
    return await asyncio.to_thread(_pack, services, json.dumps(rows, ensure_ascii=False, indent=1), files, limit)


def _file_name(name: str) -> str:
    """A name that a person chose, as a name inside an archive: no folders, no surprises."""
    return "".join(c if c.isalnum() or c in " ._-" else "_" for c in name).strip(". ")[:80] or "datos"


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
            # Text shrinks to a third or less; a quarter of a megabyte is left for the directory of the archive.
            if buffer.tell() + path.stat().st_size // 3 > limit - 2**18:
                left_out.append(name)
                continue
            archive.write(path, name)
        if left_out:
            archive.writestr("omitidos.txt", "\n".join(left_out) + "\n")
    return buffer.getvalue()


async def erase(services: Services, owner: Owner) -> dict[str, int]:
    """Erase a person from a server for good: how many rows went, by table."""
    store = services.store
    datasets = await store.datasets(owner)
    models = [model for model in await store.models(owner) if model.owner == owner]
    jobs = await store.jobs(owner)
    for job in jobs:
        if not job.state.terminal:
            await store.request_cancel(job.id, owner)
            try:
                await asyncio.to_thread(services.queue.request_stop, job.id, job.attempt, "cancelled")
            except QueueUnavailable:  # its events find no job any more, and its adapter no model
                log.warning("a job of an erased person may still run", extra={"job": job.id})
    counts = await store.erase(owner)
    drafts = await store.states("draft:")
    mine = [key for key, text in drafts.items() if Draft.model_validate_json(text).owner == owner]
    await store.forget_states(*mine, *(f"told:{job.id}" for job in jobs))
    for model in models:
        try:
            await services.engine.unload(model.adapter_name)
        except AfinaError:
            log.info("adapter %s was not unloaded", model.adapter_name)
    await asyncio.to_thread(
        _delete_files,
        services,
        [*(dataset.path for dataset in datasets), *(model.adapter_path for model in models)],
        [services.settings.data_dir / "jobs" / job.id for job in jobs],
    )
    return counts


def _delete_files(services: Services, paths: Iterable[str], folders: Iterable[Path]) -> None:
    for path in paths:
        try:
            services.artifacts.delete(path)
        except (OSError, AfinaError):
            log.exception("%s could not be deleted", path)
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)
