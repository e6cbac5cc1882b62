"""`afina demo`: the whole product on this machine, against the loopback Discord, used by a scripted guest.

Rule of this file: it starts processes and nothing else. The guest and the loopback Discord live in `playground/`, which
knows the bot only as any Discord does: over HTTP and WebSocket. The demo has a data folder of its own, made anew each
time; only the base models are shared with the real one.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import signal
import sys
from pathlib import Path

from bot.console.process import Child
from bot.console.stack import Stack
from bot.settings import Settings

_GUEST_READY = 30.0  # seconds


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_run(arguments, settings))


async def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    """Runs until the guest is done or somebody presses Ctrl-C; nothing is left running."""
    asked = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, asked.set)
    show = asyncio.create_task(_show(arguments, settings))
    stop = asyncio.create_task(asked.wait())
    await asyncio.wait({show, stop}, return_when=asyncio.FIRST_COMPLETED)
    if show.done():
        stop.cancel()
        return show.result()
    print("\nParando…", file=sys.stderr)
    show.cancel()
    await asyncio.gather(show, return_exceptions=True)
    print("Demostración interrumpida; no queda nada en marcha.", file=sys.stderr)
    return 130


async def _show(arguments: argparse.Namespace, settings: Settings) -> int:
    folder = _fresh_folder(settings)
    guest = _guest(arguments, folder)
    await guest.start()
    try:
        place = await guest.ready(_GUEST_READY)
        async with _stack(settings, folder, place["api"], place["gateway"]):
            assert guest.process is not None
            return await guest.process.wait()
    finally:
        await guest.stop()


def _fresh_folder(settings: Settings) -> Path:
    """An empty data folder that shares the base models with the real one."""
    folder = settings.data_dir.resolve() / "demo"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "run").mkdir(parents=True)
    bases = settings.data_dir.resolve() / "bases"
    bases.mkdir(exist_ok=True)
    (folder / "bases").symlink_to(bases, target_is_directory=True)
    return folder


def _guest(arguments: argparse.Namespace, folder: Path) -> Child:
    ready = folder / "run" / "guest.json"
    command = [sys.executable, "-m", "playground.demo", "--ready-file", str(ready), "--folder", str(folder / "demo")]
    if arguments.keep:
        command.append("--keep")
    for option in ("json", "svg"):
        if (path := getattr(arguments, option)) is not None:
            command += [f"--{option}", str(path.resolve())]
    return Child(name="guest", command=command, environment={}, ready_file=ready, grace=10.0)


def _stack(settings: Settings, folder: Path, api: str, gateway: str) -> Stack:
    parts = {"data_dir": folder, "discord_api": api, "discord_gateway": gateway}
    mine = settings.model_copy(update={**parts, "redis_url": None, "engine_url": None, "artifacts_url": None})
    # The guest looks at the progress card, so it moves every second instead of every five.
    extra = {"DISCORD_TOKEN": "demo", "AFINA_CARD_EDIT_EVERY": "1", "AFINA_ARTIFACTS_URL": "", "AFINA_GUILD_ID": ""}
    return Stack(mine, logs=True, environment=extra)
