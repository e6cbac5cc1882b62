"""`afina train`: one training from the command line, as the local user «consola».

Rule of this file: the job goes through the same store and the same scheduler as everybody's. Where a bot runs with this
data folder its scheduler takes the job; else this command runs Redis, a worker and a scheduler of its own until the job
has ended.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from bot.console.check import examine, show
from bot.console.stack import Stack
from bot.datasets import format_of, limits_of, new_dataset, with_file, with_report
from bot.errors import BadInput
from bot.lock import AlreadyRunning, only_one
from bot.progress import ProgressFeed, view
from bot.records import CONSOLE, Dataset, Job
from bot.render.evaluation import UNMEASURED, details, table
from bot.scheduler import Scheduler
from bot.settings import Settings
from bot.store import Store
from bot.training import OBJECTIVES
from jobs.artifacts import Artifacts
from jobs.catalog import load_catalog
from jobs.contract import Event, EventType, JobState, Method, Objective, Preset, Recipe
from jobs.dataset import Report
from jobs.queue import Queue
from jobs.recipe import DataStats, check_recipe, recommend

_LOOK_EVERY = 0.3  # seconds


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_run(arguments, settings))


async def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    files = [path for path in (arguments.file, arguments.validation) if path is not None]
    reports = [await asyncio.to_thread(examine, path, limits_of(settings)) for path in files]
    for path, report in zip(files, reports, strict=True):
        if report.verdict == "rejected":
            _refuse(path, report, as_json=arguments.json)
            return 1
    given = read_config(arguments.config) if arguments.config else None
    base = load_catalog().get(arguments.base or (given.base if given else None) or settings.default_base)
    recipe = given.recipe if given else _usual_recipe(arguments, reports[0], base.id)
    if arguments.seed is not None:
        recipe = recipe.model_copy(update={"seed": arguments.seed})
    check_recipe(recipe, base)
    async with Store.open(settings.database) as store:
        kept = [await _keep(store, settings, *both) for both in zip(files, reports, strict=True)]
        if given and given.dataset_sha256 not in (None, kept[0].sha256):
            print("Estos datos no son los de la receta: el resultado no será el mismo.", file=sys.stderr)
        job = await store.submit_job(
            owner=CONSOLE,
            name=arguments.name or arguments.file.stem,
            dataset=kept[0],
            base_id=base.id,
            recipe=recipe,
            validation_path=kept[1].path if len(kept) > 1 else None,
            parent_adapter=given.parent_adapter if given else None,
        )
        async with _somebody_who_trains(settings, store):
            try:
                return await (_follow_json if arguments.json else _follow)(store, job.id)
            except asyncio.CancelledError:
                print("\nInterrumpido. El trabajo queda en la cola y seguirá con Afina en marcha.", file=sys.stderr)
                raise


def _refuse(path: Path, report: Report, *, as_json: bool) -> None:
    if as_json:
        print(json.dumps(report.to_dict(), ensure_ascii=False))
        return
    show(report)
    if report.usable:
        print(f"\nPrueba con: afina check {path} --fix reparado.jsonl", file=sys.stderr)


def _usual_recipe(arguments: argparse.Namespace, report: Report, base_id: str) -> Recipe:
    """What suits the data."""
    objective = OBJECTIVES.get(format_of(report.to_dict()) or "", Objective.SFT)
    stats = DataStats.from_report(report.stats)
    preset, method = Preset(arguments.preset), Method(arguments.method)
    return recommend(stats, load_catalog().get(base_id), preset=preset, method=method, objective=objective)


class Config(BaseModel):
    """A `recipe.yaml`: what trains the same model again from the same data."""

    model_config = ConfigDict(frozen=True)

    recipe: Recipe
    base: str | None = None
    dataset_sha256: str | None = None
    parent_adapter: str | None = None  # was trained on from this one


def read_config(path: Path) -> Config:
    """A `recipe.yaml` as every adapter carries one, or a bare recipe. Raises BadInput."""
    try:
        said: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
        return Config.model_validate(said if isinstance(said, dict) and "recipe" in said else {"recipe": said})
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise BadInput(f"No puedo leer {path}.", hint="Tiene que ser el recipe.yaml de un modelo.") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "el archivo"
        raise BadInput(f"{path}: {where} no vale ({first['msg']}).", hint="Corrígelo o quita ese ajuste.") from error


async def _keep(store: Store, settings: Settings, path: Path, report: Report) -> Dataset:
    """Copies the file into the artifacts and writes its row."""
    now = time.time()  # of the consent too: it is one's own file on one's own machine
    draft = new_dataset(CONSOLE, name=path.name, consent_at=now, created_at=now)
    kept = await with_file(Artifacts(settings.artifacts), draft, path)
    return await store.add_dataset(with_report(kept, report.to_dict()))


@contextlib.asynccontextmanager
async def _somebody_who_trains(settings: Settings, store: Store) -> AsyncIterator[None]:
    """A bot that already runs here, or Redis, a worker and a scheduler of our own."""
    try:
        with only_one(settings.data_dir / "run" / "scheduler.lock"):
            pass
    except AlreadyRunning:
        yield
        return
    async with Stack(settings, bot=False, engine=False, logs=True) as stack:
        queue = Queue(stack.redis_url)
        tasks = [
            asyncio.create_task(Scheduler(store, queue, settings).run()),
            asyncio.create_task(ProgressFeed(store, queue).run()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def _news(store: Store, job_id: str) -> AsyncIterator[tuple[Job, list[Event]]]:
    """The job and all its events each time something changed, until it has ended (or waits for a person)."""
    told = -1
    while True:
        job, events = await store.job(job_id), await store.events(job_id)
        if len(events) != told or job.state.terminal:
            told = len(events)
            yield job, events
        if job.state.terminal or job.state is JobState.PAUSED:
            return
        await asyncio.sleep(_LOOK_EVERY)


async def _follow_json(store: Store, job_id: str) -> int:
    told = 0
    async for _, events in _news(store, job_id):
        for event in events[told:]:
            print(event.model_dump_json(), flush=True)
        told = len(events)
    job = await store.job(job_id)
    last = {"job": job.id, "state": job.state.value, "error": job.error, "model": await _model(store, job)}
    print(json.dumps(last, ensure_ascii=False))
    return 0 if job.state is JobState.SUCCEEDED else 1


async def _follow(store: Store, job_id: str) -> int:
    say = Console(soft_wrap=True)
    with Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[more]}"), console=say) as bar:
        task = bar.add_task("en cola", total=None, more="")
        told = 0
        async for now, events in _news(store, job_id):
            for event in events[told:]:
                if event.type is EventType.MESSAGE:
                    say.print(event.message, markup=False, highlight=False)
            told = len(events)
            _update(bar, task, now, events)
    job = await store.job(job_id)
    if job.state is not JobState.SUCCEEDED:
        error = job.error or {}
        said = f"{error.get('message', '')} {error.get('hint', '')}".strip()
        say.print(said or "El trabajo no ha terminado.", markup=False, style="red")
        return 1
    model = await store.model(job.name, CONSOLE)
    say.print(f"{model.name} está listo.", markup=False, style="bold green")
    if model.evaluation is None:
        say.print(UNMEASURED, markup=False)
    else:
        say.print(table(model.evaluation).strip("`\n"), markup=False, highlight=False)
        found = f"{model.evaluation.summary}\n{details(model.evaluation)}".replace("\n-# ", "\n")
        say.print(found, markup=False, highlight=False)
    say.print(f'\nCharla con él: afina chat {model.name} --message "…"', markup=False, style="dim", highlight=False)
    return 0


def _update(bar: Progress, task: TaskID, job: Job, events: list[Event]) -> None:
    now = view(job, events)
    bar.update(
        task,
        description=now.status,
        completed=job.step,
        total=job.total_steps or None,
        more=now.advice.text if now.advice else "",
    )


async def _model(store: Store, job: Job) -> dict[str, Any] | None:
    if job.state is not JobState.SUCCEEDED:
        return None
    model = await store.model(job.name, CONSOLE)
    evaluation = model.evaluation.model_dump(mode="json") if model.evaluation else None
    return {"name": model.name, "adapter": model.adapter_name, "base": model.base_id, "evaluation": evaluation}
