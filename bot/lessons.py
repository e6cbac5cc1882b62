"""The courses, indexed beside the running bot: the first questions wait for them, nothing else does.

Rule of this file: when to load, never how (that is `bot/course`). Importing and indexing take a second or more, so
both happen in a thread after the bot is ready; a failed load is told to whoever asks and tried again at the next
question. Each server has its own course (what ships with Afina and what its staff added) and its own answerer.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from typing import TYPE_CHECKING

from bot.settings import Settings
from jobs.errors import AfinaError

if TYPE_CHECKING:
    from bot.course import Course
    from bot.course.answer import Answer
    from bot.course.library import Library
    from bot.llm import Answerer, Occupy, OnText

log = logging.getLogger(__name__)


class CourseNotReady(AfinaError):
    code = "course_not_ready"
    default = "Ahora mismo no puedo leer el curso."
    default_hint = "Quien administra el bot puede ver el motivo en su registro; vuelve a intentarlo en un rato."


class Lessons:
    """The courses and who answers from them; an `Answerer` itself, so that cogs need not know about the wait."""

    def __init__(self, settings: Settings, *, engine_url: str | None = None, occupy: Occupy = nullcontext) -> None:
        self._settings = settings
        self._occupy = occupy
        self._engine_url = engine_url
        self._loading: asyncio.Task[Library] | None = None
        self._answerers: dict[int, tuple[Course, Answerer]] = {}  # by server; an answerer belongs to one course

    def start(self) -> None:
        """Begin to load; calling it again does nothing."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(self._load), name="load the course")

    @property
    def ready(self) -> bool:
        """Whether asking would not wait for the first load."""
        return self._loading is not None and self._loading.done() and not self._loading.exception()

    @property
    def outage(self) -> str | None:
        """The kind of error for which search by meaning is away; None: it answers, or nobody configured it."""
        meaning = self._loading.result().meaning if self._loading is not None and self.ready else None
        return meaning.outage.reason if meaning else None

    async def library(self) -> Library:
        """What every server's course consists of. Raises CourseNotReady."""
        self.start()
        assert self._loading is not None
        loading = self._loading
        try:
            return await asyncio.shield(loading)
        except asyncio.CancelledError:
            raise
        except Exception as error:
            log.exception("the course cannot be loaded")
            if self._loading is loading:
                self._loading = None
            raise CourseNotReady from error

    async def course(self, guild_id: int | None = None) -> Course:
        """The course of a server; the one that ships with Afina for None. Raises CourseNotReady."""
        library = await self.library()
        return await asyncio.to_thread(library.course, guild_id)

    async def answer(
        self,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        *,
        guild_id: int | None = None,
        on_text: OnText | None = None,
        long: bool = False,
    ) -> Answer:
        """Answer from the course of a server. Raises CourseNotReady when it cannot be read."""
        course = await self.course(guild_id)
        answerer = await asyncio.to_thread(self._answerer, guild_id or 0, course)
        return await answerer.answer(question, history, on_text=on_text, long=long)

    async def reload(self, guild_id: int | None = None) -> Course:
        """Read the course's files again and use the result from now on. Raises CourseNotReady."""
        library = await self.library()
        return await asyncio.to_thread(library.reindex, guild_id or 0)

    def _answerer(self, guild_id: int, course: Course) -> Answerer:
        from bot.llm import make_answerer

        known = self._answerers.get(guild_id)
        if known is None or known[0] is not course:
            answerer = make_answerer(self._settings, course, self._engine_url, occupy=self._occupy)
            known = self._answerers[guild_id] = (course, answerer)
        return known[1]

    def _load(self) -> Library:
        from bot.course.library import Library
        from bot.llm import make_meaning

        settings = self._settings
        library = Library(
            settings.course_dir, settings.data_dir, make_meaning(settings, aside=True), settings.course_url
        )
        library.course(None)
        return library
