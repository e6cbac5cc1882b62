"""What is compared of an example, cheap to keep for a whole file.

Rule of this file: a value made from one example, no comparing. The system message and tools count for being exactly
equal, and not for saying the same.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

from jobs.dataset.example import Example, Kind, Message
from jobs.dataset.words import normalised


@dataclass(frozen=True, kw_only=True, slots=True)
class Fingerprint:
    """What is compared of one example."""

    line: int
    kind: Kind
    exact: bytes  # hash of everything that is trained on
    asked: str  # normalised input
    answered: str  # normalised answer, with its judgement where there is one
    answer_length: int  # words

    @property
    def loose(self) -> str:
        return f"{self.kind}\x1e{self.asked}\x1e{self.answered}"


def fingerprint(example: Example) -> Fingerprint:
    if example.kind is Kind.TEXT:
        asked, answered = "", normalised(example.text)
    else:
        asked = _said(example.prompt)
        answered = _said(_answer_turns(example))
    if example.kind is Kind.KTO:
        answered += f"\x1f{example.desirable}"
    if example.kind is Kind.PREFERENCE:
        answered += "\x1f" + _said(example.rejected)
    return Fingerprint(
        line=example.line,
        kind=example.kind,
        exact=_exact(example),
        asked=asked,
        answered=answered,
        answer_length=answered.count(" ") + 1,
    )


def _answer_turns(example: Example) -> Sequence[Message]:
    return example.chosen if example.kind is Kind.PREFERENCE else example.messages[-1:]


def _said(turns: Sequence[Message]) -> str:
    return "\x1f".join(f"{turn.role} {normalised(turn.content)}{_calls(turn)}" for turn in turns)


def _calls(turn: Message) -> str:
    return f" {json.dumps(turn.tool_calls, sort_keys=True)}" if turn.tool_calls else ""


def _exact(example: Example) -> bytes:
    def turns(messages: Sequence[Message]) -> str:
        return "\x1f".join(f"{turn.role}\x1d{turn.content}{_calls(turn)}" for turn in messages)

    sides = (turns(example.messages), turns(example.chosen), turns(example.rejected), example.text)
    whole = "\x1e".join((example.kind, *sides, str(example.desirable)))
    return blake2b(whole.encode("utf-8", "surrogatepass"), digest_size=16).digest()
