"""Search by meaning for all courses of a process: one embedding model, one place for vectors, one outage.

Rule of this file: it chooses the place and hands out indexes; it holds no vectors and knows no settings.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from bot.course.dense import WEIGHT, DenseIndex, Outage, Store
from bot.course.passage import Passage

if TYPE_CHECKING:
    from langchain_core.embeddings import Embeddings

    from bot.course.qdrant import Collection


class Meaning:
    def __init__(
        self,
        embeddings: Embeddings,
        *,
        model: str,
        cache: Path | None = None,
        qdrant: str | None = None,
        qdrant_key: str | None = None,
        weight: float = WEIGHT,
        aside: bool = False,
    ) -> None:
        """`model` names the embedding model where vectors are kept: in Qdrant (`qdrant`: URL or folder), else in files
        under `cache`, else in memory. `weight` of meaning beside words (1). `aside`: nothing waits for vectors."""
        self.outage = Outage()
        self._embeddings = embeddings
        self._model = model
        self._cache = cache
        self._weight = weight
        self._aside = aside
        self._qdrant: Collection | None = None
        if qdrant:
            from bot.course.qdrant import Collection

            self._qdrant = Collection(qdrant, embeddings, model=model, key=qdrant_key)

    def index(self, passages: Sequence[Passage], owners: Sequence[str]) -> DenseIndex:
        """The index of one course; `owners` tells for each passage whose it is."""
        from bot.course.vectors import FileVectors

        texts = [f"{passage.label}\n{passage.plain}" for passage in passages]
        store: Store = FileVectors(texts, self._embeddings, model=self._model, cache=self._cache)
        if self._qdrant is not None:
            from bot.course.qdrant import QdrantVectors

            store = QdrantVectors(texts, owners, self._qdrant)
        return DenseIndex(store, self.outage, weight=self._weight, aside=self._aside)

    def close(self) -> None:
        if self._qdrant is not None:
            self._qdrant.close()
