"""An inference engine for one command: the one that already runs, else one of our own for as long as it takes."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from bot.console.process import Child
from bot.console.stack import free_port, settings_environment
from bot.engine import EngineClient
from bot.settings import Settings
from jobs.errors import EngineUnavailable

_READY = 180.0  # seconds; the first start may have to build afina-mini


@asynccontextmanager
async def engine(settings: Settings, base_id: str) -> AsyncIterator[EngineClient]:
    """Yields a client of an engine that serves `base_id`. Raises EngineUnavailable."""
    key = settings.engine_key.get_secret_value() if settings.engine_key else None
    for address in _known_addresses(settings):
        client = EngineClient(address, key)
        if await client.healthy() and base_id in await client.models():
            try:
                yield client
            finally:
                await client.aclose()
            return
        await client.aclose()
    async with _own_engine(settings, base_id) as address:
        client = EngineClient(address, None)
        try:
            yield client
        finally:
            await client.aclose()


def _known_addresses(settings: Settings) -> list[str]:
    if settings.engine_url:
        return [settings.engine_url]
    try:
        return [json.loads((settings.data_dir / "run" / "engine.json").read_text(encoding="utf-8"))["url"]]
    except (OSError, ValueError, KeyError):
        return []


@asynccontextmanager
async def _own_engine(settings: Settings, base_id: str) -> AsyncIterator[str]:
    data = settings.data_dir.resolve()
    ready = data / "run" / "engine-console.json"
    ready.parent.mkdir(parents=True, exist_ok=True)
    options = ["--data", str(data), "--artifacts", settings.artifacts_url or str(data), "--base", base_id]
    address = ["--host", "127.0.0.1", "--port", str(free_port()), "--ready-file", str(ready)]
    child = Child(
        name="engine",
        command=[sys.executable, "-m", "jobs.gpu", "serve", *options, *address],
        environment=settings_environment(settings),
        log=data / "logs" / "engine.log",
        ready_file=ready,
        grace=5.0,
    )
    await child.start()
    try:
        yield (await child.ready(_READY))["url"]
    except (RuntimeError, TimeoutError) as error:
        hint = f"El detalle está en {child.log}."
        raise EngineUnavailable("El motor que sirve los modelos no ha podido arrancar.", hint=hint) from error
    finally:
        await child.stop()
        ready.unlink(missing_ok=True)
