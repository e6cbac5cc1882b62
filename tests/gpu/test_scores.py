"""The figures agree with their definitions, computed here in another way."""

from __future__ import annotations

import itertools
import math
import random
import unicodedata
from collections.abc import Callable

import pytest
import sacrebleu

from jobs.gpu import scores

ANSWERS = ["rojo", "azul", "rojo", "verde", "azul", "no sé"]
EXPECTED = ["rojo", "rojo", "rojo", "verde", "azul", "azul"]


def test_exact_match_ignores_spaces_and_unicode_forms_only() -> None:
    pairs = [(" rojo ", "rojo"), ("cafe\u0301", "café"), ("Rojo", "rojo"), ("a  b", "a b"), ("rojo.", "rojo")]
    assert scores.exact_matches(*zip(*pairs, strict=True)) == [1, 1, 0, 1, 0]


def test_macro_f1_is_the_mean_of_the_labels_f1() -> None:
    def f1(label: str) -> float:
        hits = sum(a == e == label for a, e in zip(ANSWERS, EXPECTED, strict=True))
        precision, recall = hits / ANSWERS.count(label), hits / EXPECTED.count(label)
        return 2 * precision * recall / (precision + recall)

    assert scores.macro_f1(ANSWERS, EXPECTED, ["rojo", "azul", "verde"]) == pytest.approx(
        sum(map(f1, ["rojo", "azul", "verde"])) / 3
    )
    assert scores.macro_f1(["x"], ["rojo"], ["rojo"]) == 0.0


@pytest.mark.parametrize(
    ("answers", "labels"),
    [
        (["sí", "no", "sí"] * 4, ("sí", "no")),
        (["a", "b"], ()),  # nothing repeats
        (["siempre igual"] * 9, ()),  # one answer is no choice
        (["esto es una respuesta larga que nadie usaría como etiqueta", "no"] * 9, ()),
        ([str(number) for number in range(30)] * 3, ()),  # too many
    ],
)
def test_labels_are_answers_that_are_short_few_and_repeated(answers: list[str], labels: tuple[str, ...]) -> None:
    assert scores.find_labels(answers) == labels


def test_the_majority_is_the_most_frequent_answer() -> None:
    assert scores.majority_share(EXPECTED) == 0.5


def test_chrf_and_bleu_are_those_of_sacrebleu() -> None:
    answers, expected = ["el gato come pescado fresco", "hola"], ["el gato come carne muy fresca", "hola amigo"]
    assert scores.chrf(answers, expected) == pytest.approx(sacrebleu.corpus_chrf(answers, [expected]).score)
    assert scores.bleu(answers, expected) == pytest.approx(sacrebleu.corpus_bleu(answers, [expected]).score)


@pytest.mark.parametrize(
    ("answer", "expected", "value"),
    [
        ("a b c", "a b c", 1.0),
        ("a x c", "a b c", 2 / 3),
        ("c b a", "a b c", 1 / 3),
        ("", "a", 0.0),
        ("A B", "a b", 1.0),
    ],
)
def test_rouge_l_is_the_f1_of_the_longest_common_subsequence(answer: str, expected: str, value: float) -> None:
    assert scores.rouge_l([answer], [expected]) == pytest.approx(value)


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_free_text_is_compared_in_one_unicode_form(form: str) -> None:
    expected = ["la canción más corta de abril", "mañana será otro día"]
    answers = [unicodedata.normalize(form, text) for text in expected]
    assert scores.chrf(answers, expected) == pytest.approx(100)
    assert scores.bleu(answers, expected) == pytest.approx(100)
    assert scores.row_chrf(answers, expected) == pytest.approx([100, 100])
    assert scores.rouge_l(answers, expected) == 1


@pytest.mark.parametrize(
    ("draw", "mean"),
    [(lambda rng: float(rng.random() < 0.7), 0.7), (lambda rng: rng.betavariate(2, 1), 2 / 3)],
    ids=["right or wrong", "closeness"],
)
@pytest.mark.parametrize("rows", [5, 10, 20, 60])
def test_an_interval_covers_the_mean_about_nineteen_times_in_twenty(
    draw: Callable[[random.Random], float], mean: float, rows: int
) -> None:
    rng = random.Random(1)
    intervals = [scores.mean_interval([draw(rng) for _ in range(rows)]) for _ in range(200)]
    covered = sum(interval.low <= mean <= interval.high for interval in intervals) / len(intervals)
    assert 0.88 <= covered <= 1
    assert rows < 20 or covered <= 0.99


def test_the_paired_test_counts_all_flips_of_few_rows() -> None:
    ours, theirs = [1, 1, 1, 0, 1, 1], [0, 0, 1, 0, 0, 1]
    differences = [a - b for a, b in zip(ours, theirs, strict=True) if a != b]
    flipped = [
        abs(sum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in itertools.product((1, -1), repeat=len(differences))
    ]
    assert scores.paired_p(ours, theirs) == sum(value >= abs(sum(differences)) for value in flipped) / len(flipped)


def test_the_paired_test_rarely_sees_a_difference_in_noise() -> None:
    rng = random.Random(2)
    seen = 0
    for _ in range(200):
        ours, theirs = ([float(rng.random() < 0.5) for _ in range(40)] for _ in range(2))
        seen += scores.paired_p(ours, theirs) < 0.05
    assert seen / 200 <= 0.09
    assert scores.paired_p([1.0] * 9, [1.0] * 9) == 1.0


def test_perplexity_is_e_to_the_loss() -> None:
    assert scores.perplexity(math.log(7)) == pytest.approx(7)
