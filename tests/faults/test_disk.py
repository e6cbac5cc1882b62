"""Rows of the failure matrix where the disk is full: a clear word, nothing half, and on it goes when there is room."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.stage import ROOT


def on_a_small_disk(act: str, disk: Path, size: str) -> None:
    """Run an act of `small_disk` on a tmpfs, in a mount namespace of its own."""
    if not shutil.which("unshare"):
        pytest.skip("needs unshare")
    disk.mkdir()
    inside = f'mount -t tmpfs -o size={size} none "$2" && exec "$0" -W ignore -m tests.faults.small_disk "$1" "$2"'
    command = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", inside, sys.executable, act, str(disk)]
    done = subprocess.run(command, check=False, capture_output=True, text=True, cwd=ROOT, timeout=240)
    if done.stderr.startswith(("unshare:", "mount:")):
        pytest.skip(f"no namespaces here: {done.stderr.strip()}")
    assert done.returncode == 0, done.stderr[-4000:]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_training_whose_disk_fills_up_says_so_and_publishes_nothing_half(tmp_path):
    pytest.importorskip("torch")
    on_a_small_disk("training", tmp_path / "disk", "24m")


@pytest.mark.timeout(300)
def test_what_is_asked_for_while_redis_cannot_write_is_sent_later(tmp_path):
    on_a_small_disk("queue", tmp_path / "disk", "1m")
