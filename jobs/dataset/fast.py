"""The fast way for good lines: a typed decoder that takes what is certainly fine, and leaves the rest to the slow way.

Rule of this file: never an opinion about a bad line. `is_plain_chat` says yes to ordinary conversations without
building anything that is kept; `quick_value` parses any line that the strict way would parse without a remark.
Both say no in doubt. A property test holds them against `jobs.dataset.syntax` and `jobs.dataset.chat`.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any, Final, Literal

import msgspec

from jobs.dataset.chat import is_blank
from jobs.dataset.limits import Limits
from jobs.dataset.syntax import ABSURD_DIGITS, INVALID, is_shallow

_DECODE_ERRORS: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_KEY: Final = re.compile(rb'(?<!\\)"\s*:')
_ABSURD: Final = 10 ** (ABSURD_DIGITS - 1)


class _Message(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    role: Literal["system", "user", "assistant"]
    content: str


class _Chat(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    messages: list[_Message]


class FastReader:
    """Decoders made once a file."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._chat = msgspec.json.Decoder(_Chat)
        self._any = msgspec.json.Decoder()

    def is_plain_chat(self, raw: bytes) -> bool:
        """Whether a line is `messages` of system, user and assistant texts with nothing to say about it.

        Keys written twice show as a count of quoted names that does not fit the number of messages: a quote inside a
        text is escaped, so the quoted name can only be a key, or a whole text (which then goes the slow way).
        """
        try:
            messages = self._chat.decode(raw).messages
        except _DECODE_ERRORS:
            return False
        count = len(messages)
        if not is_good_order(tuple([message.role for message in messages])) or count > self._limits.messages:
            return False
        for message in messages:
            content = message.content
            if not content or not (content[0].isalnum() or not is_blank(content)):
                return False
        return (
            raw.count(b'"role"') == count
            and raw.count(b'"content"') == count
            and raw.count(b'"messages"') == 1
            and b"\\u0000" not in raw
        )

    def quick_value(self, raw: bytes) -> Any:
        """The value of a line that the strict parser takes without a remark; INVALID in doubt."""
        try:
            value = self._any.decode(raw)
        except _DECODE_ERRORS:
            return INVALID
        if not is_shallow(value, raw, self._limits.depth) or len(_KEY.findall(raw)) != _count_keys(value):
            return INVALID
        return value


@lru_cache(maxsize=1024)
def is_good_order(roles: tuple[str, ...]) -> bool:
    """An optional system message, then the person and the assistant by turns, the assistant last."""
    turns = roles[1:] if roles[:1] == ("system",) else roles
    return (
        len(turns) >= 2
        and len(turns) % 2 == 0
        and all(role == ("assistant" if index % 2 else "user") for index, role in enumerate(turns))
    )


def _count_keys(value: Any) -> int:
    """Keys of all objects inside `value`; far below zero with a number that no double holds."""
    if isinstance(value, dict):
        return len(value) + sum(_count_keys(item) for item in value.values() if not isinstance(item, str))
    if isinstance(value, list):
        return sum(_count_keys(item) for item in value if not isinstance(item, str))
    if type(value) is int and not -_ABSURD < value < _ABSURD:
        return -(2**62)
    return 0
