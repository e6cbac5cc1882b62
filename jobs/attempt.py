"""The worker's side of one attempt: what it reports (`EventWriter`) and what it is asked (`Control`).

Rule of this file: the event file in the work folder is the truth, Redis only carries copies. Redis itself remembers
how many events of an attempt it got, in the same transaction as the event; so whoever opens the file later, and
also after a flush, knows what to send again. No Redis error ever reaches the training code.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Literal, Self

import redis
from pydantic import ValidationError
from redis.backoff import ExponentialBackoff
from redis.retry import Retry

from jobs.contract import Event, EventType

EVENTS_FILE = "events.jsonl"
LOCK_FILE = "lock"
STREAM = "afina:events"
ERASED = "afina:erased"  # sorted set: id of a job that was deleted for good → Unix seconds when (`jobs.erased`)
STREAM_LENGTH = 50_000  # events that Redis keeps; older ones are in the files
KEEP_SECONDS = 7 * 86_400  # for how long Redis remembers an attempt
LAST_WORDS = (EventType.RESULT, EventType.STOPPED, EventType.FAILED)

StopKind = Literal["cancelled", "paused", "interrupted"]


def attempt_folder(data: Path, job_id: str, attempt: int) -> Path:
    """Work folder of one attempt, local to the worker."""
    return data / "jobs" / job_id / str(attempt)


def stop_key(job_id: str, attempt: int) -> str:
    return f"afina:stop:{job_id}-{attempt}"


def sent_key(job_id: str, attempt: int) -> str:
    return f"afina:sent:{job_id}-{attempt}"


def connect(url: str, *, timeout: float = 5.0, retries: int = 3) -> redis.Redis:
    """A client that answers or fails within a few seconds; connects on first use."""
    retry = Retry(ExponentialBackoff(cap=0.5, base=0.02), retries)
    return redis.Redis.from_url(url, socket_connect_timeout=timeout, socket_timeout=timeout, retry=retry)


def read_event_file(folder: Path) -> list[Event]:
    """All whole events of an attempt in order; a line torn by a crash ends the list. Missing file: empty."""
    events: list[Event] = []
    with contextlib.suppress(FileNotFoundError):
        for line in (folder / EVENTS_FILE).read_bytes().split(b"\n")[:-1]:
            try:
                events.append(Event.model_validate_json(line))
            except ValidationError:
                break
    return events


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[bool]:
    """Hold the work folder of an attempt; False when a living process has it. Forked children hold it too."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / LOCK_FILE).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True


class EventWriter:
    """Appends events to `folder/events.jsonl` and sends them on.

    As a context manager a thread of its own sends them, again and again while Redis is away, and keeps the attempt
    alive with heartbeats; the caller never waits for Redis. Without, `emit` sends as well as it can. An existing file
    is continued. Thread-safe.
    """

    def __init__(
        self, folder: Path, redis_url: str | None, job_id: str, attempt: int, *, heartbeat_seconds: float = 2.0
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._job_id = job_id
        self._attempt = attempt
        self._events = read_event_file(folder)
        self._file = _open_after_last_whole_line(folder / EVENTS_FILE, len(self._events))
        self._writing = threading.Lock()
        self._sending = threading.Lock()
        self._redis = connect(redis_url, timeout=2.0, retries=0) if redis_url else None
        self._heartbeat_seconds = heartbeat_seconds
        self._news = threading.Event()  # something to send, or time to close
        self._closing = False
        self._thread: threading.Thread | None = None

    @property
    def finished(self) -> bool:
        """Its last word (result, stopped or failed) was said."""
        return any(event.type in LAST_WORDS for event in self._events)

    def emit(
        self,
        type: EventType | str,
        message: str = "",
        level: Literal["info", "warn", "error"] = "info",
        **data: Any,
    ) -> Event:
        """Write one event down for good, then send it. `data` as the contract says for its type; the message of a
        failure is put there too.

        Raises OSError when the disk is full; then nothing was written, but a last word was still sent.
        """
        if type == EventType.FAILED:
            data["message"] = message
        with self._writing:
            event = Event(
                job_id=self._job_id,
                attempt=self._attempt,
                seq=len(self._events) + 1,
                created_at=time.time(),
                level=level,
                type=EventType(type),
                message=message,
                data=_jsonable(data),
            )
            try:
                self._append(event)
            except OSError:
                if event.type in LAST_WORDS:  # the disk is full: then at least Redis hears how it ended
                    self._events.append(event)
                    self.flush()
                raise
            self._events.append(event)
        if self._thread:
            self._news.set()
        else:
            self.flush()
        return event

    def _append(self, event: Event) -> None:
        """The whole line or nothing of it."""
        line, start = event.model_dump_json().encode() + b"\n", self._file.tell()
        try:
            if self._file.write(line) != len(line):  # the file is not buffered: a short write means a full disk
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if event.type is not EventType.HEARTBEAT:
                os.fsync(self._file.fileno())
        except OSError:
            with contextlib.suppress(OSError):
                self._file.truncate(start)
                self._file.seek(start)
            raise

    def flush(self) -> bool:
        """Send what Redis has not got; True when it has everything."""
        if self._redis is None:
            return True
        key = sent_key(self._job_id, self._attempt)
        with self._sending:
            try:
                if self._redis.zscore(ERASED, self._job_id) is not None:
                    return True  # nobody may hear of it any more
                got = int(self._redis.get(key) or 0)
                for event in self._events[got:]:
                    with self._redis.pipeline(transaction=True) as pipeline:
                        entry = {"event": event.model_dump_json()}
                        pipeline.xadd(STREAM, entry, maxlen=STREAM_LENGTH, approximate=True)  # type: ignore[arg-type]
                        pipeline.set(key, event.seq, ex=KEEP_SECONDS)
                        pipeline.execute()
            except (redis.RedisError, OSError):
                return False
        return True

    def _serve(self) -> None:
        beat = time.monotonic() + self._heartbeat_seconds
        while not self._closing:
            self._news.wait(max(0.0, beat - time.monotonic()))
            self._news.clear()
            if time.monotonic() >= beat and not self._closing:
                beat = time.monotonic() + self._heartbeat_seconds
                with contextlib.suppress(OSError):  # disk full: the main thread will meet it and say so
                    self.emit(EventType.HEARTBEAT)
            if not self.flush():
                time.sleep(0.2)

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._serve, name="afina-events", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._closing = True
        self._news.set()
        if self._thread:
            self._thread.join()
        self.flush()
        self._file.close()
        if self._redis is not None:
            self._redis.close()


class Control:
    """Asked every step: has anybody requested this attempt to stop?

    Make it in the main thread of the work process: it listens to SIGUSR1 (the machine goes away: interrupted) and
    SIGUSR2 (look at the flag in Redis now). Elsewhere, and without Redis, it works as far as it can.
    """

    def __init__(
        self, redis_url: str | None, job_id: str, attempt: int, *, poll_seconds: float = 0.5, signals: bool = True
    ) -> None:
        self._redis = connect(redis_url, timeout=1.0, retries=0) if redis_url else None
        self._key = stop_key(job_id, attempt)
        self._poll_seconds = poll_seconds
        self._next_look = 0.0  # monotonic
        self._answer: StopKind | None = None
        self._interrupted = False
        if signals and threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGUSR1, self._interrupt)
            signal.signal(signal.SIGUSR2, self._look_now)

    def _interrupt(self, number: int, frame: object) -> None:
        self._interrupted = True

    def _look_now(self, number: int, frame: object) -> None:
        self._next_look = 0.0

    def requested(self) -> StopKind | None:
        """What to stop for; a person's wish counts more than a machine's. Cheap; asks Redis twice a second at most."""
        if self._answer is None and self._redis is not None and (self._interrupted or self._due()):
            self._next_look = time.monotonic() + self._poll_seconds
            try:
                self._answer = stop_kind(self._redis.get(self._key))
            except (redis.RedisError, OSError):
                self._next_look = time.monotonic() + 5.0  # do not hold up every step of an outage
        return self._answer or ("interrupted" if self._interrupted else None)

    def _due(self) -> bool:
        return time.monotonic() >= self._next_look


def stop_kind(flag: Any) -> Literal["cancelled", "paused"] | None:
    """The flag in Redis as a word."""
    match flag:
        case b"cancelled":
            return "cancelled"
        case b"paused":
            return "paused"
    return None


def _open_after_last_whole_line(path: Path, lines: int) -> IO[bytes]:
    file = path.open("r+b" if path.exists() else "w+b", buffering=0)
    whole = b"".join(file.readlines()[:lines])
    file.truncate(len(whole))
    file.seek(len(whole))
    return file


def _jsonable(data: dict[str, Any]) -> dict[str, Any]:
    """NaN and infinity become None: JSON has no word for them. Enums and numbers of other libraries become plain."""
    plain: dict[str, Any] = json.loads(json.dumps(data, default=_plain), parse_constant=lambda _: None)
    return plain


def _plain(value: Any) -> Any:
    return value.item() if hasattr(value, "item") else str(value)
