"""A playground, and a real discord.py client that talks to it.

The bots here are small, one for each thing that is tested; the client is unmodified and only its two addresses are set.
"""

from __future__ import annotations

import asyncio
import io
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import discord
import pytest
import yarl
from discord.gateway import DiscordWebSocket

from playground import Limits, Playground


class Bot(discord.Client):
    """A client with a command tree; *setup* adds commands and views before the sync."""

    def __init__(self, setup: Callable[[Bot], Any] | None = None, *, content: bool = True, members: bool = False):
        intents = discord.Intents.default()
        intents.message_content = content
        intents.members = members
        super().__init__(intents=intents, guild_ready_timeout=0.1, allowed_mentions=discord.AllowedMentions.none())
        self.tree = discord.app_commands.CommandTree(self)
        self._setup = setup
        self.running: asyncio.Task[None] | None = None
        self.errors: list[BaseException] = []
        self.tree.error(self._note)

    async def _note(self, interaction: discord.Interaction, error: BaseException) -> None:
        self.errors.append(getattr(error, "original", error))

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Without the 5 s that the default waits before a second IDENTIFY."""

    async def setup_hook(self) -> None:
        if self._setup:
            result = self._setup(self)
            if asyncio.iscoroutine(result):
                await result
        await self.tree.sync()


@asynccontextmanager
async def running(place: Playground, bot: Bot) -> AsyncIterator[Bot]:
    """Run *bot* against *place* until the block ends."""
    discord.http.Route.BASE = place.api_url
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(place.gateway_url)
    bot.running = task = asyncio.create_task(bot.start(place.token))
    try:
        while not bot.is_ready():
            if task.done():
                task.result()
            await asyncio.sleep(0.01)
        yield bot
    finally:
        await bot.close()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def eventually(check: Callable[[], object], timeout: float = 10.0) -> None:
    """Wait until *check* is true; what the bot's own code notes down changes nothing in the playground."""
    deadline = asyncio.get_running_loop().time() + timeout
    while not check():
        assert asyncio.get_running_loop().time() < deadline, "it did not happen"
        await asyncio.sleep(0.005)


@pytest.fixture(autouse=True)
def discord_addresses() -> Any:
    """discord.py keeps its addresses in class attributes: put them back after each test."""
    before = discord.http.Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY
    yield
    discord.http.Route.BASE, DiscordWebSocket.DEFAULT_GATEWAY = before


@pytest.fixture
async def place() -> AsyncIterator[Playground]:
    """A playground with one server; no request may fall outside the contract."""
    async with Playground(limits=Limits(enabled=False), acknowledge_within=10) as playground:
        playground.guild("Comunidad", channels=("general", "modelos"), forums=("ayuda",))
        yield playground
        assert playground.unhandled == []


class Raw:
    """REST without a client library: what is sent is what arrives."""

    def __init__(self, place: Playground, session: aiohttp.ClientSession) -> None:
        self.place = place
        self.session = session

    async def __call__(self, method: str, path: str, body: Any = None, **options: Any) -> tuple[int, Any]:
        """Status and JSON of an answer."""
        headers = {"Authorization": f"Bot {self.place.token}"} | options.pop("headers", {})
        async with self.session.request(
            method, self.place.api_url + path, json=body, headers=headers, **options
        ) as answer:
            text = await answer.text()
            return answer.status, json.loads(text) if text else None

    async def send(self, channel: int, **body: Any) -> tuple[int, Any]:
        """POST a message."""
        return await self("POST", f"/channels/{channel}/messages", body)

    async def upload(self, path: str, payload: dict[str, Any], *files: tuple[str, bytes]) -> tuple[int, Any]:
        """POST a multipart request."""
        form = aiohttp.FormData(quote_fields=False)
        form.add_field("payload_json", json.dumps(payload))
        for index, (name, data) in enumerate(files):
            form.add_field(f"files[{index}]", io.BytesIO(data), filename=name, content_type="application/octet-stream")
        headers = {"Authorization": f"Bot {self.place.token}"}
        async with self.session.post(self.place.api_url + path, data=form, headers=headers) as answer:
            return answer.status, await answer.json()


@pytest.fixture
async def raw(place: Playground) -> AsyncIterator[Raw]:
    async with aiohttp.ClientSession() as session:
        yield Raw(place, session)


def mistakes(answer: dict[str, Any]) -> dict[str, str]:
    """The form errors of an answer: dotted path → code."""
    found: dict[str, str] = {}

    def walk(node: Any, path: str) -> None:
        for key, value in node.items():
            if key == "_errors":
                found[path] = value[0]["code"]
            else:
                walk(value, f"{path}.{key}".lstrip("."))

    walk(answer.get("errors", {}), "")
    return found
