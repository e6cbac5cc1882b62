"""The course of each server: the one that ships with Afina, plus what its staff added.

Rule of this file: what a server adds stays in that server. Files are written whole or not at all; a search sees the old
course until the new one is complete. A file that cannot be read is refused and not kept.
"""

from __future__ import annotations

import os
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from bot.course.course import Course
from bot.course.loading import Refusal, supported
from bot.course.shelf import Shelf
from bot.errors import BadInput, NotFound

if TYPE_CHECKING:
    from bot.course.meaning import Meaning

MAX_OWN_FILES = 200  # of one server


@dataclass(frozen=True, kw_only=True, slots=True)
class Holding:
    """One file of a server's course."""

    file: str
    title: str
    passages: int
    own: bool  # added by the server; False: ships with Afina


class Library:
    def __init__(self, shipped: Path, data_dir: Path, meaning: Meaning | None = None, url: str | None = None) -> None:
        """`url`: where people read the shipped pages."""
        self._shipped = shipped
        self._own = data_dir / "course"
        self._cache = data_dir / "cache" / "course"
        self.meaning = meaning
        self._url = url
        self._courses: dict[int, Course] = {}
        self._lock = threading.Lock()  # one change at a time; searches need none

    def course(self, guild_id: int | None = None) -> Course:
        """The course of a server; the shipped one where nothing was added (and in direct messages)."""
        key = guild_id if guild_id is not None and self._folder(guild_id).is_dir() else 0
        with self._lock:
            if key not in self._courses:
                self._courses[key] = self._load(key)
            return self._courses[key]

    def reindex(self, guild_id: int) -> Course:
        """Read the files again; unchanged ones come from the cache. Searches go on with the old course meanwhile."""
        key = guild_id if guild_id and self._folder(guild_id).is_dir() else 0
        fresh = self._load(key)
        with self._lock:
            self._courses[key] = fresh
        if fresh.dense is not None:
            fresh.dense.prune()
        return fresh

    def add(self, guild_id: int, name: str, content: bytes) -> Course:
        """Add or replace a document; BadInput when nothing of it can be read."""
        file = safe_name(name)
        parsed = Shelf(self._cache).parse(file, content)
        if not parsed.passages:
            reasons = {refusal.reason for refusal in parsed.refusals}
            raise BadInput(f"No puedo usar «{file}». {' '.join(sorted(reasons)) or 'No tiene texto.'}".strip(), hint="")
        folder = self._folder(guild_id)
        if not (folder / file).exists() and folder.is_dir() and len(list(folder.iterdir())) >= MAX_OWN_FILES:
            raise BadInput(
                f"Este servidor ya tiene {MAX_OWN_FILES} documentos.", hint="Quita alguno con /curso quitar."
            )
        folder.mkdir(parents=True, exist_ok=True)
        partial = folder / f".{os.getpid()}-{threading.get_ident()}.part"
        partial.write_bytes(content)
        partial.replace(folder / file)
        return self.reindex(guild_id)

    def remove(self, guild_id: int, name: str) -> Course:
        """Remove a document that the server added; NotFound when there is none of that name."""
        path = self._folder(guild_id) / safe_name(name)
        if not path.is_file():
            raise NotFound(
                f"Este servidor no ha agregado ningún documento «{name}».", hint="Míralos con /curso fuentes."
            )
        path.unlink()
        return self.reindex(guild_id)

    def holdings(self, guild_id: int | None) -> tuple[Holding, ...]:
        """Files of the server's course, its own first."""
        own = self._own_names(guild_id)
        counts: dict[tuple[bool, str], tuple[str, int]] = {}
        for passage in self.course(guild_id).passages:
            key = (passage.file.split("/")[0] in own, passage.file)
            title, count = counts.get(key, (passage.title, 0))
            counts[key] = (title, count + 1)
        entries = [
            Holding(file=file, title=title, passages=count, own=is_own)
            for (is_own, file), (title, count) in counts.items()
        ]
        return tuple(sorted(entries, key=lambda entry: (not entry.own, entry.file)))

    def refusals(self, guild_id: int | None) -> tuple[Refusal, ...]:
        return self.course(guild_id).refusals

    def _own_names(self, guild_id: int | None) -> frozenset[str]:
        folder = self._folder(guild_id) if guild_id is not None else None
        return frozenset(path.name for path in folder.iterdir()) if folder and folder.is_dir() else frozenset()

    def _folder(self, guild_id: int) -> Path:
        return self._own / str(int(guild_id))

    def _load(self, key: int) -> Course:
        more = (self._folder(key),) if key else ()
        return Course.load(self._shipped, *more, meaning=self.meaning, cache=self._cache, url=self._url)


def safe_name(name: str) -> str:
    """A plain file name from what a person's file is called; BadInput when the type is not one that can be read."""
    base = re.sub(r"[^\w .()-]+", "_", Path(name.replace("\\", "/")).name).strip(" .")[-100:]
    if not base or base.startswith(".") or not supported(base):
        raise BadInput(
            f"No sé leer «{base or name}».",
            hint="Sube Markdown, texto, PDF, un cuaderno, HTML, DOCX o un ZIP con ellos.",
        )
    return base
