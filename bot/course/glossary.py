"""The bilingual glossary of the field: names of concepts and how people ask for them in everyday words.

Rule of this file: it reads `glossary.toml` and finds concepts in text. Names (`terms`) are matched as phrases of
stems, in documents and questions alike. Everyday descriptions (`says`) are matched as bags of words with BM25, in
questions only: a student who has not read the text describes the thing instead of naming it.
"""

from __future__ import annotations

import math
import tomllib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from itertools import groupby, pairwise

from bot.course.analysis import Analyzer

K1, B = 1.2, 0.6  # BM25 over the descriptions, which are short


@dataclass(frozen=True, kw_only=True, slots=True)
class Concept:
    id: str
    terms: tuple[str, ...]  # names in Spanish and English; the first is shown to people
    says: str  # everyday descriptions, questions and words around it; may be empty
    near: tuple[str, ...]  # ids of concepts whose passages also help


class Glossary:
    def __init__(self, analyzer: Analyzer, concepts: Sequence[Concept] | None = None) -> None:
        self._analyzer = analyzer
        self.concepts = {concept.id: concept for concept in (_shipped() if concepts is None else concepts)}
        # Names by their first word. A name with two or more content words is compared without stop words («mezcla
        # expertos» is «mezcla de expertos»); one content word among stop words must stand there to the letter.
        self._loose: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        self._exact: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        names: set[str] = set()
        for concept in self.concepts.values():
            for term in concept.terms:
                names.update(analyzer.words(term))
                self._add_name(analyzer.sequence(term), concept.id)
        described = {word for concept in self.concepts.values() for word in analyzer.words(concept.says)}
        self.vocabulary = names - analyzer.stop  # folded words of names: what a typing error may have meant
        self.everyday = frozenset(analyzer.stem(word) for word in described)  # stems that are spelt correctly
        self.followers: dict[str, set[str]] = defaultdict(set)  # stem → words that follow it in a name
        for concept in self.concepts.values():
            for term in concept.terms:
                words = [word for word in analyzer.words(term) if word not in analyzer.stop]
                for first, second in pairwise(words):
                    self.followers[analyzer.stem(first)].add(second)

    def _add_name(self, sequence: list[str], concept: str) -> None:
        content = tuple(stem for stem in sequence if stem not in self._analyzer.stop)
        if content and (len(content) >= 2 or len(sequence) == 1):
            self._loose[content[0]].append((content, concept))
        elif len(sequence) >= 2:
            self._exact[sequence[0]].append((tuple(sequence), concept))

    def find(self, sequence: Sequence[str]) -> list[tuple[str, frozenset[int]]]:
        """Concepts named in a sequence of stems (stop words included) with the places of their words; where names
        overlap the longest wins, and concepts that share it are all named."""
        stop, loose, exact = self._analyzer.stop, self._loose, self._exact
        content = [place for place, stem in enumerate(sequence) if stem not in stop]
        words = tuple(sequence[place] for place in content)
        hits: list[tuple[int, int, str, frozenset[int]]] = []
        for order, word in enumerate(words):
            for phrase, concept in loose.get(word, ()):
                if words[order : order + len(phrase)] == phrase:
                    places = content[order : order + len(phrase)]
                    hits.append((-len(phrase), places[0], concept, frozenset(places)))
        whole = tuple(sequence)
        for place, word in enumerate(whole):
            for phrase, concept in exact.get(word, ()):
                if whole[place : place + len(phrase)] == phrase:
                    hits.append((-len(phrase), place, concept, frozenset(range(place, place + len(phrase)))))
        kept: list[tuple[int, str, frozenset[int]]] = []
        taken: set[int] = set()
        for size, group in groupby(sorted(hits, key=lambda hit: hit[:2]), key=lambda hit: hit[0]):
            free = [hit for hit in group if not hit[3] & taken]
            kept += [(place, concept, places) for _, place, concept, places in free]
            taken.update(*(places for *_, places in free)) if free and size else None
        return [(concept, places) for _, concept, places in sorted(kept, key=lambda hit: hit[0])]

    def described(self, stems: Sequence[str]) -> tuple[dict[str, float], dict[str, list[str]]]:
        """Concepts whose everyday description meets these stems: id → BM25 score, and id → the stems that met it."""
        scores: dict[str, float] = defaultdict(float)
        met: dict[str, list[str]] = defaultdict(list)
        postings, lengths, mean = self._descriptions
        for stem in set(stems):
            entries = postings.get(stem, {})
            idf = math.log(1 + (len(lengths) - len(entries) + 0.5) / (len(entries) + 0.5))
            for concept, count in entries.items():
                norm = count + K1 * (1 - B + B * lengths[concept] / mean)
                scores[concept] += idf * count * (K1 + 1) / norm
                met[concept].append(stem)
        return dict(scores), met

    def speaks_of(self, concept: str, stem: str) -> bool:
        """Whether the description of a concept holds a stem: that of costs speaks of money."""
        return concept in self._descriptions[0].get(stem, {})

    @cached_property
    def _descriptions(self) -> tuple[dict[str, dict[str, int]], dict[str, int], float]:
        postings: dict[str, dict[str, int]] = defaultdict(dict)
        lengths: dict[str, int] = {}
        for concept in self.concepts.values():
            if not concept.says:
                continue
            counts = Counter(self._analyzer.stems(" ".join((*concept.terms, concept.says))))
            lengths[concept.id] = sum(counts.values())
            for stem, count in counts.items():
                postings[stem][concept.id] = min(count, 2)
        return postings, lengths, sum(lengths.values()) / max(len(lengths), 1)


def _shipped() -> list[Concept]:
    text = resources.files("bot.course").joinpath("glossary.toml").read_text(encoding="utf-8")
    return [
        Concept(
            id=name,
            terms=tuple(term.strip() for term in entry["terms"].split("|")),
            says=entry.get("says", ""),
            near=tuple(entry.get("near", "").split()),
        )
        for name, entry in tomllib.loads(text).items()
    ]
