"""The course, indexed beside the running bot: the first questions wait for it, nothing else does.

Rule of this file: when to load, never how (that is `bot/course`). Importing langchain and indexing take seconds, so
both happen in a thread after the bot is ready; a failed load is told to whoever asks and tried again at the next
question.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bot.settings import Settings
from jobs.errors import AfinaError

if TYPE_CHECKING:
    from bot.course import Course
    from bot.course.answer import Answer
    from bot.llm import Answerer

log = logging.getLogger(__name__)


class CourseNotReady(AfinaError):
    code = "course_not_ready"
    default = "Ahora mismo no puedo leer el curso."
    default_hint = "Quien administra el bot puede ver el motivo en su registro; vuelve a intentarlo en un rato."


class Lessons:
    """The course and who answers from it; an `Answerer` itself, so that cogs need not know about the wait."""

    def __init__(self, settings: Settings, *, engine_url: str | None = None) -> None:
        self._settings = settings
        self._engine_url = engine_url
        self._loading: asyncio.Task[tuple[Course, Answerer]] | None = None

    def start(self) -> None:
        """Begin to load; calling it again does nothing."""
        if self._loading is None:
            self._loading = asyncio.create_task(asyncio.to_thread(self._load), name="load the course")

    async def course(self) -> Course:
        return (await self._ready())[0]

    async def answer(self, question: str, history: Sequence[tuple[str, str]] = ()) -> Answer:
        """Raises CourseNotReady when the course cannot be read."""
        return await (await self._ready())[1].answer(question, history)

    async def reload(self) -> Course:
        """Index the course folder again and use the result from now on. Raises CourseNotReady."""
        self._loading = None
        return await self.course()

    async def _ready(self) -> tuple[Course, Answerer]:
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

    def _load(self) -> tuple[Course, Answerer]:
        from bot.course import Course
        from bot.llm import make_answerer

        own = self._settings.data_dir / "course"  # what staff added
        course = Course.load(self._settings.course_dir, *([own] if own.is_dir() else []))
        return course, make_answerer(self._settings, course, self._engine_url)
