"""Examples that say the same: exact and near duplicates, contradictions, overlap of two files.

Rule of this file: the later line is told, with the line that it repeats. Near duplicates are found with a
bottom-k MinHash over pairs of words and then compared word by word, because templates with other words in them are
different examples. Inputs and answers are compared apart: one input with two answers is a contradiction, not a twin.
The sketch is our own few lines, because the library for it takes a second to import and each file has its own process.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import Final
from zlib import crc32

from jobs.dataset.example import Example, Kind
from jobs.dataset.fingerprint import Fingerprint, fingerprint
from jobs.dataset.problem import Problem, make_problem
from jobs.dataset.words import nearly_equal, only_added

SKETCH: Final = 16  # hashes kept of an example
ALIKE: Final = 3  # twins share at least one in so many values
CROWD: Final = 64  # examples remembered of one hash; more share it in templates only
WORDS: Final = 400  # of each side that are compared
CANDIDATES: Final = 6  # compared for one example
COURTESY_WORDS: Final = 2  # more or less in an input, where the answer is the same
STRANGERS_IN: Final = 15  # words of an answer to the same input, of which one may be another
LABEL_WORDS: Final = 5  # the role in front included
CONTRADICTION_WORDS: Final = 30  # two longer answers to one input are variants, not contradictions


def find_duplicates(prints: Sequence[Fingerprint]) -> Iterator[Problem]:
    """Exact duplicates, then near ones, at the later line of each pair."""
    first_exact: dict[bytes, int] = {}
    first_loose: dict[str, int] = {}
    unique: list[Fingerprint] = []
    for item in prints:
        if (line := first_exact.get(item.exact)) is not None:
            yield make_problem("duplicate", item.line, other=line)
        elif (line := first_loose.get(item.loose)) is not None:
            yield make_problem("near_duplicate", item.line, other=line)
        else:
            unique.append(item)
        first_exact.setdefault(item.exact, item.line)
        first_loose.setdefault(item.loose, item.line)
    yield from _find_near(unique)


def _find_near(prints: Sequence[Fingerprint]) -> Iterator[Problem]:
    """Pairs whose sketches share values, the most alike first, confirmed word by word."""
    sides = [(item.asked.split()[:WORDS], item.answered.split()[:WORDS]) for item in prints]
    known: defaultdict[int, list[int]] = defaultdict(list)
    for place, (asked, answered) in enumerate(sides):
        values = sketch([*asked, *answered])
        shared = Counter(candidate for value in values for candidate in known[value])
        for candidate, values_shared in shared.most_common(CANDIDATES):
            if values_shared * ALIKE < len(values):
                break
            same_kind = prints[place].kind is prints[candidate].kind
            if same_kind and _twins(sides[place], sides[candidate]):
                yield make_problem("near_duplicate", prints[place].line, other=prints[candidate].line)
                break
        for value in values:
            if len(known[value]) < CROWD:
                known[value].append(place)


def sketch(words: Sequence[str]) -> list[int]:
    """The smallest hashes of the pairs of neighbouring words (a bottom-k MinHash).

    Two texts share about as large a part of their sketches as of their pairs of words.
    """
    pairs = {f"{one} {other}" for one, other in pairwise(words)} or set(words)
    return sorted({crc32(pair.encode("utf-8", "surrogatepass")) for pair in pairs})[:SKETCH]


def _twins(one: tuple[list[str], list[str]], other: tuple[list[str], list[str]]) -> bool:
    """Both sides nearly equal. Where the answer is a label, inputs are told apart by every word.

    Where one side is the same and the answer says something, the other may differ in a little more: a courtesy around
    one question, a word or two in a long answer to it.
    """
    label = max(len(one[1]), len(other[1])) <= LABEL_WORDS and bool(one[0])
    if nearly_equal(one[0], other[0], only_slips=label) and nearly_equal(one[1], other[1], only_slips=label):
        return True
    if label or not one[0]:
        return False
    answers = (one[1], other[1])
    if nearly_equal(*answers):
        return only_added(one[0], other[0], at_most=COURTESY_WORDS)
    longest = max(len(one[1]), len(other[1]))  # shorter answers that differ contradict each other
    return one[0] == other[0] and longest > CONTRADICTION_WORDS and nearly_equal(*answers, strangers_in=STRANGERS_IN)


def find_contradictions(prints: Iterable[Fingerprint]) -> Iterator[Problem]:
    """One input with different short answers; the same pair judged the other way round."""
    answers: defaultdict[tuple[Kind, str], dict[str, int]] = defaultdict(dict)
    for item in prints:
        if item.kind is Kind.TEXT:
            continue
        known = answers[item.kind, item.asked]
        if item.answered not in known:
            if (line := _contradicted(item, known)) is not None:
                yield make_problem("contradiction", item.line, other=line)
            known[item.answered] = item.line


def _contradicted(item: Fingerprint, known: dict[str, int]) -> int | None:
    if item.kind is Kind.CHAT:
        short = item.answer_length <= CONTRADICTION_WORDS
        return next((line for answer, line in known.items() if short and answer.count(" ") < CONTRADICTION_WORDS), None)
    first, second = item.answered.split("\x1f", 1) if "\x1f" in item.answered else (item.answered, "")
    if item.kind is Kind.KTO:
        return known.get(f"{first}\x1f{second != 'True'}")
    return known.get(f"{second}\x1f{first}")


def find_overlap(train: Iterable[Example], validation: Iterable[Example]) -> tuple[list[Problem], list[Problem]]:
    """Examples that stand in both files: problems of each, at its own lines, in the order (train, validation)."""
    ours = [fingerprint(example) for example in train]
    theirs = [fingerprint(example) for example in validation]
    sides: list[list[Problem]] = []
    for one, other in ((ours, theirs), (theirs, ours)):
        lines = {item.loose: item.line for item in reversed(other)}
        sides.append(
            [make_problem("split_overlap", item.line, other=lines[item.loose]) for item in one if item.loose in lines]
        )
    return sides[0], sides[1]
