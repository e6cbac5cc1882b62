"""Questions about the course: `/preguntar`, a mention, a reply, «Preguntar al curso» on a message, and forum posts.

Rule of this file: it finds out what is asked and by whom, asks the server's course, and shows the card. Answers are
public, so that everybody learns from them. Conversations with models (chat threads) are not its business.
"""

from __future__ import annotations

import hashlib
import logging
import re
import time
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.actions import Action, owner_of, services_of
from bot.cogs.entrance import enter_message
from bot.cogs.replies import as_refusal, refusal_text
from bot.course.answer import Answer
from bot.errors import BadInput, WrongState
from bot.members import limits_for
from bot.moderation import Unwelcome, refusal
from bot.policy import Purpose
from bot.rates import Rate
from bot.records import Owner
from bot.render.answer import answer_card, details_card, read_card, writing_card
from bot.render.cards import plain_view
from bot.services import Services

log = logging.getLogger(__name__)

Interaction = discord.Interaction[Any]
History = list[tuple[str, str]]

LONGEST = 1000  # characters of a question that are read
REMEMBER = 600.0  # seconds for which a question in the same channel may lean on the one before
TURNS = 3  # earlier questions that are remembered
NEAR = 75  # characters of a suggested question on a button (Discord allows 80)
CARD = "card"  # target of the buttons that read the question from their own card
_SPOKEN = (discord.MessageType.default, discord.MessageType.reply)


class AskCog(commands.Cog):
    def __init__(self, services: Services) -> None:
        self.services = services
        self.context_menus = [app_commands.ContextMenu(name="Preguntar al curso", callback=self.ask_about)]
        self._rate = Rate()
        self._talks: dict[tuple[int, int], tuple[float, History]] = {}  # channel, person → when, what was said

    @app_commands.command(name="preguntar", description="Pregunta al curso; contesto con las fuentes")
    @app_commands.describe(pregunta="Lo que quieres saber, como te salga")
    async def ask(self, interaction: Interaction, pregunta: app_commands.Range[str, 1, LONGEST]) -> None:
        await self.answer_interaction(interaction, pregunta)

    @ask.autocomplete("pregunta")
    async def _suggest(self, interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        if not self.services.lessons.ready:
            return []  # Discord waits 3 s; the first load of the course may take longer
        course = await self.services.lessons.course(interaction.guild_id)
        return [app_commands.Choice(name=topic[:100], value=topic[:100]) for topic in course.topics.complete(typed)]

    async def ask_about(self, interaction: Interaction, message: discord.Message) -> None:
        """«Preguntar al curso» in the menu of a message."""
        question = message.clean_content.strip()
        if not question:
            raise BadInput("Ese mensaje no tiene texto.", hint="Escribe tu pregunta con /preguntar.")
        await self.answer_interaction(interaction, question[:LONGEST])

    async def answer_interaction(self, interaction: Interaction, question: str) -> None:
        """Answer a command, menu or button with a public card."""
        owner = _asker(interaction)
        await self.services.moderation.admit_quickly(question, owner.guild_id)
        await self.spend(owner)
        await interaction.response.defer(thinking=True)
        key = (interaction.channel_id or 0, interaction.user.id)
        writer = _Writer(self.services.settings.stream_edit_every, question, interaction.edit_original_response)
        try:
            answer = await self.answer(owner, question, self._history(key), writer)
        except Unwelcome as error:
            if not writer.shown:
                raise
            await interaction.edit_original_response(view=plain_view(refusal_text(error)))
            return
        await interaction.edit_original_response(view=answer_card(answer, buttons(answer)))
        self._remember(key, answer)

    # Messages

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        if message.author.bot or message.type not in _SPOKEN or message.guild is None:
            return
        history: History = []
        question = _without_mentions(message)
        forum = await self._is_forum_post(message)
        if forum and isinstance(message.channel, discord.Thread):
            question = f"{message.channel.name}\n{question}"
        elif not await self._is_called(message, history):
            return
        if await self.services.store.chat(message.channel.id) or await self.services.store.seen("ask", message.id):
            return
        try:
            await self._answer_message(message, question[:LONGEST].strip(), history, quiet=forum)
        except discord.HTTPException as error:
            log.info("no answer in channel %s: %s", message.channel.id, error)

    async def _answer_message(self, message: discord.Message, question: str, history: History, *, quiet: bool) -> None:
        assert message.guild is not None
        owner = Owner(guild_id=message.guild.id, user_id=message.author.id)
        key = (message.channel.id, message.author.id)
        try:
            # A forum where staff wants answers by themselves needs no place on their list of channels.
            await enter_message(self.services, message, owner, None if quiet else Purpose.QUESTIONS)
            if not question:
                raise BadInput("Hola. Escríbeme tu pregunta en el mismo mensaje.", hint="O usa /preguntar.")
            await self.spend(owner)
            async with message.channel.typing():
                answer = await self.answer(owner, question, history or self._history(key), None)
        except Exception as error:  # the boundary of a message: what a person may be told becomes a reply
            if (refusal := as_refusal(error)) is None:
                raise
            if not quiet:
                await message.reply(refusal_text(refusal), mention_author=False)
            return
        if quiet and not answer.found:
            return  # nobody asked the bot: a forum post that the course does not cover is for people
        await message.reply(view=answer_card(answer, buttons(answer)), mention_author=False)
        self._remember(key, answer)

    async def _is_called(self, message: discord.Message, history: History) -> bool:
        """Whether the message mentions the bot or replies to one of its answers; fills in what the reply is about."""
        me = message.guild.me if message.guild else None
        if me is None:
            return False
        replied = await _replied(message)
        if replied is not None and replied.author.id == me.id:
            if said := read_card(replied):
                history.append(said)
                return True
            return False  # replies to other messages of the bot belong to whoever sent those
        return f"<@{me.id}>" in message.content or f"<@!{me.id}>" in message.content

    async def _is_forum_post(self, message: discord.Message) -> bool:
        """Whether this is the first message of a post in a forum where the bot answers by itself."""
        thread = message.channel
        if not isinstance(thread, discord.Thread) or message.id != thread.id or message.guild is None:
            return False
        return await self.services.store.get_state(f"forum:{message.guild.id}") == str(thread.parent_id)

    # What all ways share

    async def spend(self, owner: Owner) -> None:
        """Count one question. Raises LimitReached above the person's questions a minute."""
        limits = await limits_for(self.services.settings, self.services.store, owner)
        self._rate.spend(owner, limits.questions_per_minute, of="preguntas")

    async def answer(
        self, owner: Owner, question: str, history: History, writer: _Writer | None, *, long: bool = False
    ) -> Answer:
        """What the course says, judged as the server wants it. Raises Unwelcome, FilterUnavailable, CourseNotReady."""
        moderation, guild_id = self.services.moderation, owner.guild_id
        await moderation.admit(question, guild_id)
        judge = await moderation.growing(guild_id, every=0)

        async def show(text: str) -> None:
            # What is raised here costs the answer its wording: the course is quoted instead.
            ready = text[: await judge.ready(text, whole=False)]
            if writer and ready.strip():
                await writer.show(ready)

        answer = await self.services.lessons.answer(question, history, guild_id=guild_id, on_text=show, long=long)
        if answer.worded and (category := await moderation.judge(answer.text, guild_id)) is not None:
            raise refusal(category, answer=True)
        return answer

    def _history(self, key: tuple[int, int]) -> History:
        when, turns = self._talks.get(key, (0.0, []))
        return turns if time.monotonic() - when < REMEMBER else []

    def _remember(self, key: tuple[int, int], answer: Answer) -> None:
        turns = self._history(key) if answer.found else []
        self._talks[key] = (time.monotonic(), [*turns, (answer.question, answer.text)][-TURNS:])
        while len(self._talks) > 5000:
            del self._talks[next(iter(self._talks))]


class _Writer:
    """Shows a text while it is being written, at most one edit every `every` seconds."""

    def __init__(self, every: float, question: str, edit: Any) -> None:
        self._every = every
        self._question = question
        self._edit = edit
        self._last = time.monotonic()
        self.shown = False  # something of it was shown

    async def show(self, text: str) -> None:
        if time.monotonic() - self._last >= self._every:
            self._last, self.shown = time.monotonic(), True
            await self._edit(view=writing_card(self._question, text))


class Details(Action, cog="ask", verb="more"):
    label = "Más detalle"

    async def run(self, interaction: Interaction) -> None:
        question, _ = _asked_here(interaction)
        cog, asker = _cog(interaction), _asker(interaction)
        await cog.spend(asker)
        await interaction.response.defer(ephemeral=True, thinking=True)
        answer = await cog.answer(asker, question, [], None, long=True)
        if not answer.details:
            raise WrongState("El curso no dice más sobre esto.")
        await interaction.followup.send(view=details_card(answer))


class _Vote(Action, cog="ask", verb="vote"):
    value = 0
    thanks = ""

    async def run(self, interaction: Interaction) -> None:
        question, text = _asked_here(interaction)
        services, owner = services_of(interaction), _asker(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        message_id = interaction.message.id if interaction.message else 0
        await services.store.add_vote(message_id, owner, str(self.value), "answer", {"question": question})
        if not await services.store.seen(f"feedback:{owner.user_id}", message_id):
            await services.store.add_feedback(question, text, [], self.value, owner)
        await interaction.followup.send(self.thanks)


class Useful(_Vote, cog="ask", verb="up"):
    label = "👍"
    value = 1
    thanks = "¡Gracias! Me alegra que te sirva."


class NotUseful(_Vote, cog="ask", verb="down"):
    label = "👎"
    value = -1
    thanks = "Gracias por decirlo: quien cuida el curso lo verá. Prueba a preguntarlo con otras palabras."


class Near(Action, cog="ask", verb="near"):
    """A question of the course that is close to what was asked; its id is a hash of the question."""

    async def run(self, interaction: Interaction) -> None:
        services = services_of(interaction)
        course = await services.lessons.course(interaction.guild_id)
        question = next((topic for topic in course.topics.questions if _hash(topic) == self.target), None)
        if question is None:
            raise WrongState("Esa pregunta ya no está en el curso.", hint="Escríbela con /preguntar.")
        await _cog(interaction).answer_interaction(interaction, question)


def buttons(answer: Answer) -> list[discord.ui.Item[Any]]:
    """What can be done with an answer."""
    near = [Near(_hash(topic), label=_short(topic)) for topic in answer.suggestions]
    if not answer.found:
        return [*near]
    more: list[discord.ui.Item[Any]] = [Details(CARD)] if answer.details else []
    return [*more, Useful(CARD), NotUseful(CARD)]


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return [Details, Useful, NotUseful, Near]


def _cog(interaction: Interaction) -> AskCog:
    cog = interaction.client.get_cog(AskCog.__name__)
    assert isinstance(cog, AskCog)
    return cog


def _asker(interaction: Interaction) -> Owner:
    """Who asks, in which server; server 0, with the course as it ships, in direct messages that belong to none."""
    try:
        return owner_of(interaction)
    except BadInput:
        return Owner(guild_id=0, user_id=interaction.user.id)


def _asked_here(interaction: Interaction) -> tuple[str, str]:
    said = read_card(interaction.message) if interaction.message else None
    if said is None:
        raise WrongState("Ya no sé a qué pregunta respondía este mensaje.", hint="Vuelve a hacerla con /preguntar.")
    return said


async def _replied(message: discord.Message) -> discord.Message | None:
    reference = message.reference
    if reference is None or reference.message_id is None:
        return None
    if isinstance(reference.resolved, discord.Message):
        return reference.resolved
    try:
        return await message.channel.fetch_message(reference.message_id)
    except discord.HTTPException:
        return None


def _without_mentions(message: discord.Message) -> str:
    return re.sub(r"<(?:@[!&]?|#)\d+>", " ", message.content).strip()


def _hash(topic: str) -> str:
    return hashlib.sha256(topic.encode()).hexdigest()[:16]


def _short(topic: str) -> str:
    return topic if len(topic) <= NEAR else topic[: NEAR - 1].rsplit(" ", 1)[0] + "…"
