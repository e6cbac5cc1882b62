"""A course folder can be searched, and every passage can be found again in its file."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from bot.course import Course


@pytest.mark.parametrize(
    ("question", "heading"),
    [
        ("¿qué diferencia hay entre LoRA y QLoRA?", "Cuándo elegir QLoRA"),
        ("q es el sobreajsute", "Sobreajuste"),
        ("what is overfitting?", "Sobreajuste"),
        ("LORA QUE SE ENTRENA", "LoRA en dos minutos"),
    ],
)
def test_a_question_finds_its_passage_first(course: Course, question: str, heading: str) -> None:
    best = course.search(question, 1)[0]
    assert heading in (best.title, *best.heading) or f"## {heading}" in best.text


def test_passages_are_verbatim_slices_of_at_most_a_thousand_characters(course: Course, folder: Path) -> None:
    assert course.passages
    for passage in course.passages:
        assert len(passage.text) <= 1000
        assert passage.text in (folder / passage.file).read_text(encoding="utf-8")


def test_a_code_block_stays_whole(course: Course) -> None:
    holders = [passage for passage in course.passages if "LoraConfig" in passage.text]
    assert [passage.text.count("```") for passage in holders] == [2]


def test_the_questions_of_a_page_become_topics_and_not_passages(course: Course) -> None:
    assert "¿Cómo sé si mi modelo memoriza?" in course.topics.questions
    assert not any("Preguntas que responde" in passage.text for passage in course.passages)


def test_an_empty_folder_is_a_course_that_finds_nothing(tmp_path: Path) -> None:
    empty = Course.load(tmp_path)
    assert empty.search("¿qué es LoRA?") == []
    assert not empty.look_up("¿qué es LoRA?").found


def test_many_threads_may_search_at_once(course: Course) -> None:
    questions = [f"¿qué es LoRA y la palabra{number}ación?" for number in range(300)]
    with ThreadPoolExecutor(8) as pool:
        results = list(pool.map(lambda question: course.search(question, 3), questions))
    assert all(found[0].file == "lora.md" for found in results)
