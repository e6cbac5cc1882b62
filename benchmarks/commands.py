"""How soon fifty people are answered who all ask at once while the bot judges a file of 10 MiB.

    python -m benchmarks.commands [--people 50] [--mib 10] [--rounds 3] [--json FILE]

The real bot process on the loopback Discord (another process, whose rate limits are off): one person uploads the file,
and until its whole report is there, bursts of different commands arrive, one of each person, every burst at one moment;
and again with another person's file. Measured are the time from a command to its acknowledgement, as Discord sees it,
and the lag of the bot's event loop, as the bot's own metrics tell it, only here every 5 ms.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx

from benchmarks.validate import write_chats
from bot.console.process import Child
from bot.console.stack import free_port
from playground import Limits, Playground
from playground.people import Person

COMMANDS: list[tuple[str, dict[str, Any]]] = [
    ("ayuda", {}),
    ("limites", {}),
    ("privacidad", {}),
    ("datos lista", {}),
    ("modelos lista", {}),
    ("entrenamientos lista", {}),
    ("preguntar", {"pregunta": "¿Qué diferencia hay entre LoRA y QLoRA?"}),
]
EVERY = 2.0  # seconds between two bursts
# The bot, whose loop is looked at more often than anybody needs who only runs it.
BOT = "import sys, bot.metrics as metrics; metrics.LAG_EVERY = 0.005; from bot.__main__ import main; sys.exit(main())"
LAG = re.compile(r'afina_loop_lag_seconds_bucket\{le="([^"]+)"\} (\S+)')


def quantile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(share * len(values)))]


async def lag_buckets(port: int) -> dict[float, float]:
    """Upper limit in seconds → how many looks at the event loop were below it."""
    async with httpx.AsyncClient(timeout=20) as http:
        text = (await http.get(f"http://127.0.0.1:{port}/metrics")).text
    return {float(limit): float(count) for limit, count in LAG.findall(text)}


def lag_quantile(before: dict[float, float], after: dict[float, float], share: float) -> float:
    """The limit in seconds below which that share of the looks in between was."""
    counts = {limit: after[limit] - before.get(limit, 0.0) for limit in sorted(after)}
    return next(limit for limit, count in counts.items() if count >= share * max(counts.values()))


def later_than(before: dict[float, float], after: dict[float, float], limit: float) -> float:
    """The share of the looks that were later than one of the limits."""
    looks = max(after.values()) - max(before.values())
    return 1 - (after[limit] - before[limit]) / looks


async def acknowledged(person: Person, number: int) -> float:
    """Seconds from one command to its acknowledgement."""
    name, options = COMMANDS[number % len(COMMANDS)]
    started = time.perf_counter()
    await person.slash(name, timeout=60, **options)
    return time.perf_counter() - started


async def measure(folder: Path, *, people: int, mib: int, rounds: int) -> dict[str, float]:
    file = folder / "chats.jsonl"
    write_chats(file, mib * 2**20 - 4096)
    port = free_port()
    async with Playground(limits=Limits(enabled=False), acknowledge_within=60) as place:
        place.guild("Comunidad")
        bot = Child(
            name="bot",
            command=[sys.executable, "-c", BOT],
            environment={
                "DISCORD_TOKEN": place.token,
                "AFINA_DISCORD_API": place.api_url,
                "AFINA_DISCORD_GATEWAY": place.gateway_url,
                "AFINA_DATA_DIR": str(folder / "data"),
                "AFINA_METRICS_PORT": str(port),
                "REDIS_URL": "",
            },
            log=folder / "bot.log",
            ready_file=folder / "data" / "run" / "bot.json",
        )
        await bot.start()
        try:
            await bot.ready(120)
            await place.wait_bot("datos", "ayuda")
            await asyncio.sleep(15)  # the course is being read; that is another matter
            return await crowded(place, port, file.read_bytes(), people=people, rounds=rounds)
        finally:
            await bot.stop()


async def crowded(place: Playground, port: int, data: bytes, *, people: int, rounds: int) -> dict[str, float]:
    crowd = [place.person(f"Persona {number}") for number in range(people)]
    before = await lag_buckets(port)
    seconds: list[float] = []
    reports: list[float] = []
    for number in range(rounds):
        started = time.perf_counter()
        judging = asyncio.create_task(judged(place.person(f"Ana {number}"), data))
        await asyncio.sleep(0.3)
        while not judging.done():
            seconds += await asyncio.gather(*(acknowledged(one, number) for number, one in enumerate(crowd)))
            await asyncio.sleep(EVERY)
        await judging
        reports.append(time.perf_counter() - started)
    after = await lag_buckets(port)
    return {
        "commands": len(seconds),
        "bursts": len(seconds) // people,
        "report_seconds": round(statistics.median(reports), 2),
        "acknowledged_p50_ms": round(1000 * quantile(seconds, 0.5), 1),
        "acknowledged_p99_ms": round(1000 * quantile(seconds, 0.99), 1),
        "acknowledged_max_ms": round(1000 * max(seconds), 1),
        "loop_looks": max(after.values()) - max(before.values()),
        "loop_lag_p95_below_ms": 1000 * lag_quantile(before, after, 0.95),
        "loop_lag_p99_below_ms": 1000 * lag_quantile(before, after, 0.99),
        "loop_late_by_20_ms_percent": round(100 * later_than(before, after, 0.02), 2),
        "load_1min": round(os.getloadavg()[0], 1),
    }


async def judged(person: Person, data: bytes) -> None:
    """Upload, and wait for the whole report."""
    await (await person.slash("datos subir", timeout=60, archivo=("chats.jsonl", data), tengo_derecho=True)).done(
        timeout=120
    )
    await person.wait_message("chats", button="Afinar un modelo", timeout=180)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--people", type=int, default=50)
    parser.add_argument("--mib", type=int, default=10)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        figures = asyncio.run(
            measure(Path(folder), people=arguments.people, mib=arguments.mib, rounds=arguments.rounds)
        )
    for name, value in figures.items():
        print(f"{name:26} {value:10}")
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
