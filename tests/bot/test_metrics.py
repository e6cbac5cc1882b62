"""Figures for Prometheus: what happens is counted, once, without a word about anybody; the dashboard shows them all."""

import asyncio
import json
import re
import time
from contextlib import AsyncExitStack

import aiohttp
import pytest
from prometheus_client.parser import text_string_to_metric_families

from bot.__main__ import make_client
from bot.metrics import LAG_EVERY, Metrics
from bot.records import Owner
from bot.settings import ROOT
from jobs.contract import Event, EventType, Phase, Recipe, TrainResult
from jobs.errors import EngineUnavailable

DASHBOARD = ROOT / "docker" / "grafana.json"


def figures(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(text)
    samples = [sample for family in families for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in samples}


@pytest.fixture
def settings(settings):
    return settings.model_copy(update={"metrics_port": 0})


@pytest.fixture
async def watched(services):
    """A client with its figures served, logged in to the playground, and a way to read them."""
    async with AsyncExitStack() as stack:
        metrics = Metrics()
        client = make_watched(services, metrics)
        port = await stack.enter_async_context(metrics.served(client, "127.0.0.1", 0))
        http = await stack.enter_async_context(aiohttp.ClientSession(f"http://127.0.0.1:{port}"))
        yield client, http


def make_watched(services, metrics):
    from bot.client import Afina

    client = Afina(metrics.wrap(services))
    metrics.watch(client)
    return client


async def read(http) -> dict:
    async with http.get("/metrics") as answer:
        assert answer.status == 200
        return figures(await answer.text())


async def test_a_bot_on_discord_is_measured(watched, place, services):
    from bot.client import redirect

    client, http = watched
    redirect(services.settings)
    async with http.get("/health") as answer:
        assert answer.status == 503
    task = asyncio.create_task(client.run_forever(place.token))
    try:
        await asyncio.wait_for(client.online.wait(), 20)
        async with http.get("/health") as answer:
            assert (answer.status, await answer.json()) == (200, {"online": True})
        found = await read(http)
        logins = {labels: value for (name, labels), value in found.items() if name == "afina_discord_requests_total"}
        assert any(("method", "GET") in labels and ("status", "200") in labels for labels in logins)
    finally:
        await client.close()
        await asyncio.gather(task, return_exceptions=True)
    async with http.get("/health") as answer:
        assert answer.status == 503


async def test_refusals_are_counted_by_code(watched):
    client, http = watched
    await client._async_setup_hook()  # gives it the running loop, as logging in does
    client.dispatch("refusal", EngineUnavailable())
    await asyncio.sleep(0.05)
    assert (await read(http))["afina_refusals_total", (("code", EngineUnavailable.code),)] == 1


async def test_questions_to_the_course_are_counted_and_timed(watched):
    client, http = watched
    client.services.lessons.start()
    await client.services.lessons.answer("¿Qué es LoRA?")
    found = await read(http)
    assert sum(value for (name, _), value in found.items() if name == "afina_answers_total") == 1
    assert found["afina_answer_seconds_count", ()] == 1


async def test_a_job_is_counted_once_however_often_its_change_is_told(watched, services, dataset_of, place):
    _, http = watched
    from bot.records import Owner

    data = await dataset_of(Owner(guild_id=1, user_id=2))
    from jobs.contract import Recipe

    store = services.store
    job = await store.submit_job(
        owner=Owner(guild_id=1, user_id=2), name="x", dataset=data, base_id="afina-mini", recipe=Recipe()
    )
    await store.mark_dispatched(job.id, 1)
    result = TrainResult(
        adapter_name=job.request.adapter_name,
        adapter_path=f"adapters/{job.request.adapter_name}",
        adapter_sha256="ab",
        adapter_bytes=1,
        trained_tokens=5000,
        seconds=2.0,
    )
    said = {"job_id": job.id, "attempt": 1, "created_at": time.time()}
    for event in (
        Event(**said, seq=1, type=EventType.PHASE, data={"phase": "training"}),
        Event(**said, seq=2, type=EventType.RESULT, data=result.model_dump(mode="json")),
    ):
        changed = await store.apply_event(event)
        for _ in range(2):
            await services.feed.announce(changed)
    found = await read(http)
    assert found["afina_queue_wait_seconds_count", ()] == 1
    assert found["afina_job_seconds_count", (("state", "succeeded"),)] == 1
    assert found["afina_training_tokens_per_second_sum", ()] == 2500


async def test_a_loop_that_was_held_up_shows(watched):
    _, http = watched
    await asyncio.sleep(LAG_EVERY / 2)
    time.sleep(LAG_EVERY * 2)
    await asyncio.sleep(LAG_EVERY)
    assert (await read(http))["afina_loop_lag_seconds_sum", ()] > LAG_EVERY / 2


async def test_the_parts_are_asked_when_somebody_looks(watched, queue, worker_for):
    _, http = watched
    found = await read(http)
    assert found["afina_up", (("part", "queue"),)] == 1
    assert found["afina_disk_free_bytes", ()] > 0
    assert found["afina_jobs", (("state", "queued"),)] == 0
    assert found["afina_worker_busy", (("worker", "uno"),)] == 0
    assert found["afina_worker_memory_bytes", (("device", "CPU"), ("worker", "uno"))] == 16e9


async def test_what_trains_now_is_told_by_its_last_numbers(watched, services, dataset_of, worker_for):
    _, http = watched
    owner = Owner(guild_id=1, user_id=2)
    running = [asyncio.create_task(services.scheduler.run()), asyncio.create_task(services.feed.run())]
    try:
        for number in range(2):
            asks = Owner(guild_id=1, user_id=number)
            dataset = await dataset_of(owner)
            await services.store.submit_job(
                owner=asks, name="m", dataset=dataset, base_id="afina-mini", recipe=Recipe()
            )
            worker = await worker_for(number)
            worker.phase(Phase.TRAINING)
            worker.step(1, 10, tokens_per_second=999.0)
            worker.step(2, 10, tokens_per_second=100.0 * (number + 1), memory_bytes=2_000)
        async with asyncio.timeout(20):
            while (found := await read(http))["afina_running_memory_bytes", ()] != 4_000:
                await asyncio.sleep(0.05)
        assert found["afina_running_tokens_per_second", ()] == 300.0
    finally:
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)


async def test_a_taken_port_does_not_stop_the_bot(services, settings, caplog):
    async with AsyncExitStack() as stack:
        taken = await asyncio.start_server(lambda reader, writer: None, "127.0.0.1", 0)
        port = taken.sockets[0].getsockname()[1]
        from dataclasses import replace

        wanted = replace(services, settings=settings.model_copy(update={"metrics_port": port}))
        assert await make_client(wanted, stack) is not None
        assert "no metrics" in caplog.text
        taken.close()


async def test_by_default_nothing_is_served(services, settings):
    from dataclasses import replace

    async with AsyncExitStack() as stack:
        quiet = replace(services, settings=settings.model_copy(update={"metrics_port": None}))
        client = await make_client(quiet, stack)
        assert client.http.http_trace is None


def shown() -> dict[str, set[str]]:
    """Every metric in the dashboard, with the labels it is filtered or grouped by."""
    board = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    expressions = [target["expr"] for panel in board["panels"] for target in panel.get("targets", ())]
    names: dict[str, set[str]] = {}
    for expression in expressions:
        found = re.findall(r"(afina_(?!engine_)\w+)(?:\{([^}]*)\})?", expression)
        by = {label.strip() for group in re.findall(r"by \(([^)]*)\)", expression) for label in group.split(",")}
        for name, filters in found:
            names.setdefault(name, set()).update(re.findall(r"(\w+)=", filters), by - {"le"})
    return names


def exposed() -> dict[str, set[str]]:
    names: dict[str, set[str]] = {}
    for family in Metrics().registry.collect():
        endings = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}[family.type]
        for ending in endings:
            names[family.name + ending] = set()
    for metric in vars(Metrics()).values():
        labels = set(getattr(metric, "_labelnames", ()))
        for name in names:
            if hasattr(metric, "_name") and name.startswith(metric._name):
                names[name] |= labels
    return names


def test_the_dashboard_names_only_what_there_is():
    there = exposed()
    assert shown()
    for name, labels in shown().items():
        assert name in there
        assert labels <= there[name], name


def test_the_dashboard_shows_everything():
    families = {family.name for family in Metrics().registry.collect()}
    assert {name for name in families if not any(metric.startswith(name) for metric in shown())} == set()


def test_no_label_is_about_a_person():
    labels = {label for metric in vars(Metrics()).values() for label in getattr(metric, "_labelnames", ())}
    assert labels == {
        "part",
        "state",
        "found",
        "worded",
        "type",
        "code",
        "method",
        "kind",
        "status",
        "worker",
        "device",
    }
