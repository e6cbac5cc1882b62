"""The one internal shape of a training example; every format is read into it.

Rule of this file: values only. A string prompt becomes a user turn and its completion the assistant's; Alpaca's
instruction and input become the user turn; ShareGPT's turns keep their roles. What the model learns is marked per
message (`learn`).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    CHAT = "chat"  # `messages`; those with `learn` are learnt
    TEXT = "text"  # `text`, learnt whole
    PREFERENCE = "preference"  # `messages` is the prompt; `chosen` and `rejected` answer it
    KTO = "kto"  # `messages` ends with the answer; `desirable` judges it


@dataclass(frozen=True, kw_only=True, slots=True)
class Message:
    role: str  # system, user, assistant or tool
    content: str  # "" where an assistant turn only calls tools
    learn: bool = False  # its tokens (and the end of the turn) enter the loss
    name: str | None = None
    tool_calls: tuple[dict[str, Any], ...] = ()
    tool_call_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """As a chat template wants it (without `learn`)."""
        message: dict[str, Any] = {"role": self.role, "content": self.content}
        if self.name is not None:
            message["name"] = self.name
        if self.tool_calls:
            message["tool_calls"] = list(self.tool_calls)
        if self.tool_call_id is not None:
            message["tool_call_id"] = self.tool_call_id
        return message


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    line: int  # in the file it came from, counted from 1
    kind: Kind
    messages: tuple[Message, ...] = ()
    text: str = ""
    chosen: tuple[Message, ...] = ()
    rejected: tuple[Message, ...] = ()
    desirable: bool | None = None
    tools: tuple[dict[str, Any], ...] = ()  # schemas declared with the example

    @property
    def prompt(self) -> tuple[Message, ...]:
        """The messages before the last answer of the assistant."""
        if self.kind is Kind.CHAT or self.kind is Kind.KTO:
            return self.messages[:-1]
        return self.messages

    @property
    def answer(self) -> str:
        """The text of the last answer (the chosen one of a preference)."""
        if self.kind is Kind.TEXT:
            return self.text
        turns = self.chosen if self.kind is Kind.PREFERENCE else self.messages
        return turns[-1].content if turns else ""
