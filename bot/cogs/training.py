"""`/afinar`: from the form to a confirmed job, and the buttons on that way.

Rule of this file: parse, ask `bot/training.py`, show. What becomes of the job afterwards is in `bot/cogs/jobs.py`.
"""

from __future__ import annotations

from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import drafts, training
from bot.bases import offered_bases
from bot.cogs import datasets
from bot.cogs.actions import Action, board_of, owner_of, services_of
from bot.cogs.training_forms import TrainForm, TweakForm, Wish
from bot.cogs.workshop import acknowledge, deliver
from bot.datasets import has_open_secrets
from bot.errors import BadInput, WrongState
from bot.render.cards import Accent, card
from bot.render.numbers import plain
from bot.render.plan import plan_texts, reasons_text
from bot.services import Services
from bot.wishes import suggested_name

Interaction = discord.Interaction[Any]


class TrainingCog(commands.Cog):
    def __init__(self, services: Services) -> None:
        self.services = services

    @app_commands.command(name="afinar", description="Afina un modelo con tus datos")
    async def afinar(self, interaction: Interaction) -> None:
        await open_form(self.services, interaction)


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return [Start, Confirm, Tweak, Why, Discard, Again]


# From the form to the confirmation


async def open_form(services: Services, interaction: Interaction, dataset_id: str | None = None) -> None:
    """Show the form; it must be the first answer to the interaction, so only quick look-ups come before it."""
    owner = owner_of(interaction)
    mine = await training.trainable(services, owner)
    if dataset_id is not None and all(dataset.id != dataset_id for dataset in mine):
        dataset = await services.store.dataset(dataset_id, owner)  # an older version, or NotFound
        if dataset.verdict == "rejected" or not dataset.usable:
            raise WrongState("Con estos datos todavía no se puede entrenar.", hint="Repáralos primero.")
        mine = [dataset, *mine]
    bases = await offered_bases(services, owner.guild_id)
    if not bases:
        raise BadInput("Aquí no hay ningún modelo base.", hint="Quien administra el bot puede descargar uno.")
    chosen = next((one for one in mine if one.id == dataset_id), mine[0] if mine else None)
    models = [model for model in await services.store.models(owner) if model.owner == owner]
    await interaction.response.send_modal(
        TrainForm(
            datasets=mine,
            chosen=chosen.id if chosen else None,
            bases=bases,
            models=models,
            name=suggested_name(chosen.name if chosen else "mi modelo"),
            then=lambda answer, wish: _propose(services, answer, wish),
        )
    )


async def _propose(services: Services, interaction: Interaction, wish: Wish) -> None:
    """The form was sent: make a draft and ask for confirmation in the workshop."""
    await acknowledge(services, interaction)
    owner = owner_of(interaction)
    dataset_id = wish.dataset_id
    if wish.upload is not None:  # sending the form attests the right to use the file
        dataset = await datasets.receive(services, interaction, wish.upload)
        if dataset.verdict == "rejected" or not dataset.usable or has_open_secrets(dataset):
            return  # its card says what is wrong and offers to mend it
        dataset_id = dataset.id
    if dataset_id is None:
        raise BadInput("Faltan los datos.", hint="Súbelos con /datos subir.")
    draft = await training.make_draft(
        services,
        owner,
        dataset_id=dataset_id,
        base=wish.base,
        method=wish.method,
        rslora=wish.rslora,
        dora=wish.dora,
        preset=wish.preset,
        name=wish.name,
    )
    view = draft_card(await training.plan(services, draft))
    await deliver(services, interaction, view, note="Mira lo que costaría y confírmalo en tu taller: {place}")


def draft_card(plan: training.Plan) -> discord.ui.LayoutView:
    draft = plan.draft
    fits = plan.estimate.fits
    return card(
        *plan_texts(plan),
        accent=Accent.NEUTRAL if fits else Accent.WARN,
        actions=[
            Confirm(draft.id, disabled=not fits),
            Tweak(draft.id),
            Why(draft.id),
            Discard(draft.id),
        ],
    )


class Start(Action, cog="train", verb="start"):
    """«Afinar un modelo» on the card of a dataset."""

    label = "Afinar un modelo"
    style = discord.ButtonStyle.primary

    async def run(self, interaction: Interaction) -> None:
        await open_form(services_of(interaction), interaction, self.target)


class Confirm(Action, cog="train", verb="confirm"):
    label = "Confirmar"
    style = discord.ButtonStyle.success

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        await interaction.response.defer()
        async with interaction.client.lock("draft", self.target):
            draft = await drafts.load_draft(services, self.target, owner_of(interaction))
            job = await training.confirm(services, draft, channel_id=interaction.channel_id)
        services.scheduler.nudge()
        await board_of(interaction).show(job)
        await interaction.edit_original_response(view=card(f"**{plain(job.name)}** · confirmado", accent=Accent.QUIET))


class Tweak(Action, cog="train", verb="tweak"):
    label = "Avanzado"

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        draft = await drafts.load_draft(services, self.target, owner_of(interaction))
        drafts.must_be_open(draft)
        await interaction.response.send_modal(TweakForm(draft, self._apply))

    async def _apply(self, interaction: Interaction, values: dict[str, str]) -> None:
        services = services_of(interaction)
        await interaction.response.defer()
        async with interaction.client.lock("draft", self.target):
            draft = await drafts.load_draft(services, self.target, owner_of(interaction))
            draft = await drafts.tweak(services, draft, values)
        await interaction.edit_original_response(view=draft_card(await training.plan(services, draft)))


class Why(Action, cog="train", verb="why"):
    """A sentence for each value, for whoever wonders and nobody else."""

    label = "¿Por qué así?"

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        draft = await drafts.load_draft(services, self.target, owner_of(interaction))
        why = card(reasons_text(await training.reasons(services, draft)), accent=Accent.QUIET)
        await interaction.response.send_message(view=why, ephemeral=True)


class Discard(Action, cog="train", verb="discard"):
    label = "Cancelar"

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        await interaction.response.defer()
        async with interaction.client.lock("draft", self.target):
            draft = await drafts.load_draft(services, self.target, owner_of(interaction))
            await drafts.discard(services, draft)
        text = f"**{plain(draft.name)}** · descartado; no has gastado nada"
        await interaction.edit_original_response(view=card(text, accent=Accent.QUIET))


class Again(Action, cog="train", verb="again"):
    """«Cambiar y repetir»: the plan of a job that is over, to be changed and confirmed."""

    label = "Cambiar y repetir"

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        await acknowledge(services, interaction)
        draft = await training.draft_again(services, self.target, owner_of(interaction))
        view = draft_card(await training.plan(services, draft))
        await deliver(services, interaction, view, note="Cámbialo con Avanzado y confírmalo en tu taller: {place}")
