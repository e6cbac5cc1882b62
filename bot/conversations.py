"""A thread's history as the messages that a model gets.

Rule of this file: pure; it knows neither Discord nor the engine. The thread is the memory: what is shown there is what
the model reads, so edits and deletions count by themselves, and answering an older message starts a branch from it.
Lines that the bot adds for people (`-# …`) are not part of the conversation.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from bot.render.split import join

NOTE = "-# "  # Discord's small print: how every remark of the bot begins
WRITING = " ▌"  # at the end of an answer that is still being written
# Messages of the past that are looked at; more would not fit any context that matters here.
REMEMBERED = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Turn:
    """One message of a thread."""

    id: int
    author_id: int
    author: str  # name that people see
    ours: bool  # written by this bot: an answer of the model, or a note
    text: str
    files: tuple[tuple[str, str], ...] = ()  # (name, content) of text attachments
    reply_to: int | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """What is sent to the engine."""

    messages: tuple[Mapping[str, str], ...]
    dropped: int  # messages of the thread that no longer fit


def as_answer(text: str) -> str:
    """A model's text as it is shown: a line that looks like a note of the bot is made to look like what it is."""
    return re.sub(r"^-# ", r"\\-# ", text, flags=re.MULTILINE)


def spoken(text: str) -> str:
    """What a message of the bot says as the model: without notes and without the mark of writing."""
    lines = [line for line in text.removesuffix(WRITING.rstrip()).rstrip().split("\n") if not line.startswith(NOTE)]
    return re.sub(r"^\\-# ", "-# ", "\n".join(lines), flags=re.MULTILINE).strip()


def branch(turns: Sequence[Turn], leaf: int) -> list[Turn]:
    """The turns that lead to the message `leaf`, oldest first.

    A message continues the one it replies to, else the one before it. `turns` are in the order of the thread; what a
    deleted message was answered to is the one before.
    """
    place = {turn.id: index for index, turn in enumerate(turns)}
    path: list[Turn] = []
    index = place.get(leaf, -1)
    while index >= 0:
        turn = turns[index]
        path.append(turn)
        known = place.get(turn.reply_to, -1) if turn.reply_to is not None else -1
        index = known if 0 <= known < index else index - 1
    return path[::-1]


def conversation(turns: Iterable[Turn], *, instructions: str = "") -> list[dict[str, str]]:
    """The turns of one branch as chat messages, roles alternating, beginning with a user's.

    Where more than one person speaks, each of their messages begins with the name.
    """
    said = [(turn, text) for turn in turns if (text := spoken(turn.text) if turn.ours else _with_files(turn))]
    several = len({turn.author_id for turn, _ in said if not turn.ours}) > 1
    messages: list[dict[str, str]] = []
    for turn, text in said:
        role = "assistant" if turn.ours else "user"
        content = f"{_name(turn.author)}: {text}" if several and not turn.ours else text
        if messages and messages[-1]["role"] == role:
            messages[-1]["content"] = join([messages[-1]["content"], content])
        else:
            messages.append({"role": role, "content": content})
    while messages and messages[0]["role"] == "assistant":
        messages.pop(0)
    system = [{"role": "system", "content": instructions}] if instructions.strip() else []
    return [*system, *messages]


def trim(messages: Sequence[Mapping[str, str]], room: int) -> Prompt:
    """The newest messages whose characters fit `room`, the instructions always; the last message is never dropped."""
    system = [message for message in messages[:1] if message["role"] == "system"]
    rest = list(messages[len(system) :])
    kept: list[Mapping[str, str]] = []
    left = room - sum(len(message["content"]) for message in system)
    for message in reversed(rest):
        left -= len(message["content"])
        if kept and left < 0:
            break
        kept.insert(0, message)
    while len(kept) > 1 and kept[0]["role"] != "user":
        kept.pop(0)
    return Prompt(messages=(*system, *kept), dropped=len(rest) - len(kept))


def length(messages: Iterable[Mapping[str, str]]) -> int:
    """Characters of the contents."""
    return sum(len(message["content"]) for message in messages)


def _with_files(turn: Turn) -> str:
    files = [f"[{name}]\n{content.strip()}" for name, content in turn.files]
    return "\n\n".join(part for part in (turn.text.strip(), *files) if part)


def _name(author: str) -> str:
    return re.sub(r"[\s:]+", " ", author).strip() or "alguien"
