"""The lexical index: which passages speak about a query.

Rule of this file: it scores, and knows nothing of evidence, answers or files. Each passage is one bag of tokens (stems
of its text, stems of its headings and title counted several times, concept tokens), scored with BM25 (bm25s); a
passage also gets a share of the score of its section, because a good section makes its passages better.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Sequence

import bm25s
import numpy as np
from numpy.typing import NDArray

from bot.course.analysis import Analyzer
from bot.course.glossary import Glossary
from bot.course.passage import Passage
from bot.course.query import CONCEPT, Query

HEADING = 3  # how often a heading's word counts
TITLE = 1
CONCEPT_IN_HEADING = 3
K1, B = 1.2, 0.7

_HEADING_LINE = re.compile(r"^(?:#{1,6}\s+(.+)|\*\*([^*\n]{3,80})\*\*:?\s*)$", re.MULTILINE)

Scores = NDArray[np.float32]


class Index:
    def __init__(self, passages: Sequence[Passage], analyzer: Analyzer, glossary: Glossary) -> None:
        self.passages = tuple(passages)
        self._analyzer = analyzer
        self._glossary = glossary
        self.vocabulary: set[str] = set()  # folded words of the texts
        bags = [self._bag(passage) for passage in self.passages]
        self._bm25 = bm25s.BM25(k1=K1, b=B)
        if bags:
            self._bm25.index(bags, show_progress=False, create_empty_token=False)
        self._ids: dict[str, int] = dict(self._bm25.vocab_dict) if bags else {}
        self.frequency = {token: self._frequency(number) for token, number in self._ids.items()}

    def _bag(self, passage: Passage) -> list[str]:
        words = [word for word in self._analyzer.words(passage.plain) if word not in self._analyzer.stop]
        self.vocabulary.update(words)
        bag = [self._analyzer.stem(word) for word in words]
        concepts = [CONCEPT + concept for concept, _, _ in self._glossary.find(bag)]
        inner = [first or second for first, second in _HEADING_LINE.findall(passage.text)]
        heading = self._analyzer.stems(" . ".join((*passage.heading, *inner)))
        title = self._analyzer.stems(passage.title)
        headed = [CONCEPT + concept for concept, _, _ in self._glossary.find(heading)] * CONCEPT_IN_HEADING
        return bag + concepts + heading * HEADING + headed + title * TITLE

    def _frequency(self, number: int) -> int:
        pointers = self._bm25.scores["indptr"]
        return int(pointers[number + 1] - pointers[number])

    def scores(self, query: Query) -> Scores:
        """One score a passage; 0 where nothing of the query occurs."""
        total = np.zeros(len(self.passages), dtype=np.float32)
        for token, weight in query.tokens.items():
            if (number := self._ids.get(token)) is not None:
                total += weight * self._bm25.get_scores_from_ids([number])
        return total

    def sections(self) -> dict[tuple[str, str], list[int]]:
        """Passages by file and outermost heading."""
        groups: dict[tuple[str, str], list[int]] = defaultdict(list)
        for number, passage in enumerate(self.passages):
            groups[passage.file, passage.heading[0] if passage.heading else ""].append(number)
        return dict(groups)
