"""The engine as a process: model files, socket, ready file.

Rule of this file: it is the composition root of `python -m jobs.gpu serve`. The ready file appears once requests are
answered and goes when the process ends; whoever started it reads the address there.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn

from jobs.gpu.engine.embeddings import Embedder
from jobs.gpu.engine.engine import Engine
from jobs.gpu.engine.loop import aside
from jobs.gpu.engine.options import Options
from jobs.gpu.engine.server import application

log = logging.getLogger(__name__)

GRACE = 5  # seconds that running answers get when the process is asked to end


def run(args: argparse.Namespace) -> int:
    """Serve until SIGTERM or SIGINT; the exit code.

    Raises:
        jobs.errors.BaseNotAvailable: there is no such base to start with.
    """
    asyncio.run(_serve(args))
    return 0


async def _serve(args: argparse.Namespace) -> None:
    options = {name: getattr(args, name, None) for name in Options.__slots__}
    engine = make_engine(
        data=Path(args.data),
        artifacts=getattr(args, "artifacts", None),
        base=args.base,
        four_bit=getattr(args, "four_bit", False),
        options=Options(**{name: value for name, value in options.items() if value is not None}),
    )
    key_variable = getattr(args, "api_key_env", None)
    embedding = getattr(args, "embedding_model", None)
    app = application(
        engine,
        key=os.environ.get(key_variable) if key_variable else None,
        embedder=await aside(Embedder, embedding) if embedding else None,
    )
    listening = _listen(args.host, args.port)
    await engine.start()
    config = uvicorn.Config(app, log_level="warning", lifespan="off", timeout_graceful_shutdown=GRACE)
    host, port = listening.getsockname()[:2]
    ready_file = getattr(args, "ready_file", None)
    try:
        if ready_file:
            _announce(Path(ready_file), f"http://{host}:{port}")
        log.info("the engine serves %s on %s:%s", args.base, host, port)
        await _Server(config).serve(sockets=[listening])
    finally:
        if ready_file:
            Path(ready_file).unlink(missing_ok=True)
        engine.close()


class _Server(uvicorn.Server):
    """uvicorn that ends by returning: its own way, raising the signal again, would skip what comes after it."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end)
        yield

    def _end(self) -> None:
        self.force_exit = self.should_exit  # asked twice
        self.should_exit = True


def make_engine(*, data: Path, artifacts: str | None, base: str, four_bit: bool = False, options: Options) -> Engine:
    """An engine over the bases of a data folder. Adapters may lie in `data` or in a local `artifacts` root."""
    from jobs.gpu.models import load_base

    roots = [data / "adapters"]
    if artifacts and "://" not in artifacts:
        roots.append(Path(artifacts) / "adapters")
    elif artifacts:
        roots.append(data)  # where remote ones are fetched to

    return Engine(
        default_base=base,
        load=lambda base_id: load_base(base_id, data=data, four_bit=four_bit),
        known_bases=lambda: _bases_in(data / "bases"),
        roots=roots,
        options=options,
    )


def _bases_in(folder: Path) -> list[str]:
    return [path.parent.name.replace("--", "/") for path in folder.glob("*/config.json")]


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind((host, port))
    listening.listen(1024)  # who connects while the model loads, waits
    return listening


def _announce(path: Path, url: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_suffix(f".{os.getpid()}")
    draft.write_text(json.dumps({"url": url, "pid": os.getpid()}), "utf-8")
    draft.replace(path)
