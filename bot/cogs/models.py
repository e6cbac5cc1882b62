"""`/modelos`: see, share, rename, delete and take away what one has trained.

Rule of this file: parse, call `bot/models.py` or the store, show.
"""

from __future__ import annotations

import io
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import models
from bot.cogs.actions import Action, owner_of, services_of
from bot.cogs.deleting import DeleteForEver, Keep, ask_first
from bot.cogs.workshop import acknowledge, deliver
from bot.errors import NotFound
from bot.records import Model, Owner
from bot.render.cards import card
from bot.render.model import list_texts, model_card, verdict
from bot.render.numbers import plain, size
from bot.services import Services

Interaction = discord.Interaction[Any]
CHOICES = 25  # of an autocomplete
FILE_LIMIT = 10 * 2**20  # bytes, where Discord does not say how much fits


class ModelsCog(commands.Cog):
    modelos = app_commands.Group(name="modelos", description="Tus modelos y los del servidor")

    def __init__(self, services: Services) -> None:
        self.services = services

    @modelos.command(name="lista", description="Tus modelos y los que comparte el servidor")
    async def list_models(self, interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        owner = owner_of(interaction)
        await interaction.followup.send(view=card(*list_texts(await self.services.store.models(owner), owner)))

    @modelos.command(name="ver", description="De dónde sale un modelo y cómo de bueno es")
    @app_commands.rename(name="modelo")
    async def show(self, interaction: Interaction, name: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        model = await self.services.store.model(name, owner_of(interaction))
        await interaction.followup.send(view=await _card_of(self.services, interaction, model))

    @modelos.command(name="compartir", description="Enseña un modelo tuyo a todo el servidor, o deja de hacerlo")
    @app_commands.rename(name="modelo", shared="compartido")
    @app_commands.describe(shared="No: vuelve a ser solo tuyo")
    async def share(self, interaction: Interaction, name: str, shared: bool = True) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        model = await models.own_model(self.services, name, owner_of(interaction))
        await interaction.followup.send(await _share(self.services, interaction, model.id, shared))

    @modelos.command(name="renombrar", description="Cambia el nombre de un modelo tuyo")
    @app_commands.rename(name="modelo", new="nombre")
    async def rename(self, interaction: Interaction, name: str, new: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        before, after = await models.rename(self.services, name, owner_of(interaction), new)
        await interaction.followup.send(f"**{plain(before.name)}** ahora se llama **{plain(after.name)}**.")

    @modelos.command(name="borrar", description="Borra un modelo tuyo para siempre")
    @app_commands.rename(name="modelo")
    async def delete(self, interaction: Interaction, name: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        owner = owner_of(interaction)
        model = await models.own_model(self.services, name, owner)
        used = await models.in_use(self.services, owner, model.id)
        await interaction.followup.send(
            view=ask_first(
                plain(model.name, 60),
                "Se borra el modelo con sus archivos, también para quien lo esté usando en un hilo. No se puede "
                f"deshacer. Tus datos y el informe del entrenamiento se quedan. {used}".strip(),
                Delete(model.id),
            )
        )

    @modelos.command(name="exportar", description="Llévate el adaptador (ZIP con safetensors)")
    @app_commands.rename(name="modelo")
    async def export(self, interaction: Interaction, name: str) -> None:
        await acknowledge(self.services, interaction)
        limit = interaction.guild.filesize_limit if interaction.guild else FILE_LIMIT
        model, archive = await models.export(self.services, name, owner_of(interaction), limit=limit)
        file_name = f"{model.adapter_name}.zip"
        view = card(
            f"## {plain(model.name, 60)}\n{size(len(archive))} · se carga con PEFT, vLLM o Afina sobre "
            f"{plain(model.base_id)}.",
            files=[file_name],
        )
        await deliver(self.services, interaction, view, files=[discord.File(io.BytesIO(archive), file_name)])

    @show.autocomplete("name")
    async def _any(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        owner = owner_of(interaction)
        return _choices(await self.services.store.models(owner), current)

    @share.autocomplete("name")
    @rename.autocomplete("name")
    @delete.autocomplete("name")
    @export.autocomplete("name")
    async def _own(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        owner = owner_of(interaction)
        return _choices([model for model in await self.services.store.models(owner) if model.owner == owner], current)


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return [Share, Unshare, Delete, Keep]


def _choices(found: list[Model], current: str) -> list[app_commands.Choice[str]]:
    wanted = current.strip().casefold()
    return [
        app_commands.Choice(name=f"{model.name} · {verdict(model)}"[:100], value=model.id)
        for model in found
        if wanted in model.name.casefold() or wanted == model.id
    ][:CHOICES]


async def _card_of(services: Services, interaction: Interaction, model: Model) -> discord.ui.LayoutView:
    """The card with what surrounds the model, as far as it still exists."""
    viewer = owner_of(interaction)
    base = services.catalog.get(model.base_id) if model.base_id in services.catalog else None
    dataset = parent = None
    try:
        dataset = (await services.store.dataset(model.dataset_id, viewer)).name
        parent = await services.store.model(model.parent_id, viewer) if model.parent_id else None
    except NotFound:
        pass
    return model_card(model, base, viewer=viewer, parent=parent, dataset=dataset)


async def _share(services: Services, interaction: Interaction, model_id: str, shared: bool) -> str:
    model = await services.store.share_model(model_id, owner_of(interaction), shared)
    if shared:
        return f"**{plain(model.name)}** ya lo puede usar todo el servidor. Tus datos siguen siendo solo tuyos."
    return f"**{plain(model.name)}** vuelve a ser solo tuyo."


class Share(Action, cog="model", verb="share"):
    label = "Compartir"
    wanted = True

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await interaction.followup.send(await _share(services_of(interaction), interaction, self.target, self.wanted))


class Unshare(Share, cog="model", verb="unshare"):
    label = "Dejar de compartir"
    wanted = False


class Delete(DeleteForEver, cog="model", verb="delete"):
    async def delete(self, services: Services, owner: Owner) -> str:
        return plain((await models.delete(services, self.target, owner)).name)
