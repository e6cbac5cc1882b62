"""The log of deletions: whom a restored backup must not bring back.

Rule of this file: a line a deletion, with its time and a salted hash of whom it was; nobody can be read out of it, and
whoever stands in a backup can be looked up. It lies beside the database and beside every backup (`bot/backup.py`), for
a restore starts from an empty folder. Lines are only ever added.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from bot.records import Owner

if TYPE_CHECKING:
    from bot.settings import Settings

FILE: Final = "deletions.log"


def person(owner: Owner) -> str:
    """What a person in a server is called in the log."""
    return f"person:{owner.guild_id}:{owner.user_id}"


class DeletionLog:
    def __init__(self, path: Path) -> None:
        self.path = path

    @classmethod
    def of(cls, settings: Settings) -> Self:
        return cls(settings.data_dir / FILE)

    def note(self, who: str, at: float) -> None:
        """Write down that `who` was deleted; on disk when this returns."""
        salt = secrets.token_hex(8)
        self._append([json.dumps({"at": round(at, 3), "salt": salt, "hash": _hash(salt, who)})])

    def lines(self) -> list[str]:
        """Whole lines; a torn one at the end is left out."""
        with suppress(FileNotFoundError):
            return [line for line in self.path.read_text(encoding="utf-8").splitlines() if _read(line)]
        return []

    def add(self, lines: Iterable[str]) -> None:
        """Take over lines of another log that are not here yet."""
        known = set(self.lines())
        if fresh := [line for line in dict.fromkeys(lines) if line not in known and _read(line)]:
            self._append(fresh)

    def deleted_since(self, who: Iterable[str], since: float) -> set[str]:
        """Who of these was deleted after a time (Unix seconds)."""
        entries = [entry for line in self.lines() if (entry := _read(line)) and entry[0] >= since]
        return {one for one in who if any(_hash(salt, one) == known for _, salt, known in entries)}

    def _append(self, lines: Iterable[str]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "rb+", buffering=0) as file:
            size = file.seek(0, os.SEEK_END)
            torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
            file.write(("\n" * torn + "".join(f"{line}\n" for line in lines)).encode())
            os.fsync(descriptor)


def _hash(salt: str, who: str) -> str:
    return hashlib.sha256(f"{salt}:{who}".encode()).hexdigest()


def _read(line: str) -> tuple[float, str, str] | None:
    try:
        entry = json.loads(line)
        return float(entry["at"]), str(entry["salt"]), str(entry["hash"])
    except (ValueError, KeyError, TypeError):
        return None
