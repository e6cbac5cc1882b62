"""One kill in the middle of a real training, on real processes: nothing is lost and nothing is done twice."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.console.stack import Stack
from bot.records import CONSOLE, Dataset, Job
from bot.settings import Settings
from bot.store import Store
from jobs.artifacts import Artifacts
from jobs.contract import EventType, JobState, Phase, Recipe
from jobs.dataset import check_file
from playground import Playground, task

PATIENCE = 150.0  # seconds for one state to be reached, on a machine that does other things too

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[tuple[Stack, Store]]:
    async with Playground(token="t", acknowledge_within=30) as place:
        place.guild("Estudio")
        settings = Settings(_env_file=None).model_copy(
            update={"data_dir": folder, "discord_api": place.api_url, "discord_gateway": place.gateway_url}
        )
        environment = {"DISCORD_TOKEN": "t", "AFINA_RECONCILE_EVERY": "3"}
        stack = Stack(settings, engine=False, logs=True, environment=environment)
        async with stack, Store.open(settings.database) as store:
            yield stack, store
        assert place.unhandled == []


async def submit(store: Store, folder: Path) -> Job:
    train, _ = task.rows(seed=3, train=80, held_out=20)
    path = folder / "avisos.jsonl"
    path.write_text(task.to_jsonl(train), encoding="utf-8")
    report = check_file(path)
    dataset = Dataset(
        id="d1",
        owner=CONSOLE,
        name="avisos",
        version=1,
        parent_id=None,
        path=Artifacts(str(folder)).put_dataset("d1", 1, path),
        sha256="0" * 64,
        bytes=path.stat().st_size,
        format=report.format,
        verdict=report.verdict,
        examples=report.examples,
        usable=report.usable or 0,
        report=report.to_dict(),
        consent_at=time.time(),
        created_at=time.time(),
    )
    await store.add_dataset(dataset)
    recipe = Recipe(rank=8, learning_rate=1e-3, epochs=6, batch_size=8, max_length=128, packing=False)
    return await store.submit_job(owner=CONSOLE, name="avisos", dataset=dataset, base_id="afina-mini", recipe=recipe)


async def until(store: Store, job_id: str, reached: Callable[[Job], bool]) -> Job:
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        job = await store.job(job_id)
        if reached(job):
            return job
        assert job.state is not JobState.FAILED, job.error
        await asyncio.sleep(0.1)
    pytest.fail(f"still {job.state} in phase {job.phase} at step {job.step}")


def process_of(stack: Stack, victim: str) -> int:
    if victim == "redis":
        assert stack.redis is not None
        pid = stack.redis.pid
    else:
        process = stack.child(victim).process
        pid = process.pid if process else None
    assert pid is not None
    return pid


@pytest.mark.parametrize("victim", ["bot", "worker", "redis"])
async def test_a_kill_in_the_middle_of_a_training_loses_nothing(victim: str, tmp_path: Path) -> None:
    async with running(tmp_path) as (stack, store):
        job = await submit(store, tmp_path)
        await until(store, job.id, lambda job: job.phase is Phase.TRAINING and job.step >= 5)
        os.kill(process_of(stack, victim), signal.SIGKILL)
        done = await until(store, job.id, lambda job: job.state is JobState.SUCCEEDED)

        models = await store.models(CONSOLE)
        assert [model.job_id for model in models] == [job.id]
        assert Artifacts(str(tmp_path)).adapter(models[0].adapter_name).is_dir()
        results = [event for event in await store.events(job.id) if event.type is EventType.RESULT]
        assert [event.attempt for event in results] == [done.attempt]
        assert done.attempt == (2 if victim == "worker" else 1)
