"""The card of a dataset, and what its buttons do.

Rule of this file: draw what is known and offer what can be done next. The commands are in `datasets.py`.
"""

from __future__ import annotations

import asyncio
import io
from typing import Any

import discord

from bot import datasets, versions, waiting
from bot.bases import offered_bases
from bot.cogs.actions import Action, owner_of, services_of
from bot.cogs.deleting import DeleteForEver, Keep, ask_first
from bot.cogs.workshop import acknowledge, deliver
from bot.errors import NotFound
from bot.limits import seconds_left
from bot.members import allowance
from bot.records import Dataset, Owner
from bot.render.cards import Accent, Elsewhere, card
from bot.render.histogram import draw_histogram
from bot.render.limits import minutes_line
from bot.render.numbers import plain
from bot.render.pages import page_button, page_of_rule
from bot.render.report import accent, changes_file, changes_text, example_texts, plan_line, report_texts
from bot.services import Services
from jobs.contract import Objective
from jobs.dataset.rules import BEYOND_REPAIR
from jobs.errors import AfinaError
from jobs.recipe import recommend

Interaction = discord.Interaction[Any]
BASES = 4  # told on a card
PICTURE = "longitudes.png"


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return [Repair, Redact, NoSecrets, Examples, WholeReport, Download, Delete, DeleteNow, Keep]


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
        actions=buttons(dataset, services.settings.course_url) if ready or dataset.verdict == "rejected" else [],
    )
    return view, files


def buttons(dataset: Dataset, course_url: str | None = None) -> list[discord.ui.Item[Any]]:
    """What can be done next, the most useful first; the page that explains the first problem."""
    codes = {group["code"] for group in dataset.report.get("groups", [])}
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
    if codes - BEYOND_REPAIR:
        style = discord.ButtonStyle.secondary if trainable else discord.ButtonStyle.primary
        actions.append(Repair(dataset.id, style=style))
    if dataset.usable:
        actions.append(Examples(f"{dataset.id}.0"))
    if codes:
        actions.append(WholeReport(dataset.id))
    if dataset.parent_id:
        actions.append(Download(dataset.id))
    pages = [page for group in dataset.report.get("groups", []) if (page := page_of_rule(group["code"]))]
    return [*actions, *(page_button(page, course_url) for page in pages[:1]), Delete(dataset.id)]


async def _plans(services: Services, dataset: Dataset) -> list[str]:
    """A line about each base on offer: time, tokens and memory on the workers that are there."""
    stats = waiting.stats_of(dataset)
    crew = await waiting.workers(services)
    memory = waiting.best_memory(crew)
    objective = {"preference": Objective.DPO, "kto": Objective.KTO}.get(dataset.format or "", Objective.SFT)
    limits, usage = await allowance(services, dataset.owner)
    left = seconds_left(limits, usage)
    lines = []
    for base in (await offered_bases(services, dataset.owner.guild_id))[:BASES]:
        try:
            recipe = recommend(stats, base, objective=objective, device_memory=memory)
        except AfinaError as error:
            lines.append(f"{base.name}: {plain(error.message, 120)}")
            continue
        cost = await waiting.expected_cost(services, recipe, stats, base, crew)
        lines.append(
            plan_line(
                base.name,
                epochs=recipe.epochs,
                tokens=cost.tokens,
                seconds=cost.seconds,
                memory=cost.memory_bytes,
                fits=cost.fits,
                affordable=left is None or cost.seconds <= left,
            )
        )
    return [*lines, minutes_line(limits, usage)] if lines else []


# Buttons


class Repair(Action, cog="data", verb="repair"):
    label = "Reparar"
    redact = False

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        await acknowledge(services, interaction)
        made, changes = await versions.repair(services, self.target, owner_of(interaction), redact=self.redact)
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
    return ask_first(
        f"{plain(dataset.name, 60)} v{dataset.version}",
        "Se borra el archivo con su informe. Los modelos que hayas entrenado con él se quedan. No se puede deshacer.",
        DeleteNow(dataset.id),
    )


class DeleteNow(DeleteForEver, cog="data", verb="deletenow"):
    async def delete(self, services: Services, owner: Owner) -> str:
        gone = await datasets.delete(services, self.target, owner)
        return f"{plain(gone.name, 60)} v{gone.version}"
