"""The dataset desk: taking a file, judging it, mending it, dividing it, joining several, letting it go.

Rule of this file: the whole decision without Discord. The bot never reads a file of a stranger itself; a child process
with limits does (`jobs.dataset.sandbox`). A file is stored before anything is said about it, originals are never
changed, and every step gives a row of the store. Names are for people only and never become paths.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot.errors import BadInput, NotFound, WrongState
from bot.records import Dataset, Owner
from bot.services import Services
from bot.settings import Settings
from bot.store import new_id
from jobs.catalog import base_folder
from jobs.dataset.limits import MIB, Limits
from jobs.dataset.sandbox import ask_child, child_steps
from jobs.errors import DatasetError, NothingToLearn, TooLarge

NAME_LENGTH = 80
VALIDATION = " (validación)"
SAMPLE = " (muestra)"
_NOT_NAME = re.compile(r"[\s\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff/\\]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One thing that a repair did."""

    line: int | None
    code: str
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One example as the model will see it: pieces of text, and whether each is learnt."""

    line: int
    pieces: tuple[tuple[str, bool], ...]
    learns: bool
    error: str | None = None  # the template refuses this example


def limits_of(settings: Settings) -> Limits:
    return Limits(
        file_bytes=settings.max_file_bytes,
        lines=settings.max_lines,
        line_bytes=settings.max_line_bytes,
        tokens=settings.max_tokens,
    )


def clean_name(file_name: str) -> str:
    """What a dataset is called after a file: without folders, ending and characters that nobody sees."""
    name = _NOT_NAME.sub(" ", file_name.replace("\\", "/").rsplit("/", 1)[-1]).strip()
    for ending in (".gz", ".zip", ".jsonl", ".json", ".csv", ".tsv", ".txt", ".ndjson"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name.strip(" .")[:NAME_LENGTH] or "datos"


def check_size(settings: Settings, size: int) -> None:
    """Before anything is downloaded. Raises TooLarge."""
    if size > settings.max_file_bytes:
        raise TooLarge(
            f"El archivo ocupa {size / MIB:.1f} MiB y el límite es de {settings.max_file_bytes / MIB:.0f} MiB.".replace(
                ".", ","
            )
        )


# Taking a file


async def receive(
    services: Services, owner: Owner, *, name: str, data: bytes, consent_at: float, validation_id: str | None = None
) -> AsyncIterator[Dataset]:
    """Store an uploaded file and judge it: the row after the structure was looked at, and again after the whole."""
    check_size(services.settings, len(data))
    async with _folder() as folder:
        source = folder / "upload"
        await asyncio.to_thread(source.write_bytes, data)
        async for dataset in _judge(
            services,
            source,
            Dataset(
                id=new_id(),
                owner=owner,
                name=clean_name(name),
                version=1,
                parent_id=None,
                path="",
                sha256="",
                bytes=0,
                format=None,
                verdict="rejected",
                examples=0,
                usable=0,
                report={},
                validation_id=validation_id,
                consent_at=consent_at,
                created_at=services.store.clock(),
            ),
        ):
            yield dataset


async def _judge(services: Services, source: Path, draft: Dataset) -> AsyncIterator[Dataset]:
    """Store `source` as the file of a new row; yields the row after each step of its report."""
    data = await asyncio.to_thread(source.read_bytes)
    path = await asyncio.to_thread(services.artifacts.put_dataset, draft.id, draft.version, source)
    draft = replace(draft, path=path, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    del data
    stored: Dataset | None = None
    try:
        async for report in _reports(services, source, draft.name):
            judged = with_report(stored or draft, report)
            stored = await services.store.add_dataset(judged) if stored is None else await _update(services, judged)
            yield stored
    except DatasetError as error:
        if stored is None:
            await asyncio.to_thread(services.artifacts.delete, path)
            raise
        cut_short = {**stored.report, "complete": True, "cut_short": error.message}
        yield await _update(services, replace(stored, report=cut_short))


async def _update(services: Services, dataset: Dataset) -> Dataset:
    return await services.store.update_dataset(dataset)


def _reports(services: Services, source: Path, name: str) -> AsyncIterator[Any]:
    base = base_folder(services.settings.data_dir, services.settings.default_base)
    return child_steps(
        "check",
        limits=limits_of(services.settings),
        path=str(source),
        name=name,
        tokenizer=str(base) if (base / "tokenizer.json").is_file() else None,
    )


def format_of(report: dict[str, Any]) -> str | None:
    """The format of a report; judged answers are told apart by name, for they are trained differently."""
    return "kto" if report["stats"].get("kind") == "kto" else report["format"]


def with_report(dataset: Dataset, report: dict[str, Any]) -> Dataset:
    """The row with what a report says."""
    return replace(
        dataset,
        format=format_of(report),
        verdict=report["verdict"],
        examples=report["examples"],
        usable=report["usable"] or 0,
        report=report,
    )


async def look_again(services: Services, dataset: Dataset) -> Dataset:
    """Finish a report that a restart cut short."""
    if dataset.report.get("complete", True):
        return dataset
    source = await asyncio.to_thread(services.artifacts.local, dataset.path)
    async for report in _reports(services, source, dataset.name):
        dataset = with_report(dataset, report)
    return await _update(services, dataset)


# Secrets


def has_open_secrets(dataset: Dataset) -> bool:
    """Secrets were found, and nobody has covered them or said that they are none."""
    found = any(group["code"] == "secret" for group in dataset.report.get("groups", ()))
    return found and not dataset.report.get("secrets_confirmed", False)


async def confirm_secrets(services: Services, dataset_id: str, owner: Owner) -> Dataset:
    """The person says that what looks like secrets is none."""
    dataset = await services.store.dataset(dataset_id, owner)
    return await _update(services, replace(dataset, report={**dataset.report, "secrets_confirmed": True}))


# Mending, dividing, joining


async def repair(
    services: Services, dataset_id: str, owner: Owner, *, redact: bool = False
) -> tuple[Dataset, list[Change]]:
    """A new version without errors, and what was changed. Raises NothingToLearn, or WrongState if nothing changes."""
    dataset = await services.store.dataset(dataset_id, owner)
    source = await asyncio.to_thread(services.artifacts.local, dataset.path)
    async with _folder() as folder:
        out = folder / "repaired"
        done = await ask_child(
            "repair", limits=limits_of(services.settings), path=str(source), out=str(out), redact=redact
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
    async for step in _judge(services, source, draft):
        made = step
    return made


async def split(services: Services, dataset_id: str, owner: Owner, *, percent: int) -> tuple[Dataset, Dataset]:
    """(a new version to train on, the rows kept apart), groups of twins whole on one side. Raises WrongState."""
    dataset = await _usable(services, dataset_id, owner)
    if not 1 <= percent <= 50:
        raise BadInput("El porcentaje tiene que estar entre 1 y 50.", hint="Lo normal es un 10 o un 20 %.")
    source = await asyncio.to_thread(services.artifacts.local, dataset.path)
    async with _folder() as folder:
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
    async with _folder() as folder:
        out = folder / "sample"
        limits = limits_of(services.settings)
        await ask_child("sample", limits=limits, path=str(source), out=str(out), count=size, seed=42)
        return await _version(services, dataset, out, name=f"{dataset.name[: NAME_LENGTH - 20]}{SAMPLE}")


async def without(services: Services, dataset_id: str, owner: Owner, *, code: str) -> tuple[Dataset, int]:
    """(a new version without the rows that have this problem, how many those were). Raises WrongState."""
    dataset = await _usable(services, dataset_id, owner)
    source = await asyncio.to_thread(services.artifacts.local, dataset.path)
    async with _folder() as folder:
        out = folder / "filtered"
        done = await ask_child(
            "without", limits=limits_of(services.settings), path=str(source), out=str(out), code=code
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
    async with _folder() as folder:
        out = folder / "merged"
        await ask_child("merge", limits=limits_of(services.settings), paths=paths, out=str(out))
        check_size(services.settings, out.stat().st_size)
        return await _version(services, first, out, name=clean_name(name))


async def link_validation(services: Services, dataset: Dataset, validation: Dataset) -> tuple[Dataset, Dataset]:
    """Both with a warning at every example that stands in both."""
    paths = [await asyncio.to_thread(services.artifacts.local, one.path) for one in (dataset, validation)]
    shared = await ask_child(
        "overlap", limits=limits_of(services.settings), train=str(paths[0]), validation=str(paths[1])
    )
    sides = []
    for one, problems in ((dataset, shared["train"]), (validation, shared["validation"])):
        linked = with_problems(one, problems) if problems else one
        sides.append(await _update(services, linked) if problems else linked)
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


async def _usable(services: Services, dataset_id: str, owner: Owner) -> Dataset:
    dataset = await services.store.dataset(dataset_id, owner)
    if not dataset.usable:
        raise WrongState("En esos datos no hay ninguna línea utilizable.", hint="Repáralos primero.")
    return dataset


# Looking and letting go


async def find(services: Services, owner: Owner, wanted: str) -> Dataset:
    """By id, or the newest version under a name. Raises NotFound."""
    try:
        return await services.store.dataset(wanted, owner)
    except NotFound:
        return await services.store.dataset_by_name(owner, wanted.strip())


async def examples(services: Services, dataset: Dataset, *, start: int, count: int = 1) -> list[Shown]:
    """Usable examples from the `start`-th (from 0), as the default base will see them."""
    source = await asyncio.to_thread(services.artifacts.local, dataset.path)
    base = base_folder(services.settings.data_dir, services.settings.default_base)
    steps = child_steps(
        "show",
        limits=limits_of(services.settings),
        path=str(source),
        template=str(base) if base.is_dir() else None,
        start=start,
        count=count,
    )
    return [
        Shown(
            line=step["line"],
            pieces=tuple((text, learnt) for text, learnt in step["pieces"]),
            learns=step["learns"],
            error=step.get("error"),
        )
        async for step in steps
    ]


async def whole_report(services: Services, dataset: Dataset) -> dict[str, bytes]:
    """Every problem, as a readable file and as JSONL: file name → content."""
    source = await asyncio.to_thread(services.artifacts.local, dataset.path)
    async with _folder() as folder:
        out = folder / "informe"
        await ask_child("whole", limits=limits_of(services.settings), path=str(source), name=dataset.name, out=str(out))
        return {f"informe.{kind}": Path(f"{out}.{kind}").read_bytes() for kind in ("txt", "jsonl")}


async def contents(services: Services, dataset: Dataset) -> bytes:
    """The file itself."""
    source = await asyncio.to_thread(services.artifacts.local, dataset.path)
    return await asyncio.to_thread(source.read_bytes)


async def delete(services: Services, dataset_id: str, owner: Owner) -> Dataset:
    """The row, then its file. Raises NotFound, or WrongState while an open job needs it."""
    gone = await services.store.delete_dataset(dataset_id, owner)
    await asyncio.to_thread(services.artifacts.delete, gone.path)
    return gone


@asynccontextmanager
async def _folder() -> AsyncIterator[Path]:
    """A folder for files on their way, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="afina-") as folder:
        yield Path(folder)
