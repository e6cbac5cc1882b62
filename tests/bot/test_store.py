"""The store: what it promises to the rest of the bot, on a real SQLite file."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from bot.errors import BadInput, LimitReached, NotFound, WrongState
from bot.limits import NAMES, Limits
from bot.records import ChatThread, Dataset, Job, Owner
from bot.store import Store, StoreUnavailable
from jobs.contract import Event, EventType, JobState, Phase, Recipe

ANA = Owner(guild_id=1, user_id=10)
LUIS = Owner(guild_id=1, user_id=11)
ANA_ELSEWHERE = Owner(guild_id=2, user_id=10)


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
async def store(tmp_path, clock):
    async with Store.open(tmp_path / "afina.sqlite3", clock=clock) as store:
        yield store


def dataset(owner: Owner = ANA, *, id: str = "datos1", name: str = "recetas", version: int = 1) -> Dataset:
    return Dataset(
        id=id,
        owner=owner,
        name=name,
        version=version,
        parent_id=None,
        path=f"datasets/{id}/v1.jsonl",
        sha256="ab" * 32,
        bytes=100,
        format="messages",
        verdict="warnings",
        examples=20,
        usable=19,
        report={"problems": [{"line": 3, "message": "línea vacía"}]},
        consent_at=5.0,
        created_at=0.0,
    )


def jobs_open(most: int) -> Limits:
    return Limits(**{name: most if name == "max_queued_jobs" else None for name in NAMES})


async def submit(store: Store, owner: Owner = ANA, name: str = "Mi modelo", **more) -> Job:
    return await store.submit_job(
        owner=owner, name=name, dataset=dataset(owner), base_id="afina-mini", recipe=Recipe(), **more
    )


def event(job: Job, seq: int, type: EventType, *, attempt: int | None = None, **data) -> Event:
    return Event(
        job_id=job.id, attempt=attempt or job.attempt, seq=seq, created_at=1.0, type=type, message="hola", data=data
    )


def result(job: Job, seq: int = 9) -> Event:
    name = job.request.adapter_name
    return event(
        job,
        seq,
        EventType.RESULT,
        adapter_name=name,
        adapter_path=f"adapters/{name}",
        adapter_sha256="cd" * 32,
        adapter_bytes=7,
        trained_tokens=1000,
        seconds=2.5,
    )


async def running(store: Store, **more) -> Job:
    job = await submit(store, **more)
    assert await store.mark_dispatched(job.id, 1)
    started = await store.apply_event(event(job, 1, EventType.PHASE, phase="starting"))
    assert started is not None
    return started


class TestDatasets:
    async def test_come_back_as_they_went_in(self, store):
        added = await store.add_dataset(dataset())
        assert await store.dataset("datos1", ANA) == added
        assert added.report == {"problems": [{"line": 3, "message": "línea vacía"}]}

    async def test_a_taken_name_makes_the_next_version(self, store):
        await store.add_dataset(dataset(id="uno"))
        second = await store.add_dataset(dataset(id="dos"))
        assert second.version == 2
        assert (await store.dataset_by_name(ANA, "recetas")).id == "dos"
        assert [found.id for found in await store.datasets(ANA)] == ["dos", "uno"]

    @pytest.mark.parametrize("stranger", [LUIS, ANA_ELSEWHERE])
    async def test_are_not_found_by_others(self, store, stranger):
        await store.add_dataset(dataset())
        with pytest.raises(NotFound):
            await store.dataset("datos1", stranger)
        with pytest.raises(NotFound):
            await store.dataset_by_name(stranger, "recetas")
        with pytest.raises(NotFound):
            await store.delete_dataset("datos1", stranger)
        assert await store.datasets(stranger) == []

    async def test_cannot_be_deleted_while_a_job_needs_them(self, store):
        await store.add_dataset(dataset())
        job = await submit(store)
        with pytest.raises(WrongState, match="Mi modelo"):
            await store.delete_dataset("datos1", ANA)
        await store.request_cancel(job.id, ANA)
        assert (await store.delete_dataset("datos1", ANA)).id == "datos1"

    async def test_kept_apart_to_measure_with_cannot_be_deleted_either(self, store):
        kept = await store.add_dataset(dataset(id="aparte", name="aparte"))
        job = await submit(store, validation_path=kept.path)
        with pytest.raises(WrongState, match="Mi modelo"):
            await store.delete_dataset("aparte", ANA)
        await store.request_cancel(job.id, ANA)
        await store.delete_dataset("aparte", ANA)
        assert await store.datasets(ANA) == []


class TestSubmitting:
    async def test_writes_job_and_outbox_entry_together(self, store):
        job = await submit(store)
        assert (job.state, job.attempt, job.request.job_id, job.request.resume) == (JobState.QUEUED, 1, job.id, False)
        assert await store.outbox() == [job]
        assert await store.open_jobs() == [job] == await store.jobs(ANA)

    @pytest.mark.parametrize(
        ("name", "slug"),
        [("Mi modelo ñandú", "mi-modelo-nandu"), ("../../etc", "etc"), ("🦙", "modelo"), ("-" * 90, "modelo")],
    )
    async def test_gives_the_adapter_a_legal_name(self, store, name, slug):
        job = await submit(store, name=name)
        assert job.request.adapter_name == f"{slug}-{job.id}"

    async def test_stops_at_the_limit_of_the_person(self, store):
        await submit(store, limits=jobs_open(1))
        with pytest.raises(LimitReached):
            await submit(store, limits=jobs_open(1))
        await submit(store, LUIS, limits=jobs_open(1))

    async def test_two_at_once_cannot_both_slip_under_the_limit(self, store):
        several = (submit(store, limits=jobs_open(3)) for _ in range(10))
        outcomes = await asyncio.gather(*several, return_exceptions=True)
        assert sum(isinstance(outcome, Job) for outcome in outcomes) == 3

    async def test_a_job_is_private(self, store):
        job = await submit(store)
        for stranger in (LUIS, ANA_ELSEWHERE):
            for action in (store.job, store.request_cancel, store.request_pause, store.resume_job, store.repeat_job):
                with pytest.raises(NotFound):
                    await action(job.id, stranger)

    async def test_repeating_makes_another_job_with_another_adapter(self, store):
        job = await submit(store)
        again = await store.repeat_job(job.id, ANA, Recipe(epochs=7))
        assert again.id != job.id
        assert again.request.recipe.epochs == 7
        assert again.request.adapter_name != job.request.adapter_name
        assert again.request.dataset_path == job.request.dataset_path

    async def test_turns_are_fair(self, store, clock):
        first = [await submit(store, name=f"a{number}") for number in range(3)]
        clock.now += 1
        other = await submit(store, LUIS, name="b")
        assert [job.name for job in await store.outbox()] == ["a0", "b", "a1", "a2"]
        assert [await store.queue_position(job.id) for job in (first[0], other, first[1])] == [1, 2, 3]
        await store.request_cancel(first[0].id, ANA)
        assert await store.queue_position(first[0].id) == 0

    async def test_a_running_job_counts_as_a_turn(self, store, clock):
        await running(store, name="a0")
        await submit(store, name="a1")
        clock.now += 1
        await submit(store, LUIS, name="b")
        assert [job.name for job in await store.outbox()] == ["b", "a1"]


class TestEvents:
    async def test_the_first_one_starts_the_job_and_its_lease(self, store, clock):
        job = await running(store)
        assert (job.state, job.phase, job.started_at) == (JobState.RUNNING, Phase.STARTING, clock.now)
        assert job.lease_until == clock.now + 20

    async def test_metrics_move_the_step(self, store):
        job = await running(store)
        moved = await store.apply_event(event(job, 2, EventType.METRICS, step=5, total_steps=50, loss=1.5))
        assert (moved.step, moved.total_steps) == (5, 50)

    async def test_doubles_change_nothing(self, store):
        job = await running(store)
        again = event(job, 1, EventType.PHASE, phase="loading")
        assert await store.apply_event(again) is None
        assert (await store.job(job.id)).phase is Phase.STARTING
        assert len(await store.events(job.id)) == 1

    async def test_heartbeats_renew_the_lease_and_leave_no_row(self, store, clock):
        job = await running(store)
        clock.now += 15
        assert await store.apply_event(event(job, 2, EventType.HEARTBEAT)) is None
        assert (await store.job(job.id)).lease_until == clock.now + 20
        assert len(await store.events(job.id)) == 1

    async def test_a_result_makes_the_model(self, store):
        job = await running(store)
        done = await store.apply_event(result(job))
        assert (done.state, done.lease_until, done.phase) == (JobState.SUCCEEDED, None, None)
        (model,) = await store.models(ANA)
        assert (model.name, model.job_id, model.adapter_name) == ("Mi modelo", job.id, job.request.adapter_name)
        assert model.dataset_sha256 == "ab" * 32

    async def test_a_result_counts_once(self, store):
        job = await running(store)
        assert await store.apply_event(result(job, 2))
        assert await store.apply_event(result(job, 2)) is None
        assert await store.apply_event(result(job, 3)) is None
        assert len(await store.models(ANA)) == 1

    async def test_an_old_attempt_is_not_listened_to(self, store):
        job = await running(store)
        await store.give_up_attempt(job.id, 1, seen_lease=job.lease_until)
        assert await store.apply_event(result(job)) is None
        assert await store.models(ANA) == []
        assert (await store.job(job.id)).state is JobState.QUEUED

    async def test_a_result_with_the_adapter_of_another_job_is_refused(self, store):
        job, other = await running(store), await running(store, name="otro")
        forged = result(other).model_copy(update={"job_id": job.id})
        assert await store.apply_event(forged) is None
        assert (await store.job(job.id)).state is JobState.RUNNING

    async def test_an_event_before_the_mark_counts_as_dispatched(self, store):
        job = await submit(store)
        assert (await store.apply_event(event(job, 1, EventType.HEARTBEAT))).state is JobState.RUNNING
        assert await store.outbox() == []

    async def test_unreadable_data_stops_nothing(self, store):
        job = await running(store)
        assert await store.apply_event(event(job, 2, EventType.PHASE, phase="dancing")) is None
        assert await store.apply_event(event(job, 3, EventType.METRICS, step="x")) is None
        assert (await store.apply_event(event(job, 4, EventType.PHASE, phase="training"))).phase is Phase.TRAINING

    async def test_unknown_jobs_are_ignored(self, store):
        job = await submit(store)
        stranger = event(job, 1, EventType.HEARTBEAT).model_copy(update={"job_id": "nadie123"})
        assert await store.apply_event(stranger) is None

    async def test_a_failure_keeps_its_reason(self, store):
        job = await running(store)
        failed = await store.apply_event(
            event(job, 2, EventType.FAILED, code="diverged", message="Se desbocó.", hint="Baja la tasa.")
        )
        assert failed.state is JobState.FAILED
        assert failed.error == {"code": "diverged", "message": "Se desbocó.", "hint": "Baja la tasa."}

    async def test_a_worker_that_always_dies_is_given_up_after_three_attempts(self, store):
        job = await running(store)
        states = []
        for attempt in (1, 2, 3):
            job = await store.apply_event(event(job, 2, EventType.FAILED, attempt=attempt, code="worker_died"))
            states.append((job.state, job.attempt))
        assert states == [(JobState.QUEUED, 2), (JobState.QUEUED, 3), (JobState.FAILED, 3)]
        assert job.error["code"] == "worker_died"

    async def test_an_interrupted_attempt_goes_on_and_is_nobodys_fault(self, store):
        job = await running(store)
        again = await store.apply_event(event(job, 2, EventType.STOPPED, kind="interrupted", step=3))
        assert (again.state, again.attempt, again.failures) == (JobState.QUEUED, 2, 0)
        assert again.request.resume
        assert again.request.attempt == 2
        assert again.request.adapter_name == f"{job.request.adapter_name}-2"
        assert await store.outbox() == [again]


class TestStopping:
    async def test_a_waiting_job_is_cancelled_at_once(self, store):
        job = await store.request_cancel((await submit(store)).id, ANA)
        assert job.state is JobState.CANCELLED
        assert await store.outbox() == []

    async def test_a_running_job_is_cancelled_when_the_worker_says_so(self, store):
        job = await running(store)
        assert (await store.request_cancel(job.id, ANA)).cancel_requested
        assert (await store.request_cancel(job.id, ANA)).state is JobState.RUNNING
        over = await store.apply_event(event(job, 2, EventType.STOPPED, kind="cancelled", step=1))
        assert over.state is JobState.CANCELLED

    async def test_what_is_over_cannot_be_cancelled(self, store):
        job = await running(store)
        await store.apply_event(result(job))
        for action in (store.request_cancel, store.request_pause, store.resume_job):
            with pytest.raises(WrongState):
                await action(job.id, ANA)

    async def test_a_job_that_finished_before_the_stop_is_kept(self, store):
        job = await running(store)
        await store.request_cancel(job.id, ANA)
        assert (await store.apply_event(result(job))).state is JobState.SUCCEEDED

    @pytest.mark.parametrize("word", ["interrupted", "paused"])
    async def test_cancelling_wins_over_what_the_worker_saw(self, store, word):
        job = await running(store)
        await store.request_cancel(job.id, ANA)
        over = await store.apply_event(event(job, 2, EventType.STOPPED, kind=word, step=1))
        assert over.state is JobState.CANCELLED

    async def test_a_cancelled_attempt_that_died_is_not_tried_again(self, store):
        job = await running(store)
        job = await store.request_cancel(job.id, ANA)
        over = await store.give_up_attempt(job.id, 1, seen_lease=job.lease_until)
        assert over.state is JobState.CANCELLED

    async def test_pause_and_resume_make_a_new_attempt(self, store):
        job = await running(store)
        await store.request_pause(job.id, ANA)
        with pytest.raises(WrongState, match="deteniendo"):
            await store.resume_job(job.id, ANA)
        paused = await store.apply_event(event(job, 2, EventType.STOPPED, kind="paused", step=4))
        assert (paused.state, paused.pause_requested) == (JobState.PAUSED, False)
        assert (await store.request_pause(job.id, ANA)).state is JobState.PAUSED
        again = await store.resume_job(job.id, ANA)
        assert (again.state, again.attempt, again.request.resume) == (JobState.QUEUED, 2, True)

    async def test_a_waiting_job_can_be_paused_resumed_and_cancelled(self, store):
        job = await submit(store)
        assert (await store.request_pause(job.id, ANA)).state is JobState.PAUSED
        assert await store.outbox() == []
        again = await store.resume_job(job.id, ANA)
        assert await store.outbox() == [again]
        await store.request_pause(job.id, ANA)
        assert (await store.request_cancel(job.id, ANA)).state is JobState.CANCELLED

    async def test_a_job_cancelled_while_it_was_sent_must_be_taken_back(self, store):
        job = await submit(store)
        await store.request_cancel(job.id, ANA)
        assert not await store.mark_dispatched(job.id, 1)


class TestLeases:
    async def test_an_attempt_is_given_up_only_if_nothing_came_in_meanwhile(self, store, clock):
        job = await running(store)
        clock.now += 30
        await store.apply_event(event(job, 2, EventType.HEARTBEAT))
        assert await store.give_up_attempt(job.id, 1, seen_lease=job.lease_until) is None

    async def test_silence_while_nobody_could_listen_does_not_count(self, store, clock):
        job = await running(store)
        clock.now += 500
        await store.extend_leases()
        assert (await store.job(job.id)).lease_until == clock.now + 20

    async def test_a_worker_that_took_a_job_gets_time_for_its_first_word(self, store, clock):
        job = await submit(store)
        await store.mark_dispatched(job.id, 1)
        await store.start_lease(job.id, 1, seconds=30)
        await store.start_lease(job.id, 1, seconds=99)
        assert (await store.job(job.id)).lease_until == clock.now + 30


class TestModels:
    @pytest.fixture
    async def model(self, store):
        job = await running(store)
        await store.apply_event(result(job))
        return (await store.models(ANA))[0]

    async def test_are_found_by_id_name_and_adapter(self, store, model):
        for key in (model.id, "mi MODELO", model.adapter_name):
            assert await store.model(key, ANA) == model

    async def test_are_private_until_shared_and_never_leave_the_server(self, store, model):
        with pytest.raises(NotFound):
            await store.model(model.id, LUIS)
        await store.share_model(model.id, ANA, True)
        assert (await store.model("Mi modelo", LUIS)).shared
        assert len(await store.models(LUIS)) == 1
        with pytest.raises(NotFound):
            await store.model(model.id, ANA_ELSEWHERE)
        with pytest.raises(NotFound):
            await store.delete_model(model.id, LUIS)

    async def test_a_second_one_of_the_same_name_gets_a_number(self, store, model):
        job = await running(store, name="mi modelo")
        await store.apply_event(result(job))
        assert sorted(found.name for found in await store.models(ANA)) == ["Mi modelo", "mi modelo 2"]

    async def test_know_the_model_they_continue(self, store, model):
        job = await running(store, name="hijo", parent_adapter=model.adapter_name)
        await store.apply_event(result(job))
        assert (await store.model("hijo", ANA)).parent_id == model.id

    async def test_stay_while_an_open_job_is_to_continue_them(self, store, model):
        job = await running(store, name="hijo", parent_adapter=model.adapter_name)
        with pytest.raises(WrongState, match="hijo"):
            await store.delete_model(model.id, ANA)
        await store.apply_event(result(job))
        assert await store.delete_model(model.id, ANA) == model

    async def test_can_be_renamed_but_not_to_a_taken_name(self, store, model):
        job = await running(store, name="otro")
        await store.apply_event(result(job))
        with pytest.raises(BadInput, match="otro"):
            await store.rename_model(model.id, ANA, "otro")
        assert (await store.rename_model(model.id, ANA, " nuevo ")).name == "nuevo"

    async def test_deleting_returns_what_is_to_be_removed(self, store, model):
        assert await store.delete_model(model.id, ANA) == model
        assert await store.models(ANA) == []


class TestNotes:
    async def test_chats_keep_their_settings(self, store, clock):
        chat = ChatThread(
            thread_id=99, owner=ANA, model_id="m", base_id="b", instructions="", parameters={"top_p": 0.9}
        )
        await store.open_chat(chat)
        changed = await store.update_chat(99, instructions="Sé breve.", since_message_id=7)
        assert await store.chat(99) == changed
        assert (changed.instructions, changed.parameters, changed.created_at) == (
            "Sé breve.",
            {"top_p": 0.9},
            clock.now,
        )
        await store.close_chat(99)
        assert (await store.chat(99)).closed
        assert await store.chats(ANA) == []
        assert await store.chat(1) is None
        with pytest.raises(NotFound):
            await store.update_chat(1, closed=True)
        with pytest.raises(TypeError):
            await store.update_chat(99, owner=LUIS)

    async def test_each_thing_is_new_once(self, store):
        outcomes = await asyncio.gather(*(store.seen("message", 2**62) for _ in range(20)))
        assert sorted(outcomes) == [False] + [True] * 19
        assert not await store.seen("interaction", 2**62)

    async def test_a_person_votes_once_and_may_change_their_mind(self, store):
        await store.add_vote(5, ANA, "base", "compare", {"model": "x"})
        await store.add_vote(5, ANA, "tuned", "compare", {"model": "x"})
        await store.add_vote(5, LUIS, "tie", "compare", {})
        assert {(vote["user_id"], vote["value"]) for vote in await store.votes("compare", 1)} == {
            (10, "tuned"),
            (11, "tie"),
        }
        assert await store.votes("compare", 2) == []

    async def test_feedback_workshop_and_named_values(self, store):
        await store.add_feedback("¿qué?", "eso", ["a.md"], 1, ANA)
        assert (await store.feedback(1))[0]["sources"] == ["a.md"]
        assert await store.workshop(ANA) is None
        await store.set_workshop(ANA, 5)
        await store.set_workshop(ANA, 6)
        assert (await store.workshop(ANA), await store.workshop(ANA_ELSEWHERE)) == (6, None)
        assert await store.get_state("cursor") is None
        await store.set_state("cursor", "1-0")
        await store.set_state("cursor", "2-0")
        assert await store.get_state("cursor") == "2-0"


class TestTransactions:
    async def test_a_cancelled_task_leaves_all_or_nothing(self, store):
        tasks = [asyncio.create_task(submit(store, name=f"n{number}")) for number in range(60)]
        for number, task in enumerate(tasks):
            for _ in range(number % 7):
                await asyncio.sleep(0)
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        jobs = await store.open_jobs()
        assert {job.id for job in await store.outbox()} == {job.id for job in jobs}
        await submit(store)
        assert len(await store.open_jobs()) == len(jobs) + 1

    async def test_a_mistake_in_one_task_does_not_undo_another(self, store):
        async def broken():
            async with store.transaction() as tx:
                await tx.execute("INSERT INTO state (key, value) VALUES ('x', 'y')")
                await asyncio.sleep(0.01)
                raise RuntimeError

        outcomes = await asyncio.gather(broken(), submit(store), broken(), submit(store), return_exceptions=True)
        assert sum(isinstance(outcome, RuntimeError) for outcome in outcomes) == 2
        assert len(await store.open_jobs()) == 2
        assert await store.get_state("x") is None

    async def test_a_locked_file_is_waited_for_and_then_explained(self, tmp_path):
        async with Store.open(tmp_path / "db", busy_timeout=0.2) as store:
            other = sqlite3.connect(tmp_path / "db", isolation_level=None)
            try:
                other.execute("BEGIN IMMEDIATE")
                with pytest.raises(StoreUnavailable):
                    await submit(store)
                waiting = asyncio.create_task(submit(store))
                await asyncio.sleep(0.05)
                other.execute("ROLLBACK")
                assert (await waiting).state is JobState.QUEUED
            finally:
                other.close()

    async def test_a_full_disk_is_explained_and_nothing_half_written(self, store):
        ((pages,),) = await store._writer.execute_fetchall("PRAGMA page_count")
        await store._writer.execute(f"PRAGMA max_page_count = {pages}")

        async def fill() -> None:
            for number in range(1000):
                await submit(store, name=f"n{number}")

        with pytest.raises(StoreUnavailable, match="disco"):
            await fill()
        jobs = await store.open_jobs()
        assert len(await store.outbox()) == len(jobs)


class TestTheFile:
    async def test_a_backup_is_complete_and_opens(self, store, tmp_path):
        job = await submit(store)
        copy = await store.backup(tmp_path / "copias" / "a.sqlite3")
        async with Store.open(copy) as restored:
            assert await restored.job(job.id) == job

    async def test_settings_that_safety_needs(self, store):
        values = {}
        for name in ("journal_mode", "synchronous", "foreign_keys", "user_version"):
            ((values[name],),) = await store._writer.execute_fetchall(f"PRAGMA {name}")
        assert values["journal_mode"] == "wal"
        assert values["synchronous"] == 2
        assert values["foreign_keys"] == 1
        assert values["user_version"] >= 1

    async def test_a_newer_database_is_refused_with_a_sentence(self, tmp_path):
        newer = sqlite3.connect(tmp_path / "db")
        newer.execute("PRAGMA user_version = 999")
        newer.close()
        with pytest.raises(StoreUnavailable, match="más nueva"):
            async with Store.open(tmp_path / "db"):
                pass

    async def test_several_processes_may_open_a_new_one_at_once(self, tmp_path):
        async def once() -> int:
            async with Store.open(tmp_path / "db") as store:
                await submit(store)
                return len(await store.open_jobs())

        assert max(await asyncio.gather(*(once() for _ in range(8)))) == 8

    async def test_a_migration_that_breaks_leaves_the_old_schema(self, tmp_path):
        from bot.store.database import MIGRATIONS, _connect, _migrate

        folder: Path = tmp_path / "migrations"
        folder.mkdir()
        (folder / "001_initial.sql").write_text((MIGRATIONS / "001_initial.sql").read_text())
        async with _connect(tmp_path / "db", 1.0) as connection:
            await _migrate(connection, folder)
            (folder / "002_bad.sql").write_text("CREATE TABLE extra (x);\nINSERT INTO nowhere VALUES (1);\n")
            with pytest.raises(sqlite3.OperationalError):
                await _migrate(connection, folder)
            ((version,),) = await connection.execute_fetchall("PRAGMA user_version")
            tables = await connection.execute_fetchall("SELECT name FROM sqlite_master WHERE name = 'extra'")
            assert (version, list(tables)) == (1, [])
