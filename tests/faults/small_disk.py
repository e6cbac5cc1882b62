"""Scripts that run on a disk of their own, a tmpfs of a few megabytes: `python -m tests.faults.small_disk ACT DISK`.

Each asserts; an exit code of 0 means that all of it held.
"""

import asyncio
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from jobs.artifacts import Artifacts
from jobs.attempt import Control
from jobs.contract import EventType, JobState, Phase, Recipe, TrainRequest
from jobs.errors import AfinaError
from playground import task
from tests.faults.stage import Stage


@contextmanager
def no_room(disk: Path) -> Iterator[None]:
    """Until the block ends there is not one byte left."""
    ballast = disk / "ballast"
    with ballast.open("wb", buffering=0) as file:
        for size in (2**16, 2**10, 1):
            try:
                while file.write(b"x" * size) == size:
                    pass
            except OSError:
                continue
    try:
        yield
    finally:
        ballast.unlink()


def training(disk: Path) -> None:
    """Wherever in a real training the disk fills up: a clear last word, and no half adapter."""
    from jobs.gpu.mini import ensure_mini
    from jobs.gpu.train import attempt

    ensure_mini(disk)
    artifacts = Artifacts(str(disk))
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as file:
        file.write(task.to_jsonl(task.rows(seed=1, train=16, held_out=0)[0]))
        file.flush()
        path = artifacts.put_dataset("datos", 1, Path(file.name))
    for number, full_from in enumerate((Phase.TRAINING, Phase.PUBLISHING), 1):
        request = TrainRequest(
            job_id="sinsitio",
            attempt=number,
            base_id="afina-mini",
            dataset_path=path,
            dataset_sha256="0" * 64,
            adapter_name=f"sinsitio-{number}",
            validation_fraction=0.0,
            recipe=Recipe(rank=2, epochs=1, batch_size=8, max_length=128, packing=False),
        )
        work = disk / "jobs" / "sinsitio" / str(number)
        control = Control(None, "sinsitio", number, signals=False)
        events: list[tuple[EventType, dict]] = []
        with ExitStack() as full:

            def emit(
                type: str, *said: str, _full: ExitStack = full, _from: Phase = full_from, _to: list = events, **data
            ) -> None:
                _to.append((EventType(type), data))
                if data.get("phase") == _from:
                    _full.enter_context(no_room(disk))

            with suppress(AfinaError):
                attempt(request, data=disk, artifacts=artifacts, work=work, emit=emit, control=control)
        last, data = events[-1]
        assert (last, data.get("code")) == (EventType.FAILED, "disk_full"), (full_from, events[-3:])
    assert list((disk / "adapters").glob("*")) == []


def queue(disk: Path) -> None:
    """Redis cannot write its file: what people ask for waits in SQLite and is sent once there is room."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "redis").symlink_to(disk)
        asyncio.run(_queue(disk, Path(folder)))


async def _queue(disk: Path, folder: Path) -> None:
    async with Stage.open(folder) as stage:
        stage.start()
        await stage.done(await stage.submit(name="antes"))
        with no_room(disk):
            refused = False
            for number in range(2000):  # it notices when it next writes its file
                try:
                    stage.client().set("filler", str(number) * 100)
                except Exception as error:
                    refused = "MISCONF" in str(error)
                    break
                await asyncio.sleep(0.01)
            assert refused, "Redis still writes"
            waiting = await stage.submit(name="durante")
            await asyncio.sleep(1.5)
            assert (await stage.store.job(waiting.id)).state is JobState.QUEUED
        over = await stage.done(waiting)
        assert over.attempt == 1
        assert stage.started_attempts(waiting) == [1]


if __name__ == "__main__":
    {"training": training, "queue": queue}[sys.argv[1]](Path(sys.argv[2]))
