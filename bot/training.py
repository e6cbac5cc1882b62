"""From a filled-in form to a promised job: what may be trained, what it would cost, confirmation.

Rule of this file: the whole decision without Discord. A plan is computed anew each time it is shown; confirming a draft
(`bot/drafts.py`) twice gives the same job. What the worker does with it is the business of `jobs/gpu`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from bot import limits
from bot.datasets import has_open_secrets, look_again
from bot.drafts import Draft, save_draft
from bot.errors import LimitReached, NotFound, WrongState
from bot.records import Dataset, Job, Owner
from bot.services import Services
from bot.waiting import best_memory, queue_ahead, stats_of, tokens_per_second, workers
from bot.wishes import clean_name, free_name
from jobs.catalog import Base, is_downloaded
from jobs.contract import Method, Objective, Preset, WorkerInfo
from jobs.recipe import Estimate, estimate, recommend

FEW_EXAMPLES = 50  # below this many, say that it rarely helps
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
    open_jobs: int  # of this person, not counting this one
    limit: int  # how many may be open
    notes: tuple[str, ...]  # what the person should think about first, in Spanish


def available_bases(services: Services) -> list[Base]:
    """Bases that a worker can load: downloaded here, or built on first use. With remote artifacts, all of them."""
    if services.settings.artifacts_url:
        return list(services.catalog)
    return [base for base in services.catalog if is_downloaded(services.settings.data_dir, base)]


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
) -> Draft:
    """Check what was asked for and remember it. `base`: id in the catalogue, or «modelo:ID» to go on from one's own.

    Raises BadInput, LimitReached, NotFound, WrongState or BaseNotAvailable.
    """
    dataset = await _usable_dataset(services, dataset_id, owner)
    dataset = await look_again(services, dataset)
    base_id, parent = base, None
    if base.startswith(CONTINUE):
        parent = await services.store.model(base.removeprefix(CONTINUE), owner)
        if parent.owner != owner:
            raise NotFound("Solo puedes seguir entrenando modelos tuyos.")
        base_id = parent.base_id
    chosen = services.catalog.get(base_id)
    open_jobs = [job for job in await services.store.jobs(owner) if not job.state.terminal]
    await _check_limit(services, owner, len(open_jobs))
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
            device_memory=best_memory(await workers(services)),
        ),
        created_at=services.store.clock(),
    )
    await save_draft(services, draft)
    return draft


async def plan(services: Services, draft: Draft) -> Plan:
    """What the draft costs as things stand. Raises NotFound or WrongState when its data are gone."""
    dataset = await _usable_dataset(services, draft.dataset_id, draft.owner)
    base = services.catalog.get(draft.base_id)
    crew = await workers(services)
    speed = await tokens_per_second(services, base.id, draft.recipe.method)
    memory = best_memory(crew)
    cost = estimate(
        draft.recipe,
        stats_of(dataset),
        base,
        tokens_per_second=speed,
        device_memory=memory,
        gpu=any(worker.device == "cuda" for worker in crew),
    )
    mine = [job for job in await services.store.jobs(draft.owner) if not job.state.terminal]
    position, wait = await queue_ahead(services, draft.owner, crew)
    return Plan(
        draft=draft,
        dataset=dataset,
        base=base,
        estimate=cost,
        memory=memory,
        position=position,
        wait=wait,
        open_jobs=len(mine),
        limit=await _limit(services, draft.owner),
        notes=_notes(dataset, base, cost, crew),
    )


async def confirm(services: Services, draft: Draft, *, channel_id: int | None = None) -> Job:
    """Promise the job. The same draft always gives the same job, also after a crash in between.

    Callers hold one lock per draft. Raises LimitReached, NotFound or WrongState.
    """
    if draft.job_id is not None:
        return await services.store.job(draft.job_id)
    if draft.state == "confirming" and (job := await _already_submitted(services, draft)) is not None:
        await save_draft(services, draft.model_copy(update={"state": "confirmed", "job_id": job.id}))
        return job
    if draft.state == "discarded":
        raise WrongState("Esa propuesta está descartada.", hint="Empieza otra con /afinar.")
    dataset = await _usable_dataset(services, draft.dataset_id, draft.owner)
    validation_path = await _validation_path(services, dataset)
    await save_draft(services, draft.model_copy(update={"state": "confirming"}))
    job = await services.store.submit_job(
        owner=draft.owner,
        name=draft.name,
        dataset=dataset,
        base_id=draft.base_id,
        recipe=draft.recipe,
        validation_path=validation_path,
        parent_adapter=draft.parent_adapter,
        channel_id=channel_id,
        limit=await _limit(services, draft.owner),
    )
    await save_draft(services, draft.model_copy(update={"state": "confirmed", "job_id": job.id}))
    return job


def _notes(dataset: Dataset, base: Base, cost: Estimate, crew: Sequence[WorkerInfo]) -> tuple[str, ...]:
    notes = []
    if dataset.usable < FEW_EXAMPLES:
        notes.append(f"Son pocos ejemplos ({dataset.usable}): suelen hacer falta unos cientos para que se note.")
    if dataset.verdict == "warnings":
        notes.append("Los datos tienen avisos: míralos con /datos ver antes de entrenar.")
    if not cost.fits:
        notes.append("No cabe en la memoria del equipo que entrena: prueba con QLoRA o con una base más pequeña.")
    if not crew:
        notes.append("Ahora mismo no hay ningún equipo entrenando: quedará en la cola y empezará en cuanto haya uno.")
    if not base.verified:
        notes.append("Esta base no se ha probado todavía de principio a fin con Afina; mira bien el resultado.")
    return tuple(notes)


async def repeat(services: Services, job_id: str, owner: Owner, *, seed: int | None = None) -> Job:
    """Promise a job that is over once more, perhaps with another seed. Raises NotFound, LimitReached, WrongState."""
    old = await services.store.job(job_id, owner)
    if not old.state.terminal:
        raise WrongState("Ese entrenamiento todavía no ha terminado.", hint="Espera a que acabe, o cancélalo.")
    recipe = None if seed is None else old.request.recipe.model_copy(update={"seed": seed})
    return await services.store.repeat_job(job_id, owner, recipe, limit=await _limit(services, owner))


async def _limit(services: Services, owner: Owner) -> int:
    return (await limits.limits_for(services.settings, services.store, owner.guild_id)).max_queued_jobs


async def _check_limit(services: Services, owner: Owner, open_jobs: int) -> None:
    limit = await _limit(services, owner)
    if open_jobs >= limit:
        raise LimitReached(
            f"Ya tienes {open_jobs} entrenamientos sin terminar; el máximo es {limit}.",
            hint="Espera a que acabe uno o cancela alguno con /entrenamientos cancelar.",
        )


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
