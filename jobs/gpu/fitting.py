"""Fitting an adapter with TRL: arguments from the recipe, resumption, and smaller steps when memory runs out.

Rule of this file: one call, `Fitting.run`, which ends with a trained model or an AfinaError. DPO and KTO bring their
own trainer (`jobs.gpu.preference`); all objectives share the arguments.
"""

from __future__ import annotations

import gc
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel, get_peft_model_state_dict, set_peft_model_state_dict
from transformers import EarlyStoppingCallback, PreTrainedTokenizerBase, PrinterCallback, Trainer, TrainerCallback
from trl.trainer.sft_config import SFTConfig

from jobs.contract import Method, Objective, Recipe
from jobs.errors import DoesNotFit
from jobs.gpu import checkpoints
from jobs.gpu.batches import Collator
from jobs.gpu.lora import quiet_peft
from jobs.gpu.preference import preference_trainer
from jobs.gpu.progress import STOPPED, Progress, ProgressCallback
from jobs.gpu.trackers import PROJECT
from jobs.gpu.trainer import LeanSFTTrainer
from jobs.recipe import less_memory

KEPT_CHECKPOINTS = 3
# What libraries say where memory runs out: on Linux, on Windows, in C++ and in cuBLAS.
NO_MEMORY = ("Cannot allocate memory", "not enough memory", "std::bad_alloc", "CUBLAS_STATUS_ALLOC_FAILED")
LOGS = 50  # points of a loss curve, about


@dataclass(frozen=True, kw_only=True)
class Fitting:
    """Everything a training run needs; `run` may be called once."""

    model: PeftModel
    tokenizer: PreTrainedTokenizerBase
    train: Dataset
    validation: Dataset | None
    tokens_per_epoch: int
    folder: Path  # of the checkpoints
    continued: bool = False  # the adapter has been trained before
    progress: Progress
    name: str = "afina"  # of the run, for trackers
    trackers: Sequence[TrainerCallback] = ()

    def run(self, recipe: Recipe, *, resume_from: Path | None = None) -> ProgressCallback:
        """Train in place. Raises Stopped (checkpoint kept), Diverged, DoesNotFit."""
        start = {name: value.detach().cpu().clone() for name, value in get_peft_model_state_dict(self.model).items()}
        while True:
            try:
                with quiet_peft():
                    return self._once(recipe, resume_from)
            except Exception as error:
                if not out_of_memory(error):
                    raise
                if recipe.batch_size == 1 and recipe.gradient_checkpointing:
                    raise DoesNotFit from error
            recipe = less_memory(recipe)
            self.progress.say(f"No cabía en la memoria: sigo con {_micro_batch(recipe)}.", "warn")
            resume_from = checkpoints.newest(self.folder.parent.parent) or resume_from
            set_peft_model_state_dict(self.model, start)
            gc.collect()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()

    def _once(self, recipe: Recipe, resume_from: Path | None) -> ProgressCallback:
        callback = ProgressCallback(self.progress, tokens_per_epoch=self.tokens_per_epoch)
        trainer = self._trainer(recipe)
        trainer.remove_callback(PrinterCallback)
        for each in (callback, *self.trackers):
            trainer.add_callback(each)
        if recipe.early_stopping and self.validation is not None:
            trainer.add_callback(EarlyStoppingCallback(early_stopping_patience=recipe.early_stopping))
        trainer.train(resume_from_checkpoint=str(resume_from) if resume_from else None)
        if callback.stopped is not None:
            raise STOPPED[callback.stopped]
        return callback

    def _trainer(self, recipe: Recipe) -> Trainer:
        given = {"train_dataset": self.train, "eval_dataset": self.validation, "processing_class": self.tokenizer}
        if recipe.objective is not Objective.SFT:
            arguments = self.arguments(recipe)
            return preference_trainer(self.model, recipe, arguments, continued=self.continued, **given)
        flash = "flash" in (self.model.config._attn_implementation or "")
        return LeanSFTTrainer(
            model=self.model,
            args=SFTConfig(**self.arguments(recipe), max_length=None),
            **given,
            data_collator=Collator(pad_token_id=self.tokenizer.pad_token_id, packed=recipe.packing, flat=flash),
        )

    def arguments(self, recipe: Recipe) -> dict[str, Any]:
        """TrainingArguments shared by all objectives."""
        cuda = self.model.device.type == "cuda"
        steps = recipe.epochs * -(-len(self.train) // recipe.effective_batch)
        validated = self.validation is not None
        return {
            "output_dir": str(self.folder),
            "per_device_train_batch_size": recipe.batch_size,
            "per_device_eval_batch_size": 2 * recipe.batch_size,
            "gradient_accumulation_steps": recipe.gradient_accumulation,
            "num_train_epochs": recipe.epochs,
            "learning_rate": recipe.learning_rate,
            "lr_scheduler_type": recipe.scheduler,
            "warmup_steps": round(recipe.warmup_ratio * steps),
            "weight_decay": recipe.weight_decay,
            "optim": "paged_adamw_8bit" if cuda and recipe.method is Method.QLORA else "adamw_torch_fused",
            "activation_checkpointing": recipe.gradient_checkpointing,
            "bf16": cuda and torch.cuda.is_bf16_supported(),
            "use_cpu": not cuda,
            "seed": recipe.seed,
            "data_seed": recipe.seed,
            "logging_steps": max(1, steps // LOGS),
            "logging_first_step": True,
            "logging_nan_inf_filter": False,  # a NaN must be seen
            "save_strategy": "epoch",
            "save_total_limit": KEPT_CHECKPOINTS,
            "eval_strategy": "epoch" if validated else "no",
            "load_best_model_at_end": validated,
            "metric_for_best_model": "eval_loss" if validated else None,
            "greater_is_better": False if validated else None,
            "prediction_loss_only": True,
            "remove_unused_columns": False,
            "dataloader_pin_memory": cuda,
            "disable_tqdm": True,
            "report_to": [],  # trackers are callbacks that may fail: jobs.gpu.trackers
            "run_name": self.name,
            "project": PROJECT,
        }


def _micro_batch(recipe: Recipe) -> str:
    size = "1 ejemplo" if recipe.batch_size == 1 else f"{recipe.batch_size} ejemplos"
    saving = ", recalculando pasos intermedios" if recipe.gradient_checkpointing else ""
    return f"{size} a la vez y el mismo lote efectivo{saving}"


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that memory ran out, of the device or of the machine; most of them have no class."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or any(words in str(error) for words in NO_MEMORY)
