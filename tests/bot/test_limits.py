"""What people may use: roles, limits by role, device time that is spent fairly."""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.errors import BadInput, LimitReached
from bot.limits import WEEK, Limits, Ran, Usage, check_datasets, check_job, defaults
from bot.members import limits_for
from bot.policy import (
    Policy,
    Purpose,
    default_base,
    with_base,
    with_channel,
    with_default_base,
    with_default_limits,
    with_limits,
    with_role,
    without_roles,
)
from bot.records import Job, Owner
from bot.roles import Role, role_of
from bot.settings import Settings
from bot.store import Store
from jobs.contract import Event, EventType, Recipe
from tests.bot.test_store import ANA, ANA_ELSEWHERE, LUIS, Clock, dataset

NONE = Limits(**dict.fromkeys(Limits.__slots__))
PROFES, JEFAS, GONE = 501, 502, 503


def limits(**some: int) -> Limits:
    return Limits(**{**dict.fromkeys(Limits.__slots__), **some})


def usage(**some: Any) -> Usage:
    nothing = {"ran": (), "reserved": 0.0, "open_jobs": 0, "running_jobs": 0, "datasets": 0, "models": 0}
    return Usage(**{"now": 10 * WEEK, "disk_bytes": 0, **nothing, **some})


# Who is who


@pytest.mark.parametrize(
    ("held", "manages", "expected"),
    [
        ([], False, Role.MEMBER),
        ([7], False, Role.MEMBER),
        ([PROFES], False, Role.TUTOR),
        ([7, JEFAS], False, Role.ADMIN),
        ([PROFES, JEFAS], False, Role.ADMIN),
        ([], True, Role.ADMIN),
    ],
)
def test_the_highest_mapped_role_counts(held: list[int], manages: bool, expected: Role) -> None:
    mapping = {Role.TUTOR: (PROFES, GONE), Role.ADMIN: (JEFAS,)}
    assert role_of(mapping, held, manages=manages) is expected


def test_several_discord_roles_can_mean_the_same_and_a_deleted_one_means_nobody() -> None:
    policy = with_role(with_role(Policy(), Role.TUTOR, PROFES, has=True), Role.TUTOR, GONE, has=True)
    assert policy.roles[Role.TUTOR] == (PROFES, GONE)
    assert without_roles(policy, [GONE]).roles[Role.TUTOR] == (PROFES,)
    assert with_role(policy, Role.TUTOR, PROFES, has=False).roles[Role.TUTOR] == (GONE,)
    with pytest.raises(BadInput):
        with_role(policy, Role.MEMBER, PROFES, has=True)


# Limits by role


def test_staff_may_use_more_and_a_setting_of_zero_is_no_limit() -> None:
    settings = Settings(_env_file=None, gpu_minutes_per_week=100, max_models=0, staff_times=4)
    assert defaults(settings, Role.MEMBER).gpu_minutes_per_week == 100
    assert defaults(settings, Role.TUTOR).gpu_minutes_per_week == 400
    assert defaults(settings, Role.ADMIN).max_models is None


def test_a_server_changes_one_limit_of_one_role_and_can_go_back() -> None:
    settings = Settings(_env_file=None)
    policy = with_limits(Policy(), Role.MEMBER, {"max_models": 3, "chats_per_minute": 0})
    assert policy.limits_of(Role.MEMBER, settings).max_models == 3
    assert policy.limits_of(Role.MEMBER, settings).chats_per_minute is None
    assert policy.limits_of(Role.TUTOR, settings) == defaults(settings, Role.TUTOR)
    assert with_default_limits(policy, Role.MEMBER) == Policy()
    with pytest.raises(BadInput, match="modelos"):
        with_limits(policy, Role.MEMBER, {"max_models": -1})
    assert with_limits(Policy(), Role.MEMBER, {}) == Policy()  # else staff would read that something was changed


# Bases and channels of a server


def test_a_server_offers_some_of_the_bases_and_never_none() -> None:
    there = ["mini", "qwen", "llama"]
    policy = with_base(Policy(), "llama", offered=False, available=there)
    assert [base for base in there if policy.offers(base)] == ["mini", "qwen"]
    with pytest.raises(BadInput):
        with_default_base(policy, "llama")
    policy = with_default_base(policy, "qwen")
    settings = Settings(_env_file=None, default_base="mini")
    assert default_base(policy, settings, there) == "qwen"
    assert default_base(policy, settings, ["mini"]) == "mini"  # deleted from the machine meanwhile
    policy = with_base(policy, "qwen", offered=False, available=there)
    assert default_base(policy, settings, there) == "mini"
    with pytest.raises(BadInput, match="al menos una"):
        with_base(policy, "mini", offered=False, available=there)
    assert (
        with_base(
            with_base(policy, "qwen", offered=True, available=there), "llama", offered=True, available=there
        ).bases
        is None
    )


def test_a_list_of_channels_holds_for_their_threads_and_for_one_purpose() -> None:
    policy = with_channel(Policy(), Purpose.QUESTIONS, 5, allowed=True)
    assert policy.allows(Purpose.QUESTIONS, [99, 5])  # a thread of it
    assert not policy.allows(Purpose.QUESTIONS, [6, None])
    assert policy.allows(Purpose.WORK, [6, None])
    assert with_channel(policy, Purpose.QUESTIONS, 5, allowed=False).allows(Purpose.QUESTIONS, [6])


# Whether something still fits


@pytest.mark.parametrize(
    ("limit", "used", "words"),
    [
        ({"max_queued_jobs": 5}, {"open_jobs": 5}, "5 entrenamientos sin terminar"),
        ({"max_models": 4}, {"models": 3, "open_jobs": 1}, "Ya tienes 4 modelos"),
        ({"max_disk_bytes": 2**20}, {"disk_bytes": 2**20}, "1 de 1 MB"),
        ({"gpu_minutes_per_week": 120}, {"ran": (Ran(seconds=78 * 60, until=9.9 * WEEK),)},
         "Te quedan 42 de 120 minutos de entrenamiento; este pide unos 60"),
        ({"gpu_minutes_per_week": 120}, {"reserved": 61 * 60.0}, "Te quedan 59 de 120"),
        ({"gpu_minutes_per_week": 50}, {}, "pide unos 60 minutos y tu límite es de 50 a la semana"),
    ],
)  # fmt: skip
def test_a_refusal_says_what_is_left(limit: dict[str, int], used: dict[str, Any], words: str) -> None:
    with pytest.raises(LimitReached, match=words):
        check_job(limits(**limit), usage(**used), 3600.0)
    check_job(NONE, usage(**used), 3600.0)


def test_a_refusal_says_when_there_will_be_enough_minutes_again() -> None:
    ran = (Ran(seconds=1800, until=9.5 * WEEK), Ran(seconds=3000, until=9.7 * WEEK), Ran(seconds=900, until=9.9 * WEEK))
    with pytest.raises(LimitReached) as refusal:
        check_job(limits(gpu_minutes_per_week=100), usage(ran=ran), 3600.0)
    assert f"<t:{round(10.7 * WEEK)}:R>" in refusal.value.hint  # the first alone would not be enough
    with pytest.raises(LimitReached) as refusal:
        check_job(limits(gpu_minutes_per_week=100), usage(reserved=5000.0), 3600.0)
    assert "reservados" in refusal.value.hint


def test_data_need_a_free_place_and_room() -> None:
    check_datasets(limits(max_datasets=10, max_disk_bytes=100), usage(datasets=8, disk_bytes=40), bytes=60, files=2)
    with pytest.raises(LimitReached, match="8 archivos de datos"):
        check_datasets(limits(max_datasets=9), usage(datasets=8), bytes=1, files=2)
    with pytest.raises(LimitReached, match="sitio"):
        check_datasets(limits(max_disk_bytes=100), usage(disk_bytes=40), bytes=61)


# Device time


class Machine:
    """A job's worker, minute by minute, as its events tell it."""

    def __init__(self, store: Store, clock: Clock) -> None:
        self.store = store
        self.clock = clock
        self.seq = 0

    async def says(self, job: Job, type: EventType, *, attempt: int = 1, **data: Any) -> None:
        self.seq += 1
        event = Event(job_id=job.id, attempt=attempt, seq=self.seq, created_at=self.clock.now, type=type, data=data)
        await self.store.apply_event(event)

    async def runs(self, job: Job, minutes: int, *, attempt: int = 1) -> None:
        await self.says(job, EventType.PHASE, attempt=attempt, phase="training")
        self.clock.now += 60 * minutes
        await self.says(job, EventType.HEARTBEAT, attempt=attempt)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(tmp_path: Path, clock: Clock) -> AsyncIterator[Store]:
    async with Store.open(tmp_path / "afina.sqlite3", clock=clock) as opened:
        yield opened


@pytest.fixture
def machine(store: Store, clock: Clock) -> Machine:
    return Machine(store, clock)


async def submit(store: Store, owner: Owner = ANA, *, minutes: float = 10, caps: Limits | None = None) -> Job:
    return await store.submit_job(
        owner=owner,
        name="modelo",
        dataset=dataset(owner),
        base_id="afina-mini",
        recipe=Recipe(),
        estimated_seconds=60 * minutes,
        limits=caps,
    )


async def left(store: Store, owner: Owner = ANA) -> tuple[float, float]:
    """(minutes spent, minutes reserved)."""
    used = await store.usage(owner)
    return used.spent / 60, used.reserved / 60


async def test_a_waiting_job_reserves_what_it_is_expected_to_take(store: Store, machine: Machine) -> None:
    job = await submit(store, minutes=30)
    assert await left(store) == (0, 30)
    await machine.runs(job, 12)
    assert await left(store) == (12, 18)
    await machine.runs(job, 25)  # longer than expected: only what it ran
    assert await left(store) == (37, 0)
    await store.request_pause(job.id)
    await machine.says(job, EventType.STOPPED, kind="paused")
    assert await left(store) == (37, 0)


async def test_a_paused_job_reserves_nothing_until_it_goes_on(store: Store, machine: Machine) -> None:
    job = await submit(store, minutes=30)
    await machine.runs(job, 10)
    await machine.says(job, EventType.STOPPED, kind="paused")
    assert await left(store) == (10, 0)
    await store.resume_job(job.id, limits=limits(gpu_minutes_per_week=30))
    assert await left(store) == (10, 20)


async def test_a_paused_job_goes_on_only_while_minutes_are_left(store: Store, machine: Machine) -> None:
    job = await submit(store, minutes=30)
    await machine.runs(job, 10)
    await machine.says(job, EventType.STOPPED, kind="paused")
    with pytest.raises(LimitReached, match="Te quedan 15 de 25"):
        await store.resume_job(job.id, limits=limits(gpu_minutes_per_week=25))


@pytest.mark.parametrize("end", ["failed", "died three times", "cancelled by staff"])
async def test_what_does_not_work_out_costs_nothing(store: Store, machine: Machine, end: str) -> None:
    job = await submit(store)
    for attempt in range(1, 4 if end == "died three times" else 2):
        await machine.runs(job, 20, attempt=attempt)
        if end == "cancelled by staff":
            await store.request_cancel(job.id, by_staff=True)
        data = {"kind": "cancelled"} if end == "cancelled by staff" else {"code": end, "message": "Ha fallado."}
        if end == "died three times":
            data["code"] = "worker_died"
        kind = EventType.STOPPED if end == "cancelled by staff" else EventType.FAILED
        await machine.says(job, kind, attempt=attempt, **data)
    assert (await store.job(job.id)).state.terminal
    assert await left(store) == (0, 0)


async def test_an_attempt_that_died_costs_nothing_and_the_one_after_it_does(store: Store, machine: Machine) -> None:
    job = await submit(store)
    await machine.runs(job, 20)
    await machine.says(job, EventType.FAILED, code="worker_died")
    await machine.runs(job, 7, attempt=2)
    assert await left(store) == (7, 3)


async def test_a_machine_that_makes_way_keeps_its_work_and_its_cost(store: Store, machine: Machine) -> None:
    job = await submit(store, minutes=20)
    await machine.runs(job, 5)
    await machine.says(job, EventType.STOPPED, kind="interrupted")
    assert await left(store) == (5, 15)


async def test_cancelling_costs_what_ran(store: Store, machine: Machine) -> None:
    early, late = await submit(store), await submit(store)
    await store.request_cancel(early.id)
    assert await left(store) == (0, 10)
    await machine.runs(late, 4)
    await store.request_cancel(late.id)
    await machine.says(late, EventType.STOPPED, kind="cancelled")
    assert await left(store) == (4, 0)


async def test_minutes_come_back_after_a_week(store: Store, machine: Machine, clock: Clock) -> None:
    job = await submit(store)
    await machine.runs(job, 60)
    await store.request_cancel(job.id)
    await machine.says(job, EventType.STOPPED, kind="cancelled")
    clock.now += WEEK - 1800
    assert await left(store) == (30, 0)  # half of it is older than a week
    clock.now += 1800
    assert await left(store) == (0, 0)


async def test_a_bot_that_was_away_costs_nobody_anything(store: Store, machine: Machine, clock: Clock) -> None:
    job = await submit(store)
    started = clock.now
    clock.now += 9 * 3600  # the bot comes back long after the job was over
    for seq, (type, at) in enumerate([(EventType.PHASE, 0), (EventType.STOPPED, 300)], 1):
        data = {"phase": "training"} if type is EventType.PHASE else {"kind": "cancelled"}
        event = Event(job_id=job.id, attempt=1, seq=seq, created_at=started + at, type=type, data=data)
        await store.apply_event(event)
    assert await left(store) == (5, 0)


async def test_a_clock_that_runs_ahead_cannot_eat_somebodys_week(store: Store, machine: Machine, clock: Clock) -> None:
    job = await submit(store)
    await machine.runs(job, 3)
    event = Event(job_id=job.id, attempt=1, seq=99, created_at=clock.now + 10 * WEEK, type=EventType.HEARTBEAT)
    await store.apply_event(event)
    assert await left(store) == (3, 7)


async def test_ten_jobs_at_once_cannot_overspend(store: Store) -> None:
    caps = limits(gpu_minutes_per_week=35)
    tried = await asyncio.gather(*(submit(store, caps=caps) for _ in range(10)), return_exceptions=True)
    assert sum(isinstance(one, Job) for one in tried) == 3
    assert all(isinstance(one, Job | LimitReached) for one in tried)
    assert (await left(store))[1] == 30


ENDS = ("succeeded", "failed", "worker_died", "cancelled", "by staff", "paused", "interrupted", "still running")


@hypothesis.settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.integers(1, 40), st.integers(0, 60), st.sampled_from(ENDS)), max_size=8))
def test_whatever_happens_nobody_pays_more_than_ran_nor_is_promised_more_than_is_left(
    lives: list[tuple[int, int, str]],
) -> None:
    """`lives`: of jobs one after the other: minutes asked for, minutes run, how the attempt ends."""
    asyncio.run(_live(lives))


async def _live(lives: list[tuple[int, int, str]]) -> None:
    caps = limits(gpu_minutes_per_week=90)
    clock, due = Clock(), 0.0
    with tempfile.TemporaryDirectory() as folder:
        async with Store.open(Path(folder) / "db", clock=clock) as store:
            machine = Machine(store, clock)
            for asked, minutes, end in lives:
                before = sum(await left(store))
                try:
                    job = await submit(store, minutes=asked, caps=caps)
                except LimitReached:
                    assert before + asked > 90
                    continue
                assert before + asked <= 90 + 1e-6
                await machine.runs(job, minutes)
                if end in ("by staff", "cancelled"):
                    await store.request_cancel(job.id, by_staff=end == "by staff")
                await _end(machine, job, end)
                due += 0 if end in ("failed", "worker_died", "by staff") else minutes
                spent, reserved = await left(store)
                assert spent == pytest.approx(due)
                assert reserved >= 0


async def _end(machine: Machine, job: Job, end: str) -> None:
    if end == "succeeded":
        name = job.request.adapter_name
        result = {"adapter_name": name, "adapter_path": f"adapters/{name}", "adapter_sha256": "ab" * 32}
        await machine.says(job, EventType.RESULT, **result, adapter_bytes=7, trained_tokens=1, seconds=1.0)
    elif end in ("failed", "worker_died"):
        await machine.says(job, EventType.FAILED, code=end, message="No.", hint="")
    elif end != "still running":
        await machine.says(job, EventType.STOPPED, kind="cancelled" if end == "by staff" else end)


async def test_everybody_has_their_own_minutes_in_every_server(store: Store, machine: Machine) -> None:
    await machine.runs(await submit(store), 10)
    assert await left(store, LUIS) == (0, 0)
    assert await left(store, ANA_ELSEWHERE) == (0, 0)


async def test_erasing_oneself_does_not_give_the_minutes_back_and_leaves_no_name(
    store: Store, machine: Machine, clock: Clock, tmp_path: Path
) -> None:
    await machine.runs(await submit(store), 10)
    await store.erase(ANA)
    assert await left(store) == (10, 0)
    assert await left(store, LUIS) == (0, 0)
    rows = await store._all("SELECT * FROM leftovers")
    assert all(str(ANA.user_id) != str(value) for row in rows for value in row)
    clock.now += WEEK + 1
    assert await left(store) == (0, 0)
    await store.forget_old(chats=0, feedback=0, events=0, notes=0)
    assert await store._all("SELECT * FROM leftovers") == []


# Roles that are remembered, and the log


async def test_the_limits_of_somebody_follow_the_role_they_were_seen_with(store: Store) -> None:
    settings = Settings(_env_file=None, max_models=10, staff_times=3)
    await store.set_role(ANA, Role.TUTOR)
    assert (await limits_for(settings, store, ANA)).max_models == 30
    assert (await limits_for(settings, store, ANA_ELSEWHERE)).max_models == 10
    await store.change_policy(
        ANA.guild_id,
        lambda old: with_role(old, Role.TUTOR, PROFES, has=True),
        actor_id=1,
        action="roles",
        text="Cambió los roles.",
    )
    assert await store.role(ANA) is Role.MEMBER  # until she is seen again


async def test_every_change_leaves_one_line_in_the_log_of_its_server(store: Store) -> None:
    for amount in (5, 5, 6):
        await store.change_policy(
            1,
            lambda old, amount=amount: with_limits(old, Role.MEMBER, {"max_models": amount}),
            actor_id=77,
            action="limits",
            text=f"modelos: {amount}",
        )
    assert [(entry.actor_id, entry.text) for entry in await store.audit(1)] == [(77, "modelos: 6"), (77, "modelos: 5")]
    assert await store.audit(2) == []


async def test_the_log_forgets_the_person_it_was_done_to_when_they_erase_themselves(store: Store) -> None:
    await store.note_action(ANA.guild_id, actor_id=77, action="jobs", text="Canceló.", subject_id=ANA.user_id)
    await store.note_action(2, actor_id=77, action="jobs", text="Canceló.", subject_id=ANA.user_id)
    await store.erase(ANA)
    assert [entry.subject_id for entry in await store.audit(ANA.guild_id)] == [None]
    assert [entry.subject_id for entry in await store.audit(2)] == [ANA.user_id]


async def test_what_an_older_afina_kept_is_still_there(tmp_path: Path) -> None:
    """Limits and tutors of a server, as they were stored before roles had limits."""
    import aiosqlite

    from bot.store.database import MIGRATIONS, _statements

    path = tmp_path / "old.sqlite3"
    async with aiosqlite.connect(path) as old:
        for statement in _statements((MIGRATIONS / "001_initial.sql").read_text(encoding="utf-8")):
            await old.execute(statement)
        await old.execute("INSERT INTO state VALUES ('limits:5', '{\"max_queued_jobs\": 2}'), ('tutors:5', '501')")
        await old.execute("INSERT INTO state VALUES ('tutors:6', '502'), ('tutors:7', ''), ('other', 'x')")
        await old.execute("PRAGMA user_version = 1")
        await old.commit()
    async with Store.open(path) as store:
        settings = Settings(_env_file=None)
        assert (await store.policy(5)).limits_of(Role.MEMBER, settings).max_queued_jobs == 2
        assert (await store.policy(5)).roles == {Role.TUTOR: (501,)}
        assert (await store.policy(6)).roles == {Role.TUTOR: (502,)}
        assert await store.policy(7) == Policy()
        assert await store.get_state("other") == "x"
        assert await store.get_state("tutors:5") is None
