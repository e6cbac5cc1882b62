"""One answer in a thread: the history is read, the model's text grows in place, the end is honest.

Rule of this file: Discord's side of an answer and nothing about who may ask (`bot/cogs/chat.py`). Every request to
Discord waits for its turn (`Pace`), edits of one message are at least `every` seconds apart. An answer ends complete,
stopped, or with a note that says why; one that a restart cut off carries the mark of writing, by which it is found.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager, suppress

import discord

from bot.attachments import as_text, unread, worth_reading
from bot.chat import reply
from bot.cogs.growing import CROWDED, Gone, Growing, MakeView, Place
from bot.conversations import REMEMBERED, Turn, branch, conversation
from bot.engine import EngineResting
from bot.moderation import Unwelcome
from bot.records import ChatThread
from bot.render.numbers import plain
from bot.services import Services
from bot.sessions import Pace, Session
from bot.voices import Voices
from jobs.errors import AfinaError

__all__ = ["Answering", "Gone", "Place", "own_id"]

log = logging.getLogger(__name__)

PATIENCE = 8.0  # seconds without a word after which a person is told that the engine takes its time
_KEPT_FILES = 64
_SPOKEN = (discord.MessageType.default, discord.MessageType.reply)


class Answering:
    """Writes answers."""

    def __init__(self, services: Services, voices: Voices, pace: Pace, *, writing: MakeView, done: MakeView) -> None:
        """`writing` and `done`: the buttons below an answer, by the place's id and by the answered message's."""
        self._services = services
        self._voices = voices
        self._pace = pace
        self._writing = writing
        self._done = done
        self._files: OrderedDict[int, str] = OrderedDict()  # text attachments already read, by id

    async def answer(
        self,
        session: Session,
        place: Place,
        chat: ChatThread,
        *,
        existing: Sequence[discord.Message] = (),
        variation: int | None = None,
    ) -> None:
        """Answer the message `session.trigger` in `place`.

        `existing`: messages of an earlier answer that this one replaces. `variation`: a seed, for another answer to
        the same message. Raises Gone when there is no place to answer in.
        """
        await self._show_typing(place)
        turns = await self.turns(place, chat)
        path = branch(turns, session.trigger)
        if not path:
            return  # deleted meanwhile
        growing = Growing(
            place,
            self._pace,
            self._services.settings.stream_edit_every,
            existing=existing,
            reference=_reference(place, turns, path),
        )
        try:
            async with self._patiently(growing, place):
                finish, dropped = await self._grow(growing, place, chat, path, variation)
            notes = _notes(growing.text, finish, dropped, path[-1].files)
            await growing.finish(growing.text, notes, self._done(session.trigger))
        except EngineResting as error:
            await self._keep_for_later(session, place, growing, error)
        except AfinaError as error:
            log.info("no answer in %s: %s", place.id, error.code)
            text = "" if isinstance(error, Unwelcome) else growing.text  # what was shown of it goes, too
            note = f"⚠️ {error.message} {error.hint}".strip()
            await growing.finish(text, [note], self._done(session.trigger))
        except asyncio.CancelledError:
            await self._tidy(session, growing)
            raise
        except Gone:
            raise
        except Exception:
            note = "⚠️ Algo ha fallado por mi parte; ya está anotado. Prueba otra vez."
            await growing.finish(growing.text, [note], self._done(session.trigger))
            raise

    async def _grow(
        self, growing: Growing, place: Place, chat: ChatThread, path: Sequence[Turn], variation: int | None
    ) -> tuple[str | None, int]:
        """Show the answer to `path` as it comes. Why it ended, and how many earlier messages did not fit."""
        voice = await self._voices.of(chat)
        await self._voices.prepare(voice)
        guild_id, moderation = chat.owner.guild_id, self._services.moderation
        await moderation.admit("\n".join((path[-1].text, *(text for _, text in path[-1].files))), guild_id)
        messages = conversation(await self._welcome(path, guild_id), instructions=chat.instructions)
        parameters = chat.parameters if variation is None else _varied(chat.parameters, variation)
        answer = await reply(self._services.engine, voice, messages, parameters)
        finish = None
        async with aclosing(moderation.screened(answer.chunks, guild_id)) as chunks:
            async for chunk in chunks:
                growing.text += chunk.text
                finish = chunk.finish
                if finish is None:
                    await growing.show(self._writing(place.id))
        return finish, answer.dropped

    @asynccontextmanager
    async def _patiently(self, growing: Growing, place: Place) -> AsyncIterator[None]:
        """Whoever waits long for the first word is told so, once; «Detener» is there meanwhile."""
        told: list[asyncio.Task[None]] = []

        def tell() -> None:
            note = "El motor tarda más de lo normal; sigo esperando."
            told.append(asyncio.create_task(growing.wait(note, self._writing(place.id))))

        timer = asyncio.get_running_loop().call_later(PATIENCE, tell)
        try:
            yield
        finally:
            timer.cancel()
            await asyncio.gather(*told, return_exceptions=True)  # if the place is gone, the answer finds out itself

    async def _welcome(self, path: Sequence[Turn], guild_id: int) -> list[Turn]:
        """A branch without earlier messages that were turned away; the last one was let in."""
        words = await self._services.moderation.words(guild_id)
        return [turn for turn in path[:-1] if turn.ours or words.judge(turn.text) is None] + [path[-1]]

    async def _keep_for_later(self, session: Session, place: Place, growing: Growing, error: EngineResting) -> None:
        """The GPU trains: the message is kept and answered when it is back (`bot/cogs/rest.py`), and says so once."""
        first = await self._services.store.keep_waiting(place.id, session.trigger)
        if growing.text or first:
            await growing.finish(
                growing.text, [f"⏸️ {error.message} He guardado tu mensaje: lo contesto aquí al volver."], None
            )

    async def turns(self, place: Place, chat: ChatThread) -> list[Turn]:
        """What the thread remembers, oldest first."""
        after = discord.Object(chat.since_message_id) if chat.since_message_id else None
        try:
            async with self._pace.request():
                messages = [m async for m in place.history(limit=REMEMBERED) if after is None or m.id > after.id]
        except (discord.NotFound, discord.Forbidden) as error:
            raise Gone(str(error)) from error
        me = own_id(place)
        spoken = [m for m in reversed(messages) if m.type in _SPOKEN and (m.author.id == me or not m.author.bot)]
        return [await self._turn(message, me) for message in spoken]

    async def _turn(self, message: discord.Message, me: int) -> Turn:
        ours = message.author.id == me
        return Turn(
            id=message.id,
            author_id=message.author.id,
            author=message.author.display_name,
            ours=ours,
            text=message.content if ours else message.clean_content,
            files=() if ours else tuple([(f.filename, await self._file(f)) for f in message.attachments]),
            reply_to=message.reference.message_id if message.reference else None,
        )

    async def _file(self, attachment: discord.Attachment) -> str:
        """The text of an attachment, or what is the matter with it, in brackets."""
        if attachment.id in self._files:
            self._files.move_to_end(attachment.id)
            return self._files[attachment.id]
        text = await _read(attachment)
        self._files[attachment.id] = text
        if len(self._files) > _KEPT_FILES:
            self._files.popitem(last=False)
        return text

    async def _tidy(self, session: Session, growing: Growing) -> None:
        """After an interruption: a stopped answer stays with its buttons, an overtaken one goes away."""
        try:
            if session.why == "stopped":
                await growing.finish(growing.text, ["Detenido."], self._done(session.trigger))
            elif session.why in ("newer", "deleted"):
                await growing.discard()
        except (Gone, discord.HTTPException) as error:
            log.info("nothing to tidy up: %s", error)

    async def _show_typing(self, place: Place) -> None:
        """«… is typing» for the next ten seconds, if Discord lets us; never a reason not to answer."""
        if self._pace.backlog > CROWDED:
            return
        with suppress(discord.HTTPException):
            async with self._pace.request():
                await place.typing()


def own_id(place: Place) -> int:
    """The bot's own id, as authors of messages in `place` carry it."""
    return place.guild.me.id if isinstance(place, discord.Thread) else place.me.id


async def _read(attachment: discord.Attachment) -> str:
    if instead := worth_reading(attachment.content_type, attachment.size):
        return instead
    try:
        return as_text(await attachment.read())
    except discord.HTTPException:
        return "(archivo que ya no se puede descargar)"


def _reference(place: Place, turns: Sequence[Turn], path: Sequence[Turn]) -> discord.MessageReference | None:
    """The message to reply to, where the thread alone would not show (or later read) what is answered."""
    trigger = path[-1]
    if trigger.reply_to is None and turns[-1].id == trigger.id:
        return None
    return place.get_partial_message(trigger.id).to_reference(fail_if_not_exists=False)


def _varied(parameters: dict[str, float], seed: int) -> dict[str, float]:
    return {**parameters, "temperature": max(parameters.get("temperature", 0.0), 0.8), "seed": seed}


def _notes(text: str, finish: str | None, dropped: int, files: Sequence[tuple[str, str]]) -> list[str]:
    notes = [f"{plain(name, 60)}: {why}." for name, content in files if (why := unread(content))]
    if not text.strip():
        notes.append("El modelo no ha respondido nada.")
    if finish == "length":
        notes.append("Llegué al límite de longitud de la respuesta (se cambia con /parametros).")
    if dropped:
        notes.append("Los primeros mensajes del hilo ya no caben en la memoria de este modelo.")
    return notes
