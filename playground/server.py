"""The playground as a whole: the HTTP server, and the setting-up of servers and people.

Rule: one port serves `/api/v10`, `/gateway`, the attachments and `/control`; everything lives in memory and ends with
the context. Nothing is global: several playgrounds can run in one process.
Not covered: acting (see `people`), driving from another process (see `remote`).
"""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

from aiohttp import ClientSession, web

from playground import control, permissions
from playground.acts import Acts
from playground.api import Api
from playground.clock import Clock
from playground.commands import Commands
from playground.dispatch import PRIVILEGED, Dispatcher
from playground.faults import Faults
from playground.gateway import Gateway
from playground.interactions import ACKNOWLEDGE_WITHIN, Interactions
from playground.limits import Limits
from playground.model import Channel as ChannelRecord
from playground.model import ChannelType, Guild, Json, Overwrite, Role, User
from playground.payloads import Payloads
from playground.people import Channel, Person
from playground.permissions import Permission
from playground.rest import PREFIX, Record, Rest
from playground.routes import table
from playground.sight import Sight
from playground.world import World

TOKEN = "playground-token"  # noqa: S105  the loopback bot's, not a secret
MOST_BODY = 200 * 1024 * 1024  # bytes of a request; Discord's own limits are checked by the rules


class Playground:
    """A loopback Discord.

    ``async with Playground() as place:`` serves on 127.0.0.1; *port* 0 takes a free one. *privileged*: the privileged
    intents that the application may ask for. *acknowledge_within*: seconds to acknowledge an interaction.
    """

    def __init__(
        self,
        *,
        port: int = 0,
        token: str = TOKEN,
        bot_name: str = "Afina",
        limits: Limits | None = None,
        privileged: int = PRIVILEGED,
        acknowledge_within: float = ACKNOWLEDGE_WITHIN,
    ) -> None:
        self._port = port
        self.token = token
        self.clock = Clock()
        self.world = World(self.clock, bot_name)
        self.payloads = Payloads(self.world)
        self.commands = Commands(self.world)
        self.interactions = Interactions(self.world, self.payloads, acknowledge_within)
        dispatcher = Dispatcher(self.world, self.payloads)
        self.gateway = Gateway(self.world, dispatcher, token, privileged)
        self.faults = Faults(self.gateway, self.interactions, self.payloads.links)
        self.limits = limits or Limits()
        api = Api(
            world=self.world,
            payloads=self.payloads,
            commands=self.commands,
            interactions=self.interactions,
            faults=self.faults,
            limits=self.limits,
            message_content=bool(privileged & (1 << 15)),
        )
        self.rest = Rest(api, table(), token)
        self.sight = Sight(self.world, self.payloads, self.commands, self.interactions)
        self.acts = Acts(self.world, self.payloads, self.sight, self.interactions)
        self._operations = control.operations(self)
        self._session: ClientSession | None = None
        self._runner: web.AppRunner | None = None

    # -- running ----------------------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        app = web.Application(client_max_size=MOST_BODY)
        app.router.add_get("/gateway", self.gateway.handle)
        app.router.add_get("/gateway/", self.gateway.handle)
        app.router.add_route("*", PREFIX + "/{path:.*}", self.rest.handle)
        app.router.add_get(r"/{folder:attachments|ephemeral-attachments}/{channel}/{id:\d+}/{name}", self._serve_file)
        control.add_routes(app, self._operations)
        self._runner = web.AppRunner(app, shutdown_timeout=1.0, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self._port)
        await site.start()
        self._port = self._runner.addresses[0][1]
        self.payloads.links.origin = self.origin
        self.gateway.url = self.gateway_url
        self._session = ClientSession()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.gateway.close_everybody(1001, "Going away.")
        if self._session:
            await self._session.close()
        if self._runner:
            await self._runner.cleanup()

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    @property
    def api_url(self) -> str:
        """For `discord.http.Route.BASE`."""
        return self.origin + PREFIX

    @property
    def gateway_url(self) -> str:
        """For `DiscordWebSocket.DEFAULT_GATEWAY`."""
        return f"ws://127.0.0.1:{self._port}/gateway"

    @property
    def control_url(self) -> str:
        return self.origin + "/control"

    async def _serve_file(self, request: web.Request) -> web.StreamResponse:
        fault = self.faults.take("GET", request.path)
        if fault is not None and fault.kind == "status":
            return web.Response(status=fault.status)
        if fault is not None and request.transport:
            request.transport.abort()
        attachment = self.world.files.get(int(request.match_info["id"]))
        if attachment is None or not self.payloads.links.valid(attachment, request.query):
            return web.Response(status=404, text="This content is no longer available.")
        headers = {"Content-Type": attachment.content_type or "application/octet-stream"}
        return web.Response(body=attachment.data, headers=headers)

    # -- the transport of people in this process --------------------------------------------------------------

    async def call(self, operation: str, /, **arguments: Any) -> Any:
        """Carry out an operation (see `control`)."""
        return await self._operations[operation](**arguments)

    async def download(self, url: str) -> bytes:
        """Fetch an attachment over HTTP, as a client does."""
        assert self._session
        async with self._session.get(url) as response:
            response.raise_for_status()
            return await response.read()

    # -- setting up -------------------------------------------------------------------------------------------

    def guild(
        self,
        name: str = "Comunidad",
        *,
        channels: tuple[str, ...] = ("general",),
        forums: tuple[str, ...] = (),
        tier: int = 0,
        bot_permissions: int | None = permissions.BOT,
    ) -> Guild:
        """A new server with text channels; its owner is a person of its own. *bot_permissions* None: without bot."""
        owner = self.world.add_user(f"Dueña de {name}")
        guild = self.world.add_guild(name, owner, tier=tier, bot_permissions=None)
        for one in channels:
            self.world.add_channel(guild, one)
        for one in forums:
            self.world.add_channel(guild, one, ChannelType.FORUM)
        if bot_permissions is not None:
            self.world.invite_bot(guild, bot_permissions)
        return guild

    def person(
        self,
        name: str,
        guild: Guild | None = None,
        *,
        admin: bool = False,
        roles: tuple[Role, ...] = (),
        bot: bool = False,
    ) -> Person:
        """A new person, in a server (default: the first one), acting in its first text channel.

        *bot*: another bot, which the one under test should leave alone.
        """
        user = self.world.add_user(name, bot=bot)
        home = guild or next(iter(self.world.guilds.values()), None)
        person = Person(self, user.id, name, None)
        if home:
            self.join(person, home, admin=admin, roles=roles)
        return person

    def join(self, person: Person, guild: Guild, *, admin: bool = False, roles: tuple[Role, ...] = ()) -> None:
        """Let a person join a server too."""
        held = [one.id for one in roles]
        if admin:
            held.append(self.role(guild, "Administración", Permission.ADMINISTRATOR).id)
        self.world.join(guild, self.world.users[person.id], held)
        if person.here is None:
            person.here = next((one.id for one in self._texts(guild) if self.world.can_see(person.id, one)), None)

    def leave(self, person: Person, guild: Guild | None = None) -> None:
        """Take a person out of a server."""
        self.world.leave(guild or next(iter(self.world.guilds.values())), person.id)

    def role(self, guild: Guild, name: str, granted: int = 0) -> Role:
        """A role of a server, made on first use."""
        found = next((one for one in guild.roles.values() if one.name == name), None)
        return found or self.world.add_role(guild, name, granted)

    def _texts(self, guild: Guild) -> list[ChannelRecord]:
        return [
            one for one in self.world.channels.values() if one.guild_id == guild.id and one.type == ChannelType.TEXT
        ]

    def channel(
        self, name: str, guild: Guild | None = None, *, kind: int = ChannelType.TEXT, only_for: tuple[Role, ...] = ()
    ) -> Channel:
        """A channel of a server, made on first use. *only_for*: closed to everybody else."""
        home = guild or next(iter(self.world.guilds.values()))
        for one in self.world.channels.values():
            if one.guild_id == home.id and one.name == name and not one.is_thread:
                return Channel(self.sight.place(one))
        view = int(Permission.VIEW_CHANNEL)
        overwrites = [Overwrite(id=one.id, kind=0, allow=view) for one in only_for]
        if only_for:
            overwrites.append(Overwrite(id=home.id, kind=0, deny=view))
        return Channel(self.sight.place(self.world.add_channel(home, name, kind, overwrites=overwrites)))

    def user(self, person: Person) -> User:
        """The record of a person, to change what they accept or may upload."""
        return self.world.users[person.id]

    # -- what tests look at -----------------------------------------------------------------------------------

    @property
    def unhandled(self) -> list[Json]:
        """Requests and operations outside the contract; every end-to-end test asserts that there are none."""
        return self.rest.unhandled + self.gateway.unhandled

    @property
    def requests(self) -> list[Record]:
        """Every REST request so far."""
        return self.rest.requests

    async def wait_bot(self, *commands: str, timeout: float = 10.0) -> None:
        """Wait until the bot is connected and has registered *commands* (any command, if none is named)."""

        def ready() -> bool | None:
            places = [None, *self.world.guilds]
            names = {one["name"] for place in places for one in self.commands.registered(place)}
            return (self.gateway.connected and (set(commands) <= names if commands else bool(names))) or None

        if not await self.world.until(ready, timeout):
            raise TimeoutError(f"the bot is not ready after {timeout:g} s")

    async def wait_connected(self, connected: bool = True, *, timeout: float = 10.0) -> None:
        """Wait until the bot has (or has not) a live gateway connection."""
        if not await self.world.until(lambda: self.gateway.connected is connected or None, timeout):
            raise TimeoutError(f"connected is still {not connected} after {timeout:g} s")
