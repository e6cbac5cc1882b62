"""The state of the bot's parts in words, and what to do about each that is not well."""

from __future__ import annotations

from bot.health import LITTLE_DISK, Health
from bot.render.numbers import number, plain, size
from jobs.contract import WorkerInfo


def health_texts(found: Health, *, latency: float) -> list[str]:
    """`latency`: seconds of Discord's gateway."""
    lines = [
        _line(True, "Discord", f"{number(latency * 1000)} ms"),
        _line(found.queue, "Cola", "responde" if found.queue else "no responde: mira que Redis esté en marcha"),
        _line(found.engine, "Motor de charla", "responde" if found.engine else "no responde: `afina serve` lo arranca"),
        _line(
            found.disk_free > LITTLE_DISK,
            "Disco",
            f"{size(found.disk_free)} libres de {size(found.disk_total)}",
        ),
    ]
    if found.meaning:
        lines.append(
            _line(False, "Búsqueda por significado", f"no responde ({plain(found.meaning, 60)}): sigo por palabras")
        )
    crew = [_worker(worker) for worker in found.crew] or ["✗ No hay ningún equipo: `afina worker` arranca uno"]
    return [
        "## Salud",
        "\n".join(lines),
        "\n".join(["**Equipos que entrenan**", *crew]),
        f"**Entrenamientos**  {number(found.running)} en marcha · {number(found.queued)} esperando",
    ]


def _line(good: bool, name: str, text: str) -> str:
    return f"{'✓' if good else '✗'} **{name}**  {text}"


def _worker(worker: WorkerInfo) -> str:
    doing = "en pausa" if worker.paused else "trabajando" if worker.current_job else "libre"
    return f"✓ {plain(worker.name, 40)} · {plain(worker.device_name, 60)} · {size(worker.memory_bytes)} · {doing}"
