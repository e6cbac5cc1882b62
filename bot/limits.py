"""What a person may use at once, by server: the settings, changed by what staff set with `/admin limites`.

Rule of this file: reading and changing the numbers; whoever spends something compares with them before doing work.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields

from bot.errors import BadInput
from bot.settings import Settings
from bot.store import Store

MOST = 10_000  # of anything


@dataclass(frozen=True, kw_only=True, slots=True)
class PersonalLimits:
    max_running_jobs: int  # with workers at the same time
    max_queued_jobs: int  # that are not over: waiting, running or paused
    questions_per_minute: int
    chats_per_minute: int


NAMES = {
    "max_running_jobs": "entrenamientos en marcha a la vez",
    "max_queued_jobs": "entrenamientos sin terminar",
    "questions_per_minute": "preguntas por minuto",
    "chats_per_minute": "mensajes de charla por minuto",
}


async def limits_for(settings: Settings, store: Store, guild_id: int) -> PersonalLimits:
    """The limits of every person in a server."""
    changed = json.loads(await store.get_state(f"limits:{guild_id}") or "{}")
    return PersonalLimits(
        **{field.name: changed.get(field.name, getattr(settings, field.name)) for field in fields(PersonalLimits)}
    )


async def change_limits(settings: Settings, store: Store, guild_id: int, **changes: int | None) -> PersonalLimits:
    """Set some of them for a server; None leaves one as it is. Raises BadInput outside 1..10 000."""
    wanted = {name: value for name, value in changes.items() if value is not None}
    for name, value in wanted.items():
        if not 1 <= value <= MOST:
            raise BadInput(f"El límite de {NAMES[name]} tiene que estar entre 1 y {MOST}.")
    limits = asdict(await limits_for(settings, store, guild_id)) | wanted
    await store.set_state(f"limits:{guild_id}", json.dumps(limits))
    return PersonalLimits(**limits)
