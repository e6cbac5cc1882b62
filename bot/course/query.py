"""A question, understood: which tokens to look for and how much each counts.

Rule of this file: everything about the question is decided here, before any passage is scored. Typing errors are
corrected against the words of the course and of the glossary, never against the question's own English or slang when
those are known words.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from rapidfuzz import process
from rapidfuzz.distance import OSA

from bot.course.analysis import Analyzer
from bot.course.glossary import Glossary

CONCEPT = "§"  # prefix of concept tokens in the index


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """How much each kind of token counts; found on questions of the shipped course (docs/curso.md)."""

    word: float = 1.0
    light: float = 0.3  # everyday words
    typo: float = 0.8  # times closeness
    named: float = 1.0  # a concept that the question names
    described: float = 1.0  # a concept that the question only describes; times its share of the best score
    near: float = 0.25
    concepts: int = 4  # how many described concepts at most


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    question: str
    tokens: dict[str, float]  # stems and concept tokens → weight
    known: tuple[str, ...]  # content stems that the course or the glossary knows
    unknown: tuple[str, ...]  # content stems that neither knows
    named: tuple[str, ...]  # concept ids, in order
    described: dict[str, float] = field(default_factory=dict)  # concept id → score


class Reader:
    """Turns questions into queries for one index."""

    def __init__(self, analyzer: Analyzer, glossary: Glossary, vocabulary: Iterable[str], weights: Weights) -> None:
        self._analyzer = analyzer
        self._glossary = glossary
        self._weights = weights
        words = {word for word in vocabulary if len(word) >= 4 and not word.isdigit()}
        self._words = set(vocabulary) | glossary.vocabulary
        self._candidates = sorted(words | {word for word in glossary.vocabulary if len(word) >= 4})
        self._known_stems = {analyzer.stem(word) for word in self._words}

    def read(self, question: str) -> Query:
        weights = self._weights
        stems: list[str] = []
        tokens: dict[str, float] = {}
        known: list[str] = []
        unknown: list[str] = []
        for word in self._analyzer.words(question):
            if word in self._analyzer.stop:
                continue
            stem, close = self._resolve(word)
            stems.append(stem)
            weight = weights.light if stem in self._analyzer.light else weights.word
            tokens[stem] = max(tokens.get(stem, 0.0), weight * (close if close == 1 else weights.typo * close))
            (known if stem in self._known_stems else unknown).append(stem)
        named = tuple(dict.fromkeys(concept for concept, _, _ in self._glossary.find(stems)))
        described = self._described(stems, named)
        self._add_concepts(tokens, named, described)
        return Query(
            question=question,
            tokens=tokens,
            known=tuple(dict.fromkeys(known)),
            unknown=tuple(dict.fromkeys(unknown)),
            named=named,
            described=described,
        )

    def _described(self, stems: list[str], named: tuple[str, ...]) -> dict[str, float]:
        scores = self._glossary.described(stems)
        best = sorted(scores.items(), key=lambda entry: -entry[1])
        return dict([entry for entry in best if entry[0] not in named][: self._weights.concepts])

    def _add_concepts(self, tokens: dict[str, float], named: tuple[str, ...], described: dict[str, float]) -> None:
        weights = self._weights
        top = max(described.values(), default=0.0)
        for concept in named:
            tokens[CONCEPT + concept] = weights.named
            for near in self._glossary.concepts[concept].near:
                tokens.setdefault(CONCEPT + near, weights.near)
        for concept, score in described.items():
            weight = weights.described * (score / max(top, 6.0)) ** 2
            tokens[CONCEPT + concept] = max(tokens.get(CONCEPT + concept, 0.0), weight)

    def _is_known(self, word: str, stem: str) -> bool:
        analyzer = self._analyzer
        return word in self._words or stem in self._known_stems or stem in analyzer.light or stem in analyzer.foreign

    def _resolve(self, word: str) -> tuple[str, float]:
        """The stem of a word, corrected when nobody knows the word, and how close the correction is (1: none)."""
        stem = self._analyzer.stem(word)
        if not self._is_known(word, stem) and (corrected := self._correct(word)):
            return self._analyzer.stem(corrected[0]), corrected[1]
        return stem, 1.0

    def _correct(self, word: str) -> tuple[str, float] | None:
        """The closest known word and how close it is (0–1), or None; short words are left alone."""
        if len(word) < 4 or any(char.isdigit() for char in word):
            return None
        allowed = 1 if len(word) <= 5 else 2 if len(word) <= 9 else 3
        found = process.extractOne(word, self._candidates, scorer=OSA.distance, score_cutoff=allowed)
        return (found[0], 1 - found[1] / len(word)) if found else None
