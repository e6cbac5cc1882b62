"""What the staff of one server decided: who is who, what each may use, which bases, where Afina answers.

Rule of this file: pure values and the changes that `/admin` makes to them; anything not decided is left to the
settings. Rows and the log of who changed what are in `bot/store/servers.py`.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, replace
from enum import StrEnum

from pydantic import BaseModel, ConfigDict

from bot.errors import BadInput
from bot.limits import NAMES, Limits, defaults
from bot.roles import MAPPED, Role
from bot.settings import Settings

MOST = 10_000  # of anything that is counted
MOST_BYTES = 2**50
MOST_LISTED = 50  # roles, channels


class Purpose(StrEnum):
    """What a channel may be used for."""

    QUESTIONS = "questions"  # the course: answers that everybody sees
    WORK = "work"  # data, training, models, conversations


class Policy(BaseModel):
    """Of one server. Lists of channels that are empty mean everywhere."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    roles: dict[Role, tuple[int, ...]] = {}  # ids of Discord roles
    limits: dict[Role, dict[str, int | None]] = {}  # by field of `Limits`, only what was changed; None: no limit
    bases: tuple[str, ...] | None = None  # ids on offer here; None: all that the machine has
    default_base: str | None = None
    channels: dict[Purpose, tuple[int, ...]] = {}  # ids of channels; their threads are allowed with them
    direct: bool = True  # whether members may use direct messages for what is theirs in this server

    def limits_of(self, role: Role, settings: Settings) -> Limits:
        known = {name: value for name, value in self.limits.get(role, {}).items() if name in NAMES}
        return replace(defaults(settings, role), **known)

    def allows(self, purpose: Purpose, channels: Collection[int | None]) -> bool:
        """Whether something may be done in a place; `channels`: its id, and the one it is a thread of."""
        listed = self.channels.get(purpose, ())
        return not listed or not set(listed).isdisjoint(channels)

    def offers(self, base_id: str) -> bool:
        return self.bases is None or base_id in self.bases


def with_role(policy: Policy, role: Role, discord_role: int, *, has: bool) -> Policy:
    """Map a Discord role to a role of Afina, or no longer. Raises BadInput."""
    if role not in MAPPED:
        raise BadInput("Miembro es cualquiera: no hace falta un rol.")
    others = [one for one in policy.roles.get(role, ()) if one != discord_role]
    listed = _limited([*others, discord_role] if has else others)
    return policy.model_copy(update={"roles": {**policy.roles, role: listed}})


def without_roles(policy: Policy, gone: Collection[int]) -> Policy:
    """Forget Discord roles that were deleted."""
    kept = {role: tuple(one for one in listed if one not in gone) for role, listed in policy.roles.items()}
    return policy.model_copy(update={"roles": kept})


def with_limits(policy: Policy, role: Role, changes: Mapping[str, int | None]) -> Policy:
    """Change some limits of a role; 0 and None are no limit. Raises BadInput."""
    for name, value in changes.items():
        most = MOST_BYTES if name == "max_disk_bytes" else MOST
        if value is not None and not 0 <= value <= most:
            raise BadInput(f"El límite de {NAMES[name]} tiene que estar entre 1 y {most}; 0 es sin límite.")
    if not changes:
        return policy
    wanted = {name: value or None for name, value in changes.items()}
    return policy.model_copy(update={"limits": {**policy.limits, role: {**policy.limits.get(role, {}), **wanted}}})


def with_default_limits(policy: Policy, role: Role) -> Policy:
    return policy.model_copy(update={"limits": {one: given for one, given in policy.limits.items() if one is not role}})


def with_base(policy: Policy, base_id: str, *, offered: bool, available: Collection[str]) -> Policy:
    """Offer a base here, or no longer. `available`: ids that the machine has. Raises BadInput for the last one."""
    now = [one for one in available if policy.offers(one)]
    listed = [one for one in now if one != base_id] + ([base_id] if offered else [])
    if not listed:
        raise BadInput("Tiene que quedar al menos una base.", hint="Añade antes otra.")
    everything = set(listed) == set(available)
    return policy.model_copy(
        update={
            "bases": None if everything else tuple(one for one in available if one in listed),
            "default_base": policy.default_base if policy.default_base in listed else None,
        }
    )


def with_default_base(policy: Policy, base_id: str) -> Policy:
    """Raises BadInput for one that is not on offer."""
    if not policy.offers(base_id):
        raise BadInput("Esa base no se ofrece en este servidor.", hint="Ofrécela antes con /admin catalogo.")
    return policy.model_copy(update={"default_base": base_id})


def with_channel(policy: Policy, purpose: Purpose, channel: int, *, allowed: bool) -> Policy:
    """Allow a channel, or no longer; when the last one goes, everywhere is allowed again."""
    others = [one for one in policy.channels.get(purpose, ()) if one != channel]
    listed = _limited([*others, channel] if allowed else others)
    return policy.model_copy(update={"channels": {**policy.channels, purpose: listed}})


def without_channels(policy: Policy, purpose: Purpose) -> Policy:
    """Allow it everywhere."""
    return policy.model_copy(update={"channels": {**policy.channels, purpose: ()}})


def default_base(policy: Policy, settings: Settings, available: Collection[str]) -> str:
    """The base that a form proposes: the server's, else the machine's, else the first one on offer."""
    offered = [one for one in available if policy.offers(one)]
    wanted = [one for one in (policy.default_base, settings.default_base) if one in offered]
    return next(iter([*wanted, *offered]), settings.default_base)


def changed_limits(before: Limits, after: Limits) -> dict[str, tuple[int | None, int | None]]:
    """(before, after) of each limit that differs."""
    old, new = asdict(before), asdict(after)
    return {name: (old[name], new[name]) for name in NAMES if old[name] != new[name]}


def _limited(listed: list[int]) -> tuple[int, ...]:
    if len(listed) > MOST_LISTED:
        raise BadInput(f"Como mucho {MOST_LISTED} a la vez.")
    return tuple(listed)
