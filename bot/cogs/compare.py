"""`/comparar`: the same message to several models, side by side and blind; `/comparar_ranking`: what people prefer.

Rule of this file: show, stream, count votes; what they mean is in `bot/comparisons.py`. All answers grow in one card,
so that nobody is quicker to read than another. What a private model says is shown to its owner only.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import comparisons
from bot.chat import reply
from bot.cogs.actions import Action, Form, owner_of, services_of
from bot.comparisons import LETTERS, SEEN, TIE, Contest
from bot.conversations import as_answer
from bot.moderation import Unwelcome
from bot.render.cards import Accent, card, plain_view
from bot.render.numbers import count, percent, plain
from bot.services import Services
from bot.voices import Voice, Voices
from jobs.errors import AfinaError, EngineUnavailable

if TYPE_CHECKING:
    from bot.cogs.chat import ChatCog

log = logging.getLogger(__name__)

RUNNING = "compare:running"  # state: {message: channel} of cards that are being written
_SHOWN = 3200  # characters of all answers together
_IN_TIME = 2.0  # seconds; Discord waits 3 for the acknowledgement
_PARAMETERS = {"temperature": 0.3, "max_tokens": 300}


@dataclass(slots=True)
class _Column:
    """One voice's answer, as far as it has come."""

    voice: Voice
    text: str = ""
    done: bool = False


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
            await interaction.followup.send(view=plain_view("Todavía no hay votos. Haz la primera con /comparar."))
            return
        lines = [
            f"{place}. **{plain(title)}** gana {percent(s.chance)} ({percent(s.low)}–{percent(s.high)}), "
            f"{count(s.votes, 'voto', 'votos')}"
            for place, (title, s) in enumerate(rows[:20], 1)
        ]
        footer = "Cuántas veces ganaría a un modelo medio de este servidor (Bradley-Terry; intervalo del 95 %)."
        await interaction.followup.send(view=card("### Lo que prefiere el servidor", "\n".join(lines), footer=footer))

    async def begin(self, interaction: discord.Interaction, message: str, voices: Sequence[Voice]) -> None:
        """Show a comparison as the answer to `interaction` and let it grow. Raises BadInput, Unwelcome."""
        contest, order = comparisons.shuffled(message, voices)
        await _chat(interaction).spend(owner_of(interaction), len(order))
        moderation, guild_id = self.services.moderation, owner_of(interaction).guild_id
        await moderation.admit_quickly(contest.message, guild_id)
        private = not all(voice.public for voice in voices) and not _is_private(interaction.channel)
        await interaction.response.defer(ephemeral=private, thinking=True)
        await moderation.admit(contest.message, guild_id)
        await comparisons.save(self.services.store, contest)
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
            column.text = f"-# ⚠️ {error}"
        except AfinaError as error:
            column.text += f"\n-# ⚠️ {error}"
        except Exception:
            log.exception("a voice of a comparison failed")
            column.text += "\n-# ⚠️ Algo ha fallado por mi parte."
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
        texts.append(f"**Modelo {letter}**\n{answer or ('(nada)' if column.done else '')}{'' if column.done else ' ▌'}")
    if not finished:
        return card(*texts)
    buttons = [Choose(f"{contest.id}-{letter}", label=letter) for letter in contest.letters]
    actions = [*buttons, Choose(f"{contest.id}-{TIE}", label="Empate"), Reveal(contest.id)]
    return card(*texts, accent=Accent.GOOD, actions=actions, footer="¿Cuál prefieres? El orden es al azar.")


def _finished(message: discord.Message) -> bool:
    """Whether a card has its buttons, which come last."""
    return any(
        isinstance(item, discord.ui.Button) for item in discord.ui.LayoutView.from_message(message).walk_children()
    )


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
        voices = await comparisons.base_and(_chat(interaction).voices, self.target, owner_of(interaction))
        cog: CompareCog = interaction.client.get_cog("CompareCog")  # type: ignore[attr-defined]

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


def _is_private(channel: object) -> bool:
    if isinstance(channel, discord.Thread):
        return channel.is_private()
    return isinstance(channel, discord.DMChannel)


def _chat(interaction: discord.Interaction) -> ChatCog:
    cog: ChatCog = interaction.client.get_cog("ChatCog")  # type: ignore[attr-defined]
    return cog
