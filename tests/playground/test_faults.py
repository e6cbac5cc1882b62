"""Faults and limits on demand, and the traps of discord.py that a bot must survive."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator

import aiohttp
import discord
import pytest

from playground import Limits, Playground, Rate
from tests.playground.conftest import Bot, Raw, eventually, running

SEND = "/channels/.*/messages"


@pytest.fixture
async def limited() -> AsyncIterator[Playground]:
    """A playground with the limits of every day."""
    async with Playground(acknowledge_within=10) as place:
        place.guild()
        yield place
        assert place.unhandled == []


@pytest.mark.parametrize("status", [500, 502, 504, 524])
async def test_the_client_retries_these_statuses_and_the_message_is_sent_once(status: int, place: Playground) -> None:
    ana = place.person("Ana")
    async with running(place, Bot()) as bot:
        fault = place.faults.status(status, method="POST", path=SEND)
        await bot.get_channel(ana.here).send("hola")
        assert fault.times == 0
        assert [one.text for one in await ana.history()] == ["hola"]


async def test_a_503_is_not_retried(place: Playground) -> None:
    """Trap 5."""
    ana = place.person("Ana")
    async with running(place, Bot()) as bot:
        place.faults.status(503, method="POST", path=SEND)
        with pytest.raises(discord.DiscordServerError):
            await bot.get_channel(ana.here).send("hola")
        assert await ana.history() == []


async def test_a_send_whose_answer_was_lost_is_not_doubled_by_its_retry(place: Playground, raw: Raw) -> None:
    """Trap 6: the nonce."""
    ana = place.person("Ana")
    body = {"content": "una vez", "nonce": "1", "enforce_nonce": True}
    place.faults.drop("after", method="POST", path=SEND)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await raw.send(ana.here, **body)
    assert (await raw.send(ana.here, **body))[0] == 200
    assert [one.text for one in await ana.history()] == ["una vez"]


async def test_a_followup_whose_answer_was_lost_is_doubled_by_a_retry(place: Playground) -> None:
    """Trap 6: followups carry no nonce."""

    def setup(bot: Bot) -> None:
        @bot.tree.command(name="x", description="x")
        async def x(interaction: discord.Interaction) -> None:
            await interaction.response.send_message("original")
            place.faults.drop("after", method="POST", path="/webhooks/.*")
            try:
                await interaction.followup.send("repetida")
            except aiohttp.ClientError:
                await interaction.followup.send("repetida")

    ana = place.person("Ana")
    async with running(place, Bot(setup)):
        answer = await ana.slash("x")
        assert [one.text for one in await answer.followups(2)] == ["repetida", "repetida"]


async def test_a_connection_cut_before_the_effect_leaves_nothing(place: Playground, raw: Raw) -> None:
    ana = place.person("Ana")
    place.faults.drop("before", method="POST", path=SEND)
    with pytest.raises(aiohttp.ServerDisconnectedError):
        await raw.send(ana.here, content="x")
    assert await ana.history() == []


async def test_a_delay_holds_the_effect_back_too(place: Playground, raw: Raw) -> None:
    ana = place.person("Ana")
    place.faults.delay(0.3, method="POST", path=SEND)
    sending = asyncio.create_task(raw.send(ana.here, content="x"))
    await asyncio.sleep(0.1)
    assert await ana.history() == []
    assert (await sending)[0] == 200
    assert len(await ana.history()) == 1


async def test_a_fault_chooses_its_requests_and_is_used_up(place: Playground, raw: Raw) -> None:
    channel = place.channel("general").id
    place.faults.status(500, method="GET", path="/users/@me", times=2)
    place.faults.status(503, path="/guilds/.*", after=2.5)
    assert (await raw.send(channel, content="x"))[0] == 200
    assert [(await raw("GET", "/users/@me"))[0] for _ in range(3)] == [500, 500, 200]
    status, answer = await raw("GET", f"/guilds/{next(iter(place.world.guilds))}")
    assert (status, answer["retry_after"]) == (503, 2.5)
    place.faults.status(500)
    place.faults.clear()
    assert (await raw("GET", "/users/@me"))[0] == 200


@pytest.mark.parametrize("whole_bot", [False, True])
async def test_the_client_waits_out_a_429(whole_bot: bool, place: Playground) -> None:
    ana = place.person("Ana")
    async with running(place, Bot()) as bot:
        place.faults.rate_limit(0.3, whole_bot=whole_bot, method="POST", path=SEND)
        before = time.monotonic()
        await bot.get_channel(ana.here).send("hola")
        assert time.monotonic() - before >= 0.3
        assert [one.status for one in place.requests if one.route.startswith("POST /channels")] == [429, 200]


async def test_expired_tokens_and_addresses_on_demand(place: Playground) -> None:
    codes: list[int] = []

    def setup(bot: Bot) -> None:
        @bot.tree.command(name="x", description="x")
        async def x(interaction: discord.Interaction, archivo: discord.Attachment) -> None:
            await interaction.response.defer()
            place.faults.expire_attachments()
            with pytest.raises(discord.NotFound):
                await archivo.read()
            place.faults.expire_interactions()
            with pytest.raises(discord.HTTPException) as refusal:
                await interaction.followup.send("tarde")
            codes.append(refusal.value.code)

    ana = place.person("Ana")
    async with running(place, Bot(setup)) as bot:
        await ana.slash("x", archivo=("a.txt", b"x"))
        await eventually(lambda: codes == [50027])
        assert not bot.errors


async def test_an_error_in_the_clients_parser_ends_it(place: Playground) -> None:
    """Trap 3: a malformed event ends `Client.start()` without a reconnect."""
    async with running(place, Bot()) as bot:
        (session,) = place.gateway.sessions.values()
        session.dispatch("MESSAGE_CREATE", {"id": "1"})
        with pytest.raises(KeyError):
            await asyncio.wait_for(asyncio.shield(bot.running), 5)
        assert place.gateway.identified == 1


async def test_the_content_type_is_exactly_what_the_client_compares(place: Playground, raw: Raw) -> None:
    """Trap 1."""
    async with raw.session.get(place.api_url + "/users/@me", headers={"Authorization": f"Bot {place.token}"}) as answer:
        assert answer.headers["Content-Type"] == "application/json"


# -- limits -----------------------------------------------------------------------------------------------------


async def test_a_bucket_counts_down_and_then_refuses(limited: Playground) -> None:
    channel = limited.channel("general").id
    async with aiohttp.ClientSession() as session:
        seen = []
        for number in range(6):
            async with session.post(
                f"{limited.api_url}/channels/{channel}/messages",
                json={"content": str(number)},
                headers={"Authorization": f"Bot {limited.token}"},
            ) as answer:
                seen.append((answer.status, answer.headers["X-RateLimit-Remaining"]))
                body, headers = await answer.json(), answer.headers
        assert seen == [(200, "4"), (200, "3"), (200, "2"), (200, "1"), (200, "0"), (429, "0")]
        assert 0 < body["retry_after"] <= 5
        assert (body["global"], headers["Via"]) == (False, "1.1 playground")


async def test_buckets_are_separate_for_each_channel_and_route(limited: Playground) -> None:
    first, second = limited.channel("general").id, limited.channel("otro").id
    async with aiohttp.ClientSession() as session:
        raw = Raw(limited, session)
        for _ in range(5):
            await raw.send(first, content="x")
        assert (await raw.send(first, content="x"))[0] == 429
        assert (await raw.send(second, content="x"))[0] == 200
        assert (await raw("GET", f"/channels/{first}/messages"))[0] == 200


async def test_fifty_requests_a_second_are_the_most_for_the_whole_bot() -> None:
    async with Playground(limits=Limits(default=Rate(1000, 1.0), rates={})) as place:
        place.guild()
        async with aiohttp.ClientSession() as session:
            raw = Raw(place, session)
            answers = await asyncio.gather(*(raw("GET", "/users/@me") for _ in range(60)))
            refused = [body for status, body in answers if status == 429]
            assert len(refused) == 10
            assert all(one["global"] and 0 < one["retry_after"] <= 1 for one in refused)
            await asyncio.sleep(max(one["retry_after"] for one in refused) + 0.05)
            assert (await raw("GET", "/users/@me"))[0] == 200


async def test_the_client_keeps_to_the_buckets_without_being_refused(limited: Playground) -> None:
    ana = limited.person("Ana")
    limited.limits.rates["POST /channels/{channel}/messages"] = Rate(3, 0.3)
    async with running(limited, Bot()) as bot:
        channel = bot.get_channel(ana.here)
        for number in range(7):
            await channel.send(str(number))
        sent = [one for one in limited.requests if one.route == "POST /channels/{channel}/messages"]
        assert [one.status for one in sent] == [200] * 7
        assert sent[-1].at - sent[0].at >= 0.5


async def test_answers_to_interactions_are_free_of_the_limit_for_the_whole_bot() -> None:
    async with Playground(limits=Limits(per_second=0), acknowledge_within=10) as place:
        place.guild()
        ana = place.person("Ana")
        command = {"name": "x", "description": "x", "type": 1}
        place.commands.replace(None, [command])
        interaction = await place.call("slash", user=ana.id, channel=ana.here, line="x")
        token = place.interactions.by_id[interaction].token
        async with aiohttp.ClientSession() as session:
            raw = Raw(place, session)
            path = f"/interactions/{interaction}/{token}/callback"
            assert (await raw("POST", path, {"type": 4, "data": {"content": "x"}}))[0] == 204
            assert (await raw("POST", f"/webhooks/{place.world.bot.id}/{token}", {"content": "y"}))[0] == 200
            assert (await raw("GET", "/users/@me"))[0] == 429
