"""DPO and KTO: rows, trainers and how a preference is judged.

Rule of this file: prompts and answers are tokenised by `ChatEncoder`, the rest is TRL's. The reference is the model
without the new adapter: the base, or the parent of a continued one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from peft import PeftModel
from transformers import Trainer
from trl.trainer.dpo_config import DPOConfig
from trl.trainer.dpo_trainer import DPOTrainer
from trl.trainer.kto_config import KTOConfig
from trl.trainer.kto_trainer import KTOTrainer

from jobs.contract import Objective, Recipe
from jobs.dataset.example import Example, Kind, Message
from jobs.errors import DatasetError
from jobs.gpu.batches import IGNORED
from jobs.gpu.chat import ChatEncoder, Encoded
from jobs.gpu.data import BEYOND_THE_ROW, Prepared, as_dataset, in_parts, nothing_left

REFERENCE = "ref"  # TRL's name for the copy of a continued adapter
WRONG_DATA = {
    Objective.DPO: "Para DPO hacen falta pares: una respuesta elegida y otra rechazada por ejemplo.",
    Objective.KTO: "Para KTO hacen falta respuestas con un sí o un no cada una.",
}


def answered(example: Example, answer: Sequence[Message]) -> Example:
    """The prompt of a preference with one of its answers, of which the last turn is learnt."""
    turns = [replace(message, learn=False) for message in (*example.messages, *answer)]
    return replace(
        example,
        kind=Kind.CHAT,
        messages=(*turns[:-1], replace(turns[-1], learn=True)),
        chosen=(),
        rejected=(),
        desirable=None,
    )


def split_answer(encoded: Encoded) -> tuple[list[int], list[int]]:
    """(prompt, answer) ids: the answer is what is learnt."""
    first = next(i for i, label in enumerate(encoded.labels) if label != IGNORED)
    last = max(i for i, label in enumerate(encoded.labels) if label != IGNORED)
    return encoded.input_ids[:first], encoded.input_ids[first : last + 1]


def prepare_preferences(encoder: ChatEncoder, examples: Sequence[Example], *, recipe: Recipe) -> Prepared:
    """Rows for TRL's DPO or KTO trainer. Raises DatasetError (wrong kind of data), NothingToLearn."""
    pairs = recipe.objective is Objective.DPO
    wanted = Kind.PREFERENCE if pairs else Kind.KTO
    usable = [e for e in examples if e.kind is wanted or (not pairs and e.kind is Kind.PREFERENCE)]
    if not usable:
        raise DatasetError(WRONG_DATA[recipe.objective], hint="Mira el formato «preferencias» con /datos plantilla.")
    kept: list[Example] = []
    rows: list[dict[str, Any]] = []
    dropped: Counter[str] = Counter()
    tokens = cut = 0
    for some in in_parts(usable):
        sides = [_sides(example) for example in some]
        encoded = iter(encoder.encode([side for both in sides for side, _ in both]))
        for example, both in zip(some, sides, strict=True):
            texts = [next(encoded) for _ in both]
            fault, parts = _parts(encoder, both, texts, recipe.max_length)
            if fault is not None:
                dropped[fault] += 1
                continue
            kept.append(example)
            rows += _dpo_rows(parts) if pairs else _kto_rows(parts, [label for _, label in both])
            tokens += sum(min(len(text.input_ids), recipe.max_length) for text in texts)
            cut += sum(len(text.input_ids) > recipe.max_length for text in texts)
    if not rows:
        raise nothing_left(dropped, recipe.max_length)
    if not pairs:
        _add_mismatched(rows, max(2, recipe.batch_size))
    return Prepared(examples=kept, dataset=as_dataset(rows), tokens=tokens, cut=cut, dropped=dropped)


def _parts(
    encoder: ChatEncoder, sides: list[tuple[Example, bool]], texts: list[Encoded], max_length: int
) -> tuple[str | None, list[tuple[list[int], list[int]]]]:
    """(why the example is left out, None where it is not; (prompt, answer) ids of each of its sides)"""
    fault = next(filter(None, (encoder.faults(s, t) for (s, _), t in zip(sides, texts, strict=True))), None)
    parts = [] if fault else [split_answer(text) for text in texts]
    if fault is None and any(prompt != parts[0][0] for prompt, _ in parts):
        fault = "the template changes the prompt with the answer"
    if fault is None and len(parts[0][0]) >= max_length:
        fault = BEYOND_THE_ROW
    return fault, parts


def _sides(example: Example) -> list[tuple[Example, bool]]:
    """The answers of an example as chat examples, and whether each is a good one."""
    if example.kind is Kind.PREFERENCE:
        return [(answered(example, example.chosen), True), (answered(example, example.rejected), False)]
    return [(answered(example, ()), bool(example.desirable))]


def _dpo_rows(parts: list[tuple[list[int], list[int]]]) -> list[dict[str, Any]]:
    (prompt, chosen), (_, rejected) = parts
    return [{"prompt_ids": prompt, "chosen_ids": chosen, "rejected_ids": rejected}]


def _kto_rows(parts: list[tuple[list[int], list[int]]], labels: list[bool]) -> list[dict[str, Any]]:
    return [
        {"prompt_ids": prompt, "completion_ids": answer, "label": label}
        for (prompt, answer), label in zip(parts, labels, strict=True)
    ]


def _add_mismatched(rows: list[dict[str, Any]], batch: int) -> None:
    """KTO estimates how far the model has moved from answers to other prompts of the batch."""
    for start in range(0, len(rows), batch):
        group = rows[start : start + batch]
        for index, row in enumerate(group):
            row["KL_completion_ids"] = group[index - 1]["completion_ids"]


# -- trainers ----------------------------------------------------------------------------------------------------------


class TokenisedDPOTrainer(DPOTrainer):
    """DPOTrainer over rows of `prepare_preferences`."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        Trainer._save_checkpoint(self, model, trial)


class TokenisedKTOTrainer(KTOTrainer):
    """KTOTrainer over rows of `prepare_preferences`."""

    def _prepare_dataset(self, dataset: Any, *args: Any, **kwargs: Any) -> Any:
        return dataset

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        Trainer._save_checkpoint(self, model, trial)


def preference_trainer(
    model: PeftModel, recipe: Recipe, arguments: dict[str, Any], *, continued: bool, **given: Any
) -> Trainer:
    """TRL's trainer of the recipe's objective; `given` are its datasets and tokenizer."""
    if REFERENCE in model.peft_config:  # of a trainer before this one
        model.delete_adapter(REFERENCE)
    if recipe.objective is Objective.DPO:
        dpo = DPOConfig(**arguments, beta=recipe.beta, max_length=recipe.max_length)
        trainer: Trainer = TokenisedDPOTrainer(model=model, args=dpo, **given)
    else:
        arguments = arguments | {"per_device_train_batch_size": max(2, recipe.batch_size)}
        kto = KTOConfig(**arguments, beta=recipe.beta, max_length=recipe.max_length)
        trainer = TokenisedKTOTrainer(model=model, args=kto, **given)
    if not continued:  # a new adapter starts as the base: switching it off is the reference
        model.delete_adapter(REFERENCE)
    return trainer


# -- judging -----------------------------------------------------------------------------------------------------------


def right_choices(rows: Sequence[Example], losses: Callable[[list[Example]], list[float]]) -> list[float]:
    """How right each row's choice is, 0..1, when the likelier answer (lower loss a token) is the one chosen.

    Pairs: 1.0 where the chosen answer is likelier than the rejected one. Judged answers: the share of answers of the
    other judgement that a row is ordered rightly against.
    """
    if rows[0].kind is Kind.PREFERENCE:
        chosen = losses([answered(row, row.chosen) for row in rows])
        rejected = losses([answered(row, row.rejected) for row in rows])
        return [_order(good, bad) for good, bad in zip(chosen, rejected, strict=True)]
    found = losses([answered(row, ()) for row in rows])
    judged = list(zip(rows, found, strict=True))
    sides = {side: [loss for row, loss in judged if row.desirable is side] for side in (True, False)}
    if not sides[True] or not sides[False]:
        return [0.5] * len(rows)
    right = []
    for row, loss in judged:
        others = sides[not row.desirable]
        right.append(sum(_order(loss, o) if row.desirable else _order(o, loss) for o in others) / len(others))
    return right


def _order(good: float, bad: float) -> float:
    return 0.5 if good == bad else float(good < bad)
