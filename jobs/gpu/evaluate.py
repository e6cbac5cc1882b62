"""How good a tuned model is: base, base with a few-shot prompt, and tuned, on rows that were never trained on.

Rule of this file: one loaded model answers for all three (the adapter is switched off for the base); generation is
greedy and in batches. Who did better is judged in `jobs.gpu.verdict`.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import torch
from torch.nn.functional import cross_entropy

from jobs.contract import Evaluation
from jobs.dataset.example import Example, Kind
from jobs.gpu import scores
from jobs.gpu.batches import Collator
from jobs.gpu.chat import ChatEncoder, Encoded
from jobs.gpu.preference import answered, right_choices
from jobs.gpu.trainer import causal_model, learnt_logits
from jobs.gpu.verdict import Question, Side, judge_answers, judge_preferences, judge_texts

MOST_ROWS = 200  # held-out rows that are answered; more would cost minutes and change little
SHOWN = 5  # preferences that are answered, for people to look at
LONGEST_ANSWER = 256  # tokens generated at most
TOKENS_A_BATCH = {"cpu": 4_096, "cuda": 65_536}  # prompt and answer, all rows of one batch


def evaluate(
    model: Any,
    encoder: ChatEncoder,
    train: Sequence[Example],
    held_out: Sequence[Example],
    *,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Evaluation | None:
    """Evaluate an adapter (a PeftModel) on rows of the kind that it was trained on; None where there are none.

    `check` is called between batches and may raise (a cancelled job).
    """
    kind = train[0].kind
    rows = [e for e in held_out if e.kind is kind and (kind is not Kind.CHAT or _can_be_asked(e))][:MOST_ROWS]
    if not rows:
        return None
    model.eval()
    if kind is Kind.TEXT:
        return _evaluate_texts(model, encoder, rows)
    if kind in (Kind.PREFERENCE, Kind.KTO):
        return _evaluate_preferences(model, encoder, rows, check)
    contest = Contest(model, encoder, rows, check)
    shots = few_shots(encoder, train, rows, seed=seed)
    base = contest.side(adapter=False)
    return judge_answers(
        [Question(text=_asked(row), expected=row.answer) for row in rows],
        [example.answer for example in train],
        base=base,
        few_shot=contest.side(adapter=False, shots=shots, measure=False) if shots else None,
        tuned=contest.side(adapter=True),
        shots=len(shots),
    )


def _can_be_asked(example: Example) -> bool:
    return bool(example.messages) and example.messages[-1].learn and bool(example.answer)


def _asked(row: Example) -> str:
    return next((m.content for m in reversed(row.prompt) if m.role == "user"), "")


def _evaluate_texts(model: Any, encoder: ChatEncoder, rows: Sequence[Example]) -> Evaluation:
    encoded = encoder.encode(rows)
    sides = []
    for adapter in (False, True):
        with nullcontext() if adapter else model.disable_adapter():
            loss, accuracy, losses = measure_loss(model, encoder, encoded)
        sides.append(Side(answers=[], loss=loss, token_accuracy=accuracy, row_losses=losses))
    return judge_texts(base=sides[0], tuned=sides[1])


def _evaluate_preferences(
    model: Any, encoder: ChatEncoder, rows: Sequence[Example], check: Callable[[], None]
) -> Evaluation:
    """Preferences are judged by likelihood; the first rows are also answered, for people to look at."""
    good = [answered(row, row.chosen) for row in rows if row.desirable is not False][:SHOWN]
    contest = Contest(model, encoder, good, check) if good else None
    sides = []
    for adapter in (False, True):
        answers = contest.side(adapter=adapter) if contest else Side(answers=[])
        with nullcontext() if adapter else model.disable_adapter():
            preferred = right_choices(rows, lambda texts: measure_loss(model, encoder, encoder.encode(texts))[2])
        sides.append(replace(answers, preferred=preferred, loss=None, token_accuracy=None))
    questions = [Question(text=_asked(row), expected=row.answer) for row in good]
    return judge_preferences(questions, rows=len(rows), base=sides[0], tuned=sides[1])


class Contest:
    """The held-out rows and the model that answers them."""

    def __init__(self, model: Any, encoder: ChatEncoder, rows: Sequence[Example], check: Callable[[], None]) -> None:
        self._model = model
        self._encoder = encoder
        self._rows = rows
        self._check = check
        encoded = encoder.tokenizer([row.answer for row in rows], add_special_tokens=False)["input_ids"]
        longest = max(len(ids) for ids in encoded)
        self._room = min(LONGEST_ANSWER, max(4, int(1.25 * longest) + 2))
        self._encoded = encoder.encode(rows)

    def side(self, *, adapter: bool, shots: Sequence[Example] = (), measure: bool = True) -> Side:
        before = [message.to_dict() for shot in shots for message in shot.messages if message.role != "system"]
        prompts = []
        for row in self._rows:
            system = [m.to_dict() for m in row.prompt if m.role == "system"]
            rest = [m.to_dict() for m in row.prompt if m.role != "system"]
            prompts.append(self._encoder.prompt(system + before + rest, tools=row.tools))
        with nullcontext() if adapter else self._model.disable_adapter():
            answers = generate(self._model, self._encoder, prompts, room=self._room, check=self._check)
            loss, accuracy = measure_loss(self._model, self._encoder, self._encoded)[:2] if measure else (None, None)
        return Side(
            answers=answers,
            prompt_tokens=sum(map(len, prompts)) / len(prompts),
            loss=loss,
            token_accuracy=accuracy,
        )


def few_shots(encoder: ChatEncoder, train: Sequence[Example], rows: Sequence[Example], *, seed: int) -> list[Example]:
    """Training examples for the prompt: one of each label (at most eight), or three; () where they are too long."""
    usable = [e for e in train if e.kind is Kind.CHAT and e.messages and e.messages[-1].learn and not e.tools]
    order = random.Random(seed).sample(usable, len(usable))
    labels = scores.find_labels([e.answer for e in usable])
    if labels:
        first: dict[str, Example] = {}
        for example in order:
            first.setdefault(scores.normalise(example.answer), example)
        shots = [first[label] for label in labels[:8] if label in first]
        shots = random.Random(seed).sample(shots, len(shots))
    else:
        shots = order[:3]
    longest = max(len(e.input_ids) for e in encoder.encode(rows))
    room = encoder.tokenizer.model_max_length - longest - LONGEST_ANSWER
    while shots and sum(len(e.input_ids) for e in encoder.encode(shots)) > min(room, 4096):
        shots.pop()
    return shots


@torch.inference_mode()
def generate(
    model: Any,
    encoder: ChatEncoder,
    prompts: Sequence[Sequence[int]],
    *,
    room: int,
    check: Callable[[], None] = lambda: None,
) -> list[str]:
    """Greedy answers to prompts (ids), at most `room` tokens each, in batches of similar length."""
    device = causal_model(model).device
    pad = encoder.tokenizer.pad_token_id
    ends = sorted(encoder.ends_of_turn)
    budget = TOKENS_A_BATCH.get(device.type, 4_096)
    waiting = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    answers = [""] * len(prompts)
    while waiting:
        check()
        batch = [waiting.pop()]
        width = len(prompts[batch[0]])
        while waiting and (len(batch) + 1) * (width + room) <= budget:
            batch.append(waiting.pop())
        ids = torch.full((len(batch), width), pad)
        mask = torch.zeros_like(ids)
        for row, index in enumerate(batch):
            ids[row, width - len(prompts[index]) :] = torch.as_tensor(prompts[index])
            mask[row, width - len(prompts[index]) :] = 1
        out = model.generate(
            input_ids=ids.to(device),
            attention_mask=mask.to(device),
            max_new_tokens=room,
            do_sample=False,
            temperature=None,
            top_p=None,
            top_k=None,
            eos_token_id=ends,
            pad_token_id=pad,
        )[:, width:]
        for index, text in zip(batch, encoder.tokenizer.batch_decode(out, skip_special_tokens=True), strict=True):
            answers[index] = text.strip()
    return answers


@torch.inference_mode()
def measure_loss(model: Any, encoder: ChatEncoder, rows: Sequence[Encoded]) -> tuple[float, float, list[float]]:
    """(mean loss in nats, share of right guesses) over all learnt tokens, and the mean loss of each row."""
    base = causal_model(model)
    collate = Collator(pad_token_id=encoder.tokenizer.pad_token_id, packed=False)
    losses: list[torch.Tensor] = []
    correct = 0
    for start in range(0, len(rows), 16):
        batch = collate([row.columns for row in rows[start : start + 16]])
        logits, targets = learnt_logits(base, {key: value.to(base.device) for key, value in batch.items()})
        each = cross_entropy(logits.float(), targets, reduction="none")
        losses += each.split([row.predicted for row in rows[start : start + 16]])
        correct += int((logits.argmax(-1) == targets).sum())
    every = torch.cat(losses)
    return every.mean().item(), correct / max(1, len(every)), [loss.mean().item() for loss in losses]
