"""Recipes: the defaults of good practice, what fits, and a Spanish sentence for each value."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.catalog import load_catalog
from jobs.contract import Method, Objective, Preset, Recipe
from jobs.errors import DoesNotFit, RecipeError
from jobs.recipe import (
    GB,
    DataStats,
    check_recipe,
    estimate,
    explain,
    fit,
    memory_needed,
    recommend,
    smaller_micro_batch,
    usual_epochs,
)

CATALOG = load_catalog()
QWEN = CATALOG.get("qwen3-4b")


def stats(examples: int = 200, p95: int = 300) -> DataStats:
    return DataStats(examples=examples, tokens=examples * 200, p95_tokens=p95, learnt_tokens=examples * 80)


@pytest.mark.parametrize(
    ("examples", "epochs"), [(5, 10), (10, 10), (20, 5), (33, 3), (200, 3), (8000, 3), (12_000, 2), (100_000, 1)]
)
def test_epochs_follow_the_rule_of_openai_with_a_lower_ceiling(examples: int, epochs: int) -> None:
    assert usual_epochs(examples) == epochs


@pytest.mark.parametrize(("examples", "epochs"), [(60, 8), (2000, 8), (5000, 5), (30_000, 1)])
def test_a_base_with_epochs_of_its_own_does_not_see_much_data_that_often(examples: int, epochs: int) -> None:
    assert recommend(stats(examples), CATALOG.get("afina-mini")).epochs == epochs


@pytest.mark.parametrize(("examples", "rank", "batch"), [(20, 16, 4), (200, 16, 8), (5000, 32, 16)])
def test_rank_and_batch_grow_with_the_data(examples: int, rank: int, batch: int) -> None:
    recipe = recommend(stats(examples), QWEN)
    assert (recipe.rank, recipe.alpha, recipe.effective_batch) == (rank, 2 * rank, batch)


@pytest.mark.parametrize("base", [base.id for base in CATALOG if base.repo])
def test_rates_are_those_of_lora_not_of_full_fine_tuning(base: str) -> None:
    assert 1e-4 <= recommend(stats(), CATALOG.get(base)).learning_rate <= 3e-4


def test_larger_models_learn_with_smaller_steps() -> None:
    rates = [recommend(stats(), CATALOG.get(name)).learning_rate for name in ("qwen3-0.6b", "qwen3-4b", "qwen3-8b")]
    assert rates == sorted(rates, reverse=True)


def test_preferences_move_a_model_far_more_gently() -> None:
    chat, dpo = recommend(stats(), QWEN), recommend(stats(), QWEN, objective=Objective.DPO)
    assert dpo.learning_rate <= chat.learning_rate / 10
    assert not dpo.packing


@pytest.mark.parametrize(("p95", "length"), [(20, 128), (300, 576), (900, 1728), (90_000, 4096)])
def test_rows_are_as_long_as_nearly_every_example_needs(p95: int, length: int) -> None:
    assert recommend(stats(p95=p95), QWEN).max_length == length


def test_rows_are_never_longer_than_the_base_reads() -> None:
    mini = CATALOG.get("afina-mini")
    assert recommend(stats(p95=9000), mini).max_length == mini.context


def test_presets_go_from_quick_to_careful() -> None:
    fast, usual, careful = (recommend(stats(), QWEN, preset=preset) for preset in Preset)
    assert fast.epochs < usual.epochs < careful.epochs
    assert careful.learning_rate < usual.learning_rate
    assert careful.early_stopping


class TestFitting:
    def test_what_fits_is_left_as_it_is(self) -> None:
        recipe = recommend(stats(), QWEN)
        assert fit(recipe, stats(), QWEN, 140 * GB) == recipe

    def test_first_the_micro_batch_shrinks_and_the_effective_batch_stays(self) -> None:
        recipe = recommend(stats(p95=4000), QWEN)
        fitted = fit(recipe, stats(p95=4000), QWEN, int(memory_needed(recipe, stats(p95=4000), QWEN) * 0.8))
        assert fitted.batch_size < recipe.batch_size
        assert fitted.effective_batch == recipe.effective_batch
        assert fitted.method is Method.LORA

    def test_then_the_base_goes_to_four_bits(self) -> None:
        assert recommend(stats(), CATALOG.get("qwen3-8b"), device_memory=16 * GB).method is Method.QLORA

    def test_what_cannot_fit_says_how_much_it_needs(self) -> None:
        with pytest.raises(DoesNotFit, match=r"necesitaría unos \d+,\d GB y el dispositivo que entrena tiene 2,0 GB"):
            recommend(stats(), CATALOG.get("qwen3-8b"), device_memory=2 * GB)

    @given(
        examples=st.integers(1, 100_000),
        p95=st.integers(1, 20_000),
        memory=st.integers(1, 200),
        base=st.sampled_from([base.id for base in CATALOG]),
        preset=st.sampled_from(list(Preset)),
        objective=st.sampled_from(list(Objective)),
    )
    def test_a_recipe_is_valid_and_fits_or_is_refused(self, examples, p95, memory, base, preset, objective) -> None:
        chosen = CATALOG.get(base)
        try:
            recipe = recommend(
                stats(examples, p95), chosen, preset=preset, objective=objective, device_memory=memory * GB
            )
        except DoesNotFit:
            return
        check_recipe(recipe, chosen)
        assert memory_needed(recipe, stats(examples, p95), chosen) <= memory * GB
        assert all(sentence.endswith(".") for _, sentence in explain(recipe, stats(examples, p95)))

    @given(size=st.integers(2, 256), accumulation=st.integers(1, 4))
    def test_smaller_micro_batches_keep_the_effective_batch(self, size: int, accumulation: int) -> None:
        recipe = Recipe(batch_size=size, gradient_accumulation=accumulation)
        smaller = smaller_micro_batch(recipe)
        assert smaller.batch_size < size
        assert smaller.effective_batch == recipe.effective_batch

    def test_one_example_cannot_be_halved(self) -> None:
        with pytest.raises(DoesNotFit):
            smaller_micro_batch(Recipe(batch_size=1))


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"rank": 128}, "64"),
        ({"max_length": 100_000}, "40960"),
        ({"objective": Objective.DPO, "packing": True}, "empaquetan"),
        ({"batch_size": 256, "gradient_accumulation": 2}, "512"),
    ],
)
def test_settings_that_do_not_go_together_are_refused_by_name(changes: dict[str, object], said: str) -> None:
    with pytest.raises(RecipeError, match=said):
        check_recipe(Recipe().model_copy(update=changes), CATALOG.get("qwen3-8b"))


def test_every_value_is_explained_in_one_spanish_sentence() -> None:
    rows = dict(explain(recommend(stats(), QWEN, preset=Preset.CAREFUL), stats()))
    assert {"rank", "alpha", "learning_rate", "epochs", "batch_size", "max_length", "early_stopping"} <= rows.keys()
    assert rows["learning_rate"].startswith("Tasa de aprendizaje 0,0001:")


def test_an_estimate_counts_every_epoch() -> None:
    recipe = recommend(stats(), QWEN)
    guess = estimate(recipe, stats(), QWEN, tokens_per_second=1000, device_memory=80 * GB)
    assert (guess.tokens, guess.steps) == (3 * 200 * 200, 3 * 25)
    assert guess.seconds == pytest.approx(120, rel=0.1)
    assert guess.fits


def test_statistics_are_read_from_a_report() -> None:
    read = DataStats.from_report({"examples": 10, "tokens": {"total": 1000, "p95": 150.2, "max": 180}})
    assert (read.examples, read.tokens, read.p95_tokens, read.longest) == (10, 1000, 151, 180)
    assert DataStats.from_report({}).examples == 0
