"""A bot without Discord: scheduler and progress feed in a real process.

`python -m tests.faults.bot_process DATA REDIS_URL [CRASH_POINT [MAX_ATTEMPTS]]`; the process kills itself with SIGKILL
when it comes to the crash point: "before-enqueue", "after-enqueue" or "before-cursor".
"""

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path

from bot.progress import CURSOR, ProgressFeed
from bot.scheduler import Scheduler
from bot.settings import Settings
from bot.store import Store
from jobs.queue import Queue
from tests.jobs.fake import FUNCTION

LEASE_SECONDS = 2.0


def die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class FragileQueue(Queue):
    point = ""

    def submit(self, *args, **kwargs) -> bool:
        if self.point == "before-enqueue":
            die()
        done = super().submit(*args, **kwargs)
        if self.point == "after-enqueue":
            die()
        return done


class FragileStore(Store):
    point = ""

    async def set_state(self, key: str, value: str) -> None:
        if self.point == "before-cursor" and key == CURSOR:
            die()
        await super().set_state(key, value)


async def main(data: Path, redis_url: str, point: str = "", max_attempts: str = "3") -> None:
    settings = Settings(data_dir=data, reconcile_every=0.5, lease_seconds=LEASE_SECONDS, max_running_jobs=2)
    opening = FragileStore.open(settings.database, lease_seconds=LEASE_SECONDS, max_attempts=int(max_attempts))
    async with opening as store:
        queue = FragileQueue(redis_url, function=FUNCTION)
        queue.point = store.point = point
        scheduler, feed = Scheduler(store, queue, settings, tick_seconds=0.05), ProgressFeed(store, queue)
        await asyncio.gather(scheduler.run(), feed.run())


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s bot %(message)s")
    asyncio.run(main(Path(sys.argv[1]), *sys.argv[2:]))
