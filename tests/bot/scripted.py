"""Hand-written stand-ins at the seams that we own: a queue whose worker is the test, and an engine of fixed answers."""

from __future__ import annotations

import threading
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from jobs.contract import (
    Comparison,
    Evaluation,
    Event,
    EventType,
    Interval,
    Phase,
    Score,
    TrainRequest,
    TrainResult,
    Verdict,
    WorkerInfo,
)
from jobs.errors import ModelNotFound, QueueUnavailable

WORKER = WorkerInfo(name="uno", hostname="aquí", device="cpu", device_name="CPU", memory_bytes=16_000_000_000)


class ScriptedQueue:
    """What `jobs.queue.Queue` offers, in memory; the test reads `submitted` and speaks for the worker."""

    def __init__(self, crew: Sequence[WorkerInfo] = (WORKER,)) -> None:
        self.crew = list(crew)
        self.submitted: list[TrainRequest] = []
        self.stops: list[tuple[str, int, str]] = []
        self.away = False  # Redis does not answer
        self._states: dict[str, str] = {}
        self._events: list[Event] = []
        self._news = threading.Condition()

    def _answer(self) -> None:
        if self.away:
            raise QueueUnavailable

    def submit(self, request: TrainRequest, *, timeout: int, worker: str | None = None) -> bool:
        self._answer()
        if request.rq_id in self._states:
            return False
        self._states[request.rq_id] = "queued"
        self.submitted.append(request)
        return True

    def state(self, rq_id: str) -> str:
        self._answer()
        return self._states.get(rq_id, "missing")

    def target(self, rq_id: str) -> str | None:
        self._answer()
        return None

    def withdraw(self, rq_id: str) -> bool:
        self._answer()
        return self._states.get(rq_id) == "queued" and self._states.pop(rq_id) is not None

    def request_stop(self, job_id: str, attempt: int, kind: str) -> None:
        self._answer()
        self.stops.append((job_id, attempt, kind))

    def forget(self, job_ids: Sequence[str]) -> None:
        self._answer()
        self._states = {rq_id: state for rq_id, state in self._states.items() if rq_id.split("-")[0] not in job_ids}
        self._events = [event for event in self._events if event.job_id not in job_ids]

    def workers(self) -> list[WorkerInfo]:
        self._answer()
        return list(self.crew)

    def waiting(self) -> int:
        self._answer()
        return sum(state == "queued" for state in self._states.values())

    def read_events(self, after_id: str = "0", block_ms: int = 1000, count: int = 500) -> list[tuple[str, Event]]:
        self._answer()
        start = int(after_id.split("-", maxsplit=1)[0])
        with self._news:
            if len(self._events) <= start:
                self._news.wait(min(block_ms, 200) / 1000)  # a test that ends does not wait for a quiet second
            return [(f"{number}-0", event) for number, event in enumerate(self._events, 1)][start : start + count]

    def ping(self) -> bool:
        return not self.away

    def close(self) -> None:
        """Nothing is open."""

    def push(self, event: Event) -> None:
        with self._news:
            self._events.append(event)
            self._news.notify_all()

    def taken(self, request: TrainRequest, state: str = "started") -> None:
        self._states[request.rq_id] = state


class ScriptedWorker:
    """One attempt, told event by event."""

    def __init__(self, queue: ScriptedQueue, request: TrainRequest) -> None:
        self.request = request
        self._queue = queue
        self._seq = 0
        queue.taken(request)

    def emit(self, type: EventType, message: str = "", *, data: Any = None, **values: Any) -> None:
        self._seq += 1
        self._queue.push(
            Event(
                job_id=self.request.job_id,
                attempt=self.request.attempt,
                seq=self._seq,
                created_at=time.time(),
                type=type,
                message=message,
                data=data or values,
            )
        )

    def phase(self, phase: Phase) -> None:
        self.emit(EventType.PHASE, phase=phase)

    def step(self, step: int, total: int, **numbers: float) -> None:
        self.emit(EventType.METRICS, step=step, total_steps=total, **numbers)

    def train(self, total: int = 20) -> None:
        """A healthy run up to its last step."""
        for phase in (Phase.STARTING, Phase.PREPARING, Phase.LOADING, Phase.TRAINING):
            self.phase(phase)
        for step in range(1, total + 1):
            share = step / total
            numbers = {"loss": 2.4 - 1.8 * share, "tokens_per_second": 3900.0, "eta_seconds": 2.0 * (total - step)}
            if step % (total // 4) == 0:
                numbers["eval_loss"] = 2.5 - 1.8 * share
            self.step(step, total, epoch=3 * share, **numbers)

    def fail(self, code: str, message: str, hint: str) -> None:
        self.emit(EventType.FAILED, data={"code": code, "message": message, "hint": hint})
        self._queue.taken(self.request, "failed")

    def stop(self, kind: str, step: int = 5) -> None:
        self.emit(EventType.STOPPED, kind=kind, step=step)
        self._queue.taken(self.request, "stopped")

    def finish(self, evaluation: Evaluation | None = None) -> TrainResult:
        self.phase(Phase.EVALUATING)
        self.phase(Phase.PUBLISHING)
        result = TrainResult(
            adapter_name=self.request.adapter_name,
            adapter_path=f"adapters/{self.request.adapter_name}",
            adapter_sha256="ab" * 32,
            adapter_bytes=123_456,
            trained_tokens=60_000,
            seconds=20.0,
            evaluation=evaluation or good_evaluation(),
        )
        self.emit(EventType.RESULT, **result.model_dump(mode="json"))
        self._queue.taken(self.request, "finished")
        return result


def interval(value: float, spread: float = 0.05) -> Interval:
    return Interval(value=value, low=max(0.0, value - spread), high=min(1.0, value + spread))


def good_evaluation() -> Evaluation:
    """A clear win on labels, with one mistake among the shown examples."""
    return Evaluation(
        examples=40,
        labels=("mala", "regular", "buena"),
        majority=0.35,
        few_shot_examples=4,
        base=Score(loss=2.41, accuracy=interval(0.11), macro_f1=0.05, prompt_tokens=31.0),
        few_shot=Score(accuracy=interval(0.58), macro_f1=0.5, prompt_tokens=212.0),
        tuned=Score(loss=0.612, accuracy=interval(0.93), macro_f1=0.92, prompt_tokens=31.0),
        verdict=Verdict.BETTER,
        summary="Acierta mucho más que la base y con prompts siete veces más cortos.",
        samples=(
            Comparison(prompt="La pantalla parpadea", expected="mala", base="Hola", few_shot="regular", tuned="mala"),
            Comparison(prompt="Cumple *sin más*", expected="regular", base="Sí", few_shot="buena", tuned="buena"),
        ),
    )


class ScriptedEngine:
    """An engine that echoes; `loaded` are the adapters that somebody asked for."""

    def __init__(self) -> None:
        self.loaded: list[str] = []
        self.unloaded: list[str] = []
        self.made_by = "afina"

    async def maker(self) -> str:
        return self.made_by

    async def bases(self) -> list[str]:
        return ["afina-mini"]

    async def ensure_adapter(self, name: str, path: Any) -> None:
        self.loaded.append(name)

    async def unload(self, name: str) -> None:
        if name not in self.loaded:
            raise ModelNotFound
        self.unloaded.append(name)

    async def chat(self, model: str, messages: Sequence[Mapping[str, str]], **options: Any) -> str:
        return f"{model}: {messages[-1]['content']}"

    async def stream(self, model: str, messages: Sequence[Mapping[str, str]], **options: Any) -> AsyncIterator[str]:
        for word in (await self.chat(model, messages)).split(" "):
            yield f"{word} "

    async def healthy(self) -> bool:
        return True
