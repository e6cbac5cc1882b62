"""Documents and passages: the values that travel through the course.

Rule of this file: values only. `Passage.text` is a verbatim slice of the (mended) source, never rewritten; `plain` is
the same text without link addresses and markup, for indexing and for quoting.
"""

from __future__ import annotations

from dataclasses import dataclass

MAX_PASSAGE = 1000  # characters of `Passage.text`, at most


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """One source after loading: Markdown (or Markdown made from PDF, HTML, DOCX, notebook), mended."""

    file: str  # path relative to the course folder; members of a ZIP are "archive.zip/member.md"
    title: str
    text: str  # Markdown
    url: str | None = None  # where people can read it; "url" in the front matter


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """A piece of a document that can be ranked, quoted and cited."""

    file: str
    title: str  # of the document
    heading: tuple[str, ...]  # path from the outermost heading to the innermost, without the title when it repeats it
    text: str  # verbatim, at most MAX_PASSAGE characters
    plain: str  # text without link targets, images and table padding
    url: str | None = None  # where the section can be read, when the document says so
    score: float = 0.0  # of the search that returned it; comparable within one search only

    @property
    def label(self) -> str:
        """What a person sees as the source: «LoRA › Qué se entrena»."""
        last = self.heading[-1:] if self.heading and self.heading[-1] != self.title else ()
        return " › ".join((self.title, *last))
