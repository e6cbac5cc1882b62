"""A server's ranking from blind votes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from bot.ranking import Ballot, rank

names = st.sampled_from(["a", "b", "c", "d"])
ballots = st.lists(
    st.lists(names, min_size=2, max_size=4, unique=True).flatmap(
        lambda models: st.builds(
            Ballot, models=st.just(tuple(models)), winner=st.one_of(st.none(), st.sampled_from(models))
        )
    ),
    max_size=20,
)


def votes(winner: str | None, loser: str, count: int) -> list[Ballot]:
    models = ("a", "b") if winner is None else (winner, loser)
    return [Ballot(models=models, winner=winner)] * count


def test_who_wins_more_stands_higher() -> None:
    table = rank([*votes("a", "b", 8), *votes("b", "a", 2), *votes("b", "c", 6), *votes("c", "b", 3)])
    assert [standing.model for standing in table] == ["a", "b", "c"]
    assert table[0].votes == 10
    assert table[0].low <= table[0].chance <= table[0].high


def test_ties_pull_together() -> None:
    decided = rank(votes("a", "b", 6))
    drawn = rank([*votes("a", "b", 6), *votes(None, "b", 20)])
    assert drawn[0].chance < decided[0].chance
    assert abs(rank(votes(None, "b", 5))[0].chance - 0.5) < 1e-9


def test_one_vote_moves_little_and_many_narrow_the_interval() -> None:
    assert rank(votes("a", "b", 1))[0].chance < 0.75
    few, many = rank([*votes("a", "b", 4), *votes("b", "a", 2)]), rank([*votes("a", "b", 80), *votes("b", "a", 40)])
    assert many[0].high - many[0].low < few[0].high - few[0].low


def test_a_vote_among_several_counts_against_each_of_the_others() -> None:
    table = rank([Ballot(models=("a", "b", "c", "d"), winner="c")] * 5)
    assert table[0].model == "c"
    assert len({round(standing.chance, 6) for standing in table[1:]}) == 1


def test_nothing_to_rank() -> None:
    assert rank([]) == []
    assert rank([Ballot(models=("a", "a"), winner="a")]) == []


@given(ballots)
def test_chances_are_chances_and_the_same_votes_give_the_same_table(given_ballots: list[Ballot]) -> None:
    table = rank(given_ballots, resamples=10)
    assert all(0 < s.low <= s.chance <= s.high < 1 for s in table)
    assert table == rank(given_ballots, resamples=10)
