"""Citations of a worded answer, checked against the passages that it was given.

Rule of this file: a citation `[n]` stands only where passage n speaks of what the sentence says. One that does not hold
moves to the passage that does, or goes. Figures are strict: a number that the passage does not contain is not
supported by it. Addresses that no passage contains are taken out. Pure text; no model is asked.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from bot.course.analysis import Analyzer
from bot.course.glossary import Glossary
from bot.course.passage import Passage
from bot.course.query import CONCEPT

SUPPORT = 0.4  # share of a sentence's content that its passage must hold
REFUSAL = "NO_ESTA_EN_EL_CURSO"  # what the prompt asks for when the passages do not answer

_CITATION = re.compile(r"\s*\[(\d{1,3}(?:\s*[,;y]\s*\d{1,3})*)\]")
# Other ways in which models write one, and code between backticks, where brackets are no citation.
_NAME = r"(?:documentos?|doc\.?|fuentes?|pasajes?|source)?\s*"
_OTHER_WAYS = re.compile(
    rf"(?P<code>`[^`\n]+`)|(?P<open>[«\"(]\s*)?[\[【]\s*\^?{_NAME}(?P<numbers>\d{{1,3}}(?:\s*[-–,;y]\s*{_NAME}\d{{1,3}})*)"
    r"\s*[\]】](?(open)\s*[»\")])",
    re.IGNORECASE,
)
_RANGE = re.compile(r"(\d{1,3})\s*[-–]\s*(\d{1,3})")
_MASKED = str.maketrans({"[": "\ue000", "]": "\ue001"})  # brackets of code while citations are looked for
_UNMASKED = str.maketrans({"\ue000": "[", "\ue001": "]"})
# A list of sources at the end repeats what is shown under the answer.
_SOURCE_LIST = re.compile(
    r"\n[*#_\s]*(?:fuentes?|referencias?|sources?|documentos?)(?: (?:citad|consultad)[ao]s)?[*_\s]*:?[*_]*"
    r"[ \t]*(?=\n|\[)(?:\s*(?:[-•*]\s*)?\[\d{1,3}(?:, \d{1,3})*\][^\n]*)+\s*\Z",
    re.IGNORECASE,
)
_UNIT_END = re.compile(r"[.!?…](?:\s*\[\d[^\]\n]*\])*[ \t]+(?=[A-ZÁÉÍÓÚÑ¿¡«*])|\n")
_FENCE = re.compile(r"```.*?(?:```|\Z)", re.DOTALL)
_ADDRESS = re.compile(r"https?://[^\s)>\]]+")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)?")


@dataclass(frozen=True, kw_only=True, slots=True)
class Checked:
    text: str  # citations renumbered from 1 in order of appearance
    used: tuple[int, ...]  # places (from 0) of the passages that are cited, in that order
    dropped: int  # citations that did not hold


class Checker:
    def __init__(self, analyzer: Analyzer, glossary: Glossary) -> None:
        self._analyzer = analyzer
        self._glossary = glossary

    def check(self, text: str, passages: Sequence[Passage]) -> Checked:
        """The text with only the citations that hold; `used` is empty when none does."""
        text = _as_usual(text)
        known = " ".join(passage.text for passage in passages)
        text = _ADDRESS.sub(lambda found: found.group() if found.group().rstrip(".,") in known else "", text)
        held = [self._content(f"{passage.label} {passage.plain}") for passage in passages]
        order: list[int] = []
        dropped = 0
        parts: list[str] = []
        for chunk, is_code in _chunks(text):
            if is_code:
                parts.append(chunk)
                continue
            for unit in _units(chunk):
                cited = [int(n) - 1 for group in _CITATION.findall(unit) for n in re.findall(r"\d+", group)]
                bare = _CITATION.sub("", unit)
                if not cited:
                    parts.append(unit)
                    continue
                kept = self._supported(bare, dict.fromkeys(cited), held, passages)
                dropped += len(set(cited) - set(kept))
                order += [place for place in kept if place not in order]
                parts.append(_with_marks(bare, [order.index(place) + 1 for place in kept]))
        return Checked(text=_tidy("".join(parts)).translate(_UNMASKED), used=tuple(order), dropped=dropped)

    def _supported(
        self, claim: str, cited: dict[int, None], held: list[frozenset[str]], passages: Sequence[Passage]
    ) -> list[int]:
        content = self._words(claim)
        figures = set(_NUMBER.findall(claim))

        def share(place: int) -> float:
            if not 0 <= place < len(passages) or not figures <= set(_NUMBER.findall(passages[place].text)):
                return 0.0
            return sum(not held[place].isdisjoint(ways) for ways in content) / max(len(content), 1)

        good = [place for place in cited if share(place) >= SUPPORT]
        if good:
            return good
        best = max(range(len(passages)), key=share, default=0)
        return [best] if passages and share(best) >= SUPPORT else []

    def _content(self, text: str) -> frozenset[str]:
        """Everything that a text says: stems and concepts."""
        return frozenset().union(*self._words(text))

    def _words(self, text: str) -> list[frozenset[str]]:
        """Each content word as the ways in which a passage may say it: its stem, or a concept that it names."""
        sequence = self._analyzer.sequence(text)
        ways = {place: {stem} for place, stem in enumerate(sequence) if stem not in self._analyzer.stop}
        for concept, places in self._glossary.find(sequence):
            for place in places & ways.keys():
                ways[place].add(CONCEPT + concept)
        return [frozenset(way) for place, way in ways.items() if sequence[place] not in self._analyzer.light]


def _as_usual(text: str) -> str:
    """Citations written `[n]` or `[n, m]`, brackets of inline code out of the way, no list of sources at the end."""
    parts = [chunk if is_code else _OTHER_WAYS.sub(_usual, chunk) for chunk, is_code in _chunks(text)]
    return _SOURCE_LIST.sub("", "".join(parts))


def _usual(found: re.Match[str]) -> str:
    if found["code"]:
        return found["code"].translate(_MASKED)
    numbers = _RANGE.sub(_every, found["numbers"])
    return f"[{', '.join(re.findall(r'[0-9]+', numbers))}]"


def _every(pair: re.Match[str]) -> str:
    """«2-4» as «2, 3, 4», but nothing without end."""
    first, last = int(pair[1]), int(pair[2])
    return ", ".join(map(str, range(first, last + 1))) if first < last <= first + 9 else f"{first}, {last}"


def _chunks(text: str) -> list[tuple[str, bool]]:
    chunks: list[tuple[str, bool]] = []
    end = 0
    for fence in _FENCE.finditer(text):
        chunks += [(text[end : fence.start()], False), (fence.group(), True)]
        end = fence.end()
    return [*chunks, (text[end:], False)]


def _units(text: str) -> list[str]:
    """Sentences and lines with the white space that follows them; nothing is lost."""
    ends = [found.end() for found in _UNIT_END.finditer(text)]
    return [text[start:end] for start, end in pairwise([0, *ends, len(text)]) if text[start:end]]


def _with_marks(claim: str, numbers: list[int]) -> str:
    body = claim.rstrip()
    tail = claim[len(body) :]
    if numbers and body.endswith("|"):  # the last cell of a row
        body, tail = body[:-1].rstrip(), f" |{tail}"
    return f"{body}{''.join(f' [{number}]' for number in numbers)}{tail}"


def _tidy(text: str) -> str:
    text = re.sub(r"\[([^\]]+)\]\(\s*\)", r"\1", text)  # a link whose address was taken out
    return re.sub(r"\n{3,}", "\n\n", re.sub(r"[ \t]+\n", "\n", text)).strip()
