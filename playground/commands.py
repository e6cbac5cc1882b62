"""Application commands: what the bot registers, and whether it is well formed.

Rule: a PUT replaces the whole list of a place (global, or one server); a command keeps its id while its name and type
stay. People see the global ones and those of their server.
Not covered: localisation beyond keeping it, command permissions edited by moderators.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from playground.field_rules import unknown_keys
from playground.model import Json
from playground.refusals import FormErrors
from playground.world import World

NAME = re.compile(r"[-_'\w]{1,32}")
FIELDS = {
    "name", "name_localizations", "description", "description_localizations", "options", "default_member_permissions",
    "dm_permission", "type", "nsfw", "contexts", "integration_types", "default_permission", "id", "application_id",
    "version", "guild_id", "handler",
}  # fmt: skip
OPTION_FIELDS = {
    "type", "name", "name_localizations", "description", "description_localizations", "required", "choices", "options",
    "channel_types", "min_value", "max_value", "min_length", "max_length", "autocomplete",
}  # fmt: skip
MOST = {1: 100, 2: 15, 3: 15}  # commands of a type in one place


class Commands:
    """The registered commands: `None` → global, guild id → of that server."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._by_place: dict[int | None, list[Json]] = {}

    def replace(self, guild_id: int | None, wanted: list[Json]) -> list[Json]:
        """Register *wanted* instead of what was there; refuses (50035) when one is malformed."""
        errors = FormErrors()
        check(wanted, errors)
        errors.refuse_if_any()
        known = {(one["name"], one["type"]): one["id"] for one in self._by_place.get(guild_id, [])}
        self._by_place[guild_id] = [self._complete(one, guild_id, known) for one in wanted]
        self.world.touch()
        return self._by_place[guild_id]

    def _complete(self, command: Json, guild_id: int | None, known: dict[tuple[str, int], str]) -> Json:
        kind = int(command.get("type") or 1)
        fresh = str(self.world.clock.snowflake())
        defaults: Json = {
            "options": [],
            "description": "",
            "default_member_permissions": None,
            "dm_permission": True,
            "nsfw": False,
            "contexts": None,
            "integration_types": [0],
        }
        data = defaults | command
        data |= {"type": kind, "id": known.get((command["name"], kind), fresh), "version": fresh}
        data["application_id"] = str(self.world.bot.id)
        if guild_id is not None:
            data["guild_id"] = str(guild_id)
        return data

    def registered(self, guild_id: int | None) -> list[Json]:
        return self._by_place.get(guild_id, [])

    def offered(self, guild_id: int | None, kind: int) -> list[Json]:
        """What a person is shown in a server, or in a direct message (*guild_id* None)."""
        everywhere = [one for one in self.registered(None) if one["type"] == kind and _in_context(one, guild_id)]
        if guild_id is None:
            return everywhere
        local = [one for one in self.registered(guild_id) if one["type"] == kind]
        names = {one["name"] for one in local}
        return local + [one for one in everywhere if one["name"] not in names]


def _in_context(command: Json, guild_id: int | None) -> bool:
    contexts = command.get("contexts")
    if contexts is not None:
        return (0 if guild_id is not None else 1) in contexts
    return guild_id is not None or command.get("dm_permission") is not False


def check(wanted: list[Json], errors: FormErrors) -> None:
    """Report what is malformed in a list of commands."""
    seen: set[tuple[str, int]] = set()
    for index, command in enumerate(wanted):
        path = str(index)
        unknown_keys(command, FIELDS, errors, path)
        kind = int(command.get("type") or 1)
        name = command.get("name")
        if not isinstance(name, str):
            errors.required(f"{path}.name")
            continue
        if kind == 1:
            _check_name(name, errors, path)
            _check_description(command, errors, path)
            _check_options(command.get("options") or [], errors, f"{path}.options", depth=0)
            if _size(command) > 8000:
                errors.add(path, "APPLICATION_COMMAND_TOO_LARGE", "Command exceeds maximum size (8000)")
        else:
            errors.length(f"{path}.name", name, 1, 32)
            for key in ("description", "options"):
                if command.get(key):
                    text = "Context menu commands cannot have description or options"
                    errors.add(f"{path}.{key}", "APPLICATION_COMMAND_CONTEXT_MENU_CANNOT_HAVE", text)
        if (name, kind) in seen:
            text = "Application command names must be unique"
            errors.add(f"{path}.name", "APPLICATION_COMMANDS_DUPLICATE_NAME", text)
        seen.add((name, kind))
    for kind, most in MOST.items():
        if sum(int(one.get("type") or 1) == kind for one in wanted) > most:
            errors.add("", "APPLICATION_COMMANDS_LIMIT", f"Maximum number of commands of type {kind} reached ({most})")


def _check_name(name: str, errors: FormErrors, path: str) -> None:
    if not NAME.fullmatch(name) or name != name.lower():
        text = f'Command name is invalid: "{name}"'
        errors.add(f"{path}.name", "APPLICATION_COMMAND_INVALID_NAME", text)


def _check_description(given: Json, errors: FormErrors, path: str) -> None:
    description = given.get("description")
    if not description:
        errors.required(f"{path}.description")
    else:
        errors.length(f"{path}.description", description, 1, 100)


def _check_options(options: Iterable[Json], errors: FormErrors, path: str, depth: int) -> None:
    options = list(options)
    if len(options) > 25:
        errors.add(path, "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    names = [one.get("name") for one in options]
    optional_seen = False
    for index, option in enumerate(options):
        where = f"{path}.{index}"
        unknown_keys(option, OPTION_FIELDS, errors, where)
        _check_name(str(option.get("name")), errors, where)
        _check_description(option, errors, where)
        kind = option.get("type")
        if kind not in range(1, 12) or (kind in (1, 2) and depth >= (2 if kind == 1 else 1)):
            errors.add(f"{where}.type", "BASE_TYPE_CHOICES", "This option type is not possible here")
        if names.count(option.get("name")) > 1:
            text = "Option names must be unique"
            errors.add(f"{where}.name", "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", text)
        if option.get("required") and optional_seen:
            text = "Required options must be placed before non-required options"
            errors.add(where, "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID", text)
        optional_seen = optional_seen or (kind not in (1, 2) and not option.get("required"))
        _check_choices(option, errors, where)
        if kind in (1, 2):
            _check_options(option.get("options") or [], errors, f"{where}.options", depth + 1)


def _check_choices(option: Json, errors: FormErrors, path: str) -> None:
    choices = option.get("choices") or []
    if len(choices) > 25:
        errors.add(f"{path}.choices", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    if choices and option.get("autocomplete"):
        text = "Cannot have choices and autocomplete at once"
        errors.add(path, "APPLICATION_COMMAND_OPTION_CHOICES_AUTOCOMPLETE", text)
    for index, choice in enumerate(choices):
        where = f"{path}.choices.{index}"
        unknown_keys(choice, {"name", "name_localizations", "value"}, errors, where)
        errors.length(f"{where}.name", str(choice.get("name") or ""), 1, 100)
        if option.get("type") == 3:
            errors.length(f"{where}.value", str(choice.get("value") or ""), 1, 100)


def _size(command: Json) -> int:
    """Characters of all names, descriptions and values of a command."""
    total = len(command.get("name") or "") + len(command.get("description") or "")
    for choice in command.get("choices") or []:
        total += len(str(choice.get("name"))) + len(str(choice.get("value")))
    return total + sum(_size(one) for one in command.get("options") or [])
