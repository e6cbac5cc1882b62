"""The dataset desk: taking a file, judging it, looking at it, letting it go.

Rule of this file: the whole decision without Discord. The bot never reads a file of a stranger itself; a child process
with limits does (`jobs.dataset.sandbox`). A file is stored before anything is said about it, originals are never
changed, and every step gives a row of the store. Names are for people only and never become paths. What is made from
data that are here already is the business of `bot/versions.py`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import tempfile
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bot import consent
from bot.errors import LimitReached, NotFound
from bot.members import may_keep
from bot.moderation import host_phrases
from bot.records import Dataset, Owner
from bot.services import Services
from bot.settings import Settings
from bot.store import new_id
from jobs.artifacts import Artifacts
from jobs.catalog import base_folder
from jobs.dataset.limits import MIB, Limits
from jobs.dataset.sandbox import ask_child, child_steps
from jobs.errors import DatasetError, TooLarge
from jobs.moderation import Wishes

NAME_LENGTH = 80
_NOT_NAME = re.compile(r"[\s\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff/\\]+")


@dataclass(frozen=True, kw_only=True, slots=True)
class Shown:
    """One example as the model will see it: pieces of text, and whether each is learnt."""

    line: int
    pieces: tuple[tuple[str, bool], ...]
    learns: bool
    error: str | None = None  # the template refuses this example


def limits_of(settings: Settings) -> Limits:
    """Of this machine, whatever server it is."""
    blocked, allowed = host_phrases(settings)
    return Limits(
        moderation=Wishes(level=settings.moderation, blocked=blocked, allowed=allowed),
        file_bytes=settings.max_file_bytes,
        lines=settings.max_lines,
        line_bytes=settings.max_line_bytes,
        tokens=settings.max_tokens,
    )


async def limits_in(services: Services, owner: Owner) -> Limits:
    """With what the owner's server does not want to see in data."""
    return replace(limits_of(services.settings), moderation=await services.moderation.wishes(owner.guild_id))


def clean_name(file_name: str) -> str:
    """What a dataset is called after a file: without folders, ending and characters that nobody sees."""
    name = _NOT_NAME.sub(" ", file_name.replace("\\", "/").rsplit("/", 1)[-1]).strip()
    for ending in (".gz", ".zip", ".jsonl", ".json", ".csv", ".tsv", ".txt", ".ndjson"):
        if name.lower().endswith(ending):
            name = name[: -len(ending)]
    return name.strip(" ._")[:NAME_LENGTH] or "datos"


def check_size(settings: Settings, size: int) -> None:
    """Before anything is downloaded. Raises TooLarge."""
    if size > settings.max_file_bytes:
        raise TooLarge(
            f"El archivo ocupa {f'{size / MIB:.1f}'.replace('.', ',')} MiB "
            f"y el límite es de {settings.max_file_bytes / MIB:.0f} MiB."
        )


# Taking a file


def new_dataset(
    owner: Owner,
    *,
    name: str,
    consent_at: float,
    created_at: float,
    validation_id: str | None = None,
    licence: str | None = None,
) -> Dataset:
    """The row of a file that was neither stored nor judged yet."""
    return Dataset(
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
        created_at=created_at,
        consent_version=consent.VERSION,
        licence=licence,
    )


async def receive(
    services: Services,
    owner: Owner,
    *,
    name: str,
    data: bytes,
    consent_at: float,
    validation_id: str | None = None,
    licence: str | None = None,
) -> AsyncIterator[Dataset]:
    """Store an uploaded file and judge it: the row after the structure was looked at, and again after the whole."""
    check_size(services.settings, len(data))
    now = services.store.clock()
    draft = new_dataset(
        owner, name=name, consent_at=consent_at, created_at=now, validation_id=validation_id, licence=licence
    )
    async with temporary_folder() as folder:
        source = folder / "upload"
        await asyncio.to_thread(source.write_bytes, data)
        async for dataset in judge(services, source, draft):
            yield dataset


async def judge(services: Services, source: Path, draft: Dataset) -> AsyncIterator[Dataset]:
    """Store `source` as the file of a new row; yields the row after each step of its report.

    Raises LimitReached before anything is stored when its owner has no room for it.
    """
    limits = await may_keep(services, draft.owner, bytes=source.stat().st_size)
    draft = await with_file(services.artifacts, draft, source)
    stored: Dataset | None = None
    try:
        async for report in _reports(services, source, draft):
            judged = with_report(stored or draft, report)
            if stored is None:
                stored = await services.store.add_dataset(judged, limits=limits)
            else:
                stored = await services.store.update_dataset(judged)
            yield stored
    except (DatasetError, LimitReached) as error:
        if stored is None:
            await asyncio.to_thread(services.artifacts.delete, draft.path)
            raise
        cut_short = {**stored.report, "complete": True, "cut_short": error.message}
        yield await services.store.update_dataset(replace(stored, report=cut_short))


async def with_file(artifacts: Artifacts, draft: Dataset, source: Path) -> Dataset:
    """The row with a copy of `source` among the artifacts as its file."""
    path = await asyncio.to_thread(artifacts.put_dataset, draft.id, draft.version, source)
    return replace(draft, path=path, bytes=source.stat().st_size, sha256=await asyncio.to_thread(_sha256, source))


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


async def _reports(services: Services, source: Path, dataset: Dataset) -> AsyncIterator[Any]:
    base = base_folder(services.settings.data_dir, services.settings.default_base)
    steps = child_steps(
        "check",
        limits=await limits_in(services, dataset.owner),
        path=str(source),
        name=dataset.name,
        tokenizer=str(base) if (base / "tokenizer.json").is_file() else None,
    )
    async with aclosing(steps):
        async for report in steps:
            yield report


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
    async for report in _reports(services, source, dataset):
        dataset = with_report(dataset, report)
    return await services.store.update_dataset(dataset)


# Secrets


def has_open_secrets(dataset: Dataset) -> bool:
    """Secrets were found, and nobody has covered them or said that they are none."""
    found = any(group["code"] == "secret" for group in dataset.report.get("groups", ()))
    return found and not dataset.report.get("secrets_confirmed", False)


async def confirm_secrets(services: Services, dataset_id: str, owner: Owner) -> Dataset:
    """The person says that what looks like secrets is none."""
    dataset = await services.store.dataset(dataset_id, owner)
    return await services.store.update_dataset(replace(dataset, report={**dataset.report, "secrets_confirmed": True}))


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
    async with temporary_folder() as folder:
        out = folder / "informe"
        limits = await limits_in(services, dataset.owner)
        await ask_child("whole", limits=limits, path=str(source), name=dataset.name, out=str(out))
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
async def temporary_folder() -> AsyncIterator[Path]:
    """A folder for files on their way, gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="afina-") as folder:
        yield Path(folder)
