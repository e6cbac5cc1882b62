"""What `afina doctor` finds: the shape of one answer and of one check."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Literal

from bot.settings import Settings


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    name: str
    state: Literal["good", "warning", "bad"]
    text: str
    fix: str = ""


Check = Callable[[Settings], Awaitable[Finding]]
