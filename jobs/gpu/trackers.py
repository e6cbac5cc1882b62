"""Trackers of experiments that people may know already: TensorBoard, Weights & Biases, trackio.

Rule of this file: transformers' own callbacks do the work; here they are told where to write and kept from doing harm.
A tracker that is missing, has no network or breaks is told once and left out, and the training goes on. What it says
is never repeated, because it may hold a key. Names and files of people are not given to a tracker: a run has the
job's name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rq.timeouts import BaseTimeoutException
from transformers import TrainerCallback
from transformers.integrations.integration_utils import INTEGRATION_TO_CALLBACK

logger = logging.getLogger(__name__)

PROJECT = "afina"
NAMES = {"tensorboard": "TensorBoard", "wandb": "Weights & Biases", "trackio": "trackio"}
HOOKS = ("on_train_begin", "on_log", "on_evaluate", "on_save", "on_train_end")


def environment(folder: Path) -> dict[str, str]:
    """Where the trackers keep their files, as environment variables that they read."""
    return {"WANDB_PROJECT": PROJECT, "WANDB_DIR": str(folder), "WANDB_INIT_TIMEOUT": "20", "TRACKIO_DIR": str(folder)}


def callbacks(names: Sequence[str], run: str, folder: Path, say: Callable[[str], Any]) -> list[TrainerCallback]:
    """A callback for each tracker that is installed. `run`: the name of what it shows; `say`: tell a person."""
    made: list[TrainerCallback] = []
    if names:
        folder.mkdir(parents=True, exist_ok=True)  # W&B writes elsewhere where it is missing
    for name in names:
        try:
            callback = INTEGRATION_TO_CALLBACK[name]()
        except Exception as error:
            told = "no está instalado en el equipo que entrena" if isinstance(error, RuntimeError) else "no arranca"
            logger.warning("tracker %s cannot be used: %s", name, type(error).__name__)
            say(f"No apunto este entrenamiento en {NAMES.get(name, name)}: {told}.")
            continue
        if name == "tensorboard":
            callback.logging_dir = str(folder / name / run)
        made.append(Tracker(name, callback, say))
    return made


class Tracker(TrainerCallback):
    """A callback that can fail without anybody else noticing."""

    def __init__(self, name: str, callback: TrainerCallback, say: Callable[[str], Any]) -> None:
        self._name = name
        self._callback: TrainerCallback | None = callback
        self._say = say

    def _hear(self, hook: str, *given: Any, **more: Any) -> None:
        if self._callback is None:
            return
        try:
            getattr(self._callback, hook)(*given, **more)
        except BaseTimeoutException:  # RQ's alarm, which means the job and not the tracker
            raise
        except Exception as error:
            self._callback = None
            logger.warning("tracker %s is given up in %s: %s", self._name, hook, type(error).__name__)
            self._say(f"{NAMES.get(self._name, self._name)} no responde: sigo sin apuntar ahí este entrenamiento.")


def _hook(name: str) -> Callable[..., None]:
    def hear(self: Tracker, *given: Any, **more: Any) -> None:
        self._hear(name, *given, **more)

    return hear


for _name in HOOKS:
    setattr(Tracker, _name, _hook(_name))
