"""TRL's trainers, fed with rows that are already token ids, and without what a processor would compute in vain.

Rule of this file: data is given tokenised (`jobs.gpu.data`), so TRL prepares none of it. On a processor the loss is
computed on the learnt positions only; on a GPU by TRL's fused kernel. In both the loss is TRL's, without the figures
that TRL reads back at each step, for which a GPU would have to wait.
"""

from __future__ import annotations

from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel, Trainer
from trl.trainer.sft_trainer import SFTTrainer

from jobs.gpu.batches import IGNORED


class LeanSFTTrainer(SFTTrainer):
    """SFTTrainer over tokenised rows."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        if return_outputs or self.aux_loss_enabled:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        base = causal_model(model)
        on_processor = inputs["input_ids"].device.type == "cpu" and is_plain(base)
        loss, right, learnt = _learnt_loss(base, inputs) if on_processor else _fused_loss(model, inputs)
        if self._logs_this_step or not model.training:  # elsewhere nothing waits for a GPU
            mode = "train" if model.training else "eval"
            self._metrics[mode]["mean_token_accuracy"].append((right / learnt.clamp(min=1)).item())
        return loss / torch.as_tensor(learnt if num_items_in_batch is None else num_items_in_batch).clamp(min=1)

    @property
    def _logs_this_step(self) -> bool:
        return (self.state.global_step + 1) % max(1, self.state.logging_steps) == 0

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        Trainer._save_checkpoint(self, model, trial)  # without TRL's model card: Afina writes its own


def _learnt_loss(base: PreTrainedModel, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """(sum of the losses, tokens guessed right, tokens learnt), over the learnt positions alone."""
    logits, targets = learnt_logits(base, inputs)
    right = (logits.detach().argmax(-1) == targets).sum()
    return cross_entropy(logits.float(), targets, reduction="sum"), right, torch.tensor(len(targets))


def _fused_loss(model: Any, inputs: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """The same by TRL's kernel, which never holds all logits; the figures stay on the device."""
    outputs = model(**inputs, use_cache=False, fused_lm_head=True)
    return -outputs.log_probs.sum(), outputs.is_top1.sum(), outputs.label_mask.sum()


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
