"""What one button, list or text field must be, and the checks that every body shares.

Rule: every mistake is reported where it is; values keep their type (a number is never read from text).
Not covered: how they may be combined (see `component_rules`).
"""

from __future__ import annotations

from playground.components import Kind
from playground.model import Json
from playground.refusals import FormErrors

LINK = 5  # button style
TOP_STYLE = 5  # premium buttons (6) are not part of the contract


def check_button(button: Json, errors: FormErrors, path: str) -> None:
    style = button.get("style")
    if style not in (1, 2, 3, 4, 5):
        errors.add(f"{path}.style", "BASE_TYPE_CHOICES", "Value must be one of {1, 2, 3, 4, 5, 6}.")
    text(button, "label", (1, 80), errors, path, optional=True)
    if not button.get("label") and not button.get("emoji"):
        errors.add(path, "BUTTON_COMPONENT_INVALID_LABEL", "A button must have a label or an emoji")
    if style == LINK:
        text(button, "url", (1, 512), errors, path)
        if "custom_id" in button:
            errors.add(path, "BUTTON_COMPONENT_CUSTOM_ID_URL_CONFLICT", "A link button cannot have a custom id")
        if not str(button.get("url", "")).startswith(("http://", "https://", "discord://")):
            message = "Scheme must be one of ('http', 'https', 'discord')."
            errors.add(f"{path}.url", "URL_TYPE_INVALID_SCHEME", message)
    else:
        text(button, "custom_id", (1, 100), errors, path)
        if "url" in button:
            errors.add(path, "BUTTON_COMPONENT_CUSTOM_ID_URL_CONFLICT", "A custom id and url cannot both be specified")


def check_select(select: Json, errors: FormErrors, path: str) -> None:
    text(select, "custom_id", (1, 100), errors, path)
    text(select, "placeholder", (0, 150), errors, path, optional=True)
    bounds(select, "min_values", (0, 25), errors, path)
    bounds(select, "max_values", (1, 25), errors, path)
    low, high = select.get("min_values", 1), select.get("max_values", 1)
    if low > high:
        errors.add(f"{path}.min_values", "NUMBER_TYPE_MAX", f"int value should be less than or equal to {high}.")
    if select["type"] == Kind.STRING_SELECT:
        check_options(select, errors, path, low=1, high=25)
        options = select.get("options") or []
        if isinstance(options, list) and options and high > len(options):
            message = "The maximum number of values cannot exceed the number of options"
            errors.add(f"{path}.max_values", "SELECT_COMPONENT_MAX_VALUES_EXCEEDED", message)
        defaults = sum(bool(one.get("default")) for one in options if isinstance(one, dict))
        if defaults > high:
            errors.add(f"{path}.options", "SELECT_COMPONENT_TOO_MANY_DEFAULT_VALUES", "Too many default values")


def check_options(select: Json, errors: FormErrors, path: str, *, low: int, high: int) -> None:
    options = select.get("options")
    if not isinstance(options, list) or not low <= len(options) <= high:
        errors.add(f"{path}.options", "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")
        return
    seen: set[str] = set()
    for index, option in enumerate(options):
        where = f"{path}.options.{index}"
        unknown_keys(option, {"label", "value", "description", "emoji", "default"}, errors, where)
        text(option, "label", (1, 100), errors, where)
        text(option, "value", (1, 100), errors, where)
        text(option, "description", (0, 100), errors, where, optional=True)
        if option.get("value") in seen:
            message = "The specified option value is already used"
            errors.add(f"{where}.value", "SELECT_COMPONENT_OPTION_VALUE_DUPLICATED", message)
        seen.add(str(option.get("value")))


def check_text_input(field: Json, errors: FormErrors, path: str) -> None:
    text(field, "custom_id", (1, 100), errors, path)
    if field.get("style") not in (1, 2):
        errors.add(f"{path}.style", "BASE_TYPE_CHOICES", "Value must be one of {1, 2}.")
    labelled = path.endswith(".component")  # inside a Label, which carries the words itself
    if labelled and field.get("label"):
        errors.add(f"{path}.label", "BASE_TYPE_UNEXPECTED", "A text input inside a label cannot have a label")
    if not labelled:
        text(field, "label", (1, 45), errors, path)
    text(field, "placeholder", (0, 100), errors, path, optional=True)
    text(field, "value", (0, 4000), errors, path, optional=True)
    bounds(field, "min_length", (0, 4000), errors, path)
    bounds(field, "max_length", (1, 4000), errors, path)
    value, high = field.get("value"), field.get("max_length") or 4000
    if value and len(value) > high:
        errors.add(f"{path}.value", "BASE_TYPE_MAX_LENGTH", f"Must be {high} or fewer in length.")


def unknown_keys(given: object, known: set[str], errors: FormErrors, path: str) -> None:
    if isinstance(given, dict):
        for key in given.keys() - known:
            where = f"{path}.{key}" if path else key
            errors.add(where, "UNKNOWN_FIELD", "This field is not part of the contract")


def text(
    given: Json, key: str, size: tuple[int, int], errors: FormErrors, path: str, *, optional: bool = False
) -> None:
    """A text of *size* (least and most characters)."""
    value = given.get(key)
    where = f"{path}.{key}"
    if value is None:
        if not optional:
            errors.required(where)
    elif not isinstance(value, str):
        errors.add(where, "STRING_TYPE_CONVERT", "Could not interpret value as string.")
    else:
        errors.length(where, value, *size)


def bounds(given: Json, key: str, limits: tuple[int, int], errors: FormErrors, path: str) -> None:
    """A whole number within *limits*, if there is one."""
    low, high = limits
    value = given.get(key)
    if value is None:
        return
    if not isinstance(value, int) or isinstance(value, bool):
        errors.add(f"{path}.{key}", "NUMBER_TYPE_COERCE", f'Value "{value}" is not int.')
    elif value > high:
        errors.add(f"{path}.{key}", "NUMBER_TYPE_MAX", f"int value should be less than or equal to {high}.")
    elif value < low:
        errors.add(f"{path}.{key}", "NUMBER_TYPE_MIN", f"int value should be greater than or equal to {low}.")
