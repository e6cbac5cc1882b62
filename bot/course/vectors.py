"""Vectors in files: one for each text and model, compared in memory.

Rule of this file: enough for a course of some thousands of passages on one machine, with nothing to install. A file is
written whole or not at all, and a broken one only means that its text is embedded again.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings
from numpy.typing import NDArray

BATCH = 32  # texts a request

Vector = NDArray[np.float32]


class FileVectors:
    """The vectors of one course; a `dense.Store`. Without `cache` they live in memory alone."""

    def __init__(self, texts: Sequence[str], embeddings: Embeddings, *, model: str, cache: Path | None) -> None:
        self._texts = texts
        self._embeddings = embeddings
        self._model = model
        self._cache = cache
        self._vectors: NDArray[np.float32] | None = None  # (passages, dimensions), each of length 1

    def fill(self) -> None:
        found = {text: self._stored(text) for text in dict.fromkeys(self._texts)}
        missing = [text for text, vector in found.items() if vector is None]
        for text, vector in embedded(missing, self._embeddings):
            found[text] = vector
            self._store(text, vector)
        rows = [row for text in self._texts if (row := found[text]) is not None]
        self._vectors = _normal(np.stack(rows)) if rows else None

    def closest(self, question: str, k: int) -> list[int]:
        vector = _normal(np.asarray([self._embeddings.embed_query(question)], dtype=np.float32))[0]
        if self._vectors is None or vector.shape[0] != self._vectors.shape[1]:
            return []
        return [int(number) for number in np.argsort(-(self._vectors @ vector), kind="stable")[:k]]

    def prune(self) -> None:
        """Files of old texts stay: another server's course may hold the same text."""

    def _path(self, text: str) -> Path | None:
        key = hashlib.sha256(f"{self._model}\0{text}".encode()).hexdigest()
        return self._cache / f"{key}.npy" if self._cache else None

    def _stored(self, text: str) -> Vector | None:
        path = self._path(text)
        try:
            return np.asarray(np.load(path), dtype=np.float32) if path and path.exists() else None
        except (OSError, ValueError, EOFError):
            return None

    def _store(self, text: str, vector: Vector) -> None:
        if path := self._path(text):
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_suffix(f".{os.getpid()}.npy")
            np.save(partial, vector)
            partial.replace(path)


def embedded(texts: Sequence[str], embeddings: Embeddings) -> Iterator[tuple[str, Vector]]:
    """Each text with its vector, in requests of `BATCH` texts."""
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        for text, vector in zip(batch, embeddings.embed_documents(batch), strict=True):
            yield text, np.asarray(vector, dtype=np.float32)


def _normal(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(lengths, 1e-9), dtype=np.float32)
