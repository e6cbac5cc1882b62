"""What a person fills in: the options of a command and the fields of a modal, made into interaction data.

Rule: the Discord client checks before it sends, so a wrong value here is the mistake of whoever plays the person and
raises `Impossible`; the bot never sees it.
Not covered: what the bot does with it.
"""

from __future__ import annotations

import base64
from typing import Any

from playground import files
from playground.components import SELECTS, Kind, walk
from playground.model import Attachment, Channel, Json, User
from playground.payloads import Payloads
from playground.rules import Upload
from playground.world import World


class Impossible(Exception):
    """A person could not do this in Discord: the button is disabled, the option does not exist, …"""


class Resolved:
    """The `resolved` part of interaction data: whole records for the ids that a person chose."""

    def __init__(self, world: World, payloads: Payloads, channel: Channel, user: User) -> None:
        self.world = world
        self.payloads = payloads
        self.channel = channel
        self.user = user
        self.data: Json = {}

    def person(self, user_id: int) -> str:
        if user_id not in self.world.users:
            raise Impossible(f"there is no person {user_id}")
        self.data.setdefault("users", {})[str(user_id)] = self.payloads.user(self.world.users[user_id])
        guild = self.world.guild_of(self.channel)
        if guild and user_id in guild.members:
            member = self.payloads.interaction_member(guild, user_id, self.channel)
            member.pop("user")
            self.data.setdefault("members", {})[str(user_id)] = member
        return str(user_id)

    def place(self, channel_id: int) -> str:
        channel = self.world.channels.get(channel_id)
        if channel is None or not self.world.can_see(self.user.id, channel):
            raise Impossible(f"{self.user.name} does not see channel {channel_id}")
        granted = str(int(self.world.permissions(self.user.id, channel)))
        self.data.setdefault("channels", {})[str(channel_id)] = self.payloads.channel(channel) | {
            "permissions": granted
        }
        return str(channel_id)

    def role(self, role_id: int) -> str:
        guild = self.world.guild_of(self.channel)
        if guild is None or role_id not in guild.roles:
            raise Impossible(f"there is no role {role_id}")
        self.data.setdefault("roles", {})[str(role_id)] = self.payloads.role(guild.roles[role_id])
        return str(role_id)

    def file(self, given: Json) -> str:
        """Upload *given* (`{"name", "data"}`, base64) as an ephemeral attachment."""
        attachment = upload(self.world, self.user, self.channel, given, ephemeral=True)
        self.data.setdefault("attachments", {})[str(attachment.id)] = self.payloads.attachment(attachment)
        return str(attachment.id)


def upload(world: World, user: User, channel: Channel, given: Json, *, ephemeral: bool = False) -> Attachment:
    """The file that a person sends; above their limit the client refuses."""
    data = base64.b64decode(given["data"])
    guild = world.guild_of(channel)
    limit = max(user.upload_limit, guild.attachment_limit if guild else 0)
    if len(data) > limit:
        raise Impossible(f"the file has {len(data)} bytes and {user.name} may send {limit}")
    one = Upload(index=0, filename=given["name"], data=data)
    return files.store(world, channel.id, one, {"description": given.get("description")}, ephemeral=ephemeral)


# -- commands -------------------------------------------------------------------------------------------------


def find_command(offered: list[Json], line: str) -> tuple[Json, list[Json]]:
    """The command of *line* (`datos subir`) and the path of subcommands that leads to its options."""
    words = line.removeprefix("/").split()
    command = next((one for one in offered if one["name"] == words[0]), None)
    if command is None:
        names = ", ".join(sorted(one["name"] for one in offered)) or "none"
        raise Impossible(f"/{words[0]} is not offered here (offered: {names})")
    path: list[Json] = []
    level = command
    for word in words[1:]:
        inner = next((one for one in level.get("options") or [] if one["name"] == word and one["type"] in (1, 2)), None)
        if inner is None:
            raise Impossible(f"/{line} does not exist: {level['name']} has no subcommand {word!r}")
        path.append(inner)
        level = inner
    if any(one["type"] in (1, 2) for one in level.get("options") or []):
        raise Impossible(f"/{line} needs a subcommand")
    return command, path


def command_data(
    command: Json, path: list[Json], given: dict[str, Any], resolved: Resolved, focused: str | None = None
) -> Json:
    """The data of a chat-input command; *focused* names the option that is being completed."""
    level = path[-1] if path else command
    known = {one["name"]: one for one in level.get("options") or []}
    if unknown := given.keys() - known.keys():
        raise Impossible(f"/{command['name']} has no option {', '.join(sorted(unknown))} (has: {', '.join(known)})")
    options: list[Json] = []
    for name, option in known.items():
        if given.get(name) is None:
            if option.get("required") and focused is None:
                raise Impossible(f"the option {name} is required")
            continue
        value = given[name] if name == focused else option_value(option, given[name], resolved)
        one: Json = {"name": name, "type": option["type"], "value": value}
        options.append(one | ({"focused": True} if name == focused else {}))
    for inner in reversed(path):
        options = [{"name": inner["name"], "type": inner["type"], "options": options}]
    data: Json = {"id": command["id"], "name": command["name"], "type": 1, "options": options}
    if "guild_id" in command:
        data["guild_id"] = command["guild_id"]
    return data | ({"resolved": resolved.data} if resolved.data else {})


def option_value(option: Json, value: Any, resolved: Resolved) -> Any:
    """*value* as the type of *option* asks, checked as the client checks it."""
    name, kind = option["name"], option["type"]
    if choices := option.get("choices"):
        match = next((one["value"] for one in choices if value in (one["value"], one["name"])), None)
        if match is None:
            raise Impossible(f"{name}: {value!r} is not among the choices {[one['name'] for one in choices]}")
        return match
    match kind:
        case 3:
            text = str(value)
            return _bounded(name, text, len(text), option.get("min_length"), option.get("max_length"))
        case 4 | 10:
            if isinstance(value, bool) or not isinstance(value, int | float) or (kind == 4 and value != int(value)):
                raise Impossible(f"{name}: {value!r} is not a number of that kind")
            number = int(value) if kind == 4 else float(value)
            return _bounded(name, number, number, option.get("min_value"), option.get("max_value"))
        case 5:
            if not isinstance(value, bool):
                raise Impossible(f"{name}: {value!r} is neither true nor false")
            return value
        case 6:
            return resolved.person(int(value))
        case 7:
            return resolved.place(int(value))
        case 8:
            return resolved.role(int(value))
        case 9:
            known_role = int(value) in getattr(resolved.world.guild_of(resolved.channel), "roles", {})
            return resolved.role(int(value)) if known_role else resolved.person(int(value))
        case 11:
            return resolved.file(value)
    raise Impossible(f"{name}: options of type {kind} are not part of the contract")


def _bounded(name: str, value: Any, size: float, least: float | None, most: float | None) -> Any:
    """*value*, if its *size* (the number itself, or the length of a text) is within the limits."""
    if (least is not None and size < least) or (most is not None and size > most):
        raise Impossible(f"{name}: {value!r} is outside {least}–{most}")
    return value


# -- components -----------------------------------------------------------------------------------------------


def pick(component: Json, wanted: list[Any], resolved: Resolved) -> list[str]:
    """The values of a select; options by value or label, people, roles and channels by id."""
    low, high = component.get("min_values"), component.get("max_values")
    least, most = 1 if low is None else low, 1 if high is None else high
    if component.get("required") is False and not wanted:
        least = 0
    if not least <= len(wanted) <= most:
        raise Impossible(f"this list takes {least}–{most} values, not {len(wanted)}")
    return [_one_value(component, one, resolved) for one in wanted]


def _one_value(component: Json, wanted: Any, resolved: Resolved) -> str:
    match component["type"]:
        case Kind.USER_SELECT:
            return resolved.person(int(wanted))
        case Kind.ROLE_SELECT:
            return resolved.role(int(wanted))
        case Kind.CHANNEL_SELECT:
            return resolved.place(int(wanted))
        case Kind.MENTIONABLE_SELECT:
            guild = resolved.world.guild_of(resolved.channel)
            is_role = guild is not None and int(wanted) in guild.roles
            return resolved.role(int(wanted)) if is_role else resolved.person(int(wanted))
    options = component.get("options") or []
    match_ = next((one["value"] for one in options if wanted in (one["value"], one["label"])), None)
    if match_ is None:
        raise Impossible(f"{wanted!r} is not among {[one['label'] for one in options]}")
    return str(match_)


def modal_data(modal: Json, given: dict[str, Any], resolved: Resolved) -> Json:
    """The data of a submitted modal. *given*: value by `custom_id`; what is left out keeps its default."""
    left = dict(given)
    rows = [_filled(one, left, resolved) for one in modal["components"]]
    if left:
        known = [one["custom_id"] for _, one in walk(modal["components"]) if "custom_id" in one]
        raise Impossible(f"the form has no field {', '.join(left)} (has: {', '.join(known)})")
    data: Json = {"custom_id": modal["custom_id"], "components": rows}
    return data | ({"resolved": resolved.data} if resolved.data else {})


def _filled(component: Json, left: dict[str, Any], resolved: Resolved) -> Json:
    kind = component["type"]
    base: Json = {"type": kind, "id": component.get("id", 0)}
    if kind == Kind.ACTION_ROW:
        return base | {"components": [_filled(one, left, resolved) for one in component["components"]]}
    if kind == Kind.LABEL:
        return base | {"component": _filled(component["component"], left, resolved)}
    if kind == Kind.TEXT_DISPLAY:
        return base
    custom_id = component["custom_id"]
    wanted = left.pop(custom_id, None)
    return base | {"custom_id": custom_id} | _field_value(component, wanted, resolved)


def _field_value(component: Json, wanted: Any, resolved: Resolved) -> Json:
    component = {key: value for key, value in component.items() if value is not None}  # null means «not given»
    kind, name = component["type"], component["custom_id"]
    required = component.get("required", True)
    if kind == Kind.TEXT_INPUT:
        text = str(component.get("value") or "" if wanted is None else wanted)
        if required and not text:
            raise Impossible(f"the field {name} is required")
        if text:
            _bounded(name, text, len(text), component.get("min_length"), component.get("max_length", 4000))
        return {"value": text}
    if kind == Kind.CHECKBOX:
        return {"value": bool(component.get("default") if wanted is None else wanted)}
    if kind == Kind.RADIO_GROUP:
        chosen = _defaults(component)[:1] if wanted is None else [wanted]
        if required and not chosen:
            raise Impossible(f"the field {name} is required")
        return {"value": _one_value(component, chosen[0], resolved) if chosen else None}
    values: list[Any] = _defaults(component) if wanted is None else wanted if isinstance(wanted, list) else [wanted]
    if required and not values:
        raise Impossible(f"the field {name} is required")
    if kind == Kind.FILE_UPLOAD:
        if len(values) > component.get("max_values", 1):
            raise Impossible(f"the field {name} takes {component.get('max_values', 1)} files")
        return {"values": [resolved.file(one) for one in values]}
    assert kind in SELECTS or kind == Kind.CHECKBOX_GROUP
    limits = {"max_values": len(component.get("options") or [])} if kind == Kind.CHECKBOX_GROUP else {}
    return {"values": pick(limits | component, values, resolved)}


def _defaults(component: Json) -> list[str]:
    return [one["value"] for one in component.get("options") or [] if one.get("default")]
