"""`python -m playground`: the loopback Discord as a process.

Rule: it writes its addresses to the ready file once it listens (whole or not at all), prints them, and ends cleanly
on SIGTERM and SIGINT. It starts with one server, «Comunidad», with the channels #general and #modelos and a forum.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from pathlib import Path

from playground.server import TOKEN, Playground


async def serve(port: int, ready_file: Path | None, token: str) -> None:
    """Serve until a signal comes."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with Playground(port=port, token=token) as place:
        place.guild("Comunidad", channels=("general", "modelos"), forums=("ayuda",))
        ready = {
            "api": place.api_url,
            "gateway": place.gateway_url,
            "control": place.control_url,
            "token": token,
            "pid": os.getpid(),
        }
        if ready_file:
            draft = ready_file.with_name(ready_file.name + ".part")
            draft.write_text(json.dumps(ready))
            draft.replace(ready_file)
        print(json.dumps(ready), flush=True)
        await stop.wait()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m playground", description="Discord on loopback.")
    parser.add_argument("--port", type=int, default=0, help="0 takes a free port")
    parser.add_argument("--ready-file", type=Path, help="where to write the addresses as JSON")
    parser.add_argument("--token", default=TOKEN, help="the bot's token")
    options = parser.parse_args()
    asyncio.run(serve(options.port, options.ready_file, options.token))
    return 0


if __name__ == "__main__":
    sys.exit(main())
