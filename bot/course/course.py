"""The course: a folder of documents, searchable.

Rule of this file: it puts the parts together (load, split, index, search) and holds no rule of its own. A `Course`
never changes; re-indexing builds another one and the owner swaps them, so that a search never sees half an index.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import numpy as np

from bot.course.analysis import Analyzer
from bot.course.citations import Checker
from bot.course.evidence import Signs, weigh
from bot.course.glossary import Glossary
from bot.course.index import Index, Scores
from bot.course.loading import Refusal, course_files
from bot.course.passage import Passage
from bot.course.query import Query, Reader, Weights
from bot.course.quoting import Quoter
from bot.course.shelf import Shelf
from bot.course.topics import Topics

if TYPE_CHECKING:  # langchain takes most of a second to import; only dense vectors and chains need it
    from langchain_core.retrievers import BaseRetriever

    from bot.course.dense import DenseIndex
    from bot.course.meaning import Meaning

SHIPPED = "shipped"  # owner of the first folder's passages; further folders are owners by their name
STEEP = 6  # power that makes fused scores fall about as fast as BM25's


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
        questions: Sequence[tuple[str, str]] = (),
        refusals: Sequence[Refusal] = (),
        weights: Weights | None = None,
        signs: Signs | None = None,
        dense: DenseIndex | None = None,
    ) -> None:
        analyzer = Analyzer()
        glossary = Glossary(analyzer)
        self.index = Index(list(passages), analyzer, glossary, questions)
        self.quoter = Quoter(analyzer, glossary)
        self.checker = Checker(analyzer, glossary)
        self.topics = Topics([question for _, question in questions], analyzer, glossary)
        self.refusals = tuple(refusals)  # files that could not be read, and why
        self._reader = Reader(analyzer, glossary, self.index.vocabulary, weights or Weights())
        self._signs = signs or Signs()
        self.dense = dense

    @classmethod
    def load(
        cls,
        folder: Path,
        *more: Path,
        meaning: Meaning | None = None,
        cache: Path | None = None,
        url: str | None = None,
    ) -> Course:
        """The course of one folder, and of more folders such as what a server added.

        `url` is where people read the first folder's files that do not tell their own address; `cache` keeps parsed
        files by content; with `meaning` passages are found by their vectors too.
        """
        shelf = Shelf(cache)
        parsed = [
            (owner, shelf.parse(path.relative_to(root).as_posix(), path.read_bytes()))
            for owner, root in ((SHIPPED, folder), *((root.name, root) for root in more))
            if root.is_dir()
            for path in course_files(root)
        ]
        passages = [
            replace(passage, url=f"{url.rstrip('/')}/{quote(passage.file)}")
            if url and owner == SHIPPED and not passage.url
            else passage
            for owner, file in parsed
            for passage in file.passages
        ]
        owners = [owner for owner, file in parsed for _ in file.passages]
        return cls(
            passages,
            questions=[question for _, file in parsed for question in file.questions],
            refusals=[refusal for _, file in parsed for refusal in file.refusals],
            dense=meaning.index(passages, owners) if meaning and passages else None,
        )

    @property
    def passages(self) -> tuple[Passage, ...]:
        return self.index.passages

    def page(self, file: str) -> tuple[Passage, ...]:
        """All passages of a file in order; empty when the course has no such file."""
        return tuple(passage for passage in self.passages if passage.file == file)

    def search(self, question: str, k: int = 5) -> list[Passage]:
        """The `k` best passages, best first, each with its score; fewer when fewer speak about the question."""
        return list(self.look_up(question, k).passages)

    def look_up(self, question: str, k: int = 5) -> Findings:
        """The best passages, and whether the course covers the question."""
        query = self._reader.read(question)
        scores = self._scores(query)
        order = np.argsort(-scores, kind="stable")[:k]
        best = tuple(replace(self.passages[i], score=float(scores[i])) for i in order if scores[i] > 0)
        evidence = weigh(query, self.index, self._signs)
        found = bool(best) and evidence >= self._signs.enough
        return Findings(query=query, passages=best, evidence=evidence, found=found)

    def _scores(self, query: Query) -> Scores:
        lexical = self.index.scores(query)
        if self.dense is None or not (close := self.dense.ranking(query.question)):
            return lexical
        from bot.course.dense import DEPTH, fuse

        order = [int(i) for i in np.argsort(-lexical, kind="stable")[:DEPTH] if lexical[i] > 0]
        fused = np.zeros_like(lexical)
        for number, score in fuse((order, 1.0), (close, self.dense.weight)).items():
            fused[number] = score
        # Reciprocal ranks hardly fall; whoever compares scores (quotes) expects them to fall like lexical ones.
        return np.asarray(max(float(lexical.max()), 1.0) * (fused / fused.max()) ** STEEP, dtype=np.float32)

    def near_topics(self, question: str, k: int = 2, *, strict: bool = False) -> tuple[str, ...]:
        """Questions of the pages that are close to this one; when `strict`, only those that share its subject."""
        query = self._reader.read(question)
        return self.topics.nearest(query, k, about=query.subject if strict else None)

    def retriever(self, k: int = 5, *, gate: bool = True) -> BaseRetriever:
        """A langchain retriever over this course."""
        from bot.course.retriever import CourseRetriever

        return CourseRetriever(course=self, k=k, gate=gate)
