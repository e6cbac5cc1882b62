"""How good is the retrieval: recall, rank, refusals and latency over a file of questions.

Rule of this file: it measures and changes nothing. A question file is JSONL, one object a line: `question`, `kind`
(any word: figures are given for each), and what makes a passage right: `expect`, a list of texts of which it holds at
least one, or `heading`, a list of headings of which it stands under at least one; `file` narrows both to one source.
With neither, the course does not cover the question. Texts are compared without regard to case and white space.
"""

from __future__ import annotations

import json
import re
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bot.course.course import Course
from bot.course.passage import Passage
from bot.course.splitting import clean_heading
from bot.errors import BadInput

RECALL_AT = 5
RANK_AT = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Item:
    question: str
    kind: str
    expect: tuple[str, ...] = ()  # one of these stands in a right passage
    heading: tuple[str, ...] = ()  # a right passage stands under one of these, or holds its line
    id: str | None = None
    file: str | None = None  # the right passage comes from here

    @property
    def covered(self) -> bool:
        return bool(self.expect or self.heading)


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    item: Item
    rank: int | None  # of the first right passage, from 1, among RANK_AT; None: not among them
    page_rank: int | None  # of the first passage of the right file; None also when the item names no file
    refused: bool
    seconds: float


def read_items(path: Path) -> list[Item]:
    """Items of a question file; BadInput names the first line that is not one."""
    items = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            raw = json.loads(line)
            items.append(
                Item(
                    question=raw["question"],
                    kind=raw.get("kind", "all"),
                    expect=tuple(raw.get("expect", ())),
                    heading=tuple(raw.get("heading", ())),
                    id=str(raw["id"]) if "id" in raw else None,
                    file=raw.get("file"),
                )
            )
        except (ValueError, KeyError, TypeError, AttributeError):
            hint = 'Cada línea es un objeto con "question", "kind" y "expect" o "heading".'
            raise BadInput(f"La línea {number} no es una pregunta.", hint=hint) from None
    return items


def run(course: Course, items: Iterable[Item]) -> list[Result]:
    """Ask every question once."""
    results = []
    for item in items:
        start = time.perf_counter()
        findings = course.look_up(item.question, RANK_AT)
        seconds = time.perf_counter() - start
        rank = next((rank for rank, passage in enumerate(findings.passages, 1) if _right(item, passage)), None)
        page = next((rank for rank, passage in enumerate(findings.passages, 1) if passage.file == item.file), None)
        results.append(Result(item=item, rank=rank, page_rank=page, refused=not findings.found, seconds=seconds))
    return results


def summary(results: Sequence[Result]) -> dict[str, Any]:
    """Figures over all covered questions and by kind: recall@5, MRR@10, refusals right and wrong, latency in ms."""
    covered = [result for result in results if result.item.covered]
    off = [result for result in results if not result.item.covered]
    kinds: dict[str, list[Result]] = defaultdict(list)
    for result in covered:
        kinds[result.item.kind].append(result)
    times = sorted(result.seconds for result in results)
    return {
        "questions": len(results),
        "all": _figures(covered),
        "kinds": {kind: _figures(group) for kind, group in sorted(kinds.items())},
        "off_topic": {"questions": len(off), "refused": _share(off, lambda result: result.refused)},
        "latency_ms": {"p50": _percentile(times, 0.5), "p95": _percentile(times, 0.95)},
    }


def evaluate(path: Path, course: Course) -> dict[str, Any]:
    """What `afina course eval FILE --json` prints."""
    return summary(run(course, read_items(path))) | {"dense": bool(course.dense and course.dense.ready)}


def _figures(results: Sequence[Result]) -> dict[str, Any]:
    total = sum(1 / result.rank for result in results if result.rank)
    return {
        "questions": len(results),
        f"recall@{RECALL_AT}": _share(results, lambda result: bool(result.rank and result.rank <= RECALL_AT)),
        f"page_recall@{RECALL_AT}": _share(
            [result for result in results if result.item.file],
            lambda result: bool(result.page_rank and result.page_rank <= RECALL_AT),
        ),
        f"mrr@{RANK_AT}": round(total / len(results), 4) if results else None,
        "refused": _share(results, lambda result: result.refused),
    }


def _share(results: Sequence[Result], holds: Any) -> float | None:
    return round(sum(map(bool, map(holds, results))) / len(results), 4) if results else None


def _percentile(ordered: Sequence[float], share: float) -> float | None:
    return round(1000 * ordered[min(int(share * len(ordered)), len(ordered) - 1)], 3) if ordered else None


def _right(item: Item, passage: Passage) -> bool:
    if item.file and passage.file != item.file:
        return False
    text = _squeeze(passage.text)
    above = {_squeeze(name) for name in passage.heading}
    return any(_squeeze(wanted) in text for wanted in item.expect) or any(
        _squeeze(clean_heading(wanted)) in above or f"# {_squeeze(wanted)}" in text for wanted in item.heading
    )


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip().casefold()
