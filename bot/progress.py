"""From what workers report to what people see: the feed, and a job as a view.

Rule of this file: the feed applies events to the store and tells its subscribers; it survives restarts by a cursor in
the store, and a subscriber's mistake never stops it. `view` is pure: a job and its events in, words and numbers out,
in Spanish; drawing is the business of `bot.render`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import fmean

from pydantic import ValidationError

from bot.records import Job
from bot.store import Store, StoreUnavailable
from bot.tutor import Advice, Points, advise
from jobs.contract import Event, EventType, JobState, Metrics, Phase
from jobs.errors import QueueUnavailable
from jobs.logs import about
from jobs.queue import Queue

log = logging.getLogger(__name__)

CURSOR = "events.cursor"  # name of the place in the stream up to which everything is applied
RETRY_SECONDS = 1.0

Subscriber = Callable[[Job], Awaitable[None]]


class ProgressFeed:
    """`run()` works until it is cancelled; `subscribe` before or while it runs."""

    def __init__(self, store: Store, queue: Queue) -> None:
        self._store = store
        self._queue = queue
        self._subscribers: list[Subscriber] = []

    def subscribe(self, callback: Subscriber) -> None:
        """Call it with every job that changed, after the change is in the store."""
        self._subscribers.append(callback)

    async def announce(self, job: Job) -> None:
        """Tell the subscribers of a change that somebody else made."""
        with about(job=job.id, attempt=job.attempt):
            if job.state.terminal:
                log.info("the job is over: %s", job.state)
            for subscriber in self._subscribers:
                try:
                    await subscriber(job)
                except Exception:
                    log.exception("a subscriber failed")

    async def run(self) -> None:
        away = False
        while True:
            try:
                await self.step()
                away = False
            except (QueueUnavailable, StoreUnavailable) as error:
                if not away:
                    log.warning("progress waits: %s", error)
                away = True
                await asyncio.sleep(RETRY_SECONDS)
            except Exception:
                log.exception("applying events failed, trying again")
                await asyncio.sleep(RETRY_SECONDS)

    async def step(self, *, block_ms: int = 1000) -> int:
        """Apply what is new in the stream, waiting for it; how many events came.

        The cursor moves after the events are applied: a crash in between applies them again, which changes nothing.
        """
        cursor = await self._store.get_state(CURSOR) or "0"
        entries = await asyncio.to_thread(self._queue.read_events, cursor, block_ms)
        if entries:
            changed = await self._store.apply_events([event for _, event in entries if event is not None])
            await self._store.set_state(CURSOR, entries[-1][0])
            for job in changed:
                await self.announce(job)
        return len(entries)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobView:
    """One job, ready to be drawn."""

    status: str  # what it is doing, for a title or a line
    bar: float | None  # share of the training steps, 0..1; None: nothing honest to show
    step: int
    total_steps: int
    eta_seconds: float | None  # to the end of training
    losses: Points  # training loss
    eval_losses: Points  # validation loss
    sparkline: tuple[float, ...]  # training loss in at most 32 points
    tokens_per_second: float | None
    advice: Advice | None  # of a tutor, about the curves
    messages: tuple[str, ...]  # what the worker told people, the last three
    restarts: int  # attempts before this one


_PHASES = {
    Phase.STARTING: "arrancando",
    Phase.PREPARING: "preparando los datos",
    Phase.LOADING: "cargando el modelo base",
    Phase.TRAINING: "entrenando",
    Phase.EVALUATING: "evaluando",
    Phase.PUBLISHING: "guardando el modelo",
}


def view(job: Job, events: Sequence[Event], *, position: int = 0, now: float | None = None) -> JobView:
    """`events`: the whole history, oldest first. `position` in the queue, 1 is next, 0 unknown. `now`: Unix seconds,
    to count the ETA down between reports."""
    metrics = [(event.created_at, found) for event in events if (found := _metrics(event))]
    losses = _series([(found.step, found.loss) for _, found in metrics])
    eval_losses = _series([(found.step, found.eval_loss) for _, found in metrics])
    training = job.state is JobState.RUNNING and job.phase in (Phase.TRAINING, None) and job.total_steps > 0
    past = job.phase in (Phase.EVALUATING, Phase.PUBLISHING) or job.state is JobState.SUCCEEDED
    share = min(1.0, job.step / job.total_steps) if job.total_steps else None
    speeds = [found.tokens_per_second for _, found in metrics if found.tokens_per_second]
    return JobView(
        status=_status(job, position),
        bar=1.0 if past and job.total_steps else share,
        step=job.step,
        total_steps=job.total_steps,
        eta_seconds=_eta(metrics, now) if training else None,
        losses=losses,
        eval_losses=eval_losses,
        sparkline=_thin([loss for _, loss in losses], 32),
        tokens_per_second=speeds[-1] if speeds else None,
        advice=advise(losses, eval_losses, job.total_steps),
        messages=tuple(event.message for event in events if event.type is EventType.MESSAGE and event.message)[-3:],
        restarts=job.attempt - 1,
    )


def _status(job: Job, position: int) -> str:
    match job.state:
        case JobState.QUEUED | JobState.DISPATCHED if job.cancel_requested or job.pause_requested:
            return "deteniéndose"
        case JobState.QUEUED | JobState.DISPATCHED:
            again = ", sigue donde se quedó" if job.request.resume else ""
            return (f"en cola ({position}.º)" if position else "en cola") + again
        case JobState.RUNNING if job.cancel_requested:
            return "cancelándose"
        case JobState.RUNNING if job.pause_requested:
            return "guardando el avance para la pausa"
        case JobState.RUNNING:
            phase = _PHASES[job.phase or Phase.STARTING]
            steps = job.phase is Phase.TRAINING and job.total_steps
            return f"{phase} {job.step}/{job.total_steps}" if steps else phase
        case JobState.PAUSED:
            return f"en pausa en el paso {job.step}/{job.total_steps}" if job.total_steps else "en pausa"
        case JobState.SUCCEEDED:
            return "terminado"
        case JobState.CANCELLED:
            return "cancelado"
    return f"ha fallado: {job.error['message']}" if job.error else "ha fallado"


def _metrics(event: Event) -> Metrics | None:
    if event.type is not EventType.METRICS:
        return None
    try:
        return Metrics.model_validate(event.data)
    except ValidationError:
        return None


def _series(points: Sequence[tuple[int, float | None]]) -> Points:
    """By step; a step that was repeated after a restart counts with its newest value."""
    return tuple(sorted({step: value for step, value in points if value is not None}.items()))


def _eta(metrics: Sequence[tuple[float, Metrics]], now: float | None) -> float | None:
    for at, found in reversed(metrics):
        if found.eta_seconds is not None:
            passed = max(0.0, now - at) if now is not None else 0.0
            return max(0.0, found.eta_seconds - passed)
    return None


def _thin(values: Sequence[float], most: int) -> tuple[float, ...]:
    """At most so many values: means of neighbours."""
    if len(values) <= most:
        return tuple(values)
    edges = [round(index * len(values) / most) for index in range(most + 1)]
    return tuple(fmean(values[start:end]) for start, end in pairwise(edges))
