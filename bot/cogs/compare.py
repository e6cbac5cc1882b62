"""`/comparar`: the same message to several models, side by side and blind; `/comparar_ranking`: what people prefer.

Rule of this file: show, stream, count votes; what they mean is in `bot/comparisons.py`. All answers grow in one card,
so that nobody is quicker to read than another. What a private model says is shown to its owner only.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot import comparisons
from bot.chat import reply
from bot.cogs.actions import owner_of
from bot.cogs.compare_buttons import dynamic_items, when_done
from bot.comparisons import Contest
from bot.conversations import as_answer
from bot.moderation import Unwelcome
from bot.render.cards import Accent, card, plain_view
from bot.render.numbers import plain
from bot.render.ranking import HOW_TO_READ, standings
from bot.services import Services
from bot.voices import Voice, Voices
from jobs.errors import AfinaError, EngineUnavailable

if TYPE_CHECKING:
    from bot.cogs.chat import ChatCog

__all__ = ["CompareCog", "dynamic_items"]

log = logging.getLogger(__name__)

RUNNING = "compare:running"  # state: {message: channel} of cards that are being written
_SHOWN = 3200  # characters of all answers together
NO_VOTE = "No todos han podido contestar, así que esta vez no se vota."
_IN_TIME = 2.0  # seconds; Discord waits 3 for the acknowledgement
_PARAMETERS = {"temperature": 0.3, "max_tokens": 300}


@dataclass(slots=True)
class _Column:
    """One voice's answer, as far as it has come."""

    voice: Voice
    text: str = ""
    note: str = ""  # why there is no more text
    done: bool = False
    failed: bool = False  # the voice could not answer


class CompareCog(commands.Cog):
    def __init__(self, services: Services) -> None:
        self.services = services
        self._tasks: set[asyncio.Task[None]] = set()

    async def cog_unload(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    @app_commands.command(name="comparar", description="El mismo mensaje a varios modelos, a ciegas; vota el mejor")
    @app_commands.guild_only()
    @app_commands.describe(
        mensaje="Lo que quieres preguntarles",
        modelo1="Uno tuyo, uno compartido o un modelo base",
        modelo2="Otro",
        modelo3="Otro más (opcional)",
        modelo4="Y otro (opcional)",
    )
    async def compare(  # noqa: PLR0917 - the options of a command
        self,
        interaction: discord.Interaction,
        mensaje: str,
        modelo1: str,
        modelo2: str,
        modelo3: str | None = None,
        modelo4: str | None = None,
    ) -> None:
        owner = owner_of(interaction)
        named = [name for name in (modelo1, modelo2, modelo3, modelo4) if name]
        # Whether the answer is for everybody depends on the voices, so they come before the acknowledgement.
        try:
            async with asyncio.timeout(_IN_TIME):
                voices = [await self._voices(interaction).find(name, owner) for name in named]
        except TimeoutError as error:
            raise EngineUnavailable from error
        await self.begin(interaction, mensaje, voices)

    @compare.autocomplete("modelo1")
    @compare.autocomplete("modelo2")
    @compare.autocomplete("modelo3")
    @compare.autocomplete("modelo4")
    async def _suggest(self, interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await _chat(interaction).suggestions(interaction, typed)

    @app_commands.command(name="comparar_ranking", description="Qué modelos prefiere este servidor, según los votos")
    async def ranking(self, interaction: discord.Interaction) -> None:
        await interaction.response.defer(thinking=True)
        rows = await comparisons.table(self.services.store, self._voices(interaction), owner_of(interaction))
        if not rows:
            await interaction.followup.send(view=plain_view("Todavía no hay votos. Da el primero con /comparar."))
            return
        await interaction.followup.send(
            view=card("### Lo que prefiere el servidor", standings(rows), footer=HOW_TO_READ)
        )

    async def begin(self, interaction: discord.Interaction, message: str, voices: Sequence[Voice]) -> None:
        """Show a comparison as the answer to `interaction` and let it grow. Raises BadInput, Unwelcome."""
        contest, order = comparisons.shuffled(message, voices)
        moderation, guild_id = self.services.moderation, owner_of(interaction).guild_id
        await moderation.admit_quickly(contest.message, guild_id)
        await _chat(interaction).spend(owner_of(interaction), len(order))
        private = not all(voice.public for voice in voices) and not _is_private(interaction.channel)
        await interaction.response.defer(ephemeral=private, thinking=True)
        await moderation.admit(contest.message, guild_id)
        await comparisons.save(self.services.store, contest, owner_of(interaction))
        columns = [_Column(voice) for voice in order]
        shown = await interaction.followup.send(view=_card(contest, columns), wait=True, ephemeral=private)
        if not private:
            await self._note_running(shown.id, shown.channel.id)
        task = asyncio.create_task(self._write(interaction, shown, contest, columns))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _write(
        self,
        interaction: discord.Interaction,
        shown: discord.WebhookMessage,
        contest: Contest,
        columns: list[_Column],
    ) -> None:
        """Fill the columns and keep the card up to date until all are done."""
        voices, pace = self._voices(interaction), _chat(interaction).pace
        guild_id = owner_of(interaction).guild_id
        answers = [asyncio.create_task(self._fill(voices, column, contest.message, guild_id)) for column in columns]
        try:
            before = ""
            while not all(answer.done() for answer in answers):
                await asyncio.wait(answers, timeout=max(self.services.settings.stream_edit_every, 0.05))
                now = "".join(column.text for column in columns)
                if now != before and not all(column.done for column in columns):
                    await pace.turn()
                    await shown.edit(view=_card(contest, columns))
                    before = now
            await pace.turn()
            await shown.edit(view=_card(contest, columns))
            await self._note_running(shown.id, None)
        except discord.HTTPException as error:
            log.info("comparison %s cannot be shown any more: %s", contest.id, error)
        finally:
            for answer in answers:
                answer.cancel()

    async def _fill(self, voices: Voices, column: _Column, message: str, guild_id: int) -> None:
        try:
            await voices.prepare(column.voice)
            wanted = [{"role": "user", "content": message}]
            answer = await reply(self.services.engine, column.voice, wanted, _PARAMETERS)
            async with aclosing(self.services.moderation.screened(answer.chunks, guild_id)) as chunks:
                async for chunk in chunks:
                    column.text += chunk.text
        except Unwelcome as error:
            column.text, column.note = "", str(error)
        except AfinaError as error:
            column.note = str(error)
            column.failed = True
        except Exception:
            log.exception("a voice of a comparison failed")
            column.note = "Algo ha fallado por mi parte."
            column.failed = True
        column.done = True

    # After a restart

    @commands.Cog.listener()
    async def on_guild_available(self, guild: discord.Guild) -> None:
        """Cards that a restart cut off say so."""
        for message_id, channel_id in (await self._running()).items():
            channel = guild.get_channel_or_thread(channel_id)
            if not isinstance(channel, discord.TextChannel | discord.Thread):
                continue
            try:
                message = await channel.fetch_message(int(message_id))
                text = "⚠️ Me reinicié mientras comparaba. Pídemelo otra vez con /comparar."
                if not _finished(message):
                    await message.edit(view=plain_view(text))
            except discord.HTTPException as error:
                log.info("comparison %s cannot be ended: %s", message_id, error)
            await self._note_running(int(message_id), None)

    async def _running(self) -> dict[str, int]:
        return dict(json.loads(await self.services.store.get_state(RUNNING) or "{}"))

    async def _note_running(self, message_id: int, channel_id: int | None) -> None:
        running = await self._running()
        if channel_id is None:
            running.pop(str(message_id), None)
        else:
            running[str(message_id)] = channel_id
        await self.services.store.set_state(RUNNING, json.dumps(running))

    def _voices(self, interaction: discord.Interaction) -> Voices:
        return _chat(interaction).voices


def _card(contest: Contest, columns: Sequence[_Column]) -> discord.ui.LayoutView:
    finished = all(column.done for column in columns)
    room = _SHOWN // len(columns)
    texts = [f"> {plain(contest.message, 300)}"]
    for letter, column in zip(contest.letters, columns, strict=True):
        answer = as_answer(column.text.strip())
        answer = f"{answer[: room - 1].rstrip()}…" if len(answer) > room else answer
        if answer.count("```") % 2:
            answer += "\n```"
        ending = (f"\n-# ⚠️ {column.note}" if column.note else "") if column.done else " ▌"
        nothing = "(nada)" if column.done and not column.note else ""
        texts.append(f"**Modelo {letter}**\n{answer or nothing}{ending}")
    if not finished:
        return card(*texts)
    # A voice that could not answer has not lost, and nobody wins against it.
    failed = any(column.failed for column in columns)
    footer = NO_VOTE if failed else "¿Cuál prefieres? El orden es al azar, y tu voto no se cambia."
    return card(*texts, accent=Accent.GOOD, actions=when_done(contest, votes=not failed), footer=footer)


def _finished(message: discord.Message) -> bool:
    """Whether a card has its buttons, which come last."""
    return any(
        isinstance(item, discord.ui.Button) for item in discord.ui.LayoutView.from_message(message).walk_children()
    )


def _is_private(channel: object) -> bool:
    if isinstance(channel, discord.Thread):
        return channel.is_private()
    return isinstance(channel, discord.DMChannel)


def _chat(interaction: discord.Interaction) -> ChatCog:
    cog: ChatCog = interaction.client.get_cog("ChatCog")  # type: ignore[attr-defined]
    return cog
