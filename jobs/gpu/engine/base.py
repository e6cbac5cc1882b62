"""One base model in memory, with what belongs to it: its batch, its tokenizers, its adapters.

Rule of this file: a loaded model in, something that takes requests out. Which bases there are, and which stay in
memory, is `engine`'s business.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from transformers import AutoTokenizer

from jobs.gpu.engine.adapters import AdapterRefused, Place, read_adapter
from jobs.gpu.engine.batch import Batch
from jobs.gpu.engine.library import Library
from jobs.gpu.engine.options import Options
from jobs.gpu.engine.prompt import Prompter


@dataclass(kw_only=True, eq=False)
class Base:
    """One base model in memory."""

    id: str
    batch: Batch
    prompter: Prompter
    library: Library
    context: int  # tokens
    vocabulary: int  # tokens that it has embeddings for
    stop_tokens: frozenset[int]
    prompters: dict[Path, Prompter] = field(default_factory=dict)  # of adapters with a tokenizer of their own

    @classmethod
    def of(cls, base_id: str, model: Any, tokenizer: Any, options: Options) -> Base:
        """A loaded model, ready for requests."""
        model.eval()
        batch = Batch(
            model,
            max_rows=options.max_rows,
            prefill_tokens=options.prefill_tokens,
            prefill_chunk=options.prefill_chunk,
            prefix_tokens=options.prefix_tokens,
        )
        place = Place(sites=batch.sites, max_rank=options.max_lora_rank, device=model.device, dtype=model.dtype)
        context = getattr(model.config.get_text_config(), "max_position_embeddings", None) or 4096
        ends = model.generation_config.eos_token_id
        return cls(
            id=base_id,
            batch=batch,
            prompter=Prompter(tokenizer),
            library=Library(lambda name, folder: read_adapter(name, folder, place), options.max_loras),
            context=min(context, options.max_model_len or context),
            vocabulary=model.get_input_embeddings().num_embeddings,
            stop_tokens=frozenset(ends if isinstance(ends, list) else [] if ends is None else [ends]),
        )

    def prompter_in(self, folder: Path) -> Prompter:
        """The tokenizer and template of an adapter's own folder, if it has them.

        Raises:
            AdapterRefused: they cannot be read, or have tokens that the base does not know.
        """
        if not (folder / "tokenizer.json").is_file():
            return self.prompter
        try:
            tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
            highest = max(tokenizer.get_vocab().values())
        except Exception as error:  # its libraries have many ways to say that a file is not what it should be
            raise AdapterRefused(f"its tokenizer cannot be read: {type(error).__name__}.") from error
        if highest >= self.vocabulary:
            raise AdapterRefused(f"its tokenizer has a larger vocabulary than the base's {self.vocabulary} tokens.")
        return Prompter(tokenizer)
