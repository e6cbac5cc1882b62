"""`/datos`: bring a file, see what is wrong with it, have it mended, look at examples, divide, join, delete.

Rule of this file: parse, call `bot/datasets.py` or `bot/versions.py`, show. Everything private appears in the person's
workshop. A report comes in two steps into the same card (`dataset_card.py`): the structure at once, the rest as soon as
it is known.
"""

from __future__ import annotations

import io
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import datasets, versions
from bot.cogs.actions import owner_of
from bot.cogs.dataset_card import ask_to_delete, draw, dynamic_items
from bot.cogs.workshop import acknowledge, deliver
from bot.consent import CONSENTS, LICENCES, VERSION
from bot.errors import BadInput, NotFound
from bot.members import may_keep
from bot.records import Dataset
from bot.render.cards import card
from bot.render.numbers import count, number
from bot.render.report import list_text
from bot.services import Services
from jobs.dataset.samples import SAMPLES, sample_file

__all__ = ["DatasetsCog", "dynamic_items", "receive"]

Interaction = discord.Interaction[Any]
CHOICES = 25  # of an autocomplete


class DatasetsCog(commands.Cog):
    datos = app_commands.Group(name="datos", description="Tus datos de entrenamiento")

    def __init__(self, services: Services) -> None:
        self.services = services

    @datos.command(name="subir", description="Sube un archivo: te digo qué falla, línea por línea, y lo reparo")
    @app_commands.rename(file="archivo", consent="tengo_derecho", kept="validacion", licence="licencia")
    @app_commands.describe(
        file="JSONL (o CSV, JSON, ZIP…) con un ejemplo por línea",
        consent=CONSENTS[VERSION],
        kept="Opcional: otro archivo con ejemplos aparte, para medir",
        licence="Opcional: de quién son, o con qué licencia se pueden usar",
    )
    @app_commands.choices(licence=[app_commands.Choice(name=name, value=key) for key, name in LICENCES.items()])
    async def upload(
        self,
        interaction: Interaction,
        file: discord.Attachment,
        consent: bool,
        kept: discord.Attachment | None = None,
        licence: str | None = None,
    ) -> None:
        if not consent:
            raise BadInput(
                "Sin tu confirmación no guardo nada.",
                hint="Si los datos son tuyos o tienes permiso para usarlos, repite con «tengo_derecho: True».",
            )
        await acknowledge(self.services, interaction)
        await receive(self.services, interaction, file, kept, licence=licence)

    @datos.command(name="lista", description="Los datos que tienes guardados")
    async def list_datasets(self, interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        mine = await self.services.store.datasets(owner_of(interaction))
        await interaction.followup.send(view=card(list_text(mine)))

    @datos.command(name="ver", description="Abre otra vez la tarjeta de unos datos")
    @app_commands.rename(name="datos")
    async def show(self, interaction: Interaction, name: str) -> None:
        await acknowledge(self.services, interaction)
        dataset = await datasets.find(self.services, owner_of(interaction), name)
        dataset = await datasets.look_again(self.services, dataset)
        view, files = await draw(self.services, dataset)
        await deliver(self.services, interaction, view, files=files)

    @datos.command(name="plantilla", description="Un archivo de ejemplo para empezar")
    @app_commands.rename(form="formato")
    @app_commands.choices(form=[app_commands.Choice(name=title, value=name) for name, (title, _) in SAMPLES.items()])
    async def sample(self, interaction: Interaction, form: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        name = f"plantilla-{form}.jsonl"
        view = card(
            f"## {SAMPLES[form][0]}\nUn ejemplo por línea. Cambia los textos y súbelo con `/datos subir`.",
            files=[name],
        )
        await interaction.followup.send(view=view, file=discord.File(io.BytesIO(sample_file(form)), name))

    @datos.command(name="dividir", description="Aparta unos ejemplos para medir (validación)")
    @app_commands.rename(name="datos", percent="porcentaje")
    @app_commands.describe(percent="Cuántos se apartan, de cada cien (10 si no dices nada)")
    async def split(self, interaction: Interaction, name: str, percent: app_commands.Range[int, 1, 50] = 10) -> None:
        await acknowledge(self.services, interaction)
        owner = owner_of(interaction)
        dataset = await datasets.find(self.services, owner, name)
        made, kept = await versions.split(self.services, dataset.id, owner, percent=percent)
        note = (
            f"## Divididos\n{count(made.usable, 'ejemplo', 'ejemplos')} para entrenar y {number(kept.usable)} aparte "
            "para medir. Los que tienen la misma entrada han quedado juntos, en el mismo lado."
        )
        view, files = await draw(self.services, made, before=note)
        await deliver(self.services, interaction, view, files=files)

    @datos.command(name="muestra", description="Unos cuantos ejemplos al azar, como datos aparte")
    @app_commands.rename(name="datos", size="cuantos")
    @app_commands.describe(size="Cuántos ejemplos")
    async def take_sample(self, interaction: Interaction, name: str, size: app_commands.Range[int, 1, 100_000]) -> None:
        await acknowledge(self.services, interaction)
        dataset = await datasets.find(self.services, owner_of(interaction), name)
        made = await versions.sample(self.services, dataset.id, owner_of(interaction), size=size)
        view, files = await draw(self.services, made)
        await deliver(self.services, interaction, view, files=files)

    @datos.command(name="filtrar", description="Quita los ejemplos que tienen un aviso")
    @app_commands.rename(name="datos", code="aviso")
    @app_commands.describe(code="Uno de los avisos de su informe")
    async def filter(self, interaction: Interaction, name: str, code: str) -> None:
        await acknowledge(self.services, interaction)
        dataset = await datasets.find(self.services, owner_of(interaction), name)
        made, dropped = await versions.without(self.services, dataset.id, owner_of(interaction), code=code)
        note = (
            f"## Filtrados\nHe quitado {count(dropped, 'ejemplo', 'ejemplos')} y quedan {number(made.usable)}. "
            "Es una versión nueva; la anterior se queda como estaba."
        )
        view, files = await draw(self.services, made, before=note)
        await deliver(self.services, interaction, view, files=files)

    @filter.autocomplete("code")
    async def _warnings(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        """The warnings that stand at lines of the chosen dataset."""
        try:
            dataset = await datasets.find(self.services, owner_of(interaction), interaction.namespace.datos or "")
        except NotFound:
            return []
        groups = [group for group in dataset.report.get("groups", []) if any(line for line in group["lines"])]
        return [
            app_commands.Choice(name=f"{group['count']} · {group['message']}"[:100], value=group["code"])
            for group in groups
            if group["severity"] == "warning" and current.casefold() in group["message"].casefold()
        ][:CHOICES]

    @datos.command(name="unir", description="Junta dos conjuntos de la misma clase, sin repetidos")
    @app_commands.rename(first="datos", second="con", name="nombre")
    async def merge(self, interaction: Interaction, first: str, second: str, name: str) -> None:
        await acknowledge(self.services, interaction)
        owner = owner_of(interaction)
        one, other = [await datasets.find(self.services, owner, wanted) for wanted in (first, second)]
        made = await versions.merge(self.services, owner, ids=(one.id, other.id), name=name)
        view, files = await draw(self.services, made)
        await deliver(self.services, interaction, view, files=files)

    @datos.command(name="borrar", description="Borra unos datos para siempre")
    @app_commands.rename(name="datos")
    async def delete(self, interaction: Interaction, name: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        dataset = await datasets.find(self.services, owner_of(interaction), name)
        await interaction.followup.send(view=ask_to_delete(dataset))

    @show.autocomplete("name")
    @split.autocomplete("name")
    @take_sample.autocomplete("name")
    @filter.autocomplete("name")
    @delete.autocomplete("name")
    @merge.autocomplete("first")
    @merge.autocomplete("second")
    async def _mine(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        wanted = current.strip().casefold()
        return [
            app_commands.Choice(
                name=f"{one.name} v{one.version} · {count(one.usable, 'ejemplo', 'ejemplos')}"[:100], value=one.id
            )
            for one in await self.services.store.datasets(owner_of(interaction))
            if wanted in one.name.casefold() or wanted == one.id
        ][:CHOICES]


async def receive(
    services: Services,
    interaction: Interaction,
    file: discord.Attachment,
    kept: discord.Attachment | None = None,
    *,
    licence: str | None = None,
) -> Dataset:
    """Judge an upload and show it in the workshop, in two steps; the interaction is acknowledged already."""
    owner = owner_of(interaction)
    wanted = [one for one in (file, kept) if one is not None]
    for one in wanted:
        datasets.check_size(services.settings, one.size)
    await may_keep(services, owner, bytes=sum(one.size for one in wanted), files=len(wanted))
    now = services.store.clock()
    validation: Dataset | None = None
    if kept is not None:
        steps = datasets.receive(
            services,
            owner,
            name=f"{datasets.clean_name(file.filename)[: datasets.NAME_LENGTH - 20]}{versions.VALIDATION}",
            data=await download(kept),
            consent_at=now,
            licence=licence,
        )
        async for step in steps:
            validation = step
    data = await download(file)
    dataset: Dataset | None = None
    message: discord.Message | None = None
    steps = datasets.receive(
        services,
        owner,
        name=file.filename,
        data=data,
        consent_at=now,
        validation_id=validation.id if validation else None,
        licence=licence,
    )
    async for step in steps:
        dataset = step
        if validation is not None and dataset.report.get("complete"):
            dataset, validation = await versions.link_validation(services, dataset, validation)
        view, files = await draw(services, dataset, validation=validation)
        if message is None:
            message = await deliver(
                services, interaction, view, files=files, note="Te dejo el informe en tu taller: {place}"
            )
        else:
            await message.edit(view=view, attachments=files)
    assert dataset is not None
    return dataset


async def download(file: discord.Attachment) -> bytes:
    try:
        return await file.read()
    except discord.HTTPException as error:
        raise BadInput("No he podido descargar el archivo de Discord.", hint="Súbelo otra vez.") from error
