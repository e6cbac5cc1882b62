"""The catalogue says of each base what a person and the recipe need to know."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.catalog import base_folder, is_downloaded, load_catalog
from jobs.contract import Method, Recipe
from jobs.errors import BaseNotAvailable
from jobs.recipe import GB, DataStats, memory_needed

CATALOG = load_catalog()


def test_the_toy_and_the_families_of_the_course_are_there() -> None:
    ids = {base.id for base in CATALOG}
    assert {"afina-mini", "qwen3-0.6b", "qwen3-8b", "smollm3-3b", "llama-3.2-1b", "gemma-3-4b", "phi-3-mini"} <= ids
    assert {"phi-4-mini", "mistral-7b", "salamandra-2b", "salamandra-7b"} <= ids


def test_only_what_was_run_here_is_called_verified() -> None:
    assert [base.id for base in CATALOG if base.verified] == ["afina-mini"]


def test_no_revision_is_invented() -> None:
    assert "revision" not in Path("jobs/catalog.toml").read_text(encoding="utf-8").replace("Revisions are", "")


@pytest.mark.parametrize("base", list(CATALOG), ids=lambda base: base.id)
def test_memory_is_what_the_estimate_says(base) -> None:
    usual = DataStats(examples=500, tokens=250_000, p95_tokens=1024, learnt_tokens=100_000, longest=1024)
    for method, written in ((Method.LORA, base.lora_gb), (Method.QLORA, base.qlora_gb)):
        recipe = Recipe(method=method, rank=16, max_length=1024, gradient_checkpointing=True, batch_size=4)
        assert written == pytest.approx(memory_needed(recipe, usual, base) / GB, abs=0.06)


@pytest.mark.parametrize("base", list(CATALOG), ids=lambda base: base.id)
def test_own_defaults_of_a_base_are_fields_of_a_recipe(base) -> None:
    Recipe(**base.recipe)


def test_an_unknown_base_is_refused_by_name() -> None:
    with pytest.raises(BaseNotAvailable, match="gpt-9"):
        CATALOG.get("gpt-9")


def test_a_base_is_there_once_its_files_are(tmp_path: Path) -> None:
    base = CATALOG.get("qwen3-4b")
    assert not is_downloaded(tmp_path, base)
    folder = base_folder(tmp_path, base.id)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    assert is_downloaded(tmp_path, base)
    assert is_downloaded(tmp_path, CATALOG.get("afina-mini"))
