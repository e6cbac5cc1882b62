"""`/ayuda`, `/limites`, `/privacidad` and `/misdatos`.

Rule of this file: everything here answers privately.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import erasing, models, personal
from bot.cogs.actions import Action, owner_of, services_of
from bot.cogs.deleting import Keep, ask_first
from bot.cogs.workshop import acknowledge, deliver
from bot.errors import NotAllowed
from bot.members import allowance
from bot.render.cards import Accent, card
from bot.render.help import HELP, privacy_texts
from bot.render.limits import limits_texts
from bot.render.numbers import count, size
from bot.services import Services

Interaction = discord.Interaction[Any]
FILE_LIMIT = 10 * 2**20  # bytes, in direct messages


class HelpCog(commands.Cog):
    misdatos = app_commands.Group(name="misdatos", description="Lo que guardo de ti: llévatelo o bórralo")

    def __init__(self, services: Services) -> None:
        self.services = services

    @app_commands.command(name="ayuda", description="Qué puedo hacer por ti, con ejemplos")
    async def help(self, interaction: Interaction) -> None:
        await interaction.response.send_message(view=card(*HELP), ephemeral=True)

    @app_commands.command(name="limites", description="Lo que puedes usar y lo que te queda")
    async def limits(self, interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        owner, services = owner_of(interaction), self.services
        limits, usage = await allowance(services, owner)
        texts = limits_texts(await services.store.role(owner), limits, usage, services.settings)
        await interaction.followup.send(view=card(*texts))

    @app_commands.command(name="privacidad", description="Qué guardo de ti, hasta cuándo y quién lo ve")
    async def privacy(self, interaction: Interaction) -> None:
        await interaction.response.send_message(view=card(*privacy_texts(self.services.settings)), ephemeral=True)

    @misdatos.command(name="descargar", description="Un ZIP con todo lo que guardo de ti en este servidor")
    async def take_out(self, interaction: Interaction) -> None:
        await acknowledge(self.services, interaction)
        limit = interaction.guild.filesize_limit if interaction.guild else FILE_LIMIT
        archive = await personal.take_out(self.services, owner_of(interaction), limit=limit)
        view = card(f"## Todo lo tuyo\n{size(len(archive))}. Dentro hay un LEEME.", files=["misdatos.zip"])
        await deliver(self.services, interaction, view, files=[discord.File(io.BytesIO(archive), "misdatos.zip")])

    @misdatos.command(name="borrar", description="Borra para siempre todo lo que guardo de ti en este servidor")
    async def erase(self, interaction: Interaction) -> None:
        owner = owner_of(interaction)
        mine = [model.id for model in await self.services.store.models(owner) if model.owner == owner]
        used = await models.in_use(self.services, owner, *mine)
        await interaction.response.send_message(
            view=ask_first(
                "todo lo tuyo",
                "Tus datos, modelos, entrenamientos (también los que están en marcha), votos e hilos, en este "
                "servidor. **No se puede deshacer.** Si quieres una copia, antes usa `/misdatos descargar`. "
                + used.replace("Ahora mismo se usa", "Tus modelos se usan ahora"),
                Erase(interaction.user.id),
            ),
            ephemeral=True,
        )


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return [Erase, Keep]


class Erase(Action, cog="mine", verb="erase"):
    label = "Borrar todo para siempre"
    style = discord.ButtonStyle.danger

    async def run(self, interaction: Interaction) -> None:
        owner, services = owner_of(interaction), services_of(interaction)
        if str(owner.user_id) != self.target:
            raise NotAllowed("Solo esa persona puede borrar lo suyo.")
        await interaction.response.defer()
        workshop = await services.store.workshop(owner)
        counts = await erasing.erase(services, owner)
        interaction.client.homes.pop(owner.user_id, None)
        text = f"## Borrado\n{erased_text(counts)}"
        gone = (
            workshop is not None and workshop != interaction.channel_id and await _delete_thread(interaction, workshop)
        )
        if workshop is not None and not gone:
            text += "\nLos mensajes de tu taller siguen en Discord: pide a quien modera el servidor que borre el hilo."
        await interaction.edit_original_response(view=card(text, accent=Accent.QUIET))


def erased_text(counts: Mapping[str, int]) -> str:
    """What there was and is gone, without what there was none of."""
    there = {
        ("archivo de datos", "archivos de datos"): counts["datasets"],
        ("modelo", "modelos"): counts["models"],
        ("entrenamiento", "entrenamientos"): counts["jobs"],
        ("opinión", "opiniones"): counts["votes"] + counts["feedback"],
    }
    gone = [count(amount, *words) for words, amount in there.items() if amount]
    if not gone:
        return "Ya no queda nada tuyo aquí."
    return f"{' y '.join([', '.join(gone[:-1]), gone[-1]] if len(gone) > 1 else gone)}. Ya no queda nada tuyo aquí."


async def _delete_thread(interaction: Interaction, thread_id: int) -> bool:
    """Delete the workshop with everything that was said in it, where the bot may."""
    try:
        thread = await interaction.client.fetch_channel(thread_id)
        if not isinstance(thread, discord.Thread):
            return False
        await thread.delete()
    except discord.NotFound:
        return True
    except discord.HTTPException:
        return False
    return True
