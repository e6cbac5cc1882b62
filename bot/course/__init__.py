"""The course: sources → passages → index → ranked passages. See `course.py`.

Names are loaded on first use, because the index needs numpy and scipy, and a starting bot should not wait for them.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bot.course.course import Course, Findings
    from bot.course.passage import Document, Passage

__all__ = ["Course", "Document", "Findings", "Passage"]

_HOMES = {"Course": "course", "Document": "passage", "Findings": "course", "Passage": "passage"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
