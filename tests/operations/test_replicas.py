"""Several engines behind one address, spread as the hosting page says: adapter routes go to all, the rest to any."""

import itertools
from collections import Counter
from contextlib import asynccontextmanager

import httpx
import pytest
from aiohttp import web

from bot.engine import EngineClient
from tests.bot.protocol_engine import protocol_engine

ADAPTER = "poeta-1"
HELLO = [{"role": "user", "content": "hola"}]


@asynccontextmanager
async def balancer(*addresses: str):
    """What nginx does with the page's configuration; the first engine answers for all."""
    turns = itertools.cycle(addresses)

    async def spread(request: web.Request) -> web.Response:
        everywhere = request.path.endswith("load_lora_adapter")
        targets = addresses if everywhere else (next(turns),)
        body = await request.read()
        headers = {"Content-Type": request.headers.get("Content-Type", "application/json")}
        answers = [
            await http.request(request.method, f"{target}{request.path}", content=body, headers=headers)
            for target in targets
        ]
        kind = answers[0].headers.get("Content-Type", "text/plain").split(";")[0]
        return web.Response(status=answers[0].status_code, body=answers[0].content, content_type=kind)

    app = web.Application()
    app.router.add_route("*", "/{path:.*}", spread)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with httpx.AsyncClient(trust_env=False) as http:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    await runner.cleanup()


@pytest.fixture
async def replicas():
    async with (
        protocol_engine() as first,
        protocol_engine() as second,
        balancer(first.url, second.url) as address,
    ):
        client = EngineClient(address)
        yield first, second, client
        await client.aclose()


async def test_every_replica_serves_every_adapter(replicas):
    first, second, client = replicas
    await client.ensure_adapter(ADAPTER, "/data/adapters/poeta-1")
    answers = Counter([await client.chat(ADAPTER, HELLO) for _ in range(10)])
    assert answers == {f"{ADAPTER}: hola": 10}
    assert (len(first.asked), len(second.asked)) == (5, 5)
    await client.unload(ADAPTER)
    assert (first.adapters, second.adapters) == ({}, {})


@pytest.mark.parametrize("victim", [0, 1])
async def test_a_replica_that_restarted_gets_its_adapters_again(replicas, victim):
    *engines, client = replicas
    await client.ensure_adapter(ADAPTER, "/data/adapters/poeta-1")
    await engines[victim].restart()
    answers = {await client.chat(ADAPTER, HELLO) for _ in range(6)}
    assert answers == {f"{ADAPTER}: hola"}
    assert ADAPTER in engines[victim].adapters
