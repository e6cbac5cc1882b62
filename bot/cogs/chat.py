"""Chat threads: opening one, answering in it, changing how it talks.

Rule of this file: who may ask and where; an answer itself is written by `bot/cogs/answering.py`. A thread's settings
are in the store and its messages in Discord, so after a restart every thread goes on: an answer that was cut off is
written again, a message that nobody answered is answered.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

import discord
from discord import app_commands
from discord.ext import commands

from bot.chat import DEFAULTS, checked_instructions, checked_parameters
from bot.cogs.actions import owner_of
from bot.cogs.answering import Answering, Gone, Place
from bot.cogs.chat_buttons import Instructions, dynamic_items, when_done, when_writing
from bot.cogs.chat_place import is_for_us, link, make_place, tell_owner, welcome
from bot.cogs.chat_resume import Resuming
from bot.cogs.entrance import enter_direct_message, enter_message, is_open
from bot.cogs.growing import TakenAway
from bot.conversations import NOTE
from bot.errors import LimitReached, NotAllowed, WrongState
from bot.members import limits_for
from bot.policy import Purpose
from bot.rates import Rate
from bot.records import ChatThread, Owner
from bot.render.numbers import number, plain
from bot.services import Services
from bot.sessions import DEBOUNCE, Pace, Session, Sessions
from bot.voices import Voice, Voices

if TYPE_CHECKING:
    from bot.client import Afina

__all__ = ["ChatCog", "dynamic_items"]

log = logging.getLogger(__name__)

REQUESTS_A_SECOND = 35.0  # of all chats together; Discord's limit for a bot is 50
_SPOKEN = (discord.MessageType.default, discord.MessageType.reply)


class ChatCog(commands.Cog):
    def __init__(self, services: Services, client: Afina) -> None:
        self.services = services
        self._client = client
        self.sessions = Sessions()
        self.pace = Pace(REQUESTS_A_SECOND)
        self.voices = Voices(
            store=services.store,
            engine=services.engine,
            artifacts=services.artifacts,
            default_base=services.settings.default_base,
        )
        self._answering = Answering(services, self.voices, self.pace, writing=when_writing, done=when_done)
        self._resuming = Resuming(services.store, self.sessions, self.pace, self.begin)
        self._rate = Rate()
        self._opened = Rate()

    async def cog_unload(self) -> None:
        await self.sessions.close()

    # Opening

    @app_commands.command(name="charlar", description="Abre un hilo para conversar con un modelo")
    @app_commands.guild_only()
    @app_commands.describe(
        modelo="Uno tuyo, uno compartido o un modelo base",
        instrucciones="Cómo quieres que se comporte (opcional)",
        temperatura="0: siempre lo más probable; 1: más variado",
        publico="Que el hilo lo vea todo el canal (por defecto, solo tú)",
    )
    async def open(
        self,
        interaction: discord.Interaction,
        modelo: str,
        instrucciones: str | None = None,
        temperatura: float | None = None,
        publico: bool = False,
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await self.services.moderation.admit(instrucciones or "", owner_of(interaction).guild_id)
        voice = await self.voices.find(modelo, owner_of(interaction))
        place = await self.open_place(
            interaction,
            voice,
            instructions=checked_instructions(instrucciones),
            parameters=checked_parameters({"temperature": temperatura}),
            public=publico,
        )
        await interaction.edit_original_response(content=f"Te espero en {link(place)}.")

    async def open_place(
        self,
        interaction: discord.Interaction,
        voice: Voice,
        *,
        instructions: str = "",
        parameters: dict[str, float] | None = None,
        public: bool = False,
    ) -> Place:
        """Make a place to talk to `voice` and say hello there. Raises NotAllowed where none can be made."""
        if public and not voice.public:
            raise NotAllowed(
                "Ese modelo es privado.", hint="Compártelo con /modelos compartir, o abre un hilo privado."
            )
        limits = await limits_for(self.services.settings, self.services.store, owner_of(interaction))
        self._opened.spend(owner_of(interaction), limits.chats_per_minute, of="conversaciones nuevas")
        place = await make_place(interaction, voice.title, self.pace, public=public)
        chat = ChatThread(
            thread_id=place.id,
            owner=owner_of(interaction),
            model_id=voice.model.id if voice.model else None,
            base_id=voice.base_id,
            instructions=instructions,
            parameters=parameters or {},
        )
        await self.services.store.open_chat(chat)
        await self._resuming.remember(place, chat)
        if isinstance(place, discord.Thread):
            await self._resuming.place(place, chat)  # somebody may have been quicker than that row
        await self.pace.turn()
        await place.send(welcome(voice, chat, interaction.user.mention))
        return place

    @open.autocomplete("modelo")
    async def _suggest(self, interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await self.suggestions(interaction, typed)

    async def suggestions(self, interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        """Voices whose name contains what was typed."""
        voices = await self.voices.all(owner_of(interaction))
        fitting = [voice for voice in voices if typed.strip().lower() in voice.title.lower()]
        return [app_commands.Choice(name=voice.title[:100], value=voice.value) for voice in fitting[:25]]

    # Messages

    @commands.Cog.listener()
    async def on_message(self, message: discord.Message) -> None:
        place = message.channel
        if message.author.bot or message.type not in _SPOKEN or not isinstance(place, Place):
            return
        chat = await self.services.store.chat(place.id)
        if chat is None or chat.closed or not is_for_us(message, chat):
            return
        if await self.services.store.seen("chat", message.id):
            return
        try:
            await self._enter(message, chat)
        except (LimitReached, NotAllowed) as error:
            await self._note(place, f"⚠️ {error.message} {error.hint}".strip())
            return
        await self.services.store.touch_chat(place.id)
        self.begin(place, chat, message.id)

    @commands.Cog.listener()
    async def on_raw_message_edit(self, payload: discord.RawMessageUpdateEvent) -> None:
        """A message that changes while it is being answered is answered anew."""
        place = payload.message.channel
        edited = payload.message.edited_at is not None  # else Discord has only added a preview of a link
        if not edited or self.sessions.trigger(place.id) != payload.message_id or not isinstance(place, Place):
            return
        if (chat := await self.services.store.chat(place.id)) is not None:
            with suppress(LimitReached, NotAllowed):
                await self._enter(payload.message, chat)
                self.begin(place, chat, payload.message_id)

    async def _enter(self, message: discord.Message, chat: ChatThread) -> None:
        """Whether this person may be answered here and now. Raises NotAllowed, LimitReached."""
        asker = Owner(guild_id=chat.owner.guild_id, user_id=message.author.id)
        if message.guild is None:
            await enter_direct_message(self._client, asker)
        else:
            await enter_message(self.services, message, asker, Purpose.WORK)
        await self.spend(asker)

    @commands.Cog.listener()
    async def on_raw_message_delete(self, payload: discord.RawMessageDeleteEvent) -> None:
        if self.sessions.trigger(payload.channel_id) == payload.message_id:
            self.sessions.interrupt(payload.channel_id, "deleted")

    @commands.Cog.listener()
    async def on_raw_thread_delete(self, payload: discord.RawThreadDeleteEvent) -> None:
        self.sessions.interrupt(payload.thread_id, "deleted")
        await self.services.store.close_chat(payload.thread_id)

    def begin(
        self,
        place: Place,
        chat: ChatThread,
        trigger: int,
        *,
        existing: Sequence[discord.Message] = (),
        variation: int | None = None,
        delay: float = DEBOUNCE,
    ) -> None:
        """Answer the message `trigger`, instead of whatever is being answered in this place."""

        async def work(session: Session) -> None:
            current = await self.services.store.chat(place.id) or chat
            if not await is_open(self.services, place, current.owner.guild_id):
                return  # also what stood unanswered at a restart
            try:
                await self._answering.answer(session, place, current, existing=existing, variation=variation)
            except TakenAway:
                log.info("an answer in %s was deleted while it was written", place.id)
            except Gone as error:
                log.info("chat %s cannot be written in: %s", place.id, error)
                await tell_owner(place, current)

        self.sessions.begin(place.id, trigger, work, delay=delay)

    async def spend(self, owner: Owner, answers: int = 1) -> None:
        """Count so many answers of a model. Raises LimitReached above the person's answers a minute."""
        limits = await limits_for(self.services.settings, self.services.store, owner)
        self._rate.spend(owner, limits.chats_per_minute, of="mensajes de charla", amount=answers)

    async def _note(self, place: Place, text: str) -> None:
        try:
            await self.pace.turn()
            await place.send(NOTE + text)
        except discord.HTTPException as error:
            log.info("no note in %s: %s", place.id, error)

    # After a restart

    @commands.Cog.listener()
    async def on_guild_available(self, guild: discord.Guild) -> None:
        """After a start or a lost session."""
        await self._resuming.guild(guild)

    # In the thread

    @app_commands.command(name="instrucciones", description="Cambia las instrucciones del modelo en este hilo")
    @app_commands.describe(texto="Las nuevas; sin nada, se abre un formulario con las de ahora")
    async def instructions(self, interaction: discord.Interaction, texto: str | None = None) -> None:
        chat = await self.own_chat(interaction)
        if texto is None:
            await interaction.response.send_modal(Instructions(chat, self.change_instructions))
            return
        await self.change_instructions(interaction, texto)

    async def change_instructions(self, interaction: discord.Interaction, text: str) -> None:
        chat = await self.own_chat(interaction)
        text = checked_instructions(text)
        await self.services.moderation.admit_quickly(text, chat.owner.guild_id)
        await self.services.store.update_chat(chat.thread_id, instructions=text)
        said = f"Nuevas instrucciones: «{plain(text, 300)}»." if text else "Ya no hay instrucciones."
        await _answer(interaction, said)

    @app_commands.command(name="parametros", description="Cambia cómo responde el modelo en este hilo")
    @app_commands.describe(
        temperatura="0: siempre lo más probable; 1: más variado",
        top_p="Cuánta parte de lo probable entra en el sorteo (0,05 a 1)",
        max_tokens="Longitud máxima de una respuesta, en tokens",
    )
    async def parameters(
        self,
        interaction: discord.Interaction,
        temperatura: float | None = None,
        top_p: float | None = None,
        max_tokens: int | None = None,
    ) -> None:
        chat = await self.own_chat(interaction)
        given = checked_parameters({"temperature": temperatura, "top_p": top_p, "max_tokens": max_tokens})
        if given:
            chat = await self.services.store.update_chat(chat.thread_id, parameters={**chat.parameters, **given})
        now = {**DEFAULTS, **chat.parameters}
        await _answer(
            interaction,
            f"Temperatura {number(now['temperature'], 2)}, top_p {number(now['top_p'], 2)}, "
            f"hasta {number(now['max_tokens'])} tokens por respuesta.",
        )

    @app_commands.command(name="modelo", description="Cambia de modelo en este hilo")
    @app_commands.describe(modelo="Uno tuyo, uno compartido o un modelo base")
    async def model(self, interaction: discord.Interaction, modelo: str) -> None:
        chat = await self.own_chat(interaction)
        voice = await self.voices.find(modelo, chat.owner)
        changes = {"model_id": voice.model.id if voice.model else None, "base_id": voice.base_id}
        await self.services.store.update_chat(chat.thread_id, **changes)
        await _answer(interaction, f"Desde ahora contesta **{plain(voice.title)}**.")

    @model.autocomplete("modelo")
    async def _suggest_model(self, interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
        return await self.suggestions(interaction, typed)

    @app_commands.command(name="reiniciar", description="El modelo olvida lo dicho hasta ahora en este hilo")
    async def restart(self, interaction: discord.Interaction) -> None:
        chat = await self.own_chat(interaction)
        self.sessions.interrupt(chat.thread_id, "stopped")
        await self.services.store.update_chat(chat.thread_id, since_message_id=interaction.id)
        await _answer(interaction, "Empezamos de cero: lo de arriba ya no cuenta.")

    @app_commands.command(name="cerrar", description="Termina esta conversación y archiva el hilo")
    async def close(self, interaction: discord.Interaction) -> None:
        chat = await self.own_chat(interaction)
        self.sessions.interrupt(chat.thread_id, "stopped")
        await self.services.store.close_chat(chat.thread_id)
        await _answer(interaction, "Conversación cerrada. Para otra, /charlar.")
        if isinstance(interaction.channel, discord.Thread):
            try:
                await interaction.channel.edit(archived=True)
            except discord.HTTPException as error:
                log.info("thread %s stays open: %s", chat.thread_id, error)

    async def own_chat(self, interaction: discord.Interaction) -> ChatThread:
        """The open conversation where the command was given. Raises WrongState, NotAllowed."""
        chat = await self.services.store.chat(interaction.channel_id or 0)
        if chat is None or chat.closed:
            raise WrongState("Esto se usa dentro de una conversación con un modelo.", hint="Abre una con /charlar.")
        if chat.owner.user_id != interaction.user.id:
            raise NotAllowed("Solo quien abrió la conversación puede cambiarla.", hint="Abre la tuya con /charlar.")
        return chat


async def _answer(interaction: discord.Interaction, text: str) -> None:
    """Answer a command in the thread with a note that the model does not read."""
    await interaction.response.send_message(NOTE + text)
