"""The whole bot, on the loopback Discord, whose jobs go to the fake trainer: `python -m tests.faults.whole_bot`.

Settings come from the environment alone, as in a container.
"""

import asyncio
import signal
from contextlib import AsyncExitStack
from dataclasses import replace

from bot import logs
from bot.__main__ import make_client, make_services
from bot.client import redirect
from bot.progress import ProgressFeed
from bot.scheduler import Scheduler
from bot.settings import Settings
from jobs.queue import Queue
from tests.jobs.fake import FUNCTION


async def main(settings: Settings) -> None:
    async with AsyncExitStack() as stack:
        services = await make_services(settings, stack)
        queue = Queue(settings.redis_url, function=FUNCTION)
        scheduler = Scheduler(services.store, queue, settings, artifacts=services.artifacts, tick_seconds=0.05)
        services = replace(services, queue=queue, scheduler=scheduler, feed=ProgressFeed(services.store, queue))
        redirect(settings)
        client = await make_client(services, stack)
        await asyncio.gather(
            client.run_forever(settings.discord_token.get_secret_value()), scheduler.run(), services.feed.run()
        )


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ours = Settings(_env_file=None)
    logs.set_up(ours)
    asyncio.run(main(ours))
