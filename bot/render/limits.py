"""Limits and what is left of them, as a person reads them.

Rule of this file: values in, Spanish out; a bar is never longer than a phone is wide.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping

from bot.limits import NAMES, Limits, Usage, about_minutes, renewals, seconds_left
from bot.render.numbers import duration, moment, number, size
from bot.roles import SPANISH, Role
from bot.settings import Settings

BAR = 10  # blocks
NO_LIMIT = "sin límite"


def bar(used: float, most: float) -> str:
    """«▰▰▰▱▱▱▱▱▱▱»: something used shows as one block at least, and only what is used up fills it."""
    share = min(1.0, used / most) if most > 0 else 1.0
    filled = BAR if share >= 1 else min(BAR - 1, math.ceil(share * BAR))
    return "▰" * filled + "▱" * (BAR - filled)


def limits_texts(role: Role, limits: Limits, usage: Usage, settings: Settings) -> list[str]:
    """Blocks of the card of `/limites`."""
    who = "" if role is Role.MEMBER else f"\n-# Con los límites de {SPANISH[role]}."
    return [
        f"## Lo que te queda en este servidor{who}",
        _minutes_block(limits, usage),
        "\n".join(
            [
                _line("Entrenamientos sin terminar", usage.open_jobs, limits.max_queued_jobs),
                f"-# {_at_once(limits.max_running_jobs)} Cada uno dura como mucho {duration(settings.job_timeout)}.",
            ]
        ),
        "\n".join(
            [
                _line("Archivos de datos", usage.datasets, limits.max_datasets),
                _line("Modelos", usage.models, limits.max_models),
                _line("Espacio", usage.disk_bytes, limits.max_disk_bytes, size),
            ]
        ),
        f"**Preguntas al curso**  {_rate(limits.questions_per_minute)}\n"
        f"**Mensajes de charla**  {_rate(limits.chats_per_minute)}\n"
        f"**Un archivo**  hasta {size(settings.max_file_bytes)}, {number(settings.max_lines)} líneas y "
        f"{number(settings.max_tokens)} tokens",
        "-# Lo que falla no gasta nada; lo que cancelas, solo lo que llegó a entrenar.",
    ]


def _minutes_block(limits: Limits, usage: Usage) -> str:
    if limits.gpu_minutes_per_week is None:
        spent = f" (llevas {_minutes(usage.spent)} en siete días)" if usage.spent else ""
        return f"**Minutos de entrenamiento**  {NO_LIMIT}{spent}"
    total = limits.gpu_minutes_per_week
    lines = [
        f"**Minutos de entrenamiento**  te quedan {number(left_minutes(limits, usage))} de {number(total)}",
        bar(usage.spent + usage.reserved, total * 60),
    ]
    if usage.spent:
        lines.append(f"Gastados en siete días: {_minutes(usage.spent)}")
    if usage.reserved:
        lines.append(f"Reservados para lo que tienes en la cola o en marcha: {_minutes(usage.reserved)}")
    back = next(renewals(usage), None)
    if back is not None:
        lines.append(f"-# Vuelven {_minutes(back[1])} {moment(back[0])}, y así cada minuto a los siete días.")
    return "\n".join(lines)


def left_minutes(limits: Limits, usage: Usage) -> int:
    return math.floor((seconds_left(limits, usage) or 0.0) / 60)


def minutes_line(limits: Limits, usage: Usage) -> str:
    """One line below what jobs would take."""
    if limits.gpu_minutes_per_week is None:
        return "-# Minutos de entrenamiento: sin límite."
    left, total = left_minutes(limits, usage), limits.gpu_minutes_per_week
    return f"-# Te quedan {number(left)} de {number(total)} minutos de entrenamiento (en siete días)."


def spending_text(limits: Limits, usage: Usage, seconds: float) -> str:
    """What confirming a job would spend: «unos 12 minutos de los 288 que te quedan»."""
    jobs = ""
    if limits.max_queued_jobs is not None:
        free = max(0, limits.max_queued_jobs - usage.open_jobs)
        jobs = f"; ocupa 1 de los {number(free)} sitios que tienes libres en la cola"
    if limits.gpu_minutes_per_week is None:
        return f"{about_minutes(seconds)}, sin límite{jobs}"
    return f"{about_minutes(seconds)} de los {number(left_minutes(limits, usage))} que te quedan{jobs}"


def role_limits_texts(by_role: Mapping[Role, Limits], changed: Collection[Role]) -> list[str]:
    """The limits of every role side by side, for staff. `changed`: roles whose limits staff set themselves."""
    head = " · ".join(SPANISH[role] for role in by_role)
    lines = [
        f"{NAMES[name].capitalize()}: {' · '.join(value_text(name, getattr(one, name)) for one in by_role.values())}"
        for name in NAMES
    ]
    own = ", ".join(SPANISH[role] for role in by_role if role in changed)
    note = f"-# Cambiados aquí: {own}." if own else "-# Son los de la instalación."
    return [f"**{head.capitalize()}**\n" + "\n".join(lines), note]


def value_text(name: str, value: int | None) -> str:
    if value is None:
        return NO_LIMIT
    return size(value) if name == "max_disk_bytes" else number(value)


def _minutes(seconds: float) -> str:
    """Of something that was measured: to the nearest, and nothing that happened is 0."""
    return f"{number(max(1, round(seconds / 60)))} min"


def _line(name: str, used: int, most: int | None, as_text: Callable[[float], str] = number) -> str:
    if most is None:
        return f"**{name}**  {as_text(used)}, {NO_LIMIT}"
    return f"**{name}**  {as_text(used)} de {as_text(most)}\n{bar(used, most)}"


def _at_once(most: int | None) -> str:
    if most is None:
        return "Pueden estar todos en marcha a la vez si hay equipos libres."
    return f"En marcha a la vez: {number(most)}; el resto espera su turno, que se reparte entre todos."


def _rate(most: int | None) -> str:
    return NO_LIMIT if most is None else f"{number(most)} por minuto"
