"""The course: a folder of documents, searchable.

Rule of this file: it puts the parts together (load, split, index, search) and holds no rule of its own. A `Course`
never changes; re-indexing builds another one and the owner swaps them, so that a search never sees half an index.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bot.course.analysis import Analyzer
from bot.course.evidence import Signs, weigh
from bot.course.glossary import Glossary
from bot.course.index import Index
from bot.course.loading import Refusal, course_files, read
from bot.course.passage import Document, Passage
from bot.course.query import Query, Reader, Weights
from bot.course.quoting import Quoter
from bot.course.splitting import Splitter
from bot.course.topics import Topics


@dataclass(frozen=True, kw_only=True, slots=True)
class Findings:
    """What a search found, and whether it is enough to answer."""

    query: Query
    passages: tuple[Passage, ...]  # best first
    evidence: float  # signs that the course covers the question, less those against
    found: bool  # the course covers the question


class Course:
    """Passages and their index; safe to share between threads."""

    def __init__(
        self,
        passages: Iterable[Passage],
        *,
        topics: Sequence[str] = (),
        refusals: Sequence[Refusal] = (),
        weights: Weights | None = None,
        signs: Signs | None = None,
    ) -> None:
        analyzer = Analyzer()
        self._glossary = Glossary(analyzer)
        self.index = Index(list(passages), analyzer, self._glossary)
        self._reader = Reader(analyzer, self._glossary, self.index.vocabulary, weights or Weights())
        self._signs = signs or Signs()
        self.quoter = Quoter(analyzer, self._glossary)
        self.topics = tuple(dict.fromkeys(topics))  # questions that the pages say they answer
        self._topics = Topics(self.topics, analyzer, self._glossary)
        self.refusals = tuple(refusals)  # files that could not be read, and why

    @classmethod
    def load(cls, folder: Path, *more: Path) -> Course:
        """The course of one folder (and of more folders, such as what a server added)."""
        splitter = Splitter()
        passages: list[Passage] = []
        topics: list[str] = []
        refusals: list[Refusal] = []
        for root in (folder, *more):
            for path in course_files(root) if root.is_dir() else []:
                for document in read(path.relative_to(root).as_posix(), path.read_bytes()):
                    if isinstance(document, Document):
                        passages += splitter.split(document)
                        topics += splitter.questions(document)
                    else:
                        refusals.append(document)
        return cls(passages, topics=topics, refusals=refusals)

    @property
    def passages(self) -> tuple[Passage, ...]:
        return self.index.passages

    def search(self, question: str, k: int = 5) -> list[Passage]:
        """The `k` best passages, best first, each with its score; fewer when fewer speak about the question."""
        return list(self.look_up(question, k).passages)

    def look_up(self, question: str, k: int = 5) -> Findings:
        query = self._reader.read(question)
        scores = self.index.scores(query)
        order = np.argsort(-scores, kind="stable")[:k]
        best = tuple(replace(self.passages[i], score=float(scores[i])) for i in order if scores[i] > 0)
        evidence = weigh(query, self.index, self._signs)
        return Findings(
            query=query, passages=best, evidence=evidence, found=bool(best) and evidence >= self._signs.enough
        )

    def near_topics(self, question: str, k: int = 2) -> tuple[str, ...]:
        """Questions of the pages that are close to this one; the first of the course when none is."""
        return self._topics.nearest(self._reader.read(question), k)
