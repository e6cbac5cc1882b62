"""What retrieval promises: students' questions find their page, and what the course does not cover is refused.

The questions of `benchmarks/preguntas.jsonl` are asked of the course that ships with Afina; the figures of the day are
in docs/curso.md. The limits here are a little below them, so that a page may change without breaking the build.
"""

from __future__ import annotations

import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest

from bot.course import Course
from bot.course.aims import Aim
from bot.course.analysis import Analyzer
from bot.course.ask_json import ask_object
from bot.course.evaluate import evaluate, read_items
from bot.course.glossary import Glossary
from bot.errors import BadInput
from bot.llm import QuotingAnswerer
from bot.settings import ROOT

QUESTIONS = ROOT / "benchmarks" / "preguntas.jsonl"


@pytest.fixture(scope="module")
def shipped() -> Course:
    return Course.load(ROOT / "course")


@pytest.fixture(scope="module")
def figures(shipped: Course) -> dict[str, Any]:
    return evaluate(QUESTIONS, shipped)


def test_there_are_at_least_two_hundred_questions_of_every_kind() -> None:
    items = read_items(QUESTIONS)
    assert sum(item.covered for item in items) >= 200
    assert {"directa", "mal escrita", "parafraseada", "espanglish", "inglés", "comparación"} <= {i.kind for i in items}


def test_the_right_page_is_among_the_first_five(figures: dict[str, Any]) -> None:
    assert figures["all"]["page_recall@5"] >= 0.93


@pytest.mark.parametrize(
    ("kind", "least"),
    [("directa", 0.95), ("mal escrita", 0.92), ("espanglish", 0.95), ("comparación", 0.95), ("parafraseada", 0.82)],
)
def test_every_kind_of_question_finds_its_page(figures: dict[str, Any], kind: str, least: float) -> None:
    assert figures["kinds"][kind]["page_recall@5"] >= least


def test_what_the_course_does_not_cover_is_refused(figures: dict[str, Any]) -> None:
    assert figures["off_topic"]["refused"] >= 0.85


def test_what_it_covers_is_answered(figures: dict[str, Any]) -> None:
    assert figures["all"]["refused"] <= 0.05


@pytest.mark.parametrize(
    "question",
    [
        "¿cuánto cuesta una A100 en la nube?",
        "receta de tortilla de patatas",
        "¿quién ganó el mundial?",
        "cómo instalo kubernetes",
        "cómo centro un div en css",
        "cómo entreno para un maratón",
        "what's the weather like today",
        "hola",
        "???",
        "asdf qwer zxcv",
        "",
    ],
)
def test_other_subjects_are_refused(shipped: Course, question: str) -> None:
    assert not shipped.look_up(question).found


@pytest.mark.parametrize(
    "question",
    ["cuánto cuesta entrenar un modelo", "qué precio tiene entrenar en azure", "cómo quito los duplicados"],
)
def test_everyday_words_do_not_outweigh_the_field(shipped: Course, question: str) -> None:
    assert shipped.look_up(question).found


@pytest.mark.parametrize(
    ("question", "page"),
    [
        ("q diferencia ai entre lora i qlora??", "22-qlora.md"),
        ("xq mi modelo se aprende los ejemplos d memoria", "25-sobreajuste.md"),
        ("qué es eso de guardar los pesos con números más chicos", "39-cuantizacion.md"),
        ("cómo hago finetuning pa q hable como yo", "01-que-es-el-ajuste-fino.md"),
        ("what is retrieval augmented generation?", "04-rag-o-ajuste-fino.md"),
        ("DPO vs KTO", "38-dpo-kto-orpo.md"),
        ("tokenisasion", "14-tokenizacion.md"),
        ("como se fucionan 2 modelos", "41-fusion-de-modelos.md"),
        ("q son los enbedins", "62-nlp.md"),
        ("free GPUs para students", "32-entornos-gratuitos.md"),
    ],
)
def test_students_spelling_finds_the_page(shipped: Course, question: str, page: str) -> None:
    assert page in [passage.file for passage in shipped.search(question, 5)]


def test_a_named_concept_that_a_course_never_mentions_is_not_covered(course: Course) -> None:
    assert not course.look_up("¿qué es Axolotl?").found


def test_an_everyday_word_of_one_description_is_no_evidence(shipped: Course) -> None:
    assert "agradecimiento" in shipped.look_up("agradezco todo").query.lone
    assert not shipped.look_up("¿qué hago si se me hace tarde?").found


def test_a_neighbouring_field_is_covered_only_by_a_course_that_treats_it(course: Course, tmp_path: Path) -> None:
    question = "¿cómo hago un sistema de recomendación con filtrado colaborativo?"
    assert not course.look_up(question).found
    (tmp_path / "a.md").write_text("# Sistemas de recomendación\n\nEl filtrado colaborativo compara gustos.", "utf-8")
    assert Course.load(tmp_path).look_up(question).found


def test_english_plurals_meet_their_singular() -> None:
    analyzer = Analyzer()
    for plural, singular in (("tokens", "token"), ("GPUs", "gpu"), ("prompts", "prompt"), ("models", "modelo")):
        assert analyzer.stems(plural) == analyzer.stems(singular)


def test_a_word_that_only_this_course_uses_is_covered(tmp_path: Path) -> None:
    (tmp_path / "a.md").write_text("# El método zepelín\n\nEl método zepelín entrena por las noches.", encoding="utf-8")
    assert Course.load(tmp_path).look_up("¿qué es el método zepelín?").found


def test_a_word_of_another_subject_is_covered_when_a_heading_is_about_just_that(tmp_path: Path) -> None:
    (tmp_path / "servidor.md").write_text("# Servidor\n\n## Precio del curso\n\nEl curso es gratis.\n", "utf-8")
    with_page = Course.load(ROOT / "course", tmp_path)
    assert with_page.look_up("¿cuál es el precio del curso?").found
    assert not with_page.look_up("¿qué precio tiene el pan?").found


@pytest.mark.parametrize(
    ("question", "about_the_course"),
    [("¿quién fundó OpenAI?", False), ("kien creo chatgpt", False), ("¿quién es el autor de este curso?", True)],
)
def test_asking_who_somebody_is_counts_against(course: Course, question: str, about_the_course: bool) -> None:
    assert (Aim.PERSON in course.look_up(question).query.aims) is not about_the_course


def test_the_glossary_gives_a_description_to_few_concepts() -> None:
    owners: dict[str, set[str]] = defaultdict(set)
    for concept in Glossary(Analyzer()).concepts.values():
        for phrase in concept.says.split(","):
            owners[phrase.strip()].add(concept.id)
    assert {phrase: ids for phrase, ids in owners.items() if phrase and len(ids) > 2} == {}


def test_the_json_of_an_answer_has_the_documented_shape(shipped: Course) -> None:
    answer = QuotingAnswerer(shipped).quote("¿qué es LoRA?")
    row = ask_object(answer, shipped, passages=3, id=7)
    assert list(row) == ["id", "question", "found", "answer", "sources", "passages"]
    assert row["found"] is True
    assert set(row["sources"][0]) == {"file", "title", "excerpt", "score"}
    assert len(row["passages"]) == 3
    assert all(set(passage) == {"file", "title", "text", "score"} for passage in row["passages"])
    assert all(len(passage["text"]) <= 1000 for passage in row["passages"])
    json.dumps(row)


def test_a_refusal_has_no_sources(shipped: Course) -> None:
    row = ask_object(QuotingAnswerer(shipped).quote("receta de tortilla"), shipped)
    assert (row["found"], row["sources"]) == (False, [])


def test_quoted_answers_fit_a_phone_and_quote_the_course(shipped: Course) -> None:
    for item in read_items(QUESTIONS)[::9]:
        answer = QuotingAnswerer(shipped).quote(item.question)
        assert len(answer.text) <= 1000
        assert len(answer.details) <= 1800
        assert answer.found == bool(answer.sources)
        for number in range(1, len(answer.sources) + 1):
            assert f"[{number}]" in answer.text


@pytest.mark.parametrize("line", ['{"kind": "x"}', "[1]", "no", '{"question": 5, "expect": 3}'])
def test_a_broken_question_file_names_the_line(tmp_path: Path, line: str) -> None:
    path = tmp_path / "preguntas.jsonl"
    path.write_text('{"question": "¿qué es LoRA?", "expect": ["LoRA"]}\n' + line, encoding="utf-8")
    with pytest.raises(BadInput, match="línea 2"):
        read_items(path)


@pytest.mark.parametrize(
    ("question", "near"),
    [
        ("receta de tortilla de patatas", False),
        ("¿cómo se hace un omelette?", False),
        ("¿qué temperatura hace en Lima?", False),
        ("resuelve x al cuadrado menos 4", False),
        ("¿puedo usar LoRA en WhatsApp?", True),
        ("¿cuáles son las fases de un entrenamiento?", True),
    ],
)
def test_what_is_not_covered_offers_questions_on_its_own_subject_or_else_where_the_course_begins(
    shipped: Course, question: str, near: bool
) -> None:
    offered = QuotingAnswerer(shipped).quote(question).suggestions
    assert offered
    assert (offered != shipped.topics.questions[:2]) is near
