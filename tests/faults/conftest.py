"""The stage on which processes die."""

import pytest

from tests.faults.stage import Stage


@pytest.fixture
async def stage(tmp_path):
    async with Stage.open(tmp_path) as stage:
        yield stage
