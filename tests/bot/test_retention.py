"""How long things are kept, and what happens when somebody leaves: a clock that the test moves, a real server."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bot import retention
from bot.client import Afina
from bot.cogs.keeping import KeepingCog
from bot.errors import NotFound
from bot.records import ChatThread, Dataset, Owner
from bot.retention import DAY
from bot.services import Services
from bot.settings import Settings
from bot.store import Store
from jobs.contract import JobState, Recipe
from playground import Playground
from tests.bot.conftest import running
from tests.bot.test_models import model_of

__all__ = ["model_of"]  # fixtures


class Clock:
    """Unix seconds; `days` later than now."""

    days = 0.0

    def __call__(self) -> float:
        return time.time() + self.days * DAY


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(settings: Settings, clock: Clock) -> AsyncIterator[Store]:
    async with Store.open(settings.database, clock=clock, lease_seconds=3600) as opened:
        yield opened


ANA = Owner(guild_id=11, user_id=5001)


async def nobody(owner: Owner, datasets: Sequence[Dataset], days: int) -> None:
    """Nobody is told."""


async def test_data_that_nobody_used_go_after_a_year_and_their_owner_is_told_before(
    services: Services, store: Store, clock: Clock, dataset_of: Any
) -> None:
    unused, used = await dataset_of(ANA, "viejos.jsonl"), await dataset_of(ANA, "usados.jsonl")
    await store.submit_job(owner=ANA, name="uno", dataset=used, base_id="afina-mini", recipe=Recipe())
    told: list[tuple[list[str], int]] = []

    async def tell(owner: Owner, datasets: Sequence[Dataset], days: int) -> None:
        assert owner == ANA
        told.append(([dataset.name for dataset in datasets], days))

    for days in (10, 340, 352, 360, 364):
        clock.days = days
        await retention.sweep(services, tell)
        assert len(await store.datasets(ANA)) == 2
    assert told == [(["viejos.jsonl"], 14)]
    clock.days = 367
    await retention.sweep(services, tell)
    assert [dataset.name for dataset in await store.datasets(ANA)] == ["usados.jsonl"]
    assert not services.artifacts.exists(unused.path)
    assert services.artifacts.exists(used.path)
    assert len(told) == 1


async def test_who_was_told_late_has_the_whole_time_all_the_same(
    services: Services, store: Store, clock: Clock, dataset_of: Any
) -> None:
    """Afina was off for a year: nothing is deleted without a word."""
    await dataset_of(ANA)
    clock.days = 500
    await retention.sweep(services, nobody)
    clock.days = 513
    await retention.sweep(services, nobody)
    assert len(await store.datasets(ANA)) == 1
    clock.days = 515
    await retention.sweep(services, nobody)
    assert await store.datasets(ANA) == []


async def test_models_and_their_data_are_never_deleted_for_their_age(
    services: Services, store: Store, clock: Clock, model_of: Any
) -> None:
    await model_of(ANA)
    for days in (400, 800, 4000):
        clock.days = days
        await retention.sweep(services, nobody)
    assert [model.name for model in await store.models(ANA)] == ["poeta"]
    assert len(await store.datasets(ANA)) == 1
    assert services.artifacts.list_adapters() != []


async def test_conversations_opinions_and_notes_are_forgotten_in_time(
    services: Services, store: Store, clock: Clock, settings: Settings
) -> None:
    chats = [
        await store.open_chat(ChatThread(thread_id=n, owner=ANA, model_id=None, base_id="x", instructions=""))
        for n in (1, 2)
    ]
    await store.add_feedback("q", "a", [], 1, ANA)
    await store.add_vote(5, ANA, "1", "answer", {})
    await store.seen("chat", 5)
    clock.days = settings.keep_chats_days - 1
    await store.touch_chat(1)
    await retention.sweep(services, nobody)
    assert len(await store.chats(ANA)) == len(chats)
    assert not await store.seen("chat", 5)  # a month is enough for a message
    clock.days = settings.keep_chats_days + 1
    await retention.sweep(services, nobody)
    assert [chat.thread_id for chat in await store.chats(ANA)] == [1]
    assert len(await store.feedback(ANA.guild_id)) == 1
    clock.days = settings.keep_feedback_days + 1
    await retention.sweep(services, nobody)
    assert await store.feedback(ANA.guild_id) == await store.votes("answer", ANA.guild_id) == []


async def test_work_folders_of_jobs_that_are_over_are_cleared_and_others_are_not(
    services: Services, store: Store, clock: Clock, model_of: Any, settings: Settings
) -> None:
    done = await model_of(ANA)
    dataset = (await store.datasets(ANA))[0]
    paused = await store.submit_job(owner=ANA, name="dos", dataset=dataset, base_id="afina-mini", recipe=Recipe())
    await store.request_pause(paused.id)
    for job_id in (done.job_id, paused.id):
        (settings.data_dir / "jobs" / job_id / "1").mkdir(parents=True)
    clock.days = 15
    await retention.sweep(services, nobody)
    assert [path.name for path in (settings.data_dir / "jobs").iterdir()] == [paused.id]
    assert len(await store.models(ANA)) == 1


async def test_files_that_no_row_names_go_on_the_second_look(
    services: Services, store: Store, clock: Clock, model_of: Any, settings: Settings, tmp_path: Path
) -> None:
    await model_of(ANA)
    draft = tmp_path / "adaptador"
    draft.mkdir()
    (draft / "adapter_model.safetensors").write_bytes(bytes(10))
    (draft / "adapter_config.json").write_text("{}")
    services.artifacts.publish_adapter("abandonado-abcdefgh", draft)
    services.artifacts.put_dataset("cortado", 1, draft / "adapter_config.json")
    await retention.sweep(services, nobody)
    assert "abandonado-abcdefgh" in services.artifacts.list_adapters()  # it may be on its way into the store
    clock.days = 1.1
    await retention.sweep(services, nobody)
    assert [name.split("-")[0] for name in services.artifacts.list_adapters()] == ["poeta"]
    assert len(services.artifacts.list_datasets()) == 1


# Leaving


@pytest.fixture
async def home(place: Playground, services: Services) -> AsyncIterator[tuple[Afina, KeepingCog]]:
    async with running(services) as bot:
        cog = bot.get_cog("KeepingCog")
        assert isinstance(cog, KeepingCog)
        yield bot, cog


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.05)


async def test_who_leaves_is_noticed_and_erased_a_month_later(
    place: Playground, home: Any, services: Services, store: Store, clock: Clock, model_of: Any, owner_of: Any
) -> None:
    _, cog = home
    ana, eva = place.person("Ana"), place.person("Eva")
    await model_of(owner_of(ana))
    await model_of(owner_of(eva), "cronista")
    dataset = (await store.datasets(owner_of(ana)))[0]
    job = await store.submit_job(
        owner=owner_of(ana), name="dos", dataset=dataset, base_id="afina-mini", recipe=Recipe()
    )
    place.leave(ana)
    await cog.sweep()
    assert (await store.job(job.id)).state in (JobState.PAUSED, JobState.DISPATCHED)
    assert [user for _, user, _ in await store.departures()] == [ana.id]
    clock.days = 29
    await cog.sweep()
    assert len(await store.models(owner_of(ana))) == 1
    clock.days = 31
    await cog.sweep()
    assert await store.models(owner_of(ana)) == []
    assert await store.departures() == []
    assert [model.name for model in await store.models(owner_of(eva))] == ["cronista"]


async def test_who_comes_back_in_time_has_everything(
    place: Playground, home: Any, store: Store, clock: Clock, model_of: Any, owner_of: Any
) -> None:
    _, cog = home
    ana = place.person("Ana")
    owner = owner_of(ana)
    await model_of(owner)
    place.leave(ana)
    await cog.sweep()
    assert await store.departures() != []
    place.join(ana, next(iter(place.world.guilds.values())))
    clock.days = 31
    await cog.sweep()
    assert await store.departures() == []
    assert len(await store.models(owner)) == 1


async def test_when_discord_does_not_say_who_is_there_nobody_is_erased(
    place: Playground, home: Any, store: Store, clock: Clock, model_of: Any, owner_of: Any
) -> None:
    _, cog = home
    ana = place.person("Ana")
    await model_of(owner_of(ana))
    place.leave(ana)
    await cog.sweep()
    clock.days = 40
    place.faults.status(403, method="GET", path=r".*/members/\d+", times=20)
    await cog.sweep()
    assert len(await store.models(owner_of(ana))) == 1


async def test_a_server_that_throws_the_bot_out_is_erased_a_month_later(
    place: Playground, home: Any, services: Services, store: Store, clock: Clock, model_of: Any, owner_of: Any
) -> None:
    _, cog = home
    ana = place.person("Ana")
    owner = owner_of(ana)
    await model_of(owner)
    await services.moderation.change(owner.guild_id, level="strict")
    (services.settings.data_dir / "course" / str(owner.guild_id)).mkdir(parents=True)
    place.world.leave(place.world.guilds[owner.guild_id], place.world.bot.id)

    async def noticed() -> bool:
        return [user for _, user, _ in await store.departures()] == [0]

    await until(noticed)
    clock.days = 31
    await cog.sweep()
    with pytest.raises(NotFound):
        await store.model("poeta", owner)
    assert await store.owners() == []
    assert (await services.moderation.own_wishes(owner.guild_id)).level == "off"
    assert not (services.settings.data_dir / "course" / str(owner.guild_id)).exists()


async def test_the_owner_is_told_in_the_workshop(
    place: Playground, home: Any, store: Store, clock: Clock, dataset_of: Any, owner_of: Any
) -> None:
    _, cog = home
    ana = place.person("Ana")
    await dataset_of(owner_of(ana), "viejos_*@everyone*.jsonl")
    place_of_ana = await ana.direct()
    clock.days = 355
    await cog.sweep()
    message = await ana.wait_message("Dentro de 14 días borraré", channel=place_of_ana)
    assert "/misdatos descargar" in message.text
    assert message.data["mention_everyone"] is False
