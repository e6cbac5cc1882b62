"""The best sentences of the best passages: an answer without a language model.

Rule of this file: every sentence is the course's own. Sentences are chosen by the weight of the question's tokens that
they hold, kept in reading order, and never taken out of the middle of a list or of code.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.course.analysis import Analyzer
from bot.course.glossary import Glossary
from bot.course.passage import Passage
from bot.course.query import CONCEPT, Query
from bot.course.splitting import plain

SHORT = 850  # characters of the short answer
LONG = 1700  # of the longer one
NEAR = 0.7  # a further passage is quoted when it comes so close to the best one
CODE = 500  # a longer code block is not quoted in the short answer

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+(?=[A-ZÁÉÍÓÚÑ¿¡«\"*`(])")
_FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
_DIVIDER = re.compile(r"^(?=.*---)[\s:|-]+$")
_ITEM = re.compile(r"^(?:[-*•]|\d+[.)])\s+")
_HEADING = re.compile(r"^#{1,6}\s|^\*\*[^*]{3,80}\*\*:?$")
_WORD = re.compile(r"\w+")
_DEFINING = frozenset({"es", "son", "significa", "consiste", "permite", "describe", "describen"})
_ASKS_FOR_CODE = re.compile(r"c[oó]digo|script|comando|instal|ejemplo|formato|jsonl|plantilla|config|python", re.I)


@dataclass(frozen=True, kw_only=True, slots=True)
class Quote:
    """What one passage contributes, in reading order."""

    passage: Passage
    text: str
    score: float


class Quoter:
    def __init__(self, analyzer: Analyzer, glossary: Glossary) -> None:
        self._analyzer = analyzer
        self._glossary = glossary

    def quotes(self, query: Query, passages: Sequence[Passage], *, room: int = SHORT, most: int = 2) -> list[Quote]:
        """At most `most` quotes that fit `room` characters together, best passage first."""
        best = passages[0].score if passages else 0.0
        near = [passage for passage in passages if passage.score >= NEAR * best][: most + 1]
        quotes: list[Quote] = []
        left = room
        for passage in near:
            share = left if len(near) == 1 else max(left * 2 // 3, 200)
            quote = self._quote(query, passage, share)
            if quote and len(quote.text) <= left and self._adds(quote, quotes):
                quotes.append(quote)
                left -= len(quote.text) + 8
            if len(quotes) == most or left < 150:
                break
        return quotes

    @staticmethod
    def _adds(quote: Quote, quotes: Sequence[Quote]) -> bool:
        """Whether it says something else, and nearly as much to the point."""
        return all(quote.text not in other.text and quote.score >= NEAR * other.score for other in quotes[:1])

    def _quote(self, query: Query, passage: Passage, room: int) -> Quote | None:
        code = ""
        if (fence := _FENCE.search(passage.text)) and _ASKS_FOR_CODE.search(query.question):
            code = fence.group() if len(fence.group()) <= min(CODE, room - 100) else ""
        sentences = list(_sentences(passage.text))
        if not sentences and not code:
            return None
        weighed = [(self._weight(query, text) * (1 if place else 1.15), place) for place, text in enumerate(sentences)]
        top = max(weighed, default=(0.0, 0))[0]
        chosen: list[int] = []
        used = len(code)
        for weight, place in sorted(weighed, key=lambda entry: (-entry[0], entry[1])):
            fits = used + len(sentences[place]) + 1 <= room
            if fits and (weight >= 0.45 * top or len(chosen) < 2) and len(chosen) < 4:
                chosen.append(place)
                used += len(sentences[place]) + 1
        text = _join([sentences[place] for place in sorted(chosen)])
        text = f"{text}\n{code}".strip() if code else text
        return Quote(passage=passage, text=text, score=top) if text else None

    def _weight(self, query: Query, sentence: str) -> float:
        stems = self._analyzer.stems(sentence)
        named = self._glossary.find(self._analyzer.sequence(sentence))
        held = set(stems) | {CONCEPT + concept for concept, _ in named}
        total = sum(weight for token, weight in query.tokens.items() if token in held)
        if query.defines and not _DEFINING.isdisjoint(_WORD.findall(sentence)[1:11]):
            total *= 1.3
        return total / (1 + len(stems) / 60)


def _sentences(markdown: str) -> Iterator[str]:
    """Sentences, list items («• …») and table rows («• **first cell**: the others») of a text; no headings, no code."""
    lines = _FENCE.sub("\n", markdown).splitlines()
    columns: list[str] = []  # names of the columns of the table that we are in
    for number, raw in enumerate(lines):
        line = raw.strip()
        after = lines[number + 1].strip() if number + 1 < len(lines) else ""
        if not line or _HEADING.match(line) or _DIVIDER.match(line):
            continue
        if line.startswith("|"):
            if _DIVIDER.match(after):
                columns = _cells(line)
            else:
                yield from _row(_cells(line), columns)
        elif item := _ITEM.match(line):
            yield f"• {plain(line[item.end() :])}"
        else:
            text = plain(line.lstrip("> "))
            yield from (sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip())


def _cells(line: str) -> list[str]:
    return [plain(cell) for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _row(cells: list[str], columns: list[str]) -> Iterator[str]:
    """A row as a list item; in wide tables each cell says its column."""
    first, *others = cells
    if len(columns) == len(cells) > 2:
        others = [f"{name} {cell}" if name else cell for name, cell in zip(columns[1:], others, strict=True) if cell]
    said = " · ".join(cell for cell in others if cell)
    name = first.strip("*")
    if name or said:
        yield f"• **{name}**: {said}" if name and said else f"• {name or said}"


def _join(sentences: list[str]) -> str:
    text = ""
    for sentence in sentences:
        item = sentence.startswith("• ")
        text += ("\n" if item or "\n• " in text or text.startswith("• ") else " ") + sentence
    return text.strip()


def details(passages: Sequence[Passage], room: int = LONG) -> str:
    """The best passages as they stand, under their headings, as far as they fit."""
    parts: list[str] = []
    left = room
    for number, passage in enumerate(passages, 1):
        body = re.sub(r"^#{1,6}\s+(.+)$", r"**\1**", passage.plain, flags=re.MULTILINE)
        part = f"**{passage.label}** [{number}]\n{body}"
        if len(part) > left:
            break
        parts.append(part)
        left -= len(part) + 2
    return "\n\n".join(parts)
