"""The running bot: a real discord.py client, a real SQLite store, scheduler and progress feed, on the playground.

Scripted are only the queue (the test speaks for the worker) and the engine. Every test that uses `place` asserts that
no request fell outside the contract of the playground.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import discord
import pytest
from discord.gateway import DiscordWebSocket

from bot.client import Afina, redirect
from bot.lessons import Lessons
from bot.moderation import Moderation
from bot.progress import ProgressFeed
from bot.prompts import Prompts
from bot.records import Dataset, Owner
from bot.scheduler import Scheduler
from bot.services import Services
from bot.settings import ROOT, Settings
from bot.store import Store, new_id
from jobs.artifacts import Artifacts
from jobs.catalog import load_catalog
from playground import Limits, Playground
from tests.bot.scripted import ScriptedEngine, ScriptedQueue, ScriptedWorker

STATS = {"examples": 203, "tokens": {"total": 20_300, "p95": 140, "max": 180}, "learnt_tokens": 2_400}


@pytest.fixture(autouse=True)
def discord_addresses() -> Any:
    """discord.py keeps its addresses in class attributes: put them back after each test."""
    before = discord.http.Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    yield
    discord.http.Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before


@pytest.fixture
async def place() -> AsyncIterator[Playground]:
    """A playground with the server «Comunidad»; no request may fall outside the contract."""
    async with Playground(limits=Limits(enabled=False), acknowledge_within=10) as playground:
        playground.guild("Comunidad", channels=("general", "modelos"), forums=("ayuda",))
        yield playground
        assert playground.unhandled == []


@pytest.fixture
def settings(tmp_path: Path, place: Playground) -> Settings:
    return Settings(
        _env_file=None,
        discord_token=place.token,
        discord_api=place.api_url,
        discord_gateway=place.gateway_url,
        data_dir=tmp_path / "datos",
        course_dir=ROOT / "course",
        prompts_dir=ROOT / "prompts",
        reconcile_every=0.2,
        card_edit_every=0.1,
        stream_edit_every=0.1,
    )


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    async with Store.open(settings.database) as opened:
        yield opened


@pytest.fixture
def queue() -> ScriptedQueue:
    return ScriptedQueue()


@pytest.fixture
def engine() -> ScriptedEngine:
    return ScriptedEngine()


def make_services(settings: Settings, store: Store, queue: Any, engine: Any, **others: Any) -> Services:
    """The parts of a bot; `others` replaces some of them."""
    lessons = Lessons(settings)
    parts: dict[str, Any] = {
        "settings": settings,
        "store": store,
        "queue": queue,
        "scheduler": Scheduler(store, queue, settings),
        "feed": ProgressFeed(store, queue),
        "engine": engine,
        "artifacts": Artifacts(settings.artifacts),
        "catalog": load_catalog(),
        "prompts": Prompts(settings.prompts_dir),
        "answerer": lessons,
        "lessons": lessons,
        "moderation": Moderation(settings, store),
    }
    return Services(**{**parts, **others})


@pytest.fixture
def services(settings: Settings, store: Store, queue: ScriptedQueue, engine: ScriptedEngine) -> Services:
    return make_services(settings, store, queue, engine)


@asynccontextmanager
async def running(services: Services) -> AsyncIterator[Afina]:
    """The bot with its background work, online until the block ends. What kills the client fails the test."""
    redirect(services.settings)
    client = Afina(services)
    token = services.settings.discord_token.get_secret_value()
    work = [client.run_forever(token), services.scheduler.run(), services.feed.run()]
    tasks = [asyncio.create_task(one) for one in work]
    online = asyncio.create_task(client.online.wait())
    try:
        await asyncio.wait([online, *tasks], return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
        yield client
    finally:
        await client.close()
        for task in [online, *tasks]:
            task.cancel()
        await asyncio.gather(online, *tasks, return_exceptions=True)


@pytest.fixture
async def bot(services: Services) -> AsyncIterator[Afina]:
    async with running(services) as client:
        yield client


@pytest.fixture
def owner_of(place: Playground) -> Callable[..., Owner]:
    """The owner that a person of the playground is, in a server (the first one by default)."""

    def make(person: Any, guild: Any = None) -> Owner:
        guild_id = guild.id if guild is not None else next(iter(place.world.guilds))
        return Owner(guild_id=guild_id, user_id=person.id)

    return make


@pytest.fixture
def dataset_of(store: Store, settings: Settings) -> Callable[..., Awaitable[Dataset]]:
    """A usable dataset with its file, as the dataset desk would have stored it."""

    async def make(owner: Owner, name: str = "reseñas.jsonl", **changes: Any) -> Dataset:
        dataset_id = new_id()
        path = settings.data_dir / "datasets" / dataset_id / "v1.jsonl"
        path.parent.mkdir(parents=True)
        rows = [{"prompt": f"texto {i}", "completion": "buena" if i % 2 else "mala"} for i in range(60)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
        values: dict[str, Any] = {
            "id": dataset_id,
            "owner": owner,
            "name": name,
            "version": 1,
            "parent_id": None,
            "path": f"datasets/{dataset_id}/v1.jsonl",
            "sha256": "cd" * 32,
            "bytes": path.stat().st_size,
            "format": "chat",
            "verdict": "valid",
            "examples": 203,
            "usable": 203,
            "report": {"stats": STATS},
            "consent_at": time.time(),
            "created_at": time.time(),
        }
        return await store.add_dataset(Dataset(**{**values, **changes}))

    return make


@pytest.fixture
def worker_for(queue: ScriptedQueue) -> Callable[..., Awaitable[ScriptedWorker]]:
    """Wait for the n-th attempt (from 0) that the bot hands over, and speak for its worker."""

    async def take(index: int = 0, timeout: float = 20.0) -> ScriptedWorker:
        async with asyncio.timeout(timeout):
            while len(queue.submitted) <= index:
                await asyncio.sleep(0.02)
        return ScriptedWorker(queue, queue.submitted[index])

    return take
