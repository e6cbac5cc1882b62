"""Rows of a step: nothing is wasted, nothing is mixed."""

from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import AutoModelForCausalLM

from jobs.gpu import checkpoints
from jobs.gpu.batches import IGNORED, Collator, fit_rows
from jobs.gpu.trainer import learnt_logits


def examples(seed: int = 0, count: int = 9) -> list[dict[str, list[int]]]:
    rng = random.Random(seed)
    rows = []
    for _ in range(count):
        ids = [rng.randrange(5, 300) for _ in range(rng.randint(4, 40))]
        rows.append({"input_ids": ids, "labels": [i if rng.random() < 0.5 else IGNORED for i in ids[:-1]] + [ids[-1]]})
    return rows


@given(lengths=st.lists(st.integers(1, 50), min_size=1, max_size=40))
def test_every_example_stands_in_one_row_that_is_not_too_long(lengths: list[int]) -> None:
    width = max(lengths)
    rows = fit_rows(lengths, width)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    assert all(sum(lengths[index] for index in row) <= width for row in rows)
    assert len(rows) <= 2 * sum(lengths) / width + 1  # first fit never needs more


@pytest.mark.parametrize("how", [{"packed": True}, {"packed": True, "flat": True}], ids=["rows", "flat"])
def test_losses_packed_and_unpacked_agree(tiny_base: Path, how: dict[str, bool]) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    rows = examples()

    def losses(**layout: bool) -> list[float]:
        batch = Collator(pad_token_id=0, **layout)(rows)
        logits, targets = learnt_logits(model, batch)
        each = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
        return sorted(each.tolist())

    assert losses(**how) == pytest.approx(losses(packed=False), abs=1e-4)


def test_nothing_of_one_document_reaches_another(tiny_base: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_base).eval()
    first, second = examples(1, 2)
    changed = {"input_ids": [7] * len(first["input_ids"]), "labels": [IGNORED] * len(first["input_ids"])}
    alone = {"input_ids": first["input_ids"], "labels": [IGNORED] * len(first["input_ids"])}
    flat = Collator(pad_token_id=0, flat=True)
    results = [learnt_logits(model, flat([other, second]))[0] for other in (alone, changed)]
    torch.testing.assert_close(results[0], results[1], rtol=1e-4, atol=1e-5)


def test_no_document_is_predicted_from_the_end_of_another() -> None:
    batch = Collator(pad_token_id=0, flat=True)([{"input_ids": [1, 2], "labels": [1, 2]}] * 2)
    assert batch["labels"].tolist() == [[IGNORED, 2, IGNORED, 2]]
    assert batch["position_ids"].tolist() == [[0, 1, 0, 1]]


class TestCheckpoints:
    def make(self, job: Path, attempt: int, step: int) -> Path:
        folder = job / str(attempt) / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "weights").write_bytes(b"x" * 10)
        return folder

    def test_one_counts_only_with_its_marker(self, tmp_path: Path) -> None:
        folder = self.make(tmp_path, 1, 10)
        assert checkpoints.newest(tmp_path) is None
        checkpoints.complete(folder, step=10, epoch=1.0)
        assert checkpoints.newest(tmp_path) == folder

    def test_the_newest_of_any_attempt_is_taken(self, tmp_path: Path) -> None:
        for attempt, step in ((1, 9), (2, 100), (3, 20)):
            checkpoints.complete(self.make(tmp_path, attempt, step), step=step, epoch=1.0)
        self.make(tmp_path, 4, 500)  # cut short
        assert checkpoints.newest(tmp_path).name == "checkpoint-100"

    @pytest.mark.parametrize("damage", ["shorter", "gone", "marker"])
    def test_a_damaged_one_does_not_count(self, tmp_path: Path, damage: str) -> None:
        folder = self.make(tmp_path, 1, 10)
        checkpoints.complete(folder, step=10, epoch=1.0)
        if damage == "shorter":
            (folder / "weights").write_bytes(b"x")
        elif damage == "gone":
            (folder / "weights").unlink()
        else:
            (folder / checkpoints.MARKER).write_text(json.dumps({"files": 3})[:5])
        assert checkpoints.newest(tmp_path) is None
