"""The lexical index: which passages speak about a query.

Rule of this file: it scores, and knows nothing of evidence, answers or files. Each passage is one bag of tokens (stems
of its text, stems of its headings and title counted several times, concept tokens), scored with BM25 (bm25s); a
passage also gets a share of the score of its section, because a good section makes its passages better.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Hashable, Mapping, Sequence

import bm25s
import numpy as np
from numpy.typing import NDArray

from bot.course.analysis import Analyzer
from bot.course.glossary import Glossary
from bot.course.passage import Passage
from bot.course.query import CONCEPT, Query
from bot.course.splitting import clean_heading

HEADING = 2  # how often a heading's word counts
TITLE = 2
CONCEPT_IN_HEADING = 2
QUESTION = 3  # the same for a word of a question that the document says it answers
K1, B = 1.2, 0.55
LINKS = 0.4  # a passage of nothing but links loses this share, unless the question asks for resources
ABOUT_LINKS = "recursos"  # the concept of asking for resources
DEFINES = 0.6  # what a passage gains whose heading is just the concept of a question «qué es …»
TOUCHES = 0.2  # the same, when the title of its page, or a heading of names alone, has it among others
OTHERWISE = 0.25  # share of those gains for a question that asks for something else
DECLARED = 0.3  # share of the best score that a passage gains whose document says that it answers just this question
ALIKE = 0.6  # how alike two questions are from which on that counts
SECTION = 0.1  # share of the best score of its section that a passage gets

_HEADING_LINE = re.compile(r"^(?:#{1,6}\s+(.+)|\*\*([^*\n]{3,80})\*\*:?\s*)$", re.MULTILINE)

_ASKS_WHAT = re.compile(r"\bqu[eé] (?:es|son|significa)\b|\bwhat (?:is|are)\b", re.IGNORECASE)
_JARGON = re.compile(r"\b\w*(?:[A-Z]{2}|[a-z][A-Z]|[A-Za-z]\d|\d[A-Za-z])\w*\b")
_LINK_TARGET = re.compile(r"\]\(([^)\s]+)")

Scores = NDArray[np.float32]


class Index:
    def __init__(
        self,
        passages: Sequence[Passage],
        analyzer: Analyzer,
        glossary: Glossary,
        questions: Sequence[tuple[str, str]] = (),
    ) -> None:
        """`questions` are those that a document says it answers, as (file, question)."""
        self.passages = tuple(passages)
        self._analyzer = analyzer
        self._glossary = glossary
        self.vocabulary: set[str] = set()  # folded words of the texts
        self.headline: set[str] = set()  # stems of titles and headings: what the course is about
        self.headings = self._headings()
        self.jargon: set[str] = set()  # stems that the texts write as jargon: QAT, Q4_K_M, DataFrame
        self._prose = np.array([_prose(passage) for passage in self.passages], dtype=np.float32)
        self._defines = self._definitions()
        self._sections = [np.array(numbers) for numbers in self._groups(_section).values()]
        bags = [self._bag(passage) for passage in self.passages]
        self._declared: list[tuple[frozenset[str], int]] = []  # tokens of a declared question, its passage
        self._declared_with: dict[str, list[int]] = defaultdict(list)  # token → declared questions that hold it
        self._fit(bags)
        if questions and bags:
            self._place(questions, bags)
            self._fit(bags)

    def _fit(self, bags: Sequence[list[str]]) -> None:
        self._bm25 = bm25s.BM25(k1=K1, b=B)
        if bags:
            self._bm25.index(bags, show_progress=False, create_empty_token=False)
        self._ids: dict[str, int] = dict(self._bm25.vocab_dict) if bags else {}
        self.frequency = {token: self._frequency(number) for token, number in self._ids.items()}

    def _place(self, questions: Sequence[tuple[str, str]], bags: Sequence[list[str]]) -> None:
        """Add each question to the bag of the passage of its document that answers it best."""
        files = self._groups(lambda passage: passage.file)
        for file, question in questions:
            if not (numbers := files.get(file)):
                continue
            tokens = [*self._analyzer.stems(question), *self._concepts(question)]
            scores = self._raw(dict.fromkeys(tokens, 1.0))
            if _ASKS_WHAT.search(question):
                scores *= self._gains([token for token in tokens if token.startswith(CONCEPT)])
            answer = max(numbers, key=lambda number: scores[number])
            bags[answer].extend(tokens * QUESTION)
            for token in set(tokens):
                self._declared_with[token].append(len(self._declared))
            self._declared.append((frozenset(tokens), answer))

    def _definitions(self) -> dict[str, list[tuple[int, float]]]:
        """For each concept the passages that introduce it, and how much they gain for it."""
        introduced: dict[str, list[tuple[int, float]]] = defaultdict(list)
        seen: set[str] = set()
        for number, passage in enumerate(self.passages):
            begins = passage.file not in seen
            seen.add(passage.file)
            for concept in self._concepts(passage.title) if begins else ():
                introduced[concept].append((number, TOUCHES))
            for name in (*((passage.title,) if begins else ()), *passage.heading[-1:], *self._inner(passage)):
                for concept, gain in self._introduced(name).items():
                    introduced[concept].append((number, gain))
        return dict(introduced)

    def _headings(self) -> frozenset[frozenset[str]]:
        """The content stems of each title and heading."""
        names = {name for passage in self.passages for name in (passage.title, *passage.heading, *self._inner(passage))}
        return frozenset(frozenset(self._analyzer.stems(name)) for name in names)

    def _introduced(self, heading: str) -> dict[str, float]:
        """Concepts that a heading promises to explain: it is nothing but their name («LoRA: adaptadores»), asks what
        they are, or is made of names alone."""
        main = re.split(r"[:(]", heading)[0]
        sequence = self._analyzer.sequence(main)
        content = {place for place, stem in enumerate(sequence) if stem not in self._analyzer.stop}
        found = self._glossary.find(sequence)
        asks = bool(_ASKS_WHAT.search(heading))
        just = {CONCEPT + concept: DEFINES for concept, places in found if asks or content <= places}
        covered = {place for _, places in found for place in places}
        return dict.fromkeys((CONCEPT + concept for concept, _ in found if content <= covered), TOUCHES) | just

    @staticmethod
    def _inner(passage: Passage) -> list[str]:
        """Headings inside a passage, without the title of its page."""
        names = [first or second for first, second in _HEADING_LINE.findall(passage.text)]
        return [name for name in names if clean_heading(name) != passage.title]

    def _groups(self, key: Callable[[Passage], Hashable]) -> dict[Hashable, list[int]]:
        groups: dict[Hashable, list[int]] = defaultdict(list)
        for number, passage in enumerate(self.passages):
            groups[key(passage)].append(number)
        return groups

    def _bag(self, passage: Passage) -> list[str]:
        analyzer = self._analyzer
        words = analyzer.words(passage.plain)
        sequence = analyzer.as_sequence(words)
        self.vocabulary.update(words)
        bag = [stem for stem in sequence if stem not in analyzer.stop]
        headings = analyzer.sequence(" . ".join((*passage.heading, *self._inner(passage))))
        heading = [stem for stem in headings if stem not in analyzer.stop]
        title = analyzer.stems(passage.title)
        headed = self._named(headings) * CONCEPT_IN_HEADING
        self.headline.update(heading, title)
        self.jargon.update(stem for word in set(_JARGON.findall(passage.plain)) for stem in analyzer.stems(word))
        return bag + self._named(sequence) + heading * HEADING + headed + title * TITLE

    def _named(self, sequence: list[str]) -> list[str]:
        return [CONCEPT + concept for concept, _ in self._glossary.find(sequence)]

    def _concepts(self, text: str) -> list[str]:
        return self._named(self._analyzer.sequence(text))

    def _frequency(self, number: int) -> int:
        pointers = self._bm25.scores["indptr"]
        return int(pointers[number + 1] - pointers[number])

    def scores(self, query: Query) -> Scores:
        """One score a passage; 0 where nothing of the query occurs."""
        total = self._raw(query.tokens)
        if ABOUT_LINKS not in query.named:
            total *= self._prose
        gains = self._gains([CONCEPT + concept for concept in query.named])
        total *= gains if query.defines else 1 + OTHERWISE * (gains - 1)
        total += DECLARED * total.max(initial=0.0) * self._alike(query)
        section = np.zeros_like(total)
        for numbers in self._sections:
            section[numbers] = total[numbers].max()
        return np.asarray(total + SECTION * section * (total > 0), dtype=np.float32)

    def _gains(self, asked: Sequence[str]) -> Scores:
        """A factor for each passage: more than 1 where it introduces one of these concepts."""
        factors = np.ones(len(self.passages), dtype=np.float32)
        for concept in asked:
            for number, gain in self._defines.get(concept, ()):
                factors[number] = max(factors[number], 1 + gain)
        return factors

    def _alike(self, query: Query) -> Scores:
        """For each passage how much the question is one that it answers, by its document's own word (0–1)."""
        asked = {token for token in query.tokens if not token.startswith(CONCEPT)}
        asked |= {CONCEPT + concept for concept in query.named}
        found = np.zeros(len(self.passages), dtype=np.float32)
        shared = Counter(place for token in asked for place in self._declared_with.get(token, ()))
        for place, both in shared.items():
            tokens, number = self._declared[place]
            alike = both / (len(asked) + len(tokens) - both)
            if alike >= ALIKE:
                found[number] = max(found[number], alike)
        return found

    def _raw(self, tokens: Mapping[str, float]) -> Scores:
        total = np.zeros(len(self.passages), dtype=np.float32)
        for token, weight in tokens.items():
            if (number := self._ids.get(token)) is not None:
                total += weight * self._bm25.get_scores_from_ids([number])
        return total


def _section(passage: Passage) -> tuple[str, str]:
    """A document and its outermost heading."""
    return passage.file, passage.heading[0] if passage.heading else ""


def _prose(passage: Passage) -> float:
    """1 for running text, 1 - LINKS for a list of links."""
    targets = sum(len(target) for target in _LINK_TARGET.findall(passage.text))
    return 1 - LINKS * min(1.0, 2 * targets / max(len(passage.text), 1))
