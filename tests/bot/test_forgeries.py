"""Whoever can write to Redis can say anything: what the bot believes of it.

Events of other jobs and attempts, results that name somebody else's files, a stream full of rubbish. A worker's answer
to forged jobs is in tests/faults/test_redis.py.
"""

from __future__ import annotations

import time
from typing import Any

import pytest

from bot.errors import NotFound
from bot.progress import CURSOR, ProgressFeed
from bot.records import Job, Owner
from bot.services import Services
from jobs.attempt import STREAM, connect
from jobs.contract import Event, EventType, JobState, Recipe, TrainResult
from jobs.queue import Queue
from jobs.redis_server import RedisServer
from tests.bot.test_models import model_of

__all__ = ["model_of"]  # fixtures

ANA, EVA = Owner(guild_id=11, user_id=1), Owner(guild_id=11, user_id=2)


@pytest.fixture
async def job(services: Services, dataset_of: Any) -> Job:
    """Eva's, in the hands of a worker."""
    dataset = await dataset_of(EVA)
    made = await services.store.submit_job(
        owner=EVA, name="suyo", dataset=dataset, base_id="afina-mini", recipe=Recipe()
    )
    await services.store.mark_dispatched(made.id, 1)
    return made


def said(job: Job, type: EventType, *, attempt: int = 1, seq: int = 1, **data: Any) -> Event:
    return Event(job_id=job.id, attempt=attempt, seq=seq, created_at=time.time(), type=type, data=data)


def result(job: Job, **changes: Any) -> dict[str, Any]:
    name = job.request.adapter_name
    whole = TrainResult(
        adapter_name=name,
        adapter_path=f"adapters/{name}",
        adapter_sha256="ab" * 32,
        adapter_bytes=1,
        trained_tokens=1,
        seconds=1.0,
    )
    return whole.model_copy(update=changes).model_dump(mode="json")


@pytest.mark.parametrize(
    "path",
    ["adapters/{other}", "datasets/{data}", "../../etc", "/etc/passwd", "adapters/../datasets", "adapters", "", "."],
)
async def test_a_result_with_files_of_others_makes_no_model(
    services: Services, model_of: Any, job: Job, path: str
) -> None:
    """Else deleting that model would delete, and taking it out would read, what is not Eva's."""
    anas = await model_of(ANA)
    wanted = path.format(other=anas.adapter_name, data=anas.dataset_id)
    await services.store.apply_event(said(job, EventType.RESULT, **result(job, adapter_path=wanted)))
    assert [model for model in await services.store.models(EVA) if model.owner == EVA] == []
    assert (await services.store.job(job.id)).state is JobState.RUNNING
    # The true result still counts.
    await services.store.apply_event(said(job, EventType.RESULT, seq=2, **result(job)))
    assert [model.name for model in await services.store.models(EVA)] == ["suyo"]
    assert services.artifacts.adapter(anas.adapter_name).is_dir()


async def test_a_result_under_another_name_or_for_another_attempt_makes_no_model(
    services: Services, model_of: Any, job: Job
) -> None:
    anas = await model_of(ANA)
    forged = [
        said(job, EventType.RESULT, **result(job, adapter_name=anas.adapter_name)),
        said(job, EventType.RESULT, attempt=2, seq=1, **result(job)),
        said(job, EventType.RESULT, attempt=99, seq=1, **result(job)),
    ]
    for event in forged:
        await services.store.apply_event(event)
    assert [model for model in await services.store.models(EVA) if model.owner == EVA] == []


async def test_a_job_that_is_over_listens_to_nobody(services: Services, model_of: Any) -> None:
    model = await model_of(ANA)
    over = await services.store.job(model.job_id)
    for kind in (EventType.FAILED, EventType.STOPPED, EventType.RESULT, EventType.MESSAGE):
        assert await services.store.apply_event(said(over, kind, seq=900, kind="cancelled")) is None
    assert (await services.store.job(over.id)).state is JobState.SUCCEEDED
    assert (await services.store.model("poeta", ANA)).adapter_sha256 == model.adapter_sha256


async def test_events_of_jobs_that_nobody_asked_for_leave_no_row(services: Services, job: Job) -> None:
    stranger = said(job, EventType.MESSAGE).model_copy(update={"job_id": "nadie123"})
    assert await services.store.apply_event(stranger) is None
    with pytest.raises(NotFound):
        await services.store.job("nadie123")


async def test_a_stream_full_of_rubbish_holds_nothing_up(services: Services, job: Job, tmp_path: Any) -> None:
    """More of it than is read at once; and what was skipped is not read again and again."""
    with RedisServer(tmp_path / "redis") as server:
        queue = Queue(server.url)
        feed = ProgressFeed(services.store, queue)
        with connect(server.url) as client:
            for number in range(1200):
                client.xadd(STREAM, {"event": "{" if number % 2 else b"\xff", "x": "y"})
            client.xadd(STREAM, {"event": said(job, EventType.PHASE, phase="training").model_dump_json()})
            last = client.xadd(STREAM, {"rubbish": "at the end"}).decode()
        while await services.store.get_state(CURSOR) != last:
            assert await feed.step(block_ms=10) > 0
        assert await feed.step(block_ms=10) == 0
        queue.close()
    assert (await services.store.job(job.id)).state is JobState.RUNNING
