"""One attempt at one job: data → base → LoRA → TRL → evaluation → publication. Read it from top to bottom.

Rule of this file: the order of things and nothing else; each step lives in the module that it is imported from.
`train` raises, `attempt` also tells (the last event), and `run` is what RQ calls in a forked child.
"""

from __future__ import annotations

import logging
import os
import shutil
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from peft import PeftModel
from rq.timeouts import BaseTimeoutException

from jobs.artifacts import Artifacts
from jobs.attempt import Control, EventWriter, attempt_folder
from jobs.catalog import load_catalog
from jobs.contract import EventType, Method, Objective, Phase, Recipe, TrainRequest, TrainResult
from jobs.dataset import read_examples, split_examples
from jobs.dataset.example import Example, Kind
from jobs.errors import AfinaError, DatasetError, DiskFull, DoesNotFit, NothingToLearn, Stopped, for_want_of_room
from jobs.gpu import checkpoints, models, publish
from jobs.gpu.chat import REFUSED, ChatEncoder
from jobs.gpu.data import BEYOND_THE_ROW, Prepared, prepare
from jobs.gpu.evaluate import evaluate
from jobs.gpu.fitting import Fitting, out_of_memory
from jobs.gpu.lora import continued_adapter, new_adapter
from jobs.gpu.preference import prepare_preferences
from jobs.gpu.progress import Control as AnyControl
from jobs.gpu.progress import Emit, Progress
from jobs.gpu.trackers import callbacks
from jobs.gpu.verdict import FEWEST_ROWS
from jobs.recipe import check_recipe

logger = logging.getLogger(__name__)

# What a worker hands to the jobs that it forks.
DATA, ARTIFACTS, REDIS = "AFINA_WORK_DATA", "AFINA_WORK_ARTIFACTS", "AFINA_WORK_REDIS"
TRACKERS = "AFINA_WORK_TRACKERS"  # comma-separated


def run(request: dict[str, Any]) -> dict[str, Any]:
    """The RQ job. Returns the TrainResult as JSON; raises an AfinaError after its event was written."""
    asked = TrainRequest.model_validate(request)
    data = Path(os.environ[DATA])
    redis_url = os.environ.get(REDIS)
    work = attempt_folder(data, asked.job_id, asked.attempt)
    trackers = tuple(filter(None, os.environ.get(TRACKERS, "").split(",")))
    with EventWriter(work, redis_url, asked.job_id, asked.attempt) as events:
        control = Control(redis_url, asked.job_id, asked.attempt)
        # What comes from an object store goes with the job: people's data stay on no worker.
        with TemporaryDirectory(dir=work, prefix=".artifacts-") as cache:
            store = Artifacts(os.environ[ARTIFACTS], cache=Path(cache))
            result = attempt(
                asked, data=data, artifacts=store, work=work, emit=events.emit, control=control, trackers=trackers
            )
    return result.model_dump(mode="json")


def attempt(
    request: TrainRequest,
    *,
    data: Path,
    artifacts: Artifacts,
    work: Path,
    emit: Emit,
    control: AnyControl,
    trackers: Sequence[str] = (),
) -> TrainResult:
    """`train`, and the last word of the attempt as an event: RESULT, STOPPED or FAILED."""
    progress = Progress(emit, control)
    try:
        result = train(request, data=data, artifacts=artifacts, work=work, progress=progress, trackers=trackers)
    except Stopped as stopped:
        emit(EventType.STOPPED, stopped.message, kind=stopped.code, step=progress.step)
        raise
    except AfinaError as error:
        emit(EventType.FAILED, error.message, "error", code=error.code, hint=error.hint)
        raise
    except BaseTimeoutException:  # RQ's alarm: the worker that set it tells
        raise
    except Exception as error:  # a bug; people get a sentence, the log gets the traceback
        logger.exception("job %s failed", request.rq_id)
        told = _in_words(error)
        emit(EventType.FAILED, told.message, "error", code=told.code, hint=told.hint)
        raise told from error
    emit(EventType.RESULT, "El modelo está listo.", **result.model_dump(mode="json"))
    return result


def train(
    request: TrainRequest,
    *,
    data: Path,
    artifacts: Artifacts,
    work: Path,
    progress: Progress,
    trackers: Sequence[str] = (),
) -> TrainResult:
    """Train, evaluate and publish one adapter. Raises AfinaErrors; work folder: checkpoints and the adapter's draft."""
    started = time.monotonic()
    recipe = request.recipe
    models.quiet_libraries()
    progress.phase(Phase.STARTING)
    base = load_catalog().get(request.base_id)
    check_recipe(recipe, base)

    progress.phase(Phase.PREPARING)
    folder = models.available_folder(base.id, data=data, on_progress=lambda share, what: progress.raise_if_stopped())
    tokenizer = models.load_tokenizer(folder)
    encoder = ChatEncoder(tokenizer)
    examples, held_out = read_data(request, artifacts)
    held_out = [row for row in held_out if row.kind is Kind.TEXT or encoder.accepts(row)]
    rows = prepare_for(recipe, encoder, examples)
    validation = prepare_validation(recipe, encoder, held_out)
    say_what_was_left_out(rows, progress)

    progress.phase(Phase.LOADING)
    torch.manual_seed(recipe.seed)
    model = models.load_model(folder, four_bit=recipe.method is Method.QLORA)
    adapted: PeftModel = (
        continued_adapter(model, artifacts.adapter(request.parent_adapter))
        if request.parent_adapter
        else new_adapter(model, recipe)
    )

    progress.phase(Phase.TRAINING)
    fitting = Fitting(
        model=adapted,
        tokenizer=tokenizer,
        train=rows.dataset,
        validation=validation.dataset if validation else None,
        tokens_per_epoch=rows.tokens,
        folder=work / "checkpoints",
        continued=request.parent_adapter is not None,
        progress=progress,
        name=request.rq_id,
        trackers=callbacks(trackers, request.rq_id, data / "trackers", lambda said: progress.say(said, "warn")),
    )
    fitted = fitting.run(recipe, resume_from=checkpoints.newest(work.parent) if request.resume else None)

    progress.phase(Phase.EVALUATING)
    evaluation = evaluate(adapted, encoder, rows.examples, held_out, seed=recipe.seed, check=progress.raise_if_stopped)

    progress.phase(Phase.PUBLISHING)
    draft = work / "adapter"
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(parents=True)
    revision = models.base_revision(folder)
    files = publish.write_adapter(
        draft,
        model=adapted,
        tokenizer=tokenizer,
        request=request,
        base=base,
        revision=revision,
        evaluation=evaluation,
        events=publish.history_of(work.parent),
    )
    details = {
        "base_revision": revision,
        "trained_tokens": round(rows.tokens * fitted.epochs),
        "seconds": round(time.monotonic() - started, 2),
        "evaluation": evaluation.model_dump(mode="json") if evaluation else None,
    }
    # The details go into the manifest: should the RESULT event get lost, the bot finds there what it said.
    published = artifacts.publish_adapter(request.adapter_name, draft, details=details)
    return TrainResult(
        adapter_name=request.adapter_name,
        adapter_path=published.path,
        adapter_sha256=published.sha256,
        adapter_bytes=published.bytes,
        files=files,
        **details,
    )


def _in_words(error: Exception) -> AfinaError:
    if for_want_of_room(error):
        return DiskFull()
    return DoesNotFit() if out_of_memory(error) else AfinaError("Ha fallado algo inesperado durante el entrenamiento.")


def read_data(request: TrainRequest, artifacts: Artifacts) -> tuple[list[Example], list[Example]]:
    """(training, held-out) examples of a job; split by group where no validation file was given."""
    examples = list(read_examples(artifacts.local(request.dataset_path)))
    if not examples:
        raise NothingToLearn("El archivo no tiene ningún ejemplo que se pueda usar.")
    if request.validation_path is not None:
        return examples, list(read_examples(artifacts.local(request.validation_path)))
    fraction = held_out_fraction(request.validation_fraction, len(examples))
    return split_examples(examples, fraction=fraction, seed=request.recipe.seed)


def held_out_fraction(wanted: float, examples: int) -> float:
    """More than wanted where few examples would leave too few for a verdict, up to a fifth of them."""
    return max(wanted, min(MOST_HELD_OUT, (FEWEST_ROWS + 0.5) / examples)) if wanted else 0.0


def prepare_for(recipe: Recipe, encoder: ChatEncoder, examples: list[Example]) -> Prepared:
    if recipe.objective is not Objective.SFT:
        return prepare_preferences(encoder, examples, recipe=recipe)
    usable = [example for example in examples if example.kind in (Kind.CHAT, Kind.TEXT)]
    if examples and not usable:
        raise DatasetError(
            "Estos datos son preferencias, no respuestas que imitar.",
            hint="Entrena con DPO o KTO, o sube otro archivo.",
        )
    return prepare(encoder, usable, max_length=recipe.max_length)


def prepare_validation(recipe: Recipe, encoder: ChatEncoder, held_out: list[Example]) -> Prepared | None:
    """Held-out rows for the validation loss; None where there are none that can be used."""
    try:
        return prepare_for(recipe, encoder, held_out) if held_out else None
    except DatasetError:
        return None


MOST_HELD_OUT = 0.2  # of a small file, for the evaluation

REASONS = {
    "nothing is learnt": "sin ninguna respuesta que aprender",
    BEYOND_THE_ROW: "con una pregunta tan larga que la respuesta no cabe",
    REFUSED: "con un orden de mensajes que la plantilla de esta base no admite",
}


def say_what_was_left_out(rows: Prepared, progress: Progress) -> None:
    """Warnings about examples that were cut or left out, one line each."""
    if rows.cut:
        progress.say(f"He recortado {_examples(rows.cut)} al máximo de tokens por ejemplo.", "warn")
    reasons: Counter[str] = Counter()
    for fault, count in rows.dropped.items():
        reasons[REASONS.get(fault, "con respuestas que no se saben marcar en la plantilla de esta base")] += count
    for reason, count in reasons.items():
        progress.say(f"He dejado fuera {_examples(count)} {reason}.", "warn")


def _examples(count: int) -> str:
    return "1 ejemplo" if count == 1 else f"{count} ejemplos"
