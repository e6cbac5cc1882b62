"""Vectors in Qdrant, in a folder of this machine or on a server, through langchain-qdrant.

Rule of this file: one collection for each embedding model; a point is one text of one owner (the shipped course, or a
server's own documents), and its id comes from both. A search asks for the owners of one course only, and what it finds
counts only when the course that searches holds it: a course that is being replaced sees neither half of the change.
"""

from __future__ import annotations

import hashlib
import threading
import uuid
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from langchain_core.embeddings import Embeddings

from bot.course.vectors import BATCH, embedded

if TYPE_CHECKING:
    from langchain_qdrant import QdrantVectorStore

OWNER = "metadata.owner"  # where langchain-qdrant puts it in a point's payload
TIMEOUT = 5  # seconds for a request to a server


class Collection:
    """The points of one embedding model; one object for the whole process, safe to share between threads."""

    def __init__(self, place: str, embeddings: Embeddings, *, model: str, key: str | None = None) -> None:
        """`place`: `http(s)://…` of a server, else a folder, which only one process can use at a time."""
        self.embeddings = embeddings
        self._place = place
        self._model = model
        self._key = key
        self._store: QdrantVectorStore | None = None
        self._client: Any = None
        self._lock = threading.Lock()  # the embedded Qdrant is not made for several threads

    def add(self, entries: dict[str, tuple[str, str]]) -> None:
        """Embed and keep those of `entries` (id → owner, text) that are not there."""
        store = self._opened()
        ids = list(entries)
        with self._lock:
            there = {str(found) for part in _parts(ids) for found in self._known(store, part)}
        missing = [point for point in ids if point not in there]
        for part in _parts(missing):
            made = dict(embedded([entries[point][1] for point in part], self.embeddings))
            texts = [entries[point][1] for point in part]
            owners = [{"owner": entries[point][0]} for point in part]
            with self._lock:  # embedding is slow and needs no lock; what was made is handed over
                store._embeddings = _Made({text: [float(x) for x in vector] for text, vector in made.items()})
                store.add_texts(texts, metadatas=owners, ids=part)

    def closest(self, question: str, owners: Sequence[str], k: int) -> list[str]:
        """Ids of the closest points of these owners, best first."""
        store = self._opened()
        vector = self.embeddings.embed_query(question)
        with self._lock:
            found = store.similarity_search_with_score_by_vector(vector, k=k, filter=_owned_by(owners))
        return [_id(document.metadata["_id"]) for document, _ in found]

    def keep(self, owner: str, ids: set[str]) -> None:
        """Forget the points of an owner that are not among `ids`."""
        store = self._opened()
        old: list[str] = []
        offset: Any = None
        with self._lock:
            while True:
                points, offset = self._client.scroll(
                    store.collection_name,
                    scroll_filter=_owned_by([owner]),
                    limit=1000,
                    offset=offset,
                    with_payload=False,
                )
                old += [str(point.id) for point in points if _id(str(point.id)) not in ids]
                if offset is None:
                    break
            for part in _parts(old):
                store.delete(list(part))

    def close(self) -> None:
        with self._lock:
            if self._client is not None:
                self._client.close()
            self._client = self._store = None

    def _known(self, store: QdrantVectorStore, ids: Sequence[str]) -> list[str]:
        found = self._client.retrieve(store.collection_name, ids=list(ids), with_payload=False)
        return [_id(str(point.id)) for point in found]

    def _opened(self) -> QdrantVectorStore:
        with self._lock:
            if self._store is not None:
                return self._store
        size = len(self.embeddings.embed_query("Afina"))  # the collection is made for vectors of this length
        with self._lock:
            if self._store is None:
                self._store = self._open(size)
            return self._store

    def _open(self, size: int) -> QdrantVectorStore:
        from langchain_qdrant import QdrantVectorStore
        from qdrant_client import QdrantClient
        from qdrant_client.models import Distance, VectorParams

        if self._client is None:
            if self._place.startswith(("http://", "https://")):
                self._client = QdrantClient(
                    url=self._place, api_key=self._key, timeout=TIMEOUT, check_compatibility=False
                )
            else:
                folder = Path(self._place)
                folder.mkdir(parents=True, exist_ok=True)
                self._client = QdrantClient(path=str(folder), force_disable_check_same_thread=True)
        name = f"afina-{hashlib.sha256(f'{self._model}/{size}'.encode()).hexdigest()[:16]}"
        if not self._client.collection_exists(name):
            self._client.create_collection(name, vectors_config=VectorParams(size=size, distance=Distance.COSINE))
        return QdrantVectorStore(self._client, name, self.embeddings, validate_collection_config=False)


class QdrantVectors:
    """The vectors of one course; a `dense.Store`."""

    def __init__(self, texts: Sequence[str], owners: Sequence[str], collection: Collection) -> None:
        """`owners`: for each text, whose it is."""
        self._collection = collection
        self._entries = {_point(owner, text): (owner, text) for owner, text in zip(owners, texts, strict=True)}
        self._numbers: dict[str, list[int]] = {}
        for number, (owner, text) in enumerate(zip(owners, texts, strict=True)):
            self._numbers.setdefault(_point(owner, text), []).append(number)
        self._owners = tuple(dict.fromkeys(owners))

    def fill(self) -> None:
        self._collection.add(self._entries)

    def closest(self, question: str, k: int) -> list[int]:
        points = self._collection.closest(question, self._owners, k)
        return [number for point in points for number in self._numbers.get(point, ())]

    def prune(self) -> None:
        for owner in self._owners:
            self._collection.keep(owner, {point for point, (whose, _) in self._entries.items() if whose == owner})


class _Made(Embeddings):
    """Vectors that are there already: langchain-qdrant embeds what it adds."""

    def __init__(self, vectors: dict[str, list[float]]) -> None:
        self._vectors = vectors

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self._vectors[text] for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return self._vectors[text]


def _owned_by(owners: Iterable[str]) -> Any:
    from qdrant_client.models import FieldCondition, Filter, MatchAny

    return Filter(must=[FieldCondition(key=OWNER, match=MatchAny(any=list(owners)))])


def _point(owner: str, text: str) -> str:
    """A UUID, as Qdrant wants ids to be."""
    return str(uuid.UUID(hashlib.sha256(f"{owner}\0{text}".encode()).hexdigest()[:32]))


def _id(found: str) -> str:
    return str(uuid.UUID(found))


def _parts(ids: Sequence[str]) -> list[list[str]]:
    return [list(ids[start : start + BATCH]) for start in range(0, len(ids), BATCH)]
