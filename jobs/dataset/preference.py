"""Preference data: OpenAI's DPO shape, TRL's `prompt`/`chosen`/`rejected`, and KTO's judged answers.

Rule of this file: both sides answer the same prompt, each is whole and none is blank. Chosen and rejected lists that
repeat the prompt's turns (a common export) are cut to the answer where that is certain.
"""

from __future__ import annotations

from typing import Any

from jobs.dataset.chat import Turns, read_messages
from jobs.dataset.example import Example, Kind, Message
from jobs.dataset.pairs import COMPLETION, PROMPT, read_side, same_kind, unlearnt
from jobs.dataset.problem import Findings, path_to
from jobs.dataset.syntax import type_name
from jobs.dataset.tools import ToolTrail, names_of, read_tools

INPUT = Turns(name="input.messages", complete=False)
ANSWER = Turns(name="respuesta", complete=True, answer=True, opening=False)
WHOLE = Turns(name="respuesta", complete=True)


def read_preference(value: dict[str, Any], found: Findings) -> Example:
    """TRL: texts, or lists of messages; without `prompt`, both lists must start with the same turns."""
    tools = read_tools(value, found)
    trail = ToolTrail(names_of(tools))
    sides = [
        _read_answer(value, name, found, trail) if name in value else _missing(name, found)
        for name in ("chosen", "rejected")
    ]
    chosen, rejected = sides
    if "prompt" in value:
        prompt = read_side(value, "prompt", "user", found, turns=PROMPT, trail=trail)
        for name in ("chosen", "rejected"):
            if not _repeats_prompt(value.get(name)):
                same_kind(value, "prompt", name, found)
    else:
        prompt = _shared_start(chosen, rejected)
        if not prompt:
            found.add("missing_field", "prompt", name="prompt")
    chosen, rejected = _only_answer(chosen), _only_answer(rejected)
    warn_if_same(chosen, rejected, "rejected", found)
    return Example(
        line=found.line,
        kind=Kind.PREFERENCE,
        messages=unlearnt(prompt),
        chosen=chosen,
        rejected=rejected,
        tools=tools,
    )


def _missing(name: str, found: Findings) -> tuple[Message, ...]:
    found.add("missing_field", name, name=name)
    return ()


def _repeats_prompt(side: Any) -> bool:
    return (
        isinstance(side, list)
        and bool(side)
        and isinstance(side[0], dict)
        and side[0].get("role")
        in (
            "user",
            "system",
        )
    )


def _read_answer(value: dict[str, Any], name: str, found: Findings, trail: ToolTrail) -> tuple[Message, ...]:
    turns = WHOLE if _repeats_prompt(value[name]) else ANSWER
    return read_side(value, name, "assistant", found, turns=turns, trail=trail)


def _shared_start(chosen: tuple[Message, ...], rejected: tuple[Message, ...]) -> tuple[Message, ...]:
    """The turns before the last answer, where both sides have the same."""
    before = chosen[: _answer_start(chosen)]
    return before if before and before == rejected[: _answer_start(rejected)] else ()


def _answer_start(messages: tuple[Message, ...]) -> int:
    """Where the last answer starts: after the last turn of the person."""
    return max((index + 1 for index, message in enumerate(messages) if message.role in ("user", "system")), default=0)


def _only_answer(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    return messages[_answer_start(messages) :]


def read_openai_preference(value: dict[str, Any], found: Findings) -> Example:
    given = value.get("input")
    prompt: tuple[Message, ...] = ()
    tools: tuple[dict[str, Any], ...] = ()
    trail = ToolTrail()
    if "input" not in value:
        found.add("missing_field", "input", name="input")
    elif not isinstance(given, dict):
        found.add("wrong_type", "input", name="input", expected="un objeto con «messages»", kind=type_name(given))
    elif "messages" not in given:
        found.add("missing_messages", "input.messages")
    else:
        for key in given:
            if key not in ("messages", "tools", "parallel_tool_calls"):
                found.add("unknown_key", path_to("input", key), key=key)
        tools = read_tools(given, found)
        trail = ToolTrail(names_of(tools))
        prompt = read_messages(given["messages"], "input.messages", found, turns=INPUT, trail=trail)
    sides = {name: _openai_side(value, name, found, trail) for name in ("preferred_output", "non_preferred_output")}
    warn_if_same(sides["preferred_output"], sides["non_preferred_output"], "non_preferred_output", found)
    return Example(
        line=found.line,
        kind=Kind.PREFERENCE,
        messages=unlearnt(prompt),
        chosen=sides["preferred_output"],
        rejected=sides["non_preferred_output"],
        tools=tools,
    )


def _openai_side(value: dict[str, Any], name: str, found: Findings, trail: ToolTrail) -> tuple[Message, ...]:
    if name not in value:
        return _missing(name, found)
    return read_messages(value[name], name, found, turns=ANSWER, trail=trail)


def read_kto(value: dict[str, Any], found: Findings) -> Example:
    tools = read_tools(value, found)
    trail = ToolTrail(names_of(tools))
    prompt = read_side(value, "prompt", "user", found, turns=PROMPT, trail=trail)
    completion = read_side(value, "completion", "assistant", found, turns=COMPLETION, trail=trail)
    same_kind(value, "prompt", "completion", found)
    label = value.get("label")
    if not isinstance(label, bool):
        found.add("label_not_boolean", "label", kind=type_name(label))
    return Example(
        line=found.line,
        kind=Kind.KTO,
        messages=unlearnt(prompt) + completion,
        desirable=label if isinstance(label, bool) else None,
        tools=tools,
    )


def warn_if_same(chosen: tuple[Message, ...], rejected: tuple[Message, ...], field: str, found: Findings) -> None:
    if chosen and chosen == rejected:
        found.add("same_pair", field)
