"""The evaluation's figures equal those of another route: one pass a row, no cache, plain definitions.

The synthetic task has known answers; the models are a random base and adapters that learnt it, learnt noise, or were
harmed on purpose. Nothing here calls the code under test except to get the figures that are compared.
"""

from __future__ import annotations

import math
import random
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sacrebleu
import torch
import yaml
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from jobs.contract import Evaluation, Recipe, Score, TrainResult, Verdict
from jobs.gpu.lora import quiet_peft
from jobs.gpu.publish import read_evaluation
from tests.gpu.conftest import COLOURS, QUICK, Bench, chat_row, colour_rows

LEARNING = QUICK.model_copy(update={"epochs": 10, "rank": 8, "alpha": 16})
SENTENCES = {
    "tomate": "el tomate maduro es de color rojo",
    "cielo": "el cielo de mayo es de color azul",
    "hierba": "la hierba del campo es de color verde",
    "limón": "el limón de mi casa es de color amarillo",
}


def sentence_rows(count: int) -> list[dict[str, Any]]:
    """Answers that are no labels: each is said in its own words."""
    things = list(SENTENCES)
    return [
        chat_row(f"{i}. ¿Color de {things[i % 4]}?", f"{SENTENCES[things[i % 4]]} número {i}") for i in range(count)
    ]


class Route:
    """A base and its adapter, asked one row at a time."""

    def __init__(self, base: Path, adapter: Path) -> None:
        self.tokenizer = AutoTokenizer.from_pretrained(base)
        with quiet_peft():
            self.model = PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), adapter).eval()

    def prompt(self, row: dict[str, Any], before: list[dict[str, str]] | None = None) -> list[int]:
        asked = [*(before or []), *row["messages"][:-1]]
        text = self.tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def example(self, rows: list[dict[str, Any]], answer: str) -> int:
        """Tokens of one example of this answer in a prompt; all of its rows have as many."""
        texts = (self.tokenizer.apply_chat_template(row["messages"], tokenize=False) for row in rows)
        ends = f"<|im_start|>assistant\n{answer}<|im_end|>\n"
        (tokens,) = {len(self.tokenizer(text)["input_ids"]) for text in texts if text.endswith(ends)}
        return tokens

    @torch.no_grad()
    def losses(self, row: dict[str, Any]) -> tuple[list[float], int]:
        """Loss of each token of the answer and its end of turn, and how many were the likeliest."""
        prompt = self.prompt(row)
        ids = [*prompt, *self.tokenizer(row["messages"][-1]["content"], add_special_tokens=False)["input_ids"]]
        ids.append(self.tokenizer.convert_tokens_to_ids("<|im_end|>"))
        log_probabilities = self.model(torch.tensor([ids])).logits[0].double().log_softmax(-1)
        places = range(len(prompt), len(ids))
        losses = [-log_probabilities[place - 1, ids[place]].item() for place in places]
        return losses, sum(int(log_probabilities[place - 1].argmax()) == ids[place] for place in places)

    @torch.no_grad()
    def answer(self, row: dict[str, Any], room: int, before: list[dict[str, str]] | None = None) -> str:
        """Greedy, without a cache: the whole text again for each token."""
        ids = self.prompt(row, before)
        start = len(ids)
        while len(ids) < start + room:
            ids.append(int(self.model(torch.tensor([ids])).logits[0, -1].argmax()))
            if ids[-1] == self.tokenizer.convert_tokens_to_ids("<|im_end|>"):
                break
        return self.tokenizer.decode(ids[start:], skip_special_tokens=True).strip()


def trained(bench: Bench, rows: list[dict[str, Any]], held_out: list[dict[str, Any]], **recipe: Any) -> TrainResult:
    request = bench.request(rows, LEARNING.model_copy(update=recipe), validation_path=bench.put(held_out, version=2))
    return bench.run(request)


def close(value: float) -> Any:
    return pytest.approx(value, rel=2e-3, abs=2e-4)


def f1(truth: list[str], said: list[str], label: str) -> float:
    hits = sum(t == s == label for t, s in zip(truth, said, strict=True))
    if not hits:
        return 0.0
    precision, recall = hits / said.count(label), hits / truth.count(label)
    return statistics.harmonic_mean([precision, recall])


def common_words(first: list[str], second: list[str]) -> int:
    """Length of the longest common subsequence, straight from its recurrence."""
    if not first or not second:
        return 0
    if first[-1] == second[-1]:
        return 1 + common_words(first[:-1], second[:-1])
    return max(common_words(first[:-1], second), common_words(first, second[:-1]))


@pytest.fixture
def held_out() -> list[dict[str, Any]]:
    return colour_rows(72)[60:]


def check_losses(score: Score, route: Route, rows: list[dict[str, Any]]) -> None:
    measured = [route.losses(row) for row in rows]
    losses = [loss for row, _ in measured for loss in row]
    assert score.loss == close(statistics.fmean(losses))
    assert score.perplexity == close(math.exp(statistics.fmean(losses)))
    assert score.token_accuracy == close(sum(right for _, right in measured) / len(losses))
    assert score.prompt_tokens == close(statistics.fmean(len(route.prompt(row)) for row in rows))


def test_figures_of_labels(bench: Bench, tiny_base: Path, held_out: list[dict[str, Any]]) -> None:
    rows = colour_rows(60)[10:]
    result = trained(bench, rows, held_out, epochs=3)  # not perfect, so that every figure says something
    evaluation = result.evaluation
    assert evaluation is not None
    assert evaluation == read_evaluation(bench.adapter(result))
    route = Route(tiny_base, bench.adapter(result))
    truth = [row["messages"][-1]["content"] for row in held_out]
    check_losses(evaluation.tuned, route, held_out)
    with route.model.disable_adapter():
        check_losses(evaluation.base, route, held_out)
    said = [route.answer(row, room=12) for row in held_out]
    right = [float(answer == wanted) for answer, wanted in zip(said, truth, strict=True)]
    for interval in (evaluation.tuned.accuracy, evaluation.tuned.exact_match):
        assert interval is not None
        assert interval.value == close(statistics.fmean(right))
        assert interval.low <= interval.value <= interval.high
        if 0 < sum(right) < len(right):
            rng = np.random.default_rng(99)  # other draws, the same distribution
            means = [rng.choice(right, len(right)).mean() for _ in range(4000)]
            assert (interval.low, interval.high) == pytest.approx(np.percentile(means, [2.5, 97.5]), abs=0.09)
    assert evaluation.tuned.macro_f1 == close(statistics.fmean(f1(truth, said, label) for label in COLOURS.values()))
    assert evaluation.majority == close(max(truth.count(label) for label in set(truth)) / len(truth))
    # The prompt tokens that tuning saves: those of the examples that the base needs.
    assert evaluation.few_shot is not None
    assert evaluation.few_shot_examples == len(COLOURS)
    saved = evaluation.few_shot.prompt_tokens - evaluation.tuned.prompt_tokens
    assert saved == close(sum(route.example(rows, colour) for colour in COLOURS.values()))


def test_figures_of_free_text(bench: Bench, tiny_base: Path) -> None:
    rows = sentence_rows(72)
    result = trained(bench, rows[:60], rows[60:], epochs=5)
    evaluation = result.evaluation
    assert evaluation is not None
    assert evaluation.labels == ()
    route = Route(tiny_base, bench.adapter(result))
    wanted = [row["messages"][-1]["content"] for row in rows[60:]]
    tokens = max(len(route.tokenizer(text, add_special_tokens=False)["input_ids"]) for text in wanted)
    said = [route.answer(row, room=max(4, int(1.25 * tokens) + 2)) for row in rows[60:]]
    tuned = evaluation.tuned
    assert tuned.chrf is not None
    assert tuned.chrf.value == close(sacrebleu.corpus_chrf(said, [wanted]).score)
    assert tuned.chrf.low <= tuned.chrf.value <= tuned.chrf.high
    assert tuned.bleu == close(sacrebleu.corpus_bleu(said, [wanted]).score)
    overlaps = [
        2 * common_words(a.lower().split(), b.lower().split()) / (len(a.split()) + len(b.split()))
        for a, b in zip(said, wanted, strict=True)
    ]
    assert tuned.rouge_l == close(statistics.fmean(overlaps))
    check_losses(tuned, route, rows[60:])


def verdict_of(bench: Bench, rows: list[dict[str, Any]], held_out: list[dict[str, Any]], **recipe: Any) -> Evaluation:
    evaluation = trained(bench, rows, held_out, **recipe).evaluation
    assert evaluation is not None
    return evaluation


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_an_adapter_that_learnt_noise_makes_no_clear_difference(
    bench: Bench, held_out: list[dict[str, Any]], seed: int
) -> None:
    rows = colour_rows(60)
    answers = [row["messages"][1]["content"] for row in rows]
    random.Random(seed).shuffle(answers)
    noise = [chat_row(row["messages"][0]["content"], answer) for row, answer in zip(rows, answers, strict=True)]
    assert verdict_of(bench, noise, held_out, seed=seed, epochs=4).verdict is Verdict.NO_DIFFERENCE


def test_a_good_adapter_is_better(bench: Bench) -> None:
    assert verdict_of(bench, colour_rows(60), colour_rows(100)[60:]).verdict is Verdict.BETTER


def test_an_adapter_that_was_harmed_is_worse_and_not_recommended(bench: Bench) -> None:
    words = ["gato", "mesa", "río", "pan", "luz", "mar", "sol", "flor", "casa", "tren", "nube", "sal"]
    held_out = [{"text": " ".join(random.Random(i).sample(words, 9))} for i in range(16)]
    harmed = verdict_of(bench, [{"text": "color " * 12}] * 160, held_out, learning_rate=0.1, epochs=1)
    assert harmed.tuned.loss > harmed.base.loss
    assert harmed.verdict is Verdict.WORSE
    assert "No lo uses" in harmed.summary


def test_the_recipe_of_a_model_trains_the_same_model_again(bench: Bench, held_out: list[dict[str, Any]]) -> None:
    first = trained(bench, colour_rows(60), held_out, seed=5, epochs=2)
    said = yaml.safe_load((bench.adapter(first) / "recipe.yaml").read_text(encoding="utf-8"))
    second = trained(bench, colour_rows(60), held_out, **Recipe.model_validate(said["recipe"]).model_dump())
    assert second.adapter_sha256 == first.adapter_sha256
    assert second.evaluation == first.evaluation
