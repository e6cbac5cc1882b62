"""One studio for all stories about trainings: starting it costs more than telling one."""

from __future__ import annotations

import pytest
import pytest_asyncio

from tests.whole.studio import Studio


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def studio(tmp_path_factory: pytest.TempPathFactory):
    async with Studio.open(tmp_path_factory.mktemp("studio")) as opened:
        yield opened
