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
        self._phrases: dict[str, list[tuple[tuple[str, ...], str]]] = defaultdict(list)
        self.vocabulary: set[str] = set()  # folded words of names, for the correction of typing errors
        for concept in self.concepts.values():
            for term in concept.terms:
                self.vocabulary.update(word for word in analyzer.words(term) if word not in analyzer.stop)
                if phrase := tuple(analyzer.stems(term)):
                    self._phrases[phrase[0]].append((phrase, concept.id))
        for phrases in self._phrases.values():
            phrases.sort(key=lambda entry: -len(entry[0]))

    def find(self, stems: Sequence[str]) -> list[tuple[str, int, int]]:
        """Concepts named in a sequence of stems: (id, start, end); at each place the longest name wins."""
        found: list[tuple[str, int, int]] = []
        covered = 0
        for start, stem in enumerate(stems):
            longest = 0
            for phrase, concept in self._phrases.get(stem, ()):
                size = len(phrase)
                if size >= longest and tuple(stems[start : start + size]) == phrase and start + size > covered:
                    longest = size
                    found.append((concept, start, start + size))
            covered = max(covered, start + longest)
        return found

    def described(self, stems: Sequence[str]) -> dict[str, float]:
        """Concepts whose everyday description meets these stems: id → BM25 score."""
        scores: dict[str, float] = defaultdict(float)
        postings, lengths, mean = self._descriptions
        for stem in set(stems):
            entries = postings.get(stem, {})
            idf = math.log(1 + (len(lengths) - len(entries) + 0.5) / (len(entries) + 0.5))
            for concept, count in entries.items():
                norm = count + K1 * (1 - B + B * lengths[concept] / mean)
                scores[concept] += idf * count * (K1 + 1) / norm
        return dict(scores)

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
