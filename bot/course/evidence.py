"""Does the course cover this question? The gate before every answer.

Rule of this file: one number, a sum of signs for and against. For: concepts that the question names or describes and
that occur in this course. Against: words of other subjects, words that nobody here knows, named concepts that this
course never mentions, and asking who somebody is. Words of everyday life say nothing. The weights
were chosen near a logistic fit on the questions that docs/curso.md tells of.
"""

from __future__ import annotations

from dataclasses import dataclass

from bot.course.aims import Aim
from bot.course.index import Index
from bot.course.query import CONCEPT, PLAIN, Query


@dataclass(frozen=True, kw_only=True, slots=True)
class Signs:
    """Weights of the signs, and the sum from which on a question counts as covered."""

    strong: float = 1.6  # a concept named by a word of the field; the first two count
    weak: float = 0.2  # a concept named by one word that everyday life uses too
    alone: float = 0.4  # a concept, and nothing else in the question: «¿cuántos datos?»
    plain: float = 0.2  # a plain word of the field; the first two count
    described: float = 0.38  # per point of the best description above `noise`, at most `most`
    noise: float = 4.0
    most: float = 2.0
    lone: float = 0.55  # what a description counts that meets a single everyday word; it is often chance
    familiar: float = 0.12  # another word that the course uses
    headline: float = 0.7  # the same, when a title or heading uses it
    jargon: float = 0.85  # the same, when the course writes it like jargon
    foreign: float = -1.8  # a word of another subject
    unknown: float = -1.1
    absent: float = -1.6  # a named concept that the course never mentions
    person: float = -2.6  # who somebody is, who founded something
    price: float = -1.2  # what something costs
    exercise: float = -2.2  # a sum to be solved
    command: float = -4.0  # to leave one's rules, to recite
    courtesy: float = -4.0  # thanks, and nothing else
    enough: float = 0.44


def weigh(query: Query, index: Index, signs: Signs) -> float:
    """The sum of the signs; the question is covered from `signs.enough` on."""
    here = [concept for concept in query.named if index.frequency.get(CONCEPT + concept)]
    field = [concept for concept in here if not concept.startswith(PLAIN)]
    strong = sum(concept not in query.weak for concept in field)
    absent = sum(
        concept not in query.weak and concept not in here and not concept.startswith(PLAIN) for concept in query.named
    )
    described = max(
        (
            score * (signs.lone if concept in query.lone else 1.0)
            for concept, score in query.described.items()
            if index.frequency.get(CONCEPT + concept)
        ),
        default=0.0,
    )
    return (
        signs.strong * min(strong, 2)
        + signs.weak * sum(concept in query.weak for concept in field)
        + signs.alone * bool(field and query.bare)
        + signs.plain * min(query.plain, 2)
        + min(signs.described * max(described - signs.noise, 0.0), signs.most)
        + sum(_familiar(stem, index, signs) for stem in query.familiar)
        + _foreign(query, index, signs)
        + signs.unknown * len(query.unknown)
        + signs.absent * absent
        + sum(weight for aim, weight in _against(signs).items() if aim in query.aims)
    )


def _against(signs: Signs) -> dict[Aim, float]:
    return {
        Aim.PERSON: signs.person,
        Aim.PRICE: signs.price,
        Aim.EXERCISE: signs.exercise,
        Aim.COMMAND: signs.command,
        Aim.COURTESY: signs.courtesy,
    }


def _familiar(stem: str, index: Index, signs: Signs) -> float:
    if stem in index.jargon:
        return signs.jargon
    return signs.headline if stem in index.headline else signs.familiar


def _foreign(query: Query, index: Index, signs: Signs) -> float:
    """Words of another subject, unless a heading of this course is about just that: a server's «Horario de clases»."""
    asked, foreign = query.tokens.keys(), set(query.foreign)
    here = bool(foreign) and any(foreign <= heading and len(heading & asked) >= 2 for heading in index.headings)
    return (signs.headline if here else signs.foreign) * len(foreign)
