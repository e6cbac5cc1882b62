"""New versions out of data that are here already: mended, divided, sampled, filtered, joined.

Rule of this file: the original is never changed; what is made is a row of its own, judged like an upload. Rows are
rewritten by the child process (`jobs.dataset.sandbox`), never here.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.consent import joined
from bot.datasets import NAME_LENGTH, check_size, clean_name, judge, limits_in, limits_of, temporary_folder
from bot.errors import BadInput, WrongState
from bot.members import may_keep
from bot.records import Dataset, Owner
from bot.services import Services
from bot.store import new_id
from jobs.dataset.sandbox import ask_child
from jobs.errors import NothingToLearn

VALIDATION = " (validación)"
SAMPLE = " (muestra)"


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that a repair did."""

    line: int | None
    code: str
    message: str


async def repair(
    services: Services, dataset_id: str, owner: Owner, *, redact: bool = False
) -> tuple[Dataset, list[Change]]:
    """A new version without errors, and what was changed. Raises NothingToLearn, or WrongState if nothing changes."""
    await may_keep(services, owner, bytes=0)
    dataset = await services.store.dataset(dataset_id, owner)
    source = await asyncio.to_thread(services.artifacts.local, dataset.path)
    async with temporary_folder() as folder:
        out = folder / "repaired"
        done = await ask_child(
            "repair", limits=await limits_in(services, owner), path=str(source), out=str(out), redact=redact
        )
        if not done["usable"]:
            raise NothingToLearn(
                "No queda ninguna línea que se pueda entrenar.",
                hint="El original sigue guardado. Mira el informe, o empieza por /datos plantilla.",
            )
        changes = [Change(**change) for change in done["changes"]]
        if not changes:
            raise WrongState("No hay nada que reparar.", hint="El archivo se queda como está.")
        return await _version(services, dataset, out), changes


async def _version(
    services: Services, parent: Dataset, source: Path, *, name: str | None = None, validation_id: str | None = None
) -> Dataset:
    """A judged row made from another one; the last step of its report."""
    draft = replace(
        parent,
        id=new_id(),
        name=name or parent.name,
        version=1 if name else parent.version + 1,
        parent_id=parent.id,
        validation_id=validation_id or parent.validation_id,
        created_at=services.store.clock(),
    )
    made = draft
    async for step in judge(services, source, draft):
        made = step
    return made


async def split(services: Services, dataset_id: str, owner: Owner, *, percent: int) -> tuple[Dataset, Dataset]:
    """(a new version to train on, the rows kept apart), groups of twins whole on one side. Raises WrongState."""
    dataset = await _usable(services, dataset_id, owner, files=2)
    if not 1 <= percent <= 50:
        raise BadInput("El porcentaje tiene que estar entre 1 y 50.", hint="Lo normal es un 10 o un 20 %.")
    source = await asyncio.to_thread(services.artifacts.local, dataset.path)
    async with temporary_folder() as folder:
        train, kept = folder / "train", folder / "kept"
        counts = await ask_child(
            "split",
            limits=limits_of(services.settings),
            path=str(source),
            train=str(train),
            validation=str(kept),
            fraction=percent / 100,
            seed=42,
        )
        if not counts["train"] or not counts["validation"]:
            raise WrongState("Hay demasiado pocos ejemplos distintos para dividirlos.", hint="Añade más ejemplos.")
        validation = await _version(services, dataset, kept, name=f"{dataset.name[: NAME_LENGTH - 20]}{VALIDATION}")
        return await _version(services, dataset, train, validation_id=validation.id), validation


async def sample(services: Services, dataset_id: str, owner: Owner, *, size: int) -> Dataset:
    """A dataset of its own with `size` usable rows chosen at random. Raises WrongState where there are no more."""
    dataset = await _usable(services, dataset_id, owner)
    if size >= dataset.usable:
        hint = f"Pide menos de {dataset.usable}."
        raise WrongState(f"Solo hay {dataset.usable} ejemplos utilizables: eso ya es todo.", hint=hint)
    source = await asyncio.to_thread(services.artifacts.local, dataset.path)
    async with temporary_folder() as folder:
        out = folder / "sample"
        limits = limits_of(services.settings)
        await ask_child("sample", limits=limits, path=str(source), out=str(out), count=size, seed=42)
        return await _version(services, dataset, out, name=f"{dataset.name[: NAME_LENGTH - 20]}{SAMPLE}")


async def without(services: Services, dataset_id: str, owner: Owner, *, code: str) -> tuple[Dataset, int]:
    """(a new version without the rows that have this problem, how many those were). Raises WrongState."""
    dataset = await _usable(services, dataset_id, owner)
    source = await asyncio.to_thread(services.artifacts.local, dataset.path)
    async with temporary_folder() as folder:
        out = folder / "filtered"
        done = await ask_child(
            "without", limits=await limits_in(services, owner), path=str(source), out=str(out), code=code
        )
        if not done["dropped"]:
            raise WrongState(
                "Ningún ejemplo utilizable tiene ese aviso.", hint="Elige uno de los que salen en el informe."
            )
        if not done["kept"]:
            raise WrongState(
                "Todos los ejemplos tienen ese aviso: no quedaría nada.", hint="Los datos siguen como estaban."
            )
        return await _version(services, dataset, out), done["dropped"]


async def merge(services: Services, owner: Owner, *, ids: tuple[str, str], name: str) -> Dataset:
    """One dataset with the usable rows of two, each once. Raises DatasetError where their kinds differ."""
    first, second = [await _usable(services, one, owner) for one in ids]
    paths = [str(await asyncio.to_thread(services.artifacts.local, one.path)) for one in (first, second)]
    async with temporary_folder() as folder:
        out = folder / "merged"
        await ask_child("merge", limits=limits_of(services.settings), paths=paths, out=str(out))
        check_size(services.settings, out.stat().st_size)
        licence = joined(first.licence, second.licence)
        return await _version(services, replace(first, licence=licence), out, name=clean_name(name))


async def link_validation(services: Services, dataset: Dataset, validation: Dataset) -> tuple[Dataset, Dataset]:
    """Both with a warning at every example that stands in both."""
    paths = [await asyncio.to_thread(services.artifacts.local, one.path) for one in (dataset, validation)]
    shared = await ask_child(
        "overlap", limits=limits_of(services.settings), train=str(paths[0]), validation=str(paths[1])
    )
    sides = []
    for one, problems in ((dataset, shared["train"]), (validation, shared["validation"])):
        linked = with_problems(one, problems) if problems else one
        sides.append(await services.store.update_dataset(linked) if problems else linked)
    return sides[0], sides[1]


def with_problems(dataset: Dataset, problems: list[dict[str, Any]]) -> Dataset:
    """The row with more warnings of one code in its report."""
    first = problems[0]
    group = {key: first[key] for key in ("code", "severity", "field", "message", "fix")}
    group |= {"count": len(problems), "lines": [problem["line"] for problem in problems][:12]}
    report = {
        **dataset.report,
        "problems": [*dataset.report["problems"], *problems[:100]],
        "groups": [*dataset.report["groups"], group],
        "verdict": "warnings" if dataset.verdict == "valid" else dataset.verdict,
    }
    return replace(dataset, report=report, verdict=report["verdict"])


async def _usable(services: Services, dataset_id: str, owner: Owner, *, files: int = 1) -> Dataset:
    """Something to make `files` more out of. Raises NotFound, WrongState, LimitReached."""
    await may_keep(services, owner, bytes=0, files=files)
    dataset = await services.store.dataset(dataset_id, owner)
    if not dataset.usable:
        raise WrongState("En esos datos no hay ninguna línea utilizable.", hint="Repáralos primero.")
    return dataset
