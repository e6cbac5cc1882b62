"""What one person may use, and whether something more still fits in it.

Rule of this file: pure. Limits and what is used already come in; a refusal that says how much is left, and when more
will be, comes out. Who has which limits is in `bot/members.py`, what is used is counted by `bot/store/spending.py`.
A limit of None is no limit.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields

from bot.errors import LimitReached
from bot.roles import Role
from bot.settings import Settings

WEEK = 7 * 24 * 3600.0  # seconds; minutes come back seven days after they were spent
MIB = 2**20


@dataclass(frozen=True, kw_only=True, slots=True)
class Limits:
    """Of one person in one server."""

    gpu_minutes_per_week: int | None  # of a device that trains, over any seven days
    max_running_jobs: int | None  # with workers at the same time
    max_queued_jobs: int | None  # that are not over: waiting, running or paused
    max_datasets: int | None  # files: each version counts
    max_models: int | None  # those in the making included
    max_disk_bytes: int | None  # data and adapters together
    questions_per_minute: int | None
    chats_per_minute: int | None


NAMES = {
    "gpu_minutes_per_week": "minutos de entrenamiento por semana",
    "max_running_jobs": "entrenamientos en marcha a la vez",
    "max_queued_jobs": "entrenamientos sin terminar",
    "max_datasets": "archivos de datos",
    "max_models": "modelos",
    "max_disk_bytes": "espacio en disco",
    "questions_per_minute": "preguntas por minuto",
    "chats_per_minute": "mensajes de charla por minuto",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Ran:
    """Device time that counts: one attempt, as far as it lies within the last seven days."""

    seconds: float
    until: float  # Unix seconds of its last sign of life; a week later it counts no more


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    """What one person uses in one server, right now."""

    now: float  # Unix seconds
    ran: tuple[Ran, ...]  # oldest first
    reserved: float  # seconds that waiting and running jobs are still expected to take
    open_jobs: int
    running_jobs: int
    datasets: int
    models: int
    disk_bytes: int

    @property
    def spent(self) -> float:
        """Device seconds of the last seven days."""
        return sum(one.seconds for one in self.ran)


def defaults(settings: Settings, role: Role) -> Limits:
    """The limits that a server starts with: the settings, several times as much for staff; a setting of 0 is none."""
    times = settings.staff_times if role.staff else 1
    return Limits(**{field.name: getattr(settings, field.name) * times or None for field in fields(Limits)})


def seconds_left(limits: Limits, usage: Usage) -> float | None:
    """Device seconds that nobody has spent or promised yet, never below 0; None: no limit."""
    if limits.gpu_minutes_per_week is None:
        return None
    return max(0.0, limits.gpu_minutes_per_week * 60 - usage.spent - usage.reserved)


def renewals(usage: Usage) -> Iterator[tuple[float, float]]:
    """(Unix seconds, device seconds that come back then), soonest first."""
    for one in sorted(usage.ran, key=lambda one: one.until):
        yield one.until + WEEK, one.seconds


def check_job(limits: Limits, usage: Usage, seconds: float) -> None:
    """Whether one more job of about so many device seconds may be promised. Raises LimitReached."""
    if _full(usage.open_jobs, limits.max_queued_jobs):
        raise LimitReached(
            f"Ya tienes {usage.open_jobs} entrenamientos sin terminar; el máximo es {limits.max_queued_jobs}.",
            hint="Espera a que acabe uno o cancela alguno con /entrenamientos cancelar.",
        )
    if _full(usage.models + usage.open_jobs, limits.max_models):
        raise LimitReached(
            f"Ya tienes {usage.models + usage.open_jobs} modelos, contando los que están por terminar; el máximo es "
            f"{limits.max_models}.",
            hint="Borra alguno con /modelos borrar.",
        )
    if _full(usage.disk_bytes, limits.max_disk_bytes):
        raise _no_room(limits, usage)
    check_minutes(limits, usage, seconds)


def check_minutes(limits: Limits, usage: Usage, seconds: float) -> None:
    """Whether so many device seconds more are left. Raises LimitReached, which says when they will be."""
    left = seconds_left(limits, usage)
    if left is None or seconds <= left:
        return
    total = (limits.gpu_minutes_per_week or 0) * 60
    less = "Un preset más rápido, menos vueltas o menos ejemplos piden menos."
    if seconds > total:
        raise LimitReached(
            f"Este entrenamiento pide {about_minutes(seconds)} y tu límite es de {minutes(total)} a la semana.",
            hint=less,
        )
    raise LimitReached(
        f"Te quedan {math.floor(left / 60)} de {minutes(total)} minutos de entrenamiento; este pide "
        f"{about_minutes(seconds)}.",
        hint=f"{_enough_again(usage, seconds - left)} {less}",
    )


def _enough_again(usage: Usage, missing: float) -> str:
    for at, seconds in renewals(usage):
        missing -= seconds
        if missing <= 0:
            return f"Vuelves a tener bastantes <t:{math.ceil(at)}:R>."
    return "Los demás están reservados para los que tienes en la cola."


def check_datasets(limits: Limits, usage: Usage, *, bytes: int, files: int = 1) -> None:
    """Whether so many more files of data, of so many bytes together, may be kept. Raises LimitReached."""
    if limits.max_datasets is not None and usage.datasets + files > limits.max_datasets:
        raise LimitReached(
            f"Ya tienes {usage.datasets} archivos de datos y el máximo es {limits.max_datasets} (cada versión cuenta).",
            hint="Borra los que ya no uses con /datos borrar.",
        )
    if limits.max_disk_bytes is not None and usage.disk_bytes + bytes > limits.max_disk_bytes:
        raise _no_room(limits, usage)


def _full(used: int, most: int | None) -> bool:
    return most is not None and used >= most


def _no_room(limits: Limits, usage: Usage) -> LimitReached:
    most = limits.max_disk_bytes or 0
    return LimitReached(
        f"No te queda sitio: tus datos y modelos ocupan {usage.disk_bytes / MIB:.0f} de {most / MIB:.0f} MB.",
        hint="Borra lo que ya no uses con /datos borrar y /modelos borrar.",
    )


def about_minutes(seconds: float) -> str:
    """«unos 60 minutos», «menos de 1 minuto»: an estimate as it is told."""
    return "menos de 1 minuto" if seconds < 60 else f"unos {minutes(seconds)} minutos"


def minutes(seconds: float) -> int:
    """Whole minutes, rounded up: what a person is told that something takes."""
    return math.ceil(seconds / 60)
