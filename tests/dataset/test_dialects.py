"""Files as other programs write them: one press makes them ours, and nothing that was said is lost."""

from __future__ import annotations

import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from jobs.dataset.check import check_file
from jobs.dataset.dialects import translate
from jobs.dataset.repair import repair_file
from tests.dataset.clean import as_jsonl, capitals, kto

Q, A = "¿Cómo riego un cactus?", "Cada dos semanas en verano y casi nunca en invierno."
USER, ANSWER = {"role": "user", "content": Q}, {"role": "assistant", "content": A}
SYSTEM = {"role": "system", "content": "Sé breve."}
OTHER = "No sé de plantas, lo siento."
CHAT = {"messages": [USER, ANSWER]}
BRIEF = {"messages": [SYSTEM, USER, ANSWER]}
ALPACA = {"instruction": Q, "input": "", "output": A}
HUMAN = f"\n\nHuman: Hola\n\nAssistant: Hola, dime.\n\nHuman: {Q}\n\nAssistant: "
GREETING = [{"role": "user", "content": "Hola"}, {"role": "assistant", "content": "Hola, dime."}]
ANSWERS = {"chosen": [ANSWER], "rejected": [{"role": "assistant", "content": OTHER}]}

MEANT: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "Dolly": ({"instruction": Q, "context": "", "response": A, "category": "qa"}, ALPACA),
    "Dolly with a text to read": (
        {"instruction": Q, "context": "Un cactus.", "response": A},
        {**ALPACA, "input": "Un cactus."},
    ),
    "names in Spanish, with accents": ({"Instrucción": Q, "Respuesta": A}, ALPACA),
    "names in capitals": ({"Question ": Q, "ANSWER": A}, CHAT),
    "OpenOrca keeps its instructions": ({"id": "1", "system_prompt": "Sé breve.", "question": Q, "response": A}, BRIEF),
    "a question about a text": (
        {"context": "Un cactus.", "question": Q, "answer": A},
        {"messages": [{"role": "user", "content": f"{Q}\n\nUn cactus."}, ANSWER]},
    ),
    "xP3 and Aya": ({"inputs": Q, "targets": A, "language": "es"}, CHAT),
    "a prompt with a response": ({"prompt": Q, "response": A}, {"prompt": Q, "completion": A}),
    "a conversation by another name": ({"conversation": CHAT["messages"]}, CHAT),
    "ShareGPT by another name": ({"conversation": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]}, {}),
    "texts that take turns (LIMA)": ({"conversations": [Q, A], "source": "x"}, CHAT),
    "messages kept as a text": ({"messages": json.dumps(CHAT["messages"])}, CHAT),
    "messages as pandas prints them": ({"messages": str(CHAT["messages"])}, CHAT),
    "a row of a hub's viewer": ({"row_idx": 0, "row": CHAT, "truncated_cells": []}, CHAT),
    "Gemini": (
        {
            "systemInstruction": {"role": "system", "parts": [{"text": "Sé breve."}]},
            "contents": [{"role": "user", "parts": [{"text": Q}]}, {"role": "model", "parts": [{"text": A}]}],
        },
        BRIEF,
    ),
    "messages whose turns are called as in ShareGPT": (
        {"messages": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]},
        {"conversations": [{"from": "human", "value": Q}, {"from": "gpt", "value": A}]},
    ),
    "an object that only wraps another": ({"ejemplo": CHAT}, CHAT),
    "preferences of LLaMA-Factory": (
        {
            "conversations": [{"from": "system", "value": "Sé breve."}, {"from": "human", "value": Q}],
            "chosen": {"from": "gpt", "value": A},
            "rejected": {"from": "gpt", "value": OTHER},
        },
        {"prompt": [SYSTEM, USER], **ANSWERS},
    ),
    "HH-RLHF": ({"chosen": HUMAN + A, "rejected": HUMAN + OTHER}, {"prompt": [*GREETING, USER], **ANSWERS}),
    "a preference with a question": (
        {"question": Q, "chosen": A, "rejected": OTHER},
        {"prompt": Q, "chosen": A, "rejected": OTHER},
    ),
    "Orca's preferences keep their instructions": (
        {"system": "Sé breve.", "question": Q, "chosen": A, "rejected": OTHER},
        {"prompt": [SYSTEM, USER], **ANSWERS},
    ),
}


@pytest.mark.parametrize(("written", "meant"), MEANT.values(), ids=MEANT)
def test_what_another_program_wrote_is_said_and_one_press_makes_it_ours(
    tmp_path: Path, written: dict[str, Any], meant: dict[str, Any]
) -> None:
    file, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    file.write_bytes(as_jsonl([written]))
    errors = [problem for problem in check_file(file).problems if problem.severity == "error"]
    assert [problem.code for problem in errors] == ["other_program"]
    assert "Reparar" in errors[0].fix
    assert repair_file(file, out).usable == 1
    if meant:
        assert json.loads(out.read_text()) == meant


UNCERTAIN: dict[str, dict[str, Any]] = {
    "two keys that ask": {"question": Q, "query": Q, "answer": A},
    "two keys that answer": {"question": Q, "answer": A, "response": OTHER},
    "an answer that is no text": {"question": Q, "answer": [A]},
    "an odd number of turns": {"conversations": [Q, A, Q]},
    "transcripts that differ before the last answer": {
        "chosen": HUMAN + A,
        "rejected": f"\n\nHuman: Otra\n\nAssistant: {A}",
    },
    "a transcript that ends with the person": {"chosen": HUMAN + A, "rejected": "\n\nHuman: Hola"},
    "a picture among Gemini's parts": {"contents": [{"role": "user", "parts": [{"inlineData": {}}]}]},
    "nothing that asks": {"title": Q, "body": A},
}


@pytest.mark.parametrize("written", UNCERTAIN.values(), ids=UNCERTAIN)
def test_where_the_meaning_is_not_certain_nothing_is_guessed(written: dict[str, Any]) -> None:
    assert translate(written) is None


@pytest.mark.parametrize("row", [*capitals()[:1], *kto()[:1], ALPACA, {"text": A}, {"prompt": Q, "completion": A}])
def test_what_is_ours_is_left_alone(row: dict[str, Any]) -> None:
    assert translate(row) is None


@pytest.mark.parametrize("rest", [CHAT, {"prompt": Q, "completion": A}], ids=["messages", "a pair"])
def test_instructions_beside_an_example_become_its_first_message(tmp_path: Path, rest: dict[str, Any]) -> None:
    file, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    file.write_bytes(as_jsonl([{"system": "Sé breve.", **rest}]))
    repair_file(file, out)
    assert json.loads(out.read_text()) == BRIEF


def test_numbers_as_answers_become_texts(tmp_path: Path) -> None:
    file, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    file.write_bytes(as_jsonl([{"prompt": "2 + 2", "completion": 4}]))
    repair_file(file, out)
    assert json.loads(out.read_text()) == {"prompt": "2 + 2", "completion": "4"}


def test_a_list_that_was_cut_gives_what_came_before_and_says_so(tmp_path: Path) -> None:
    file, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    file.write_bytes(json.dumps(capitals(), indent=1).encode()[:-60])
    repair = repair_file(file, out)
    assert repair.usable == 11
    assert "El último estaba cortado" in repair.changes[0].message


def test_a_message_a_line_is_said_to_be_no_conversation(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(as_jsonl([USER, ANSWER]))
    assert [problem.code for problem in check_file(file).problems][1:] == ["loose_message"] * 2


def lines(*rows: dict[str, Any]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


CONTAINERS = {
    "one object that holds them all": json.dumps({"version": 1, "data": capitals()}),
    "a list with a comma too many": "[\n" + lines(*capitals()).replace("\n", ",\n") + "]\n",
    "a table with numbered rows": ",pregunta,respuesta\n" + "".join(f"{n},¿{n}?,Es {n}\n" for n in range(12)),
    "a table with a hint for Excel": "sep=;\npregunta;respuesta\n" + "".join(f"¿{n}?;Es {n}\n" for n in range(12)),
    "Dolly as a table": "instruction,context,response\n" + "".join(f"Di {n},,Es {n}\n" for n in range(12)),
    "quotes of a word processor": lines(*capitals()).replace('"', "”"),
    "a semicolon after each line": lines(*capitals()).replace("\n", ";\n"),
    "files with marks, one after the other": "\ufeff" + "\ufeff".join(lines(row) for row in capitals()),
    "a list without an end": json.dumps(capitals()).removesuffix("]"),
    "objects written as texts": "".join(json.dumps(json.dumps(row)) + "\n" for row in capitals()),
}


@pytest.mark.parametrize("text", CONTAINERS.values(), ids=CONTAINERS)
def test_a_file_of_another_kind_is_converted_whole(tmp_path: Path, text: str) -> None:
    file, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    file.write_text(text, encoding="utf-8")
    assert check_file(file).verdict == "rejected"
    assert repair_file(file, out).usable == 12


def test_a_workbook_is_not_told_to_be_unpacked(tmp_path: Path) -> None:
    book = io.BytesIO()
    with zipfile.ZipFile(book, "w") as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
    (tmp_path / "a.jsonl").write_bytes(book.getvalue())
    (problem,) = check_file(tmp_path / "a.jsonl").problems
    assert (problem.code, "CSV" in problem.fix) == ("container_office", True)


def test_every_key_that_is_not_used_is_told_once_with_its_lines(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_bytes(as_jsonl([{**row, "source": "x", "lang": "es"} for row in capitals()]))
    groups = check_file(file).groups()
    assert [group["message"].split("»")[0] for group in groups] == ["La clave «source", "La clave «lang"]
    assert [group["lines"] for group in groups] == [list(range(1, 13))] * 2
