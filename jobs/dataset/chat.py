"""A list of messages → `Message` values and the problems in it; all chat shapes go through here.

Rule of this file: one message at a time, then the order of turns. ShareGPT's names are translated by its own module
before; tool calls are read by `jobs.dataset.tools`. Texts are looked at only for being there; what stands in them is
`jobs.dataset.content`'s.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from jobs.dataset.example import Message
from jobs.dataset.problem import Findings, path_to
from jobs.dataset.syntax import type_name
from jobs.dataset.tools import ToolTrail, read_calls

ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
MESSAGE_KEYS: Final = frozenset(
    {"role", "content", "name", "weight", "tool_calls", "tool_call_id", "function_call", "refusal", "audio"}
)
# Invisible characters that alone make no content.
_BLANK: Final = "\u200b\u200c\u200d\u2060\ufeff\u00ad"


@dataclass(frozen=True, kw_only=True, slots=True)
class Turns:
    """What a list of messages has to be like where it stands."""

    name: str = "messages"  # what the list is called in reports
    complete: bool = True  # a whole conversation: ends with an answer of the assistant
    answer: bool = False  # nothing but an answer: assistant and tool messages
    opening: bool = True  # it starts the conversation


def is_blank(text: str) -> bool:
    """Nothing that a reader would see."""
    return not text or text.isspace() or not text.strip(_BLANK + " \t\r\n\v\f\u00a0\u3000").strip()


def read_messages(
    value: Any, where: str, found: Findings, *, turns: Turns, trail: ToolTrail | None = None
) -> tuple[Message, ...]:
    """Messages of a list; problems go to `found`, and what could not be read is left out.

    Args:
        where: path of the list, for example "messages" or "input.messages".
        trail: tools declared and calls made so far; shared by the lists of one example.
    """
    if not isinstance(value, list):
        found.add("wrong_type", where, name=turns.name, expected="una lista de mensajes", kind=type_name(value))
        return ()
    if not value:
        found.add("empty_messages", where)
        return ()
    if len(value) > found.limits.messages:
        found.add("too_many_messages", where, count=len(value), limit=found.limits.messages)
        return ()
    trail = trail or ToolTrail()
    messages = [read_message(item, f"{where}[{index}]", found, trail) for index, item in enumerate(value)]
    if all(messages):
        whole = tuple(message for message in messages if message)
        judge_order(whole, where, found, turns)
        return whole
    return ()


def read_message(value: Any, where: str, found: Findings, trail: ToolTrail) -> Message | None:
    """One message; None when its role is unknown, so that the order of turns cannot be judged."""
    if not isinstance(value, dict):
        found.add("message_not_object", where, kind=type_name(value))
        return None
    for key in value:
        if key not in MESSAGE_KEYS:
            found.add("unknown_key", path_to(where, key), key=key)
    role = read_role(value, where, found)
    calls = read_calls(value, where, found, trail) if role == "assistant" else ()
    content = read_content(value, where, found, optional=bool(calls))
    if role is None:
        return None
    weight = value.get("weight")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        found.add("bad_weight", f"{where}.weight")
    name = value.get("name")
    if name is not None and not isinstance(name, str):
        found.add("wrong_type", f"{where}.name", name="name", expected="un texto", kind=type_name(name))
        name = None
    call_id = trail.answer(value, where, found) if role == "tool" else None
    return Message(
        role={"developer": "system", "function": "tool"}.get(role, role),
        content=content,
        learn=role == "assistant" and weight != 0,
        name=name,
        tool_calls=calls,
        tool_call_id=call_id,
    )


def read_role(value: dict[str, Any], where: str, found: Findings) -> str | None:
    if "role" not in value:
        found.add("missing_role", f"{where}.role")
        return None
    role = value["role"]
    field = f"{where}.role"
    if not isinstance(role, str):
        found.add("role_not_string", field, kind=type_name(role))
        return None
    if role in ROLES:
        if role == "developer":
            found.add("developer_role", field)
        return role
    right = role.strip().lower()
    if right in ROLES:
        found.add("role_miscased", field, role=role, right=right)
    else:
        found.add("unknown_role", field, role=role)
    return None


def read_content(value: dict[str, Any], where: str, found: Findings, *, optional: bool) -> str:
    """The text of a message; "" where there is none, told to `found` unless a tool call makes it optional."""
    field = f"{where}.content"
    content = value.get("content")
    if content is None:
        if not optional:
            found.add("null_content" if "content" in value else "missing_content", field)
        return ""
    if isinstance(content, list):
        content = read_parts(content, field, found)
        if content is None:
            return ""
    elif not isinstance(content, str):
        found.add("content_not_text", field, kind=type_name(content))
        return ""
    if is_blank(content) and not optional:
        found.add("empty_content", field)
    return content


def read_parts(parts: list[Any], field: str, found: Findings) -> str | None:
    """Text parts joined; None after telling `found` about parts that are no text."""
    texts: list[str] = []
    failed = False
    for index, part in enumerate(parts):
        where = f"{field}[{index}]"
        if not isinstance(part, dict):
            found.add("part_not_text", where, kind=type_name(part))
        elif part.get("type") != "text":
            kind = part.get("type")
            found.add("part_not_text", f"{where}.type", kind=kind if isinstance(kind, str) else "sin tipo")
        elif not isinstance(part.get("text"), str):
            found.add("part_not_text", f"{where}.text", kind=type_name(part.get("text")))
        else:
            texts.append(part["text"])
            continue
        failed = True
    return None if failed else "".join(texts)


def judge_order(
    messages: Sequence[Message], where: str, found: Findings, turns: Turns, *, speaker: str = "role"
) -> None:
    """What the sequence of roles says; every role is known here. `speaker` is the key that holds the role."""
    roles = [message.role for message in messages]
    if turns.answer:
        for index, role in enumerate(roles):
            if role not in ("assistant", "tool"):
                found.add("answer_not_assistant", f"{where}[{index}].{speaker}", role=role)
                return
    if turns.complete:
        if "assistant" not in roles:
            found.add("no_assistant", where)
        elif roles[-1] != "assistant":
            found.add("last_not_assistant", f"{where}[{len(roles) - 1}].{speaker}", role=roles[-1])
        elif not any(message.learn for message in messages):
            found.add("nothing_to_learn", where)
    spoken = next((index for index, role in enumerate(roles) if role != "system"), None)
    if turns.opening and spoken is not None and roles[spoken] == "assistant":
        found.add("starts_with_assistant", f"{where}[{spoken}].{speaker}")
    for index in range(1, len(roles)):
        if roles[index] == "system":
            found.add("late_system", f"{where}[{index}].{speaker}")
        elif roles[index] == roles[index - 1] and roles[index] != "tool":
            found.add("repeated_role", f"{where}[{index}].{speaker}", role=roles[index])
