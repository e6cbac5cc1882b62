"""The adapter that is trained: a new LoRA over all linear layers, or a person's own one that is continued.

Rule of this file: recipe → PEFT. The output layer is never adapted, so any engine can serve the result.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path

from peft import LoraConfig, PeftModel, get_peft_model
from transformers import PreTrainedModel

from jobs.contract import Recipe
from jobs.errors import RecipeError
from jobs.gpu.models import attach_adapter


def new_adapter(model: PreTrainedModel, recipe: Recipe) -> PeftModel:
    """A fresh adapter; the model answers as before until it is trained."""
    config = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=recipe.dropout,
        use_rslora=recipe.rslora,
        use_dora=recipe.dora,
        target_modules=recipe.target_modules
        if recipe.target_modules == "all-linear"
        else _named(recipe.target_modules),
        task_type="CAUSAL_LM",
    )
    try:
        with quiet_peft():
            return get_peft_model(model, config)
    except ValueError as error:  # no such modules in this model
        raise RecipeError(f"Esa base no tiene las capas «{recipe.target_modules[:80]}».") from error


def continued_adapter(model: PreTrainedModel, parent: Path) -> PeftModel:
    """The adapter of `parent`, ready to be trained further. Its rank and scale stay as they are."""
    with quiet_peft():
        adapted = attach_adapter(model, parent, trainable=True)
    # PEFT looks the base up by this when it saves: it must find the one that is loaded, not ask a hub.
    adapted.peft_config[adapted.active_adapter].base_model_name_or_path = model.config._name_or_path
    return adapted


def _named(modules: str) -> list[str]:
    return [name.strip() for name in modules.split(",") if name.strip()]


@contextlib.contextmanager
def quiet_peft() -> Iterator[None]:
    """Without what PEFT warns of in vain: bases that are no hub ids (ours are local), names that transformers moves."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        warnings.simplefilter("ignore", FutureWarning)
        yield
