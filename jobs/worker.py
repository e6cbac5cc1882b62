"""RQ's worker made safe: it runs known functions only, outlives Redis, and leaves no attempt without a last word.

Rule of this file: a layer over RQ that knows processes and signals, and nothing about training (no torch). RQ's own
retries, callbacks and webhooks are off: only the bot makes attempts. The bot learns how an attempt ended from its
event file: the child writes it, and where the child no longer can, its parent does (`_close`), or the next worker that
starts on this machine (`jobs.orphans`).

Signals: SIGTERM or SIGINT here → SIGUSR1 to the child → checkpoint → STOPPED "interrupted" → out within 30 s. A stop
command → SIGUSR2 to the child: look at the flag. The child dies with its parent (PR_SET_PDEATHSIG).
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import json
import logging
import os
import secrets
import signal
import socket
import threading
from collections import deque
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import redis
from rq import Queue as RQQueue
from rq.job import Job, JobStatus
from rq.serializers import JSONSerializer

from jobs.admission import SafeJob, allowed
from jobs.attempt import (
    KEEP_SECONDS,
    EventWriter,
    attempt_folder,
    connect,
    hold,
    read_event_file,
    stop_key,
    stop_kind,
)
from jobs.contract import QUEUE_NAME, TRAIN_FUNCTION, EventType, TrainRequest, WorkerInfo
from jobs.erased import clear_work, erased_jobs
from jobs.logs import about
from jobs.orphans import report_orphans, say_died
from jobs.outages import FORGET_SECONDS, REDIS_ERRORS, PatientWorker
from jobs.queue import WORKER_KEY
from jobs.watch import HANG_SECONDS, Watch

log = logging.getLogger(__name__)

DATA_VARIABLE = "AFINA_WORK_DATA"
INFO_SECONDS = 15  # a worker that has been silent for so long is not counted on
CHECKPOINT_SECONDS = 25.0  # for a child to write its checkpoint after SIGTERM
CANCEL_SECONDS = 10.0  # for a child to notice that it is cancelled
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def unique_name(name: str | None = None) -> str:
    """A worker name that no earlier worker had: Redis remembers the dead ones for a while."""
    return f"{name or socket.gethostname().split('.')[0]}-{os.getpid()}-{secrets.token_hex(3)}"


def run_worker(
    redis_url: str,
    *,
    info: WorkerInfo,
    environment: Mapping[str, str],
    burst: bool = False,
    functions: Collection[str] = (TRAIN_FUNCTION,),
    hang_seconds: float = HANG_SECONDS,
) -> int:
    """Work until SIGTERM; with `burst`, until the queue is empty. The exit code.

    `info`: what to tell the bot; its name gets a unique ending. `environment`: what the job function reads
    (AFINA_WORK_DATA is needed here too). `functions`: the only ones that may run, by dotted name. `hang_seconds`: see
    `jobs.watch`.
    """
    os.environ.update(environment)
    data = Path(environment[DATA_VARIABLE])
    leaving = threading.Event()
    report_orphans(data, redis_url)
    while not leaving.is_set():
        _listen(leaving)  # until the worker installs its own handlers
        try:
            connection = connect(redis_url, timeout=30.0)
            named = info.model_copy(update={"name": unique_name(info.name)})
            worker = SafeWorker(
                connection,
                info=named,
                data=data,
                redis_url=redis_url,
                functions=functions,
                leaving=leaving,
                hang_seconds=hang_seconds,
            )
            worker.work(burst=burst, logging_level=None)
        except REDIS_ERRORS as error:
            log.warning("Redis is away (%s), trying again", error)
        except SystemExit:
            return 1
        if burst:
            break
        _listen(leaving)
        leaving.wait(0.5)
    return 0


def _listen(leaving: threading.Event) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: leaving.set())


class SafeWorker(PatientWorker):
    """See the module; use `run_worker`."""

    def __init__(
        self,
        connection: redis.Redis,
        *,
        info: WorkerInfo,
        data: Path,
        redis_url: str,
        functions: Collection[str],
        leaving: threading.Event,
        hang_seconds: float = HANG_SECONDS,
    ) -> None:
        self._info = info
        self._data = data
        self._redis_url = redis_url
        self._functions = frozenset(functions)
        self._leaving = leaving
        self._hang_seconds = hang_seconds
        self._watch: Watch | None = None  # over the child that works
        self._parent = os.getpid()
        self._stopping: tuple[str, str] | None = None  # rq id and kind of the stop that reached us
        self._recent: deque[tuple[Path, str, int]] = deque(maxlen=20)  # attempts whose events must reach Redis
        queues = [
            RQQueue(name, connection=connection, job_class=SafeJob, serializer=JSONSerializer)
            for name in (f"{QUEUE_NAME}:{info.name}", QUEUE_NAME)
        ]
        super().__init__(
            queues,
            name=info.name,
            connection=connection,
            job_class=SafeJob,
            serializer=JSONSerializer,
            worker_ttl=20,  # with it, an idle worker says hello every 5 s
            maintenance_interval=30,
            job_monitoring_interval=1,
            log_job_description=False,
        )

    # One job

    def execute_job(self, job: Job, queue: RQQueue) -> None:
        """Check it, claim its attempt, run it in a child, and see to it that it has a last word."""
        request = allowed(job, self._functions)
        if request is None:
            self._refuse(job, queue, "not a job of ours")
            return
        with about(job=request.job_id, attempt=request.attempt):
            self._attempt(job, queue, request)

    def _attempt(self, job: Job, queue: RQQueue, request: TrainRequest) -> None:
        folder = attempt_folder(self._data, request.job_id, request.attempt)
        with hold(folder) as free:
            if not free or read_event_file(folder) or not self._claim(request):
                self._refuse(job, queue, "this attempt has run before")
                return
            watch = Watch(folder, timeout=job.timeout or KEEP_SECONDS, hang_seconds=self._hang_seconds)
            self._watch, self._stopping = watch, None
            if self._asked(request):
                self._refuse(job, queue, "stopped before it started")
                self._close(folder, request, watch)
                return
            self._info = self._info.model_copy(update={"current_job": request.rq_id})
            log.info("begins on %s", self._info.device_name)
            try:
                self._greet(folder, request)
                super().execute_job(job, queue)
            except REDIS_ERRORS as error:  # RQ's bookkeeping; ours is in the event file
                log.warning("Redis is away while this attempt ends: %s", error)
            finally:
                self._end_child()
                self._info = self._info.model_copy(update={"current_job": None})
                self._close(folder, request, watch)
                self._watch = None
                self._recent.append((folder, request.job_id, request.attempt))

    def _refuse(self, job: Job, queue: RQQueue, reason: str) -> None:
        log.warning("refused job %r: %s", job.id, reason)
        with contextlib.suppress(Exception):  # the job may be garbage; the worker must go on
            job.set_status(JobStatus.FAILED)
            job.failed_job_registry.add(job, ttl=3600, exc_string=reason)

    def _claim(self, request: TrainRequest) -> bool:
        """The first worker that takes an attempt has it; a duplicate in the queue runs nowhere."""
        try:
            key = f"afina:claim:{request.rq_id}"
            return bool(self.connection.set(key, self.name, nx=True, ex=KEEP_SECONDS))
        except REDIS_ERRORS:
            return True  # we hold the folder, and Redis gave the job to us

    def _greet(self, folder: Path, request: TrainRequest) -> None:
        """The first word, before there is a child: from now on the attempt is known to be ours."""
        writer = EventWriter(folder, self._redis_url, request.job_id, request.attempt)
        try:
            writer.emit(EventType.HEARTBEAT)
        finally:
            writer.close()

    def _end_child(self) -> None:
        """Nothing may train on when RQ's monitoring broke off."""
        if self.horse_pid:
            with contextlib.suppress(OSError):
                self.kill_horse()
                self.wait_for_horse()
            self._horse_pid = 0

    def _close(self, folder: Path, request: TrainRequest, watch: Watch) -> None:
        """Write the last word for a child that could not."""
        writer = EventWriter(folder, self._redis_url, request.job_id, request.attempt)
        try:
            if writer.finished:
                writer.flush()
            elif kind := self._asked(request):
                writer.emit(EventType.STOPPED, kind=kind, step=0)
            elif self._leaving.is_set():
                writer.emit(EventType.STOPPED, kind="interrupted", step=0)
            elif watch.timed_out:
                message, hint = "El trabajo ha superado el tiempo máximo.", "Repítelo con menos épocas o menos datos."
                writer.emit(EventType.FAILED, message, "error", code="timeout", hint=hint)
            else:
                say_died(writer)
        except OSError as error:
            log.error("cannot write the last word: %s", error)
        finally:
            writer.close()

    def _asked(self, request: TrainRequest) -> str | None:
        if self._stopping and self._stopping[0] == request.rq_id:
            return self._stopping[1]
        with contextlib.suppress(*REDIS_ERRORS):
            return stop_kind(self.connection.get(stop_key(request.job_id, request.attempt)))
        return None

    # Processes and signals

    def fork_work_horse(self, job: Job, queue: RQQueue) -> None:
        self._parent = os.getpid()
        gc.freeze()  # the child's collector would write into every page that it shares with us
        super().fork_work_horse(job, queue)
        if self._leaving.is_set():  # SIGTERM came between taking the job and forking
            self._ask_child(signal.SIGUSR1, CHECKPOINT_SECONDS)

    def setup_work_horse_signals(self) -> None:
        """First thing in the child."""
        _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != self._parent:  # it died before we could ask
            os._exit(1)
        super().setup_work_horse_signals()  # type: ignore[no-untyped-call]
        signal.signal(signal.SIGUSR1, signal.SIG_DFL)
        signal.signal(signal.SIGUSR2, signal.SIG_DFL)

    def request_stop(self, signum: int, frame: Any) -> None:
        self._leaving.set()
        super().request_stop(signum, frame)  # type: ignore[no-untyped-call]

    def handle_warm_shutdown_request(self) -> None:
        self._ask_child(signal.SIGUSR1, CHECKPOINT_SECONDS)

    def _ask_child(self, number: signal.Signals, patience: float | None) -> None:
        if not self.horse_pid:
            return
        if patience is not None and self._watch:
            self._watch.leave_within(patience)
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.horse_pid, number)

    def handle_payload(self, message: Any) -> None:
        """Commands over pub/sub: only stop-job counts, and it asks instead of killing."""
        with contextlib.suppress(Exception):  # whatever somebody publishes
            payload = json.loads(message["data"])
            rq_id = payload["job_id"]
            if payload["command"] != "stop-job" or rq_id != self._info.current_job:
                return
            job_id, attempt = rq_id.rsplit("-", 1)
            with connect(self._redis_url) as connection:
                kind = stop_kind(connection.get(stop_key(job_id, int(attempt))))
            if kind:
                self._stopping = (rq_id, kind)
                self._ask_child(signal.SIGUSR2, CANCEL_SECONDS if kind == "cancelled" else None)

    # Redis may come and go

    def maintain_heartbeats(self, job: Job) -> None:
        """Called every second while the child works."""
        if self._watch and (reason := self._watch.overdue()):
            log.warning("killing child %s: %s", self.horse_pid, reason)
            self.kill_horse()
        with contextlib.suppress(*REDIS_ERRORS):
            self._introduce()
            super().maintain_heartbeats(job)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Short-lived, so that Redis forgets a dead worker soon."""
        if pipeline is None:
            self._introduce()
            self._clear_erased()
            while self._recent and self._flush(*self._recent[0]) and len(self._recent) > 1:
                self._recent.popleft()
        super().heartbeat(min(timeout or FORGET_SECONDS, FORGET_SECONDS), pipeline=pipeline)

    def _clear_erased(self) -> None:
        """Keep nothing of jobs that were deleted for good, and say nothing more about them."""
        for job_id in erased_jobs(self.connection):
            for attempt in [one for one in self._recent if one[1] == job_id]:
                self._recent.remove(attempt)
            clear_work(self._data, job_id)

    def check_for_suspension(self, burst: bool) -> None:
        """`rq suspend` is not ours; but a SIGTERM that came before RQ listened counts."""
        self._stop_requested = self._stop_requested or self._leaving.is_set()

    def register_death(self) -> None:
        with contextlib.suppress(*REDIS_ERRORS):
            self.connection.delete(WORKER_KEY + self.name)
            super().register_death()  # type: ignore[no-untyped-call]

    def _introduce(self) -> None:
        self.connection.set(WORKER_KEY + self.name, self._info.model_dump_json(), ex=INFO_SECONDS)

    def _flush(self, folder: Path, job_id: str, attempt: int) -> bool:
        writer = EventWriter(folder, self._redis_url, job_id, attempt)
        try:
            return writer.flush()
        finally:
            writer.close()
