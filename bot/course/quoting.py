"""The best blocks of the best passages: an answer without a language model.

Rule of this file: every sentence is the course's own and stands in its own order. A quotation begins where a block
begins, or at a sentence that leans on none before it, and never ends with a line that announces something.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from bot.course.analysis import Analyzer
from bot.course.blocks import Block, blocks, written
from bot.course.glossary import Glossary
from bot.course.passage import Passage
from bot.course.query import CONCEPT, PLAIN, Query

SHORT = 850  # characters of the short answer
LONG = 1700  # of the longer one
ENOUGH = 380  # characters from which on one passage is answer enough, unless two things are compared
NEAR = 0.8  # a further passage is quoted when it comes so close to the best one
WORTH = 0.5  # a further block of a passage, likewise
SIDE = 0.4  # the same for a passage about the other of two things that are compared
BRIEF = 140  # a shorter quotation goes on with the next block, whatever it says
FIRST = 1.15  # what the first block of a passage gains: sections begin with their answer
HEADED = 0.6  # what the first block under a heading gains when the heading says all that was asked
LEANING = 0.6  # what is left of a paragraph that cannot be understood alone
UNDER = 0.6  # how much of a heading's weight its blocks have
CODE = 650  # a longer code block is not quoted in the short answer
FORMULA = 200  # a code block up to this length is quoted with its lead, whatever was asked

_DEFINING = frozenset({"es", "son", "significa", "consiste", "permite", "describe", "describen"})
_WORD = re.compile(r"\w+")
_ASKS_FOR_CODE = re.compile(
    r"c[oó]digo|script|comando|instal|ejemplo|formato|jsonl|plantilla|config|python|c[oó]mo \w+o\b", re.I
)
_COMPARES = re.compile(r"\bdiferenci|\bvs\b|\bversus\b|\bcompar|\bcontra\b| o ", re.I)
# A sentence that begins like this leans on the one before.
_LEANS = re.compile(
    r"(?:y|pero|adem[aá]s|tambi[eé]n|as[ií]|entonces|por eso|por (?:lo )?tanto|sin embargo|en cambio|no obstante"
    r"|de ah[ií]|por ejemplo|es decir|con (?:eso|esto|ella|ello|[eé]l)|en (?:ese|este|esa|esta|estos|esas|ambos)\b.*?"
    r"|(?:est[eao]s?|es[eao]s?|ambos|ambas|ellos|ellas|otr[oa]s?|l[oa]s? (?:dos|segund[oa]|otr[oa])|su|sus|se|lo|la|los"
    r"|las) (?=[a-záéíóúñ]+)|eso|esto|ah[ií]|casi siempre|si no)\b",
    re.I,
)
_ARTICLE = re.compile(r"(?:la|los|las|lo) (?!que\b)\w+", re.I)


Scale = dict[str, float]  # token of a question → factor


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

    def quotes(
        self, query: Query, passages: Sequence[Passage], *, room: int = SHORT, most: int = 2, told: str = ""
    ) -> list[Quote]:
        """At most `most` quotes that fit `room` characters together, best passage first; nothing of what was told."""
        best = passages[0].score if passages else 0.0
        compares = bool(_COMPARES.search(query.question))
        quotes: list[Quote] = []
        left = room
        for passage in passages[: most + 2]:
            other = compares and bool(quotes) and self._is_other_side(query, passage, quotes[0].passage)
            if quotes and (passage.score < (SIDE if other else NEAR) * best or left < 150):
                if compares and left >= 150:
                    continue
                break
            whole = not compares or self._sides(query) <= self._held(passage.label)
            quote = self._quote(query, passage, min(left, room * (4 if whole else 3) // 5), told)
            if quote and (other or self._adds(quote, quotes)):
                quotes.append(quote)
                left -= len(quote.text) + 8
            if len(quotes) == most or (not compares and most == 2 and room - left >= ENOUGH):
                break
        return quotes

    def _is_other_side(self, query: Query, passage: Passage, quoted: Passage) -> bool:
        """Whether a passage is headed by a thing of a comparison that does not head the one quoted."""
        return bool(self._sides(query) & self._held(passage.label) - self._held(quoted.label))

    @staticmethod
    def _sides(query: Query) -> set[str]:
        return {CONCEPT + concept for concept in query.named if not concept.startswith(PLAIN)}

    @staticmethod
    def _adds(quote: Quote, quotes: Sequence[Quote]) -> bool:
        """Whether it says something else, and nearly as much to the point."""
        return all(
            quote.text not in other.text and other.text not in quote.text and quote.score >= NEAR * other.score
            for other in quotes
        )

    def _quote(self, query: Query, passage: Passage, room: int, told: str) -> Quote | None:
        found = [block for block in self._quotable(query, passage, room) if block.parts[0] not in told]
        if not found:
            return None
        scale = self._scale(query, found)
        weights = [
            self._block_weight(scale, query, block)
            * (1 if at else FIRST)
            * (1 if at and block.heading == found[at - 1].heading else 1 + HEADED * self._share(query, block.heading))
            * (LEANING if leans(block.text) else 1)
            for at, block in enumerate(found)
        ]
        top = max(range(len(found)), key=lambda place: (weights[place], -place))
        start = top
        while (
            start and leans(found[start].text) and sum(len(block.text) for block in found[start - 1 : top + 1]) < room
        ):
            start -= 1
        every = blocks(passage.text)

        def follows(at: int) -> bool:  # on the quotable block before it, with nothing left out in between
            return at > 0 and every.index(found[at]) == every.index(found[at - 1]) + 1

        text, heading = "", None
        for at in range(start, len(found)):
            if at > top and len(text) >= ENOUGH:
                break
            brief = len(text) < BRIEF and (not leans(found[at].text) or follows(at))
            if at > top and not brief and weights[at] < WORTH * weights[top]:
                continue
            more = self._cut(scale, query, found[at], room - len(text) - 1, above=heading)
            if not more:
                break
            text, heading = f"{text}\n{more}".strip(), found[at].heading
            if found[at].parts[-1] not in more:  # cut: nothing may follow
                break
        return Quote(passage=passage, text=text, score=self._block_weight({}, query, found[top])) if text else None

    @staticmethod
    def _quotable(query: Query, passage: Passage, room: int) -> list[Block]:
        """The blocks of a passage; code only where it was asked for, or as a short thing that a sentence introduces."""
        wanted = CODE if _ASKS_FOR_CODE.search(query.question) else 0

        def fits(block: Block) -> bool:
            longest = max(wanted, FORMULA if block.lead else 0)
            return block.kind != "code" or len(block.text) <= min(longest, room)

        return [block for block in blocks(passage.text) if fits(block)]

    def _cut(self, scale: Scale, query: Query, block: Block, room: int, *, above: str | None = None) -> str:
        """As much of a block as fits: all of it, its best run of sentences, or its best items in their order. `above`
        is the heading that stands there already."""
        if len(text := _introduced(block, range(len(block.parts)), above)) <= room:
            return text
        if block.kind == "code":
            return ""
        weights = [self._weight(scale, query, part) for part in block.parts]
        if block.kind == "prose":
            start = max(range(len(weights)), key=lambda place: (weights[place], -place))
            while start and leans(block.parts[start]):
                start -= 1
            order = list(range(start, len(weights)))
        else:
            order = sorted(range(len(weights)), key=lambda place: (-weights[place], place))
        chosen: list[int] = []
        for place in order:
            if len(_introduced(block, sorted([*chosen, place]), above)) > room:
                break
            chosen.append(place)
        return _introduced(block, sorted(chosen), above) if chosen else ""

    def _scale(self, query: Query, found: Sequence[Block]) -> Scale:
        """How much a token of the question counts in this passage: more where few of its blocks hold it."""
        held = [self._held(" ".join((block.heading, block.lead, *block.parts))) for block in found]
        counts = {token: sum(token in tokens for tokens in held) for token in query.tokens}
        return {token: 1 + math.log(len(found) / count) for token, count in counts.items() if count}

    def _share(self, query: Query, heading: str) -> float:
        """How much of what was asked a heading says (0–1)."""
        held = self._held(heading) if heading else set()
        asked = sum(query.tokens.values())
        return sum(weight for token, weight in query.tokens.items() if token in held) / asked if asked else 0.0

    def _block_weight(self, scale: Scale, query: Query, block: Block) -> float:
        heading = UNDER * self._weight(scale, query, block.heading) if block.heading else 0.0
        lead = [block.lead] if block.lead else []
        return heading + max(self._weight(scale, query, part) for part in (*lead, *block.parts))

    def _weight(self, scale: Scale, query: Query, sentence: str) -> float:
        held = self._held(sentence)
        total = sum(weight * scale.get(token, 1.0) for token, weight in query.tokens.items() if token in held)
        if query.defines and not _DEFINING.isdisjoint(_WORD.findall(sentence)[1:11]):
            total *= 1.3
        return total / (1 + len(held) / 60)

    def _held(self, text: str) -> set[str]:
        named = self._glossary.find(self._analyzer.sequence(text))
        return {*self._analyzer.stems(text), *(CONCEPT + concept for concept, _ in named)}


def _introduced(block: Block, chosen: Sequence[int], above: str | None) -> str:
    """Items stand under their lead, else under their heading; a question that heads a paragraph stays with it."""
    text = written(block, chosen)
    asks = block.heading.startswith("¿")
    if not block.heading or block.heading == above or not (asks or (block.kind == "list" and not block.lead)):
        return text
    return f"**{block.heading.rstrip(':')}**{' ' if block.kind == 'prose' else chr(10)}{text}"


def leans(sentence: str) -> bool:
    """Whether a sentence needs the one before it to be understood."""
    return bool(_LEANS.match(sentence)) and not _ARTICLE.match(sentence)


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
