"""An answer that grows in place: sent, edited at intervals, split over messages, taken back.

Rule of this file: what Discord shows of one answer, and what becomes of Discord's refusals. Every request waits for
its turn (`Pace`); edits of one message are at least `every` seconds apart. It does not know where the text comes from.
Codes: https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import discord
from discord.utils import utcnow

from bot.conversations import NOTE, WRITING, as_answer
from bot.render.split import LIMIT, split
from bot.sessions import Pace

log = logging.getLogger(__name__)

Place = discord.Thread | discord.DMChannel
View = discord.ui.View
MakeView = Callable[[int], discord.ui.View]

CROWDED = 0.5  # seconds of waiting requests above which only first and last states are shown
TOO_MANY = 429  # Discord's status when discord.py has given up waiting for a rate limit
UNKNOWN_MESSAGE = 10008
ARCHIVED = 50083  # nothing can be written in the thread
_EDITABLE = timedelta(minutes=55)  # Discord hardly lets a message older than an hour be edited (30046)
_WAITS = (1.0, 3.0)  # seconds before the second and third try of a request
_ROOM = LIMIT - 300  # characters of a part, so that notes and marks fit behind the last one


class Gone(Exception):
    """The place is no longer there, or closed to the bot."""


class TakenAway(Gone):
    """Somebody has deleted what was being written: they do not want it, and the place is all right."""


class Growing:
    """An answer over as many messages as it needs; `existing` ones are written over."""

    def __init__(
        self,
        place: Place,
        pace: Pace,
        every: float,
        *,
        existing: Sequence[discord.Message] = (),
        reference: discord.MessageReference | None = None,
    ) -> None:
        """`existing`: messages of an earlier answer; this one takes the place of those too old to be edited."""
        self._place = place
        self._pace = pace
        self._every = every
        old = any(utcnow() - message.created_at > _EDITABLE for message in existing)
        self._replaced = list(existing) if old else []  # deleted when the new answer stands
        self._messages = [] if old else list(existing)
        self._shown: list[str | None] = [None] * len(self._messages)
        self._reference = reference
        self._last = 0.0
        self._lock = asyncio.Lock()
        self.text = ""  # as far as the answer has come, shown or not

    @property
    def visible(self) -> bool:
        return any(text is not None for text in self._shown)

    async def show(self, view: View) -> None:
        """Show the text so far, unless it was edited less than `every` seconds ago or others have waited longer."""
        async with self._lock:
            early = asyncio.get_running_loop().time() - self._last < self._every
            if not self.text.strip() or (self.visible and (early or self._pace.backlog > CROWDED)):
                return
            await self._write(split(as_answer(self.text), _ROOM), WRITING, view)
            self._last = asyncio.get_running_loop().time()

    async def wait(self, note: str, view: View) -> None:
        """Where nothing can be read yet: `note`, and the mark that something will come."""
        async with self._lock:
            if not self.visible:
                await self._write([f"{NOTE}{note}"], WRITING, view)

    async def finish(self, text: str, notes: Sequence[str], view: View | None) -> None:
        """The last state: the whole text, the notes below it, the buttons."""
        small = "".join(f"\n{NOTE}{line}" for note in notes for line in note.splitlines())
        parts = split(as_answer(text), _ROOM) or [""]
        async with self._lock:
            await self._write(parts, small[:280], view)
        await self._delete([*self._messages[len(parts) :], *self._replaced])
        del self._messages[len(parts) :]
        self._replaced.clear()

    async def discard(self) -> None:
        """Take back what was shown."""
        await self._delete(self._messages)
        self._messages.clear()
        self._shown.clear()

    async def _delete(self, messages: Sequence[discord.Message]) -> None:
        for message in messages:
            with suppress(TakenAway):
                await self._request(message.delete)

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
                raise (TakenAway if error.code == UNKNOWN_MESSAGE else Gone)(str(error)) from error
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
