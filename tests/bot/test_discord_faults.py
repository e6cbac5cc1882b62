"""Rows of the failure matrix where Discord says no, twice, or too late: one answer, no storm of requests."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import discord
import pytest

from bot.client import Afina
from bot.records import Owner
from jobs.contract import EventType, JobState, Recipe
from playground import Playground
from tests.dataset.clean import as_jsonl, capitals


async def test_an_event_that_is_replayed_a_thousand_times_is_heard_once(place: Playground, bot: Afina) -> None:
    heard: list[int] = []

    async def hear(message: discord.Message) -> None:
        heard.append(message.id)

    bot.add_listener(hear, "on_message")
    said = await place.person("Ana").say("hola")
    (session,) = place.gateway.sessions.values()
    frame = next(one for one in session.log if one["t"] == "MESSAGE_CREATE")
    for _ in range(1000):
        session.dispatch("MESSAGE_CREATE", frame["d"])
    last = await place.person("Eva").say("adiós")
    async with asyncio.timeout(30):
        while last.id not in heard:
            await asyncio.sleep(0.01)
    assert heard == [said.id, last.id]


async def test_a_card_that_nobody_can_be_shown_is_not_sent_again_and_again(
    place: Playground, bot: Afina, dataset_of: Any, owner_of: Callable[..., Owner], worker_for: Any
) -> None:
    """No workshop, closed direct messages, and a training that has news all the time."""
    ana = place.person("Ana")
    place.user(ana).accepts_dms = False
    owner = owner_of(ana)
    job = await bot.services.store.submit_job(
        owner=owner, name="sola", dataset=await dataset_of(owner), base_id="afina-mini", recipe=Recipe()
    )
    bot.services.scheduler.nudge()
    worker = await worker_for()
    worker.train(total=40)
    before = len(place.requests)
    for step in range(1, 15):
        worker.emit(EventType.METRICS, step=step, total_steps=40, loss=1.0)
        await asyncio.sleep(0.1)
    worker.finish()
    async with asyncio.timeout(20):
        while (await bot.services.store.job(job.id)).state is not JobState.SUCCEEDED:
            await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)
    refused = [one for one in place.requests if one.status in (403, 404)]
    assert 0 < len(refused) <= 4, [(one.method, one.path, one.status) for one in refused]
    assert len(place.requests) - before < 20


@pytest.mark.parametrize(
    ("command", "file"),
    [("datos subir", ("capitales.jsonl", as_jsonl(capitals()))), ("curso agregar", ("nota.md", b"# Nota\n\nTexto."))],
)
async def test_an_upload_whose_link_has_expired_is_asked_for_again(
    place: Playground, bot: Afina, command: str, file: tuple[str, bytes]
) -> None:
    ana = place.person("Ana", admin=True)
    await place.wait_bot("datos", "curso")
    place.faults.status(404, method="GET", path=".*attachments.*", times=5)
    more = {"tengo_derecho": True} if command == "datos subir" else {}
    answer = await (await ana.slash(command, archivo=file, **more)).done(timeout=20)
    assert "Súbelo otra vez" in answer.text
