"""Numbers about the usable examples: how many, how long, and what the model learns of them.

Rule of this file: counting only. Tokens are counted by a tokenizer where one is given, else estimated from bytes and
marked so. `jobs.recipe.DataStats.from_report` and the picture in `bot/render/histogram.py` read the result.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Sequence
from typing import Any

from jobs.dataset.example import Example, Kind, Message

# UTF-8 bytes of one token, measured on Spanish and English text with vocabularies of 30k to 150k entries; and what a
# chat template adds around a message.
BYTES_A_TOKEN = 3.8
TEMPLATE_TOKENS = 4

LENGTHS = (256, 512, 1024, 2048, 4096, 8192)  # usual maximum lengths of training

CountTokens = Callable[[Sequence[str]], list[int]]  # texts → number of tokens of each


def estimate_tokens(texts: Sequence[str]) -> list[int]:
    """A guess at the number of tokens of each text, without a tokenizer."""
    return [round(len(text.encode("utf-8", "surrogatepass")) / BYTES_A_TOKEN + 0.5) for text in texts]


def parts_of(example: Example) -> list[tuple[str, str, bool]]:
    """(role, text, learnt) of everything that an example says."""
    if example.kind is Kind.TEXT:
        return [("text", example.text, True)]
    turns: list[Message] = [*example.messages, *example.chosen, *example.rejected]
    return [(turn.role, turn.content + _calls(turn), turn.learn) for turn in turns]


def _calls(turn: Message) -> str:
    return "".join(str(call) for call in turn.tool_calls)


def measure(example: Example, count: CountTokens | None = None) -> list[int]:
    """Tokens of each part of an example (`parts_of`), what the template adds included."""
    return [size + TEMPLATE_TOKENS for size in (count or estimate_tokens)([text for _, text, _ in parts_of(example)])]


def summarise(examples: Sequence[Example], count: CountTokens | None = None) -> dict[str, Any]:
    """Statistics of usable examples.

    Returns:
        examples; kind (chat, text, preference or kto); turns (distribution over examples); tokens (total, and
        distribution over examples); learnt_tokens (sum); learnt_share (0..1); answer_tokens and role_tokens
        (distributions over messages); histogram (edges, counts: tokens of an example); longer (length → examples that
        are longer); estimated (no tokenizer was given).
    """
    lengths: list[int] = []
    turns: list[int] = []
    answers: list[int] = []
    by_role: defaultdict[str, list[int]] = defaultdict(list)
    for example in examples:
        sizes = measure(example, count)
        lengths.append(sum(sizes))
        turns.append(len(sizes))
        for size, (role, _, learnt) in zip(sizes, parts_of(example), strict=True):
            by_role[role].append(size)
            if learnt:
                answers.append(size)
    total = sum(lengths)
    return {
        "examples": len(lengths),
        "kind": examples[0].kind.value if examples else None,
        "turns": distribution(turns),
        "tokens": {"total": total, **distribution(lengths)},
        "learnt_tokens": sum(answers),
        "learnt_share": round(sum(answers) / total, 4) if total else 0.0,
        "answer_tokens": distribution(answers),
        "role_tokens": {role: distribution(sizes) for role, sizes in sorted(by_role.items())},
        "histogram": histogram(lengths),
        "longer": {str(limit): sum(length > limit for length in lengths) for limit in LENGTHS},
        "estimated": count is None,
    }


def histogram(values: Sequence[int], bins: int = 24) -> dict[str, list[int]]:
    """Counts over equal bins up to the 99th percentile; the last bin holds everything above.

    They start at 0, or at the smallest value where all values lie far from 0.
    """
    if not values:
        return {"edges": [], "counts": []}
    top = sorted(values)[min(len(values) - 1, int(0.99 * len(values)))] + 1
    low = min(values) if min(values) * 2 > top else 0
    bins = min(bins, top - low)
    width = -(-(top - low) // bins)
    counts = [0] * bins
    for value in values:
        counts[min(bins - 1, (value - low) // width)] += 1
    return {"edges": [low + width * place for place in range(bins + 1)], "counts": counts}


def distribution(values: Sequence[int]) -> dict[str, float]:
    """mean, median, p5, p95, min and max (nearest rank); zeros for nothing."""
    if not values:
        return dict.fromkeys(("mean", "median", "p5", "p95", "min", "max"), 0)
    ordered = sorted(values)

    def rank(share: float) -> int:
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))]

    return {
        "mean": round(sum(ordered) / len(ordered), 1),
        "median": rank(0.5),
        "p5": rank(0.05),
        "p95": rank(0.95),
        "min": ordered[0],
        "max": ordered[-1],
    }
