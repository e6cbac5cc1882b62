"""The gateway: WebSocket sessions of the bot, with heartbeats, resume and replay.

Rule: every dispatch of a session has the next sequence number and is kept, so that RESUME replays what was missed;
a session without connection lives on for `SESSION_LIFE`. Frames are uncompressed text, which clients accept.
A session with a shard hears of its own servers only, and the first one of direct messages too.
Not covered: compression, voice (op 4).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import secrets
import time
from collections import Counter
from dataclasses import dataclass, field

from aiohttp import WSMsgType, web

from playground.dispatch import KNOWN, PRIVILEGED, Dispatcher, on_shard
from playground.model import Json
from playground.world import Event, World

SESSION_LIFE = 120.0  # seconds that a session without connection can be resumed
HEARTBEAT_MS = 41_250
FORGETS = (4003, 4004, 4005, 4007, 4009, 4010, 4011, 4012, 4013, 4014)  # close codes that end the session too
MOST_COMMANDS = 120  # sent by the client within a minute, else 4008


class Closed(Exception):
    """The connection shall be closed with this code."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason


class Connection:
    """One WebSocket. Frames go out in order through one writer task."""

    def __init__(self, socket: web.WebSocketResponse, request: web.Request) -> None:
        self.socket = socket
        self.request = request
        self._outbox: asyncio.Queue[str] = asyncio.Queue()
        self._writer = asyncio.create_task(self._write())
        self._arrivals: list[float] = []
        self.closed_with: int | None = None  # the code, if the server ended it

    def send(self, frame: Json) -> None:
        self._outbox.put_nowait(json.dumps(frame))

    async def _write(self) -> None:
        while True:
            frame = await self._outbox.get()
            try:
                await self.socket.send_str(frame)
            except (ConnectionError, RuntimeError):
                return
            finally:
                self._outbox.task_done()

    async def close(self, code: int, reason: str = "") -> None:
        """Send what is waiting, then close."""
        if self.closed_with is None and self.socket.close_code is None:
            self.closed_with = code
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._outbox.join(), 1.0)
        self._writer.cancel()
        await self.socket.close(code=code, message=reason.encode())

    def cut(self) -> None:
        """End the connection without a close frame."""
        self._writer.cancel()
        if self.request.transport:
            self.request.transport.abort()

    def count_arrival(self) -> None:
        now = time.monotonic()
        self._arrivals = [at for at in self._arrivals if now - at < 60] + [now]
        if len(self._arrivals) > MOST_COMMANDS:
            raise Closed(4008, "Rate limited.")


@dataclass(eq=False)
class Session:
    """One identified client. `seq` is the number of the last dispatch; `log` holds all of them."""

    id: str
    intents: int
    connection: Connection | None
    seq: int = 0
    log: list[Json] = field(default_factory=list)
    left_at: float = 0.0  # monotonic, when the connection was lost
    shard: tuple[int, int] = (0, 1)  # its number, of how many

    def dispatch(self, name: str, data: Json) -> None:
        self.seq += 1
        frame = {"op": 0, "t": name, "s": self.seq, "d": data}
        self.log.append(frame)
        if self.connection:
            self.connection.send(frame)


class Gateway:
    """Accepts connections and gives each session the events of the world."""

    def __init__(self, world: World, dispatcher: Dispatcher, token: str, granted_intents: int) -> None:
        self.world = world
        self.dispatcher = dispatcher
        self.token = token
        self.granted_intents = granted_intents  # privileged ones that the application may ask for
        self.url = ""  # known once the server listens
        self.heartbeat_ms = HEARTBEAT_MS
        self.sessions: dict[str, Session] = {}
        self.connections: set[Connection] = set()
        self.identified = 0  # how often a client identified
        self.resumed = 0
        self.unhandled: list[Json] = []  # operations that nobody here knows
        self.away = False
        self.hold_heartbeats = False
        self.duplicates: Counter[str] = Counter()
        world.listeners.append(self.on_event)

    @property
    def connected(self) -> bool:
        """Whether some session has a live connection."""
        return any(one.connection for one in self.sessions.values())

    # -- out --------------------------------------------------------------------------------------------------

    def on_event(self, event: Event) -> None:
        self._forget_old()
        for session in self.sessions.values():
            data = self.dispatcher.translate(event, session.intents)
            if data is None or not on_shard(event.guild_id, session.shard):
                continue
            session.dispatch(event.name, data)
            if self.duplicates[event.name] > 0:
                self.duplicates[event.name] -= 1
                session.dispatch(event.name, data)

    def _forget_old(self) -> None:
        now = time.monotonic()
        for session in list(self.sessions.values()):
            if session.connection is None and now - session.left_at > SESSION_LIFE:
                del self.sessions[session.id]

    async def send_everybody(self, frame: Json) -> None:
        for connection in self.connections:
            connection.send(frame)

    async def close_everybody(self, code: int, reason: str = "") -> None:
        await asyncio.gather(*(one.close(code, reason) for one in list(self.connections)))

    def cut_everybody(self) -> None:
        for connection in list(self.connections):
            connection.cut()

    async def invalidate(self, resumable: bool) -> None:
        """Op 9 to everybody; not resumable: the sessions are gone."""
        for session in list(self.sessions.values()):
            if session.connection:
                session.connection.send({"op": 9, "d": resumable, "s": None, "t": None})
            if not resumable:
                del self.sessions[session.id]

    # -- in ---------------------------------------------------------------------------------------------------

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """The WebSocket endpoint."""
        if self.away:
            if request.transport:
                request.transport.abort()
            return web.Response(status=503)
        socket = web.WebSocketResponse(autoping=True, max_msg_size=0)
        await socket.prepare(request)
        connection = Connection(socket, request)
        self.connections.add(connection)
        connection.send({"op": 10, "d": {"heartbeat_interval": self.heartbeat_ms}, "s": None, "t": None})
        session: Session | None = None
        try:
            async for message in socket:
                if message.type is not WSMsgType.TEXT:
                    raise Closed(4002, "Error while decoding payload.")
                connection.count_arrival()
                session = self._receive(connection, session, message.data)
        except Closed as closed:
            await connection.close(closed.code, closed.reason)
        finally:
            self.connections.discard(connection)
            ours = connection.closed_with  # a client that says goodbye with 1000 or 1001 gives its session up
            self._detach(connection, over=ours in FORGETS if ours else socket.close_code in (1000, 1001))
            await connection.close(1000)
        return socket

    def _detach(self, connection: Connection, over: bool) -> None:
        """The connection is gone. *over*: so is its session (the client said goodbye, or the code says so)."""
        for session in list(self.sessions.values()):
            if session.connection is connection:
                session.connection, session.left_at = None, time.monotonic()
                if over:
                    del self.sessions[session.id]
        self.world.touch()

    def _receive(self, connection: Connection, session: Session | None, text: str) -> Session | None:
        try:
            frame = json.loads(text)
            op, data = frame["op"], frame.get("d")
        except (ValueError, KeyError, TypeError):
            raise Closed(4002, "Error while decoding payload.") from None
        if op == 1:
            if not self.hold_heartbeats:
                connection.send({"op": 11, "d": None, "s": None, "t": None})
            return session
        if op == 2:
            if session:
                raise Closed(4005, "Already authenticated.")
            return self._identify(connection, data)
        if op == 6:
            if session:
                raise Closed(4005, "Already authenticated.")
            return self._resume(connection, data)
        if session is None:
            raise Closed(4003, "Not authenticated.")
        if op == 8:
            self._members(session, data)
        elif op != 3:  # op 3, the presence, changes nothing here
            self.unhandled.append({"op": op, "d": data})
            raise Closed(4001, "Unknown opcode.")
        return session

    def _identify(self, connection: Connection, data: Json) -> Session:
        if data.get("token") != self.token:
            raise Closed(4004, "Authentication failed.")
        intents = data.get("intents")
        if not isinstance(intents, int) or intents < 0 or intents > KNOWN:
            raise Closed(4013, "Invalid intent(s).")
        if intents & PRIVILEGED & ~self.granted_intents:
            raise Closed(4014, "Disallowed intent(s).")
        shard = data.get("shard")
        if shard is not None and not (isinstance(shard, list) and len(shard) == 2 and 0 <= shard[0] < shard[1]):
            raise Closed(4010, "Invalid shard.")
        session = Session(id=secrets.token_hex(16), intents=intents, connection=connection)
        session.shard = (shard[0], shard[1]) if shard else (0, 1)
        self.sessions[session.id] = session
        self.identified += 1
        session.dispatch("READY", self.dispatcher.ready(session.id, self.url, shard))
        for guild in [one for one in self.world.guilds.values() if on_shard(one.id, session.shard)]:
            event = Event(name="GUILD_CREATE", guild_id=guild.id, subject=guild, detail={"known": True})
            if self.world.bot.id in guild.members and (created := self.dispatcher.translate(event, intents)):
                session.dispatch("GUILD_CREATE", created)
        self.world.touch()
        return session

    def _resume(self, connection: Connection, data: Json) -> Session | None:
        if data.get("token") != self.token:
            raise Closed(4004, "Authentication failed.")
        session = self.sessions.get(str(data.get("session_id")))
        if session is None:
            connection.send({"op": 9, "d": False, "s": None, "t": None})
            return None
        seq = int(data.get("seq") or 0)
        if seq > session.seq:
            raise Closed(4007, "Invalid seq.")
        if session.connection and session.connection is not connection:
            session.connection.cut()
        session.connection = connection
        for frame in session.log[seq:]:
            connection.send(frame)
        self.resumed += 1
        session.dispatch("RESUMED", {"_trace": []})
        self.world.touch()
        return session

    def _members(self, session: Session, data: Json) -> None:
        guild = self.world.guilds.get(int(data["guild_id"]))
        if guild is None or self.world.bot.id not in guild.members:
            return
        session.dispatch("GUILD_MEMBERS_CHUNK", self.dispatcher.chunk(guild.id, data))
