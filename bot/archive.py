"""The format of a backup: a plain tar whose last member is a manifest with the hash of every other.

Rule of this file: an archive that was cut, changed or made by somebody else is refused, whatever is in it; only regular
files under the names asked for are ever unpacked. What belongs into a backup, and where it goes, is `bot.backup`.
"""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from collections.abc import Collection, Mapping
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import IO

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from jobs.errors import AfinaError

FORMAT = 1
MANIFEST = "manifest.json"
_MANIFEST_BYTES = 64 * 2**20
_CHUNK = 2**20


class BackupError(AfinaError):
    code = "backup"
    default = "La copia de seguridad no vale."
    default_hint = "Usa otra copia."


class Copied(BaseModel):
    """One file of an archive."""

    model_config = ConfigDict(frozen=True)

    sha256: str
    bytes: int = Field(ge=0)


class Manifest(BaseModel):
    """What the other members are."""

    model_config = ConfigDict(frozen=True)

    format: int
    version: str  # of the Afina that made it
    created_at: float  # Unix seconds
    artifacts: str | None = None  # address of the object store that holds datasets and adapters; None: they are here
    files: dict[str, Copied]


def write_archive(target: Path, files: Mapping[str, Path], *, created_at: float, artifacts: str | None) -> Manifest:
    """Write `files` (name in the archive → file) to `target`, readable by its owner only.

    A file that is gone by the time its turn comes is left out. Raises FileExistsError, OSError.
    """
    copied: dict[str, Copied] = {}
    with os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as out:
        with tarfile.open(fileobj=out, mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for name, path in files.items():
                try:
                    with path.open("rb") as source:
                        copied[name] = _add(tar, name, source)
                except FileNotFoundError:
                    continue
            facts = Manifest(
                format=FORMAT, version=version("afina"), created_at=created_at, artifacts=artifacts, files=copied
            )
            _add(tar, MANIFEST, io.BytesIO(facts.model_dump_json(indent=1).encode()))
        out.flush()
        os.fsync(out.fileno())
    return facts


def read_archive(archive: Path, folder: Path | None, *, tops: Collection[str]) -> Manifest:
    """Check an archive from beginning to end, and unpack it into the empty `folder` if there is one.

    `tops`: the files and folders that may be in it. Raises BackupError; OSError when the disk is full.
    """
    found: dict[str, Copied] = {}
    text: bytes | None = None
    try:
        with tarfile.open(archive, mode="r|") as tar:
            for member in tar:
                source = tar.extractfile(member) if _is_ours(member, tops) else None
                if source is None or text is not None or member.name in found:
                    raise BackupError(f"En {archive.name} hay algo que Afina no puso: «{member.name}».")
                if member.name == MANIFEST:
                    text = source.read(_MANIFEST_BYTES)
                else:
                    found[member.name] = _take(source, folder and folder / member.name)
    except (tarfile.TarError, EOFError) as error:
        raise BackupError(f"{archive.name} está cortado o no es una copia de Afina.") from error
    if text is None:
        raise BackupError(f"{archive.name} está cortado o no es una copia de Afina.")
    try:
        manifest = Manifest.model_validate_json(text)
    except ValidationError as error:
        raise BackupError(f"No entiendo la lista de archivos de {archive.name}.") from error
    if manifest.format != FORMAT:
        raise BackupError(f"{archive.name} es de otra versión de Afina ({manifest.version}).", hint="Actualiza Afina.")
    if manifest.files != found:
        raise BackupError(f"Los archivos de {archive.name} no son los que se copiaron: está dañado.")
    return manifest


def _is_ours(member: tarfile.TarInfo, tops: Collection[str]) -> bool:
    """A regular file under one of our names; no link, device, folder, absolute path or way up."""
    name = member.name
    if member.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
        return False
    if name != PurePosixPath(name).as_posix() or ".." in PurePosixPath(name).parts or "\\" in name or "\0" in name:
        return False
    return name == MANIFEST or any(name == top or name.startswith(f"{top}/") for top in tops)


def _add(tar: tarfile.TarFile, name: str, source: IO[bytes]) -> Copied:
    info = tarfile.TarInfo(name)
    info.size = source.seek(0, os.SEEK_END)
    info.mode = 0o600
    source.seek(0)
    reader = _Hashing(source)
    tar.addfile(info, reader)  # type: ignore[arg-type]  # read() is all it needs
    return Copied(sha256=reader.digest.hexdigest(), bytes=info.size)


class _Hashing:
    """A file that is hashed while it is read."""

    def __init__(self, file: IO[bytes]) -> None:
        self._file = file
        self.digest = hashlib.sha256()

    def read(self, size: int) -> bytes:
        data = self._file.read(size)
        self.digest.update(data)
        return data


def _take(source: IO[bytes], target: Path | None) -> Copied:
    digest, size = hashlib.sha256(), 0
    if target is not None:
        target.parent.mkdir(parents=True, exist_ok=True)
    with (target or Path(os.devnull)).open("wb") as out:
        while chunk := source.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
            if target is not None:
                out.write(chunk)
        if target is not None:
            out.flush()
            os.fsync(out.fileno())
    return Copied(sha256=digest.hexdigest(), bytes=size)
