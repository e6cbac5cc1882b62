"""One training by two processes, as on a machine with two GPUs; here on the CPU, with gloo."""

import json
import socket
import subprocess
import sys

import pytest

from bot.settings import ROOT
from jobs.artifacts import Artifacts
from jobs.contract import Recipe, TrainRequest
from jobs.gpu.mini import ensure_mini
from playground import task


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_two_processes_train_together_and_one_of_them_tells_and_publishes(tmp_path):
    ensure_mini(tmp_path)
    file = tmp_path / "avisos.jsonl"
    file.write_text(task.to_jsonl(task.rows(seed=1, train=32, held_out=0)[0]), encoding="utf-8")
    artifacts = Artifacts(str(tmp_path))
    request = TrainRequest(
        job_id="dosgpus1",
        attempt=1,
        base_id="afina-mini",
        dataset_path=artifacts.put_dataset("datos", 1, file),
        dataset_sha256="0" * 64,
        adapter_name="dos",
        validation_fraction=0.0,
        recipe=Recipe(rank=2, epochs=2, batch_size=4, max_length=128, packing=False),
    )
    asked = tmp_path / "request.json"
    asked.write_text(request.model_dump_json(), encoding="utf-8")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    launch = ["-W", "ignore", "-m", "torch.distributed.run", "--nproc-per-node", "2", "--master-port", str(port)]
    train = ["-m", "jobs.gpu", "train", "--request", str(asked), "--data", str(tmp_path), "--artifacts", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, *launch, *train], cwd=ROOT, capture_output=True, text=True, check=False, timeout=280
    )
    assert done.returncode == 0, done.stderr[-3000:]
    events = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"object"')]
    numbers = [event["seq"] for event in events]
    assert numbers == sorted(set(numbers))  # one voice
    metrics = [event["data"] for event in events if event["type"] == "metrics"]
    assert {one["total_steps"] for one in metrics} == {8}  # 32 rows by 4, in two halves, twice
    assert [event["type"] for event in events].count("result") == 1
    assert artifacts.list_adapters() == ["dos"]
