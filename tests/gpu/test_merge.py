"""A merged model is one that anybody can load without Afina, and that answers as the adapter did."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

from jobs.contract import Method
from jobs.errors import AfinaError, BaseNotAvailable, DiskFull, ModelNotFound
from jobs.gpu import models
from jobs.gpu.lora import quiet_peft
from jobs.gpu.merge import check_same, merge
from tests.gpu.conftest import QUICK, Bench, colour_rows


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"dora": True},
        {"rslora": True, "dora": True, "method": Method.QLORA},
    ],
    ids=["lora", "dora", "qlora and dora and rslora"],
)
def test_it_answers_as_the_adapter_did(bench: Bench, tmp_path: Path, changes: dict[str, object]) -> None:
    recipe = QUICK.model_copy(update={"epochs": 1, "learning_rate": 3e-3, **changes})
    made = bench.run(bench.request(colour_rows(), recipe))
    out = merge(made.adapter_name, tmp_path / "entero", data=bench.data, artifacts=bench.store)
    tokenizer = AutoTokenizer.from_pretrained(out)
    alone = AutoModelForCausalLM.from_pretrained(out).eval()  # no PEFT, no base beside it
    with quiet_peft():
        adapted = models.attach_adapter(models.load_model(bench.data / "bases" / "afina-mini"), bench.adapter(made))
    talk = [{"role": "user", "content": "¿Color de cielo?"}]
    ids = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_tensors="pt", return_dict=True)
    with torch.inference_mode():
        torch.testing.assert_close(alone(**ids).logits, adapted.eval()(**ids).logits, rtol=1e-3, atol=1e-3)
    assert {path.name for path in out.iterdir()} >= {"model.safetensors", "config.json", "README.md", "tokenizer.json"}
    assert str(bench.data) not in (out / "config.json").read_text() + (out / "README.md").read_text()
    card = (out / "README.md").read_text()
    assert "Apache-2.0" in card
    assert f"vllm serve . --served-model-name {made.adapter_name}" in card


class TestRefusals:
    @pytest.fixture
    def adapter(self, bench: Bench) -> str:
        """A published one that was never trained."""
        draft = bench.data / "draft"
        draft.mkdir()
        (draft / "adapter_model.safetensors").write_bytes(b"")
        (draft / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA"}))
        (draft / "recipe.yaml").write_text("base: qwen3-0.6b\n")
        bench.store.publish_adapter("modelo-1", draft)
        return "modelo-1"

    def test_an_adapter_that_is_not_there(self, bench: Bench, tmp_path: Path) -> None:
        with pytest.raises(ModelNotFound):
            merge("nada", tmp_path / "out", data=bench.data, artifacts=bench.store)

    def test_a_base_that_is_not_downloaded(self, bench: Bench, tmp_path: Path, adapter: str) -> None:
        with pytest.raises(BaseNotAvailable, match=r"afina bases descargar qwen3-0\.6b"):
            merge(adapter, tmp_path / "out", data=bench.data, artifacts=bench.store)
        assert not (tmp_path / "out").exists()

    @pytest.fixture
    def base_is_here(self, bench: Bench) -> None:
        shutil.copytree(bench.data / "bases" / "afina-mini", bench.data / "bases" / "qwen3-0.6b")

    @pytest.mark.usefixtures("base_is_here")
    def test_a_folder_that_holds_something(self, bench: Bench, tmp_path: Path, adapter: str) -> None:
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mío.txt").write_text("no me pises")
        with pytest.raises(AfinaError, match="no está vacía"):
            merge(adapter, tmp_path / "out", data=bench.data, artifacts=bench.store)
        assert (tmp_path / "out" / "mío.txt").read_text() == "no me pises"

    @pytest.mark.usefixtures("base_is_here")
    def test_a_disk_without_room(
        self, bench: Bench, tmp_path: Path, adapter: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        with pytest.raises(DiskFull, match="necesita unos"):
            merge(adapter, tmp_path / "out", data=bench.data, artifacts=bench.store)
        assert not (tmp_path / "out").exists()

    def test_a_model_that_answers_something_else(self) -> None:
        before, after = torch.tensor([9.0, 0, 0, 0, 0]), torch.tensor([0.0, 1, 2, 3, 4])
        with pytest.raises(AfinaError, match="no responde como el adaptador"):
            check_same(before, after)
        check_same(before, before + 0.1)
