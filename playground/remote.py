"""Playing people from another process: the same `Person`, over the control API.

Rule: a `RemotePlayground` is a transport for people and mirrors what `server.Playground` offers for setting up, as
coroutines.
Not covered: the records behind; only JSON comes back.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from aiohttp import ClientSession, ClientTimeout

from playground.forms import Impossible
from playground.model import Json
from playground.people import Channel, Person


class RemotePlayground:
    """``async with RemotePlayground(control_url) as place:`` drives a playground that runs elsewhere."""

    def __init__(self, control_url: str) -> None:
        self.control_url = control_url.rstrip("/")
        self._session: ClientSession | None = None

    @classmethod
    def from_ready_file(cls, path: Path) -> RemotePlayground:
        """The playground whose `--ready-file` this is."""
        return cls(json.loads(path.read_text())["control"])

    async def __aenter__(self) -> Self:
        self._session = ClientSession(timeout=ClientTimeout(total=None))
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._session:
            await self._session.close()

    async def call(self, operation: str, /, **arguments: Any) -> Any:
        """Carry out an operation there; raises `Impossible` with its reason."""
        assert self._session
        async with self._session.post(f"{self.control_url}/{operation}", json=arguments) as response:
            body = await response.json()
        if "error" in body:
            raise Impossible(f"{operation}: {body['error']}")
        return body["result"]

    async def download(self, url: str) -> bytes:
        assert self._session
        async with self._session.get(url) as response:
            response.raise_for_status()
            return await response.read()

    async def guild(self, name: str, *, channels: tuple[str, ...] = ("general",), tier: int = 0) -> Json:
        """A new server: `{"id", "name", "channels": {name: id}}`."""
        return dict(await self.call("add_guild", name=name, channels=list(channels), tier=tier))

    async def guilds(self) -> list[Json]:
        return list(await self.call("guilds"))

    async def person(self, name: str, guild: int | None = None, *, admin: bool = False, bot: bool = False) -> Person:
        """A new person, in a server (default: the first one)."""
        data = await self.call("add_person", name=name, guild=guild, admin=admin, bot=bot)
        return Person(self, data["id"], name, data["channel"])

    async def channel(self, name: str, guild: int | None = None) -> Channel:
        """A channel of a server, made on first use."""
        return Channel(await self.call("add_channel", name=name, guild=guild))

    async def wait_bot(self, *commands: str, timeout: float = 10.0) -> None:
        """Wait until the bot is connected and has registered *commands*."""
        await self.call("wait_bot", commands=list(commands), timeout=timeout)

    async def fault(self, name: str, **arguments: Any) -> None:
        """Arm a fault by its name in `faults.Faults`."""
        await self.call("fault", name=name, arguments=arguments)

    async def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        await self.call("advance", seconds=seconds)

    async def state(self) -> Json:
        """`unhandled`, `requests`, `connected`, `identified`, `resumed`, `bot`."""
        return dict(await self.call("state"))
