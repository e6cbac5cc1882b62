"""Which training shape an object has, told by its keys alone.

Rule of this file: a table. A shape is claimed by any of its telling keys, so that an example with a missing field is
still judged as what it was meant to be; an object claimed by two families is ambiguous.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Any


class Shape(StrEnum):
    """What a line looks like; several shapes may share one `format` of a report."""

    MESSAGES = "messages"
    PROMPT_COMPLETION = "prompt_completion"
    ALPACA = "alpaca"
    SHAREGPT = "sharegpt"
    PREFERENCE = "preference"  # prompt, chosen, rejected
    OPENAI_PREFERENCE = "openai_preference"  # input, preferred_output, non_preferred_output
    KTO = "kto"  # prompt, completion, label
    TEXT = "text"
    UNKNOWN = "unknown"

    @property
    def family(self) -> str:
        """As a report names it."""
        return "preference" if self in (Shape.OPENAI_PREFERENCE, Shape.KTO) else self.value


# Keys that a shape reads; others get a warning.
KEYS: dict[Shape, frozenset[str]] = {
    Shape.MESSAGES: frozenset({"messages", "tools", "functions", "parallel_tool_calls"}),
    Shape.PROMPT_COMPLETION: frozenset({"prompt", "completion", "tools"}),
    Shape.ALPACA: frozenset({"instruction", "input", "output", "system", "history"}),
    Shape.SHAREGPT: frozenset({"conversations", "system", "tools", "id"}),
    Shape.PREFERENCE: frozenset({"prompt", "chosen", "rejected", "tools"}),
    Shape.OPENAI_PREFERENCE: frozenset({"input", "preferred_output", "non_preferred_output"}),
    Shape.KTO: frozenset({"prompt", "completion", "label", "tools"}),
    Shape.TEXT: frozenset({"text"}),
}

# The key that an object of unknown shape lacks, where the rest of the file shows what was meant.
MAIN_KEY: dict[Shape, str] = {
    Shape.MESSAGES: "messages",
    Shape.PROMPT_COMPLETION: "prompt",
    Shape.ALPACA: "instruction",
    Shape.SHAREGPT: "conversations",
    Shape.PREFERENCE: "prompt",
    Shape.OPENAI_PREFERENCE: "preferred_output",
    Shape.KTO: "completion",
    Shape.TEXT: "text",
}

# In order of precedence: the keys that claim an object, and for which family. `text` never disputes an object that
# another family claims with an answer of its own, because Alpaca files often carry the rendered text along.
_CLAIMS: tuple[tuple[Shape, frozenset[str]], ...] = (
    (Shape.MESSAGES, frozenset({"messages"})),
    (Shape.SHAREGPT, frozenset({"conversations"})),
    (Shape.OPENAI_PREFERENCE, frozenset({"preferred_output", "non_preferred_output"})),
    (Shape.PREFERENCE, frozenset({"chosen", "rejected"})),
    (Shape.ALPACA, frozenset({"instruction"})),
    (Shape.PROMPT_COMPLETION, frozenset({"prompt", "completion"})),
    (Shape.TEXT, frozenset({"text"})),
)


def shape_of(value: dict[str, Any]) -> tuple[Shape, Shape | None]:
    """The shape of an object, and a second one where it carries the keys of two."""
    keys = value.keys()
    claims = [shape for shape, telling in _CLAIMS if not telling.isdisjoint(keys)]
    if not claims:
        return Shape.UNKNOWN, None
    first, *others = claims
    if first is Shape.PREFERENCE and "completion" not in keys:
        others = [shape for shape in others if shape is not Shape.PROMPT_COMPLETION]  # `prompt` is its own
    if first is not Shape.MESSAGES:
        others = [shape for shape in others if shape is not Shape.TEXT]
    if first is Shape.PROMPT_COMPLETION and "label" in keys:
        first = Shape.KTO
    return first, others[0] if others else None


def unknown_keys(value: Iterable[str], shape: Shape) -> list[str]:
    return [key for key in value if key not in KEYS[shape]]
