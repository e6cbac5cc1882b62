"""Reading what people see, and finding it by name.

Rule: people name things as they read them: case, accents and underscores do not matter.
Not covered: waiting and acting (see `views`, `people`).
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from playground.components import Kind, walk
from playground.forms import Impossible
from playground.model import Json

if TYPE_CHECKING:
    from playground.views import Message

DEFAULT_TIMEOUT = 10.0  # seconds
# A file as people give it: a path, or a name with its content.
FileLike = Path | tuple[str, bytes | str]


def text_of(content: str, embeds: Sequence[Json], components: Sequence[Json]) -> str:
    """Everything readable in a message or a form, in reading order."""
    pieces: list[str | None] = [content]
    for embed in embeds:
        pieces += [(embed.get("author") or {}).get("name"), embed.get("title"), embed.get("description")]
        for one in embed.get("fields") or []:
            pieces += [one["name"], one["value"]]
        pieces.append((embed.get("footer") or {}).get("text"))
    pieces += [one["content"] for _, one in walk(components) if one["type"] == Kind.TEXT_DISPLAY]
    return "\n".join(piece for piece in pieces if piece)


def normal(text: str) -> str:
    """Case, accents and the difference of spaces and underscores taken away."""
    bare = unicodedata.normalize("NFKD", text)
    return "".join(one for one in bare if not unicodedata.combining(one)).casefold().replace("_", " ").strip()


def find(candidates: list[Any], wanted: str, names: Callable[[Any], tuple[str | None, ...]]) -> Any:
    """The candidate that bears the name: exactly, else normalised, else as the only one that contains it."""
    tests: list[Callable[[str], bool]] = [
        lambda name: name == wanted,
        lambda name: normal(name) == normal(wanted),
        lambda name: normal(wanted) in normal(name),
    ]
    for test in tests:
        hits = [one for one in candidates if any(name is not None and test(name) for name in names(one))]
        if hits and (test is not tests[2] or len(hits) == 1):
            return hits[0]
    raise Impossible(f"there is no {wanted!r} among {[names(one)[0] or names(one)[1] for one in candidates]}")


def matches(message: Message, contains: str | re.Pattern[str] | None, button: str | None, by: str | None) -> bool:
    """Whether a message shows a text, a button that can be pressed, and an author."""
    if isinstance(contains, re.Pattern):
        if not contains.search(message.text):
            return False
    elif contains is not None and contains.casefold() not in message.text.casefold():
        return False
    if button is not None and not any(button in (one.label, one.emoji, one.custom_id) for one in message.buttons):
        return False
    return by is None or message.author == by


def is_file(value: Any) -> bool:
    if isinstance(value, Path):
        return True
    pair = isinstance(value, tuple) and len(value) == 2
    return pair and isinstance(value[0], str) and isinstance(value[1], bytes | str)


def as_file(value: FileLike) -> Json:
    """A file as the operations take it."""
    if isinstance(value, Path):
        name, data = value.name, value.read_bytes()
    else:
        name, data = value[0], value[1].encode() if isinstance(value[1], str) else value[1]
    return {"name": name, "data": base64.b64encode(data).decode()}


def plain(value: Any) -> Any:
    """A value as JSON: files become base64; people and channels, which have an `id`, become it."""
    return as_file(value) if is_file(value) else getattr(value, "id", value)
