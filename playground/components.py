"""Components of messages and modals: their kinds, and what they hold.

Rule: components are JSON trees as on the wire; the functions here only read them.
Not covered: whether they are well formed (see `component_rules`), premium buttons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum

from playground.model import Json


class Kind(IntEnum):
    ACTION_ROW = 1
    BUTTON = 2
    STRING_SELECT = 3
    TEXT_INPUT = 4
    USER_SELECT = 5
    ROLE_SELECT = 6
    MENTIONABLE_SELECT = 7
    CHANNEL_SELECT = 8
    SECTION = 9
    TEXT_DISPLAY = 10
    THUMBNAIL = 11
    MEDIA_GALLERY = 12
    FILE = 13
    SEPARATOR = 14
    CONTAINER = 17
    LABEL = 18
    FILE_UPLOAD = 19
    RADIO_GROUP = 21
    CHECKBOX_GROUP = 22
    CHECKBOX = 23


SELECTS = frozenset({3, 5, 6, 7, 8})


def children(component: Json) -> list[tuple[str, Json]]:
    """Direct children with their paths, in reading order."""
    found: list[tuple[str, Json]] = []
    nested = component.get("components")
    if isinstance(nested, list):
        found += [(f"components.{index}", one) for index, one in enumerate(nested) if isinstance(one, dict)]
    for key in ("accessory", "component"):
        if isinstance(component.get(key), dict):
            found.append((key, component[key]))
    return found


def walk(components: Sequence[Json], path: str = "components") -> Iterator[tuple[str, Json]]:
    """Every component of a tree with its path, parents first."""
    for index, component in enumerate(components):
        if not isinstance(component, dict):
            continue
        yield from _walk_one(component, f"{path}.{index}")


def _walk_one(component: Json, path: str) -> Iterator[tuple[str, Json]]:
    yield path, component
    for name, child in children(component):
        yield from _walk_one(child, f"{path}.{name}")


def every_text(components: Sequence[Json]) -> list[str]:
    """The contents of all TextDisplays, in reading order."""
    return [one.get("content", "") for _, one in walk(components) if one.get("type") == Kind.TEXT_DISPLAY]


def media_of(component: Json) -> list[Json]:
    """The media items (`{"url": …}`) that a component shows."""
    match component.get("type"):
        case Kind.THUMBNAIL:
            return [component["media"]]
        case Kind.MEDIA_GALLERY:
            return [item["media"] for item in component["items"]]
        case Kind.FILE:
            return [component["file"]]
    return []
