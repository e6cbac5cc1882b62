"""Parsed documents on disk: a file is read once, and again only when its bytes change.

Rule of this file: entries are named by the hash of the content, written whole or not at all, and never trusted to be
there: a missing or broken entry only means that the file is read again.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import msgspec

from bot.course.loading import Refusal, read
from bot.course.passage import Document, Passage
from bot.course.splitting import Splitter

FORMAT = 4  # raise it when loading or splitting changes what they produce


class Parsed(msgspec.Struct, frozen=True, kw_only=True):
    """What one file contributes to a course."""

    passages: list[Passage]
    questions: list[tuple[str, str]]  # document, question that it says it answers
    refusals: list[Refusal]


class Shelf:
    def __init__(self, cache: Path | None = None) -> None:
        self._cache = cache
        self._splitter = Splitter()

    def parse(self, file: str, content: bytes) -> Parsed:
        """The passages of one file, from the cache when its content was seen before under this name."""
        entry = self._entry(file, content)
        if entry and (stored := self._stored(entry)):
            return stored
        passages: list[Passage] = []
        questions: list[tuple[str, str]] = []
        refusals: list[Refusal] = []
        for document in read(file, content):
            if isinstance(document, Document):
                found, asked = self._splitter.read(document)
                passages += found
                questions += [(document.file, question) for question in asked]
            else:
                refusals.append(document)
        parsed = Parsed(passages=passages, questions=questions, refusals=refusals)
        if entry:
            entry.parent.mkdir(parents=True, exist_ok=True)
            partial = entry.with_suffix(f".{os.getpid()}.tmp")
            partial.write_bytes(msgspec.msgpack.encode(parsed))
            partial.replace(entry)
        return parsed

    def _entry(self, file: str, content: bytes) -> Path | None:
        key = hashlib.sha256(b"%d\0%s\0%s" % (FORMAT, file.encode(), content)).hexdigest()
        return self._cache / f"{key}.msgpack" if self._cache else None

    @staticmethod
    def _stored(entry: Path) -> Parsed | None:
        try:
            return msgspec.msgpack.decode(entry.read_bytes(), type=Parsed)
        except (OSError, msgspec.MsgspecError):
            return None
