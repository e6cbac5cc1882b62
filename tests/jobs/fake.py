"""A job function for tests: goes through the motions of training without torch, obeys Control, leaves checkpoints.

What it does is steered by the request's `base_id`, a query string: "steps=20&pause=0.05&fail=diverged&die=5&deaf=1".
steps, pause: how long. fail=CODE. die=STEP, orphan=STEP: kill the child, the parent there; once: in the first attempt
only. deaf: do not listen. stuck: hold the interpreter lock for ever. mute: kill the parent between publication and
report. hang=SECONDS before the first step. swallow: go on whatever is raised.
raise: an exception that nobody expected. A base of the catalogue instead of
a query string really trains.
"""

import os
import signal
import time
from pathlib import Path
from urllib.parse import parse_qsl

from jobs.artifacts import Artifacts
from jobs.attempt import Control, EventWriter, attempt_folder
from jobs.contract import TrainRequest

FUNCTION = "tests.jobs.fake.run"


def run(request: dict) -> None:
    """The RQ job function; the same environment as the real one."""
    wanted = TrainRequest.model_validate(request)
    if "=" not in wanted.base_id:  # a real base
        from jobs.gpu.train import run as train

        return train(request)
    options = dict(parse_qsl(wanted.base_id))
    data, url = Path(os.environ["AFINA_WORK_DATA"]), os.environ["AFINA_WORK_REDIS"]
    artifacts = Artifacts(os.environ["AFINA_WORK_ARTIFACTS"])
    control = Control(url, wanted.job_id, wanted.attempt, poll_seconds=0.05)
    folder = attempt_folder(data, wanted.job_id, wanted.attempt)
    with (folder / "runs").open("a") as runs:  # who really ran, whatever the events say
        runs.write(f"{os.getpid()}\n")
    with EventWriter(folder, url, wanted.job_id, wanted.attempt, heartbeat_seconds=0.2) as events:
        _train(wanted, options, events, control, artifacts, data)


def forbidden(*_: object) -> None:
    """Not on the list of allowed functions."""
    (Path(os.environ["AFINA_WORK_DATA"]) / "forbidden").write_text("ran")


def _train(request, options, events, control, artifacts, data) -> None:
    steps, pause = int(options.get("steps", 10)), float(options.get("pause", 0.05))
    checkpoint = data / "jobs" / request.job_id / "checkpoint"
    first = int(checkpoint.read_text()) if request.resume and checkpoint.exists() else 0
    events.emit("phase", phase="starting")
    events.emit("message", f"desde {first}", first=first)
    if "raise" in options:
        raise RuntimeError("a bug")
    if "hang" in options:
        _work(float(options["hang"]))
    while "swallow" in options:
        try:
            _work(0.2)
        except Exception:  # as careless code does, also with the timeout of RQ
            continue
    if "stuck" in options:
        sum(range(10**15))
    if "fail" in options:
        events.emit("failed", "No ha podido ser.", "error", code=options["fail"], hint="Prueba otra cosa.")
        return
    events.emit("phase", phase="training")
    for step in range(first + 1, steps + 1):
        _work(pause)
        if options.get("die") == str(step) and not (request.attempt > 1 and "once" in options):
            os.kill(os.getpid(), signal.SIGKILL)
        if options.get("orphan") == str(step):
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(60)
        events.emit("metrics", step=step, total_steps=steps, loss=2.0 / step)
        whole = checkpoint.with_suffix(f".{os.getpid()}")
        whole.write_text(str(step))
        whole.replace(checkpoint)
        if "deaf" not in options and (kind := control.requested()):
            events.emit("stopped", kind=kind, step=step)
            return
    made = attempt_folder(data, request.job_id, request.attempt) / "adapter"
    made.mkdir(exist_ok=True)
    (made / "adapter_model.safetensors").write_bytes(f"{request.job_id} {request.attempt}".encode() * 1000)
    (made / "adapter_config.json").write_text("{}")
    events.emit("phase", phase="publishing")
    details = {"trained_tokens": steps, "seconds": 1.0}
    published = artifacts.publish_adapter(request.adapter_name, made, details=details)
    if "mute" in options:  # published, but nobody will ever hear of it
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    events.emit(
        "result",
        adapter_name=request.adapter_name,
        adapter_path=published.path,
        adapter_sha256=published.sha256,
        adapter_bytes=published.bytes,
        **details,
    )


def _work(seconds: float) -> None:
    """Sleeps its whole time; signals do not shorten it."""
    end = time.monotonic() + seconds
    while (left := end - time.monotonic()) > 0:
        time.sleep(left)
