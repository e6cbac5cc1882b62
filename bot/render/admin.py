"""What the staff of a server sees of its decisions: roles, limits, bases, channels, the queue, the log.

Rule of this file: values in, Spanish out. People, roles and channels are mentions, which Discord shows by name and
which ping nobody.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence

from bot.limits import minutes
from bot.policy import Policy, Purpose
from bot.records import AuditEntry, Job
from bot.render.limits import role_limits_texts, value_text
from bot.render.numbers import count, moment, number, plain
from bot.roles import MAPPED, SPANISH, Role
from bot.settings import Settings
from jobs.catalog import Base
from jobs.contract import JobState

PURPOSES = {Purpose.QUESTIONS: "Preguntas al curso", Purpose.WORK: "Datos, entrenamientos y charlas"}
STATES = {
    JobState.QUEUED: "espera",
    JobState.DISPATCHED: "va a empezar",
    JobState.RUNNING: "en marcha",
    JobState.PAUSED: "en pausa",
}
_MAY = {
    Role.TUTOR: "cuidan del curso, ven la cola, cancelan entrenamientos y retiran modelos",
    Role.ADMIN: "además cambian todo lo de `/admin`; también lo es quien puede *Gestionar el servidor*",
}


def roles_texts(policy: Policy, existing: Collection[int]) -> list[str]:
    """`existing`: ids of the Discord roles that are still there."""
    blocks = ["## Quién es quién"]
    for role in MAPPED:
        listed = [f"<@&{one}>" for one in policy.roles.get(role, ()) if one in existing]
        blocks.append(f"**{SPANISH[role].capitalize()}**  {', '.join(listed) or 'nadie por su rol'}\n-# {_MAY[role]}")
    blocks.append("-# Se cambia con `/admin roles para:… agregar:…` o `quitar:…`")
    return blocks


def limits_texts(policy: Policy, settings: Settings) -> list[str]:
    blocks = ["## Límites por persona"]
    blocks += role_limits_texts({role: policy.limits_of(role, settings) for role in Role}, policy.limits)
    blocks.append("-# Los minutos se cuentan en siete días seguidos. 0 es sin límite. Lo que falla no gasta.")
    return blocks


def limit_changes_text(role: Role, changes: dict[str, tuple[int | None, int | None]], names: dict[str, str]) -> str:
    """For the log: «miembros: modelos 30 → 5»."""
    parts = [f"{names[name]} {value_text(name, old)} → {value_text(name, new)}" for name, (old, new) in changes.items()]
    return f"Límites de {SPANISH[role]}: {'; '.join(parts)}"


def catalogue_texts(policy: Policy, bases: Sequence[Base], default: str) -> list[str]:
    """`bases`: all that the machine has. `default`: the one that forms propose."""
    lines = []
    for base in bases:
        mark = "✅" if policy.offers(base.id) else "▫️"
        first = " · la que se propone" if base.id == default else ""
        lines.append(f"{mark} **{plain(base.name, 60)}** (`{base.id}`){first}\n-# {plain(base.description, 200)}")
    return [
        "## Bases que se ofrecen aquí",
        "\n".join(lines) or "Esta máquina no tiene ninguna.",
        "-# Otras las descarga quien aloja a Afina. Los modelos ya hechos se siguen pudiendo usar.",
    ]


def channels_texts(policy: Policy, existing: Collection[int]) -> list[str]:
    """`existing`: ids of the channels that are still there."""
    blocks = ["## Dónde trabajo"]
    for purpose, name in PURPOSES.items():
        listed = policy.channels.get(purpose, ())
        shown = [f"<#{one}>" if one in existing else "un canal que ya no existe" for one in listed]
        blocks.append(f"**{name}**  {', '.join(shown) or 'en todos los canales donde puedo escribir'}")
    direct = "sí" if policy.direct else "no"
    blocks.append(f"**Mensajes directos**  {direct}")
    blocks.append("-# Los hilos cuentan como su canal; el taller de cada persona se le queda siempre abierto.")
    return blocks


def queue_texts(jobs: Sequence[Job], now: float, shown: int) -> list[str]:
    """`jobs`: the open ones of this server, in the order in which they were asked for. `shown`: with a number."""
    if not jobs:
        return ["## La cola de este servidor\nAhora no hay nada en la cola."]
    lines = [f"{place}. {queue_line(job)}" for place, job in enumerate(jobs[:shown], 1)]
    rest = len(jobs) - shown
    head = f"## La cola de este servidor\n{count(len(jobs), 'entrenamiento', 'entrenamientos')} sin terminar"
    return [head, "\n".join(lines), *([f"… y {number(rest)} más"] if rest > 0 else [])]


def queue_line(job: Job) -> str:
    state = STATES.get(job.state, "")
    if job.cancel_requested:
        state = "deteniéndose"
    elif job.state is JobState.RUNNING and job.total_steps:
        state = f"en marcha, {job.step}/{job.total_steps}"
    asked = f"unos {number(minutes(job.estimated_seconds))} min" if job.estimated_seconds else "sin estimación"
    return f"**{plain(job.name, 40)}** de <@{job.owner.user_id}> · {state} · {asked} · {moment(job.created_at)}"


def audit_texts(entries: Sequence[AuditEntry]) -> list[str]:
    if not entries:
        return ["## Registro\nTodavía no hay nada anotado."]
    lines = []
    for entry in entries:
        subject = f" (a <@{entry.subject_id}>)" if entry.subject_id else ""
        lines.append(f"{moment(entry.at, 'f')} <@{entry.actor_id}>: {entry.text}{subject}")
    return ["## Registro", "\n".join(lines)]
