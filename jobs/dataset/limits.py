"""How much of a file is looked at before it is refused, and how strictly; one frozen value, passed down.

Rule of this file: numbers and wishes only. Where a limit bites, the rule that it belongs to says so at the file or at
the line.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

from jobs.moderation import Wishes

MIB = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Above one of these: an error at the file or at the line, before any memory is spent on it."""

    file_bytes: int = 25 * MIB
    lines: int = 100_000  # blank ones included
    line_bytes: int = 4 * MIB
    depth: int = 64  # of nested JSON arrays and objects in a line
    messages: int = 256  # of one example
    tokens: int = 20_000_000  # of the whole file
    context: int = 16_384  # tokens that the chosen base reads (an ordinary one); longer examples get a warning
    few_examples: int = 10  # fewer than these: a warning
    # Of a compressed container, once unpacked; the ratio stops bombs early.
    unpacked_ratio: int = 200
    # Of the child process that looks at files of strangers.
    memory_bytes: int = 1536 * MIB  # address space, shared libraries and language models included
    seconds: float = 120.0
    # What the content filter does not want to see in a text.
    moderation: Wishes = field(default_factory=Wishes)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """The inverse of `dataclasses.asdict`, also after a way through JSON."""
        wishes = value.get("moderation", {})
        phrases = {name: tuple(wishes.get(name, ())) for name in ("blocked", "allowed")}
        return cls(**{**value, "moderation": Wishes(**{**wishes, **phrases})})
