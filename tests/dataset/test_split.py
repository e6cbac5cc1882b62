"""Train and validation: the same every time, and what gives each other away on one side."""

from __future__ import annotations

import pytest

from jobs.dataset import split_examples
from jobs.dataset.example import Example, Kind, Message


def chats(*turns: tuple[str, str]) -> list[Example]:
    """One example a pair of what was said first, by the system or a user, and the answer."""
    return [
        Example(
            line=number,
            kind=Kind.CHAT,
            messages=(
                Message(role="system" if first.startswith("Eres") else "user", content=first),
                Message(role="assistant", content=answer, learn=True),
            ),
        )
        for number, (first, answer) in enumerate(turns, 1)
    ]


def test_a_tenth_is_kept_apart_and_every_example_is_on_one_side() -> None:
    examples = chats(*((f"pregunta {i}", "sí") for i in range(60)))
    train, held_out = split_examples(examples, fraction=0.1, seed=1)
    assert len(held_out) == 6
    assert sorted(train + held_out, key=lambda example: example.line) == examples
    assert split_examples(examples, fraction=0.1, seed=1) == (train, held_out)


def test_twins_never_stand_on_both_sides() -> None:
    examples = chats(*((f"pregunta {i % 20}", f"respuesta {i}") for i in range(60)))
    train, held_out = split_examples(examples, fraction=0.2, seed=3)
    asked = [{example.messages[0].content for example in side} for side in (train, held_out)]
    assert held_out
    assert not asked[0] & asked[1]


@pytest.mark.parametrize("seed", range(8))
def test_a_question_that_most_examples_share_trains_whatever_the_dice_say(seed: int) -> None:
    examples = chats(*(("cuéntame un chiste" if i % 10 else f"pregunta {i}", f"respuesta {i}") for i in range(100)))
    held_out = split_examples(examples, fraction=0.1, seed=seed)[1]
    assert 1 <= len(held_out) <= 10
    assert all(example.messages[0].content != "cuéntame un chiste" for example in held_out)


def test_where_every_group_is_too_large_the_smallest_is_held_out() -> None:
    examples = chats(*(("larga" if i % 4 else "corta", f"respuesta {i}") for i in range(20)))
    assert len(split_examples(examples, fraction=0.1, seed=1)[1]) == 5


def test_conversations_that_only_the_system_opens_differ_by_what_it_says() -> None:
    held_out = split_examples(chats(*((f"Eres poeta {i}", "verso") for i in range(20))), fraction=0.2, seed=1)[1]
    assert len(held_out) == 4


@pytest.mark.parametrize("examples", [chats(("hola", "sí")), chats(("hola", "sí"), ("Hola", "no"))])
def test_a_single_group_trains_whole(examples: list[Example]) -> None:
    assert split_examples(examples, fraction=0.5, seed=1) == (examples, [])
