"""One input and one output: `prompt`/`completion` (texts or messages), Alpaca, plain `text`.

Rule of this file: fields there, of the right type, not blank. Texts become turns as `jobs.dataset.example` says.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from jobs.dataset.chat import Turns, is_blank, read_messages
from jobs.dataset.example import Example, Kind, Message
from jobs.dataset.problem import Findings
from jobs.dataset.syntax import type_name
from jobs.dataset.tools import ToolTrail, names_of, read_tools

PROMPT = Turns(name="prompt", complete=False)
COMPLETION = Turns(name="completion", complete=True, answer=True, opening=False)


def read_text_field(value: dict[str, Any], name: str, found: Findings) -> str | None:
    """A text that has to be there; None after telling `found` why it is not."""
    if name not in value:
        found.add("missing_field", name, name=name)
        return None
    text = value[name]
    if not isinstance(text, str):
        found.add("wrong_type", name, name=name, expected="un texto", kind=type_name(text))
        return None
    if is_blank(text):
        found.add("empty_field", name, name=name)
        return None
    return text


def read_side(
    value: dict[str, Any], name: str, role: str, found: Findings, *, turns: Turns, trail: ToolTrail
) -> tuple[Message, ...]:
    """A side of an example that is a text (read as one turn of `role`) or a list of messages."""
    side = value.get(name)
    if isinstance(side, list):
        return read_messages(side, name, found, turns=turns, trail=trail)
    text = read_text_field(value, name, found)
    return () if text is None else (Message(role=role, content=text, learn=role == "assistant"),)


def unlearnt(messages: tuple[Message, ...]) -> tuple[Message, ...]:
    """The same messages as context only."""
    return tuple(replace(message, learn=False) for message in messages)


def read_prompt_completion(value: dict[str, Any], found: Findings) -> Example:
    tools = read_tools(value, found)
    trail = ToolTrail(names_of(tools))
    prompt = read_side(value, "prompt", "user", found, turns=PROMPT, trail=trail)
    completion = read_side(value, "completion", "assistant", found, turns=COMPLETION, trail=trail)
    same_kind(value, "prompt", "completion", found)
    return Example(line=found.line, kind=Kind.CHAT, messages=unlearnt(prompt) + completion, tools=tools)


def same_kind(value: dict[str, Any], one: str, other: str, found: Findings) -> None:
    """Both sides texts, or both lists of messages."""
    first, second = value.get(one), value.get(other)
    if isinstance(first, str) and isinstance(second, list):
        found.add("wrong_type", other, name=other, expected=f"un texto, como «{one}»", kind="una lista")
    elif isinstance(first, list) and isinstance(second, str):
        found.add("wrong_type", other, name=other, expected=f"una lista de mensajes, como «{one}»", kind="un texto")


def read_alpaca(value: dict[str, Any], found: Findings) -> Example:
    instruction = read_text_field(value, "instruction", found)
    output = read_text_field(value, "output", found)
    context = _optional_text(value, "input", found)
    system = _optional_text(value, "system", found)
    question = f"{instruction}\n\n{context}" if context and not is_blank(context) else instruction
    opening = (Message(role="system", content=system),) if system and not is_blank(system) else ()
    turns = (
        *opening,
        *_history(value.get("history"), found),
        Message(role="user", content=question or ""),
        Message(role="assistant", content=output or "", learn=True),
    )
    return Example(line=found.line, kind=Kind.CHAT, messages=turns)


def _optional_text(value: dict[str, Any], name: str, found: Findings) -> str:
    text = value.get(name)
    if text is None or isinstance(text, str):
        return text or ""
    found.add("wrong_type", name, name=name, expected="un texto", kind=type_name(text))
    return ""


def _history(history: Any, found: Findings) -> tuple[Message, ...]:
    """Earlier turns as pairs of texts; learnt too, as the tools that defined the field do."""
    if history is None:
        return ()
    if not isinstance(history, list):
        found.add("wrong_type", "history", name="history", expected="una lista de parejas", kind=type_name(history))
        return ()
    if 2 * len(history) > found.limits.messages:
        found.add("too_many_messages", "history", count=2 * len(history), limit=found.limits.messages)
        return ()
    turns: list[Message] = []
    for index, pair in enumerate(history):
        if not (isinstance(pair, list) and len(pair) == 2 and all(isinstance(text, str) for text in pair)):
            found.add(
                "wrong_type", f"history[{index}]", name="history", expected="una pareja de textos", kind=type_name(pair)
            )
            continue
        turns += [Message(role="user", content=pair[0]), Message(role="assistant", content=pair[1], learn=True)]
    return tuple(turns)


def read_text(value: dict[str, Any], found: Findings) -> Example:
    return Example(line=found.line, kind=Kind.TEXT, text=read_text_field(value, "text", found) or "")
