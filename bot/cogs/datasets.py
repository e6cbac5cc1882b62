"""`/datos`: bring a file, see what is wrong with it, have it mended, look at examples, divide, join, delete.

Rule of this file: parse, call `bot/datasets.py`, show. Everything private appears in the person's workshop. A report
comes in two steps into the same card: the structure at once, the rest as soon as it is known.
"""

from __future__ import annotations

import asyncio
import io
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import datasets, training, waiting
from bot.cogs.actions import Action, owner_of, services_of
from bot.cogs.workshop import acknowledge, deliver
from bot.errors import BadInput, NotFound
from bot.records import Dataset
from bot.render.cards import Accent, Elsewhere, card
from bot.render.histogram import draw_histogram
from bot.render.numbers import count, number, plain
from bot.render.report import (
    accent,
    changes_file,
    changes_text,
    example_texts,
    list_text,
    plan_line,
    report_texts,
)
from bot.services import Services
from jobs.contract import Objective
from jobs.dataset.samples import SAMPLES, sample_file
from jobs.errors import AfinaError
from jobs.recipe import estimate, recommend

Interaction = discord.Interaction[Any]
CHOICES = 25  # of an autocomplete
BASES = 4  # told on a card
PICTURE = "longitudes.png"


class DatasetsCog(commands.Cog):
    datos = app_commands.Group(name="datos", description="Tus datos de entrenamiento")

    def __init__(self, services: Services) -> None:
        self.services = services

    @datos.command(name="subir", description="Sube un archivo: te digo qué falla, línea por línea, y lo reparo")
    @app_commands.rename(file="archivo", consent="tengo_derecho", kept="validacion")
    @app_commands.describe(
        file="JSONL (o CSV, JSON, ZIP…) con un ejemplo por línea",
        consent="Tengo derecho a usar estos datos y acepto que se guarden para entrenar",
        kept="Opcional: otro archivo con ejemplos aparte, para medir",
    )
    async def upload(
        self,
        interaction: Interaction,
        file: discord.Attachment,
        consent: bool,
        kept: discord.Attachment | None = None,
    ) -> None:
        if not consent:
            raise BadInput(
                "Sin tu confirmación no guardo nada.",
                hint="Si los datos son tuyos o tienes permiso para usarlos, repite con «tengo_derecho: True».",
            )
        await acknowledge(self.services, interaction)
        await receive(self.services, interaction, file, kept)

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
        made, kept = await datasets.split(self.services, dataset.id, owner, percent=percent)
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
        made = await datasets.sample(self.services, dataset.id, owner_of(interaction), size=size)
        view, files = await draw(self.services, made)
        await deliver(self.services, interaction, view, files=files)

    @datos.command(name="filtrar", description="Quita los ejemplos que tienen un aviso")
    @app_commands.rename(name="datos", code="aviso")
    @app_commands.describe(code="Uno de los avisos de su informe")
    async def filter(self, interaction: Interaction, name: str, code: str) -> None:
        await acknowledge(self.services, interaction)
        dataset = await datasets.find(self.services, owner_of(interaction), name)
        made, dropped = await datasets.without(self.services, dataset.id, owner_of(interaction), code=code)
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
        made = await datasets.merge(self.services, owner, ids=(one.id, other.id), name=name)
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


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return [Repair, Redact, NoSecrets, Examples, WholeReport, Download, Delete, DeleteNow, Keep]


# Uploading


async def receive(
    services: Services, interaction: Interaction, file: discord.Attachment, kept: discord.Attachment | None = None
) -> Dataset:
    """Judge an upload and show it in the workshop, in two steps; the interaction is acknowledged already."""
    owner = owner_of(interaction)
    for one in (file, kept):
        if one is not None:
            datasets.check_size(services.settings, one.size)
    now = services.store.clock()
    validation: Dataset | None = None
    if kept is not None:
        steps = datasets.receive(
            services,
            owner,
            name=f"{datasets.clean_name(file.filename)[: datasets.NAME_LENGTH - 20]}{datasets.VALIDATION}",
            data=await download(kept),
            consent_at=now,
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
    )
    async for step in steps:
        dataset = step
        if validation is not None and dataset.report.get("complete"):
            dataset, validation = await datasets.link_validation(services, dataset, validation)
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


async def draw(
    services: Services, dataset: Dataset, *, before: str = "", validation: Dataset | None = None, extra: str = ""
) -> tuple[discord.ui.LayoutView, list[discord.File]]:
    """The card of a dataset with its picture and buttons."""
    if validation is None and dataset.validation_id:
        try:
            validation = await services.store.dataset(dataset.validation_id, dataset.owner)
        except NotFound:
            validation = None
    ready = bool(dataset.report.get("complete"))
    plans = await _plans(services, dataset) if ready and dataset.verdict != "rejected" and dataset.usable else []
    files: list[discord.File] = []
    if ready and dataset.usable > 1:
        picture = await asyncio.to_thread(
            draw_histogram, dataset.report["stats"], title=f"Longitudes de «{dataset.name}»"
        )
        if picture:
            files.append(discord.File(io.BytesIO(picture), PICTURE))
    blocks = [block for block in (before, extra) if block]
    view = card(
        *blocks,
        *report_texts(dataset, plans=plans, validation=validation),
        accent=accent(dataset),
        images=[PICTURE] if files else [],
        actions=buttons(dataset) if ready or dataset.verdict == "rejected" else [],
    )
    return view, files


def buttons(dataset: Dataset) -> list[discord.ui.Item[Any]]:
    """What can be done next, the most useful first."""
    problems = bool(dataset.report.get("groups"))
    trainable = dataset.verdict != "rejected" and dataset.usable > 0
    secrets = datasets.has_open_secrets(dataset)
    actions: list[discord.ui.Item[Any]] = []
    if trainable:
        actions.append(
            Elsewhere(
                f"afina:train:start:{dataset.id}",
                label="Afinar un modelo",
                style=discord.ButtonStyle.primary,
                disabled=secrets,
            )
        )
    if secrets:
        actions += [Redact(dataset.id), NoSecrets(dataset.id)]
    if problems:
        style = discord.ButtonStyle.secondary if trainable else discord.ButtonStyle.primary
        actions.append(Repair(dataset.id, style=style))
    if dataset.usable:
        actions.append(Examples(f"{dataset.id}.0"))
    if problems:
        actions.append(WholeReport(dataset.id))
    if dataset.parent_id:
        actions.append(Download(dataset.id))
    return [*actions, Delete(dataset.id)]


async def _plans(services: Services, dataset: Dataset) -> list[str]:
    """A line about each base on offer: time, tokens and memory on the workers that are there."""
    stats = waiting.stats_of(dataset)
    crew = await waiting.workers(services)
    memory = waiting.best_memory(crew)
    objective = {"preference": Objective.DPO, "kto": Objective.KTO}.get(dataset.format or "", Objective.SFT)
    lines = []
    for base in training.available_bases(services)[:BASES]:
        try:
            recipe = recommend(stats, base, objective=objective, device_memory=memory)
        except AfinaError as error:
            lines.append(f"{base.name}: {plain(error.message, 120)}")
            continue
        speed = await waiting.tokens_per_second(services, base.id, recipe.method)
        cost = estimate(
            recipe,
            stats,
            base,
            tokens_per_second=speed,
            device_memory=memory,
            gpu=any(w.device == "cuda" for w in crew),
        )
        lines.append(
            plan_line(
                base.name,
                epochs=recipe.epochs,
                tokens=cost.tokens,
                seconds=cost.seconds,
                memory=cost.memory_bytes,
                fits=cost.fits,
            )
        )
    return lines


# Buttons


class Repair(Action, cog="data", verb="repair"):
    label = "Reparar"
    redact = False

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        await acknowledge(services, interaction)
        made, changes = await datasets.repair(services, self.target, owner_of(interaction), redact=self.redact)
        view, files = await draw(
            services,
            made,
            before=f"## Reparado\nEs una versión nueva; el original se queda como estaba.\n{changes_text(changes)}",
        )
        files.append(discord.File(io.BytesIO(changes_file(changes).encode()), "cambios.txt"))
        for item in list(view.children):
            if isinstance(item, discord.ui.Container):
                item.add_item(discord.ui.File("attachment://cambios.txt"))
        await deliver(services, interaction, view, files=files)


class Redact(Repair, cog="data", verb="redact"):
    label = "Tapar secretos"
    redact = True


class NoSecrets(Action, cog="data", verb="nosecrets"):
    label = "No son secretos"

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        await interaction.response.defer()
        dataset = await datasets.confirm_secrets(services, self.target, owner_of(interaction))
        view, files = await draw(services, dataset)
        await interaction.edit_original_response(view=view, attachments=files)


class Examples(Action, cog="data", verb="examples"):
    label = "Ver ejemplos"

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        first = interaction.message is not None and "Ejemplo " not in _title(interaction.message)
        await (acknowledge(services, interaction) if first else interaction.response.defer())
        dataset_id, _, place = self.target.rpartition(".")
        dataset = await services.store.dataset(dataset_id, owner_of(interaction))
        view = await example_card(services, dataset, int(place) if place.isdigit() else 0)
        if first:
            await deliver(services, interaction, view)
        else:
            await interaction.edit_original_response(view=view)


def _title(message: discord.Message) -> str:
    """The first text of a card."""
    for item in discord.ui.LayoutView.from_message(message, timeout=None).walk_children():
        if isinstance(item, discord.ui.TextDisplay):
            return item.content
    return ""


async def example_card(services: Services, dataset: Dataset, place: int) -> discord.ui.LayoutView:
    """The example at `place`, with buttons to the ones beside it."""
    place = max(0, min(place, dataset.usable - 1))
    found = await datasets.examples(services, dataset, start=place)
    if not found:
        raise NotFound("No hay ningún ejemplo que enseñar.", hint="Repara los datos primero.")
    return card(
        *example_texts(found[0], place=place, name=dataset.name),
        actions=[
            Examples(f"{dataset.id}.{place - 1}", label="◀ Anterior", disabled=place == 0),
            Examples(f"{dataset.id}.{place + 1}", label="Siguiente ▶", disabled=place + 1 >= dataset.usable),
        ],
    )


class WholeReport(Action, cog="data", verb="report"):
    label = "Informe completo"

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        await acknowledge(services, interaction)
        dataset = await services.store.dataset(self.target, owner_of(interaction))
        files = await datasets.whole_report(services, dataset)
        view = card(
            f"## Informe de {plain(dataset.name, 60)}\nTodas las observaciones, para leer y para programas.",
            accent=Accent.QUIET,
            files=list(files),
        )
        await deliver(
            services, interaction, view, files=[discord.File(io.BytesIO(data), name) for name, data in files.items()]
        )


class Download(Action, cog="data", verb="download"):
    label = "Descargar"

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        await acknowledge(services, interaction)
        dataset = await services.store.dataset(self.target, owner_of(interaction))
        name = f"datos-v{dataset.version}.jsonl"
        view = card(f"## {plain(dataset.name, 60)} v{dataset.version}", accent=Accent.QUIET, files=[name])
        data = await datasets.contents(services, dataset)
        await deliver(services, interaction, view, files=[discord.File(io.BytesIO(data), name)])


class Delete(Action, cog="data", verb="delete"):
    label = "Borrar"

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        dataset = await services.store.dataset(self.target, owner_of(interaction))
        await interaction.followup.send(view=ask_to_delete(dataset), ephemeral=True)


def ask_to_delete(dataset: Dataset) -> discord.ui.LayoutView:
    return card(
        f"## ¿Borrar {plain(dataset.name, 60)} v{dataset.version}?\nSe borra el archivo con su informe. "
        "Los modelos que hayas entrenado con él se quedan. No se puede deshacer.",
        accent=Accent.BAD,
        actions=[DeleteNow(dataset.id), Keep(dataset.id)],
    )


class DeleteNow(Action, cog="data", verb="deletenow"):
    label = "Borrar para siempre"
    style = discord.ButtonStyle.danger

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer()
        gone = await datasets.delete(services_of(interaction), self.target, owner_of(interaction))
        await interaction.edit_original_response(
            view=card(f"**{plain(gone.name, 60)}** v{gone.version} está borrado.", accent=Accent.QUIET)
        )


class Keep(Action, cog="data", verb="keep"):
    label = "Conservarlo"

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer()
        await interaction.edit_original_response(view=card("No he borrado nada.", accent=Accent.QUIET))
