"""One child process of ours: started, watched, restarted, stopped, and never left behind.

Rule of this file: a child leads its own session (so that Ctrl-C reaches only us and we stop things in order) and gets
SIGTERM from the kernel when we die, however we die (Linux). It knows nothing of what the child does; a child that is
"ready" says so by writing a JSON file.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> Callable[[], None] | None:
    """A `preexec_fn` that makes the kernel send SIGTERM to the child when its parent dies; None off Linux."""
    if not sys.platform.startswith("linux"):
        return None
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def ask() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)

    return ask


@dataclass(kw_only=True)
class Child:
    """A program that should be running; `start` and `stop` may be called again and again."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    log: Path | None = None  # None: our own terminal
    ready_file: Path | None = None
    grace: float = 30.0  # seconds between SIGTERM and SIGKILL
    process: asyncio.subprocess.Process | None = None

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.returncode is None

    async def start(self) -> None:
        if self.ready_file is not None:
            self.ready_file.unlink(missing_ok=True)
        with contextlib.ExitStack() as opened:
            log = opened.enter_context(self._open_log()) if self.log else None
            self.process = await asyncio.create_subprocess_exec(
                *self.command,
                env={**os.environ, **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT if log else None,
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )

    def _open_log(self) -> IO[bytes]:
        assert self.log is not None
        self.log.parent.mkdir(parents=True, exist_ok=True)
        return self.log.open("ab")

    async def ready(self, timeout: float) -> dict[str, Any]:
        """What the child wrote into its ready file.

        Raises RuntimeError when it ended first, TimeoutError when it took longer than `timeout` seconds.
        """
        assert self.ready_file is not None
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.ready_file.exists():
                with contextlib.suppress(json.JSONDecodeError):
                    said: dict[str, Any] = json.loads(self.ready_file.read_text(encoding="utf-8"))
                    return said
            if not self.running:
                code = self.process.returncode if self.process else None
                raise RuntimeError(f"{self.name} ended with code {code} before it was ready")
            await asyncio.sleep(0.05)
        raise TimeoutError(f"{self.name} was not ready after {timeout:.0f} s")

    async def stop(self) -> int | None:
        """Ends the child: SIGTERM, and SIGKILL after `grace` seconds. Returns its exit code."""
        process = self.process
        if process is None:
            return None
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
            try:
                await asyncio.wait_for(process.wait(), self.grace)
            except TimeoutError:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        return process.returncode
