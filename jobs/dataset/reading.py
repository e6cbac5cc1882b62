"""One line → one `Example`, or the list of what keeps it from being one; the format is found by itself.

Rule of this file: it picks the shape of an object by its keys and hands it to the module that reads that shape.
Reading and judging are one pass, so that nothing is accepted here that cannot be trained on, and the other way round.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from jobs.dataset.chat import Turns, read_messages
from jobs.dataset.dialects import translate
from jobs.dataset.example import Example, Kind
from jobs.dataset.fast import FastReader
from jobs.dataset.pairs import read_alpaca, read_prompt_completion, read_text
from jobs.dataset.preference import read_kto, read_openai_preference, read_preference
from jobs.dataset.problem import Findings, path_to
from jobs.dataset.shapes import Shape, shape_of, unknown_keys
from jobs.dataset.sharegpt import read_sharegpt
from jobs.dataset.syntax import INVALID, parse_line, type_name
from jobs.dataset.tools import ToolTrail, names_of, read_tools


@dataclass(frozen=True, kw_only=True, slots=True)
class Reading:
    """What came of one line."""

    shape: Shape | None = None  # None: no JSON object
    example: Example | None = None  # None: at least one error
    keys: tuple[str, ...] = ()  # of an object of unknown shape
    foreign: bool = False  # of unknown shape, but its meaning is certain


def read_line(raw: bytes, found: Findings, fast: FastReader | None = None) -> Reading:
    """Read one line (without its end); all problems go to `found`, and an example is returned only without errors.

    An unknown shape is no problem yet: the caller, who sees the whole file, tells it.
    """
    value = fast.quick_value(raw) if fast else INVALID
    if value is INVALID:
        value = parse_line(raw, found)
    if value is INVALID:
        return Reading()
    if not isinstance(value, dict):
        found.add("not_object", kind=type_name(value))
        return Reading()
    if b"\\u0000" in raw:
        for path in nul_paths(value):
            found.add("escaped_nul", path)
    return read_object(value, found)


def read_object(value: dict[str, Any], found: Findings) -> Reading:
    """Read a JSON object by the rules of its shape."""
    shape, other = shape_of(value)
    if shape is Shape.UNKNOWN:
        return Reading(shape=shape, keys=tuple(value), foreign=translate(value) is not None)
    if translate(value) is not None:
        found.add("other_program", keys=", ".join(list(value)[:6]))
        return Reading(shape=shape)
    if other is not None:
        found.add("ambiguous_shape", one=shape, other=other)
    else:
        for key in unknown_keys(value, shape):
            found.add("unknown_key", path_to("", key), key=key)
    example = READERS[shape](value, found)
    return Reading(shape=shape, example=None if found.failed else example)


def read_chat(value: dict[str, Any], found: Findings) -> Example:
    """OpenAI's `messages`."""
    tools = read_tools(value, found)
    trail = ToolTrail(names_of(tools))
    messages = read_messages(value["messages"], "messages", found, turns=Turns(), trail=trail)
    return Example(line=found.line, kind=Kind.CHAT, messages=messages, tools=tools)


READERS: Final[dict[Shape, Callable[[dict[str, Any], Findings], Example]]] = {
    Shape.MESSAGES: read_chat,
    Shape.PROMPT_COMPLETION: read_prompt_completion,
    Shape.ALPACA: read_alpaca,
    Shape.SHAREGPT: read_sharegpt,
    Shape.PREFERENCE: read_preference,
    Shape.OPENAI_PREFERENCE: read_openai_preference,
    Shape.KTO: read_kto,
    Shape.TEXT: read_text,
}


def nul_paths(value: Any, path: str = "") -> Iterator[str]:
    """Paths of the texts and keys that hold a NUL character."""
    if isinstance(value, str):
        if "\0" in value:
            yield path or "$"
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from nul_paths(item, f"{path}[{index}]")
    elif isinstance(value, dict):
        for key, item in value.items():
            if "\0" in key:
                yield path or "$"
            yield from nul_paths(item, path_to(path, key))
