"""How good a tuned model is: base, base with a few-shot prompt, and tuned, on rows that were never trained on.

Rule of this file: one loaded model answers for all three (the adapter is switched off for the base), generation is
greedy and in batches, and the verdict compares row by row. «Better» means better than the base *and* than answering
without reading the question (the majority label, or somebody else's answer): an adapter that learnt noise is not.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch.nn import functional as F

from jobs.contract import Comparison, Evaluation, Score, Verdict
from jobs.dataset.example import Example, Kind
from jobs.gpu import scores
from jobs.gpu.batches import Collator
from jobs.gpu.chat import ChatEncoder, Encoded
from jobs.gpu.trainer import causal_model, learnt_logits

MOST_ROWS = 200  # held-out rows that are answered; more would cost minutes and change little
FEWEST_ROWS = 10  # below it no verdict
SURE = 0.02  # p of the paired test below which a difference counts
LONGEST_ANSWER = 256  # tokens generated at most
TOKENS_A_BATCH = {"cpu": 4_096, "cuda": 65_536}  # prompt and answer, all rows of one batch


@dataclass(frozen=True, kw_only=True)
class Side:
    """One contender: its answers, and its loss where it was measured."""

    answers: list[str]
    prompt_tokens: float
    loss: float | None = None
    token_accuracy: float | None = None


def evaluate(
    model: Any,
    encoder: ChatEncoder,
    train: Sequence[Example],
    held_out: Sequence[Example],
    *,
    seed: int = 0,
    check: Callable[[], None] = lambda: None,
) -> Evaluation | None:
    """Evaluate an adapter (a PeftModel) on chat examples; None where there is nothing to ask.

    `check` is called between batches and may raise (a cancelled job).
    """  # fmt: skip
    rows = [e for e in held_out if e.kind is Kind.CHAT and e.messages and e.messages[-1].learn and e.answer][:MOST_ROWS]
    if not rows:
        return None
    model.eval()
    contest = Contest(model, encoder, rows, check)
    shots = few_shots(encoder, train, rows, seed=seed)
    base = contest.side(adapter=False)
    few_shot = contest.side(adapter=False, shots=shots, measure=False) if shots else None
    tuned = contest.side(adapter=True)
    return judge(rows, train, base=base, few_shot=few_shot, tuned=tuned, shots=len(shots))


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
            loss, accuracy = measure_loss(self._model, self._encoder, self._encoded) if measure else (None, None)
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
        first = {}
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
def measure_loss(model: Any, encoder: ChatEncoder, rows: Sequence[Encoded]) -> tuple[float, float]:
    """Mean loss (nats) and share of right guesses over the learnt tokens of the rows."""
    base = causal_model(model)
    collate = Collator(pad_token_id=encoder.tokenizer.pad_token_id)
    loss = correct = count = 0.0
    for start in range(0, len(rows), 16):
        batch = collate([{"input_ids": r.input_ids, "labels": r.labels} for r in rows[start : start + 16]])
        logits, targets = learnt_logits(base, {key: value.to(base.device) for key, value in batch.items()})
        loss += F.cross_entropy(logits.float(), targets, reduction="sum").item()
        correct += (logits.argmax(-1) == targets).sum().item()
        count += len(targets)
    return loss / max(1, count), correct / max(1, count)


# -- judging -----------------------------------------------------------------------------------------------------------


def judge(
    rows: Sequence[Example], train: Sequence[Example], *, base: Side, few_shot: Side | None, tuned: Side, shots: int
) -> Evaluation:
    """Scores of the three sides and the verdict; pure."""
    expected = [row.answer for row in rows]
    trained = [e.answer for e in train if e.kind is Kind.CHAT and e.messages]
    labels = scores.find_labels([*trained, *expected])
    blind = _blind_rows(expected, trained, labels)
    sides = {"base": base, "few_shot": few_shot, "tuned": tuned}
    judged = {name: _score(side, expected, labels) for name, side in sides.items() if side is not None}
    verdict = _verdict(_rows(tuned, expected, labels), _rows(base, expected, labels), blind)
    return Evaluation(
        examples=len(rows),
        labels=labels,
        majority=scores.majority_share(expected) if labels else None,
        few_shot_examples=shots,
        base=judged["base"],
        few_shot=judged.get("few_shot"),
        tuned=judged["tuned"],
        verdict=verdict,
        summary=_summary(verdict, judged, bool(labels), len(rows)),
        samples=_samples(rows, base, few_shot, tuned),
    )


def _score(side: Side, expected: Sequence[str], labels: Sequence[str]) -> Score:
    exact = scores.mean_interval(scores.exact_matches(side.answers, expected))
    common = {
        "loss": side.loss,
        "perplexity": None if side.loss is None else scores.perplexity(side.loss),
        "token_accuracy": side.token_accuracy,
        "exact_match": exact,
        "prompt_tokens": side.prompt_tokens,
    }
    if labels:
        return Score(**common, accuracy=exact, macro_f1=scores.macro_f1(side.answers, expected, labels))
    return Score(
        **common,
        chrf=scores.chrf_interval(side.answers, expected),
        bleu=scores.bleu(side.answers, expected),
        rouge_l=scores.rouge_l(side.answers, expected),
    )


def _rows(side: Side, expected: Sequence[str], labels: Sequence[str]) -> list[float]:
    """What the verdict compares: right or wrong for labels, chrF for free text."""
    return scores.exact_matches(side.answers, expected) if labels else scores.row_chrf(side.answers, expected)


def _blind_rows(expected: Sequence[str], trained: Sequence[str], labels: Sequence[str]) -> list[float]:
    """The rows of somebody who answers without reading: the majority label, or answers to other questions."""
    if labels:
        majority = max(set(expected), key=list(expected).count)
        return scores.exact_matches([majority] * len(expected), expected)
    rng = random.Random(0)
    pool = list(trained) or list(expected)
    draws = [scores.row_chrf([rng.choice(pool) for _ in expected], expected) for _ in range(3)]
    return [sum(row) / len(draws) for row in zip(*draws, strict=True)]


def _verdict(tuned: Sequence[float], base: Sequence[float], blind: Sequence[float]) -> Verdict:
    if len(tuned) < FEWEST_ROWS:
        return Verdict.NOT_MEASURED
    if sum(tuned) < sum(base) and scores.paired_p(tuned, base) < SURE:
        return Verdict.WORSE
    better = all(sum(tuned) > sum(other) and scores.paired_p(tuned, other) < SURE for other in (base, blind))
    return Verdict.BETTER if better else Verdict.NO_DIFFERENCE


def _summary(verdict: Verdict, judged: dict[str, Score], labels: bool, count: int) -> str:
    """One or two Spanish sentences."""
    if verdict is Verdict.NOT_MEASURED:
        return f"Con {count} ejemplos de evaluación no se puede decir nada seguro: harían falta al menos {FEWEST_ROWS}."
    measure = "aciertos" if labels else "parecido con la respuesta esperada (chrF)"
    figures = f"{_figure(judged['base'])} → {_figure(judged['tuned'])} de {measure} en {count} ejemplos que no vio"
    if verdict is Verdict.WORSE:
        return f"Ha empeorado: {figures}. No lo uses; revisa los datos o baja la tasa de aprendizaje."
    if verdict is Verdict.NO_DIFFERENCE:
        return f"Sin diferencia clara: {figures}. Prueba con más ejemplos o más variados antes de usarlo."
    few_shot = judged.get("few_shot")
    if few_shot is not None and _value(few_shot) >= _value(judged["tuned"]):
        return f"Ha mejorado: {figures}. Aun así, la base con ejemplos en el prompt llega a {_figure(few_shot)}."
    return f"Ha mejorado: {figures}."


def _value(score: Score) -> float:
    if score.accuracy is not None:
        return 100 * score.accuracy.value
    return score.chrf.value if score.chrf is not None else 0.0


def _figure(score: Score) -> str:
    number = f"{_value(score):.1f}".replace(".", ",").removesuffix(",0")
    return f"{number}\u00a0%" if score.accuracy is not None else number


def _samples(rows: Sequence[Example], base: Side, few_shot: Side | None, tuned: Side) -> tuple[Comparison, ...]:
    """Five rows, spread evenly over the held-out ones."""
    count = min(5, len(rows))
    chosen = [round(i * (len(rows) - 1) / max(1, count - 1)) for i in range(count)]
    return tuple(
        Comparison(
            prompt=_last_question(rows[i]),
            expected=rows[i].answer,
            base=base.answers[i],
            few_shot=few_shot.answers[i] if few_shot else None,
            tuned=tuned.answers[i],
        )
        for i in chosen
    )


def _last_question(row: Example) -> str:
    return next((m.content for m in reversed(row.prompt) if m.role == "user"), "")
