"""Retrieval: quality with parts taken away, latency, and building a large index.

    python benchmarks/retrieval.py [--course DIR] [--questions FILE] [--passages 10000]

Everything is measured in one run, on the same passages and questions. The first two rows are what a plain set-up
gives: BM25 over `text.split()` (the defaults of langchain's `BM25Retriever`), and BM25 over Spanish stems without stop
words. Prints a Markdown table for docs/curso.md.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType

import bm25s
import numpy as np

from bot.course import Course, Passage
from bot.course import index as course_index
from bot.course.analysis import Analyzer
from bot.course.evaluate import RANK_AT, Item, Result, _right, read_items, run, summary
from bot.course.query import Weights

ROOT = Path(__file__).resolve().parent.parent
OFF = MappingProxyType({"named": 0.0, "bridge": 0.0, "described": 0.0, "near": 0.0})


def plain_bm25(passages: tuple[Passage, ...], tokens: Callable[[str], list[str]], items: list[Item]) -> list[Result]:
    """What BM25 alone finds with a given analysis; it never refuses."""
    index = bm25s.BM25(k1=1.5, b=0.75)
    index.index([tokens(passage.plain) for passage in passages], show_progress=False)
    results = []
    for item in items:
        start = time.perf_counter()
        ids = [number for token in tokens(item.question) if (number := index.vocab_dict.get(token)) is not None]
        scores = index.get_scores_from_ids(ids) if ids else np.zeros(len(passages))
        best = [passages[i] for i in np.argsort(-scores, kind="stable")[:RANK_AT] if scores[i] > 0]
        seconds = time.perf_counter() - start
        rank = next((rank for rank, passage in enumerate(best, 1) if _right(item, passage)), None)
        page = next((rank for rank, passage in enumerate(best, 1) if passage.file == item.file), None)
        results.append(Result(item=item, rank=rank, page_rank=page, refused=not best, seconds=seconds))
    return results


def row(name: str, results: list[Result]) -> str:
    figures = summary(results)
    of_all, kinds = figures["all"], figures["kinds"]
    shown = [of_all["page_recall@5"], of_all["recall@5"], of_all["mrr@10"]]
    shown += [kinds[kind]["page_recall@5"] for kind in ("mal escrita", "espanglish", "parafraseada") if kind in kinds]
    shown += [figures["off_topic"]["refused"], of_all["refused"]]
    return f"| {name} | " + " | ".join(f"{value:.2f}".replace(".", ",") for value in shown) + " |"


def with_constants(folder: Path, **values: float) -> Course:
    """The course with constants of the index changed."""
    before = {name: getattr(course_index, name) for name in values}
    for name, value in values.items():
        setattr(course_index, name, value)
    try:
        return Course.load(folder)
    finally:
        for name, value in before.items():
            setattr(course_index, name, value)


def without_correction(folder: Path) -> Course:
    course = Course.load(folder)
    course._reader._correct = lambda word, before: None
    course._reader._stem_by_sound = {}
    return course


def with_weights(folder: Path, **changes: float) -> Course:
    course = Course.load(folder)
    course._reader._weights = replace(Weights(), **changes)
    return course


def ablation(folder: Path, items: list[Item]) -> None:
    whole = Course.load(folder)
    analyzer = Analyzer()
    columns = ["variante", "página@5", "sección@5", "MRR@10", "mal escrita", "espanglish", "parafraseada"]
    columns += ["rechaza", "rechaza de más"]
    print(f"| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
    print(row("BM25 sobre `text.split()`", plain_bm25(whole.passages, str.split, items)))
    print(row("BM25 con raíces en español", plain_bm25(whole.passages, analyzer.stems, items)))
    print(row("sin glosario", run(with_weights(folder, **OFF), items)))
    print(row("sin descripciones cotidianas", run(with_weights(folder, described=0.0), items)))
    print(row("sin corregir erratas", run(without_correction(folder), items)))
    print(row("sin peso de los títulos", run(with_constants(folder, HEADING=0, TITLE=0, CONCEPT_IN_HEADING=0), items)))
    print(row("sin las preguntas de cada página", run(with_constants(folder, QUESTION=0), items)))
    print(row("**todo**", run(whole, items)))


def speed(folder: Path, amount: int, items: list[Item]) -> None:
    """Time to build an index of `amount` passages, and of a question in it, beside plain BM25 on the same ones."""
    some = Course.load(folder).passages
    many = [replace(some[i % len(some)], text=f"{some[i % len(some)].text} {i}") for i in range(amount)]
    start = time.perf_counter()
    course = Course(many)
    built = time.perf_counter() - start
    start = time.perf_counter()
    plain = bm25s.BM25()
    plain.index([passage.plain.split() for passage in many], show_progress=False)
    plain_built = time.perf_counter() - start
    times = sorted(result.seconds for result in run(course, items))
    p50, p95 = (1000 * times[int(share * len(times))] for share in (0.5, 0.95))
    print(f"\n{amount} passages: index {built:.1f} s ({built / plain_built:.1f} x plain BM25), ", end="")
    print(f"question p50 {p50:.2f} ms, p95 {p95:.2f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--course", type=Path, default=ROOT / "course")
    parser.add_argument("--questions", type=Path, default=ROOT / "benchmarks" / "preguntas.jsonl")
    parser.add_argument("--passages", type=int, default=10_000)
    arguments = parser.parse_args()
    items = read_items(arguments.questions)
    ablation(arguments.course, items)
    speed(arguments.course, arguments.passages, items)


if __name__ == "__main__":
    main()
