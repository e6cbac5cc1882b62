"""ShareGPT conversations (`from`/`value`) → messages.

Rule of this file: names are translated, then `jobs.dataset.chat` judges the order of turns. Lists that use `role` and
`content` inside `conversations` are read as they are.
"""

from __future__ import annotations

from typing import Any

from jobs.dataset.chat import Turns, is_blank, judge_order, read_messages
from jobs.dataset.example import Example, Kind, Message
from jobs.dataset.problem import Findings, path_to
from jobs.dataset.syntax import type_name
from jobs.dataset.tools import ToolTrail, names_of, read_tools

SPEAKERS = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
    "chatgpt": "assistant",
    "system": "system",
    "function_call": "assistant",
    "function": "tool",
    "observation": "tool",
    "tool": "tool",
}
TURN_KEYS = frozenset({"from", "value", "weight"})
TURNS = Turns(name="conversations")


def read_sharegpt(value: dict[str, Any], found: Findings) -> Example:
    tools = read_tools(value, found)
    conversation = value["conversations"]
    if isinstance(conversation, list) and any(isinstance(turn, dict) and "role" in turn for turn in conversation):
        trail = ToolTrail(names_of(tools))
        messages = read_messages(conversation, "conversations", found, turns=TURNS, trail=trail)
    else:
        messages = _read_turns(conversation, found)
    system = value.get("system")
    if system is not None and not isinstance(system, str):
        found.add("wrong_type", "system", name="system", expected="un texto", kind=type_name(system))
    elif system and not is_blank(system):
        messages = (Message(role="system", content=system), *messages)
    return Example(line=found.line, kind=Kind.CHAT, messages=messages, tools=tools)


def _read_turns(conversation: Any, found: Findings) -> tuple[Message, ...]:
    where = "conversations"
    if not isinstance(conversation, list):
        found.add("wrong_type", where, name=where, expected="una lista de mensajes", kind=type_name(conversation))
        return ()
    if not conversation:
        found.add("empty_messages", where)
        return ()
    if len(conversation) > found.limits.messages:
        found.add("too_many_messages", where, count=len(conversation), limit=found.limits.messages)
        return ()
    read = [_read_turn(turn, f"{where}[{index}]", found) for index, turn in enumerate(conversation)]
    messages = tuple(message for message in read if message is not None)
    if len(messages) == len(read):
        judge_order(messages, where, found, TURNS, speaker="from")
        return messages
    return ()


def _read_turn(turn: Any, where: str, found: Findings) -> Message | None:
    if not isinstance(turn, dict):
        found.add("message_not_object", where, kind=type_name(turn))
        return None
    for key in turn:
        if key not in TURN_KEYS:
            found.add("unknown_key", path_to(where, key), key=key)
    weight = turn.get("weight")
    if weight is not None and (isinstance(weight, bool) or weight not in (0, 1)):
        found.add("bad_weight", f"{where}.weight")
    role = _read_speaker(turn, where, found)
    text = turn.get("value")
    if text is None:
        found.add("null_content" if "value" in turn else "missing_content", f"{where}.value")
    elif not isinstance(text, str):
        found.add("content_not_text", f"{where}.value", kind=type_name(text))
    elif is_blank(text):
        found.add("empty_content", f"{where}.value")
    if role is None:
        return None
    content = text if isinstance(text, str) else ""
    return Message(role=role, content=content, learn=role == "assistant" and weight != 0)


def _read_speaker(turn: dict[str, Any], where: str, found: Findings) -> str | None:
    field = f"{where}.from"
    if "from" not in turn:
        found.add("missing_role", field)
        return None
    speaker = turn["from"]
    if not isinstance(speaker, str):
        found.add("role_not_string", field, kind=type_name(speaker))
        return None
    if speaker in SPEAKERS:
        return SPEAKERS[speaker]
    right = speaker.strip().lower()
    if right in SPEAKERS:
        found.add("role_miscased", field, role=speaker, right=right)
    else:
        found.add("unknown_role", field, role=speaker)
    return None
