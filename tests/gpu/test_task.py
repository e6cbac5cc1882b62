"""The demo's task is honest: balanced, held out by combination, and unknown to afina-mini."""

from __future__ import annotations

import itertools
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from jobs.dataset import check_file, read_examples
from jobs.gpu import mini_text
from playground import task

SEEDS = range(5)


def questions(rows: list[task.Row]) -> list[str]:
    return [row["messages"][0]["content"] for row in rows]


def labels(rows: list[task.Row]) -> Counter[str]:
    return Counter(row["messages"][1]["content"] for row in rows)


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text.lower())


@pytest.mark.parametrize("seed", SEEDS)
def test_labels_are_balanced_on_both_sides(seed: int) -> None:
    train, held_out = task.rows(seed)
    assert set(labels(train).values()) == {50}
    assert set(labels(held_out).values()) == {15}


def test_the_same_seed_gives_the_same_rows_and_another_others() -> None:
    assert task.rows(1) == task.rows(1)
    assert task.rows(1) != task.rows(2)


@pytest.mark.parametrize("seed", SEEDS)
def test_held_out_rows_put_known_words_together_in_new_ways(seed: int) -> None:
    train, held_out = task.rows(seed)
    known = {word for question in questions(train) for word in words(question)}
    assert {word for question in questions(held_out) for word in words(question)} <= known

    def pairs(rows: list[task.Row]) -> set[tuple[str, str]]:
        things = [thing for group in task.THINGS.values() for thing in group]
        frames = {frame: set(words(re.sub(r"\{\w+\}", "", frame))) for frame in task.FRAMES}
        found = set()
        for question in questions(rows):
            [thing] = [t for t in things if t in question.lower()]
            spoken = set(words(question))
            frame = max((f for f in frames if frames[f] <= spoken), key=lambda f: len(frames[f]))
            found.add((thing, frame))
        return found

    assert not pairs(train) & pairs(held_out)


def test_the_file_passes_the_dataset_desk(tmp_path: Path) -> None:
    train, _ = task.rows(1)
    path = tmp_path / "taller.jsonl"
    path.write_text(task.to_jsonl(train), encoding="utf-8")
    assert check_file(path).verdict == "valid"
    assert [example.answer for example in read_examples(path)] == [row["messages"][1]["content"] for row in train]


@pytest.mark.parametrize("seed", SEEDS)
def test_the_broken_file_is_wrong_where_it_says(tmp_path: Path, seed: int) -> None:
    broken = task.broken_file(seed)
    path = tmp_path / "roto.jsonl"
    path.write_text(broken.text, encoding="utf-8")
    report = check_file(path)
    assert report.verdict == "rejected"
    assert {problem.line for problem in report.problems if problem.severity == "error"} == set(broken.mistakes)


def test_afina_mini_has_not_seen_the_task() -> None:
    """Four words in a row, a thing or a label of the task occur in no conversation, nor five words in the course."""

    def sequences(texts: list[str], length: int = 4) -> set[tuple[str, ...]]:
        return {tuple(w[i : i + length]) for w in map(words, texts) for i in range(len(w) - length + 1)}

    asked = [question for seed in SEEDS for rows in task.rows(seed) for question in questions(rows)]
    talks = list(itertools.islice(mini_text.conversations(7, []), 8_000))
    made = [text for turns in talks for turn in turns for text in turn]
    assert not sequences(asked) & sequences(made)
    vocabulary = {word for text in made for word in words(text)}
    things = {word for group in task.THINGS.values() for thing in group for word in words(thing) if len(word) > 3}
    assert not things & vocabulary
    assert not set(task.THINGS) & vocabulary
    course = mini_text.course_pages(Path(mini_text.__file__).parents[2] / "course")
    assert not sequences(asked, 5) & sequences(course, 5)


def test_the_conversations_come_from_a_seed() -> None:
    pages = ["# Gatos\n\nUn gato es un animal.\n\n## Preguntas que responde esta página\n\n- ¿Qué es un gato?\n"]
    first, second = (list(itertools.islice(mini_text.conversations(3, pages), 50)) for _ in range(2))
    assert first == second
    assert mini_text.course_turns(pages[0])[0] == ("¿Qué es un gato?", "Un gato es un animal.")


def test_rows_survive_json() -> None:
    train, _ = task.rows(1)
    assert [json.loads(line) for line in task.to_jsonl(train).splitlines()] == train
