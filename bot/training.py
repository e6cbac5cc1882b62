"""From a filled-in form to a promised job: what may be trained, what it would cost, confirmation.

Rule of this file: the whole decision without Discord. A plan is computed anew each time it is shown; confirming a draft
(`bot/drafts.py`) twice gives the same job. What the worker does with it is the business of `jobs/gpu`.
"""

from __future__ import annotations

import secrets
from contextlib import suppress
from dataclasses import dataclass

from bot.bases import check_offered
from bot.datasets import has_open_secrets, look_again
from bot.doubts import circumstances, odd_values
from bot.drafts import Draft, fitted, save_draft
from bot.errors import LimitReached, NotFound, WrongState
from bot.limits import Limits, Usage, seconds_left
from bot.members import allowance, limits_for, may_train
from bot.records import Dataset, Job, Owner
from bot.services import Services
from bot.waiting import best_memory, expected_cost, queue_ahead, stats_of, workers
from bot.wishes import clean_name, free_name
from jobs.catalog import Base
from jobs.contract import Method, Objective, Preset, Recipe
from jobs.errors import DoesNotFit, EngineUnavailable
from jobs.recipe import Estimate, explain, recommend

CONTINUE = "modelo:"  # a choice of base that means one's own model

OBJECTIVES = {"preference": Objective.DPO, "kto": Objective.KTO}


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What confirming a draft would mean, right now."""

    draft: Draft
    dataset: Dataset
    base: Base
    estimate: Estimate
    memory: int | None  # bytes of the best device that is up; None: no worker is known
    position: int  # place in the queue, from 1
    wait: float | None  # seconds until it would start; None: nobody knows
    limits: Limits  # of this person
    usage: Usage  # without this job
    notes: tuple[str, ...]  # what the person should think about first, in Spanish


async def trainable(services: Services, owner: Owner) -> list[Dataset]:
    """The newest usable version of each dataset of theirs, newest first, without rows kept apart to measure with."""
    newest: dict[str, Dataset] = {}
    everything = await services.store.datasets(owner)
    kept_apart = {dataset.validation_id for dataset in everything}
    for dataset in everything:
        if dataset.id not in kept_apart and dataset.verdict != "rejected" and dataset.usable > 0:
            known = newest.setdefault(dataset.name, dataset)
            if dataset.version > known.version:
                newest[dataset.name] = dataset
    return sorted(newest.values(), key=lambda dataset: -dataset.created_at)


async def make_draft(
    services: Services,
    owner: Owner,
    *,
    dataset_id: str,
    base: str,
    method: Method,
    preset: Preset,
    name: str,
    rslora: bool = False,
    dora: bool = False,
) -> Draft:
    """Check what was asked for and remember it. `base`: id in the catalogue, or «modelo:ID» to go on from one's own.

    Raises BadInput, LimitReached, NotAllowed, NotFound, WrongState or BaseNotAvailable.
    """
    await services.moderation.admit_quickly(name, owner.guild_id)
    dataset = await _usable_dataset(services, dataset_id, owner)
    dataset = await look_again(services, dataset)
    base_id, parent = base, None
    if base.startswith(CONTINUE):
        parent = await services.store.model(base.removeprefix(CONTINUE), owner)
        if parent.owner != owner:
            raise NotFound("Solo puedes seguir entrenando modelos tuyos.")
        base_id = parent.base_id
    chosen = await check_offered(services, owner.guild_id, base_id)
    await may_train(services, owner, 0.0)
    open_jobs = [job for job in await services.store.jobs(owner) if not job.state.terminal]
    models = [model.name for model in await services.store.models(owner) if model.owner == owner]
    draft = Draft(
        id=secrets.token_hex(8),
        guild_id=owner.guild_id,
        user_id=owner.user_id,
        name=free_name(clean_name(name), [*models, *(job.name for job in open_jobs)]),
        dataset_id=dataset.id,
        base_id=base_id,
        parent_adapter=parent.adapter_name if parent else None,
        preset=preset,
        recipe=recommend(
            stats_of(dataset),
            chosen,
            preset=preset,
            method=method,
            objective=OBJECTIVES.get(dataset.format or "", Objective.SFT),
            rslora=rslora and parent is None,  # a continued adapter stays of its kind
            dora=dora and parent is None,
            device_memory=best_memory(await workers(services)),
        ),
        created_at=services.store.clock(),
    )
    await save_draft(services, draft)
    return draft


async def draft_again(services: Services, job_id: str, owner: Owner) -> Draft:
    """A draft with the settings of a job that is over, milder where those made it fail. Raises NotFound, WrongState."""
    old = await services.store.job(job_id, owner)
    if not old.state.terminal:
        raise WrongState("Ese entrenamiento todavía no ha terminado.", hint="Espera a que acabe, o cancélalo.")
    await check_offered(services, owner.guild_id, old.request.base_id)
    await may_train(services, owner, 0.0)
    dataset = await _usable_dataset(services, old.dataset_id, owner)
    await _check_parent(services, old.request.parent_adapter, owner)
    models = [model.name for model in await services.store.models(owner) if model.owner == owner]
    recipe = milder(old, _usual_recipe(services, dataset, old))
    with suppress(DoesNotFit):  # then its card says so, and a smaller one can be asked for there
        recipe = await fitted(services, recipe, dataset, old.request.base_id)
    draft = Draft(
        id=secrets.token_hex(8),
        guild_id=owner.guild_id,
        user_id=owner.user_id,
        name=free_name(old.name, models),
        dataset_id=dataset.id,
        base_id=old.request.base_id,
        parent_adapter=old.request.parent_adapter,
        preset=None,
        recipe=recipe,
        created_at=services.store.clock(),
    )
    await save_draft(services, draft)
    return draft


async def reasons(services: Services, draft: Draft) -> list[str]:
    """A Spanish sentence for each value of the recipe. Raises NotFound or WrongState when its data are gone."""
    dataset = await _usable_dataset(services, draft.dataset_id, draft.owner)
    return [sentence for _, sentence in explain(draft.recipe, stats_of(dataset))]


async def _serving(services: Services, recipe: Recipe) -> tuple[str, ...]:
    """What the engine will not do with the model; nothing where it does not answer."""
    if not recipe.dora:
        return ()
    with suppress(EngineUnavailable):
        if await services.engine.maker() == "vllm":
            return (
                "Aquí los modelos los sirve vLLM, que no carga DoRA: se entrenará y evaluará igual, pero para charlar "
                "con él quien administra tendrá que fusionarlo con su base (afina models fusionar).",
            )
    return ()


def _usual_recipe(services: Services, dataset: Dataset, job: Job) -> Recipe:
    """What would be recommended for the data of a job today, wherever it trains."""
    recipe = job.request.recipe
    base = services.catalog.get(job.request.base_id)
    return recommend(stats_of(dataset), base, method=recipe.method, objective=recipe.objective)


def milder(job: Job, usual: Recipe) -> Recipe:
    """The recipe of a failed job without what made it fail, as far as its error tells."""
    recipe = job.request.recipe
    match (job.error or {}).get("code"):
        case "diverged":
            return recipe.model_copy(update={"learning_rate": min(recipe.learning_rate / 2, usual.learning_rate)})
        case "does_not_fit":
            return recipe.model_copy(update={"method": Method.QLORA, "gradient_checkpointing": True})
        case "nothing_to_learn":
            return recipe.model_copy(update={"max_length": max(recipe.max_length, usual.max_length)})
    return recipe


async def plan(services: Services, draft: Draft) -> Plan:
    """What the draft costs as things stand. Raises NotFound or WrongState when its data are gone."""
    dataset = await _usable_dataset(services, draft.dataset_id, draft.owner)
    base = services.catalog.get(draft.base_id)
    crew = await workers(services)
    cost = await expected_cost(services, draft.recipe, stats_of(dataset), base, crew)
    limits, usage = await allowance(services, draft.owner)
    position, wait = await queue_ahead(services, draft.owner, crew)
    return Plan(
        draft=draft,
        dataset=dataset,
        base=base,
        estimate=cost,
        memory=best_memory(crew),
        position=position,
        wait=wait,
        limits=limits,
        usage=usage,
        notes=(
            *await _serving(services, draft.recipe),
            *circumstances(dataset, base, cost, crew, seconds_left(limits, usage)),
            *odd_values(draft.recipe, stats_of(dataset), base),
        ),
    )


async def confirm(services: Services, draft: Draft, *, channel_id: int | None = None) -> Job:
    """Promise the job. The same draft always gives the same job, also after a crash in between.

    Callers hold one lock per draft. Raises LimitReached, NotAllowed, NotFound or WrongState.
    """
    if draft.job_id is not None:
        return await services.store.job(draft.job_id)
    if draft.state == "confirming" and (job := await _already_submitted(services, draft)) is not None:
        await save_draft(services, draft.model_copy(update={"state": "confirmed", "job_id": job.id}))
        return job
    if draft.state == "discarded":
        raise WrongState("Esa propuesta está descartada.", hint="Empieza otra con /afinar.")
    await _check_parent(services, draft.parent_adapter, draft.owner)
    dataset = await _usable_dataset(services, draft.dataset_id, draft.owner)
    seconds = await _promised_seconds(services, dataset, draft.base_id, draft.recipe)
    limits = await may_train(services, draft.owner, seconds)
    validation_path = await _validation_path(services, dataset)
    await save_draft(services, draft.model_copy(update={"state": "confirming"}))
    try:
        job = await services.store.submit_job(
            owner=draft.owner,
            name=draft.name,
            dataset=dataset,
            base_id=draft.base_id,
            recipe=draft.recipe,
            validation_path=validation_path,
            parent_adapter=draft.parent_adapter,
            channel_id=channel_id,
            estimated_seconds=seconds,
            limits=limits,
        )
    except LimitReached:  # another of theirs was quicker: this one can still be made smaller, or discarded
        await save_draft(services, draft.model_copy(update={"state": "open"}))
        raise
    await save_draft(services, draft.model_copy(update={"state": "confirmed", "job_id": job.id}))
    return job


async def repeat(services: Services, job_id: str, owner: Owner, *, seed: int | None = None) -> Job:
    """Promise a job that is over once more, perhaps with another seed; one that does the same already is enough.

    Raises NotFound, LimitReached, WrongState.
    """
    old = await services.store.job(job_id, owner)
    if not old.state.terminal:
        raise WrongState("Ese entrenamiento todavía no ha terminado.", hint="Espera a que acabe, o cancélalo.")
    recipe = old.request.recipe if seed is None else old.request.recipe.model_copy(update={"seed": seed})
    wanted = (old.name, old.dataset_id, old.request.base_id, recipe, old.request.parent_adapter)
    for job in await services.store.jobs(owner):  # pressed twice: one is enough, the same recipe gives the same model
        request = job.request
        same = (job.name, job.dataset_id, request.base_id, request.recipe, request.parent_adapter) == wanted
        if same and not job.state.terminal:
            return job
    await _check_parent(services, old.request.parent_adapter, owner)
    dataset = await _usable_dataset(services, old.dataset_id, owner)
    seconds = await _promised_seconds(services, dataset, old.request.base_id, recipe)
    limits = await may_train(services, owner, seconds)
    return await services.store.repeat_job(
        job_id,
        owner,
        recipe,
        validation_path=await _validation_path(services, dataset),
        estimated_seconds=seconds,
        limits=limits,
    )


async def resume(services: Services, job_id: str, owner: Owner) -> Job:
    """Send a paused job on. Raises NotFound, WrongState, and LimitReached when its minutes are spent."""
    return await services.store.resume_job(
        job_id, owner, limits=await limits_for(services.settings, services.store, owner)
    )


async def _check_parent(services: Services, adapter: str | None, owner: Owner) -> None:
    """Raises NotFound when the model that a job continued has been deleted since."""
    if adapter and all(model.adapter_name != adapter for model in await services.store.models(owner)):
        raise NotFound(
            "El modelo del que partía ese entrenamiento ya no está.", hint="Empieza otro desde la base con /afinar."
        )


async def _promised_seconds(services: Services, dataset: Dataset, base_id: str, recipe: Recipe) -> float:
    """Device seconds to reserve. Raises NotAllowed for a base that the server does not offer."""
    base = await check_offered(services, dataset.owner.guild_id, base_id)
    crew = await workers(services)
    return (await expected_cost(services, recipe, stats_of(dataset), base, crew)).seconds


async def _usable_dataset(services: Services, dataset_id: str, owner: Owner) -> Dataset:
    dataset = await services.store.dataset(dataset_id, owner)
    if dataset.verdict == "rejected" or dataset.usable < 1:
        raise WrongState(
            "Con estos datos todavía no se puede entrenar.", hint="Repáralos primero: /datos ver dice qué falla."
        )
    if has_open_secrets(dataset):
        raise WrongState(
            "Estos datos contienen lo que parecen claves o contraseñas, y un modelo las aprendería.",
            hint="En /datos ver puedes taparlas, o decir que no lo son.",
        )
    return dataset


async def _validation_path(services: Services, dataset: Dataset) -> str | None:
    """Where the rows lie that its owner keeps apart to measure with; None: the worker splits some off."""
    if dataset.validation_id is None:
        return None
    try:
        return (await services.store.dataset(dataset.validation_id, dataset.owner)).path
    except NotFound:
        return None


async def _already_submitted(services: Services, draft: Draft) -> Job | None:
    """The job that a crash between submitting and remembering left behind."""
    for job in await services.store.jobs(draft.owner):
        same = (job.name, job.dataset_id, job.request.base_id, job.request.recipe)
        if job.created_at >= draft.created_at and same == (
            draft.name,
            draft.dataset_id,
            draft.base_id,
            draft.recipe,
        ):
            return job
    return None
