"""A real Redis for the tests of the queue side."""

import pytest

from jobs.redis_server import RedisServer


@pytest.fixture
def redis_server(tmp_path):
    with RedisServer(tmp_path / "redis") as server:
        yield server
