"""The second step of a report: what stands in the texts, and how the examples go together.

Rule of this file: it only runs the rules of the other modules over the lines that the first step could read, and
collects what they say. It changes no verdict on structure: everything here is a warning but a file with too many
tokens and an answer that nobody wants a model to learn (`judge_manners`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from jobs.dataset.answers import answers_of, judge_answers
from jobs.dataset.content import text_problems
from jobs.dataset.duplicates import find_contradictions, find_duplicates
from jobs.dataset.example import Example
from jobs.dataset.fingerprint import fingerprint
from jobs.dataset.language import judge_languages
from jobs.dataset.limits import Limits
from jobs.dataset.manners import judge_manners
from jobs.dataset.private import find_private
from jobs.dataset.problem import Findings, Problem, make_problem
from jobs.dataset.reading import read_object
from jobs.dataset.scan import Scan, numbered_lines
from jobs.dataset.shapes import Shape
from jobs.dataset.stats import CountTokens, measure, summarise
from jobs.dataset.texts import texts_of
from jobs.moderation import WordList


@dataclass(frozen=True, kw_only=True, slots=True)
class Deep:
    problems: tuple[Problem, ...]
    stats: dict[str, Any]


def look_deep(path: Path, scan: Scan, limits: Limits, count: CountTokens | None = None) -> Deep:
    """Judge the texts of all readable lines and the usable examples as a whole."""
    problems: list[Problem] = []
    examples: list[Example] = []
    words = WordList(limits.moderation)
    for number, shape, value in readable_values(path, scan, limits):
        problems += judge_texts(number, value, shape)
        problems += judge_manners(number, value, shape, words)
        if number in scan.usable:
            example = read_object(value, Findings(number, limits)).example
            if example is not None:
                examples.append(example)
    stats = summarise(examples, count)
    problems += _judge_lengths(examples, stats["tokens"]["total"], limits, count)
    prints = [fingerprint(example) for example in examples]
    twins = list(find_duplicates(prints))
    repeated = {problem.line for problem in twins}
    problems += twins
    problems += (problem for problem in find_contradictions(prints) if problem.line not in repeated)
    del prints
    problems += judge_answers(answers_of(examples))
    problems += judge_languages(examples)
    return Deep(problems=tuple(problems), stats=stats)


def readable_values(path: Path, scan: Scan, limits: Limits) -> Iterator[tuple[int, Shape, dict[str, Any]]]:
    """(line, shape, object) of every line whose shape is known, with errors or without."""
    decode = msgspec.json.Decoder().decode
    for number, raw in numbered_lines(path, scan.found, limits):
        shape = scan.shapes.get(number)
        if shape is not None:
            try:
                yield number, shape, decode(raw)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                continue


def judge_texts(number: int, value: dict[str, Any], shape: Shape) -> Iterator[Problem]:
    """Content, personal data and secrets, each kind once a text."""
    for path, text, assistant in texts_of(value, shape):
        for code, values in text_problems(text, assistant=assistant):
            yield make_problem(code, number, path, **values)
        told: set[str] = set()
        for finding in find_private(text):
            if finding.kind not in told:
                told.add(finding.kind)
                yield make_problem(finding.code, number, path, kind=finding.kind)


def _judge_lengths(examples: list[Example], total: int, limits: Limits, count: CountTokens | None) -> Iterator[Problem]:
    if total > limits.tokens:
        yield make_problem("too_many_tokens", tokens=total, limit=limits.tokens)
    for example in examples:
        tokens = sum(measure(example, count))
        if tokens > limits.context:
            cut = tokens - limits.context
            yield make_problem("too_long", example.line, tokens=tokens, limit=limits.context, cut=cut)
