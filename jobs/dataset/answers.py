"""What the answers of a file look like taken together: all alike, lopsided, framed, too short, in two languages.

Rule of this file: everything here needs ten examples and says nothing below. Labels (short answers that repeat) are
normal; so are answers that are code or JSON and start alike. All turns of the assistant count as one answer.
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
_AFTER_BOUND: Final = re.compile(r"[.!?:…]\s+|\n+")
_MEANT: Final = re.compile(r"[\d\u2190-\u2bff\U0001f000-\U0001ffff]|[^\x00-\u024f]")  # numbers, emoji, other scripts
# Answers that say nothing by themselves, normalised; one or two letters or only signs do not either.
_EMPTY: Final = re.compile(
    r"ok|oka?y|okey|vale|si|no|ya|n a|nada|idk|tbd|todo|yes|yep|nope?|bien|test|prueba|asdf|\w{1,2}|\W+", re.IGNORECASE
)
_END_MARK: Final = re.compile(r"(?:[#=*~_-]{3,}|\s(?:END|FIN|STOP))\s*\Z")


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    line: int
    text: str
    turns: int  # of the assistant in the example


def answers_of(examples: Sequence[Example]) -> list[Answer]:
    """What the assistant says in each conversation; tool calls, running text and judged answers do not count."""
    return [
        Answer(line=example.line, text="\n".join(turns), turns=len(turns))
        for example in examples
        if example.kind is Kind.CHAT and (turns := _said_by_assistant(example))
    ]


def _said_by_assistant(example: Example) -> list[str]:
    return [turn.content for turn in example.messages if turn.role == "assistant" and turn.content.strip()]


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
        single = [answer.text.strip() for answer in answers if answer.turns == 1]  # dialogues greet and thank
        if len(single) * 2 > len(answers) and len(single) >= ENOUGH:
            yield from _frames(single)
    if not labels:
        yield from _short(answers, counts)


def are_labels(counts: Counter[str]) -> bool:
    """Whether answers are classes: short, and each comes back several times."""
    return len(counts) * 3 <= counts.total() and all(len(answer) <= LABEL_CHARACTERS for answer in counts)


def _frames(texts: Sequence[str]) -> Iterator[Problem]:
    """A start or an end that all answers share and that stands by itself.

    It has to end (or start) at the bound of a sentence or heading: what templates share in the middle of a sentence
    ("La capital de …") is part of what is learnt.
    """
    start = shared_start(texts)
    bounds = [match.end() for match in _AFTER_BOUND.finditer(start)]
    opening = start[: bounds[-1]].strip() if bounds else ""
    lines = sum("\n" in text for text in texts)  # a form of several lines starts with a heading on purpose
    heading = opening.endswith(":") and len(opening) >= 5 and lines * 2 < len(texts)
    if _is_prose(opening) and (heading or (len(opening) >= 10 and not opening.endswith(":"))):
        yield make_problem("common_prefix", text=opening)
    end = shared_start([text[::-1] for text in texts])[::-1]
    bound = _AFTER_BOUND.search(end)
    closing = end[bound.end() :].strip() if bound else ""
    if (_is_prose(closing) and len(closing) >= 12 and " " in closing) or _END_MARK.search(end):
        yield make_problem("common_suffix", text=closing or end.strip())


def shared_start(texts: Sequence[str]) -> str:
    """The longest start of all texts: that of the first and the last in order."""
    first, last = min(texts), max(texts)
    same = next((place for place, (one, other) in enumerate(zip(first, last, strict=False)) if one != other), None)
    return first[:same] if same is not None else first


def _is_prose(text: str) -> bool:
    return bool(text) and sum(sign.isalpha() or sign == " " for sign in text) >= 0.8 * len(text)


def _short(answers: Sequence[Answer], counts: Counter[str]) -> Iterator[Problem]:
    """One tiny word where answers are sentences; numbers, labels and later turns of a dialogue are left alone."""
    typical = median(len(answer.text) for answer in answers)
    if typical < 40:
        return
    for answer in answers:
        text = answer.text.strip()
        tiny = len(text) <= 8 and not _MEANT.search(text) and bool(_EMPTY.fullmatch(normalised(text)))
        if tiny and answer.turns == 1 and counts[normalised(text)] * 10 < len(answers):
            yield make_problem("short_answer", answer.line, "$")
