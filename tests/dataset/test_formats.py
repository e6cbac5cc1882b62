"""Each format is judged by its own rules: a bad row among good ones is told at its line, with its field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from jobs.dataset import check_file
from tests.dataset import clean

GOOD = {
    "prompt_completion": clean.arithmetic,
    "prompt_completion_chat": clean.prompt_completion_chat,
    "alpaca": clean.alpaca,
    "sharegpt": clean.sharegpt,
    "preference": clean.preference_strings,
    "preference_chat": clean.preference_chat,
    "openai": clean.preference_openai,
    "kto": clean.kto,
    "text": clean.running_text,
    "tools": clean.tool_use,
}
USER = {"role": "user", "content": "Di algo nuevo"}
BOT = {"role": "assistant", "content": "Algo nuevo, entonces."}


def pair(**more: Any) -> dict[str, Any]:
    return {"prompt": "Di algo nuevo", "chosen": "Algo nuevo, entonces.", "rejected": "No quiero.", **more}


def openai(**more: Any) -> dict[str, Any]:
    return {
        "input": {"messages": [USER]},
        "preferred_output": [BOT],
        "non_preferred_output": [{"role": "assistant", "content": "No quiero."}],
        **more,
    }


def said(*turns: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    return {"conversations": [{"from": who, "value": what} for who, what in turns], **more}


def without(row: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != key}


def call(name: str = "clima", arguments: Any = '{"ciudad": "Lugo"}', call_id: Any = "c1") -> dict[str, Any]:
    return {"id": call_id, "type": "function", "function": {"name": name, "arguments": arguments}}


def tool_row(*calls: Any, answers: str = "c1", **more: Any) -> dict[str, Any]:
    return {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "tool_calls": list(calls)},
            {"role": "tool", "tool_call_id": answers, "content": "18 grados"},
            BOT,
        ],
        "tools": clean.tool_use()[0]["tools"],
        **more,
    }


ALPACA = {"instruction": "Di algo nuevo", "input": "", "output": "Algo nuevo, entonces."}
VOTE = {"prompt": "Di algo nuevo", "completion": "Algo nuevo, entonces.", "label": True}

BAD: list[tuple[str, dict[str, Any], str, str]] = [
    ("prompt_completion", {"prompt": "Di algo"}, "missing_field", "completion"),
    ("prompt_completion", {"completion": "Algo"}, "missing_field", "prompt"),
    ("prompt_completion", {"prompt": "", "completion": "Algo"}, "empty_field", "prompt"),
    ("prompt_completion", {"prompt": "Di algo", "completion": " \n"}, "empty_field", "completion"),
    ("prompt_completion", {"prompt": "Di algo", "completion": None}, "wrong_type", "completion"),
    ("prompt_completion", {"prompt": 7, "completion": "Algo"}, "wrong_type", "prompt"),
    ("prompt_completion", {"prompt": "Di algo", "completion": [BOT]}, "wrong_type", "completion"),
    ("prompt_completion", {"Prompt": "Di algo", "Completion": "Algo"}, "missing_field", "prompt"),
    ("prompt_completion", {"prompt": "Di algo", "completion": "Algo", "label": "bueno"}, "label_not_boolean", "label"),
    ("prompt_completion", {"prompt": "Di algo raro", "completion": "Algo", "id": 3}, "unknown_key", "id"),
    ("prompt_completion_chat", {"prompt": [USER], "completion": [USER]}, "answer_not_assistant", "completion[0].role"),
    ("prompt_completion_chat", {"prompt": [], "completion": [BOT]}, "empty_messages", "prompt"),
    (
        "prompt_completion_chat",
        {"prompt": [{"role": "User", "content": "a"}], "completion": [BOT]},
        "role_miscased",
        "prompt[0].role",
    ),
    ("alpaca", without(ALPACA, "output"), "missing_field", "output"),
    ("alpaca", without(ALPACA, "instruction"), "missing_field", "instruction"),
    ("alpaca", {**ALPACA, "output": ""}, "empty_field", "output"),
    ("alpaca", {**ALPACA, "instruction": 5}, "wrong_type", "instruction"),
    ("alpaca", {**ALPACA, "input": ["a"]}, "wrong_type", "input"),
    ("alpaca", {**ALPACA, "history": [["hola"]]}, "wrong_type", "history[0]"),
    ("sharegpt", said(("human", "Hola"), ("gpt", "")), "empty_content", "conversations[1].value"),
    ("sharegpt", said(("human", "Hola"), ("robot", "Hola")), "unknown_role", "conversations[1].from"),
    ("sharegpt", said(("Human", "Hola"), ("gpt", "Hola")), "role_miscased", "conversations[0].from"),
    ("sharegpt", said(("human", "Hola")), "no_assistant", "conversations"),
    (
        "sharegpt",
        said(("human", "Hola"), ("gpt", "Hola"), ("human", "¿Y?")),
        "last_not_assistant",
        "conversations[2].from",
    ),
    (
        "sharegpt",
        said(("gpt", "Hola, dime"), ("human", "Hola"), ("gpt", "Bien")),
        "starts_with_assistant",
        "conversations[0].from",
    ),
    (
        "sharegpt",
        said(("human", "Hola"), ("human", "¿Hay alguien?"), ("gpt", "Sí, aquí.")),
        "repeated_role",
        "conversations[1].from",
    ),
    ("sharegpt", {"conversations": []}, "empty_messages", "conversations"),
    ("sharegpt", {"conversations": "hola"}, "wrong_type", "conversations"),
    (
        "sharegpt",
        {"conversations": [{"value": "a"}, {"from": "gpt", "value": "b"}]},
        "missing_role",
        "conversations[0].from",
    ),
    (
        "sharegpt",
        {"conversations": [{"from": "human"}, {"from": "gpt", "value": "b"}]},
        "missing_content",
        "conversations[0].value",
    ),
    ("preference", without(pair(), "prompt"), "missing_field", "prompt"),
    ("preference", without(pair(), "chosen"), "missing_field", "chosen"),
    ("preference", without(pair(), "rejected"), "missing_field", "rejected"),
    ("preference", pair(chosen=""), "empty_field", "chosen"),
    ("preference", pair(rejected=3), "wrong_type", "rejected"),
    ("preference", pair(rejected="Algo nuevo, entonces."), "same_pair", "rejected"),
    ("preference_chat", pair(prompt=[USER], chosen=[], rejected=[BOT]), "empty_messages", "chosen"),
    ("preference_chat", pair(prompt=[USER], chosen=[USER], rejected=[BOT]), "no_assistant", "chosen"),
    ("openai", without(openai(), "input"), "missing_field", "input"),
    ("openai", openai(input={}), "missing_messages", "input.messages"),
    ("openai", openai(input={"messages": []}), "empty_messages", "input.messages"),
    ("openai", openai(input=[USER]), "wrong_type", "input"),
    ("openai", without(openai(), "preferred_output"), "missing_field", "preferred_output"),
    ("openai", openai(non_preferred_output=[]), "empty_messages", "non_preferred_output"),
    ("openai", openai(preferred_output="Algo"), "wrong_type", "preferred_output"),
    ("openai", openai(preferred_output=[USER]), "answer_not_assistant", "preferred_output[0].role"),
    ("openai", openai(non_preferred_output=[BOT]), "same_pair", "non_preferred_output"),
    ("kto", {**VOTE, "label": 1}, "label_not_boolean", "label"),
    ("kto", {**VOTE, "label": "true"}, "label_not_boolean", "label"),
    ("kto", {**VOTE, "label": None}, "label_not_boolean", "label"),
    ("kto", without(VOTE, "label"), "missing_field", "label"),
    ("kto", without(VOTE, "completion"), "missing_field", "completion"),
    ("text", {"text": ""}, "empty_field", "text"),
    ("text", {"text": ["a"]}, "wrong_type", "text"),
    ("text", {"texto": "a"}, "missing_field", "text"),
    ("tools", tool_row(call("tiempo")), "undeclared_tool", "messages[1].tool_calls[0].function.name"),
    (
        "tools",
        tool_row(call(arguments="{ciudad}")),
        "tool_arguments_not_json",
        "messages[1].tool_calls[0].function.arguments",
    ),
    ("tools", tool_row(call(), answers="c9"), "orphan_tool_call_id", "messages[2].tool_call_id"),
    ("tools", tool_row(call(), answers=""), "missing_tool_call_id", "messages[2].tool_call_id"),
    ("tools", tool_row("clima", call()), "bad_tool_call", "messages[1].tool_calls[0]"),
    ("tools", tool_row({"id": "c1", "type": "function"}), "bad_tool_call", "messages[1].tool_calls[0].function"),
    ("tools", {**tool_row(call()), "tools": {"clima": 1}}, "bad_tools", "tools"),
]


@pytest.mark.parametrize(
    ("form", "row", "code", "field"), BAD, ids=[f"{form}-{code}-{field}" for form, _, code, field in BAD]
)
def test_a_bad_row_is_told_at_its_line(form: str, row: dict[str, Any], code: str, field: str, tmp_path: Path) -> None:
    rows = GOOD[form]()
    rows.insert(4, row)
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in rows), encoding="utf-8")
    report = check_file(path)
    told = {(problem.code, problem.line, problem.field) for problem in report.problems}
    assert (code, 5, field) in told
    assert {problem.line for problem in report.problems} == {5}
    failed = report.verdict == "rejected"
    assert report.usable == len(rows) - failed
    assert report.format == {"tools": "messages", "kto": "preference", "openai": "preference"}.get(
        form, form.removesuffix("_chat")
    )


SHAPES = [name for name in GOOD if name != "tools" and not name.endswith("_chat")]
MIXES = [(one, other) for one in SHAPES for other in SHAPES if one != other]


@pytest.mark.parametrize(("one", "other"), MIXES)
def test_rows_of_another_shape_are_told_where_they_are_fewer(one: str, other: str, tmp_path: Path) -> None:
    rows = GOOD[one]()[:9] + GOOD[other]()[:2]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    report = check_file(path)
    assert {problem.line for problem in report.problems if problem.severity == "error"} == {10, 11}
    assert report.usable == 9
