"""Where the texts of an object are: their paths, and whether the assistant says them.

Rule of this file: only what a model would read or learn counts; roles, ids and the declarations of tools do not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from jobs.dataset.problem import path_to
from jobs.dataset.shapes import KEYS, Shape

_NO_TEXT: Final = frozenset({"role", "from", "id", "tool_call_id", "type", "tools", "functions", "parallel_tool_calls"})
_ANSWERS: Final = frozenset({"completion", "output", "chosen", "rejected", "preferred_output", "non_preferred_output"})
_ASSISTANT: Final = ("assistant", "gpt")


def texts_of(value: dict[str, Any], shape: Shape) -> Iterator[tuple[str, str, bool]]:
    """(path, text, said by the assistant) of the texts that `shape` reads."""
    for key, part in value.items():
        if key in KEYS[shape] and key not in _NO_TEXT:
            yield from _leaves(part, key, key in _ANSWERS)


def _leaves(value: Any, path: str, assistant: bool) -> Iterator[tuple[str, str, bool]]:
    if isinstance(value, str):
        yield path, value, assistant
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _leaves(item, f"{path}[{index}]", assistant)
    elif isinstance(value, dict):
        speaker = value.get("role", value.get("from"))
        for key, item in value.items():
            if key not in _NO_TEXT:
                yield from _leaves(item, path_to(path, key), assistant or speaker in _ASSISTANT)
