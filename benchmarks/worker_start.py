"""From enqueue to «imports done»: our worker against the stock `rq worker`, side by side in one run.

`python -m benchmarks.worker_start [--repeat 5]`. Both workers are up and idle; both get the same job, which imports
what training needs (torch, transformers, trl, peft) and then says so. The stock worker forks a child that imports all
of it for every job; ours has imported it before it forks. Prints one JSON object; exit code 1 below the factor of 50.
"""

from __future__ import annotations

import argparse
import contextlib
import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import rq
from rq.serializers import JSONSerializer

from jobs.attempt import connect
from jobs.contract import QUEUE_NAME, TrainRequest
from jobs.redis_server import RedisServer

ROOT = Path(__file__).resolve().parent.parent
FUNCTION = "benchmarks.worker_start.imports_done"
FACTOR = 50.0
READY = "bench:ready"  # list: what time it is when the imports are done


def imports_done(request: dict) -> None:
    """The job of both sides."""
    import_training()
    connect(os.environ["BENCH_REDIS"]).rpush(READY, time.time())


def import_training() -> None:
    """What a training job needs; by name, so that this file costs nothing to import."""
    for name in ("torch", "transformers", "peft", "trl", "jobs.gpu.train"):
        importlib.import_module(name)


def our_worker(redis_url: str, data: str) -> int:
    """What `python -m jobs.gpu worker` does, with the benchmark's function on the list of allowed ones."""
    from jobs.contract import WorkerInfo
    from jobs.worker import run_worker

    import_training()
    info = WorkerInfo(name="bench", hostname="bench", device="cpu", device_name="CPU", memory_bytes=0)
    return run_worker(redis_url, info=info, environment={"AFINA_WORK_DATA": data}, functions=[FUNCTION])


@contextlib.contextmanager
def process(command: list[str], redis_url: str) -> Iterator[None]:
    environment = {
        **os.environ,
        "BENCH_REDIS": redis_url,
        "HF_HUB_OFFLINE": "1",
        "PYTHONPATH": str(ROOT),
        "OMP_NUM_THREADS": "1",
    }
    quiet = subprocess.DEVNULL
    worker = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=quiet, stderr=quiet, start_new_session=True)
    try:
        yield
    finally:
        worker.terminate()
        worker.wait(60)


def measure(queue_name: str, redis_url: str, *, repeat: int, prefix: str) -> list[float]:
    """Seconds from enqueue to imports done; the first job only warms the disk cache up and proves the worker."""
    client = connect(redis_url, timeout=300)
    queue = rq.Queue(queue_name, connection=client, serializer=JSONSerializer)
    seconds = []
    for number in range(repeat + 1):
        request = TrainRequest(
            job_id=f"{prefix}{number:04d}",
            attempt=1,
            base_id="x",
            dataset_path="x",
            dataset_sha256="x",
            adapter_name="x",
        )
        start = time.time()
        queue.enqueue(FUNCTION, request.model_dump(mode="json"), job_id=request.rq_id, job_timeout=300)
        done = client.blpop([READY], timeout=300)
        assert done, "the worker did not do the job"
        seconds.append(float(done[1]) - start)
        time.sleep(0.5)  # idle again
    return seconds[1:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--our-worker", nargs=2, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.our_worker:
        return our_worker(*args.our_worker)
    with tempfile.TemporaryDirectory() as folder, RedisServer(Path(folder) / "redis") as server:
        ours = [sys.executable, "-m", "benchmarks.worker_start", "--our-worker", server.url, folder]
        stock = [sys.executable, "-m", "rq.cli", "worker", "--url", server.url, "stock", "--quiet"]
        stock += ["--serializer", "rq.serializers.JSONSerializer"]
        with process(stock, server.url):
            slow = measure("stock", server.url, repeat=args.repeat, prefix="stock")
        with process(ours, server.url):
            quick = measure(QUEUE_NAME, server.url, repeat=args.repeat, prefix="ours")
    factor = statistics.median(slow) / statistics.median(quick)
    print(
        json.dumps(
            {
                "stock_seconds": [round(value, 3) for value in slow],
                "afina_seconds": [round(value, 4) for value in quick],
                "factor_of_medians": round(factor, 1),
            }
        )
    )
    return 0 if factor >= FACTOR else 1


if __name__ == "__main__":
    sys.exit(main())
