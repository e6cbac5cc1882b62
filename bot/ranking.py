"""Which models people prefer: Bradley-Terry strengths of a server's blind votes.

Rule of this file: pure. A vote among several models counts as the winner against each of the others, a tie as half a
win each way. Every model also plays one drawn game against an average one, so that a single vote moves little and the
strengths always exist. Intervals are bootstrapped over whole votes, because the games within one are not independent.
Source: Hunter (2004), "MM algorithms for generalized Bradley-Terry models".
"""

from __future__ import annotations

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

RESAMPLES = 200
_MAX_ROUNDS = 1000  # of fitting
_EXACT, _ROUGH = 1e-7, 1e-3  # relative change of a strength at which fitting ends: the table, a resample
_PRIOR = 1.0  # drawn games against an average model


@dataclass(frozen=True, kw_only=True, slots=True)
class Ballot:
    """One person's vote."""

    models: tuple[str, ...]  # that were compared
    winner: str | None  # None: a tie


@dataclass(frozen=True, kw_only=True, slots=True)
class Standing:
    """How one model does."""

    model: str
    chance: float  # of winning against an average model, 0..1
    low: float  # 95 % interval
    high: float
    votes: int  # in which it took part


def rank(ballots: Sequence[Ballot], *, resamples: int = RESAMPLES, seed: int = 0) -> list[Standing]:
    """The models of `ballots`, best first."""
    ballots = [ballot for ballot in ballots if len(set(ballot.models)) > 1]
    models = sorted({model for ballot in ballots for model in ballot.models})
    if not models:
        return []
    chances = _chances(models, ballots)
    dice = random.Random(seed)
    samples = [_chances(models, dice.choices(ballots, k=len(ballots)), _ROUGH) for _ in range(resamples)]
    votes = Counter(model for ballot in ballots for model in set(ballot.models))
    standings = []
    for model in models:
        drawn = sorted(sample[model] for sample in samples) or [chances[model]]
        low, high = drawn[int(0.025 * len(drawn))], drawn[min(len(drawn) - 1, int(0.975 * len(drawn)))]
        standings.append(
            Standing(
                model=model,
                chance=chances[model],
                low=min(low, chances[model]),
                high=max(high, chances[model]),
                votes=votes[model],
            )
        )
    return sorted(standings, key=lambda standing: (-standing.chance, standing.model))


def _chances(models: Sequence[str], ballots: Iterable[Ballot], enough: float = _EXACT) -> dict[str, float]:
    """Each model's chance against an average one (strength 1)."""
    wins: defaultdict[str, float] = defaultdict(float)
    games: defaultdict[tuple[str, str], float] = defaultdict(float)
    for ballot in ballots:
        for first, second, score in _games(ballot):
            wins[first] += score
            wins[second] += 1 - score
            games[first, second] += 1
            games[second, first] += 1
    opponents = {model: [(other, count) for (one, other), count in games.items() if one == model] for model in models}
    strength = dict.fromkeys(models, 1.0)
    for _ in range(_MAX_ROUNDS):
        change = 0.0
        for model in models:
            mine = strength[model]
            expected = _PRIOR / (mine + 1) + sum(count / (mine + strength[o]) for o, count in opponents[model])
            strength[model] = (wins[model] + _PRIOR / 2) / expected
            change = max(change, abs(strength[model] / mine - 1))
        if change < enough:
            break
    return {model: strength[model] / (strength[model] + 1) for model in models}


def _games(ballot: Ballot) -> list[tuple[str, str, float]]:
    models = sorted(set(ballot.models))
    if ballot.winner is None:
        return [(a, b, 0.5) for index, a in enumerate(models) for b in models[index + 1 :]]
    return [(ballot.winner, other, 1.0) for other in models if other != ballot.winner]
