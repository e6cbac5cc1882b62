"""People in threads while the GPU trains: told before, kept waiting, answered after, also over a restart of the bot."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from bot.arbiter import Arbiter
from bot.client import Afina
from bot.engine import EngineClient
from bot.records import Job, Owner
from bot.scheduler import Scheduler
from bot.services import Services
from bot.settings import Settings
from bot.store import Store
from jobs.contract import EventType, Recipe
from playground import Playground
from tests.bot.conftest import make_services, running
from tests.bot.protocol_engine import BASE, ProtocolEngine, protocol_engine
from tests.bot.scripted import WORKER, ScriptedQueue, ScriptedWorker
from tests.bot.test_chat import DONE, answer_to, open_thread

GB = 10**9
CARD = WORKER.model_copy(update={"hostname": socket.gethostname(), "memory_bytes": 24 * GB})
LEAVING, KEPT, BACK = "se va a entrenar", "He guardado tu mensaje", "Ya he vuelto"
Submit = Callable[[Owner], Awaitable[Job]]


@pytest.fixture
def queue() -> ScriptedQueue:
    return ScriptedQueue(crew=[CARD])


@pytest.fixture
async def served() -> AsyncIterator[ProtocolEngine]:
    async with protocol_engine() as engine:
        engine.footprint = {"hostname": CARD.hostname, "device": CARD.device, "memory_bytes": 14 * GB}
        yield engine


@pytest.fixture
async def new_services(
    settings: Settings, store: Store, queue: ScriptedQueue, served: ProtocolEngine
) -> AsyncIterator[Callable[[], Awaitable[Services]]]:
    """The parts of a bot process that shares its card; call it again for the next process."""
    made: list[Services] = []

    async def need(_job: Job) -> int:
        return 20 * GB

    async def make() -> Services:
        await close()
        engine = EngineClient(served.url)
        arbiter = Arbiter(store, engine, settings, need=need)
        await arbiter.open()
        scheduler = Scheduler(store, queue, settings, gate=arbiter, tick_seconds=0.05)
        made.append(make_services(settings, store, queue, engine, arbiter=arbiter, scheduler=scheduler))
        return made[-1]

    async def close() -> None:
        while made:
            old = made.pop()
            await old.arbiter.close()
            await old.engine.aclose()

    yield make
    await close()


@pytest.fixture
async def services(new_services: Callable[[], Awaitable[Services]]) -> Services:
    return await new_services()


@pytest.fixture
def submit(store: Store, dataset_of: Callable[..., Awaitable[Any]]) -> Submit:
    async def make(owner: Owner) -> Job:
        dataset = await dataset_of(owner, name="datos.jsonl")
        return await store.submit_job(owner=owner, name="grande", dataset=dataset, base_id=BASE, recipe=Recipe())

    return make


async def begun(queue: ScriptedQueue) -> ScriptedWorker:
    async with asyncio.timeout(10):
        while not queue.submitted:
            await asyncio.sleep(0.02)
    worker = ScriptedWorker(queue, queue.submitted.pop())
    worker.emit(EventType.PHASE, phase="starting")
    return worker


async def test_threads_are_told_keep_what_is_written_and_get_their_answers(
    bot: Afina,
    place: Playground,
    queue: ScriptedQueue,
    served: ProtocolEngine,
    submit: Submit,
    owner_of: Callable[..., Owner],
) -> None:
    ana, luis = place.person("Ana"), place.person("Luis")
    for person in (ana, luis):
        await open_thread(person)
        await answer_to(person, f"Soy {person.name}")
    await submit(owner_of(ana))
    worker = await begun(queue)
    for person in (ana, luis):
        assert "(≈ " in (await person.wait_message(LEAVING)).content
    await ana.say("¿Sigues ahí?")
    await ana.wait_message(KEPT)
    await ana.say("Dime la capital de Perú")
    await asyncio.sleep(1.0)
    assert served.asleep
    worker.stop("cancelled")
    answer = await ana.wait_message("capital de Perú", by="Afina", button=DONE)
    assert answer.content.split() == f"{BASE}: ¿Sigues ahí? Dime la capital de Perú".split()  # both, in one answer
    await luis.wait_message(BACK)
    assert not served.asleep
    assert served.asked_asleep == 0
    notes = [m.content for m in await ana.history() if KEPT in m.content or BACK in m.content]
    assert len(notes) == 1  # told once; the answer itself says that it is back
    assert await answer_to(luis, "Seguimos")


async def test_what_waits_is_answered_by_the_next_process_too(
    new_services: Callable[[], Awaitable[Services]],
    place: Playground,
    queue: ScriptedQueue,
    served: ProtocolEngine,
    submit: Submit,
    store: Store,
    owner_of: Callable[..., Owner],
) -> None:
    ana = place.person("Ana")
    async with running(await new_services()):
        await open_thread(ana)
        await answer_to(ana, "Hola")
        await submit(owner_of(ana))
        worker = await begun(queue)
        await ana.wait_message(LEAVING)
        await ana.say("No lo olvides")
        await ana.wait_message(KEPT)
    async with running(await new_services()):
        await asyncio.sleep(0.5)
        assert served.orders == ["sleep"]
        worker.stop("cancelled")
        await ana.wait_message("No lo olvides", by="Afina", button=DONE)
        async with asyncio.timeout(5):
            while await store.waiting_threads():
                await asyncio.sleep(0.02)
    assert served.asked_asleep == 0
