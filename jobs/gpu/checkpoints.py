"""Checkpoints that can be trusted: one counts only when its marker, written last, names all of its files.

Rule of this file: folders `<job>/<attempt>/checkpoints/checkpoint-<step>`. What is inside is the trainer's business.
"""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

MARKER = "complete.json"  # {"step", "epoch", "files": {name: bytes}}


def complete(folder: Path, *, step: int, epoch: float) -> None:
    """Declare a checkpoint complete. Everything else in the folder is on the disk before the marker is."""
    files = {path.name: path.stat().st_size for path in sorted(folder.iterdir()) if path.is_file()}
    for name in files:
        with (folder / name).open("rb") as handle:
            os.fsync(handle.fileno())
    temporary = folder / f".{MARKER}"
    with temporary.open("w", encoding="utf-8") as handle:
        json.dump({"step": step, "epoch": epoch, "files": files}, handle)
        handle.flush()
        os.fsync(handle.fileno())
    temporary.rename(folder / MARKER)


def is_complete(folder: Path) -> bool:
    try:
        files = json.loads((folder / MARKER).read_text(encoding="utf-8"))["files"]
        return all((folder / name).stat().st_size == size for name, size in files.items())
    except (OSError, ValueError, KeyError):
        return False


def newest(job: Path) -> Path | None:
    """The complete checkpoint with the most steps of any attempt of a job; None where there is none."""
    found = [path for path in job.glob("*/checkpoints/checkpoint-*") if is_complete(path)]
    return max(found, key=lambda path: (_number(path), path.stat().st_mtime), default=None)


def _number(folder: Path) -> int:
    match = re.search(r"(\d+)$", folder.name)
    return int(match.group(1)) if match else -1
