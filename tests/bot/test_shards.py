"""The bot over several connections to Discord: every server is heard once, whichever connection it belongs to."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.client import Afina, ShardedAfina, make_client, redirect
from bot.services import Services
from playground import Playground


@pytest.mark.parametrize(("shards", "kind"), [(1, Afina), (3, ShardedAfina), (0, ShardedAfina)])
def test_the_setting_says_how_many(services: Services, shards: int, kind: type) -> None:
    settings = services.settings.model_copy(update={"shards": shards})
    client = make_client(Services(**{**vars_of(services), "settings": settings}))
    assert type(client) is kind


async def test_servers_on_different_connections_are_answered_alike(place: Playground, services: Services) -> None:
    settings = services.settings.model_copy(update={"shards": 2})
    people = []
    while {(guild_id >> 22) % 2 for guild_id in place.world.guilds} != {0, 1}:
        place.guild(f"Otra {len(place.world.guilds)}")
        await asyncio.sleep(0.002)  # ids are moments
    for guild in place.world.guilds.values():
        people.append(place.person(f"Persona de {guild.name}", guild))
    redirect(settings)
    client = make_client(Services(**{**vars_of(services), "settings": settings}))
    running = asyncio.create_task(client.run_forever(place.token))
    try:
        await asyncio.wait_for(client.online.wait(), 20)
        await place.wait_bot("ayuda")
        assert sorted(session.shard for session in place.gateway.sessions.values()) == [(0, 2), (1, 2)]
        for person in people:
            answer = await person.slash("ayuda")
            assert "Afina" in answer.text
        answer = await people[-1].slash("ayuda", channel=await people[-1].direct())
        assert "Afina" in answer.text
    finally:
        await client.close()
        await asyncio.wait([running], timeout=10)
    assert running.done()


def vars_of(services: Services) -> dict[str, Any]:
    return {name: getattr(services, name) for name in services.__dataclass_fields__}
