"""`python -m playground.demo`: hosts the loopback Discord, waits for a bot, and spends an evening with it as a guest.

Rule of this file: set-up, the clock around each step, and the account at the end. It ends with code 0 only when every
step went well; the first step that does not ends it and is named.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import time
from dataclasses import asdict
from pathlib import Path
from statistics import mean
from typing import Any

from playground import NoAnswer
from playground.evening import Accuracy, Disappointed, Evening
from playground.forms import Impossible
from playground.server import Playground
from playground.terminal import Terminal

TOKEN = "demo"  # noqa: S105 - of the loopback Discord, which lets anyone in
BOT_READY = 120.0  # seconds; the first time, the course is indexed
LABELS = 4


async def run(options: argparse.Namespace) -> int:
    options.folder.mkdir(parents=True, exist_ok=True)
    terminal = Terminal()
    account: dict[str, Any] = {"steps": [], "accuracy": {}, "transcript": terminal.transcript}
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Playground(token=TOKEN, acknowledge_within=10) as place:
        _say_ready(options.ready_file, place)
        show = asyncio.create_task(_show(place, terminal, options.folder, account))
        waiting = asyncio.create_task(stop.wait())
        await asyncio.wait({show, waiting}, return_when=asyncio.FIRST_COMPLETED)
        if not show.done():
            show.cancel()
            await asyncio.gather(show, return_exceptions=True)
            return 130
        code = show.result()
        if options.json is not None:
            options.json.write_text(json.dumps(account, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        if options.svg is not None:
            options.svg.write_text(terminal.picture("scripts/demo"), encoding="utf-8")
        if options.keep and code == 0:
            terminal.note(f"Sigue en marcha hasta Ctrl-C. Discord de bolsillo: {place.control_url}")
            await waiting
        waiting.cancel()
        return code


def _say_ready(path: Path, place: Playground) -> None:
    said = {"api": place.api_url, "gateway": place.gateway_url, "control": place.control_url, "pid": os.getpid()}
    draft = path.with_suffix(".part")
    draft.write_text(json.dumps(said), encoding="utf-8")
    draft.replace(path)


async def _show(place: Playground, terminal: Terminal, folder: Path, account: dict[str, Any]) -> int:
    guild = place.guild("Estudio", channels=("general",))
    ana = place.person("Ana", guild)
    terminal.title(
        "Afina", "Todo Afina en esta máquina: Redis, un trabajador, el motor y el bot, en un Discord de bolsillo."
    )
    evening = Evening(ana=ana, terminal=terminal, pictures=folder)
    began = time.monotonic()
    if not await _timed("arrancar", lambda: place.wait_bot("preguntar", timeout=BOT_READY), account, terminal):
        return 1
    terminal.note(f"Listo en {time.monotonic() - began:.0f} s.")
    for number, (name, title, step) in enumerate(evening.steps, 1):
        terminal.step(number, title)
        if not await _timed(name, step, account, terminal):
            return 1
    if place.unhandled:
        terminal.note(f"El bot pidió algo que este Discord no conoce: {place.unhandled}", "bold red")
        return 1
    account["accuracy"] = _accuracy(evening.results)
    _summary(terminal, evening.results, account, time.monotonic() - began)
    return 0


async def _timed(name: str, step: Any, account: dict[str, Any], terminal: Terminal) -> bool:
    """Do one step and write down how long it took and whether it went well."""
    began = time.monotonic()
    try:
        await step()
        good, why = True, ""
    except (Disappointed, NoAnswer, Impossible) as error:
        good, why = False, str(error)
    except Exception as error:
        logging.getLogger(__name__).debug("step %s", name, exc_info=True)
        good, why = False, f"{type(error).__name__}: {error}"
    account["steps"].append({"name": name, "seconds": round(time.monotonic() - began, 2), "ok": good})
    if not good:
        account["error"] = {"step": name, "reason": why}
        terminal.note(f"\nLa demostración se ha parado en el paso «{name}»: {why}", "bold red")
    return good


def _accuracy(results: list[Accuracy]) -> dict[str, Any]:
    return {
        "majority": mean(one.majority for one in results),
        "base": mean(one.base for one in results),
        "tuned": mean(one.tuned for one in results),
        "seeds": [asdict(one) for one in results],
    }


def _summary(terminal: Terminal, results: list[Accuracy], account: dict[str, Any], seconds: float) -> None:
    terminal.step(len(account["steps"]), "Resumen")
    shares = [(one.seed, (one.majority, one.base, one.tuned)) for one in results]
    rows = [[str(seed), *(f"{100 * share:.0f} %" for share in row)] for seed, row in shares]
    columns = ["semilla", "siempre la más común", "base", "ajustado"]
    terminal.table("Acierto en avisos que no vio al entrenar", columns, rows)
    terminal.note(f"Todo bien: {len(account['steps'])} pasos en {seconds:.0f} s.", "bold green")


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m playground.demo", description="The guest of the demo.")
    parser.add_argument("--ready-file", type=Path, required=True, help="where to write the addresses as JSON")
    parser.add_argument("--folder", type=Path, required=True, help="where pictures go")
    parser.add_argument("--json", type=Path, help="where to write figures and transcript")
    parser.add_argument("--svg", type=Path, help="where to write a picture of the terminal")
    parser.add_argument("--keep", action="store_true", help="stay up until a signal comes")
    return asyncio.run(run(parser.parse_args()))


if __name__ == "__main__":
    sys.exit(main())
