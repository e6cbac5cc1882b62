"""Where datasets and adapters lie: a folder, or an object store through fsspec.

Rule of this file: nothing is visible before it is whole. In a folder, an adapter is written beside its place, synced
and renamed; on an object store its manifest is uploaded last and is the commit. What has no manifest, or does not
match it, is not there. Names and paths never lead out of the root. What an adapter means is not known here.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import tempfile
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import fsspec
from fsspec.core import url_to_fs
from pydantic import ValidationError

from jobs.contract import ADAPTER_NAME_PATTERN, TrainResult
from jobs.errors import DatasetError, ModelNotFound

MANIFEST = "manifest.json"
WEIGHTS = "adapter_model.safetensors"
REQUIRED = (WEIGHTS, "adapter_config.json")
# Formats that run code when they are loaded.
FORBIDDEN_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".py", ".so")
_TEMPORARY = ".tmp-"
_CHUNK = 1 << 20


@dataclass(frozen=True, kw_only=True, slots=True)
class Published:
    path: str  # inside the root
    sha256: str  # of the weights
    bytes: int  # of all files


class Artifacts:
    """Files below one root: `datasets/<id>/v<N>.jsonl` and `adapters/<name>/`.

    `root`: a folder or an fsspec URL. `cache`: where files of a remote root are kept; default a temporary folder.
    """

    def __init__(self, root: str, *, cache: Path | None = None) -> None:
        self._fs, self._root = url_to_fs(root)
        self._folder = Path(self._root).resolve() if _is_local(self._fs) else None
        self._cache = cache

    @property
    def folder(self) -> Path | None:
        """The root as a folder of this machine; None for an object store."""
        return self._folder

    def put_dataset(self, dataset_id: str, version: int, local: Path) -> str:
        """Store a file as a version of a dataset; its path inside the root."""
        path = f"datasets/{_identifier(dataset_id)}/v{int(version)}.jsonl"
        self._put_file(local, path)
        return path

    def local(self, path: str) -> Path:
        """A local copy of a file below the root. Raises DatasetError when there is none, or the path leads out."""
        inside = _inside(path)
        if self._folder is not None:
            found = (self._folder / inside).resolve()
            if not found.is_relative_to(self._folder) or not found.is_file():
                raise DatasetError(f"No encuentro el archivo «{path}».", hint="Vuelve a subirlo.")
            return found
        target = self._cache_folder() / inside
        if not target.is_file():
            self._get_file(inside, target)
        return target

    def exists(self, path: str) -> bool:
        """Is there a file or folder at this path? A path that leads out of the root exists nowhere."""
        try:
            return bool(self._fs.exists(self._full(_inside(path))))
        except DatasetError:
            return False

    def delete(self, path: str) -> None:
        """Delete a file or folder; what is not there is deleted already. An adapter loses its manifest first."""
        full = self._full(_inside(path))
        for victim in (f"{full}/{MANIFEST}", full):
            if self._fs.exists(victim):
                self._fs.rm(victim, recursive=True)
        if self._folder is None and (cached := self._cache_folder() / _inside(path)).exists():
            shutil.rmtree(cached) if cached.is_dir() else cached.unlink()

    # Adapters

    def publish_adapter(self, name: str, folder: Path, *, details: dict[str, Any] | None = None) -> Published:
        """Copy the files of `folder` to `adapters/<name>`, whole or not at all.

        `details` are kept in the manifest: what a TrainResult needs besides names and hashes. Publishing the same
        weights again is fine; other weights under a taken name raise FileExistsError. Raises ValueError for files
        that are missing or not allowed, OSError when the disk is full.
        """
        path = f"adapters/{_adapter(name)}"
        files = {file.relative_to(folder).as_posix(): _digest(file) for file in _files(folder)}
        if missing := [required for required in REQUIRED if required not in files]:
            raise ValueError(f"not an adapter, missing: {missing}")
        if forbidden := [file for file in files if file.endswith(FORBIDDEN_SUFFIXES)]:
            raise ValueError(f"not safe to publish: {forbidden}")
        manifest = {"adapter": name, "created_at": time.time(), "files": files, "details": details or {}}
        published = Published(
            path=path, sha256=files[WEIGHTS]["sha256"], bytes=sum(int(file["bytes"]) for file in files.values())
        )
        existing = self.manifest(name)
        if existing is not None:
            if existing["files"][WEIGHTS]["sha256"] == published.sha256:
                return published
            raise FileExistsError(f"adapter {name} exists with other weights")
        if self._folder is not None:
            self._publish_in_folder(path, folder, manifest)
        else:
            for file in files:
                self._fs.put_file(str(folder / file), self._full(f"{path}/{file}"))
            self._fs.pipe_file(self._full(f"{path}/{MANIFEST}"), _json(manifest))
        return published

    def _publish_in_folder(self, path: str, folder: Path, manifest: dict[str, Any]) -> None:
        assert self._folder is not None
        target = self._folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f"{_TEMPORARY}{target.name}-{uuid.uuid4().hex[:8]}"
        try:
            for file in manifest["files"]:
                _copy_synced(folder / file, temporary / file)
            (temporary / MANIFEST).write_bytes(_json(manifest))
            for written in (temporary / MANIFEST, *(f for f in temporary.rglob("*") if f.is_dir()), temporary):
                _sync(written)
            if target.exists():  # without a manifest, so nobody has ever used it
                shutil.rmtree(target)
            temporary.rename(target)
            _sync(target.parent)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    def manifest(self, name: str) -> dict[str, Any] | None:
        """The manifest of a published adapter; None when there is none that can be read."""
        try:
            manifest: dict[str, Any] = json.loads(
                self._fs.cat_file(self._full(f"adapters/{_adapter(name)}/{MANIFEST}"))
            )
            return manifest if manifest["files"][WEIGHTS]["sha256"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def adapter(self, name: str) -> Path:
        """Local folder of a published adapter, every file checked against the manifest.

        Raises ModelNotFound when it is not there or not as it was published.
        """
        path = f"adapters/{_adapter(name)}"
        manifest = self.manifest(name)
        if manifest is None:
            raise ModelNotFound
        if self._folder is not None:
            folder = self._folder / path
        else:
            folder = self._cache_folder() / path
            for file in manifest["files"]:
                if not (folder / _inside(file)).is_file():
                    self._get_file(f"{path}/{_inside(file)}", folder / _inside(file))
        for file, expected in manifest["files"].items():
            if file.endswith(FORBIDDEN_SUFFIXES) or not _matches(folder / _inside(file), expected):
                raise ModelNotFound(
                    "Los archivos de ese modelo están dañados.", hint="Repite el entrenamiento; los datos siguen ahí."
                )
        if any(file.is_symlink() or file.name.endswith(FORBIDDEN_SUFFIXES) for file in folder.rglob("*")):
            raise ModelNotFound("En la carpeta de ese modelo hay archivos que no son suyos.", hint="Avisa a un admin.")
        return folder

    def result(self, name: str) -> TrainResult | None:
        """What an attempt left behind, from the manifest alone; None when nothing whole is there."""
        manifest = self.manifest(name)
        if manifest is None:
            return None
        details, files = manifest.get("details") or {}, manifest["files"]
        try:
            return TrainResult(
                adapter_name=name,
                adapter_path=f"adapters/{name}",
                adapter_sha256=files[WEIGHTS]["sha256"],
                adapter_bytes=sum(int(file["bytes"]) for file in files.values()),
                base_revision=details.get("base_revision"),
                trained_tokens=details.get("trained_tokens") or 0,
                seconds=details.get("seconds") or 0.0,
                evaluation=details.get("evaluation"),
                files=tuple(sorted(files)),
            )
        except ValidationError:
            return None

    def list_adapters(self) -> list[str]:
        """Names of the published ones."""
        base = self._full("adapters")
        try:
            entries = self._fs.ls(base, detail=False)
        except FileNotFoundError:
            return []
        names = (PurePosixPath(entry).name for entry in entries)
        return sorted(name for name in names if re.match(ADAPTER_NAME_PATTERN, name) and self.manifest(name))

    def list_datasets(self) -> list[str]:
        """Ids of the datasets that have a file."""
        try:
            entries = self._fs.ls(self._full("datasets"), detail=False)
        except FileNotFoundError:
            return []
        return sorted(PurePosixPath(entry).name for entry in entries)

    def sweep(self, *, older_than: float = 86_400.0) -> int:
        """Delete what killed publications left behind, after so many seconds; how many."""
        if self._folder is None:
            return 0
        leftovers = [
            path
            for path in (self._folder / "adapters").glob(f"{_TEMPORARY}*")
            if time.time() - path.stat().st_mtime >= older_than
        ]
        for path in leftovers:
            shutil.rmtree(path, ignore_errors=True)
        return len(leftovers)

    # Files

    def _full(self, inside: str) -> str:
        return f"{self._root}/{inside}"

    def _put_file(self, source: Path, path: str) -> None:
        if self._folder is None:
            self._fs.put_file(str(source), self._full(path))
            return
        target = self._folder / path
        temporary = target.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
        try:
            _copy_synced(source, temporary)
            temporary.replace(target)
            _sync(target.parent)
        finally:
            temporary.unlink(missing_ok=True)

    def _get_file(self, inside: str, target: Path) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary = target.parent / f"{_TEMPORARY}{uuid.uuid4().hex}"
        try:
            self._fs.get_file(self._full(inside), str(temporary))
            temporary.replace(target)
        except FileNotFoundError:
            raise DatasetError(f"No encuentro el archivo «{inside}».", hint="Vuelve a subirlo.") from None
        finally:
            temporary.unlink(missing_ok=True)

    def _cache_folder(self) -> Path:
        if self._cache is None:
            self._cache = Path(tempfile.mkdtemp(prefix="afina-cache-"))
        return self._cache


def _is_local(fs: fsspec.AbstractFileSystem) -> bool:
    return "file" in ([fs.protocol] if isinstance(fs.protocol, str) else fs.protocol)


def _inside(path: str) -> str:
    """The path, when it stays below the root. Raises DatasetError."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or "\0" in path or "\\" in path or "://" in path:
        raise DatasetError("Esa ruta no es válida.", hint="")
    return "/".join(parts)


def _identifier(value: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", value):
        raise DatasetError("Ese identificador no es válido.", hint="")
    return value


def _adapter(name: str) -> str:
    if not re.fullmatch(ADAPTER_NAME_PATTERN, name):
        raise ModelNotFound
    return name


def _files(folder: Path) -> Iterator[Path]:
    """Regular files below a folder, but for the manifest. Raises ValueError for links: they lead elsewhere."""
    for path in sorted(folder.rglob("*")):
        if path.is_symlink():
            raise ValueError(f"a link: {path.name}")
        if path.is_file() and path != folder / MANIFEST:
            yield path


def _digest(path: Path) -> dict[str, Any]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        return {"sha256": digest, "bytes": file.tell()}


def _matches(path: Path, expected: dict[str, Any]) -> bool:
    return path.is_file() and not path.is_symlink() and _digest(path)["sha256"] == expected["sha256"]


def _copy_synced(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as reader, target.open("wb") as writer:
        shutil.copyfileobj(reader, writer, _CHUNK)
        writer.flush()
        os.fsync(writer.fileno())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _json(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=1).encode()
