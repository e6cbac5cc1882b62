"""Dense vectors, when somebody configures an embedding address: passages close in meaning, not in words.

Rule of this file: vectors come from any langchain `Embeddings`; they are normalised, kept on disk by content and model,
and fused with the lexical ranking by reciprocal rank (RRF), which needs no common scale. An embedding service that
does not answer takes nothing away: the lexical ranking stands.
"""

from __future__ import annotations

import hashlib
import logging
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

log = logging.getLogger(__name__)

RRF = 60  # the constant of Cormack, Clarke and Büttcher (2009)
DEPTH = 50  # ranks of each list that count
BATCH = 64  # texts a request

Matrix = NDArray[np.float32]


class DenseIndex:
    """Vectors of the passages, in their order; `usable` is False when the service could not give them."""

    def __init__(
        self, texts: Sequence[str], embeddings: Embeddings, *, model: str = "", cache: Path | None = None
    ) -> None:
        self._embeddings = embeddings
        self._cache = cache
        self._model = model
        self._vectors: Matrix | None = None
        try:
            self._vectors = self._embed(texts) if texts else None
        except Exception as error:  # an HTTP client of a foreign service raises many things
            log.warning("no dense vectors for the course: %s", type(error).__name__)

    @property
    def usable(self) -> bool:
        return self._vectors is not None

    def ranking(self, question: str) -> list[int]:
        """Numbers of the closest passages, best first; empty when the service does not answer."""
        if self._vectors is None:
            return []
        try:
            vector = _normal(np.asarray([self._embeddings.embed_query(question)], dtype=np.float32))[0]
        except Exception as error:
            log.warning("the embedding service did not answer: %s", type(error).__name__)
            return []
        if vector.shape[0] != self._vectors.shape[1]:
            return []
        return [int(number) for number in np.argsort(-(self._vectors @ vector), kind="stable")[:DEPTH]]

    def _embed(self, texts: Sequence[str]) -> Matrix:
        found = {text: self._stored(text) for text in dict.fromkeys(texts)}
        missing = [text for text, vector in found.items() if vector is None]
        for start in range(0, len(missing), BATCH):
            batch = missing[start : start + BATCH]
            for text, vector in zip(batch, self._embeddings.embed_documents(batch), strict=True):
                found[text] = np.asarray(vector, dtype=np.float32)
                self._store(text, found[text])
        return _normal(np.stack([found[text] for text in texts if found[text] is not None]))  # type: ignore[misc]

    def _path(self, text: str) -> Path | None:
        key = hashlib.sha256(f"{self._model}\0{text}".encode()).hexdigest()
        return self._cache / f"{key}.npy" if self._cache else None

    def _stored(self, text: str) -> NDArray[np.float32] | None:
        path = self._path(text)
        try:
            return np.asarray(np.load(path), dtype=np.float32) if path and path.exists() else None
        except (OSError, ValueError):
            return None

    def _store(self, text: str, vector: NDArray[np.float32] | None) -> None:
        if (path := self._path(text)) and vector is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.npy")
            np.save(partial, vector)
            partial.replace(path)


def fuse(*rankings: Sequence[int]) -> dict[int, float]:
    """Reciprocal rank fusion: number → score."""
    scores: dict[int, float] = {}
    for ranking in rankings:
        for rank, number in enumerate(ranking[:DEPTH], 1):
            scores[number] = scores.get(number, 0.0) + 1 / (RRF + rank)
    return scores


def _normal(vectors: Matrix) -> Matrix:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float32)
