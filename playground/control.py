"""The control API: the operations of people and the setting-up, over HTTP, for another process.

Rule: `POST /control/<operation>` with a JSON object of arguments answers `{"result": …}`, or status 409 and
`{"error": …}` when it is impossible. The operations are those of `sight`, of `acts`, and the ones listed here.
Not covered: authentication; the server listens on 127.0.0.1 only.
"""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from aiohttp import web

from playground.forms import Impossible
from playground.model import ChannelType, Json
from playground.refusals import Refusal

if TYPE_CHECKING:
    from playground.server import Playground

Operation = Callable[..., Awaitable[Any]]


class Setup:
    """Operations on the place itself."""

    def __init__(self, place: Playground) -> None:
        self.place = place

    async def add_guild(self, name: str, channels: list[str] | None = None, tier: int = 0) -> Json:
        """A new server; returns its id and those of its channels by name."""
        guild = self.place.guild(name, channels=tuple(channels or ["general"]), tier=tier)
        return {"id": guild.id, "name": name, "channels": self._channels(guild.id)}

    async def guilds(self) -> list[Json]:
        return [
            {"id": one.id, "name": one.name, "channels": self._channels(one.id)}
            for one in self.place.world.guilds.values()
        ]

    def _channels(self, guild_id: int) -> Json:
        channels = self.place.world.channels.values()
        return {one.name: one.id for one in channels if one.guild_id == guild_id and not one.is_thread}

    async def add_person(self, name: str, guild: int | None = None, admin: bool = False, bot: bool = False) -> Json:
        """A new person; returns their id and the channel in which they stand."""
        home = self.place.world.guilds[int(guild)] if guild is not None else None
        person = self.place.person(name, home, admin=admin, bot=bot)
        return {"id": person.id, "name": name, "channel": person.here}

    async def add_channel(self, name: str, guild: int | None = None, forum: bool = False) -> Json:
        home = self.place.world.guilds[int(guild)] if guild is not None else None
        kind = ChannelType.FORUM if forum else ChannelType.TEXT
        return self.place.channel(name, home, kind=kind).data

    async def leave(self, user: int, guild: int) -> None:
        self.place.world.leave(self.place.world.guilds[int(guild)], int(user))

    async def wait_bot(self, commands: list[str] | None = None, timeout: float = 10.0) -> None:
        await self.place.wait_bot(*(commands or []), timeout=timeout)

    async def advance(self, seconds: float) -> None:
        """Move the clock forward."""
        self.place.clock.advance(seconds)

    async def state(self) -> Json:
        """What tests look at."""
        return {
            "unhandled": self.place.unhandled,
            "requests": len(self.place.requests),
            "connected": self.place.gateway.connected,
            "bot": {"id": self.place.world.bot.id, "name": self.place.world.bot.name},
            "identified": self.place.gateway.identified,
            "resumed": self.place.gateway.resumed,
        }

    async def fault(self, name: str, arguments: Json | None = None) -> None:
        """Arm a fault of `faults.Faults` by its name."""
        if name.startswith("_") or not hasattr(self.place.faults, name):
            raise Impossible(f"there is no fault {name!r}")
        method = getattr(self.place.faults, name)
        result = method(**(arguments or {}))
        if inspect.isawaitable(result):
            await result


def operations(place: Playground) -> dict[str, Operation]:
    """Every operation by name."""
    found: dict[str, Operation] = {}
    for owner in (place.sight, place.acts, Setup(place)):
        for name, method in inspect.getmembers(owner, inspect.iscoroutinefunction):
            if not name.startswith("_"):
                found[name] = method
    return found


def add_routes(app: web.Application, known: dict[str, Operation]) -> None:
    async def handle(request: web.Request) -> web.Response:
        operation = known.get(request.match_info["operation"])
        if operation is None:
            return web.json_response({"error": "no such operation", "known": sorted(known)}, status=404)
        try:
            return web.json_response({"result": await operation(**await request.json())})
        except (Impossible, Refusal, TimeoutError) as problem:
            return web.json_response({"error": str(problem)}, status=409)
        except (TypeError, KeyError, ValueError) as problem:
            return web.json_response({"error": f"{type(problem).__name__}: {problem}"}, status=400)

    app.router.add_post("/control/{operation}", handle)
