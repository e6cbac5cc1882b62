"""An answer and its sources: what `/preguntar`, `afina ask` and the answerers agree on. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from bot.course.passage import Passage


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """One cited passage; its number in the text is its place in `Answer.sources`, from 1."""

    file: str
    title: str
    label: str  # «LoRA › Qué se entrena»
    excerpt: str  # the sentences that carry the answer, at most 300 characters
    score: float
    url: str | None = None

    @classmethod
    def of(cls, passage: Passage, excerpt: str) -> Source:
        return cls(
            file=passage.file,
            title=passage.title,
            label=passage.label,
            excerpt=excerpt if len(excerpt) <= 300 else excerpt[:299].rsplit(" ", 1)[0] + "…",
            score=round(passage.score, 4),
            url=passage.url,
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    question: str
    found: bool  # the course covers it; False: no sources
    text: str  # short, Markdown as Discord reads it, with [n] after what a source supports
    sources: tuple[Source, ...] = ()
    details: str = ""  # the longer form behind «Más detalle»; "" when there is nothing to add
    suggestions: tuple[str, ...] = ()  # questions that the course answers, close to this one
    worded: bool = False  # a language model wrote the text; False: sentences of the course, quoted
