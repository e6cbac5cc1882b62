"""The gateway with a real discord.py client: connecting, losing the connection, resuming, and what each code means."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import Any

import aiohttp
import discord
import pytest
import yarl
from discord.gateway import DiscordWebSocket

from playground import Limits, Playground
from tests.playground.conftest import Bot, eventually, running


def listening() -> tuple[list[str], Any]:
    """What a bot hears, and its set-up."""
    heard: list[str] = []

    def setup(bot: Bot) -> None:
        @bot.event
        async def on_message(message: discord.Message) -> None:
            heard.append(message.content)

        @bot.event
        async def on_resumed() -> None:
            heard.append("(resumed)")

    return heard, setup


async def heard_all(heard: list[str], *wanted: str) -> None:
    await eventually(lambda: set(wanted) <= set(heard))


async def test_the_client_knows_the_servers_and_itself(place: Playground) -> None:
    place.guild("Segunda", channels=("uno", "dos"))
    place.guild("Sin bot", bot_permissions=None)
    async with running(place, Bot()) as bot:
        assert sorted(one.name for one in bot.guilds) == ["Comunidad", "Segunda"]
        guild = discord.utils.get(bot.guilds, name="Comunidad")
        assert [one.name for one in guild.channels] == ["general", "modelos", "ayuda"]
        assert guild.me.guild_permissions.create_private_threads
        assert not guild.me.guild_permissions.administrator
        assert [one.id for one in guild.members] == [bot.user.id]


async def test_members_are_asked_for_in_chunks(place: Playground) -> None:
    ana = place.person("Ana")
    place.person("Eva")
    async with running(place, Bot()) as bot:
        (guild,) = bot.guilds
        assert [one.display_name for one in await guild.query_members("an")] == ["Ana"]
        assert [one.id for one in await guild.query_members(user_ids=[ana.id, 5])] == [ana.id]
        assert (await guild.fetch_member(ana.id)).display_name == "Ana"
    async with running(place, Bot(members=True)) as bot:
        assert {one.display_name for one in bot.guilds[0].members} >= {"Ana", "Eva", "Afina"}


async def test_what_was_missed_is_replayed_after_a_resume(place: Playground) -> None:
    heard, setup = listening()
    ana = place.person("Ana")
    async with running(place, Bot(setup)):
        await ana.say("antes")
        await heard_all(heard, "antes")
        place.faults.gateway_away()
        await place.faults.close(4000)
        await place.wait_connected(False)
        await ana.say("durante")
        assert "durante" not in heard
        place.faults.gateway_away(False)
        await heard_all(heard, "durante", "(resumed)")
        assert heard.index("durante") < heard.index("(resumed)")
        await ana.say("después")
        await heard_all(heard, "después")
        assert heard.count("antes") == 1
        assert (place.gateway.identified, place.gateway.resumed) == (1, 1)


@pytest.mark.parametrize("how", ["op 7", "1000", "1001", "4000", "4001", "4002", "4008", "cut"])
async def test_the_client_resumes(how: str, place: Playground) -> None:
    heard, setup = listening()
    ana = place.person("Ana")
    async with running(place, Bot(setup)):
        if how == "op 7":
            await place.faults.reconnect()
        elif how == "cut":
            await place.faults.cut()
        else:
            await place.faults.close(int(how))
        await ana.say("a la vez")
        await heard_all(heard, "a la vez", "(resumed)")
        assert place.gateway.identified == 1


@pytest.mark.parametrize("how", ["op 9", "4007", "4009"])
async def test_the_client_identifies_anew_when_its_session_is_gone(how: str, place: Playground) -> None:
    heard, setup = listening()
    ana = place.person("Ana")
    async with running(place, Bot(setup)):
        if how == "op 9":
            await place.faults.invalidate(resumable=False)
        else:
            await place.faults.close(int(how))
        await eventually(lambda: place.gateway.identified == 2)
        await place.wait_connected()
        await ana.say("otra vez")
        await heard_all(heard, "otra vez")
        assert place.gateway.resumed == 0


async def test_a_resumable_op_9_is_resumed(place: Playground) -> None:
    heard, setup = listening()
    async with running(place, Bot(setup)):
        await place.faults.invalidate(resumable=True)
        await heard_all(heard, "(resumed)")
        assert place.gateway.identified == 1


@pytest.mark.parametrize("code", [4004, 4010, 4011, 4012, 4013, 4014])
async def test_fatal_codes_end_the_client(code: int, place: Playground) -> None:
    expected = discord.PrivilegedIntentsRequired if code == 4014 else discord.ConnectionClosed
    bot = Bot()
    discord.http.Route.BASE = place.api_url
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(place.gateway_url)
    task = asyncio.create_task(bot.start(place.token))
    await place.wait_bot(timeout=5) if place.commands.registered(None) else await place.wait_connected()
    await place.faults.close(code)
    with pytest.raises(expected):
        await asyncio.wait_for(task, 5)
    await bot.close()


async def test_a_wrong_token_is_refused_before_the_gateway(place: Playground) -> None:
    place.token = "other"
    with pytest.raises(discord.LoginFailure):
        async with running(place, Bot()):
            pass


async def test_a_gateway_that_holds_heartbeats_back_is_left_and_resumed(place: Playground) -> None:
    heard, setup = listening()
    place.gateway.heartbeat_ms = 150
    bot = Bot(setup)
    bot._connection.heartbeat_timeout = 0.6
    async with running(place, bot):
        place.faults.hold_heartbeats()
        await place.wait_connected(False, timeout=10)
        place.faults.hold_heartbeats(False)
        await heard_all(heard, "(resumed)")


async def test_an_event_can_arrive_twice(place: Playground) -> None:
    heard, setup = listening()
    ana = place.person("Ana")
    async with running(place, Bot(setup)):
        place.faults.duplicate("MESSAGE_CREATE")
        await ana.say("doble")
        await ana.say("simple")
        await heard_all(heard, "simple")
        assert heard == ["doble", "doble", "simple"]


async def test_a_gateway_that_is_away_at_the_start_breaks_the_client(place: Playground) -> None:
    """Trap 4: discord.py does not retry its very first connection; the process must."""
    place.faults.gateway_away()
    bot = Bot()
    discord.http.Route.BASE = place.api_url
    DiscordWebSocket.DEFAULT_GATEWAY = yarl.URL(place.gateway_url)
    with pytest.raises(AttributeError, match="sequence"):
        await asyncio.wait_for(bot.start(place.token), 20)
    await bot.close()
    place.faults.gateway_away(False)
    async with running(place, Bot()) as second:
        assert second.is_ready()


async def test_a_new_server_and_a_new_channel_are_announced(place: Playground) -> None:
    async with running(place, Bot()) as bot:
        joined = asyncio.ensure_future(bot.wait_for("guild_join", timeout=5))
        made = place.guild("Nueva")
        assert (await joined).id == made.id
        created = asyncio.ensure_future(bot.wait_for("guild_channel_create", timeout=5))
        place.channel("otro", made)
        assert (await created).name == "otro"
        removed = asyncio.ensure_future(bot.wait_for("guild_remove", timeout=5))
        place.world.leave(made, place.world.bot.id)
        assert (await removed).id == made.id


# -- the protocol without a client ------------------------------------------------------------------------------


class Wire:
    """A bare WebSocket."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, token: str) -> None:
        self.socket = socket
        self.token = token

    async def send(self, op: int, data: Any) -> None:
        await self.socket.send_str(json.dumps({"op": op, "d": data}))

    async def identify(self, **more: Any) -> None:
        await self.send(2, {"token": self.token, "intents": 513, "properties": {}} | more)

    async def next(self, event: str | None = None) -> Any:
        while True:
            frame = await self.socket.receive_json(timeout=5)
            if event is None or frame["t"] == event:
                return frame

    async def code(self) -> int | None:
        """The close code."""
        while not (await self.socket.receive(timeout=5)).type.name.startswith("CLOS"):
            pass
        return self.socket.close_code


@contextlib.asynccontextmanager
async def wire(place: Playground) -> Any:
    async with aiohttp.ClientSession() as session, session.ws_connect(place.gateway_url) as socket:
        connection = Wire(socket, place.token)
        assert (await connection.next())["op"] == 10
        yield connection


BAD_FRAMES: dict[str, tuple[Any, int]] = {
    "not JSON": ("{", 4002),
    "no op": ({"d": 1}, 4002),
    "a command before IDENTIFY": ({"op": 8, "d": {}}, 4003),
    "a wrong token": ({"op": 2, "d": {"token": "no", "intents": 1}}, 4004),
    "an impossible shard": ({"op": 2, "d": {"token": "{token}", "intents": 1, "shard": [2, 2]}}, 4010),
    "impossible intents": ({"op": 2, "d": {"token": "{token}", "intents": 1 << 40}}, 4013),
}


@pytest.mark.parametrize("name", BAD_FRAMES)
async def test_a_bad_frame_closes_the_connection_with_its_code(name: str, place: Playground) -> None:
    frame, code = BAD_FRAMES[name]
    text = frame if isinstance(frame, str) else json.dumps(frame).replace("{token}", place.token)
    async with wire(place) as connection:
        await connection.socket.send_str(text)
        assert await connection.code() == code


async def test_an_unknown_operation_is_recorded(place: Playground) -> None:
    async with wire(place) as connection:
        await connection.identify()
        await connection.next("READY")
        await connection.send(4, {})
        assert await connection.code() == 4001
    assert place.unhandled == [{"op": 4, "d": {}}]
    place.gateway.unhandled.clear()


async def test_identifying_twice_is_refused(place: Playground) -> None:
    async with wire(place) as connection:
        await connection.identify()
        await connection.next("READY")
        await connection.identify()
        assert await connection.code() == 4005


async def test_more_than_120_commands_a_minute_are_refused(place: Playground) -> None:
    async with wire(place) as connection:
        with contextlib.suppress(ConnectionError):
            for _ in range(121):
                await connection.send(1, None)
        assert await connection.code() == 4008


async def test_a_resume_of_an_unknown_session_gets_op_9_and_of_a_future_one_4007(place: Playground) -> None:
    async with wire(place) as connection:
        await connection.send(6, {"token": place.token, "session_id": "x", "seq": 1})
        assert (await connection.next())["op"] == 9
    async with wire(place) as connection:
        await connection.identify()
        ready = (await connection.next("READY"))["d"]
        await connection.socket.close(code=4000)
    async with wire(place) as connection:
        await connection.send(6, {"token": place.token, "session_id": ready["session_id"], "seq": 999})
        assert await connection.code() == 4007


async def test_a_session_that_said_goodbye_cannot_be_resumed(place: Playground) -> None:
    async with wire(place) as connection:
        await connection.identify()
        ready = (await connection.next("READY"))["d"]
        await connection.socket.close(code=1000)
    async with wire(place) as connection:
        await connection.send(6, {"token": place.token, "session_id": ready["session_id"], "seq": 1})
        assert (await connection.next())["op"] == 9


async def test_intents_decide_what_arrives() -> None:
    async with Playground(limits=Limits(enabled=False)) as place:
        place.guild()
        ana = place.person("Ana")
        async with wire(place) as connection:
            await connection.identify(intents=1)
            await connection.next("GUILD_CREATE")
            await ana.say("no llega")
            await place.call("start_thread", user=ana.id, channel=ana.here, name="llega")
            assert (await connection.next())["t"] == "THREAD_CREATE"
