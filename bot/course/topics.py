"""The questions that the pages say they answer: suggestions and autocomplete.

Rule of this file: it ranks whole questions, in memory; there are a few hundred at most.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.course.analysis import Analyzer, fold
from bot.course.glossary import Glossary
from bot.course.query import CONCEPT, Query


class Topics:
    def __init__(self, questions: Sequence[str], analyzer: Analyzer, glossary: Glossary) -> None:
        self.questions = tuple(dict.fromkeys(questions))
        self._tokens: list[frozenset[str]] = []
        for question in self.questions:
            named = (CONCEPT + concept for concept, _ in glossary.find(analyzer.sequence(question)))
            self._tokens.append(frozenset((*analyzer.stems(question), *named)))

    def nearest(self, query: Query, k: int, *, about: frozenset[str] | None = None) -> tuple[str, ...]:
        """The `k` closest questions that share something with the query, and one of the tokens `about` when those are
        given; best first, never the question itself."""
        scored = []
        asked = fold(query.question).strip(" ¿?")
        for question, tokens in zip(self.questions, self._tokens, strict=True):
            if about is not None and about.isdisjoint(tokens):
                continue
            score = sum(weight for token, weight in query.tokens.items() if token in tokens) / (4 + len(tokens))
            if score > 0.05 and fold(question).strip(" ¿?") != asked:
                scored.append((score, question))
        scored.sort(key=lambda entry: -entry[0])
        return tuple(question for _, question in scored[:k])

    def complete(self, typed: str, k: int = 25) -> tuple[str, ...]:
        """Questions for an autocomplete: those that contain every typed word (prefixes count), in course order."""
        words = fold(typed).split()
        return tuple(
            question
            for question in self.questions
            if all(any(part.startswith(word) for part in fold(question).strip("¿?").split()) for word in words)
        )[:k]
