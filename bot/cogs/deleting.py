"""Nothing is deleted at one press: what would go is said first, with a button for each answer.

Rule of this file: the question and its two answers, whatever is deleted. What deleting means is said by the cog that
asks: it derives its button from `DeleteForEver`.
"""

from __future__ import annotations

from typing import Any

import discord

from bot.cogs.actions import Action, owner_of, services_of
from bot.records import Owner
from bot.render.cards import Accent, card
from bot.services import Services

Interaction = discord.Interaction[Any]


def ask_first(name: str, consequences: str, yes: Action) -> discord.ui.LayoutView:
    """The question; `name` and `consequences` are text that is safe to show."""
    return card(
        f"## ¿Borrar {name}?\n{consequences}",
        accent=Accent.BAD,
        actions=[yes, Keep(yes.target)],
    )


class DeleteForEver(Action, cog="none", verb="delete"):
    """The answer «yes»: it takes the place of the question."""

    label = "Borrar para siempre"
    style = discord.ButtonStyle.danger

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer()
        name = await self.delete(services_of(interaction), owner_of(interaction))
        await interaction.edit_original_response(view=card(f"**{name}** está borrado.", accent=Accent.QUIET))

    async def delete(self, services: Services, owner: Owner) -> str:
        """Do it; the name of what is gone, safe to show."""
        raise NotImplementedError


class Keep(Action, cog="any", verb="keep"):
    """The answer «no»."""

    label = "Conservarlo"

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer()
        await interaction.edit_original_response(view=card("No he borrado nada.", accent=Accent.QUIET))
