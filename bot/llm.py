"""Answers from the course: quoted, or worded by a language model.

Rule of this file: the only one that imports langchain chat models. Both answerers say that the course does not cover a
question when `Course.look_up` says so, and then show no sources.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from bot.course import Course, Findings
from bot.course.answer import Answer, Source
from bot.course.quoting import details
from bot.settings import Settings

PASSAGES = 5  # how many an answer may draw on


class Answerer(Protocol):
    async def answer(self, question: str, history: Sequence[tuple[str, str]] = ()) -> Answer:
        """Answer a question; `history` holds earlier (question, answer) pairs of the thread, oldest first."""
        ...


class QuotingAnswerer:
    """The best sentences of the best passages, with their sources. No language model."""

    def __init__(self, course: Course) -> None:
        self.course = course

    async def answer(self, question: str, history: Sequence[tuple[str, str]] = ()) -> Answer:
        return await asyncio.to_thread(self.quote, question)

    def quote(self, question: str) -> Answer:
        findings = self.course.look_up(question, PASSAGES)
        return quoted(self.course, findings) if findings.found else not_covered(self.course, question)


def quoted(course: Course, findings: Findings) -> Answer:
    quotes = course.quoter.quotes(findings.query, findings.passages)
    sources = tuple(Source.of(quote.passage, quote.text) for quote in quotes)
    return Answer(
        question=findings.query.question,
        found=True,
        text="\n\n".join(f"{quote.text} [{number}]" for number, quote in enumerate(quotes, 1)),
        sources=sources,
        details=details([quote.passage for quote in quotes]),
        suggestions=course.near_topics(findings.query.question),
    )


def not_covered(course: Course, question: str) -> Answer:
    near = course.near_topics(question)
    hint = " Quizá te sirva una de estas preguntas." if near else ""
    return Answer(
        question=question,
        found=False,
        text=f"El curso no habla de eso, así que prefiero no inventar una respuesta.{hint}",
        suggestions=near,
    )


def make_answerer(settings: Settings, course: Course, engine_url: str | None = None) -> Answerer:
    """The answerer that the settings ask for; quoting without a language model."""
    return QuotingAnswerer(course)
