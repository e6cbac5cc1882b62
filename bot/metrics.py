"""Figures of the running bot for Prometheus, and the little HTTP server that shows them.

Rule of this file: it watches from outside (listeners, a trace of HTTP requests, a proxy around the course, questions to
each part when somebody looks) and changes nothing. No label holds a person, a server, a thread or a text: what
is shown here may be read by whoever runs the machine. What the engine does, it tells itself (`GET /metrics` there).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections import OrderedDict
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import aiohttp
from aiohttp import web
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from bot import health
from jobs.contract import EventType, JobState

if TYPE_CHECKING:
    from bot.client import Afina
    from bot.records import Job
    from bot.services import Services
    from jobs.errors import AfinaError

log = logging.getLogger(__name__)

LAG_EVERY = 0.25  # seconds between two looks at the event loop
REMEMBERED_JOBS = 10_000  # so that a change told twice is counted once
_DISCORD_EPOCH = 1_420_070_400.0  # Unix seconds of snowflake 0
_SECONDS = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)
_LONG = (1, 5, 15, 60, 300, 900, 1800, 3600, 2 * 3600, 6 * 3600, 24 * 3600)
_TOKENS = (10, 50, 100, 500, 1000, 2500, 5000, 10_000, 25_000, 50_000, 100_000)
_MESSAGE = re.compile(r"/messages/(\d+|@original)$")
_CALLBACK = re.compile(r"/interactions/(\d+)/[^/]+/callback$")


class Metrics:
    """All figures, in a registry of their own."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"afina_{name}", text, labels, registry=registry)

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"afina_{name}", text, labels, registry=registry)

        def histogram(name: str, text: str, *labels: str, buckets: tuple[float, ...] = _SECONDS) -> Histogram:
            return Histogram(f"afina_{name}", text, labels, registry=registry, buckets=buckets)

        self.up = gauge("up", "1 when a part answers", "part")
        self.jobs = gauge("jobs", "Jobs that are not over", "state")
        self.workers = gauge("workers", "Workers that announce themselves")
        self.worker_memory = gauge("worker_memory_bytes", "Of the device that a worker trains with", "worker", "device")
        self.worker_busy = gauge("worker_busy", "1 while a worker has a job", "worker")
        self.running_speed = gauge("running_tokens_per_second", "Of all trainings together, as last reported")
        self.running_memory = gauge("running_memory_bytes", "GPU memory of all trainings together, at most so far")
        self.disk_free = gauge("disk_free_bytes", "Free space where the data folder is")
        self.queue_wait = histogram("queue_wait_seconds", "From asked for to running", buckets=_LONG)
        self.job_time = histogram("job_seconds", "From running to over", "state", buckets=_LONG)
        self.training_speed = histogram("training_tokens_per_second", "Of finished jobs", buckets=_TOKENS)
        self.answers = counter("answers", "Questions to the course", "found", "worded")
        self.answer_time = histogram("answer_seconds", "Time to answer a question to the course")
        self.interactions = counter("interactions", "Commands, buttons and forms", "type")
        self.refusals = counter("refusals", "What people were told they cannot do", "code")
        self.acknowledgement = histogram("acknowledgement_seconds", "From Discord's time stamp to our first answer")
        self.requests = counter("discord_requests", "Requests to Discord", "method", "kind", "status")
        self.lag = histogram("loop_lag_seconds", "By how much the event loop was late")

    # What is counted when it happens

    def wrap(self, services: Services) -> Services:
        """The same services, with the course's answers counted."""
        course: Any = _CountedCourse(services.lessons, self)
        return replace(services, answerer=course, lessons=course)

    def watch(self, client: Afina) -> None:
        """Count what this client does; before it logs in."""
        client.http.http_trace = self._trace()
        client.services.feed.subscribe(_JobWatch(client.services, self).changed)
        client.add_listener(self._interaction, "on_interaction")
        client.add_listener(self._refusal, "on_refusal")

    async def _interaction(self, interaction: Any) -> None:
        self.interactions.labels(interaction.type.name).inc()

    async def _refusal(self, refusal: AfinaError) -> None:
        self.refusals.labels(refusal.code).inc()

    def _trace(self) -> aiohttp.TraceConfig:
        trace = aiohttp.TraceConfig()

        async def ended(session: Any, context: Any, done: aiohttp.TraceRequestEndParams) -> None:
            kind, callback = "other", _CALLBACK.search(done.url.path)
            if callback is not None:
                kind = "callback"
                sent = (int(callback[1]) >> 22) / 1000 + _DISCORD_EPOCH
                self.acknowledgement.observe(max(0.0, time.time() - sent))
            elif done.method == "PATCH" and _MESSAGE.search(done.url.path):
                kind = "edit"
            elif done.method == "POST" and done.url.path.endswith("/messages"):
                kind = "message"
            self.requests.labels(done.method, kind, str(done.response.status)).inc()

        async def failed(session: Any, context: Any, lost: aiohttp.TraceRequestExceptionParams) -> None:
            self.requests.labels(lost.method, "other", "none").inc()

        trace.on_request_end.append(ended)
        trace.on_request_exception.append(failed)
        return trace

    async def _watch_loop(self) -> None:
        """Looks are due at fixed times: a loop that was held up is also late for those that fell into the hold-up."""
        due = time.perf_counter()
        while True:
            due += LAG_EVERY
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            self.lag.observe(max(0.0, time.perf_counter() - due))

    # What is asked for when somebody looks

    async def render(self, services: Services) -> bytes:
        """Everything, as Prometheus reads it."""
        found = await health.examine(services)
        for part, state in (("queue", found.queue), ("engine", found.engine), ("workers", bool(found.crew))):
            self.up.labels(part).set(state)
        self.jobs.labels("queued").set(found.queued)
        self.jobs.labels("running").set(found.running)
        self.workers.set(len(found.crew))
        self.disk_free.set(found.disk_free)
        self.worker_memory.clear()
        self.worker_busy.clear()
        for worker in found.crew:
            self.worker_memory.labels(worker.name, worker.device_name).set(worker.memory_bytes)
            self.worker_busy.labels(worker.name).set(worker.current_job is not None)
        running = [job for job in await services.store.open_jobs() if job.state is JobState.RUNNING]
        newest = [event for job in running if (event := await services.store.newest_metrics(job.id))]
        self.running_speed.set(sum(event.data.get("tokens_per_second") or 0.0 for event in newest))
        self.running_memory.set(sum(event.data.get("memory_bytes") or 0 for event in newest))
        return generate_latest(self.registry)

    @contextlib.asynccontextmanager
    async def served(self, client: Afina, host: str, port: int) -> AsyncIterator[int]:
        """`GET /metrics` and `GET /health` (503 until Discord is there) at this address; yields the port."""

        async def metrics(request: web.Request) -> web.Response:
            body = await self.render(client.services)
            return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})

        async def healthy(request: web.Request) -> web.Response:
            online = client.is_ready() and not client.is_closed()
            return web.json_response({"online": online}, status=200 if online else 503)

        app = web.Application()
        app.add_routes([web.get("/metrics", metrics), web.get("/health", healthy)])
        runner = web.AppRunner(app, access_log=None)
        lag = asyncio.create_task(self._watch_loop(), name="loop lag")
        try:
            await runner.setup()
            await web.TCPSite(runner, host, port).start()
            bound: int = runner.addresses[0][1]
            log.info("metrics at http://%s:%d/metrics", host, bound)
            yield bound
        finally:
            lag.cancel()
            await runner.cleanup()


class _CountedCourse:
    """The course, with its answers counted; everything else is passed on."""

    def __init__(self, inner: Any, metrics: Metrics) -> None:
        self._inner = inner
        self._metrics = metrics

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    async def answer(self, *arguments: Any, **options: Any) -> Any:
        started = time.perf_counter()
        answer = await self._inner.answer(*arguments, **options)
        self._metrics.answer_time.observe(time.perf_counter() - started)
        self._metrics.answers.labels("yes" if answer.found else "no", "yes" if answer.worded else "no").inc()
        return answer


class _JobWatch:
    """Turns changes of jobs into times; each job is counted once for having begun and once for being over."""

    def __init__(self, services: Services, metrics: Metrics) -> None:
        self._services = services
        self._metrics = metrics
        self._counted: OrderedDict[tuple[str, bool], None] = OrderedDict()

    async def changed(self, job: Job) -> None:
        if job.started_at is None:
            return
        if job.attempt == 1 and self._first_time(job, False):
            self._metrics.queue_wait.observe(max(0.0, job.started_at - job.created_at))
        if job.finished_at is None or not self._first_time(job, True):
            return
        self._metrics.job_time.labels(job.state.value).observe(max(0.0, job.finished_at - job.started_at))
        if job.state is JobState.SUCCEEDED:
            for event in await self._services.store.events(job.id):
                if event.type is EventType.RESULT and event.data.get("seconds"):
                    self._metrics.training_speed.observe(event.data["trained_tokens"] / event.data["seconds"])

    def _first_time(self, job: Job, over: bool) -> bool:
        if (job.id, over) in self._counted:
            return False
        self._counted[job.id, over] = None
        if len(self._counted) > REMEMBERED_JOBS:
            self._counted.popitem(last=False)
        return True
