"""`python -m bot`: the composition root of the bot process.

Rule of this file: it makes the parts, gives them to each other, and waits. It ends with 0 when asked to (SIGTERM,
Ctrl-C), with 1 when something must be put right by a person (no token, a second bot) or when a part died: then a
supervisor starts it again, and everything goes on from the store.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import signal
import sys
import time
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path
from typing import Any

import discord
from pydantic import ValidationError

from bot import logs
from bot.arbiter import Arbiter, need_from
from bot.client import Afina, redirect
from bot.client import make_client as client_for
from bot.engine import EngineClient
from bot.lessons import CourseNotReady, Lessons
from bot.lock import AlreadyRunning, only_one
from bot.moderation import Moderation, make_classifier
from bot.progress import ProgressFeed
from bot.prompts import Prompts
from bot.scheduler import Scheduler
from bot.services import Services
from bot.settings import Settings, explain
from bot.store import Store
from bot.waiting import Fits
from jobs.artifacts import Artifacts
from jobs.catalog import load_catalog
from jobs.queue import Queue

log = logging.getLogger("bot")

NOT_SET_UP = """Falta DISCORD_TOKEN, el token del bot de Discord.
Créalo en discord.com/developers (Bot → Reset Token) y ponlo en un archivo .env: DISCORD_TOKEN=…
Para probarlo todo sin token: scripts/demo"""
REFUSED_BY_DISCORD = (
    "Discord no acepta ese DISCORD_TOKEN. Créalo otra vez en discord.com/developers (Bot → Reset Token)."
)
NO_INTENT = """Falta la intención «Message Content», que el bot necesita para leer los hilos.
Actívala en discord.com/developers (Bot → Privileged Gateway Intents), o pon AFINA_MESSAGE_CONTENT=false:
entonces contestará en los hilos solo cuando lo mencionen."""
SECOND_BOT = "Ya hay un bot en marcha con esta carpeta de datos ({folder}). Para el otro, o usa otra AFINA_DATA_DIR."


def main() -> int:
    started = time.monotonic()
    try:
        settings = Settings()
    except ValidationError as error:
        print(explain(error), file=sys.stderr)  # noqa: T201
        return 1
    logs.set_up(settings)
    if settings.discord_token is None:
        print(NOT_SET_UP, file=sys.stderr)  # noqa: T201
        return 1
    try:
        with only_one(settings.data_dir / "run" / "bot.lock"):
            return asyncio.run(serve(settings, settings.discord_token.get_secret_value(), started))
    except AlreadyRunning:
        print(SECOND_BOT.format(folder=settings.data_dir), file=sys.stderr)  # noqa: T201
    except discord.LoginFailure:
        print(REFUSED_BY_DISCORD, file=sys.stderr)  # noqa: T201
    except discord.PrivilegedIntentsRequired:
        print(NO_INTENT, file=sys.stderr)  # noqa: T201
    return 1


async def serve(settings: Settings, token: str, started: float) -> int:
    """Run the bot until it is asked to stop. Raises what ended the client, if that was not us."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        services = await make_services(settings, stack)
        redirect(settings)
        client = await make_client(services, stack)
        stack.push_async_callback(client.close)
        tasks = {
            asyncio.create_task(client.run_forever(token), name="Discord client"),
            asyncio.create_task(services.scheduler.run(), name="scheduler"),
            asyncio.create_task(services.feed.run(), name="progress feed"),
        }
        stack.push_async_callback(_cancel, tasks)
        asking = asyncio.create_task(stop.wait(), name="stop")
        announcing = asyncio.create_task(_announce(client, settings.data_dir / "run" / "bot.json", started))
        stack.push_async_callback(_cancel, {asking, announcing})
        done, _ = await asyncio.wait({asking, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        if asking in done:
            log.info("asked to stop")
            return 0
        for task in done:
            log.critical("%s ended; this process ends too", task.get_name())
            await task
        return 1


async def make_services(settings: Settings, stack: AsyncExitStack) -> Services:
    """Every part of the bot, opened; closed again by `stack`, the last one first."""
    redis_url = settings.redis_url or await _embedded_redis(settings, stack)
    store = await stack.enter_async_context(
        Store.open(settings.database, lease_seconds=settings.lease_seconds, max_attempts=settings.max_attempts)
    )
    queue = Queue(redis_url)
    engine_url = settings.engine_url or _embedded_engine(settings.data_dir / "run" / "engine.json")
    key = settings.engine_key.get_secret_value() if settings.engine_key else None
    engine = EngineClient(engine_url, key)
    stack.push_async_callback(engine.aclose)
    # Files of an object store are kept where an engine on this machine may read them.
    artifacts = Artifacts(settings.artifacts, cache=settings.data_dir / "cache" / "artifacts")
    catalog = load_catalog()
    occupy = partial(engine.used_by, settings.default_base)
    lessons = Lessons(settings, engine_url=engine_url, occupy=occupy)
    arbiter = Arbiter(store, engine, settings, need=need_from(store, catalog))
    await arbiter.open()
    stack.push_async_callback(arbiter.close)
    return Services(
        settings=settings,
        store=store,
        queue=queue,
        scheduler=Scheduler(store, queue, settings, artifacts=artifacts, fits=Fits(catalog), gate=arbiter),
        feed=ProgressFeed(store, queue),
        engine=engine,
        artifacts=artifacts,
        catalog=catalog,
        prompts=Prompts(settings.prompts_dir),
        answerer=lessons,
        lessons=lessons,
        moderation=Moderation(settings, store, make_classifier(settings, engine_url, occupy=occupy)),
        arbiter=arbiter,
    )


async def make_client(services: Services, stack: AsyncExitStack) -> Afina:
    """The Discord client; watched, when somebody wants to see figures."""
    settings = services.settings
    if settings.metrics_port is None:
        return client_for(services)
    from bot.metrics import Metrics

    metrics = Metrics()
    client = client_for(metrics.wrap(services))
    metrics.watch(client)
    try:
        await stack.enter_async_context(metrics.served(client, settings.metrics_host, settings.metrics_port))
    except OSError as error:  # no reason to leave people without a bot
        log.error("no metrics at %s:%d: %s", settings.metrics_host, settings.metrics_port, error)
    return client


async def _embedded_redis(settings: Settings, stack: AsyncExitStack) -> str:
    """Our own Redis, for a bot that was started alone."""
    from jobs.redis_server import RedisServer

    server = RedisServer(settings.data_dir / "redis")
    await asyncio.to_thread(server.start)
    stack.push_async_callback(asyncio.to_thread, server.stop)
    return server.url


def _embedded_engine(ready_file: Path) -> str:
    """Where the engine of this data folder said it listens; else the port that `afina serve` takes."""
    with suppress(OSError, ValueError, KeyError):
        return str(json.loads(ready_file.read_text(encoding="utf-8"))["url"])
    return "http://127.0.0.1:8000"


async def _announce(client: Afina, ready_file: Path, started: float) -> None:
    """Once Discord is there: tell whoever started us, and only then begin what takes long."""
    await client.online.wait()
    seconds = round(time.monotonic() - started, 3)
    ready_file.write_text(json.dumps({"pid": os.getpid(), "seconds": seconds}), encoding="utf-8")
    log.info("ready in %.2f s", seconds)
    with suppress(CourseNotReady):  # it is in the log, and the next question tries again
        await client.services.lessons.library()
    # All that is here now stays until the end. Looking through it for garbage takes 0.1 s in which nobody is answered:
    # once is enough.
    gc.collect()
    gc.freeze()


async def _cancel(tasks: set[asyncio.Task[Any]]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    sys.exit(main())
