"""What a running job says and hears: trainer callbacks → events; cancel, pause and SIGTERM → a clean stop.

Rule of this file: the trainer's hooks become events and checkpoints get their completion marker; a stop that a person
or the machine asked for is looked up at each step. It writes to no file and no Redis, and reads no signal itself:
`Emit` and `Control` are given (`jobs.attempt` has the real ones, heartbeats included).
"""

from __future__ import annotations

import math
import time
from pathlib import Path
from typing import Any, Literal, Protocol

import torch
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from jobs.attempt import StopKind
from jobs.contract import EventType, Metrics, Phase
from jobs.errors import Cancelled, Diverged, Paused, Stopped
from jobs.gpu import checkpoints


class Emit(Protocol):
    """Appends one event to the job's history."""

    def __call__(self, type: EventType, message: str = "", level: Any = "info", **data: Any) -> Any: ...


class Control(Protocol):
    """Whether somebody asked the job to stop."""

    def requested(self) -> StopKind | None: ...


class Interrupted(Stopped):
    """The machine is going away (SIGTERM); the work is kept and another attempt goes on with it."""

    code = "interrupted"
    default = "El equipo que entrenaba se está apagando; el trabajo seguirá desde aquí."


STOPPED: dict[StopKind, type[Stopped]] = {"cancelled": Cancelled, "paused": Paused, "interrupted": Interrupted}
PHASE_MESSAGES = {
    Phase.STARTING: "Empieza el trabajo.",
    Phase.PREPARING: "Preparando los datos.",
    Phase.LOADING: "Cargando el modelo base.",
    Phase.TRAINING: "Entrenando.",
    Phase.EVALUATING: "Evaluando con ejemplos que no ha visto.",
    Phase.PUBLISHING: "Guardando el modelo.",
}


class Progress:
    """The job's voice: phases, messages and stops."""

    def __init__(self, emit: Emit, control: Control) -> None:
        self.emit = emit
        self._control = control
        self.step = 0  # of the optimizer, for the last words of a stopped job

    def phase(self, phase: Phase) -> None:
        """Enter a phase; the right moment to stop, too."""
        self.raise_if_stopped()
        self.emit(EventType.PHASE, PHASE_MESSAGES[phase], phase=phase.value)

    def say(self, message: str, level: Literal["info", "warn", "error"] = "info") -> None:
        self.emit(EventType.MESSAGE, message, level)

    def requested(self) -> StopKind | None:
        return self._control.requested()

    def raise_if_stopped(self) -> None:
        kind = self.requested()
        if kind is not None:
            raise STOPPED[kind]


class ProgressCallback(TrainerCallback):
    """Turns the trainer's hooks into events, and the answers of `Progress.requested` into stops."""

    def __init__(self, progress: Progress, *, tokens_per_epoch: int) -> None:
        self._progress = progress
        self._tokens_per_epoch = tokens_per_epoch
        self._started = time.monotonic()
        self._first_step = 0
        self._last: tuple[float, int] = (self._started, 0)  # when, at which step, of the last log
        self.stopped: StopKind | None = None
        self.epochs = 0.0  # that were trained, all attempts together

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        self._started = time.monotonic()
        self._first_step = state.global_step
        self._last = (self._started, state.global_step)

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        self._progress.step = state.global_step
        self.epochs = state.epoch or 0.0
        self.stopped = self._progress.requested()
        if self.stopped is not None:
            control.should_training_stop = True
            control.should_evaluate = False
            control.should_save = self.stopped != "cancelled"
        return control

    def on_epoch_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> TrainerControl:
        if self.stopped is not None:  # the trainer takes a stop for the end of an epoch
            control.should_evaluate = control.should_save = control.should_log = False
        return control

    def on_log(
        self,
        args: TrainingArguments,
        state: TrainerState,
        control: TrainerControl,
        logs: dict[str, float] | None = None,
        **_: Any,
    ) -> None:
        logs = logs or {}
        if "train_runtime" in logs:  # the trainer's closing summary
            return
        for key in ("loss", "eval_loss"):
            if key in logs and not math.isfinite(logs[key]):
                raise Diverged
        measured = {
            "loss": logs.get("loss"),
            "eval_loss": logs.get("eval_loss"),
            "accuracy": logs.get("mean_token_accuracy"),
            "eval_accuracy": logs.get("eval_mean_token_accuracy"),
            "learning_rate": logs.get("learning_rate"),
            "grad_norm": _finite(logs.get("grad_norm")),
        }
        if all(value is None for value in measured.values()):
            return
        metrics = Metrics(
            step=state.global_step,
            total_steps=state.max_steps,
            epoch=round(state.epoch or 0.0, 3),
            **measured,
            **self._speed(args, state),
            memory_bytes=torch.cuda.max_memory_reserved() if torch.cuda.is_available() else None,
        )
        self._progress.emit(EventType.METRICS, **metrics.model_dump(exclude_none=True))

    def on_save(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        if not state.is_world_process_zero:
            return  # one of several processes writes the checkpoint, and only that one knows when it is whole
        assert args.output_dir is not None
        folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
        checkpoints.complete(folder, step=state.global_step, epoch=state.epoch or 0.0)
        self._progress.emit(
            EventType.CHECKPOINT, step=state.global_step, epoch=round(state.epoch or 0.0, 3), path=folder.name
        )

    def _speed(self, args: TrainingArguments, state: TrainerState) -> dict[str, float]:
        """Useful tokens a second since the last log, and the seconds left at the mean speed so far."""
        now = time.monotonic()
        (then, step_then), self._last = self._last, (now, state.global_step)
        done = state.global_step - self._first_step
        speed: dict[str, float] = {}
        if done > 0:
            left = state.max_steps - state.global_step
            speed["eta_seconds"] = round((now - self._started) / done * left, 1)
        if state.global_step > step_then and now > then and state.num_train_epochs:
            per_step = self._tokens_per_epoch * state.num_train_epochs / max(1, state.max_steps)
            speed["tokens_per_second"] = round(per_step * (state.global_step - step_then) / (now - then), 1)
        return speed


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
