"""Persistent buttons and forms: the bases that every cog's own derive from.

Rule of this file: a button's whole state is its `custom_id` (`afina:<cog>:<verb>:<id>`), so it works after a restart
and on old messages; whatever it raises becomes a reply. discord.py only logs what a `DynamicItem` raises, and drops a
form that was opened before a restart; both are mended here and in `bot/client.py`.

    class Pause(Action, cog="train", verb="pause"):
        label = "Pausar"

        async def run(self, interaction): ...          # self.target is the job's id
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, ClassVar, Self

import discord

from bot.cogs.replies import answer_error
from bot.errors import BadInput
from bot.records import Owner

if TYPE_CHECKING:
    from bot.cogs.board import Board
    from bot.services import Services

ID_PATTERN = r"[A-Za-z0-9_.:-]{1,80}"


def services_of(interaction: discord.Interaction) -> Services:
    """The parts of the bot that got this interaction."""
    return interaction.client.services  # type: ignore[attr-defined, no-any-return]


def board_of(interaction: discord.Interaction) -> Board:
    """Where the progress cards of jobs are kept true."""
    return interaction.client.board  # type: ignore[attr-defined, no-any-return]


def owner_of(interaction: discord.Interaction) -> Owner:
    """Who asks, in which server.

    In direct messages it is the server for which these messages are the person's workshop; BadInput where there is
    none, because nothing crosses servers.
    """
    guild_id = interaction.guild_id or interaction.client.homes.get(interaction.user.id)  # type: ignore[attr-defined]
    if guild_id is None:
        raise BadInput("Esto solo funciona dentro de un servidor.", hint="Escríbelo en un canal del servidor.")
    return Owner(guild_id=guild_id, user_id=interaction.user.id)


async def admit(interaction: discord.Interaction) -> bool:
    """Whether to handle this interaction: not when it was delivered before. Afterwards `owner_of` can be asked."""
    return bool(await interaction.client.admit(interaction))  # type: ignore[attr-defined]


class Action(discord.ui.DynamicItem[discord.ui.Button[Any]], template="afina:none"):
    """A button that does `run` on the thing called `id`."""

    prefix: ClassVar[str]
    label: ClassVar[str] = ""
    style: ClassVar[discord.ButtonStyle] = discord.ButtonStyle.secondary

    def __init_subclass__(cls, *, cog: str, verb: str) -> None:
        cls.prefix = f"afina:{cog}:{verb}:"
        super().__init_subclass__(template=re.compile(rf"{re.escape(cls.prefix)}(?P<id>{ID_PATTERN})"))

    def __init__(
        self,
        id: str | int,
        *,
        label: str | None = None,
        style: discord.ButtonStyle | None = None,
        disabled: bool = False,
    ) -> None:
        self.target = str(id)
        super().__init__(
            discord.ui.Button(
                label=label or self.label,
                style=style or self.style,
                custom_id=f"{self.prefix}{id}",
                disabled=disabled,
            )
        )

    @property
    def number(self) -> int:
        """The id, where it is Discord's own. Raises BadInput for one that somebody made up."""
        if not re.fullmatch(r"[0-9]{1,19}", self.target):
            raise BadInput("Ese botón ya no sirve.", hint="Vuelve a pedirlo con el comando.")
        return int(self.target)

    @classmethod
    async def from_custom_id(
        cls, interaction: discord.Interaction, item: discord.ui.Item[Any], match: re.Match[str], /
    ) -> Self:
        return cls(match["id"])

    async def callback(self, interaction: discord.Interaction) -> Any:
        try:
            if await admit(interaction):
                await self.run(interaction)
        except Exception as error:  # the boundary: everything becomes a reply
            await answer_error(interaction, error)

    async def run(self, interaction: discord.Interaction) -> None:
        """Do it. Acknowledge first (defer); raise AfinaErrors for what the person should read."""
        raise NotImplementedError


class Form(discord.ui.Modal):
    """A modal whose errors become replies. It lives 15 minutes, as its interaction does."""

    def __init__(self, *, title: str, custom_id: str | None = None) -> None:
        super().__init__(title=title[:45], timeout=15 * 60, custom_id=custom_id or discord.utils.MISSING)

    async def interaction_check(self, interaction: discord.Interaction, /) -> bool:
        return await admit(interaction)

    async def on_error(  # type: ignore[override]  # discord.py's own Modal narrows it so
        self, interaction: discord.Interaction, error: Exception, /
    ) -> None:
        await answer_error(interaction, error)
