"""A person erases themselves while a worker trains for them: no byte of theirs is left, wherever one looks.

On real processes: the database, the embedded Redis with the file that it appends to, a worker in the middle of a job
(matrix row 39). The canary stands in the data, in names, instructions, questions and in what the worker reports.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import time
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from bot import comparisons, erasing
from bot.comparisons import Contest
from bot.deletions import DeletionLog, person
from bot.drafts import Draft
from bot.progress import ProgressFeed
from bot.records import ChatThread, Dataset, Job, Owner
from bot.scheduler import Scheduler
from bot.services import Services
from bot.settings import Settings
from bot.store import new_id
from jobs.contract import JobState, Preset, Recipe
from jobs.queue import Queue
from tests.bot.conftest import make_services
from tests.bot.scripted import ScriptedEngine
from tests.faults.stage import PATIENCE, Stage
from tests.jobs.fake import FUNCTION

CANARY = "zarzamora"
ANA, EVA = Owner(guild_id=11, user_id=5001), Owner(guild_id=11, user_id=5002)


@pytest.fixture
async def services(stage: Stage) -> AsyncIterator[Services]:
    """The bot's parts but Discord, at work."""
    settings = Settings(_env_file=None, data_dir=stage.folder, reconcile_every=0.3, lease_seconds=30)
    queue = Queue(stage.redis.url, function=FUNCTION)
    scheduler = Scheduler(stage.store, queue, settings, artifacts=stage.artifacts, tick_seconds=0.1)
    services = make_services(
        settings, stage.store, queue, ScriptedEngine(), scheduler=scheduler, feed=ProgressFeed(stage.store, queue)
    )
    tasks = [asyncio.create_task(one) for one in (scheduler.run(), services.feed.run())]
    yield services
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    queue.close()


async def belongings(services: Services, owner: Owner, word: str) -> Dataset:
    """A file, a conversation, a draft, a comparison, opinions: each with the word in it."""
    store = services.store
    dataset_id = new_id()
    path = services.settings.data_dir / "datasets" / dataset_id / "v1.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps({"prompt": f"{word} {n}", "completion": word}) + "\n" for n in range(500)))
    dataset = await store.add_dataset(
        Dataset(
            id=dataset_id,
            owner=owner,
            name=f"{word}.jsonl",
            version=1,
            parent_id=None,
            path=f"datasets/{dataset_id}/v1.jsonl",
            sha256="cd" * 32,
            bytes=path.stat().st_size,
            format="chat",
            verdict="valid",
            examples=500,
            usable=500,
            report={"problems": [word] * 200},
            consent_at=time.time(),
            created_at=time.time(),
        )
    )
    await store.open_chat(
        ChatThread(thread_id=owner.user_id * 10, owner=owner, model_id=None, base_id="x", instructions=f"Sé {word}")
    )
    await store.add_feedback(f"¿qué es {word}?", word, [], 1, owner)
    await store.add_vote(owner.user_id * 100, owner, "1", "answer", {"question": word})
    await store.set_workshop(owner, 99)
    await store.set_state(f"home:{owner.user_id}", str(owner.guild_id))
    contest = Contest(id=f"c{owner.user_id}", message=word, voices=("a", "b"), titles=("a", "b"))
    await comparisons.save(store, contest, owner)
    draft = Draft(
        id=f"d{owner.user_id}",
        guild_id=owner.guild_id,
        user_id=owner.user_id,
        name=word,
        dataset_id=dataset.id,
        base_id="x",
        preset=Preset.FAST,
        recipe=Recipe(),
        created_at=time.time(),
    )
    await store.set_state(f"draft:{draft.id}", draft.model_dump_json())
    return dataset


async def submitted(services: Services, dataset: Dataset, name: str, options: str) -> Job:
    job = await services.store.submit_job(
        owner=dataset.owner, name=name, dataset=dataset, base_id=options, recipe=Recipe()
    )
    services.scheduler.nudge()
    return job


async def until(condition: Any, what: str) -> None:
    async with asyncio.timeout(PATIENCE):
        while not await condition():
            await asyncio.sleep(0.05)


def sightings(folder: Path, words: list[str]) -> list[str]:
    """Files whose name or content has one of the words."""
    found = []
    for path in folder.rglob("*"):
        content = path.read_bytes() if path.is_file() and not path.is_socket() else b""
        if any(word in path.name or word.encode() in content for word in words):
            found.append(str(path.relative_to(folder)))
    return found


def in_redis(stage: Stage, words: list[str]) -> list[str]:
    """Keys with one of the words in their name or their value, also packed."""
    found = []
    with stage.client() as client:
        for key in client.scan_iter("*"):
            if key == b"afina:erased":
                continue  # ids of jobs, so that workers clear their disks
            if (kind := client.type(key)) == b"none":
                continue  # it ran out since it was listed
            values: Any = {
                b"string": lambda key: [client.get(key)],
                b"hash": lambda key: [*client.hgetall(key).items()],
                b"list": lambda key: client.lrange(key, 0, -1),
                b"zset": lambda key: client.zrange(key, 0, -1),
                b"set": lambda key: list(client.smembers(key)),
                b"stream": client.xrange,
            }[kind](key)
            text = repr((key, values))
            for value in values if kind == b"hash" else ():
                with contextlib.suppress(zlib.error):
                    text += zlib.decompress(value[1]).decode("utf-8", "replace")
            if any(word in text for word in words):
                found.append(key.decode())
    return found


@pytest.mark.timeout(180)
async def test_nothing_is_left_of_a_person_who_erases_themselves_while_a_job_of_theirs_runs(
    stage: Stage, services: Services
) -> None:
    stage.start_worker()
    store = services.store
    mine, others = await belongings(services, ANA, CANARY), await belongings(services, EVA, "manzana")
    done = await submitted(services, mine, f"{CANARY} uno", "steps=3&pause=0.01")
    kept = await submitted(services, others, "manzana", "steps=3&pause=0.01")

    async def both_over() -> bool:
        return all([(await store.job(job.id)).state is JobState.SUCCEEDED for job in (done, kept)])

    await until(both_over, "two models")
    running = await submitted(services, mine, f"{CANARY} dos", "steps=4000&pause=0.05")

    async def trains() -> bool:
        return (await store.job(running.id)).step > 3

    await until(trains, "a job in the middle")
    words = [CANARY, str(ANA.user_id), mine.id, done.id, running.id]
    assert len(sightings(stage.folder, words)) > 8
    assert len(in_redis(stage, words)) > 3

    counts = await erasing.erase(services, ANA)
    assert counts["jobs"] == 2
    assert counts["datasets"] == counts["models"] == counts["chats"] == counts["feedback"] == 1

    async def finished() -> bool:
        return await erasing.finish(services) == 0

    await until(finished, "nothing left to erase")
    (worker,) = stage.processes
    assert worker.poll() is None
    assert stage.horses(worker) == []

    async def rewritten() -> bool:
        with stage.client() as client:
            return not client.info("persistence")["aof_rewrite_in_progress"]

    await until(rewritten, "the file of Redis")
    assert in_redis(stage, words) == []
    # Ids of jobs alone, which say nothing about anybody, stay with Redis for a week and in the log of the worker.
    ids = {done.id, running.id}
    assert sightings(stage.folder, [word for word in words if word not in ids]) == []
    assert sightings(stage.folder / "jobs", words) == []
    assert await store.everything(ANA) == {name: [] for name in await store.everything(ANA)}

    # Everybody else has everything.
    assert [model.name for model in await store.models(EVA)] == ["manzana"]
    assert (await store.everything(EVA))["feedback"] != []
    assert services.artifacts.local(others.path).exists()
    assert await store.get_state(f"home:{EVA.user_id}") == str(EVA.guild_id)
    # And the worker goes on.
    again = await submitted(services, others, "manzana dos", "steps=2&pause=0.01")

    async def over() -> bool:
        return (await store.job(again.id)).state is JobState.SUCCEEDED

    await until(over, "another job")
    log = DeletionLog.of(services.settings)
    assert log.deleted_since([person(ANA), person(EVA)], 0) == {person(ANA)}


async def test_while_redis_is_away_the_rest_waits_and_is_done_later(stage: Stage, services: Services) -> None:
    stage.start_worker()
    mine = await belongings(services, ANA, CANARY)
    job = await submitted(services, mine, CANARY, "steps=2&pause=0.01")

    async def over() -> bool:
        return (await services.store.job(job.id)).state is JobState.SUCCEEDED

    await until(over, "a model")
    stage.redis.stop()
    await erasing.erase(services, ANA)
    assert await services.store.jobs(ANA) == []
    assert [one.kind for one in await services.store.erasures() if one.kind == "job"] == ["job"]
    stage.restart_redis()

    async def finished() -> bool:
        return await erasing.finish(services) == 0

    await until(finished, "nothing left to erase")
    assert in_redis(stage, [CANARY]) == []
    assert not os.path.lexists(stage.folder / "jobs" / job.id)
