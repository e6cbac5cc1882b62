"""The buttons below answers and on model cards, and the form for instructions.

Rule of this file: each button's state is its id, so that it works after a restart; the cog does the work.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import discord

from bot.chat import MAX_INSTRUCTIONS
from bot.cogs.actions import Action, Form, owner_of, services_of
from bot.cogs.answering import Place
from bot.cogs.chat_place import link
from bot.cogs.entrance import enter_direct_message
from bot.errors import WrongState
from bot.records import ChatThread, Owner

if TYPE_CHECKING:
    from bot.client import Afina
    from bot.cogs.chat import ChatCog

VOTES = "chat"  # kind of these votes in the store


class Open(Action, cog="chat", verb="open"):
    """«Charlar» on the card of a model; its id is the model's."""

    label = "Charlar"
    style = discord.ButtonStyle.primary

    async def run(self, interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        cog = _cog(interaction)
        voice = await cog.voices.find(self.target, owner_of(interaction))
        place = await cog.open_place(interaction, voice)
        await interaction.edit_original_response(content=f"Te espero en {link(place)}.")


class Again(Action, cog="chat", verb="again"):
    """Another answer to the same message, in place of this one; its id is the message's."""

    label = "Otra vez"

    async def run(self, interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        trigger = self.number
        cog, place, message = _cog(interaction), interaction.channel, interaction.message
        chat = await _open_chat(interaction)
        await cog.spend(Owner(guild_id=chat.owner.guild_id, user_id=interaction.user.id))
        if not isinstance(place, Place) or message is None:
            return
        await cog.pace.turn()
        between = [m async for m in place.history(limit=10, before=message, after=discord.Object(trigger))]
        parts: list[discord.Message] = []
        for part in sorted(between, key=lambda m: m.id, reverse=True):
            if part.author.id != message.author.id or part.components:
                break
            parts.insert(0, part)
        cog.begin(place, chat, trigger, existing=[*parts, message], variation=secrets.randbits(31), delay=0.0)


class Stop(Action, cog="chat", verb="stop"):
    """End the answer that is being written; its id is the thread's."""

    label = "Detener"

    async def run(self, interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        if self.number == interaction.channel_id:  # else somebody made it up, for a place that is not theirs
            _cog(interaction).sessions.interrupt(self.number, "stopped")


class _Vote(Action, cog="chat", verb="vote"):
    """An opinion on an answer; its id is that of the message that was answered."""

    value = ""

    async def run(self, interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        services, message = services_of(interaction), interaction.message
        chat = await services.store.chat(interaction.channel_id or 0)
        if chat is None or message is None:
            raise WrongState("Esta conversación ya no existe.")
        data = {"model": chat.model_id, "base": chat.base_id, "thread": chat.thread_id}
        await services.store.add_vote(message.id, owner_of(interaction), self.value, VOTES, data)
        await interaction.edit_original_response(content=f"{self.label} Anotado, gracias.")


class Good(_Vote, cog="chat", verb="up"):
    label = "👍"
    value = "up"


class Bad(_Vote, cog="chat", verb="down"):
    label = "👎"
    value = "down"


class Instructions(Form):
    """The instructions of a thread, to be changed."""

    def __init__(self, chat: ChatThread, then: Callable[[discord.Interaction, str], Awaitable[None]]) -> None:
        super().__init__(title="Instrucciones")
        self._then = then
        self.text: discord.ui.TextInput[Instructions] = discord.ui.TextInput(
            style=discord.TextStyle.paragraph,
            default=chat.instructions,
            required=False,
            max_length=MAX_INSTRUCTIONS,
        )
        self.add_item(
            discord.ui.Label(
                text="Cómo debe comportarse el modelo",
                description="Vacío: sin instrucciones, como se entrenó",
                component=self.text,
            )
        )

    async def on_submit(self, interaction: discord.Interaction, /) -> None:
        await self._then(interaction, self.text.value)


def when_writing(place_id: int) -> discord.ui.View:
    """Below an answer that is being written."""
    return _view(Stop(place_id))


def when_done(message_id: int) -> discord.ui.View:
    """Below an answer to the message with this id."""
    return _view(Again(message_id), Good(message_id), Bad(message_id))


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return [Open, Again, Stop, Good, Bad]


def _view(*items: discord.ui.Item[Any]) -> discord.ui.View:
    view = discord.ui.View(timeout=None)
    for item in items:
        view.add_item(item)
    return view


def _cog(interaction: discord.Interaction) -> ChatCog:
    cog: ChatCog = interaction.client.get_cog("ChatCog")  # type: ignore[attr-defined]
    return cog


async def _open_chat(interaction: discord.Interaction) -> ChatThread:
    chat = await services_of(interaction).store.chat(interaction.channel_id or 0)
    if chat is None or chat.closed:
        raise WrongState("Esta conversación está cerrada.", hint="Abre otra con /charlar.")
    if interaction.guild_id is None:  # opened from a server that need not be their home
        client: Afina = interaction.client  # type: ignore[assignment]
        await enter_direct_message(client, Owner(guild_id=chat.owner.guild_id, user_id=interaction.user.id))
    return chat
