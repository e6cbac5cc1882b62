"""Who somebody is in a server: member, tutor or admin.

Rule of this file: pure. Discord's own roles and its *Manage Server* permission come in, one of three roles of Afina
comes out. A Discord role that was deleted is on nobody, so it maps nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from enum import StrEnum


class Role(StrEnum):
    """From the one who may least to the one who may most."""

    MEMBER = "member"
    TUTOR = "tutor"  # cares for the course, sees the queue
    ADMIN = "admin"  # everything below `/admin`

    @property
    def rank(self) -> int:
        return list(Role).index(self)

    @property
    def staff(self) -> bool:
        return self is not Role.MEMBER


MAPPED = (Role.TUTOR, Role.ADMIN)  # everybody else is a member

SPANISH = {Role.MEMBER: "miembros", Role.TUTOR: "tutores", Role.ADMIN: "administradores"}


def role_of(mapping: Mapping[Role, Collection[int]], held: Collection[int], *, manages: bool) -> Role:
    """The highest role that somebody has.

    `mapping`: ids of Discord roles by role of Afina. `held`: ids of the person's Discord roles. `manages`: whether they
    have *Manage Server*.
    """
    if manages:
        return Role.ADMIN
    found = [role for role in MAPPED if not set(mapping.get(role, ())).isdisjoint(held)]
    return max(found, key=lambda role: role.rank, default=Role.MEMBER)
