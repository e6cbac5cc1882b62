"""The failure matrix: a kill while a checkpoint is being written; the one before it is used, and it is whole."""

import subprocess
import sys

import pytest

from tests.faults.stage import ROOT

SCRIPT = """
import hashlib, os, random, signal, sys, time
from pathlib import Path
from jobs.gpu import checkpoints

job, chance = Path(sys.argv[1]), random.Random(1)


def write() -> None:
    step = 0
    while True:
        step += 1
        folder = job / "1" / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        for name in ("adapter_model.safetensors", "optimizer.pt"):
            with (folder / name).open("wb", buffering=0) as file:
                for _ in range(16):
                    file.write(str(step).encode() * 10_000)
        checkpoints.complete(folder, step=step, epoch=1.0)


found = []
for trial in range(15):
    child = os.fork()
    if child == 0:
        write()
    time.sleep(0.02 + chance.random() * 0.1)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    newest = checkpoints.newest(job)
    if newest is not None:
        step = newest.name.split("-")[1]
        for name in ("adapter_model.safetensors", "optimizer.pt"):
            assert (newest / name).read_bytes() == step.encode() * 160_000, (newest, name)
        found.append(int(step))
    for path in sorted(job.rglob("*"), reverse=True):
        path.unlink() if path.is_file() else path.rmdir()
assert len(found) >= 5, found
"""


@pytest.mark.timeout(120)
def test_a_trainer_killed_while_it_saves_leaves_a_whole_checkpoint(tmp_path):
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "job")]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=100)
    assert done.returncode == 0, done.stderr
