"""One process at a time: a lock file that the kernel frees when its holder dies, however it dies."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from jobs.errors import AfinaError


class AlreadyRunning(AfinaError):
    """Another process holds the lock."""

    code = "already_running"
    default = "Ya hay otro bot en marcha con esta carpeta de datos."
    default_hint = "Detén uno de los dos, o usa otra AFINA_DATA_DIR."


@contextmanager
def only_one(path: Path) -> Iterator[None]:
    """Hold the lock file for as long as the block runs. Raises AlreadyRunning."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise AlreadyRunning from error
        yield
