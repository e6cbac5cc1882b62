"""Backups: everything that cannot be made again, out of a running Afina and back into an empty place.

Rule of this file: database, datasets, adapters, course pages that staff added, and afina-mini (adapters need the very
base they were made on). Who erased themselves after a backup was made is not brought back by it: the log of deletions
(`bot/deletions.py`) lies beside every archive and beside the database. The database is copied first: what its rows
point to exists before the row does. An archive is read back before it counts as made, and checked completely before
anything of it is put into place; the database goes last. Not in it: the queue (SQLite is the truth), checkpoints (a
job that ran starts again), bases that can be downloaded, secrets, and files in an object store, which has its own
versions.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from bot.archive import BackupError, Manifest, read_archive, write_archive
from bot.deletions import FILE as DELETIONS
from bot.deletions import DeletionLog, person
from bot.records import Owner
from bot.settings import Settings
from bot.store.copies import copy_database, examine_database, without_people
from jobs.artifacts import Artifacts

DATABASE = "afina.sqlite3"
MINI = "bases/afina-mini"
_HALF_WRITTEN = re.compile(r"(^|/)\.tmp-|\.part$")


@dataclass(frozen=True, kw_only=True, slots=True)
class Backup:
    """What was copied or restored."""

    archive: Path
    manifest: Manifest
    missing: tuple[str, ...] = ()  # files that rows point to and that are not in the archive
    forgotten: int = 0  # people in the archive who erased themselves later: they were left out

    @property
    def bytes(self) -> int:
        return sum(file.bytes for file in self.manifest.files.values())


def back_up(settings: Settings, target: Path) -> Backup:
    """Write an archive to `target`, which must not exist; the bot may go on working.

    Raises BackupError, StoreUnavailable, OSError when the disk is full; then nothing is left at `target`.
    """
    if not settings.database.exists():
        raise BackupError(f"En {settings.data_dir} no hay nada que copiar.", hint="¿Es esa la carpeta AFINA_DATA_DIR?")
    if target.exists():
        raise BackupError(f"{target} ya existe y no lo voy a pisar.", hint="Elige otro nombre.")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".afina-backup-") as scratch:
        copy, partial = Path(scratch) / DATABASE, Path(scratch) / "archive.tar"
        if damage := examine_database(settings.database).damage:
            raise BackupError(f"La base de datos está dañada: {damage[0]}.", hint="Restaura una copia anterior.")
        copy_database(settings.database, copy)
        files = {DATABASE: copy, **dict(_files(settings))}
        manifest = write_archive(partial, files, created_at=time.time(), artifacts=_object_store(settings))
        if read_archive(partial, None, tops=_places(settings)) != manifest:
            raise BackupError("Al releer la copia no sale lo mismo.", hint="Mira si el disco falla.")
        partial.rename(target)
        wanted = examine_database(copy).files
    DeletionLog(target.parent / DELETIONS).add(DeletionLog.of(settings).lines())
    _sync(target.parent)
    return Backup(archive=target, manifest=manifest, missing=_missing(wanted, manifest))


def restore(settings: Settings, archive: Path) -> Backup:
    """Put an archive into an empty data folder. Raises BackupError and OSError, with nothing put into place."""
    _refuse_if_unfit(settings, archive)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=settings.data_dir, prefix=".restore-") as name:
        scratch = Path(name)
        manifest = read_archive(archive, scratch, tops=_places(settings))
        if manifest.artifacts != _object_store(settings):
            where = manifest.artifacts or "la carpeta de datos"
            raise BackupError(
                f"Los datos y modelos de esta copia van en {where}.", hint="Pon AFINA_ARTIFACTS_URL como estaba."
            )
        if DATABASE not in manifest.files:
            raise BackupError(f"En {archive.name} falta la base de datos.")
        found = examine_database(scratch / DATABASE)
        if found.damage:
            raise BackupError(f"La base de datos de la copia está dañada: {found.damage[0]}.")
        if found.too_new:
            raise BackupError(f"La copia es de Afina {manifest.version}, más nueva.", hint="Actualiza Afina antes.")
        log = DeletionLog.of(settings)
        log.add(DeletionLog(archive.parent / DELETIONS).lines())
        forgotten, theirs = without_people(scratch / DATABASE, lambda owners: _gone(log, owners, manifest.created_at))
        for path in theirs:
            _drop(scratch, path)
        wanted = tuple(path for path in found.files if path not in theirs)
        _put_into_place(scratch, settings)
    return Backup(archive=archive, manifest=manifest, missing=_missing(wanted, manifest), forgotten=forgotten)


def _gone(log: DeletionLog, owners: Collection[Owner], since: float) -> list[Owner]:
    names = {person(owner): owner for owner in owners}
    return [names[name] for name in sorted(log.deleted_since(names, since))]


def _drop(scratch: Path, path: str) -> None:
    """Something that was unpacked and must not be put into place."""
    victim = (scratch / path).resolve()
    if not victim.is_relative_to(scratch.resolve()):
        return
    if victim.is_dir():
        shutil.rmtree(victim)
    else:
        victim.unlink(missing_ok=True)


def _places(settings: Settings) -> dict[str, Path]:
    """Where each top of an archive lies on this machine, in the order of restoring: the database last."""
    root = Artifacts(settings.artifacts).folder
    artifacts = {top: root / top for top in ("datasets", "adapters")} if root is not None else {}
    data = settings.data_dir
    return {**artifacts, "course": data / "course", MINI: data / MINI, DATABASE: settings.database}


def _files(settings: Settings) -> Iterator[tuple[str, Path]]:
    """Name in the archive and place on disk of every file but the database."""
    for top, place in _places(settings).items():
        for path in sorted(place.rglob("*")) if top != DATABASE else ():
            name = f"{top}/{path.relative_to(place).as_posix()}"
            if path.is_file() and not path.is_symlink() and not _HALF_WRITTEN.search(name):
                yield name, path


def _refuse_if_unfit(settings: Settings, archive: Path) -> None:
    for top, place in _places(settings).items():
        # An afina-mini that a worker has put there already is no reason to stop.
        if top != MINI and place.exists() and not (place.is_dir() and not any(place.iterdir())):
            raise BackupError(
                f"Aquí ya hay datos de Afina: {place}.", hint="Restaura en una carpeta vacía (AFINA_DATA_DIR)."
            )
    if not archive.is_file():
        raise BackupError(f"No encuentro {archive}.", hint="Revisa el nombre y la carpeta.")
    folder = next(path for path in (settings.data_dir, *settings.data_dir.resolve().parents) if path.exists())
    needed, free = archive.stat().st_size, shutil.disk_usage(folder).free
    if needed > free:
        sizes = f"la copia ocupa {needed / 1e9:.1f} GB y quedan {free / 1e9:.1f} GB".replace(".", ",")
        raise BackupError(f"No cabe: {sizes}.", hint="Haz sitio o elige otra carpeta.")


def _put_into_place(scratch: Path, settings: Settings) -> None:
    for name, place in _places(settings).items():
        source = scratch / name
        if not source.exists():
            continue
        if place.is_dir():
            shutil.rmtree(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.move(source, place)
        _sync(place.parent)


def _object_store(settings: Settings) -> str | None:
    return settings.artifacts_url if Artifacts(settings.artifacts).folder is None else None


def _missing(wanted: tuple[str, ...], manifest: Manifest) -> tuple[str, ...]:
    """Paths of the artifact root that are neither a file of the archive nor the folder of an adapter in it."""
    if manifest.artifacts is not None:
        return ()
    there = {"/".join(PurePosixPath(name).parts[:2]) for name in manifest.files} | set(manifest.files)
    return tuple(path for path in wanted if path not in there)


def _sync(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
