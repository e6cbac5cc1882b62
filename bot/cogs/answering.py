"""One answer in a thread: the history is read, the model's text grows in place, the end is honest.

Rule of this file: Discord's side of an answer and nothing about who may ask (`bot/cogs/chat.py`). Every request to
Discord waits for its turn (`Pace`), edits of one message are at least `every` seconds apart. An answer ends complete,
stopped, or with a note that says why; one that a restart cut off carries the mark of writing, by which it is found.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable, Sequence
from contextlib import aclosing, suppress
from typing import Any

import discord

from bot.attachments import as_text, worth_reading
from bot.chat import reply
from bot.conversations import NOTE, REMEMBERED, WRITING, Turn, as_answer, branch, conversation
from bot.moderation import Unwelcome
from bot.records import ChatThread
from bot.render.split import LIMIT, split
from bot.services import Services
from bot.sessions import Pace, Session
from bot.voices import Voices
from jobs.errors import AfinaError

log = logging.getLogger(__name__)

Place = discord.Thread | discord.DMChannel
View = discord.ui.View

TOO_MANY = 429  # Discord's status when discord.py has given up waiting for a rate limit
_WAITS = (1.0, 3.0)  # seconds before the second and third try of a request
ARCHIVED = 50083  # Discord's code for a thread that nothing can be written in
_CROWDED = 0.5  # seconds of waiting requests above which only first and last states are shown
_KEPT_FILES = 64
_ROOM = LIMIT - 300  # characters of a part, so that notes and marks fit behind the last one
_SPOKEN = (discord.MessageType.default, discord.MessageType.reply)


class Gone(Exception):
    """The place or the message is no longer there, or closed to the bot."""


MakeView = Callable[[int], discord.ui.View]


class Growing:
    """An answer over as many messages as it needs; `existing` ones are written over."""

    def __init__(
        self,
        place: Place,
        pace: Pace,
        every: float,
        *,
        existing: Sequence[discord.Message] = (),
        reference: discord.PartialMessage | None = None,
    ) -> None:
        self._place = place
        self._pace = pace
        self._every = every
        self._messages = list(existing)
        self._shown: list[str | None] = [None] * len(self._messages)
        self._reference = reference
        self._last = 0.0

    @property
    def visible(self) -> bool:
        return any(text is not None for text in self._shown)

    async def show(self, text: str, view: View) -> None:
        """Show `text` so far, unless it was edited less than `every` seconds ago or others have waited longer."""
        early = asyncio.get_running_loop().time() - self._last < self._every
        if not text.strip() or (self.visible and (early or self._pace.backlog > _CROWDED)):
            return
        await self._write(split(as_answer(text), _ROOM), WRITING, view)
        self._last = asyncio.get_running_loop().time()

    async def finish(self, text: str, notes: Sequence[str], view: View | None) -> None:
        """The last state: the whole text, the notes below it, the buttons."""
        small = "".join(f"\n{NOTE}{line}" for note in notes for line in note.splitlines())
        parts = split(as_answer(text), _ROOM) or [""]
        await self._write(parts, small[:280], view)
        for message in self._messages[len(parts) :]:
            await self._request(message.delete)
        del self._messages[len(parts) :]

    async def discard(self) -> None:
        """Take back what was shown."""
        for message in self._messages:
            await self._request(message.delete)
        self._messages.clear()
        self._shown.clear()

    async def _write(self, parts: list[str], tail: str, view: View | None) -> None:
        texts = [*parts[:-1], (parts[-1] + tail).strip()]
        for index, text in enumerate(texts):
            buttons = view if index == len(texts) - 1 else None
            if index >= len(self._messages):
                self._messages.append(await self._send(text, buttons))
                self._shown.append(text)
            elif self._shown[index] != text or buttons is not None:
                await self._request(self._messages[index].edit, content=text, view=buttons)
                self._shown[index] = text

    async def _send(self, text: str, view: View | None) -> discord.Message:
        more: dict[str, Any] = {} if view is None else {"view": view}
        if self._reference is not None and not self._messages:
            more |= {"reference": self._reference, "mention_author": False}
        sent: discord.Message = await self._request(self._place.send, content=text, suppress_embeds=True, **more)
        return sent

    async def _request(self, call: Callable[..., Any], **arguments: Any) -> Any:
        """Do it in turn; rate limits are waited out, and for edits failures of Discord's servers too."""
        place = self._place
        for wait in (*_WAITS, None):
            try:
                async with self._pace.request():
                    return await call(**arguments)
            except (discord.NotFound, discord.Forbidden) as error:
                raise Gone(str(error)) from error
            except discord.HTTPException as error:
                if error.code == ARCHIVED:
                    # One that went to sleep is woken; one that a moderator locked is left alone.
                    if not isinstance(place, discord.Thread) or place.locked or wait is None:
                        raise Gone(str(error)) from error
                    await self._request(place.edit, archived=False)
                    continue
                again = error.status == TOO_MANY or (error.status >= 500 and call != place.send)
                if wait is None or not again:
                    raise
                log.info("Discord answered %s; trying again in %s s", error.status, wait)
                await asyncio.sleep(wait)


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
        text = ""
        try:
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
                    text += chunk.text
                    finish = chunk.finish
                    if finish is None:
                        await growing.show(text, self._writing(place.id))
            await growing.finish(text, _notes(text, finish, answer.dropped), self._done(session.trigger))
        except AfinaError as error:
            log.info("no answer in %s: %s", place.id, error.code)
            text = "" if isinstance(error, Unwelcome) else text  # what was shown of it goes, too
            note = f"⚠️ {error.message} {error.hint}".strip()
            await growing.finish(text, [note], self._done(session.trigger))
        except asyncio.CancelledError:
            await self._tidy(session, growing, text)
            raise
        except Gone:
            raise
        except Exception:
            note = "⚠️ Algo ha fallado por mi parte; ya está anotado. Prueba otra vez."
            await growing.finish(text, [note], self._done(session.trigger))
            raise

    async def _welcome(self, path: Sequence[Turn], guild_id: int) -> list[Turn]:
        """A branch without earlier messages that were turned away; the last one was let in."""
        words = await self._services.moderation.words(guild_id)
        return [turn for turn in path[:-1] if turn.ours or words.judge(turn.text) is None] + [path[-1]]

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

    async def _tidy(self, session: Session, growing: Growing, text: str) -> None:
        """After an interruption: a stopped answer stays with its buttons, an overtaken one goes away."""
        try:
            if session.why == "stopped":
                await growing.finish(text, ["Detenido."], self._done(session.trigger))
            elif session.why in ("newer", "deleted"):
                await growing.discard()
        except (Gone, discord.HTTPException) as error:
            log.info("nothing to tidy up: %s", error)

    async def _show_typing(self, place: Place) -> None:
        """«… is typing» for the next ten seconds, if Discord lets us; never a reason not to answer."""
        if self._pace.backlog > _CROWDED:
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


def _reference(place: Place, turns: Sequence[Turn], path: Sequence[Turn]) -> discord.PartialMessage | None:
    """The message to reply to, where the thread alone would not show (or later read) what is answered."""
    trigger = path[-1]
    return place.get_partial_message(trigger.id) if trigger.reply_to or turns[-1].id != trigger.id else None


def _varied(parameters: dict[str, float], seed: int) -> dict[str, float]:
    return {**parameters, "temperature": max(parameters.get("temperature", 0.0), 0.8), "seed": seed}


def _notes(text: str, finish: str | None, dropped: int) -> list[str]:
    notes = []
    if not text.strip():
        notes.append("El modelo no ha respondido nada.")
    if finish == "length":
        notes.append("Llegué al límite de longitud de la respuesta (se cambia con /parametros).")
    if dropped:
        notes.append("Los primeros mensajes del hilo ya no caben en la memoria de este modelo.")
    return notes
