"""The verdict: better only where it is, also against somebody who does not read the question."""

from __future__ import annotations

import random

import pytest

from jobs.contract import Verdict
from jobs.gpu.verdict import Question, Side, judge_answers, judge_preferences, judge_texts

LABELS = ["rojo", "azul", "verde", "gris"]
EXPECTED = [LABELS[index % 4] for index in range(60)]
QUESTIONS = [Question(text=f"¿{index}?", expected=answer) for index, answer in enumerate(EXPECTED)]


def side(answers: list[str]) -> Side:
    return Side(answers=answers, prompt_tokens=10.0, loss=1.0, token_accuracy=0.5)


def noisy(share: float, seed: int = 0) -> list[str]:
    """The right label with a probability, otherwise any."""
    rng = random.Random(seed)
    return [answer if rng.random() < share else rng.choice(LABELS) for answer in EXPECTED]


def judged(tuned: list[str], base: list[str], few_shot: list[str] | None = None):
    few = side(few_shot) if few_shot else None
    return judge_answers(QUESTIONS, EXPECTED * 3, base=side(base), few_shot=few, tuned=side(tuned), shots=4)


def test_a_model_that_learnt_the_labels_is_better() -> None:
    evaluation = judged(noisy(0.9), ["bla"] * 60)
    assert evaluation.verdict is Verdict.BETTER
    assert evaluation.labels == tuple(LABELS)
    assert evaluation.majority == 0.25
    assert evaluation.summary.startswith("Ha mejorado: 0\u00a0% → ")


@pytest.mark.parametrize("seed", range(20))
def test_labels_at_random_are_no_improvement_over_a_base_that_knows_no_label(seed: int) -> None:
    assert judged(noisy(0.0, seed), ["bla"] * 60).verdict is Verdict.NO_DIFFERENCE


def test_always_the_majority_label_is_no_improvement_either() -> None:
    assert judged(["rojo"] * 60, ["bla"] * 60).verdict is Verdict.NO_DIFFERENCE


def test_a_model_that_forgot_is_worse_and_the_advice_is_not_to_use_it() -> None:
    evaluation = judged(noisy(0.1), noisy(0.95))
    assert evaluation.verdict is Verdict.WORSE
    assert "No lo uses" in evaluation.summary


def test_a_base_that_does_as_well_with_examples_is_mentioned() -> None:
    assert "con ejemplos en el prompt" in judged(noisy(0.9), ["bla"] * 60, few_shot=EXPECTED).summary


def test_with_few_rows_nothing_is_claimed() -> None:
    evaluation = judge_answers(QUESTIONS[:6], EXPECTED, base=side(["bla"] * 6), few_shot=None, tuned=side(EXPECTED[:6]))
    assert evaluation.verdict is Verdict.NOT_MEASURED
    assert "al menos 10" in evaluation.summary


WORDS = ["gato", "come", "pan", "casa", "azul", "tiene", "flores", "mayo", "huelen", "mar", "sol", "norte"]
TEXTS = [" ".join(random.Random(index).sample(WORDS, 8)) for index in range(40)]
ASKED = [Question(text=str(index), expected=text) for index, text in enumerate(TEXTS)]


class TestFreeText:
    def judge(self, tuned: list[str], base: list[str]) -> Verdict:
        return judge_answers(ASKED, TEXTS, base=side(base), few_shot=None, tuned=side(tuned)).verdict

    def test_answers_close_to_those_expected_are_better(self) -> None:
        assert self.judge([text[:-4] for text in TEXTS], ["???"] * 40) is Verdict.BETTER

    def test_the_right_style_with_the_answers_of_others_is_no_difference(self) -> None:
        shuffled = TEXTS[1:] + TEXTS[:1]
        assert self.judge(shuffled, ["???"] * 40) is Verdict.NO_DIFFERENCE


def test_five_samples_are_shown_from_all_over() -> None:
    samples = judged(noisy(0.9), ["bla"] * 60).samples
    assert [sample.prompt for sample in samples] == ["¿0?", "¿15?", "¿30?", "¿44?", "¿59?"]


def test_preferences_are_compared_with_a_coin() -> None:
    before = Side(answers=["a"] * 5, preferred=[0.0, 1.0] * 15)
    assert judge_preferences(
        QUESTIONS[:30], rows=30, base=before, tuned=Side(answers=["b"] * 5, preferred=[1.0] * 30)
    ).verdict is (Verdict.BETTER)
    assert judge_preferences(QUESTIONS[:30], rows=30, base=before, tuned=before).verdict is Verdict.NO_DIFFERENCE


def test_text_is_compared_by_the_loss_of_each_row() -> None:
    def texts(loss: float) -> Side:
        return Side(answers=[], loss=loss, token_accuracy=0.1, row_losses=[loss + i / 10 for i in range(20)])

    assert judge_texts(base=texts(3.0), tuned=texts(2.0)).verdict is Verdict.BETTER
    assert judge_texts(base=texts(3.0), tuned=texts(3.5)).verdict is Verdict.WORSE
