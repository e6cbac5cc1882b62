"""`afina ask --json`: an answer as one JSON object, the shape that scripts read."""

from __future__ import annotations

from typing import Any

from bot.course.answer import Answer
from bot.course.course import Course


def ask_object(answer: Answer, course: Course, *, passages: int = 0, id: Any = None) -> dict[str, Any]:
    """`{"question", "found", "answer", "sources": [{"file", "title", "excerpt", "score"}]}`; with `passages`, also the
    best passages in order, whether or not they were enough to answer; with `id` (of a batch), the id first."""
    result: dict[str, Any] = {} if id is None else {"id": id}
    result |= {
        "question": answer.question,
        "found": answer.found,
        "answer": answer.text,
        "sources": [
            {"file": source.file, "title": source.label, "excerpt": source.excerpt, "score": source.score}
            for source in answer.sources
        ],
    }
    if passages:
        result["passages"] = [
            {"file": passage.file, "title": passage.label, "text": passage.text, "score": round(passage.score, 4)}
            for passage in course.search(answer.question, passages)
        ]
    return result
