"""What every cog is given: the parts of the bot, made once by the composition root (`bot/__main__.py`).

Rule of this file: names and types only. Importing it costs nothing, because the parts are imported for the type
checker alone; a test may put a hand-written fake behind any of these names.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bot.arbiter import Arbiter
    from bot.course import Course
    from bot.course.answer import Answer
    from bot.course.library import Library
    from bot.engine import EngineClient
    from bot.llm import Answerer, OnText
    from bot.moderation import Moderation
    from bot.progress import ProgressFeed
    from bot.prompts import Prompts
    from bot.scheduler import Scheduler
    from bot.settings import Settings
    from bot.store import Store
    from jobs.artifacts import Artifacts
    from jobs.catalog import Catalog
    from jobs.queue import Queue


class CourseSource(Protocol):
    """The course is indexed after the bot is ready; whoever needs it waits here."""

    def start(self) -> None: ...

    @property
    def ready(self) -> bool: ...

    @property
    def outage(self) -> str | None: ...

    async def library(self) -> Library: ...

    async def course(self, guild_id: int | None = None) -> Course:
        """The course of a server: what ships with Afina and what the server's staff added."""

    async def answer(
        self,
        question: str,
        history: Sequence[tuple[str, str]] = (),
        *,
        guild_id: int | None = None,
        on_text: OnText | None = None,
        long: bool = False,
    ) -> Answer: ...

    async def reload(self, guild_id: int | None = None) -> Course:
        """Index the course's files again and use the result from now on."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    settings: Settings
    store: Store
    queue: Queue  # sync: call it through `asyncio.to_thread`
    scheduler: Scheduler
    feed: ProgressFeed
    engine: EngineClient
    artifacts: Artifacts
    catalog: Catalog
    prompts: Prompts
    answerer: Answerer  # the course that ships with Afina; its first answer waits until it is indexed
    lessons: CourseSource  # the courses of the servers
    moderation: Moderation  # the content filter
    arbiter: Arbiter | None = None  # None: the engine keeps its memory whatever trains
