"""Counting tokens with a base model's own tokenizer, without torch.

Rule of this file: a `tokenizer.json` in, a function out. Special tokens are not added: the template's share is
estimated in `jobs.dataset.stats`.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from jobs.dataset.stats import CountTokens


def token_counter(folder: Path) -> CountTokens | None:
    """A counter for the base in `folder`; None where it brings no fast tokenizer."""
    file = folder / "tokenizer.json"
    if not file.is_file():
        return None
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(file))

    def count(texts: Sequence[str]) -> list[int]:
        return [len(encoding) for encoding in tokenizer.encode_batch_fast(list(texts), add_special_tokens=False)]

    return count
