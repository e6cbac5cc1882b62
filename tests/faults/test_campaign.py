"""The first kills of the crash campaign; the long one is `benchmarks/crash.py`."""

import pytest

from benchmarks.crash import run


@pytest.mark.timeout(300)
async def test_a_dozen_random_kills_lose_double_and_tear_nothing(tmp_path):
    figures = await run(tmp_path, kills=8, seed=7)
    figures = await run(tmp_path, kills=12, seed=7)  # a campaign goes on where it was interrupted
    assert figures["findings"] == {"lost": [], "doubled": [], "torn": []}
    assert figures["total_kills"] >= 12
    assert figures["states"] == {"succeeded": figures["jobs"]}
    assert figures["chats"]["answered"] > 0
