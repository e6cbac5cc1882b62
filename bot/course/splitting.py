"""Documents to passages: slices of at most `MAX_PASSAGE` characters that respect the structure of the text.

Rule of this file: a passage is one contiguous slice of the source, so that a quotation can always be found again.
Blocks (paragraph, list item, table row, code fence) are never cut while they fit; small neighbouring sections with the
same parent share a passage. A line that is only bold text counts as a heading: course files in the wild use it so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from markdown_it import MarkdownIt
from markdown_it.token import Token

from bot.course.passage import MAX_PASSAGE, Document, Passage

SMALL = 600  # characters: a section below it may share its passage with its next sibling
LONGEST_HEADING = 300  # characters
QUESTIONS = "preguntas que responde esta pagina"  # heading of a page's list of questions: metadata, not text

_BOLD_LINE = re.compile(r"\*\*([^*\n]{3,80})\*\*:?\s*$")
_REFERENCES = re.compile(r"\breferenc|\brecursos|bibliograf|enlaces|resources|further reading|lecturas", re.IGNORECASE)
_BREAKS = (re.compile(r"\n\s*\n"), re.compile(r"\n"), re.compile(r"(?<=[.!?…;:])\s"), re.compile(r"\s"))
_IMAGE = re.compile(r"!\[([^\]]*)\]\([^)]*\)")
_LINK = re.compile(r"\[([^\]]*)\]\((?:[^()\s]|\([^()]*\))*(?:\s+\"[^\"]*\")?\)")
_FRONT_MATTER = re.compile(r"\A---\n.*?\n---\n", re.DOTALL)
_DIRECTIVE = re.compile(r"<!--.*?-->|\[!(?:NOTE|TIP|WARNING|IMPORTANT|CAUTION)\]", re.DOTALL)
_PSEUDO_LEVEL = 7
_FENCE = "fence"


@dataclass(frozen=True, slots=True)
class Block:
    """A piece of source that stays whole while it fits, under its heading path."""

    start: int  # offset in the source of the block, its headings included
    end: int
    path: tuple[str, ...]
    kind: str


_ROW = re.compile(r"^[ \t]*\|(.*?)\|?[ \t]*$", re.MULTILINE)
_BAR = re.compile(r"\s*(?<!\\)\|\s*")


def plain(markdown: str) -> str:
    """Readable text: links become their label, images their caption, table bars and paddings go."""
    text = _DIRECTIVE.sub("", markdown)
    text = _IMAGE.sub(lambda match: match.group(1), text)
    text = _LINK.sub(lambda match: match.group(1), text)
    text = re.sub(r"^(?=.*---)[ \t:|-]+$", "", text, flags=re.MULTILINE)
    text = _ROW.sub(lambda match: _BAR.sub(" — ", match.group(1).strip()), text).replace("\\|", "|")
    text = re.sub(r"[ \t]{2,}", " ", text)
    return re.sub(r"\n{3,}", "\n\n", text).strip()


class Splitter:
    def __init__(self, *, limit: int = MAX_PASSAGE, small: int = SMALL) -> None:
        self._limit = limit
        self._small = small
        self._markdown = MarkdownIt("commonmark").enable("table").disable("inline")  # only the blocks matter here

    def read(self, document: Document) -> tuple[list[Passage], list[str]]:
        """Passages of a document in reading order, and the questions that it says it answers: the items under
        «Preguntas que responde esta página», which are not text."""
        blocks = list(self.blocks(document))
        pieces = [
            piece for block in blocks if not _is_questions(block.path) for piece in self._cut(block, document.text)
        ]
        asked = [document.text[block.start : block.end] for block in blocks if _is_questions(block.path)]
        questions = [line.strip()[1:].strip() for text in asked for line in text.splitlines() if _is_item(line)]
        return [self._passage(group, document) for group in self._pack(pieces)], questions

    def split(self, document: Document) -> list[Passage]:
        return self.read(document)[0]

    def blocks(self, document: Document) -> Iterator[Block]:
        """Blocks of a Markdown text with their offsets; a heading is part of the block that follows it."""
        front = _FRONT_MATTER.match(document.text)
        skipped = document.text[: front.end()].count("\n") if front else 0
        starts = _line_starts(document.text)
        trail: list[tuple[int, str]] = []
        pending: int | None = None
        for token in self._leaves(self._markdown.parse(document.text)):
            assert token.map is not None
            if token.map[0] < skipped:
                continue
            first, last = starts[token.map[0]], starts[min(token.map[1], len(starts) - 1)]
            text = document.text[first:last].strip()
            if heading := _heading(token, text):
                level, name = heading
                if _REFERENCES.search(name) and level > 2:
                    trail = [entry for entry in trail if entry[0] <= 2]
                trail = [entry for entry in trail if entry[0] < level] + [(level, name)]
                pending = first if pending is None else pending
            elif text:
                yield Block(first if pending is None else pending, last, tuple(name for _, name in trail), token.type)
                pending = None

    @staticmethod
    def _leaves(tokens: list[Token]) -> Iterator[Token]:
        """Top-level blocks, but lists and tables item by item."""
        inside: int | None = None  # level of the list or table that we are in
        for token in tokens:
            if token.nesting == -1:
                if inside is not None and token.level == inside:
                    inside = None
            elif inside is not None:
                if token.type in ("list_item_open", "tr_open") and token.level in (inside + 1, inside + 2):
                    yield token
            elif token.level == 0 and token.map:
                if token.type in ("bullet_list_open", "ordered_list_open", "table_open"):
                    inside = 0
                else:
                    yield token

    def _cut(self, block: Block, text: str) -> Iterator[Block]:
        """Pieces of at most the limit, cut at the best break: blank line, line, sentence, word."""
        start, end = _trim(text, block.start, block.end)
        while end - start > self._limit:
            window = text[start : start + self._limit]
            cut = next((found for pattern in _BREAKS if (found := _last_break(pattern, window)) > self._limit // 3), 0)
            stop = start + (cut or self._limit)
            yield replace(block, start=start, end=_trim(text, start, stop)[1])
            start = _trim(text, stop, end)[0]
        if end > start:
            yield replace(block, start=start, end=end)

    def _pack(self, pieces: list[Block]) -> Iterator[list[Block]]:
        groups: list[list[Block]] = []
        for piece in pieces:  # blocks of one section together
            if groups and groups[-1][-1].path == piece.path and piece.end - groups[-1][0].start <= self._limit:
                groups[-1].append(piece)
            else:
                groups.append([piece])
        merged: list[list[Block]] = []
        for group in groups:  # then small sections with their sibling
            if merged and self._may_share(merged[-1], group):
                merged[-1] = merged[-1] + group
            else:
                merged.append(group)
        yield from merged

    def _may_share(self, left: list[Block], right: list[Block]) -> bool:
        size = right[-1].end - left[0].start
        small = min(left[-1].end - left[0].start, right[-1].end - right[0].start) < self._small
        parent = _common([block.path for block in left])
        siblings = _common([parent, right[0].path])
        near = len(siblings) >= 1 and len(right[0].path) - len(siblings) <= 1
        references = [bool(group[0].path and _REFERENCES.search(group[0].path[-1])) for group in (left, right)]
        return size <= self._limit and small and near and references[0] == references[1]

    @staticmethod
    def _passage(group: list[Block], document: Document) -> Passage:
        text = document.text[group[0].start : group[-1].end]
        path = _common([block.path for block in group])
        heading = path[1:] if path[:1] == (document.title,) else path
        return Passage(
            file=document.file, title=document.title, heading=heading, text=text, plain=plain(text), url=document.url
        )


def _heading(token: Token, text: str) -> tuple[int, str] | None:
    if token.type == "heading_open":
        return int(token.tag[1]), clean_heading(text.lstrip("#").partition("\n")[0][:LONGEST_HEADING])
    if token.type == "paragraph_open" and (bold := _BOLD_LINE.match(text)):
        return _PSEUDO_LEVEL, clean_heading(bold.group(1))
    return None


def clean_heading(text: str) -> str:
    """A heading without markup, emoji and the closing colon."""
    text = re.sub(r"[*_`#]", "", plain(text))
    return re.sub(r"^[^\w¿¡«(]+|[^\w?!)».%]+$", "", text).strip()


def _is_questions(path: tuple[str, ...]) -> bool:
    return bool(path) and path[-1].lower().replace("á", "a") == QUESTIONS


def _is_item(line: str) -> bool:
    return line.strip()[:1] in ("-", "*")


def _common(paths: list[tuple[str, ...]]) -> tuple[str, ...]:
    shared: list[str] = []
    for names in zip(*paths, strict=False):
        if len(set(names)) != 1:
            break
        shared.append(names[0])
    return tuple(shared)


def _line_starts(text: str) -> list[int]:
    starts = [0]
    for line in text.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    return starts


def _trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The slice without the white space around it; indentation of its first line stays out too."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _last_break(pattern: re.Pattern[str], window: str) -> int:
    return max((match.end() for match in pattern.finditer(window)), default=0)
