"""How good answers are: pure functions over strings and numbers, no model.

Rule of this file: the usual definitions, nothing of our own, over texts in Unicode NFC. Exact match after spaces are
collapsed; macro-F1 over the task's labels with 0 where a label is never right; chrF and BLEU are sacrebleu's corpus
scores; ROUGE-L is the mean F1 of the longest common subsequence of lower-case words. Intervals are 95 % percentile
bootstrap over the rows, with a fixed seed (wider for few rows; at the edges, the exact binomial bound); the paired test
flips signs.
"""

from __future__ import annotations

import math
import unicodedata
from collections import Counter
from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF

from jobs.contract import Interval

RESAMPLES = 2000
MOST_LABELS = 20
LONGEST_LABEL = 40  # characters


def normalise(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).split())


def _composed(texts: Sequence[str]) -> list[str]:
    return [unicodedata.normalize("NFC", text) for text in texts]


def exact_matches(answers: Sequence[str], expected: Sequence[str]) -> list[float]:
    """1.0 or 0.0 a row."""
    return [float(normalise(a) == normalise(e)) for a, e in zip(answers, expected, strict=True)]


def find_labels(answers: Sequence[str]) -> tuple[str, ...]:
    """The labels, most frequent first, if these answers are labels: short, few, and repeated; else ()."""
    counts = Counter(normalise(answer) for answer in answers)
    if not 2 <= len(counts) <= MOST_LABELS or max(map(len, counts)) > LONGEST_LABEL:
        return ()
    return tuple(label for label, _ in counts.most_common()) if len(answers) >= 3 * len(counts) else ()


def majority_share(expected: Sequence[str]) -> float:
    """Accuracy of always giving the most frequent of these answers."""
    counts = Counter(map(normalise, expected))
    return max(counts.values()) / len(expected) if expected else 0.0


def macro_f1(answers: Sequence[str], expected: Sequence[str], labels: Sequence[str]) -> float:
    given, wanted = [*map(normalise, answers)], [*map(normalise, expected)]
    total = 0.0
    for label in labels:
        right = sum(a == label == e for a, e in zip(given, wanted, strict=True))
        total += 2 * right / max(1, given.count(label) + wanted.count(label))
    return total / len(labels) if labels else 0.0


def row_chrf(answers: Sequence[str], expected: Sequence[str]) -> list[float]:
    """chrF of each row, 0..100; for the paired test."""
    metric = CHRF()
    pairs = zip(_composed(answers), _composed(expected), strict=True)
    return [metric.sentence_score(a, [e]).score for a, e in pairs]


def chrf(answers: Sequence[str], expected: Sequence[str]) -> float:
    return float(CHRF().corpus_score(_composed(answers), [_composed(expected)]).score)


def bleu(answers: Sequence[str], expected: Sequence[str]) -> float | None:
    """None where no expected answer has four words: BLEU would be 0 also for perfect answers."""
    if all(len(text.split()) < 4 for text in expected):
        return None
    return float(BLEU(effective_order=False).corpus_score(_composed(answers), [_composed(expected)]).score)


def rouge_l(answers: Sequence[str], expected: Sequence[str]) -> float:
    """Mean over the rows, 0..1."""
    pairs = zip(_composed(answers), _composed(expected), strict=True)
    rows = [_lcs_f1(a.lower().split(), e.lower().split()) for a, e in pairs]
    return sum(rows) / len(rows) if rows else 0.0


def _lcs_f1(answer: list[str], expected: list[str]) -> float:
    if not answer or not expected:
        return float(answer == expected)
    previous = [0] * (len(expected) + 1)
    for word in answer:
        current = [0]
        for index, other in enumerate(expected):
            current.append(previous[index] + 1 if word == other else max(previous[index + 1], current[index]))
        previous = current
    return 2 * previous[-1] / (len(answer) + len(expected))


# -- how sure ----------------------------------------------------------------------------------------------------------


def mean_interval(rows: Sequence[float], *, scale: float = 1.0) -> Interval:
    """The mean of per-row scores and its 95 % bootstrap interval.

    Resampling cannot doubt rows that are all right or all wrong; there it is the exact binomial bound: n of n right
    says that a rate below 0.05 ** (1 / n) is unlikely.
    """
    if set(rows) in ({0.0}, {1.0}):
        doubt = 1 - 0.05 ** (1 / len(rows))
        low, high = (0.0, doubt) if rows[0] == 0.0 else (1 - doubt, 1.0)
        return Interval(value=float(rows[0]) * scale, low=low * scale, high=high * scale)
    values = np.asarray(rows, dtype=float) * scale
    means = values[_resamples(len(values))].mean(axis=1)
    tail = _tail(len(values))
    low, high = np.percentile(means, [tail, 100 - tail])
    return Interval(value=float(values.mean()), low=float(low), high=float(high))


def _tail(count: int) -> float:
    """The percentile of resampled means where 95 % begin: 2.5 for many rows, less for few.

    Few rows vary less than what they were drawn from (Hesterberg 2015, expanded percentiles): Student's t in place of
    the normal quantile, by its expansion, and the variance's n / (n - 1).
    """
    z, free = NormalDist().inv_cdf(0.975), max(1, count - 1)
    t = z + (z**3 + z) / (4 * free) + (5 * z**5 + 16 * z**3 + 3 * z) / (96 * free**2)
    return 100 * NormalDist().cdf(-t * math.sqrt(count / free))


def chrf_interval(answers: Sequence[str], expected: Sequence[str]) -> Interval:
    """Corpus chrF; the interval is that of the mean of the rows' chrF, moved onto the corpus value."""
    value = chrf(answers, expected)
    rows = mean_interval(row_chrf(answers, expected))
    return Interval(
        value=value, low=max(0.0, value + rows.low - rows.value), high=min(100.0, value + rows.high - rows.value)
    )


def _resamples(count: int) -> NDArray[np.int64]:
    return np.random.default_rng(0).integers(0, count, size=(RESAMPLES, count))


def paired_p(ours: Sequence[float], theirs: Sequence[float]) -> float:
    """Two-sided p of «the two are equally good», by flipping the signs of the rows' differences.

    All flips where there are few different rows, 20 000 random ones otherwise. 1.0 where no row differs.
    """
    differences = np.asarray(ours, dtype=float) - np.asarray(theirs, dtype=float)
    differences = differences[differences != 0]
    if len(differences) == 0:
        return 1.0
    if len(differences) <= 14:
        flips = ((np.arange(2 ** len(differences))[:, None] >> np.arange(len(differences))) & 1) * 2 - 1
    else:
        flips = np.random.default_rng(0).integers(0, 2, size=(20_000, len(differences))) * 2 - 1
    sums = np.abs(flips @ differences)
    observed = abs(differences.sum())
    extreme = int((sums >= observed - 1e-9).sum())
    return (extreme + (len(differences) > 14)) / (len(sums) + (len(differences) > 14))


def perplexity(loss: float) -> float:
    return math.exp(min(loss, 50.0))
