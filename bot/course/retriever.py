"""The course as a langchain retriever, for chains that people build around it.

Rule of this file: an adapter and nothing more; `Course.look_up` decides.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

if TYPE_CHECKING:
    from bot.course.course import Course


class CourseRetriever(BaseRetriever):
    """`k` passages as langchain documents; none when the course does not cover the question and `gate` is on."""

    model_config = ConfigDict(arbitrary_types_allowed=True)

    course: object
    k: int = 5
    gate: bool = True

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        course: Course = self.course  # type: ignore[assignment]
        findings = course.look_up(query, self.k)
        if self.gate and not findings.found:
            return []
        return [
            Document(
                page_content=passage.text,
                metadata={
                    "file": passage.file,
                    "title": passage.title,
                    "heading": list(passage.heading),
                    "score": passage.score,
                    "url": passage.url,
                },
            )
            for passage in findings.passages
        ]
