"""The buttons of a comparison: a vote, who is who, and «Comparar» on the card of a model with its form.

Rule of this file: each button's state is its id, so that it works after a restart; the cog and `bot/comparisons.py` do
the work.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import discord

from bot import comparisons
from bot.cogs.actions import Action, Form, owner_of, services_of
from bot.comparisons import LETTERS, SEEN, TIE, Contest
from bot.render.numbers import plain

if TYPE_CHECKING:
    from bot.cogs.chat import ChatCog
    from bot.cogs.compare import CompareCog


class Choose(Action, cog="compare", verb="vote"):
    """A vote; its id is the comparison's and the letter."""

    async def run(self, interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        contest_id, _, letter = self.target.rpartition("-")
        contest = await _vote(interaction, contest_id, letter)
        chosen = "Empate." if letter == TIE else f"Has elegido **{plain(contest.title(letter))}**."
        await interaction.edit_original_response(content=f"{chosen}\n{_who_is_who(contest)}")


class Reveal(Action, cog="compare", verb="reveal"):
    """Who is who, for the person who asks; then they can no longer vote."""

    label = "Ver quién es quién"

    async def run(self, interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        contest = await _vote(interaction, self.target, SEEN)
        await interaction.edit_original_response(content=_who_is_who(contest))


class CompareWithBase(Action, cog="chat", verb="compare"):
    """«Comparar» on the card of a model; its id is the model's."""

    label = "Comparar"

    async def run(self, interaction: discord.Interaction) -> None:
        chat: ChatCog = interaction.client.get_cog("ChatCog")  # type: ignore[attr-defined]
        cog: CompareCog = interaction.client.get_cog("CompareCog")  # type: ignore[attr-defined]
        voices = await comparisons.base_and(chat.voices, self.target, owner_of(interaction))

        async def then(answered: discord.Interaction, message: str) -> None:
            await cog.begin(answered, message, voices)

        await interaction.response.send_modal(Question(voices[0].title, then))


class Question(Form):
    """What to ask both."""

    def __init__(self, title: str, then: Callable[[discord.Interaction, str], Awaitable[None]]) -> None:
        super().__init__(title=f"Comparar {title}")
        self._then = then
        self.text: discord.ui.TextInput[Question] = discord.ui.TextInput(
            custom_id="mensaje", style=discord.TextStyle.paragraph, max_length=comparisons.MAX_MESSAGE
        )
        self.add_item(
            discord.ui.Label(
                text="Mensaje",
                description="Lo leerán el modelo y su base, sin saber tú cuál es cuál",
                component=self.text,
            )
        )

    async def on_submit(self, interaction: discord.Interaction, /) -> None:
        await self._then(interaction, self.text.value)


def when_done(contest: Contest, *, votes: bool) -> list[discord.ui.Item[Any]]:
    """Below a comparison whose answers are all there; `votes`: whether one may be given."""
    letters = [Choose(f"{contest.id}-{letter}", label=letter) for letter in contest.letters]
    choices = [*letters, Choose(f"{contest.id}-{TIE}", label="Empate")] if votes else []
    return [*choices, Reveal(contest.id)]


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return [Choose, Reveal, CompareWithBase]


async def _vote(interaction: discord.Interaction, contest_id: str, letter: str) -> Contest:
    store = services_of(interaction).store
    contest = await comparisons.load(store, contest_id)
    message_id = interaction.message.id if interaction.message else 0
    await comparisons.vote(store, contest, message_id, owner_of(interaction), letter)
    return contest


def _who_is_who(contest: Contest) -> str:
    return " · ".join(f"{letter}: {plain(title)}" for letter, title in zip(LETTERS, contest.titles, strict=False))
