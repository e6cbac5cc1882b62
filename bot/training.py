"""From a filled-in form to a promised job: drafts, plans, confirmation.

Rule of this file: the whole decision without Discord. A draft is what a person asked for, kept in the store so that its
card works after a restart; a plan adds what it will cost, computed anew each time it is shown; confirming a draft
twice gives the same job. What the worker does with it is the business of `jobs/gpu`.
"""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from bot import limits
from bot.errors import BadInput, LimitReached, NotFound, WrongState
from bot.records import Dataset, Job, Owner
from bot.services import Services
from jobs.catalog import Base, is_downloaded
from jobs.contract import JobState, Method, Objective, Preset, Recipe, WorkerInfo
from jobs.errors import AfinaError, QueueUnavailable
from jobs.recipe import DataStats, Estimate, check_recipe, estimate, recommend

NAME_LENGTH = 40  # characters of a model's name
FEW_EXAMPLES = 50  # below this many, say that it rarely helps
CONTINUE = "modelo:"  # a choice of base that means one's own model

_OBJECTIVE = {"preference": Objective.DPO, "kto": Objective.KTO}


class Draft(BaseModel):
    """A job that somebody is about to confirm."""

    model_config = ConfigDict(frozen=True)

    id: str
    guild_id: int
    user_id: int
    name: str
    dataset_id: str
    base_id: str
    parent_adapter: str | None = None  # continue this adapter instead of starting from the base
    preset: Preset
    recipe: Recipe
    state: Literal["open", "confirming", "confirmed", "discarded"] = "open"
    job_id: str | None = None
    created_at: float

    @property
    def owner(self) -> Owner:
        return Owner(guild_id=self.guild_id, user_id=self.user_id)


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
    """The newest usable version of each dataset of theirs, newest first."""
    newest: dict[str, Dataset] = {}
    for dataset in await services.store.datasets(owner):
        if dataset.verdict != "rejected" and dataset.usable > 0:
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
            objective=_OBJECTIVE.get(dataset.format or "", Objective.SFT),
            device_memory=best_memory(await workers(services)),
        ),
        created_at=services.store.clock(),
    )
    await _save(services, draft)
    return draft


async def load_draft(services: Services, draft_id: str, owner: Owner) -> Draft:
    """Raises NotFound, also for somebody else's."""
    text = await services.store.get_state(f"draft:{draft_id}")
    draft = Draft.model_validate_json(text) if text else None
    if draft is None or draft.owner != owner:
        raise NotFound("Esa propuesta ya no existe.", hint="Empieza otra con /afinar.")
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
    position, wait = await _queue_ahead(services, draft.owner, crew)
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


async def tweak(services: Services, draft: Draft, answers: Mapping[str, str]) -> Draft:
    """The draft with the answers of the form *Avanzado*; an empty answer keeps what was there. Raises BadInput."""
    must_be_open(draft)
    changes = {field: parse_value(field, text) for field, text in answers.items() if text.strip()}
    try:
        recipe = Recipe.model_validate({**draft.recipe.model_dump(), **changes})
    except ValidationError as error:
        raise BadInput(_explain(error), hint="No he cambiado nada.") from error
    check_recipe(recipe, services.catalog.get(draft.base_id))
    changed = draft.model_copy(update={"recipe": recipe})
    await _save(services, changed)
    return changed


async def confirm(services: Services, draft: Draft, *, channel_id: int | None = None) -> Job:
    """Promise the job. The same draft always gives the same job, also after a crash in between.

    Callers hold one lock per draft. Raises LimitReached, NotFound or WrongState.
    """
    if draft.job_id is not None:
        return await services.store.job(draft.job_id)
    if draft.state == "confirming" and (job := await _already_submitted(services, draft)) is not None:
        await _save(services, draft.model_copy(update={"state": "confirmed", "job_id": job.id}))
        return job
    if draft.state == "discarded":
        raise WrongState("Esa propuesta está descartada.", hint="Empieza otra con /afinar.")
    dataset = await _usable_dataset(services, draft.dataset_id, draft.owner)
    validation_path = await _validation_path(services, dataset)
    await _save(services, draft.model_copy(update={"state": "confirming"}))
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
    await _save(services, draft.model_copy(update={"state": "confirmed", "job_id": job.id}))
    return job


async def discard(services: Services, draft: Draft) -> Draft:
    """Forget the draft. Raises WrongState once it is a job."""
    must_be_open(draft)
    gone = draft.model_copy(update={"state": "discarded"})
    await _save(services, gone)
    return gone


# Queue and speed


async def workers(services: Services) -> list[WorkerInfo]:
    """Who trains at the moment; nobody when the queue cannot be asked."""
    try:
        return await asyncio.to_thread(services.queue.workers)
    except QueueUnavailable:
        return []


def best_memory(crew: Sequence[WorkerInfo]) -> int | None:
    return max((worker.memory_bytes for worker in crew), default=None)


async def tokens_per_second(services: Services, base_id: str, method: Method) -> float | None:
    """What the last finished job of this kind reached; None before the first."""
    text = await services.store.get_state(f"speed:{base_id}:{method}")
    return float(text) if text else None


async def remember_speed(services: Services, job: Job, tokens: int, seconds: float) -> None:
    """Keep what a finished job reached, for the next estimate."""
    if tokens > 0 and seconds > 0:
        key = f"speed:{job.request.base_id}:{job.request.recipe.method}"
        await services.store.set_state(key, f"{tokens / seconds:.3f}")


async def expected_wait(services: Services, job: Job) -> float | None:
    """Seconds until a queued job starts, from what is ahead of it; None when nobody can know."""
    crew = await workers(services)
    return (await _queue_ahead(services, job.owner, crew, job))[1]


async def _queue_ahead(
    services: Services, owner: Owner, crew: Sequence[WorkerInfo], job: Job | None = None
) -> tuple[int, float | None]:
    """Place of `job` (or of a new one of `owner`) and the seconds of work ahead of it, shared among the workers.

    Fair share, as the scheduler sees it: everybody's first job comes before anybody's second.
    """
    turns: dict[Owner, int] = {}
    ahead: list[Job] = []
    everyone = [one for one in await services.store.open_jobs() if one.state is not JobState.PAUSED]
    everyone.sort(key=lambda one: (one.state is JobState.QUEUED, one.created_at, one.id))
    ranked: list[tuple[int, Job]] = []
    for one in everyone:
        turns[one.owner] = turns.get(one.owner, 0) + 1
        ranked.append((turns[one.owner], one))
    mine = next((turn for turn, one in ranked if job and one.id == job.id), turns.get(owner, 0) + 1)
    for turn, one in ranked:
        if job is not None and one.id == job.id:
            continue
        earlier = job is None or one.created_at <= job.created_at
        if one.state is not JobState.QUEUED or turn < mine or (turn == mine and earlier):
            ahead.append(one)
    position = 1 + sum(one.state in (JobState.QUEUED, JobState.DISPATCHED) for one in ahead)
    if not crew:
        return position, None
    if len(ahead) < len(crew):
        return position, 0.0
    lengths = [await _remaining(services, one) for one in ahead]
    known = [length for length in lengths if length is not None]
    return position, sum(known) / len(crew) if len(known) == len(lengths) else None


async def _remaining(services: Services, job: Job) -> float | None:
    """Seconds of work left in somebody's job; None when it cannot be told."""
    try:
        dataset = await services.store.dataset(job.dataset_id, job.owner)
        base = services.catalog.get(job.request.base_id)
        speed = await tokens_per_second(services, base.id, job.request.recipe.method)
        seconds = estimate(job.request.recipe, stats_of(dataset), base, tokens_per_second=speed).seconds
    except AfinaError:
        return None
    done = job.step / job.total_steps if job.total_steps else 0.0
    return seconds * (1 - min(done, 1.0))


# Small parts


def stats_of(dataset: Dataset) -> DataStats:
    return DataStats.from_report(dataset.report.get("stats") or {})


def clean_name(name: str) -> str:
    """A model's name as typed, without what cannot be shown. Raises BadInput."""
    cleaned = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in name)).strip()
    if not re.search(r"\w", cleaned):
        raise BadInput("El nombre necesita al menos una letra o un número.", hint="Por ejemplo: reseñas-ana")
    if len(cleaned) > NAME_LENGTH:
        raise BadInput(f"El nombre tiene {len(cleaned)} caracteres; caben {NAME_LENGTH}.", hint="Elige uno más corto.")
    return cleaned


def suggested_name(text: str) -> str:
    """A name for the form, from the name of the data: «reseñas.jsonl» → «reseñas»."""
    stem = re.sub(r"\.(jsonl?|txt|csv)$", "", text, flags=re.IGNORECASE).strip()
    return stem[:NAME_LENGTH].strip() or "mi modelo"


def free_name(name: str, taken: Sequence[str]) -> str:
    """`name`, or «name 2», «name 3» … where it is taken (case does not count)."""
    used = {one.casefold() for one in taken}
    candidate, number = name, 1
    while candidate.casefold() in used:
        number += 1
        candidate = f"{name[: NAME_LENGTH - len(str(number)) - 1]} {number}"
    return candidate


FIELDS = {
    "rank": "Rango",
    "learning_rate": "Tasa de aprendizaje",
    "epochs": "Vueltas",
    "max_length": "Longitud máxima",
    "seed": "Semilla",
}


def parse_value(field: str, text: str) -> float | int:
    """A number as people type it («2e-4», «0,0002», «1 024»). Raises BadInput."""
    compact = re.sub(r"[\s\u202f\u00a0]", "", text).replace(",", ".")
    try:
        value = float(compact)
        return value if field == "learning_rate" else _whole(value)
    except (ValueError, OverflowError):
        kind = "un número" if field == "learning_rate" else "un número entero"
        raise BadInput(f"{FIELDS[field]}: «{text.strip()[:40]}» no es {kind}.") from None


def _whole(value: float) -> int:
    if value != int(value):
        raise ValueError(value)
    return int(value)


def _explain(error: ValidationError) -> str:
    """The first limit that was broken, in Spanish."""
    first = error.errors()[0]
    name = FIELDS.get(str(first["loc"][0]) if first["loc"] else "", "Un valor")
    context = first.get("ctx", {})
    bounds = {"ge": "como mínimo", "gt": "mayor que", "le": "como máximo", "lt": "menor que"}
    for key, words in bounds.items():
        if key in context:
            limit = f"{context[key]:g}".replace(".", ",")
            return f"{name}: tiene que ser {words} {limit}."
    return f"{name}: ese valor no vale."


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


def must_be_open(draft: Draft) -> None:
    """Raises WrongState for a draft that was confirmed or discarded."""
    if draft.state in ("confirmed", "confirming"):
        raise WrongState("Ese entrenamiento ya está confirmado.", hint="Míralo con /entrenamientos ver.")
    if draft.state == "discarded":
        raise WrongState("Esa propuesta está descartada.", hint="Empieza otra con /afinar.")


async def _usable_dataset(services: Services, dataset_id: str, owner: Owner) -> Dataset:
    dataset = await services.store.dataset(dataset_id, owner)
    if dataset.verdict == "rejected" or dataset.usable < 1:
        raise WrongState(
            "Con estos datos todavía no se puede entrenar.", hint="Repáralos primero: el informe dice qué falla."
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


async def _save(services: Services, draft: Draft) -> None:
    await services.store.set_state(f"draft:{draft.id}", draft.model_dump_json())
