"""Components of messages and modals: what is well formed, and what they hold.

Rule: `check_message` and `check_modal` report every mistake with Discord's paths; nothing is repaired.
Not covered: what a person may press (see `people`), premium buttons.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import IntEnum

from playground.model import Json
from playground.refusals import FormErrors


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
LINK = 5  # button style
IN_CONTAINER = frozenset({1, 9, 10, 12, 13, 14})
TOP_V2 = IN_CONTAINER | {17}
TOP_V1 = frozenset({1})
IN_LABEL = SELECTS | {4, 19, 21, 22, 23}
TOP_MODAL = frozenset({1, 10, 18})
MAX_V2 = 40
MAX_V2_TEXT = 4000

# Every key that a component of a kind may carry, besides `type` and `id`.
_SELECT = {"custom_id", "placeholder", "min_values", "max_values", "disabled", "required"}
KEYS: dict[int, set[str]] = {
    1: {"components"},
    2: {"style", "label", "emoji", "custom_id", "url", "disabled", "sku_id"},
    3: _SELECT | {"options"},
    4: {"custom_id", "style", "label", "min_length", "max_length", "required", "value", "placeholder"},
    5: _SELECT | {"default_values"},
    6: _SELECT | {"default_values"},
    7: _SELECT | {"default_values"},
    8: _SELECT | {"default_values", "channel_types"},
    9: {"components", "accessory"},
    10: {"content"},
    11: {"media", "description", "spoiler"},
    12: {"items"},
    13: {"file", "spoiler", "name", "size"},
    14: {"divider", "spacing"},
    17: {"components", "accent_color", "spoiler"},
    18: {"label", "description", "component"},
    19: {"custom_id", "min_values", "max_values", "required"},
    21: {"custom_id", "options", "required"},
    22: {"custom_id", "options", "min_values", "max_values", "required"},
    23: {"custom_id", "default"},
}


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


def check_message(components: object, v2: bool, errors: FormErrors, path: str = "components") -> None:
    """Report what is wrong with the components of a message (*v2*: Components V2)."""
    if not isinstance(components, list):
        errors.add(path, "LIST_TYPE_CONVERT", "Only iterables may be used in a ListType")
        return
    if not v2 and len(components) > 5:
        errors.add(path, "BASE_TYPE_BAD_LENGTH", "Must be 5 or fewer in length.")
    _check_level(components, TOP_V2 if v2 else TOP_V1, errors, path)
    everything = list(walk(components, path))
    if v2:
        if len(everything) > MAX_V2:
            message = f"The total number of components cannot exceed {MAX_V2}"
            errors.add(path, "COMPONENT_MAX_TOTAL_COMPONENTS_EXCEEDED", message)
        if sum(map(len, every_text(components))) > MAX_V2_TEXT:
            message = f"The total text of the components cannot exceed {MAX_V2_TEXT} characters"
            errors.add(path, "COMPONENT_DISPLAYABLE_TEXT_SIZE_EXCEEDED", message)
    _check_unique(everything, errors)


def check_modal(modal: object, errors: FormErrors) -> None:
    """Report what is wrong with the data of a modal response."""
    if not isinstance(modal, dict):
        errors.required("data")
        return
    unknown_keys(modal, {"custom_id", "title", "components"}, errors, "data")
    _text(modal, "title", 1, 45, errors, "data")
    _text(modal, "custom_id", 1, 100, errors, "data")
    components = modal.get("components")
    if not isinstance(components, list) or not 1 <= len(components) <= 5:
        errors.add("data.components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
        return
    _check_level(components, TOP_MODAL, errors, "data.components", modal=True)
    _check_unique(list(walk(components, "data.components")), errors)


def _check_level(
    components: list[Json], allowed: frozenset[int] | set[int], errors: FormErrors, path: str, modal: bool = False
) -> None:
    for index, component in enumerate(components):
        _check_one(component, allowed, errors, f"{path}.{index}", modal)


def _check_one(
    component: object, allowed: frozenset[int] | set[int], errors: FormErrors, path: str, modal: bool = False
) -> None:
    if not isinstance(component, dict):
        errors.add(path, "MODEL_TYPE_CONVERT", "Only dictionaries may be used in a ModelType")
        return
    kind = component.get("type")
    if not isinstance(kind, int) or kind not in allowed:
        choices = ", ".join(map(str, sorted(allowed)))
        errors.add(f"{path}.type", "BASE_TYPE_CHOICES", f"Value must be one of {{{choices}}}.")
        return
    unknown_keys(component, KEYS[kind] | {"type", "id"}, errors, path)
    match kind:
        case Kind.ACTION_ROW:
            _check_row(component, errors, path, modal)
        case Kind.BUTTON:
            _check_button(component, errors, path)
        case 3 | 5 | 6 | 7 | 8:
            _check_select(component, errors, path)
        case Kind.TEXT_INPUT:
            _check_text_input(component, errors, path)
        case Kind.SECTION:
            _check_section(component, errors, path)
        case Kind.TEXT_DISPLAY:
            _text(component, "content", 1, 4000, errors, path)
        case Kind.THUMBNAIL:
            _check_media(component.get("media"), errors, f"{path}.media")
            _text(component, "description", 1, 1024, errors, path, optional=True)
        case Kind.MEDIA_GALLERY:
            _check_gallery(component, errors, path)
        case Kind.FILE:
            _check_media(component.get("file"), errors, f"{path}.file", attachments_only=True)
        case Kind.SEPARATOR:
            if component.get("spacing", 1) not in (1, 2):
                errors.add(f"{path}.spacing", "BASE_TYPE_CHOICES", "Value must be one of {1, 2}.")
        case Kind.CONTAINER:
            _check_container(component, errors, path)
        case Kind.LABEL:
            _text(component, "label", 1, 45, errors, path)
            _text(component, "description", 1, 100, errors, path, optional=True)
            _check_one(component.get("component"), IN_LABEL, errors, f"{path}.component", modal=True)
        case Kind.FILE_UPLOAD:
            _text(component, "custom_id", 1, 100, errors, path)
            _bounds(component, "min_values", 0, 10, errors, path)
            _bounds(component, "max_values", 1, 10, errors, path)
        case Kind.RADIO_GROUP:
            _text(component, "custom_id", 1, 100, errors, path)
            _check_options(component, errors, path, low=2, high=10)
        case Kind.CHECKBOX_GROUP:
            _text(component, "custom_id", 1, 100, errors, path)
            _check_options(component, errors, path, low=1, high=10)
        case Kind.CHECKBOX:
            _text(component, "custom_id", 1, 100, errors, path)


def _check_row(row: Json, errors: FormErrors, path: str, modal: bool) -> None:
    inside = row.get("components")
    if not isinstance(inside, list) or not inside:
        errors.add(f"{path}.components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 5 in length.")
        return
    kinds = [one.get("type") for one in inside if isinstance(one, dict)]
    allowed: frozenset[int] | set[int]
    if modal:
        allowed, room = {int(Kind.TEXT_INPUT)}, 1
    elif SELECTS & set(kinds):
        allowed, room = SELECTS, 1
    else:
        allowed, room = {int(Kind.BUTTON)} | SELECTS, 5
    if len(inside) > room:
        errors.add(f"{path}.components", "BASE_TYPE_BAD_LENGTH", f"Must be between 1 and {room} in length.")
    for index, one in enumerate(inside):
        _check_one(one, allowed, errors, f"{path}.components.{index}")


def _check_button(button: Json, errors: FormErrors, path: str) -> None:
    style = button.get("style")
    if style not in (1, 2, 3, 4, 5):
        errors.add(f"{path}.style", "BASE_TYPE_CHOICES", "Value must be one of {1, 2, 3, 4, 5, 6}.")
    _text(button, "label", 1, 80, errors, path, optional=True)
    if not button.get("label") and not button.get("emoji"):
        errors.add(path, "BUTTON_COMPONENT_INVALID_LABEL", "A button must have a label or an emoji")
    if style == LINK:
        _text(button, "url", 1, 512, errors, path)
        if "custom_id" in button:
            errors.add(path, "BUTTON_COMPONENT_CUSTOM_ID_URL_CONFLICT", "A link button cannot have a custom id")
        if not str(button.get("url", "")).startswith(("http://", "https://", "discord://")):
            message = "Scheme must be one of ('http', 'https', 'discord')."
            errors.add(f"{path}.url", "URL_TYPE_INVALID_SCHEME", message)
    else:
        _text(button, "custom_id", 1, 100, errors, path)
        if "url" in button:
            errors.add(path, "BUTTON_COMPONENT_CUSTOM_ID_URL_CONFLICT", "A custom id and url cannot both be specified")


def _check_select(select: Json, errors: FormErrors, path: str) -> None:
    _text(select, "custom_id", 1, 100, errors, path)
    _text(select, "placeholder", 0, 150, errors, path, optional=True)
    _bounds(select, "min_values", 0, 25, errors, path)
    _bounds(select, "max_values", 1, 25, errors, path)
    low, high = select.get("min_values", 1), select.get("max_values", 1)
    if low > high:
        errors.add(f"{path}.min_values", "NUMBER_TYPE_MAX", f"int value should be less than or equal to {high}.")
    if select["type"] == Kind.STRING_SELECT:
        _check_options(select, errors, path, low=1, high=25)
        options = select.get("options") or []
        if isinstance(options, list) and options and high > len(options):
            message = "The maximum number of values cannot exceed the number of options"
            errors.add(f"{path}.max_values", "SELECT_COMPONENT_MAX_VALUES_EXCEEDED", message)
        defaults = sum(bool(one.get("default")) for one in options if isinstance(one, dict))
        if defaults > high:
            errors.add(f"{path}.options", "SELECT_COMPONENT_TOO_MANY_DEFAULT_VALUES", "Too many default values")


def _check_options(select: Json, errors: FormErrors, path: str, *, low: int, high: int) -> None:
    options = select.get("options")
    if not isinstance(options, list) or not low <= len(options) <= high:
        errors.add(f"{path}.options", "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")
        return
    seen: set[str] = set()
    for index, option in enumerate(options):
        where = f"{path}.options.{index}"
        unknown_keys(option, {"label", "value", "description", "emoji", "default"}, errors, where)
        _text(option, "label", 1, 100, errors, where)
        _text(option, "value", 1, 100, errors, where)
        _text(option, "description", 0, 100, errors, where, optional=True)
        if option.get("value") in seen:
            message = "The specified option value is already used"
            errors.add(f"{where}.value", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", message)
        seen.add(str(option.get("value")))


def _check_text_input(field: Json, errors: FormErrors, path: str) -> None:
    _text(field, "custom_id", 1, 100, errors, path)
    if field.get("style") not in (1, 2):
        errors.add(f"{path}.style", "BASE_TYPE_CHOICES", "Value must be one of {1, 2}.")
    labelled = path.endswith(".component")  # inside a Label, which carries the words itself
    if labelled and field.get("label"):
        errors.add(f"{path}.label", "BASE_TYPE_UNEXPECTED", "A text input inside a label cannot have a label")
    if not labelled:
        _text(field, "label", 1, 45, errors, path)
    _text(field, "placeholder", 0, 100, errors, path, optional=True)
    _text(field, "value", 0, 4000, errors, path, optional=True)
    _bounds(field, "min_length", 0, 4000, errors, path)
    _bounds(field, "max_length", 1, 4000, errors, path)
    value, high = field.get("value"), field.get("max_length") or 4000
    if value and len(value) > high:
        errors.add(f"{path}.value", "BASE_TYPE_MAX_LENGTH", f"Must be {high} or fewer in length.")


def _check_section(section: Json, errors: FormErrors, path: str) -> None:
    inside = section.get("components")
    if not isinstance(inside, list) or not 1 <= len(inside) <= 3:
        errors.add(f"{path}.components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 3 in length.")
    else:
        _check_level(inside, {int(Kind.TEXT_DISPLAY)}, errors, f"{path}.components")
    if not section.get("accessory"):
        errors.required(f"{path}.accessory")
    else:
        accessories = {int(Kind.BUTTON), int(Kind.THUMBNAIL)}
        _check_one(section["accessory"], accessories, errors, f"{path}.accessory")


def _check_container(container: Json, errors: FormErrors, path: str) -> None:
    inside = container.get("components")
    if not isinstance(inside, list) or not inside:
        errors.add(f"{path}.components", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 40 in length.")
        return
    _bounds(container, "accent_color", 0, 0xFFFFFF, errors, path)
    _check_level(inside, IN_CONTAINER, errors, f"{path}.components")


def _check_gallery(gallery: Json, errors: FormErrors, path: str) -> None:
    items = gallery.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= 10:
        errors.add(f"{path}.items", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 10 in length.")
        return
    for index, item in enumerate(items):
        where = f"{path}.items.{index}"
        unknown_keys(item, {"media", "description", "spoiler"}, errors, where)
        _check_media(item.get("media"), errors, f"{where}.media")
        _text(item, "description", 1, 1024, errors, where, optional=True)


def _check_media(media: object, errors: FormErrors, path: str, attachments_only: bool = False) -> None:
    if not isinstance(media, dict) or not isinstance(media.get("url"), str):
        errors.required(f"{path}.url")
        return
    schemes = ("attachment://",) if attachments_only else ("attachment://", "http://", "https://")
    if not media["url"].startswith(schemes) and "attachment_id" not in media:
        errors.add(f"{path}.url", "URL_TYPE_INVALID_SCHEME", f"Scheme must be one of {schemes}.")


def _check_unique(everything: list[tuple[str, Json]], errors: FormErrors) -> None:
    seen_custom: set[str] = set()
    seen_ids: set[int] = set()
    for path, component in everything:
        custom_id, number = component.get("custom_id"), component.get("id")
        if custom_id is not None and custom_id in seen_custom:
            message = "Component custom id cannot be duplicated"
            errors.add(f"{path}.custom_id", "COMPONENT_CUSTOM_ID_DUPLICATED", message)
        if number and number in seen_ids:
            errors.add(f"{path}.id", "COMPONENT_ID_DUPLICATED", "Component id cannot be duplicated")
        seen_custom.add(str(custom_id))
        seen_ids.add(int(number or 0))


def unknown_keys(given: object, known: set[str], errors: FormErrors, path: str) -> None:
    if isinstance(given, dict):
        for key in given.keys() - known:
            where = f"{path}.{key}" if path else key
            errors.add(where, "UNKNOWN_FIELD", "This field is not part of the contract")


def _text(given: Json, key: str, low: int, high: int, errors: FormErrors, path: str, optional: bool = False) -> None:
    value = given.get(key)
    where = f"{path}.{key}"
    if value is None:
        if not optional:
            errors.required(where)
    elif not isinstance(value, str):
        errors.add(where, "STRING_TYPE_CONVERT", "Could not interpret value as string.")
    else:
        errors.length(where, value, low, high)


def _bounds(given: Json, key: str, low: int, high: int, errors: FormErrors, path: str) -> None:
    value = given.get(key)
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        errors.add(f"{path}.{key}", "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
    elif value > high:
        errors.add(f"{path}.{key}", "NUMBER_TYPE_MAX", f"int value should be less than or equal to {high}.")
    elif value < low:
        errors.add(f"{path}.{key}", "NUMBER_TYPE_MIN", f"int value should be greater than or equal to {low}.")
