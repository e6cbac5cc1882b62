"""The tutor: what is said about curves, and where the course goes on from there."""

from __future__ import annotations

import pytest

from bot.settings import ROOT
from bot.tutor import FAILURES, LESSONS, Lesson, Points, advise, lesson_after

# The first losses of a real training at fifty times the usual rate: it leaps, falls back, and ends above its start.
LEAPT = (0.81, 0.41, 6.7, 5.5, 5.1, 11.1, 9.8, 8.2, 7.2, 6.1, 6.1, 3.6, 3.5, 3.3, 3.5, 2.1, 2.3, 1.8, 1.7, 1.8, 4.0)


def falling(count: int = 30, start: float = 3.0, end: float = 1.0) -> Points:
    return tuple((step, start + (end - start) * step / (count - 1)) for step in range(count))


def said(losses: Points, eval_losses: Points = (), total_steps: int = 100) -> str:
    found = advise(losses, eval_losses, total_steps)
    return found.text if found else ""


def test_a_curve_that_falls_is_praised() -> None:
    assert said(falling()) == "Va bien: la pérdida baja de 2,83 a 1,17."
    assert said(falling(start=0.9, end=0.001)).endswith(" a 0,079.")


def test_a_validation_loss_that_rises_is_memorising() -> None:
    found = advise(falling(), ((10, 2.0), (20, 1.5), (30, 1.7), (40, 1.9)), 100)
    assert found is not None
    assert "memorizar" in found.text
    assert "paso 20" in found.text
    assert (found.lesson, found.good) == ("overfitting", False)


@pytest.mark.parametrize(
    "validation",
    [
        ((10, 2.0), (20, 1.5), (30, 1.7)),
        ((10, 2.0), (20, 1.5), (30, 1.505), (40, 1.51)),
        ((10, 0.002), (20, 0.001), (30, 0.0012), (40, 0.0014)),
        ((10, 2.0),),
    ],
)
def test_noise_in_the_validation_loss_is_none(validation: Points) -> None:
    assert "memorizar" not in said(falling(), validation)


@pytest.mark.parametrize("losses", [falling(start=2.0, end=6.0), tuple(enumerate(LEAPT, 1))])
def test_a_loss_that_ends_above_its_beginning_is_diverging(losses: Points) -> None:
    found = advise(losses, (), 24)
    assert found is not None
    assert "desbocando" in found.text
    assert found.lesson == "learning_rate"


@pytest.mark.parametrize("value", [2.0, 0.02])
def test_one_bad_step_is_no_divergence(value: float) -> None:
    assert "desbocando" not in said((*falling(end=value)[:-1], (99, 9.0)))


def test_a_flat_curve_learns_nothing_but_that_is_said_late() -> None:
    flat = tuple((step, 2.0) for step in range(60))
    assert advise(flat[:20], (), 100) is None
    assert "Casi no aprende" in said(flat)


def test_few_steps_are_said() -> None:
    assert "Son solo 8 pasos" in said(falling(8), (), 8)


def test_nothing_is_said_when_there_is_nothing_to_see() -> None:
    assert advise((), (), 0) is None


@pytest.mark.parametrize("lesson", LESSONS.values(), ids=LESSONS)
def test_each_lesson_is_a_page_of_the_course(lesson: Lesson) -> None:
    assert (ROOT / "course" / lesson.page).is_file()


def test_every_failure_has_a_lesson() -> None:
    assert set(FAILURES.values()) <= set(LESSONS)
    assert lesson_after(None) in LESSONS
    assert lesson_after("something new") in LESSONS
