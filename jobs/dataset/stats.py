"""Numbers about the usable examples: how many, how long, and what the model learns of them.

Rule of this file: counting only. Tokens are counted by a tokenizer where one is given, else estimated from bytes and
marked so. `jobs.recipe.DataStats.from_report` and the histogram read the result, whose keys `summarise` lists.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from jobs.dataset.example import Example, Kind, Message

# UTF-8 bytes of one token, measured on Spanish and English text with vocabularies of 30k to 150k entries; and what a
# chat template adds around a message.
BYTES_A_TOKEN = 3.8
TEMPLATE_TOKENS = 4

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


def summarise(examples: Iterable[Example], count: CountTokens | None = None) -> dict[str, Any]:
    """Statistics of usable examples.

    Returns:
        examples, turns (distribution), tokens (sum), learnt_tokens (sum), learnt_share (0..1), p95_tokens,
        example_tokens (distribution), role_tokens (role → distribution of a message), answer_tokens (distribution),
        lengths (tokens of each example, for the histogram), estimated (no tokenizer was given).
    """
    counted = count or estimate_tokens
    lengths: list[int] = []
    answers: list[int] = []
    turns: list[int] = []
    by_role: defaultdict[str, list[int]] = defaultdict(list)
    learnt = 0
    for example in examples:
        parts = parts_of(example)
        sizes = [size + TEMPLATE_TOKENS for size in counted([text for _, text, _ in parts])]
        lengths.append(sum(sizes))
        turns.append(len(parts))
        learnt += sum(size for size, (_, _, learn) in zip(sizes, parts, strict=True) if learn)
        answers += [size for size, (_, _, learn) in zip(sizes, parts, strict=True) if learn]
        for size, (role, _, _) in zip(sizes, parts, strict=True):
            by_role[role].append(size)
    total = sum(lengths)
    return {
        "examples": len(lengths),
        "turns": distribution(turns),
        "tokens": total,
        "learnt_tokens": learnt,
        "learnt_share": round(learnt / total, 4) if total else 0.0,
        "p95_tokens": distribution(lengths)["p95"],
        "example_tokens": distribution(lengths),
        "answer_tokens": distribution(answers),
        "role_tokens": {role: distribution(sizes) for role, sizes in sorted(by_role.items())},
        "lengths": lengths,
        "estimated": count is None,
    }


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
