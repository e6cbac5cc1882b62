"""The processes of one Afina on one machine: Redis, worker, engine and bot.

Rule of this file: it starts what the settings do not already provide (a `REDIS_URL` or an engine address means that
somebody else runs that part), restarts what ends by itself, and stops everything in the order in which nothing is lost:
the bot first, then the worker (which saves a checkpoint), the engine, and Redis last.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from bot.console.process import Child
from bot.settings import Settings
from jobs.redis_server import RedisServer

log = logging.getLogger(__name__)

# Seconds to wait before a child that ended is started again: doubled each time, up to the last.
_BACKOFF = (0.5, 30.0)


def settings_environment(settings: Settings) -> dict[str, str]:
    """The settings as a child process reads them back; secrets stay in the environment they came from."""
    environment = {"AFINA_DATA_DIR": str(settings.data_dir), "AFINA_COURSE_DIR": str(settings.course_dir)}
    environment |= {"AFINA_LOG_LEVEL": settings.log_level, "AFINA_LOG_FORMAT": settings.log_format}
    if settings.trackers:
        environment["AFINA_TRACKERS"] = ",".join(settings.trackers)
    if settings.discord_api:
        environment["AFINA_DISCORD_API"] = settings.discord_api
    if settings.discord_gateway:
        environment["AFINA_DISCORD_GATEWAY"] = settings.discord_gateway
    return environment


def free_port() -> int:
    """A TCP port on loopback that nobody uses at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


class Stack:
    """Async context manager; inside it, Redis answers and the asked-for children run.

    `logs`: write each child's output to `data_dir/logs/<name>.log` instead of the terminal.
    `environment`: further variables for the children.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        bot: bool = True,
        worker: bool = True,
        engine: bool = True,
        logs: bool = False,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.settings = settings
        self._environment = dict(environment or {})
        self.data = settings.data_dir.resolve()
        self._logs = logs
        self._wanted = {"bot": bot, "worker": worker, "engine": engine and not settings.engine_url}
        self._redis: RedisServer | None = None
        self._children: dict[str, Child] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self.redis_url = settings.redis_url or ""
        self.engine_url = settings.engine_url or ""

    async def __aenter__(self) -> Self:
        (self.data / "run").mkdir(parents=True, exist_ok=True)
        try:
            if not self.redis_url:
                self._redis = RedisServer(self.data / "redis")
                await asyncio.to_thread(self._redis.start)
                self.redis_url = self._redis.url
            if self._wanted["engine"]:
                self.engine_url = f"http://127.0.0.1:{free_port()}"
            for name, command in self._commands().items():
                if self._wanted[name]:
                    await self._start(name, command)
        except BaseException:
            await self.stop()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    def child(self, name: str) -> Child:
        return self._children[name]

    @property
    def redis(self) -> RedisServer | None:
        """The embedded server, where it is ours."""
        return self._redis

    def _commands(self) -> dict[str, list[str]]:
        """What to run, in the order of starting; all at once, because each part waits for the others by itself."""
        common = ["--data", str(self.data), "--artifacts", self.settings.artifacts_url or str(self.data)]
        port = self.engine_url.rsplit(":", 1)[-1]
        address = ["--host", "127.0.0.1", "--port", port, "--ready-file", str(self._ready("engine"))]
        gpu = [sys.executable, "-m", "jobs.gpu"]
        return {
            "worker": [*gpu, "worker", *common],  # and REDIS_URL: a password does not belong on a command line
            "engine": [*gpu, "serve", *common, "--base", self.settings.default_base, *address],
            "bot": [sys.executable, "-m", "bot"],
        }

    def _ready(self, name: str) -> Path:
        return self.data / "run" / f"{name}.json"

    async def _start(self, name: str, command: list[str]) -> None:
        environment = settings_environment(self.settings) | self._environment
        # Worker and engine share the cores: a thread that waits for another must not spin on one.
        environment |= {"REDIS_URL": self.redis_url, "PYTHONUNBUFFERED": "1", "OMP_WAIT_POLICY": "PASSIVE"}
        if self.engine_url:
            environment["AFINA_ENGINE_URL"] = self.engine_url
        child = Child(
            name=name,
            command=command,
            environment=environment,
            log=self.data / "logs" / f"{name}.log" if self._logs else None,
            ready_file=self._ready(name),
        )
        self._children[name] = child
        await child.start()
        self._watchers[name] = asyncio.create_task(self._keep_running(child), name=f"watch {name}")

    async def _keep_running(self, child: Child) -> None:
        """Starts the child again whenever it ends."""
        wait, longest = _BACKOFF
        while True:
            assert child.process is not None
            started = asyncio.get_running_loop().time()
            code = await child.process.wait()
            if asyncio.get_running_loop().time() - started > 60:
                wait = _BACKOFF[0]
            log.warning("%s ended with code %s; starting it again in %.1f s", child.name, code, wait)
            await asyncio.sleep(wait)
            wait = min(wait * 2, longest)
            await child.start()

    async def stop(self) -> None:
        for watcher in self._watchers.values():
            watcher.cancel()
        await asyncio.gather(*self._watchers.values(), return_exceptions=True)
        for name in ("bot", "worker", "engine"):
            if name in self._children:
                await self._children[name].stop()
        if self._redis is not None:
            await asyncio.to_thread(self._redis.stop)
            self._redis = None


async def run_until_signalled(stack: Stack) -> int:
    """`afina up`: everything runs until Ctrl-C or SIGTERM. Returns the exit code."""
    asked = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, asked.set)
    starting = asyncio.create_task(stack.__aenter__())
    waiting = asyncio.create_task(asked.wait())
    await asyncio.wait({starting, waiting}, return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await starting
        return 0
    await starting
    try:
        log.info("running as process %d; Ctrl-C stops everything in order", os.getpid())
        await waiting
    finally:
        await stack.stop()
    return 0
