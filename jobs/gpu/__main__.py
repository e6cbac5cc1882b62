"""`python -m jobs.gpu worker | serve | mini | train | merge | download`: the processes of the GPU side.

Rule of this file: it parses arguments, imports torch and TRL once (so that forked jobs start warm, with a device that
nobody has touched) and hands over. It knows nothing of what a job or an engine does.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import socket
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from jobs.gpu.engine.options import add_arguments as add_engine_arguments

if TYPE_CHECKING:
    from jobs.contract import TrainRequest, WorkerInfo

# Before any library is imported: workers and engines are offline, and looking for a GPU must not initialise it.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "true",
    "PYTORCH_NVML_BASED_CUDA_CHECK": "1",
    # Threads that wait by spinning stop each other where worker, engine and bot share two cores.
    "OMP_WAIT_POLICY": "PASSIVE",
}


def main(arguments: list[str] | None = None) -> int:
    args = parser().parse_args(arguments)
    networked = args.command is run_download
    wanted = {name: value for name, value in ENVIRONMENT.items() if not (networked and name.endswith("_OFFLINE"))}
    os.environ.update({name: os.environ.get(name, value) for name, value in wanted.items()})
    set_up_logs(PARTS.get(args.command, "tool"))
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # it misses an optional kernel at each import
    return int(args.command(args))


def set_up_logs(part: str) -> None:
    """As the bot's settings of the same names say; secrets are what the environment holds as such."""
    from jobs import logs

    secrets = [value for name, value in os.environ.items() if name.endswith(("_KEY", "_TOKEN", "_PASSWORD"))]
    logs.set_up(
        part,
        level=os.environ.get("AFINA_LOG_LEVEL") or "INFO",
        format="json" if os.environ.get("AFINA_LOG_FORMAT") == "json" else "text",
        secrets=[*secrets, *logs.password_of(os.environ.get("REDIS_URL"))],
    )


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(prog="python -m jobs.gpu", description=__doc__.splitlines()[0])
    commands = top.add_subparsers(required=True)

    worker = commands.add_parser("worker", help="take jobs from the queue")
    worker.add_argument("--data", type=Path, required=True)
    worker.add_argument("--artifacts", required=True, help="folder or URL of datasets and adapters")
    # A password does not belong on a command line, which everybody on the machine can read.
    address = os.environ.get("REDIS_URL") or None
    worker.add_argument("--redis", default=address, required=address is None, help="default: REDIS_URL")
    worker.add_argument("--name", default=None)
    worker.add_argument("--labels", default="", help="comma-separated")
    names = os.environ.get("AFINA_TRACKERS", "")
    worker.add_argument("--trackers", default=names, help="tensorboard, wandb, trackio; default: AFINA_TRACKERS")
    worker.add_argument("--burst", action="store_true", help="end when the queue is empty")
    worker.set_defaults(command=run_worker)

    serve = commands.add_parser("serve", help="serve a base and its adapters (OpenAI protocol)")
    add_engine_arguments(serve)
    serve.set_defaults(command=run_engine)

    mini = commands.add_parser("mini", help="make afina-mini available, or train it again")
    mini.add_argument("--out", type=Path, required=True, help="data folder; with --rebuild the folder to fill")
    mini.add_argument("--rebuild", action="store_true")
    mini.set_defaults(command=run_mini)

    train = commands.add_parser("train", help="one job without a queue")
    train.add_argument("--request", type=Path, required=True, help="JSON file with a TrainRequest")
    train.add_argument("--data", type=Path, required=True)
    train.add_argument("--artifacts", required=True)
    train.set_defaults(command=run_train)

    merge = commands.add_parser("merge", help="an adapter and its base as one complete model")
    merge.add_argument("adapter")
    merge.add_argument("--out", type=Path, required=True, help="a folder that is new or empty")
    merge.add_argument("--data", type=Path, required=True)
    merge.add_argument("--artifacts", required=True)
    merge.set_defaults(command=run_merge)

    download = commands.add_parser("download", help="fetch a base model: the one networked step")
    download.add_argument("id")
    download.add_argument("--data", type=Path, required=True)
    download.set_defaults(command=run_download)
    return top


def run_worker(args: argparse.Namespace) -> int:
    import torch

    import jobs.gpu.train  # noqa: F401 - so that forked jobs have it
    from jobs.gpu import trackers
    from jobs.worker import run_worker as work

    assert not torch.cuda.is_initialized(), "a forked job could not use the GPU"
    environment = {
        "AFINA_WORK_DATA": str(args.data),
        "AFINA_WORK_ARTIFACTS": args.artifacts,
        "AFINA_WORK_REDIS": args.redis,
        "AFINA_WORK_TRACKERS": args.trackers.replace(" ", ""),
    }
    if args.trackers:
        places = trackers.environment(args.data / "trackers")
        environment |= {name: os.environ.get(name, place) for name, place in places.items()}
    return work(args.redis, info=describe(args.name, args.labels), environment=environment, burst=args.burst)


def describe(name: str | None, labels: str) -> WorkerInfo:
    """What this machine offers, found without initialising a GPU."""
    from jobs.contract import WorkerInfo
    from jobs.gpu.device import describe_device

    host = socket.gethostname()
    return WorkerInfo(
        name=name or f"{host}-{os.getpid()}",
        hostname=host,
        labels=tuple(label.strip() for label in labels.split(",") if label.strip()),
        **describe_device(),
    )


def run_engine(args: argparse.Namespace) -> int:
    from jobs.gpu.engine import serve

    return int(serve(args) or 0)


def run_mini(args: argparse.Namespace) -> int:
    from jobs.gpu import mini

    def show(share: float, what: str) -> None:
        print(f"\r{100 * share:5.1f} % {what}", end="\n" if share >= 1 else "", file=sys.stderr, flush=True)

    if args.rebuild:
        mini.build(args.out, on_progress=show)
        print(args.out)
    else:
        print(mini.ensure_mini(args.out, on_progress=show))
    return 0


def run_merge(args: argparse.Namespace) -> int:
    """What goes wrong is one Spanish sentence."""
    from jobs.artifacts import Artifacts
    from jobs.errors import AfinaError
    from jobs.gpu.merge import merge

    try:
        print(merge(args.adapter, args.out, data=args.data, artifacts=Artifacts(args.artifacts)))
    except AfinaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run_download(args: argparse.Namespace) -> int:
    """HF_TOKEN in the environment opens gated bases; what goes wrong is one Spanish sentence."""
    from jobs.errors import AfinaError
    from jobs.gpu.models import download

    try:
        print(download(args.id, args.data, os.environ.get("HF_TOKEN") or None))
    except AfinaError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run_train(args: argparse.Namespace) -> int:
    """Print each event as a JSON line; 0 when an adapter was published, 1 otherwise."""
    from jobs.artifacts import Artifacts
    from jobs.attempt import Control, EventWriter, attempt_folder
    from jobs.contract import TrainRequest
    from jobs.errors import AfinaError
    from jobs.gpu.train import attempt

    request = TrainRequest.model_validate(json.loads(args.request.read_text(encoding="utf-8")))
    work = attempt_folder(args.data, request.job_id, request.attempt)
    if int(os.environ.get("RANK") or 0) > 0:
        return help_to_train(request, args)
    with EventWriter(work, None, request.job_id, request.attempt) as events:

        def emit(*given: object, **data: object) -> object:
            event = events.emit(*given, **data)  # type: ignore[arg-type]
            print(event.model_dump_json(), flush=True)
            return event

        try:
            attempt(
                request,
                data=args.data,
                artifacts=Artifacts(args.artifacts),
                work=work,
                emit=emit,
                control=Control(None, request.job_id, request.attempt),
            )
        except AfinaError:
            return 1
    return 0


def help_to_train(request: TrainRequest, args: argparse.Namespace) -> int:
    """A process beside the first one, started by `accelerate launch` or `torchrun`: it trains, and says nothing.

    The first process alone tells, evaluates and publishes.
    """
    from jobs.artifacts import Artifacts
    from jobs.attempt import Control, attempt_folder
    from jobs.contract import Phase
    from jobs.gpu.train import attempt

    def listen(*_: object, **data: object) -> None:
        if data.get("phase") == Phase.EVALUATING:
            raise SystemExit(0)

    attempt(
        request,
        data=args.data,
        artifacts=Artifacts(args.artifacts),
        work=attempt_folder(args.data, request.job_id, request.attempt),
        emit=listen,
        control=Control(None, request.job_id, request.attempt),
    )
    return 0


# What each process calls itself in the log.
PARTS = {run_worker: "worker", run_engine: "engine", run_train: "train"}

if __name__ == "__main__":
    raise SystemExit(main())
