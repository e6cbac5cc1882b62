"""What a tree of components must be, in a message and in a modal.

Rule: `check_message` and `check_modal` report every mistake with Discord's paths; nothing is repaired.
Not covered: single buttons, lists and text fields (see `field_rules`), what a person may press (see `forms`).
"""

from __future__ import annotations

from playground import field_rules as fields
from playground.components import SELECTS, Kind, every_text, walk
from playground.model import Json
from playground.refusals import FormErrors

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
    fields.unknown_keys(modal, {"custom_id", "title", "components"}, errors, "data")
    fields.text(modal, "title", (1, 45), errors, "data")
    fields.text(modal, "custom_id", (1, 100), errors, "data")
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
    fields.unknown_keys(component, KEYS[kind] | {"type", "id"}, errors, path)
    match kind:
        case Kind.ACTION_ROW:
            _check_row(component, errors, path, modal)
        case Kind.BUTTON:
            fields.check_button(component, errors, path)
        case 3 | 5 | 6 | 7 | 8:
            fields.check_select(component, errors, path)
        case Kind.TEXT_INPUT:
            fields.check_text_input(component, errors, path)
        case Kind.SECTION:
            _check_section(component, errors, path)
        case Kind.TEXT_DISPLAY:
            fields.text(component, "content", (1, 4000), errors, path)
        case Kind.THUMBNAIL:
            _check_media(component.get("media"), errors, f"{path}.media")
            fields.text(component, "description", (1, 1024), errors, path, optional=True)
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
            fields.text(component, "label", (1, 45), errors, path)
            fields.text(component, "description", (1, 100), errors, path, optional=True)
            _check_one(component.get("component"), IN_LABEL, errors, f"{path}.component", modal=True)
        case Kind.FILE_UPLOAD:
            fields.text(component, "custom_id", (1, 100), errors, path)
            fields.bounds(component, "min_values", (0, 10), errors, path)
            fields.bounds(component, "max_values", (1, 10), errors, path)
        case Kind.RADIO_GROUP:
            fields.text(component, "custom_id", (1, 100), errors, path)
            fields.check_options(component, errors, path, low=2, high=10)
        case Kind.CHECKBOX_GROUP:
            fields.text(component, "custom_id", (1, 100), errors, path)
            fields.check_options(component, errors, path, low=1, high=10)
        case Kind.CHECKBOX:
            fields.text(component, "custom_id", (1, 100), errors, path)


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
    fields.bounds(container, "accent_color", (0, 0xFFFFFF), errors, path)
    _check_level(inside, IN_CONTAINER, errors, f"{path}.components")


def _check_gallery(gallery: Json, errors: FormErrors, path: str) -> None:
    items = gallery.get("items")
    if not isinstance(items, list) or not 1 <= len(items) <= 10:
        errors.add(f"{path}.items", "BASE_TYPE_BAD_LENGTH", "Must be between 1 and 10 in length.")
        return
    for index, item in enumerate(items):
        where = f"{path}.items.{index}"
        fields.unknown_keys(item, {"media", "description", "spoiler"}, errors, where)
        _check_media(item.get("media"), errors, f"{where}.media")
        fields.text(item, "description", (1, 1024), errors, where, optional=True)


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
