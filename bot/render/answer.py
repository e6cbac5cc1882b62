"""Answers from the course as cards, and cards read back as question and answer.

Rule of this file: what a card shows is also its memory. The question stands in its first line and the answer below, so
that «Más detalle», votes and follow-up questions work on any old card, after a restart too. Course text keeps its
Markdown; what people wrote is escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import discord

from bot.course.answer import Answer, Source
from bot.render.cards import Accent, card, clip
from bot.render.numbers import plain

MARK = "-# ❓ "  # before the question, in the first line of every answer
SOURCES = "-# **Fuentes**"
WRITING = " ✍️"  # at the end of a text that is still being written
QUESTION = 300  # characters of the question on a card
SHORT, LONG = 1900, 3300  # characters of the answer and of its longer form


def answer_card(answer: Answer, actions: Sequence[discord.ui.Item[Any]] = ()) -> discord.ui.LayoutView:
    """The short answer, its sources, and buttons."""
    texts = [head(answer.question), clip(answer.text, SHORT)]
    if answer.sources:
        texts.append(sources_text(answer.sources))
    return card(*texts, accent=Accent.NEUTRAL if answer.found else Accent.QUIET, actions=actions)


def writing_card(question: str, text: str) -> discord.ui.LayoutView:
    """An answer that a model is still writing."""
    return card(head(question), clip(text, SHORT) + WRITING, accent=Accent.QUIET)


def details_card(answer: Answer) -> discord.ui.LayoutView:
    """The passages behind an answer, as the course has them."""
    return card(head(answer.question), clip(answer.details, LONG), sources_text(answer.sources))


def head(question: str) -> str:
    return f"{MARK}{plain(question, QUESTION)}"


def sources_text(sources: Sequence[Source]) -> str:
    """«Fuentes 1 LoRA › Qué se entrena · 2 …», linked where the document says where it can be read."""
    entries = [f"**{number}** {_label(source)}" for number, source in enumerate(sources, 1)]
    return f"{SOURCES}  {' · '.join(entries)}"


def read_card(message: discord.Message) -> tuple[str, str] | None:
    """Question and answer of one of our cards; None for any other message."""
    texts = [text for component in message.components for text in _texts(component)]
    start = next((place for place, text in enumerate(texts) if text.startswith(MARK)), None)
    if start is None:
        return None
    question = re.sub(r"\\([\\*_~`|>#\[\]()-])", r"\1", texts[start].removeprefix(MARK))
    answer = "\n".join(text for text in texts[start + 1 :] if not text.startswith(SOURCES))
    return question, re.sub(r"\s*\[\d+\]", "", answer).strip()


def _texts(component: Any) -> list[str]:
    if content := getattr(component, "content", None):
        return [str(content)]
    return [text for child in getattr(component, "children", ()) for text in _texts(child)]


def _label(source: Source) -> str:
    label = plain(source.label, 80)
    url = safe_url(source.url)
    return f"[{label}](<{url}>)" if url else label


def safe_url(url: str | None) -> str | None:
    """An address that can stand in a message; None for anything else."""
    return url if url and re.fullmatch(r"https?://[^\s()<>]{1,500}", url) else None
