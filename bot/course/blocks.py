"""The text of a passage as blocks that can be quoted: a paragraph, a list or a table with what introduces it, code.

Rule of this file: a block is complete. A line that ends in a colon belongs to what follows it, a list without such a
line is introduced by its heading, and code is never cut. Nothing here knows what was asked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from bot.course.splitting import plain

_SENTENCE_END = re.compile(r"(?<=[.!?…])\s+(?=[A-ZÁÉÍÓÚÑ¿¡«\"*`(])")
_FENCE = re.compile(r"^\s*(?:```|~~~)")
_DIVIDER = re.compile(r"^(?=.*---)[\s:|-]+$")
_ITEM = re.compile(r"^(?:[-*•]|\d+[.)])\s+")
_HEADING = re.compile(r"^(?:#{1,6}\s+(.+)|\*\*([^*]{3,80})\*\*:?)$")
_BOLD_QUESTION = re.compile(r"^\*\*(¿[^*]{3,120}\?)\*\*\s*")


@dataclass(frozen=True, slots=True)
class Block:
    heading: str  # the nearest heading inside the passage; empty when the passage began under its own
    lead: str  # what introduces items or code; may be empty
    parts: tuple[str, ...]  # sentences, or items («• …», «1. …»), or the lines of code as one part
    kind: str  # "prose", "list" or "code"

    @property
    def text(self) -> str:
        return written(self, range(len(self.parts)))


def written(block: Block, chosen: Sequence[int]) -> str:
    """The block with only some of its parts."""
    parts = [block.parts[place] for place in chosen]
    if block.kind == "prose":
        return " ".join(parts)
    return "\n".join(part for part in (block.lead, *parts) if part)


def blocks(markdown: str) -> list[Block]:
    """The blocks of a text in order; headings and empty lines are not blocks."""
    found: list[Block] = []
    heading = ""
    waiting = ""  # a paragraph that ends in a colon
    for kind, lines in _groups(markdown):
        if kind == "heading":
            named = _HEADING.match(lines[0])
            heading, waiting = plain((named.group(1) or named.group(2)) if named else ""), ""
            continue
        if kind == "prose":
            text = plain(" ".join(lines))
            if waiting:
                text, waiting = f"{waiting} {text}", ""
            if text.endswith(":"):
                waiting = text
                continue
            question = _BOLD_QUESTION.match(text)
            over = question.group(1) if question else heading
            if text := text[question.end() :] if question else text:
                found.append(Block(over, "", tuple(_sentences(text)), "prose"))
            continue
        # What introduces a list may itself follow other sentences: those are a paragraph of their own.
        *before, lead = _sentences(waiting) or [""]
        if before:
            found.append(Block(heading, "", tuple(before), "prose"))
        waiting = ""
        parts = ("\n".join(lines),) if kind == "code" else tuple(_items(lines))
        if parts:
            found.append(Block(heading, lead, parts, "code" if kind == "code" else "list"))
    return found


def _groups(markdown: str) -> Iterator[tuple[str, list[str]]]:
    """Runs of lines of one kind: heading, prose, list, code; an item's further lines belong to it."""
    run: list[str] = []
    kind = ""
    fence = ""
    for raw in markdown.splitlines():
        line = raw.strip()
        if fence:
            run.append(raw)
            if line.startswith(fence) and not line.strip(fence[0]):
                yield "code", run
                run, kind, fence = [], "", ""
            continue
        now = _kind(line, kind)
        if run and (now != kind or kind == "heading"):
            yield kind, run
            run = []
        kind = now
        if now == "code":
            fence = line[:3]
        if now:
            run.append(raw if now == "code" else line)
    if run:
        yield (kind if not fence else "broken"), run


def _kind(line: str, before: str) -> str:
    if not line:
        return ""
    if _FENCE.match(line):
        return "code"
    if _HEADING.match(line):
        return "heading"
    if line.startswith("|"):
        return "table"
    if _ITEM.match(line):
        return "list"
    return "list" if before == "list" else "prose"


def _items(lines: list[str]) -> list[str]:
    if lines[0].startswith("|"):
        return list(_rows(lines))
    items: list[str] = []
    for line in lines:
        if (item := _ITEM.match(line)) or not items:
            mark = item.group().strip() if item else ""
            items.append(f"{mark if mark[:-1].isdigit() else '•'} {plain(line[item.end() if item else 0 :])}")
        else:
            items[-1] += f" {plain(line)}"
    return items


def _rows(lines: list[str]) -> Iterator[str]:
    """Rows as list items; in wide tables each cell says its column."""
    columns = _cells(lines[0]) if len(lines) > 1 and _DIVIDER.match(lines[1]) else []
    for line in lines[2:] if columns else lines:
        first, *others = _cells(line)
        if len(columns) == len(others) + 1 > 2:
            named = zip(columns[1:], others, strict=True)
            others = [f"{name}: {cell}" if name else cell for name, cell in named if cell]
        said = " · ".join(cell for cell in others if cell)
        name = first.strip("*")
        if name or said:
            yield f"• **{name}**: {said}" if name and said else f"• {name or said}"


def _cells(line: str) -> list[str]:
    return [plain(cell) for cell in re.split(r"(?<!\\)\|", line.strip().strip("|"))]


def _sentences(text: str) -> list[str]:
    return [sentence.strip() for sentence in _SENTENCE_END.split(text) if sentence.strip()]
