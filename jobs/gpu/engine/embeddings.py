"""Texts as vectors, by a small local encoder.

Rule of this file: mean of the last hidden states over the tokens of a text, normalised; as most sentence encoders are
trained. It runs on the processor, in slices, one request at a time, so that it takes nothing from the batches.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

SLICE = 32  # texts of one pass
LONGEST = 512  # tokens of a text that are read, where the model does not say less


@dataclass(frozen=True, slots=True)
class Embedded:
    vectors: list[list[float]]  # of length 1, each of the model's hidden size
    tokens: int  # read in all


class Embedder:
    """Safe to call from several threads."""

    def __init__(self, folder: Path) -> None:
        """Raises OSError or ValueError for a folder that holds no encoder."""
        from transformers import AutoModel, AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
        self._model: Any = AutoModel.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, use_safetensors=True
        ).eval()
        context = getattr(self._model.config, "max_position_embeddings", None) or LONGEST
        self._longest = min(context, self._tokenizer.model_max_length, LONGEST)
        if self._tokenizer.pad_token is None:
            self._tokenizer.pad_token = self._tokenizer.eos_token
        self._lock = threading.Lock()
        self.name = folder.name

    @torch.inference_mode()
    def embed(self, texts: Sequence[str]) -> Embedded:
        vectors: list[list[float]] = []
        tokens = 0
        for start in range(0, len(texts), SLICE):
            with self._lock:
                rows = self._tokenizer(
                    [text or " " for text in texts[start : start + SLICE]],
                    padding=True,
                    truncation=True,
                    max_length=self._longest,
                    return_tensors="pt",
                )
                hidden = self._model(input_ids=rows["input_ids"], attention_mask=rows["attention_mask"])
            mask = rows["attention_mask"].unsqueeze(-1)
            mean = (hidden.last_hidden_state * mask).sum(1) / mask.sum(1).clamp(min=1)
            vectors += torch.nn.functional.normalize(mean.float(), dim=-1).tolist()
            tokens += int(mask.sum())
        return Embedded(vectors, tokens)
