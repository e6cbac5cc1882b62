"""Drafts, plans and estimates without Discord: what is promised, what it costs, what survives a crash."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from bot import drafts, training, waiting
from bot.errors import BadInput, LimitReached, NotFound, WrongState
from bot.policy import with_limits
from bot.records import Job, Owner
from bot.render.plan import plan_texts
from bot.roles import Role
from bot.services import Services
from bot.wishes import changed_recipe, clean_name, free_name, parse_value, suggested_name
from jobs.contract import Event, EventType, Method, Objective, Preset, Recipe
from jobs.errors import BaseNotAvailable, DoesNotFit, RecipeError
from tests.bot.conftest import STATS
from tests.bot.scripted import WORKER, ScriptedEngine, ScriptedQueue

ANA = Owner(guild_id=1, user_id=2)
EVA = Owner(guild_id=1, user_id=3)


@pytest.fixture
def draft_of(services: Services, dataset_of: Any) -> Any:
    async def make(owner: Owner = ANA, dataset: Any = None, **wish: Any) -> drafts.Draft:
        dataset = dataset or await dataset_of(owner, f"{owner.user_id}.jsonl")
        values: dict[str, Any] = {
            "dataset_id": dataset.id,
            "base": "afina-mini",
            "method": Method.LORA,
            "preset": Preset.BALANCED,
            "name": "poeta",
        }
        return await training.make_draft(services, owner, **{**values, **wish})

    return make


# What people type


@pytest.mark.parametrize(
    ("field", "typed", "value"),
    [
        ("learning_rate", "2e-4", 2e-4),
        ("learning_rate", "0,0002", 2e-4),
        ("learning_rate", " 1.5e-5 ", 1.5e-5),
        ("max_length", "1 024", 1024),
        ("max_length", "1\u202f024", 1024),
        ("epochs", "3", 3),
        ("epochs", "3,0", 3),
    ],
)
def test_numbers_are_read_as_people_type_them(field: str, typed: str, value: float) -> None:
    assert parse_value(field, typed) == value


@pytest.mark.parametrize(
    ("field", "typed", "words"),
    [
        ("epochs", "tres", "Vueltas: «tres» no es un número entero"),
        ("epochs", "2,5", "no es un número entero"),
        ("seed", "inf", "no es un número entero"),
        ("learning_rate", "alto", "Tasa de aprendizaje: «alto» no es un número"),
    ],
)
def test_what_is_no_number_is_named_with_its_field(field: str, typed: str, words: str) -> None:
    with pytest.raises(BadInput, match=words):
        parse_value(field, typed)


@pytest.mark.parametrize(
    ("answers", "words"),
    [
        ({"epochs": "51"}, "Vueltas: tiene que ser como máximo 50"),
        ({"rank": "0"}, "Rango: tiene que ser como mínimo 1"),
        ({"learning_rate": "0"}, "mayor que 0"),
        ({"learning_rate": "0,2"}, "como máximo 0,1"),
        ({"learning_rate": "nan"}, "Tasa de aprendizaje"),
    ],
)
def test_a_value_outside_its_limits_says_the_limit(answers: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        changed_recipe(Recipe(), answers)


def test_an_empty_answer_keeps_what_was_there() -> None:
    assert changed_recipe(Recipe(rank=8), {"rank": "  ", "seed": "7"}) == Recipe(rank=8, seed=7)


@pytest.mark.parametrize(
    ("typed", "kept"), [("  Mi   poeta ", "Mi poeta"), ("niño-2", "niño-2"), ("a\u200bb\n", "a b"), ("日本", "日本")]
)
def test_names_keep_what_can_be_shown(typed: str, kept: str) -> None:
    assert clean_name(typed) == kept


@pytest.mark.parametrize("typed", ["", "   ", "***", "🎉", "x" * 41])
def test_names_that_nobody_could_type_again_are_refused(typed: str) -> None:
    with pytest.raises(BadInput):
        clean_name(typed)


def test_a_taken_name_gets_a_number_and_stays_short_enough() -> None:
    assert free_name("Poeta", ["poeta", "poeta 2"]) == "Poeta 3"
    assert len(free_name("x" * 40, ["X" * 40])) == 40


def test_a_name_is_suggested_from_the_data() -> None:
    assert suggested_name("reseñas.JSONL") == "reseñas"
    assert suggested_name(".jsonl") == "mi modelo"


# Drafts


async def test_a_draft_carries_a_complete_recipe_for_its_data(services: Services, draft_of: Any) -> None:
    draft = await draft_of()
    assert draft.recipe.objective is Objective.SFT
    assert await drafts.load_draft(services, draft.id, ANA) == draft


async def test_rslora_has_a_scale_of_its_own(draft_of: Any) -> None:
    recipe = (await draft_of(rslora=True)).recipe
    assert (recipe.rslora, recipe.alpha) == (True, 16)


@pytest.mark.parametrize(("made_by", "told"), [("afina", False), ("vllm", True)])
async def test_who_asks_for_dora_hears_at_once_where_it_cannot_be_served(
    services: Services, engine: ScriptedEngine, draft_of: Any, made_by: str, told: bool
) -> None:
    engine.made_by = made_by
    draft = await draft_of(dora=True)
    shown = "\n".join(plan_texts(await training.plan(services, draft)))
    assert "LoRA, DoRA" in shown
    assert ("afina models fusionar" in shown) is told
    assert not [note for note in (await training.plan(services, await draft_of())).notes if "DoRA" in note]


async def test_preference_data_are_trained_as_preferences(draft_of: Any, dataset_of: Any) -> None:
    draft = await draft_of(dataset=await dataset_of(ANA, "pares", format="preference"))
    assert draft.recipe.objective is Objective.DPO


@pytest.mark.parametrize(
    ("wish", "error"),
    [
        ({"base": "gpt-9"}, BaseNotAvailable),
        ({"base": "modelo:ajeno"}, NotFound),
        ({"name": "?"}, BadInput),
        ({"dataset_id": "otro"}, NotFound),
    ],
)
async def test_what_cannot_be_is_refused_before_anything_is_kept(
    services: Services, draft_of: Any, wish: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        await draft_of(**wish)
    assert await services.store.states("draft:") == {}


async def test_drafts_are_private(services: Services, draft_of: Any) -> None:
    draft = await draft_of()
    with pytest.raises(NotFound):
        await drafts.load_draft(services, draft.id, EVA)


async def test_a_tweak_is_checked_against_the_base(services: Services, draft_of: Any) -> None:
    draft = await draft_of()
    with pytest.raises(RecipeError, match="tokens"):
        await drafts.tweak(services, draft, {"max_length": "8192"})


async def test_a_tweak_that_takes_more_memory_is_made_to_fit_again(
    services: Services, queue: ScriptedQueue, draft_of: Any, dataset_of: Any
) -> None:
    stats = {**STATS, "tokens": {"total": 20_300, "p95": 140, "max": 1000}}
    draft = await draft_of(dataset=await dataset_of(ANA, "largo", report={"stats": stats}))
    before = draft.recipe
    queue.crew = [WORKER.model_copy(update={"memory_bytes": 500 * 10**6})]
    wider = (await drafts.tweak(services, draft, {"max_length": "1 024"})).recipe
    assert wider.max_length == 1024 > before.max_length
    assert wider.effective_batch == before.effective_batch
    assert wider.gradient_checkpointing
    assert not before.gradient_checkpointing
    assert (await training.plan(services, await drafts.load_draft(services, draft.id, ANA))).estimate.fits
    queue.crew = [WORKER.model_copy(update={"memory_bytes": 10**8})]
    with pytest.raises(DoesNotFit):
        await drafts.tweak(services, draft, {"epochs": "2"})


# Confirming


async def test_confirming_twice_gives_the_same_job(services: Services, draft_of: Any) -> None:
    draft = await draft_of()
    first = await training.confirm(services, draft)
    second = await training.confirm(services, await drafts.load_draft(services, draft.id, ANA))
    assert first.id == second.id


async def test_a_crash_between_job_and_note_does_not_make_a_second_job(services: Services, draft_of: Any) -> None:
    draft = await draft_of()
    await training.confirm(services, draft)
    # The process died before it could note the job: the draft still says that it is being confirmed.
    await services.store.set_state(
        f"draft:{draft.id}", draft.model_copy(update={"state": "confirming"}).model_dump_json()
    )
    await training.confirm(services, await drafts.load_draft(services, draft.id, ANA))
    assert len(await services.store.jobs(ANA)) == 1


async def test_a_crash_before_the_job_lets_the_person_confirm_again(services: Services, draft_of: Any) -> None:
    draft = (await draft_of()).model_copy(update={"state": "confirming"})
    job = await training.confirm(services, draft)
    assert [one.id for one in await services.store.jobs(ANA)] == [job.id]


async def test_a_discarded_draft_cannot_be_confirmed_nor_the_other_way_round(services: Services, draft_of: Any) -> None:
    discarded = await drafts.discard(services, await draft_of())
    with pytest.raises(WrongState):
        await training.confirm(services, discarded)
    draft = await draft_of()
    await training.confirm(services, draft)
    with pytest.raises(WrongState):
        await drafts.discard(services, await drafts.load_draft(services, draft.id, ANA))


async def test_the_limit_of_the_server_counts_when_confirming_too(services: Services, draft_of: Any) -> None:
    first, second = await draft_of(), await draft_of(name="otra")
    await services.store.change_policy(
        ANA.guild_id,
        lambda old: with_limits(old, Role.MEMBER, {"max_queued_jobs": 1}),
        actor_id=1,
        action="limits",
        text="",
    )
    await training.confirm(services, first)
    with pytest.raises(LimitReached):
        await training.confirm(services, second)


# What it costs


async def test_the_plan_knows_the_queue_in_fair_order(services: Services, draft_of: Any) -> None:
    for number in range(3):
        await training.confirm(services, await draft_of(EVA, name=f"de Eva {number}"))
    mine = await training.plan(services, await draft_of(ANA))
    assert mine.position == 2  # behind Eva's first job, before her second and third
    assert mine.wait is not None
    assert mine.wait > 0
    again = await training.plan(services, await draft_of(EVA, name="de Eva 4"))
    assert again.position == 4


async def test_nobody_promises_a_start_without_workers(services: Services, draft_of: Any, queue: ScriptedQueue) -> None:
    queue.crew.clear()
    plan = await training.plan(services, await draft_of())
    assert plan.wait is None
    assert any("ningún equipo" in note for note in plan.notes)
    queue.away = True
    assert (await training.plan(services, await draft_of(name="b"))).wait is None


async def test_estimates_learn_from_finished_jobs(services: Services, draft_of: Any) -> None:
    draft = await draft_of()
    job = await training.confirm(services, draft)
    before = (await training.plan(services, draft)).estimate.seconds
    await waiting.remember_speed(services, job, [measured(job, speed) for speed in (8.0, 12.0)])
    assert (await training.plan(services, draft)).estimate.seconds > before


def measured(job: Job, speed: float) -> Event:
    data = {"step": 1, "total_steps": 9, "tokens_per_second": speed}
    return Event(job_id=job.id, attempt=1, seq=1, created_at=0.0, type=EventType.METRICS, data=data)


async def failed(services: Services, draft: drafts.Draft, code: str) -> Job:
    """A job of this draft that a worker gave up."""
    job = await training.confirm(services, draft)
    event = Event(
        job_id=job.id, attempt=1, seq=1, created_at=0.0, type=EventType.FAILED, data={"code": code, "message": "No."}
    )
    await services.store.apply_events([event])
    return await services.store.job(job.id)


async def test_a_failed_job_is_proposed_again_without_what_made_it_fail(services: Services, draft_of: Any) -> None:
    draft = await draft_of()
    wild = await drafts.tweak(services, draft, {"learning_rate": "0,1"})
    assert wild.preset is None
    plan = await training.plan(services, wild)
    assert any("lo normal es que el entrenamiento se desboque" in note for note in plan.notes)
    again = await training.draft_again(services, (await failed(services, wild, "diverged")).id, ANA)
    assert again.recipe == draft.recipe
    assert not any("desboque" in note for note in (await training.plan(services, again)).notes)


async def test_answers_that_do_not_fit_the_row_are_foretold_and_get_room_the_second_time(
    services: Services, draft_of: Any
) -> None:
    draft = await draft_of()
    short = await drafts.tweak(services, draft, {"max_length": "16"})
    plan = await training.plan(services, short)
    assert any("la longitud máxima es 16" in note for note in plan.notes)
    again = await training.draft_again(services, (await failed(services, short, "nothing_to_learn")).id, ANA)
    assert again.recipe.max_length == draft.recipe.max_length


async def test_a_job_that_did_not_fit_is_proposed_in_four_bits(services: Services, draft_of: Any) -> None:
    again = await training.draft_again(services, (await failed(services, await draft_of(), "does_not_fit")).id, ANA)
    assert again.recipe.method is Method.QLORA


async def test_repeating_twice_gives_one_job(services: Services, draft_of: Any) -> None:
    job = await failed(services, await draft_of(), "diverged")
    first, second = [await training.repeat(services, job.id, ANA) for _ in range(2)]
    assert first.id == second.id != job.id
    assert (await training.repeat(services, job.id, ANA, seed=7)).id != first.id


async def test_repeating_does_not_ask_for_rows_kept_apart_that_were_deleted_since(
    services: Services, draft_of: Any, dataset_of: Any
) -> None:
    kept = await dataset_of(ANA, "aparte")
    dataset = await dataset_of(ANA, "todo")
    await services.store.update_dataset(replace(dataset, validation_id=kept.id))
    job = await failed(services, await draft_of(dataset=dataset), "diverged")
    assert job.request.validation_path == kept.path
    assert (await training.repeat(services, job.id, ANA, seed=7)).request.validation_path == kept.path
    for again in await services.store.jobs(ANA):
        if not again.state.terminal:
            await services.store.request_cancel(again.id)
    await services.store.delete_dataset(kept.id, ANA)
    assert (await training.repeat(services, job.id, ANA)).request.validation_path is None


async def test_a_job_that_continued_a_model_which_is_gone_is_not_repeated_in_vain(
    services: Services, draft_of: Any
) -> None:
    gone = "poeta-de-antes"
    draft = (await draft_of()).model_copy(update={"parent_adapter": gone})
    with pytest.raises(NotFound, match="del que partía"):  # deleted between the proposal and its confirmation
        await training.confirm(services, draft)
    dataset = await services.store.dataset(draft.dataset_id, ANA)
    job = await services.store.submit_job(
        owner=ANA, name="hijo", dataset=dataset, base_id="afina-mini", recipe=draft.recipe, parent_adapter=gone
    )
    await services.store.request_cancel(job.id)
    for once_more in (training.repeat, training.draft_again):
        with pytest.raises(NotFound, match="del que partía"):
            await once_more(services, job.id, ANA)


async def test_few_examples_and_warnings_are_said(services: Services, draft_of: Any, dataset_of: Any) -> None:
    dataset = await dataset_of(ANA, "poco", usable=12, verdict="warnings")
    notes = " ".join((await training.plan(services, await draft_of(dataset=dataset))).notes)
    assert "pocos ejemplos (12)" in notes
    assert "avisos" in notes


def test_a_job_goes_where_it_fits_and_always_to_the_largest_device(services: Services) -> None:
    from tests.bot.test_render import make_job

    fits = waiting.Fits(services.catalog)
    small = WORKER.model_copy(update={"memory_bytes": 4_000_000_000})
    large = WORKER.model_copy(update={"memory_bytes": 24_000_000_000})
    job = make_job()
    big = replace(job, request=job.request.model_copy(update={"base_id": "qwen3-8b"}))
    assert fits(big, large)
    assert not fits(big, small)
    assert fits(job, small)
