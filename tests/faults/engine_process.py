"""An engine in a process of its own that speaks slowly: `python -m tests.faults.engine_process PORT`."""

import asyncio
import sys

from tests.bot.protocol_engine import ProtocolEngine

WORDS = 12  # of each answer


async def main(port: int) -> None:
    engine = ProtocolEngine()
    engine.pause = 0.05
    engine.say = lambda body: [f"{body['model']}: ", *(f"palabra{n} " for n in range(WORDS))]
    await engine.start(port)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
