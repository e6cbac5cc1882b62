"""What a person does with a finished model beyond chatting: share, rename, delete, take away.

Rule of this file: the store's row and the adapter's files together, in the order in which nothing dangles; no Discord.
"""

from __future__ import annotations

import asyncio
import io
import logging
import zipfile
from pathlib import Path

from bot.errors import BadInput, NotFound
from bot.records import Model, Owner
from bot.services import Services
from bot.wishes import clean_name
from jobs.errors import EngineUnavailable, ModelNotFound

log = logging.getLogger(__name__)


async def own_model(services: Services, id_or_name: str, owner: Owner) -> Model:
    """A model of the person themselves. Raises NotFound, also for a shared one of somebody else."""
    model = await services.store.model(id_or_name, owner)
    if model.owner != owner:
        raise NotFound("Ese modelo no es tuyo.", hint="Solo puede cambiarlo quien lo hizo.")
    return model


async def rename(services: Services, id_or_name: str, owner: Owner, name: str) -> tuple[Model, Model]:
    """(before, after). Raises BadInput and NotFound."""
    before = await own_model(services, id_or_name, owner)
    await services.moderation.admit_quickly(name, owner.guild_id)
    return before, await services.store.rename_model(before.id, owner, clean_name(name))


async def in_use(services: Services, owner: Owner, *model_ids: str) -> str:
    """In how many threads people talk to these models now, as a sentence; empty: in none."""
    users = await services.store.users_of(*model_ids)
    others = sum(user != owner for user in users)
    if not users:
        return ""
    threads = "un hilo abierto" if len(users) == 1 else f"{len(users)} hilos abiertos"
    whose = " de otra persona" if others == len(users) == 1 else f", {others} de otras personas" if others else ""
    return f"Ahora mismo se usa en {threads}{whose}; ahí diré que ya no existe, y no contestará otro en su lugar."


async def delete(services: Services, id_or_name: str, owner: Owner) -> Model:
    """The row goes first: from then on nobody can ask for the adapter; then engine and files.

    An engine that does not answer has nothing loaded after its next start, and a file that cannot be deleted is
    logged; neither brings the model back.
    """
    model = await own_model(services, id_or_name, owner)
    await services.store.delete_model(model.id, owner)
    try:
        await services.engine.unload(model.adapter_name)
    except (EngineUnavailable, ModelNotFound):
        log.info("adapter %s was not unloaded", model.adapter_name)
    try:
        await asyncio.to_thread(services.artifacts.delete, model.adapter_path)
    except (OSError, ModelNotFound):
        log.exception("files of %s could not be deleted", model.adapter_path)
    return model


async def export(services: Services, id_or_name: str, owner: Owner, *, limit: int) -> tuple[Model, bytes]:
    """The adapter as a ZIP of at most `limit` bytes. Raises BadInput when it is larger, ModelNotFound without files."""
    model = await own_model(services, id_or_name, owner)
    return model, await asyncio.to_thread(_zip, services.artifacts.adapter(model.adapter_name), limit)


def _zip(folder: Path, limit: int) -> bytes:
    total = sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())
    if total > 2 * limit:  # weights hardly compress
        raise _too_large(total, limit)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=3) as archive:
        for file in sorted(folder.rglob("*")):
            if file.is_file():
                archive.write(file, file.relative_to(folder.parent))
    if buffer.tell() > limit:
        raise _too_large(buffer.tell(), limit)
    return buffer.getvalue()


def _too_large(size: int, limit: int) -> BadInput:
    return BadInput(
        f"El adaptador ocupa {size / 2**20:.0f} MB y aquí Discord deja enviar {limit / 2**20:.0f} MB.",
        hint="Pídeselo a quien administra el bot: está en su carpeta de adaptadores.",
    )
