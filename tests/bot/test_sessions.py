"""One answer at a time in each place, and requests that keep their distance."""

from __future__ import annotations

import asyncio
import itertools

from bot.sessions import Pace, Session, Sessions


async def test_a_newer_wish_waits_until_the_one_before_has_tidied_up() -> None:
    sessions, seen = Sessions(), []

    def work(name: str) -> object:
        async def run(session: Session) -> None:
            seen.append(f"{name} begins")
            try:
                await asyncio.sleep(0.05 if name == "c" else 10)
            except asyncio.CancelledError:
                await asyncio.sleep(0.05)
                seen.append(f"{name} ended: {session.why}")
                raise
            seen.append(f"{name} is done")

        return run

    sessions.begin(1, 11, work("a"), delay=0)
    await asyncio.sleep(0.02)
    sessions.begin(1, 12, work("b"), delay=0)  # never begins: overtaken while it waits
    sessions.begin(1, 13, work("c"), delay=0)
    assert sessions.trigger(1) == 13
    while len(sessions):
        await asyncio.sleep(0.01)
    assert seen == ["a begins", "a ended: newer", "c begins", "c is done"]


async def test_places_do_not_wait_for_each_other_and_closing_ends_all() -> None:
    sessions, ends = Sessions(), []

    async def run(session: Session) -> None:
        try:
            await asyncio.sleep(10)
        finally:
            ends.append(session.why)

    for place in range(3):
        sessions.begin(place, place, run, delay=0)
    await asyncio.sleep(0.02)
    assert sessions.interrupt(0, "stopped")
    assert not sessions.interrupt(99, "stopped")
    await sessions.close()
    assert sorted(ends, key=str) == ["shutdown", "shutdown", "stopped"]


async def test_turns_keep_their_distance_also_after_a_stall() -> None:
    pace, times = Pace(rate=100), []

    async def ask() -> None:
        await pace.turn()
        times.append(asyncio.get_running_loop().time())

    asking = [asyncio.create_task(ask()) for _ in range(12)]
    await asyncio.sleep(0.02)
    assert pace.backlog > 0
    import time

    time.sleep(0.1)
    await asyncio.gather(*asking)
    assert all(later - earlier >= 0.0099 for earlier, later in itertools.pairwise(times))
    assert pace.backlog == 0


async def test_only_so_many_requests_are_on_their_way() -> None:
    pace, running, most = Pace(rate=1000, at_once=3), 0, 0

    async def ask() -> None:
        nonlocal running, most
        async with pace.request():
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.03)
            running -= 1

    asking = [asyncio.create_task(ask()) for _ in range(10)]
    await asyncio.sleep(0.02)
    assert pace.backlog > 0
    asking[4].cancel()  # one that waits
    await asyncio.gather(*asking, return_exceptions=True)
    assert (running, most, pace.backlog) == (0, 3, 0)
