"""TRL's trainers, fed with rows that are already token ids, and without what a processor would compute in vain.

Rule of this file: data is given tokenised (`jobs.gpu.data`), so TRL prepares none of it. On a processor the loss is
computed on the learnt positions only and without TRL's per-step entropy and accuracy; on a GPU TRL's fused kernel
does the same, so it is used as it is. The loss is the same number in both.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, Trainer
from trl import SFTTrainer

from jobs.gpu.batches import IGNORED


class LeanSFTTrainer(SFTTrainer):
    """SFTTrainer over tokenised rows."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        base = causal_model(model)
        if return_outputs or inputs["input_ids"].device.type != "cpu" or not is_plain(base):
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        logits, targets = learnt_logits(base, inputs)
        count = len(targets) if num_items_in_batch is None else num_items_in_batch
        mode = "train" if model.training else "eval"
        if len(targets) and (mode == "eval" or self._logs_this_step):
            correct = (logits.detach().argmax(-1) == targets).float().mean().item()
            self._metrics[mode]["mean_token_accuracy"].append(correct)
        return cross_entropy(logits.float(), targets, reduction="sum") / max(1, int(count))

    @property
    def _logs_this_step(self) -> bool:
        return (self.state.global_step + 1) % max(1, self.state.logging_steps) == 0

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        Trainer._save_checkpoint(self, model, trial)  # without TRL's model card: Afina writes its own


def causal_model(model: Any) -> PreTrainedModel:
    """The causal language model below PEFT and accelerate wrappers."""
    while not isinstance(model, PreTrainedModel):
        model = model.module if hasattr(model, "module") else model.get_base_model()
    return model


def is_plain(model: PreTrainedModel) -> bool:
    """Whether logits are the head times the last hidden state and nothing else (no soft cap, no scale, no experts)."""
    config = model.config.get_text_config()
    changes = ("final_logit_softcapping", "logit_scale", "logits_scaling", "output_multiplier", "lm_head_multiplier")
    return all(getattr(config, name, None) is None for name in changes) and not getattr(
        config, "output_router_logits", False
    )


def learnt_logits(model: PreTrainedModel, inputs: dict[str, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits (n, vocabulary) at the positions that predict a learnt token, and those n tokens."""
    given = {key: inputs[key] for key in ("input_ids", "position_ids", "attention_mask") if key in inputs}
    hidden = model.base_model(**given, use_cache=False).last_hidden_state[:, :-1]
    targets = inputs["labels"][:, 1:]
    learnt = targets != IGNORED
    return model.get_output_embeddings()(hidden[learnt]), targets[learnt]
