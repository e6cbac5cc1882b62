"""What the answers of a file look like taken together: all alike, lopsided, framed, too short, in two languages.

Rule of this file: everything here needs ten examples and says nothing below. Labels (short answers that repeat) are
normal; so are answers that are code or JSON and start alike. Only the last answer of an example counts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Final

from jobs.dataset.example import Example, Kind
from jobs.dataset.problem import Problem, make_problem
from jobs.dataset.words import normalised

ENOUGH: Final = 10  # examples
LABEL_CHARACTERS: Final = 80
IMBALANCE: Final = 0.8  # share of the most frequent label
ALIKE: Final = 0.95  # share of one and the same answer
STARTS_WITH_LABEL: Final = re.compile(r"[^\n:{}\[\]<>\"'`]{3,40}:\s+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    line: int
    text: str
    turns: int  # of the assistant in the example


def answers_of(examples: Sequence[Example]) -> list[Answer]:
    """Last answers in words; tool calls, running text and judged answers have none."""
    return [
        Answer(line=example.line, text=example.answer, turns=sum(turn.role == "assistant" for turn in example.messages))
        for example in examples
        if example.kind in (Kind.CHAT, Kind.PREFERENCE) and example.answer.strip()
    ]


def judge_answers(answers: Sequence[Answer]) -> Iterator[Problem]:
    if len(answers) < ENOUGH:
        return
    counts = Counter(normalised(answer.text) for answer in answers)
    label, most = counts.most_common(1)[0]
    share = most / len(answers)
    labels = are_labels(counts)
    if share >= ALIKE or (share > 0.5 and not labels and len(label) > LABEL_CHARACTERS):
        yield make_problem("identical_answers", percent=round(100 * share))
    elif share >= IMBALANCE:
        yield make_problem("class_imbalance", label=label, percent=round(100 * share))
    elif not labels:
        yield from _frames([answer.text.strip() for answer in answers])
    if not labels:
        yield from _short(answers, counts)


def are_labels(counts: Counter[str]) -> bool:
    """Whether answers are classes: short, and each comes back several times."""
    return len(counts) * 3 <= counts.total() and all(len(answer) <= LABEL_CHARACTERS for answer in counts)


def _frames(texts: Sequence[str]) -> Iterator[Problem]:
    """A start or an end that all answers share: a heading with a colon, or whole words in some number."""
    start = shared_start(texts)
    heading = STARTS_WITH_LABEL.match(start)
    if heading:
        yield make_problem("common_prefix", text=heading[0].strip())
    elif (shown := _whole_words(start, texts)) and len(shown) >= 20 and shown.count(" ") >= 3 and _is_prose(shown):
        yield make_problem("common_prefix", text=shown)
    ends = [text[::-1] for text in texts]
    shown = _whole_words(shared_start(ends), ends)[::-1]
    if len(shown) >= 15 and shown.count(" ") >= 2 and _is_prose(shown):
        yield make_problem("common_suffix", text=shown)


def shared_start(texts: Sequence[str]) -> str:
    """The longest start of all texts: that of the first and the last in order."""
    first, last = min(texts), max(texts)
    same = next((place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)
    return first[:same] if same is not None else first


def _whole_words(shared: str, texts: Sequence[str]) -> str:
    """`shared` cut back to where a word ends in all texts."""
    if all(len(text) == len(shared) or not text[len(shared)].isalnum() for text in texts):
        return shared.strip()
    return shared[: len(shared) - len(re.split(r"\s", shared)[-1])].strip()


def _is_prose(text: str) -> bool:
    return sum(sign.isalpha() or sign == " " for sign in text) >= 0.85 * len(text)


def _short(answers: Sequence[Answer], counts: Counter[str]) -> Iterator[Problem]:
    """One tiny word where answers are sentences; numbers, labels and later turns of a dialogue are left alone."""
    typical = median(len(answer.text) for answer in answers)
    if typical < 25:
        return
    for answer in answers:
        text = answer.text.strip()
        tiny = len(text) <= 6 and len(text.split()) == 1 and not any(sign.isdigit() for sign in text)
        if tiny and answer.turns == 1 and counts[normalised(text)] * 10 < len(answers):
            yield make_problem("short_answer", answer.line, "$")
