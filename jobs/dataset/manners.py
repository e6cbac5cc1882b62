"""What the content filter says of the texts of a line.

Rule of this file: where a text stands decides what a finding means; which words count is the business of
`jobs.moderation` and of the wishes in `Limits`. Nothing of a text is repeated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jobs.dataset.problem import Problem, make_problem
from jobs.dataset.shapes import Shape
from jobs.dataset.texts import texts_of
from jobs.moderation import NAMES, Category, WordList

_AVOIDED: Final = ("rejected", "non_preferred_output")


def judge_manners(number: int, value: dict[str, Any], shape: Shape, words: WordList) -> Iterator[Problem]:
    """What the content filter says of a line, each kind once.

    What a model would learn to say counts as an error, what it would only read as a warning: data that teach to
    recognise insults contain some. Answers that it learns to avoid (`rejected`) are read, too. What shows minors in a
    sexual light is never allowed.
    """
    told: set[tuple[str, Category]] = set()
    for path, text, assistant in texts_of(value, shape):
        category = words.judge(text)
        if category is None:
            continue
        learnt = (assistant or shape is Shape.TEXT) and not path.startswith(_AVOIDED)
        code = "disallowed_content" if learnt or category is Category.MINORS else "delicate_content"
        if (code, category) not in told:
            told.add((code, category))
            yield make_problem(code, number, path, what=NAMES[category])
