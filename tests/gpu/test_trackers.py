"""Trackers show what a training measured, and can only fail quietly."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from rq.timeouts import JobTimeoutException
from tensorboardX.proto import event_pb2
from tensorboardX.record_writer import masked_crc32c
from transformers import TrainerCallback

from jobs.attempt import EventWriter, attempt_folder
from jobs.contract import EventType
from jobs.gpu.trackers import Tracker, callbacks
from jobs.gpu.train import attempt
from tests.gpu.conftest import QUICK, Bench, Stops, colour_rows


def scalars(folder: Path) -> dict[str, list[tuple[int, float]]]:
    """What TensorBoard would draw: (step, value) by name."""
    found: dict[str, list[tuple[int, float]]] = {}
    for path in sorted(folder.glob("events.*")):
        data = path.read_bytes()
        while data:  # records: length, its checksum, bytes, their checksum
            length = int.from_bytes(data[:8], "little")
            body, check = data[12 : 12 + length], data[12 + length : 16 + length]
            assert int.from_bytes(check, "little") == masked_crc32c(body)
            event = event_pb2.Event.FromString(body)
            for value in event.summary.value:
                if value.HasField("simple_value"):
                    found.setdefault(value.tag, []).append((event.step, value.simple_value))
            data = data[16 + length :]
    return found


def run_tracked(bench: Bench, names: tuple[str, ...]) -> Any:
    request = bench.request(colour_rows(), QUICK)
    bench.work = attempt_folder(bench.data, request.job_id, request.attempt)
    with EventWriter(bench.work, None, request.job_id, request.attempt) as events:
        return attempt(
            request,
            data=bench.data,
            artifacts=bench.store,
            work=bench.work,
            emit=events.emit,
            control=Stops(),
            trackers=names,
        )


def test_tensorboard_shows_the_losses_of_the_job_under_its_name_and_a_missing_tracker_is_told_once(
    bench: Bench,
) -> None:
    assert run_tracked(bench, ("tensorboard", "trackio")).adapter_bytes > 0
    shown = scalars(bench.data / "trackers" / "tensorboard" / "trabajo1-1")
    told = [event.data for event in bench.events(EventType.METRICS)]
    assert shown["train/loss"] == [(d["step"], pytest.approx(d["loss"])) for d in told if "loss" in d]
    assert shown["eval/loss"] == [(d["step"], pytest.approx(d["eval_loss"])) for d in told if "eval_loss" in d]
    warned = [event.message for event in bench.events(EventType.MESSAGE) if "trackio" in event.message]
    assert warned == ["No apunto este entrenamiento en trackio: no está instalado en el equipo que entrena."]


class Broken(TrainerCallback):
    calls = 0

    def on_log(self, *given: Any, **more: Any) -> None:
        self.calls += 1
        raise ConnectionError("no route; key=muy-secreta")


def test_a_tracker_that_breaks_is_given_up_and_told_once_without_its_words(caplog: pytest.LogCaptureFixture) -> None:
    said: list[str] = []
    broken = Broken()
    tracker = Tracker("wandb", broken, said.append)
    with caplog.at_level(logging.DEBUG):
        for _ in range(3):
            tracker.on_log(None, None, None, logs={"loss": 1.0})
        tracker.on_train_end(None, None, None)
    assert broken.calls == 1
    assert said == ["Weights & Biases no responde: sigo sin apuntar ahí este entrenamiento."]
    assert "muy-secreta" not in caplog.text + "".join(said)
    assert caplog.text.count("ConnectionError") == 1


def test_the_end_of_the_time_of_a_job_is_not_taken_for_a_broken_tracker() -> None:
    class Late(TrainerCallback):
        def on_log(self, *given: Any, **more: Any) -> None:
            raise JobTimeoutException("late")

    with pytest.raises(JobTimeoutException):
        Tracker("wandb", Late(), lambda said: None).on_log(None, None, None)


def test_a_name_that_nobody_knows_is_told(tmp_path: Path) -> None:
    said: list[str] = []
    assert callbacks(["pizarra"], "trabajo1-1", tmp_path, said.append) == []
    assert len(said) == 1
