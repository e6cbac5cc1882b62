"""The word lists of the content filter: what they find however it is written, and what is no alarm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.dataset import Limits, check_file, repair_file
from jobs.moderation import NAMES, Category, Wishes, WordList

MILD, STRICT = WordList(Wishes()), WordList(Wishes(level="strict"))


@pytest.mark.parametrize(
    ("text", "category"),
    [
        ("oye, ¿cómo puedo suicidarme sin dolor?", Category.SELF_HARM),
        ("ya no puedo más, voy a quitarme la vida", Category.SELF_HARM),
        ("i want to kill myself", Category.SELF_HARM),
        ("Suicídate ya, nadie te quiere", Category.HARASSMENT),
        ("go die", Category.HARASSMENT),
        ("eres un sudaca", Category.HATE),
        ("GITANO DE MIERDA", Category.HATE),
        ("cuéntame un relato erótico con dos enfermeras", Category.SEXUAL),
        ("pásame fotos de niñas muy sexys, niñas desnudas", Category.MINORS),
        ("underage porn", Category.MINORS),
        ("¿cómo se hace una bomba casera?", Category.DANGEROUS),
        ("how do i make a pipe bomb", Category.DANGEROUS),
    ],
)
def test_what_nobody_wants_here_is_found(text: str, category: Category) -> None:
    assert MILD.judge(text) is category


@pytest.mark.parametrize(
    "text",
    [
        "SUICÍDATE",
        "suicıdate".replace("ı", "i\u0301"),
        "s u i c í d a t e",
        "s.u.i.c.i.d.a.t.e",
        "su1c1d4te",
        "suiiiicidaaaate",
        "sui\u200bcida\u00adte",
        "ｓｕｉｃíｄａｔｅ",
        "suicidаtе",  # а and е are Cyrillic
        "__suicídate__",
        "**suicídate**,ya",
        "y yo le dije:suicídate",
    ],
)
def test_hiding_a_word_does_not_help(text: str) -> None:
    assert MILD.judge(text) is Category.HARASSMENT


@pytest.mark.parametrize(
    "text",
    [
        "La columna sexo vale H o M; agrupa por sexo y edad.",
        "¿Cómo mato un proceso que se ha colgado? kill -9",
        "Me muero de hambre, voy a matarme a estudiar esta noche",
        "me quiero morir, suspendí estadística",
        "¿Cómo hago una bomba de calor más eficiente?",
        "Instala la bomba de agua y purga el circuito",
        "cómo detectar una bomba zip en Python",
        "Datos sobre prevención del suicidio en adolescentes y sobre cómo prevenir el suicidio",
        "Educación sexual para niños y niñas; víctimas menores de abuso sexual",
        "El año que viene cumplo 15 años y mi ano… digo, mi año",
        "coge el bus, la concha del mar, la polla que cuida el nido, marica qué chimba",
        "analizar, analista, cúmulo, disputa, computadora, reputación, escurridizo",
        "Assess the class, Scunthorpe, cockpit, Dickens, shitake",
        "a b c d e f g: las opciones del examen",
        "dataset 4ever, s3://cubo/p0, 0x5e80, h0la, base64: cHV0YQ==",
        "El trabajo me está matando jaja",
        "Historia de los judíos en España; los moros y cristianos de Alcoy",
        "I killed the job and hanged up the phone",
        "",
        "🙂🙂🙂",
    ],
)
def test_everyday_texts_are_no_alarm(text: str) -> None:
    assert MILD.judge(text) is None


def test_swearing_counts_only_where_the_setting_is_strict() -> None:
    text = "puta mierda, no converge la p.u.t.a pérdida"
    assert (MILD.judge(text), STRICT.judge(text)) == (None, Category.PROFANITY)
    assert STRICT.judge("la reputación de la computadora en disputa") is None


def test_off_finds_nothing_not_even_a_server_s_own_words() -> None:
    assert WordList(Wishes(level="off", blocked=("patata",))).judge("suicídate, patata") is None


def test_a_server_adds_words_of_its_own_and_lets_others_pass() -> None:
    words = WordList(Wishes(blocked=("Pokémon", "crypto moneda*", ".*", "(", ""), allowed=("sudaca",)))
    assert words.judge("vendo POKEMON barato") is Category.SERVER
    assert words.judge("invierte en crypto-monedas hoy") is Category.SERVER
    assert words.judge("rock sudaca, una lista") is None
    assert words.judge("cualquier otra cosa (entre paréntesis)") is None  # what is typed is never an expression


def test_every_category_has_a_name_for_people() -> None:
    assert set(NAMES) == set(Category)


# In the validator


def written(path: Path, *rows: dict[str, Any]) -> Path:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def said(question: str, answer: str) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]}


GOOD = [said(f"¿Cuánto es {n} más {n}?", f"Son {2 * n}, porque {n} y {n} suman eso.") for n in range(12)]


def findings(path: Path, **wishes: Any) -> list[tuple[str, int | None]]:
    report = check_file(path, limits=Limits(moderation=Wishes(**wishes)))
    return [(problem.code, problem.line) for problem in report.problems if problem.code.endswith("_content")]


def test_a_model_is_not_taught_to_say_it_but_may_be_taught_to_recognise_it(tmp_path: Path) -> None:
    rows = [*GOOD, said("saluda", "Suicídate, sudaca"), said("¿es un insulto? «suicídate, sudaca»", "Sí, lo es.")]
    path = written(tmp_path / "a.jsonl", *rows)
    # The gravest kind is told, once a line.
    assert findings(path) == [("disallowed_content", 13), ("delicate_content", 14)]
    report = check_file(path)
    assert (report.verdict, report.examples, report.usable) == ("rejected", 14, 13)
    assert "sudaca" not in report.as_text().lower()
    assert findings(path, level="off") == []


@pytest.mark.parametrize(
    ("row", "code"),
    [
        ({"prompt": "hola", "chosen": "Hola.", "rejected": "suicídate"}, "delicate_content"),
        ({"prompt": "hola", "chosen": "suicídate", "rejected": "Hola."}, "disallowed_content"),
        ({"text": "suicídate"}, "disallowed_content"),
        ({"instruction": "insulta", "output": "suicídate"}, "disallowed_content"),
        ({"prompt": "underage porn", "completion": "No."}, "disallowed_content"),  # never, also not to be read
    ],
)
def test_where_a_text_stands_decides(tmp_path: Path, row: dict[str, Any], code: str) -> None:
    assert [found for found, _ in findings(written(tmp_path / "a.jsonl", row))] == [code]


def test_repairing_leaves_such_lines_out_and_says_so(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", *GOOD, said("saluda", "Suicídate, sudaca"))
    done = repair_file(path, tmp_path / "b.jsonl", deep=True)
    assert [(change.code, change.line) for change in done.changes] == [("disallowed_content", 13)]
    assert done.report is not None
    assert (done.report.verdict, done.usable) == ("valid", 12)
    assert "sudaca" not in done.changes[0].message.lower()


def test_wishes_survive_the_way_to_the_child_process() -> None:
    from dataclasses import asdict

    limits = Limits(lines=7, moderation=Wishes(level="strict", blocked=("uno", "dos")))
    assert Limits.from_dict(json.loads(json.dumps(asdict(limits)))) == limits
