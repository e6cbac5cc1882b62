"""A question, understood: which tokens to look for and how much each counts.

Rule of this file: everything about the question is decided here, before any passage is scored. Typing errors are
corrected against the words of the course and of the glossary, never against the question's own English or slang when
those are known words, nor words of the Spanish dictionary: «legalizar» is no misspelt «lematizar».
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

from rapidfuzz import process
from rapidfuzz.distance import OSA
from spellchecker import SpellChecker

from bot.course.aims import Aim, aims_of
from bot.course.analysis import Analyzer, fold
from bot.course.glossary import Glossary

CONCEPT = "§"  # prefix of concept tokens in the index
SURE = 5  # letters from which on a corrected word is taken for what it was corrected to
ASKING = (
    "hace hacer funciona sirve significa existe elijo elegir uso usar usa dice explica tarda tardar dura does work use"
)
PLAIN = "w-"  # prefix of the ids that only hold a plain word and its synonyms


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """How much each kind of token counts; found on questions of the shipped course (docs/curso.md)."""

    word: float = 1.0
    light: float = 0.7  # everyday words
    typo: float = 0.8  # times closeness
    named: float = 1.3  # a concept that the question names
    bridge: float = 0.4  # a plain word with its synonyms (ids that start with w-)
    described: float = 1.4  # a concept that the question only describes; times its share of the best score
    near: float = 0.35
    concepts: int = 5  # how many described concepts at most
    enough: float = 7.0  # score of a description that counts in full
    sharp: float = 2.0  # how fast a weaker description loses weight
    lone: float = 0.5  # what a description counts that meets a single everyday word


@dataclass(frozen=True, kw_only=True, slots=True)
class Query:
    question: str
    tokens: dict[str, float]  # stems and concept tokens → weight
    named: tuple[str, ...]  # concept ids whose name the question says
    weak: frozenset[str]  # those of them named by a single word that everyday life uses too
    plain: int  # plain words of the field that it says, everyday ones not counted
    described: dict[str, float]  # concept ids that the question only describes → score of the description
    lone: frozenset[str]  # those of them whose description meets a single everyday word of the question
    familiar: tuple[str, ...]  # other content stems that the course uses
    foreign: tuple[str, ...]  # words of other subjects
    unknown: tuple[str, ...]  # words that neither the course, nor the glossary, nor the word lists know
    bare: bool  # it names a concept and says nothing else: «¿qué es una época?»
    aims: frozenset[Aim]  # what it is after, apart from its subject

    @property
    def defines(self) -> bool:
        return Aim.DEFINITION in self.aims

    @property
    def subject(self) -> frozenset[str]:
        """Its tokens that belong to the field; empty when it is about anything else."""
        if self.aims - {Aim.DEFINITION, Aim.PRICE}:
            return frozenset()
        field = {name for name in self.named if not name.startswith(PLAIN)}
        if self.foreign or self.unknown:
            return frozenset(CONCEPT + name for name in field - self.weak)
        return frozenset(self.familiar) | {CONCEPT + name for name in field | (self.described.keys() - self.lone)}


class Reader:
    """Turns questions into queries for one index."""

    def __init__(self, analyzer: Analyzer, glossary: Glossary, vocabulary: Iterable[str], weights: Weights) -> None:
        self._analyzer = analyzer
        self._glossary = glossary
        self._weights = weights
        words = {word for word in vocabulary if len(word) >= 4 and not word.isdigit()}
        self._words = set(vocabulary) | glossary.vocabulary
        self._by_sound: dict[str, dict[str, str]] = defaultdict(dict)  # by the first sound: word → how it sounds
        for word in sorted(words | {word for word in glossary.vocabulary if len(word) >= 4}):
            sound = _sound(word)
            self._by_sound[sound[0]][word] = sound
        self._asking = frozenset(analyzer.stems(ASKING))
        self._everyday = analyzer.double | analyzer.light
        self._known_stems = {analyzer.stem(word) for word in self._words}
        self._stem_by_sound = {_sound(stem): stem for stem in sorted(self._known_stems) if len(stem) >= 4}

    def read(self, question: str) -> Query:
        weights, analyzer = self._weights, self._analyzer
        sequence: list[str] = []
        tokens: dict[str, float] = {}
        foreign: set[int] = set()
        guessed: set[int] = set()  # places of short words that were corrected: they may have meant something else
        kinds: dict[str, list[str]] = {"familiar": [], "foreign": [], "unknown": []}
        words = analyzer.words(question)
        for word in words:
            if word in analyzer.stop:
                sequence.append(word)
                continue
            stem, close = self._resolve(word, sequence)
            if close < 1 and len(word) < SURE:
                guessed.add(len(sequence))
            sequence.append(stem)
            weight = weights.light if stem in analyzer.light else weights.word
            tokens[stem] = max(tokens.get(stem, 0.0), weight * (close if close == 1 else weights.typo * close))
            if analyzer.is_foreign(word):
                foreign.add(len(sequence) - 1)
            if close == 1 and (kind := self._kind(word, stem)):
                kinds[kind].append(stem)
        found = self._glossary.find(sequence)
        named = tuple(dict.fromkeys(concept for concept, _ in found))
        weak = self._weak(found, sequence, guessed)
        clear = (places for concept, places in found if not concept.startswith(PLAIN) and concept not in weak)
        used = frozenset[int]().union(*clear)
        spent = used | guessed | foreign
        rest = [stem for place, stem in enumerate(sequence) if place not in spent and stem not in analyzer.stop]
        in_names = {sequence[place] for _, places in found for place in places}
        described, lone = self._described(rest, named)
        bare = bool(named) and self._asking.union(in_names).issuperset(tokens)
        self._add_concepts(tokens, named, described, lone)
        left = {
            kind: tuple(dict.fromkeys(stem for stem in stems if stem not in in_names)) for kind, stems in kinds.items()
        }
        return Query(
            question=question,
            tokens=tokens,
            named=named,
            weak=weak,
            plain=len(self._plain_words(found, sequence)),
            described=described,
            lone=lone,
            familiar=left["familiar"],
            foreign=tuple(
                stem for stem in left["foreign"] if not any(self._glossary.speaks_of(name, stem) for name in named)
            ),
            unknown=left["unknown"],
            bare=bare,
            aims=aims_of(words, analyzer.stop),
        )

    def _weak(self, found: list[tuple[str, frozenset[int]]], sequence: list[str], guessed: set[int]) -> frozenset[str]:
        """Two everyday words may make a name of the field («entrenar un modelo»); one alone says little."""
        weak = set()
        for concept, places in found:
            content = [place for place in places if sequence[place] not in self._analyzer.stop]
            if all(
                place in guessed or (len(content) == 1 and sequence[place] in self._analyzer.double)
                for place in content
            ):
                weak.add(concept)
        return frozenset(weak)

    def _plain_words(self, found: list[tuple[str, frozenset[int]]], sequence: list[str]) -> set[str]:
        stems = {sequence[place] for concept, places in found if concept.startswith(PLAIN) for place in places}
        return stems - self._analyzer.light - self._analyzer.stop

    def _kind(self, word: str, stem: str) -> str | None:
        """What a content word says about the subject of the question; None: nothing, as numbers and letters do."""
        if word.isdigit() or len(word) == 1:
            return None
        if self._analyzer.is_foreign(word):
            return "foreign"
        if stem in self._analyzer.light:
            return None
        if stem in self._known_stems:
            return "familiar"
        return None if stem in self._glossary.everyday else "unknown"

    def _described(self, stems: list[str], named: tuple[str, ...]) -> tuple[dict[str, float], frozenset[str]]:
        """Described concepts, best first, and those of them that met a single everyday word."""
        scores, met = self._glossary.described(stems)
        best = sorted(scores.items(), key=lambda entry: -entry[1])
        found = dict([entry for entry in best if entry[0] not in named][: self._weights.concepts])
        lone = {concept for concept in found if len(met[concept]) == 1 and self._everyday.issuperset(met[concept])}
        return found, frozenset(lone)

    def _add_concepts(
        self, tokens: dict[str, float], named: tuple[str, ...], described: dict[str, float], lone: frozenset[str]
    ) -> None:
        weights = self._weights
        top = max(described.values(), default=0.0)
        for concept in named:
            tokens[CONCEPT + concept] = weights.bridge if concept.startswith(PLAIN) else weights.named
            for near in self._glossary.concepts[concept].near:
                tokens.setdefault(CONCEPT + near, weights.near)
        for concept, score in described.items():
            weight = weights.described * (score / max(top, weights.enough)) ** weights.sharp
            weight *= weights.lone if concept in lone else 1
            tokens[CONCEPT + concept] = max(tokens.get(CONCEPT + concept, 0.0), weight)

    def _is_known(self, word: str, stem: str) -> bool:
        analyzer = self._analyzer
        ordinary = stem in analyzer.light or analyzer.is_foreign(word) or stem in self._glossary.everyday
        return ordinary or word in self._words or stem in self._known_stems

    def _resolve(self, word: str, before: list[str]) -> tuple[str, float]:
        """The stem of a word, corrected when nobody knows the word, and how close the correction is (1: none)."""
        stem = self._analyzer.stem(word)
        if self._is_known(word, stem) or word in _dictionary():
            return stem, 1.0
        if same := self._stem_by_sound.get(_sound(stem)):  # «fucionan» sounds like a form of «fusionar»
            return same, 1 - 0.5 / (len(word) + 1)
        if corrected := self._correct(word, before):
            return self._analyzer.stem(corrected[0]), corrected[1]
        return stem, 1.0

    def _correct(self, word: str, before: list[str]) -> tuple[str, float] | None:
        """The closest known word and how close it is (0–1), or None.

        Errors seldom hit the first sound of a word. Three letters are too few to guess from, unless a name of the
        glossary continues in this way: «ajuste fno».
        """
        if any(char.isdigit() for char in word) or len(word) < 3:
            return None
        if before and (next_words := self._glossary.followers.get(before[-1])):
            near = process.extractOne(word, sorted(next_words), scorer=OSA.distance, score_cutoff=1 + (len(word) > 5))
            if near:
                return near[0], 1 - near[1] / (2 * len(word))
        if len(word) < 4:
            return None
        allowed = 0 if len(word) == 4 else 1 if len(word) <= 6 else 2 if len(word) <= 11 else 3
        sound = _sound(word)
        heard = self._by_sound.get(sound[0], {})
        found = process.extract(sound, heard, scorer=OSA.distance, score_cutoff=allowed, limit=8)
        if not found:
            return None
        # Among equally close sounds, the spelling decides.
        _, distance, best = min(found, key=lambda hit: (hit[1], OSA.distance(word, hit[2]), hit[2]))
        return best, 1 - (distance + 0.5) / (len(word) + 1)


@cache
def _dictionary() -> frozenset[str]:
    """Folded Spanish words, the shortest left out."""
    words = SpellChecker(language="es").word_frequency.keys()
    return frozenset(fold(word) for word in words if len(word) > 3)


_SOUNDS = (
    *(("qu", "k"), ("ce", "se"), ("ci", "si"), ("ge", "je"), ("gi", "ji"), ("ll", "y"), ("h", "")),
    *(("nb", "mb"), ("nv", "mb"), ("np", "mp"), ("ing", "in")),  # «enbeding», «finetunin»
)
_SAME = str.maketrans({"v": "b", "c": "k", "q": "k", "z": "s", "x": "s", "w": "b"})


def _sound(word: str) -> str:
    """A rough key of how a folded Spanish word sounds: b = v, c = k = qu, s = z = c before e and i, ll = y, mute h."""
    for written, heard in _SOUNDS:
        word = word.replace(written, heard)
    return word.translate(_SAME) or "h"
