"""Scores of the contenders and a verdict in words; pure.

Rule of this file: the verdict compares row by row. «Better» means better than the base *and* than answering without
reading the question (the majority label, or somebody else's answer): an adapter that learnt noise is neither.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass

from jobs.contract import Comparison, Evaluation, Score, Verdict
from jobs.gpu import scores

FEWEST_ROWS = 10  # below it no verdict
SURE = 0.02  # p of the paired test below which a difference counts


@dataclass(frozen=True, kw_only=True)
class Question:
    """One held-out row as it is judged."""

    text: str  # what was asked, for people
    expected: str


@dataclass(frozen=True, kw_only=True)
class Side:
    """One contender: its answers, and its loss where it was measured."""

    answers: list[str]
    prompt_tokens: float | None = None
    loss: float | None = None
    token_accuracy: float | None = None
    preferred: list[float] | None = None  # preference data: how right each row's choice is, 0..1
    row_losses: list[float] | None = None  # text data: loss of each row


def judge_answers(
    questions: Sequence[Question],
    trained: Sequence[str],
    *,
    base: Side,
    few_shot: Side | None,
    tuned: Side,
    shots: int = 0,
) -> Evaluation:
    """Of generated answers. `trained`: the answers of the training rows."""
    expected = [question.expected for question in questions]
    labels = scores.find_labels([*trained, *expected])
    blind = _blind_rows(expected, trained, labels)
    sides = {"base": base, "few_shot": few_shot, "tuned": tuned}
    judged = {name: _score(side, expected, labels) for name, side in sides.items() if side is not None}
    verdict = _verdict(_rows(tuned, expected, labels), _rows(base, expected, labels), blind)
    return Evaluation(
        examples=len(questions),
        labels=labels,
        majority=scores.majority_share(expected) if labels else None,
        few_shot_examples=shots,
        base=judged["base"],
        few_shot=judged.get("few_shot"),
        tuned=judged["tuned"],
        verdict=verdict,
        summary=summary(verdict, judged, "de aciertos" if labels else CLOSENESS, len(questions)),
        samples=_samples(questions, base, few_shot, tuned),
    )


def judge_preferences(questions: Sequence[Question], *, rows: int, base: Side, tuned: Side) -> Evaluation:
    """Of `rows` preferences: how often the better answer is the likelier one. `questions`: those that were answered."""
    judged = {name: _score_choice(side) for name, side in (("base", base), ("tuned", tuned))}
    verdict = _verdict(tuned.preferred or [], base.preferred or [], [0.5] * rows)
    return Evaluation(
        examples=rows,
        majority=0.5,
        base=judged["base"],
        tuned=judged["tuned"],
        verdict=verdict,
        summary=summary(verdict, judged, "de las veces prefiere la respuesta buena", rows),
        samples=_samples(questions, base, None, tuned),
    )


def judge_texts(*, base: Side, tuned: Side) -> Evaluation:
    """Of plain text, where nothing is asked: only how well the next token is guessed."""
    better = [-loss for loss in tuned.row_losses or []]
    before = [-loss for loss in base.row_losses or []]
    verdict = _verdict(better, before, before)
    judged = {name: Score(**_common(side)) for name, side in (("base", base), ("tuned", tuned))}
    return Evaluation(
        examples=len(better),
        base=judged["base"],
        tuned=judged["tuned"],
        verdict=verdict,
        summary=summary(verdict, judged, "de perplejidad", len(better)),
    )


def _score_choice(side: Side) -> Score:
    return Score(**_common(side), accuracy=scores.mean_interval(side.preferred or [0.0]))


def _common(side: Side) -> dict[str, float | None]:
    return {
        "loss": side.loss,
        "perplexity": None if side.loss is None else scores.perplexity(side.loss),
        "token_accuracy": side.token_accuracy,
        "prompt_tokens": side.prompt_tokens,
    }


def _score(side: Side, expected: Sequence[str], labels: Sequence[str]) -> Score:
    exact = scores.mean_interval(scores.exact_matches(side.answers, expected))
    common = {**_common(side), "exact_match": exact}
    if labels:
        return Score(**common, accuracy=exact, macro_f1=scores.macro_f1(side.answers, expected, labels))
    return Score(
        **common,
        chrf=scores.chrf_interval(side.answers, expected),
        bleu=scores.bleu(side.answers, expected),
        rouge_l=scores.rouge_l(side.answers, expected),
    )


def _rows(side: Side, expected: Sequence[str], labels: Sequence[str]) -> list[float]:
    """What the verdict compares: right or wrong for labels, chrF for free text."""
    return scores.exact_matches(side.answers, expected) if labels else scores.row_chrf(side.answers, expected)


def _blind_rows(expected: Sequence[str], trained: Sequence[str], labels: Sequence[str]) -> list[float]:
    """The rows of somebody who answers without reading: the majority label, or answers to other questions."""
    if labels:
        majority = max(labels, key=[scores.normalise(e) for e in expected].count)
        return scores.exact_matches([majority] * len(expected), expected)
    rng = random.Random(0)
    pool = list(trained) or list(expected)
    draws = [scores.row_chrf([rng.choice(pool) for _ in expected], expected) for _ in range(3)]
    return [sum(row) / len(draws) for row in zip(*draws, strict=True)]


def _verdict(tuned: Sequence[float], base: Sequence[float], blind: Sequence[float]) -> Verdict:
    if len(tuned) < FEWEST_ROWS:
        return Verdict.NOT_MEASURED
    if sum(tuned) < sum(base) and scores.paired_p(tuned, base) < SURE:
        return Verdict.WORSE
    better = all(sum(tuned) > sum(other) and scores.paired_p(tuned, other) < SURE for other in (base, blind))
    return Verdict.BETTER if better else Verdict.NO_DIFFERENCE


CLOSENESS = "de parecido con la respuesta esperada (chrF)"


def summary(verdict: Verdict, judged: dict[str, Score], measure: str, count: int) -> str:
    """One or two Spanish sentences."""
    if verdict is Verdict.NOT_MEASURED:
        return (
            f"Con {count} ejemplos de evaluación no se puede decir nada seguro: harían falta al menos {FEWEST_ROWS}. "
            "Sube más ejemplos."
        )
    base, tuned = _figure(judged["base"]), _figure(judged["tuned"])
    figures = f"{base} → {tuned} {measure} en {count} ejemplos que no vio"
    if verdict is Verdict.WORSE:
        return f"Ha empeorado: {figures}. No lo uses; revisa los datos o baja la tasa de aprendizaje."
    if verdict is Verdict.NO_DIFFERENCE:
        return f"Sin diferencia clara: {figures}. Prueba con más ejemplos o más variados antes de usarlo."
    few_shot = judged.get("few_shot")
    if few_shot is not None and _value(few_shot) >= _value(judged["tuned"]):
        return f"Ha mejorado: {figures}. Aun así, la base con ejemplos en el prompt llega a {_figure(few_shot)}."
    return f"Ha mejorado: {figures}."


def _value(score: Score) -> float:
    """The figure that a verdict is worded with."""
    if score.accuracy is not None:
        return 100 * score.accuracy.value
    if score.chrf is not None:
        return score.chrf.value
    return score.perplexity or 0.0


def _figure(score: Score) -> str:
    number = f"{_value(score):.1f}".replace(".", ",").removesuffix(",0")
    return f"{number}\u00a0%" if score.accuracy is not None else number


def _samples(questions: Sequence[Question], base: Side, few_shot: Side | None, tuned: Side) -> tuple[Comparison, ...]:
    """Five rows, spread evenly over those that were answered."""
    answered = min(len(questions), len(base.answers), len(tuned.answers))
    count = min(5, answered)
    chosen = [round(i * (answered - 1) / max(1, count - 1)) for i in range(count)]
    return tuple(
        Comparison(
            prompt=questions[i].text,
            expected=questions[i].expected,
            base=base.answers[i],
            few_shot=few_shot.answers[i] if few_shot else None,
            tuned=tuned.answers[i],
        )
        for i in chosen
    )
