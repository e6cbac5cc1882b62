"""Entry point of a real worker process: `python -m tests.jobs.worker_process DATA REDIS_URL [--burst] [--real]`.

`--real`: jobs on a base of the catalogue really train. `--impatient`: a child that hangs is not given a minute.
`--memory=BYTES`: it announces so much, and this machine's name.
"""

import os
import socket
import sys

import tests.jobs.fake  # noqa: F401 - as the real worker imports torch before it forks
from jobs import logs
from jobs.contract import WorkerInfo
from jobs.gpu.__main__ import ENVIRONMENT as GPU_ENVIRONMENT
from jobs.watch import HANG_SECONDS
from jobs.worker import run_worker
from tests.jobs.fake import FUNCTION


def main() -> int:
    data, redis_url = sys.argv[1:3]
    if "--real" in sys.argv:
        os.environ.update(GPU_ENVIRONMENT)
        import jobs.gpu.train  # noqa: F401
    logs.set_up("worker", format="json" if "--json" in sys.argv else "text")
    stated = next((int(word.partition("=")[2]) for word in sys.argv if word.startswith("--memory=")), None)
    host = socket.gethostname() if stated else "aqui"
    info = WorkerInfo(name="prueba", hostname=host, device="cpu", device_name="CPU", memory_bytes=stated or 2**33)
    return run_worker(
        redis_url,
        info=info,
        environment={"AFINA_WORK_DATA": data, "AFINA_WORK_ARTIFACTS": data, "AFINA_WORK_REDIS": redis_url},
        burst="--burst" in sys.argv,
        hang_seconds=6.0 if "--impatient" in sys.argv else HANG_SECONDS,
        functions=[FUNCTION],
    )


if __name__ == "__main__":
    sys.exit(main())
