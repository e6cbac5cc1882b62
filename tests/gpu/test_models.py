"""Bases are loaded from the data folder, offline, and what is wrong is said in Spanish."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from jobs.errors import BaseNotAvailable
from jobs.gpu import models
from jobs.gpu.device import describe_device


def test_a_base_without_safetensors_is_not_loaded(tmp_path: Path, tiny_base: Path) -> None:
    for path in tiny_base.iterdir():
        if path.suffix != ".safetensors":
            (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "pytorch_model.bin").write_bytes(b"pickle")
    with pytest.raises(BaseNotAvailable):
        models.load_model(tmp_path)


def test_remote_code_is_not_run(tmp_path: Path, tiny_base: Path) -> None:
    for path in tiny_base.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    config |= {"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModelForCausalLM": "evil.Evil"}}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "evil.py").write_text("open('ran', 'w').close()")
    with pytest.raises(BaseNotAvailable):
        models.load_model(tmp_path)
    assert not Path("ran").exists()


def test_four_bits_load_on_a_processor(tiny_base: Path) -> None:
    model = models.load_model(tiny_base, four_bit=True)
    assert model.is_loaded_in_4bit
    assert torch.isfinite(model(torch.tensor([[5, 6, 7]])).logits).all()


def test_a_base_that_is_not_downloaded_says_how_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(BaseNotAvailable, match="aún no se ha descargado") as refused:
        models.load_base("smollm3-3b", data=tmp_path)
    assert "afina bases descargar smollm3-3b" in refused.value.hint


def test_a_download_without_network_is_refused_in_a_sentence(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "jobs.gpu", "download", "qwen3-0.6b", "--data", str(tmp_path)]
    done = subprocess.run(
        command, env=os.environ | {"HF_HUB_OFFLINE": "1"}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Las descargas están desactivadas" in done.stderr
    assert "Traceback" not in done.stderr


def test_looking_at_the_device_does_not_touch_it() -> None:
    told = describe_device()
    assert told["memory_bytes"] > 2**28
    assert told["device"] in ("cpu", "cuda")
    assert not torch.cuda.is_initialized()
