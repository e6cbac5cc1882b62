"""The demo is the whole product used by a guest: it ends well, its figures hold, and it leaves nothing running."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]


def start(data: Path, *options: str) -> subprocess.Popen[str]:
    own = ("DISCORD_TOKEN", "REDIS_URL", "AFINA_ENGINE_URL", "OMP_NUM_THREADS")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.Popen(
        [sys.executable, "-m", "bot.cli", "demo", *options],
        cwd=ROOT,
        env=environment | {"AFINA_DATA_DIR": str(data), "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def processes_of(data: Path) -> list[str]:
    """Command lines of the processes that still work on this data folder."""
    found = []
    for process in psutil.process_iter(["cmdline", "environ"]):
        words = process.info["cmdline"] or []
        environment = process.info["environ"] or {}
        if str(data) in " ".join(words) or environment.get("AFINA_DATA_DIR", "").startswith(str(data)):
            found.append(" ".join(words))
    return found


def gone(data: Path) -> bool:
    deadline = time.monotonic() + 20
    while processes_of(data) and time.monotonic() < deadline:
        time.sleep(0.2)
    return not processes_of(data)


def test_the_demo_ends_well_with_the_promised_figures(tmp_path: Path) -> None:
    account = tmp_path / "account.json"
    process = start(tmp_path / "data", "--json", str(account))
    said, _ = process.communicate(timeout=580)
    assert process.returncode == 0, said
    told = json.loads(account.read_text(encoding="utf-8"))
    assert all(step["ok"] for step in told["steps"])
    accuracy = told["accuracy"]
    assert len(accuracy["seeds"]) == 3
    for seed in accuracy["seeds"]:
        assert seed["tuned"] >= 0.8
        assert seed["tuned"] >= seed["majority"] + 0.4
        assert seed["base"] < seed["majority"] + 0.1
    assert {entry["who"] for entry in told["transcript"]} == {"Ana", "Afina"}
    assert "Traceback" not in said
    assert gone(tmp_path / "data"), processes_of(tmp_path / "data")


def test_ctrl_c_leaves_nothing_running(tmp_path: Path) -> None:
    process = start(tmp_path / "data")
    assert process.stdout is not None
    for line in process.stdout:
        if "Ana afina un modelo" in line:
            break
    process.send_signal(signal.SIGINT)
    rest = process.stdout.read()
    assert process.wait(timeout=60) == 130
    assert "Demostración interrumpida" in rest
    assert "Traceback" not in rest
    process.stdout.close()
    assert gone(tmp_path / "data"), processes_of(tmp_path / "data")
