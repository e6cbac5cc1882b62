"""A few seconds of what `benchmarks/soak.py` does for minutes, so that it keeps working and keeps finding nothing."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.soak import clean, run

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.timeout(300),
    pytest.mark.slow,
]


async def test_a_few_people_chat_at_once_and_nothing_is_lost_doubled_or_crossed(tmp_path: Path) -> None:
    figures = await run(tmp_path, people=6, seconds=4.0, adapters=2, pause=0.3)
    assert clean(figures), figures
    assert figures["answers"] == figures["said"] > 6
    assert figures["distinct"] > 3
