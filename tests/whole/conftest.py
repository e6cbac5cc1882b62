"""One studio for all stories about trainings: starting it costs more than telling one."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.whole.studio import Studio


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory):
    freed_at_once = {"MALLOC_MMAP_THRESHOLD_": str(2**20)}  # so that what a process holds is what it uses
    async with Studio.open(tmp_path_factory.mktemp("studio"), **freed_at_once) as opened:
        yield opened
