"""The course: sources → passages → index → ranked passages. See `course.py`."""

from bot.course.course import Course, Findings
from bot.course.passage import Document, Passage

__all__ = ["Course", "Document", "Findings", "Passage"]
