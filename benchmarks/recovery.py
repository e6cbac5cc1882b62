"""How soon a job runs again after its worker died, and how soon a worker leaves when asked, with the shipped settings.

    python -m benchmarks.recovery [--rounds 3] [--json FILE]

Real processes, a real Redis, the bot's scheduler with its default times. Medians and the slowest of all rounds:
`gone`: the worker is killed and never comes back, another one goes on; `restarted`: a supervisor starts it again at
once; `asked`: SIGTERM in the middle of training afina-mini, until the process has left behind a checkpoint.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from bot.progress import ProgressFeed
from bot.records import Job
from bot.scheduler import Scheduler
from bot.settings import Settings
from bot.store import Store
from jobs.contract import EventType, Phase
from jobs.queue import Queue
from tests.faults.stage import Stage
from tests.jobs.fake import FUNCTION

LONG = "steps=100000&pause=0.05"


@asynccontextmanager
async def afina(folder: Path, *, workers: int, real: bool = False):
    """(stage, workers), with a scheduler and a feed as the bot has them."""
    settings = Settings(_env_file=None, data_dir=folder)
    opening = Store.open(settings.database, lease_seconds=settings.lease_seconds, max_attempts=settings.max_attempts)
    async with Stage.open(folder) as stage, opening as store:
        queue = Queue(stage.redis.url, function=FUNCTION)
        scheduler, feed = Scheduler(store, queue, settings), ProgressFeed(store, queue)
        running = [asyncio.create_task(scheduler.run()), asyncio.create_task(feed.run())]
        try:
            yield stage, [stage.start_worker(real=real) for _ in range(workers)]
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)


def busy(stage: Stage, workers: list[subprocess.Popen]) -> subprocess.Popen:
    return next(worker for worker in workers if stage.horses(worker))


def trains(stage: Stage, job: Job, attempt: int) -> bool:
    return any(event.type is EventType.METRICS for event in stage.history(job, attempt))


async def gone(folder: Path) -> float:
    async with afina(folder, workers=2) as (stage, workers):
        job = await stage.submit(LONG)
        await stage.until_step(job, 5)
        stage.kill(busy(stage, workers))
        return await timed(stage, lambda: trains(stage, job, 2))


async def restarted(folder: Path) -> float:
    async with afina(folder, workers=1) as (stage, workers):
        job = await stage.submit(LONG)
        await stage.until_step(job, 5)
        stage.kill(workers[0])
        stage.start_worker()
        return await timed(stage, lambda: trains(stage, job, 2))


async def asked(folder: Path) -> float:
    async with afina(folder, workers=1, real=True) as (stage, workers):
        job = await stage.submit_real()
        await stage.until(lambda: stage.history(job, 1), "the worker to have loaded its libraries")
        await stage.until(lambda: trains(stage, job, 1), "the training to begin")
        started = time.perf_counter()
        await asyncio.to_thread(stage.kill, workers[0], signal.SIGTERM)
        seconds = time.perf_counter() - started
        last = stage.history(job, 1)[-1]
        assert last.type is EventType.STOPPED, last
        assert last.data["kind"] == "interrupted", last
        assert Phase.TRAINING in [event.data.get("phase") for event in stage.history(job, 1)]
        return seconds


async def timed(stage: Stage, condition: Callable[[], bool]) -> float:
    started = time.perf_counter()
    await stage.until(condition, "the job to run again")
    return time.perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    cases: list[Callable[[Path], Awaitable[float]]] = [gone, restarted, asked]
    figures = {}
    for case in cases:
        seconds = []
        for _ in range(arguments.rounds):
            with tempfile.TemporaryDirectory() as folder:
                seconds.append(asyncio.run(case(Path(folder))))
        figures[case.__name__] = {"median": round(statistics.median(seconds), 2), "slowest": round(max(seconds), 2)}
        print(
            f"{case.__name__:10} median {statistics.median(seconds):6.2f} s, slowest {max(seconds):6.2f} s", flush=True
        )
    if arguments.json:
        arguments.json.write_text(json.dumps(figures, indent=1))


if __name__ == "__main__":
    main()
