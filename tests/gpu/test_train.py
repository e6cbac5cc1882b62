"""A job ends as a person would expect: an adapter that is published whole, or a clear word about why not."""

from __future__ import annotations

import csv
import json
import math
import shutil
from pathlib import Path

import pytest
import torch
import yaml
from rq.timeouts import JobTimeoutException
from safetensors.torch import load_file

from jobs.contract import EventType, Method, Objective, Phase, Recipe, TrainResult, Verdict
from jobs.errors import (
    BaseNotAvailable,
    Cancelled,
    DatasetError,
    Diverged,
    DoesNotFit,
    NothingToLearn,
    Paused,
    RecipeError,
)
from jobs.gpu import checkpoints
from jobs.gpu.progress import Interrupted
from jobs.gpu.trainer import LeanSFTTrainer
from tests.gpu.conftest import QUICK, Bench, Stops, chat_row, colour_rows


def preference_rows(count: int = 24) -> list[dict[str, object]]:
    return [
        {
            "prompt": [{"role": "user", "content": f"¿Número {number}?"}],
            "chosen": [{"role": "assistant", "content": "claro que sí"}],
            "rejected": [{"role": "assistant", "content": "no quiero"}],
        }
        for number in range(count)
    ]


def judged_rows(count: int = 24) -> list[dict[str, object]]:
    return [
        {
            "prompt": [{"role": "user", "content": f"¿Número {number}?"}],
            "completion": [{"role": "assistant", "content": "claro que sí" if number % 2 else "no quiero"}],
            "label": bool(number % 2),
        }
        for number in range(count)
    ]


LEARNING = QUICK.model_copy(update={"epochs": 12, "rank": 8, "alpha": 16})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, tiny_base: Path) -> tuple[Bench, TrainResult]:
    """One successful job that several tests look at."""
    data = tmp_path_factory.mktemp("job") / "data"
    (data / "bases").mkdir(parents=True)
    (data / "bases" / "afina-mini").symlink_to(tiny_base)
    bench = Bench(data)
    return bench, bench.run(bench.request(colour_rows(80), LEARNING))


class TestASuccessfulJob:
    def test_goes_through_its_phases_in_order(self, done: tuple[Bench, TrainResult]) -> None:
        bench, _ = done
        assert [event.data["phase"] for event in bench.events(EventType.PHASE)] == [phase.value for phase in Phase]

    def test_ends_with_the_result_as_its_last_word(self, done: tuple[Bench, TrainResult]) -> None:
        bench, result = done
        assert bench.events()[-1].type is EventType.RESULT
        assert TrainResult.model_validate(bench.events()[-1].data) == result

    def test_learns(self, done: tuple[Bench, TrainResult]) -> None:
        bench, result = done
        losses = [event.data["loss"] for event in bench.events(EventType.METRICS) if "loss" in event.data]
        assert losses[-1] < losses[0] / 2
        assert result.evaluation is not None
        assert result.evaluation.tuned.loss < result.evaluation.base.loss / 2
        assert result.evaluation.tuned.accuracy.value > result.evaluation.majority
        assert result.evaluation.verdict is Verdict.BETTER

    def test_counts_its_tokens(self, done: tuple[Bench, TrainResult]) -> None:
        bench, result = done
        last = bench.events(EventType.METRICS)[-1].data
        assert result.trained_tokens > 60 * LEARNING.epochs * 10
        assert last["step"] == last["total_steps"]
        assert last["eta_seconds"] == 0

    def test_leaves_safetensors_only_and_the_files_people_want(self, done: tuple[Bench, TrainResult]) -> None:
        bench, result = done
        names = {path.name for path in bench.adapter(result).iterdir()}
        assert {"adapter_model.safetensors", "adapter_config.json", "tokenizer.json", "chat_template.jinja"} <= names
        assert set(result.files) == {"results.csv", "recipe.yaml", "README.md", "evaluation.json", "events.jsonl"}
        assert set(result.files) <= names
        assert not [name for name in names if name.endswith((".bin", ".pt", ".pkl"))]

    def test_names_no_path_of_this_machine(self, done: tuple[Bench, TrainResult]) -> None:
        bench, result = done
        config = json.loads((bench.adapter(result) / "adapter_config.json").read_text())
        assert config["base_model_name_or_path"] == "afina-mini"
        for name in ("README.md", "recipe.yaml", "adapter_config.json", "tokenizer_config.json"):
            assert str(bench.data) not in (bench.adapter(result) / name).read_text()

    def test_writes_results_in_the_columns_of_openai(self, done: tuple[Bench, TrainResult]) -> None:
        bench, result = done
        rows = list(csv.DictReader((bench.adapter(result) / "results.csv").read_text().splitlines()))
        assert list(rows[0]) == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
        assert [int(row["step"]) for row in rows] == sorted({int(row["step"]) for row in rows})
        assert any(row["valid_loss"] for row in rows)

    def test_keeps_the_recipe_so_that_it_can_be_repeated(self, done: tuple[Bench, TrainResult]) -> None:
        bench, result = done
        written = yaml.safe_load((bench.adapter(result) / "recipe.yaml").read_text())
        assert Recipe.model_validate(written["recipe"]) == LEARNING

    def test_keeps_three_complete_checkpoints(self, done: tuple[Bench, TrainResult]) -> None:
        bench, _ = done
        kept = list((bench.work / "checkpoints").glob("checkpoint-*"))
        assert len(kept) == 3
        assert all(map(checkpoints.is_complete, kept))
        assert len(bench.events(EventType.CHECKPOINT)) == LEARNING.epochs


def test_the_same_recipe_and_data_give_the_same_adapter(bench: Bench) -> None:
    first, second = (bench.run(bench.request(colour_rows(), QUICK)) for _ in range(2))
    weights = [load_file(bench.adapter(result) / "adapter_model.safetensors") for result in (first, second)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


class TestStopping:
    LONG = QUICK.model_copy(update={"epochs": 6})

    @pytest.mark.parametrize(("kind", "error"), [("paused", Paused), ("interrupted", Interrupted)])
    def test_a_stop_keeps_a_checkpoint_and_the_next_attempt_goes_on(self, bench: Bench, kind, error) -> None:
        with pytest.raises(error):
            bench.run(bench.request(colour_rows(), self.LONG), Stops(kind, after=12))
        last = bench.events()[-1]
        assert (last.type, last.data["kind"]) == (EventType.STOPPED, kind)
        assert last.data["step"] > 0
        result = bench.run(bench.request(colour_rows(), self.LONG, resume=True))
        steps = [event.data["step"] for event in bench.events(EventType.METRICS)]
        assert min(steps) > last.data["step"]
        assert result.adapter_name == "modelo-2"

    def test_a_resumed_job_ends_where_an_unbroken_one_does(self, bench: Bench) -> None:
        whole = bench.run(bench.request(colour_rows(), self.LONG, job_id="entero1"))
        with pytest.raises(Paused):
            bench.run(bench.request(colour_rows(), self.LONG), Stops("paused", after=12))
        resumed = bench.run(bench.request(colour_rows(), self.LONG, resume=True))
        ours, theirs = (load_file(bench.adapter(r) / "adapter_model.safetensors") for r in (whole, resumed))
        for name in ours:
            torch.testing.assert_close(ours[name], theirs[name], rtol=1e-3, atol=1e-4)

    def test_a_cancelled_job_publishes_nothing(self, bench: Bench) -> None:
        with pytest.raises(Cancelled):
            bench.run(bench.request(colour_rows(), self.LONG), Stops("cancelled", after=12))
        assert bench.events()[-1].data["kind"] == "cancelled"
        assert all(event.data["step"] < bench.events()[-1].data["step"] for event in bench.events(EventType.CHECKPOINT))
        assert bench.store.list_adapters() == []

    @pytest.mark.parametrize("after", range(0, 5))
    def test_a_stop_is_heard_before_training_too(self, bench: Bench, after: int) -> None:
        with pytest.raises(Cancelled):
            bench.run(bench.request(colour_rows(), self.LONG), Stops("cancelled", after=after))
        assert bench.events()[-1].type is EventType.STOPPED

    def test_a_stop_is_heard_while_evaluating(self, bench: Bench) -> None:
        request = bench.request(colour_rows(), QUICK.model_copy(update={"epochs": 1}))
        stops = Stops()
        bench.run(request, stops)
        with pytest.raises(Cancelled):
            bench.run(bench.request(colour_rows(), request.recipe), Stops("cancelled", after=stops.asked - 2))
        assert bench.events(EventType.PHASE)[-1].data["phase"] == "evaluating"

    def test_resuming_ignores_a_checkpoint_that_was_not_finished(self, bench: Bench) -> None:
        with pytest.raises(Paused):
            bench.run(bench.request(colour_rows(), self.LONG), Stops("paused", after=14))
        newest = checkpoints.newest(bench.work.parent)
        (newest / checkpoints.MARKER).unlink()
        older = checkpoints.newest(bench.work.parent)
        assert older != newest
        assert bench.run(bench.request(colour_rows(), self.LONG, resume=True)).adapter_bytes > 0

    def test_resuming_without_a_checkpoint_starts_from_the_beginning(self, bench: Bench) -> None:
        assert bench.run(bench.request(colour_rows(), QUICK, resume=True)).adapter_bytes > 0


class TestFailing:
    def failed(self, bench: Bench) -> dict[str, str]:
        last = bench.events()[-1]
        assert last.type is EventType.FAILED
        assert last.level == "error"
        assert last.message
        return last.data

    def test_divergence_is_told_and_what_to_change(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        def burst(trainer, model, inputs, return_outputs=False, num_items_in_batch=None):
            return sum(p.sum() for p in model.parameters() if p.requires_grad) * math.nan

        monkeypatch.setattr(LeanSFTTrainer, "compute_loss", burst)
        with pytest.raises(Diverged):
            bench.run(bench.request(colour_rows()))
        assert "tasa de aprendizaje" in self.failed(bench)["hint"]

    def test_a_question_longer_than_the_row_leaves_nothing_to_learn(self, bench: Bench) -> None:
        rows = [chat_row(f"{number} " + "hola " * 200, "rojo") for number in range(12)]
        with pytest.raises(NothingToLearn):
            bench.run(bench.request(rows, QUICK.model_copy(update={"max_length": 16})))
        assert self.failed(bench)["code"] == "nothing_to_learn"

    @pytest.mark.parametrize("objective", [Objective.DPO, Objective.KTO])
    def test_chat_data_cannot_teach_preferences(self, bench: Bench, objective: Objective) -> None:
        recipe = QUICK.model_copy(update={"objective": objective, "packing": False})
        with pytest.raises(DatasetError):
            bench.run(bench.request(colour_rows(), recipe))
        assert self.failed(bench)["code"] == "dataset"

    def test_preferences_cannot_be_imitated(self, bench: Bench) -> None:
        with pytest.raises(DatasetError):
            bench.run(bench.request(preference_rows()))

    def test_what_the_template_refuses_is_left_out_and_counted(self, bench: Bench, tmp_path: Path) -> None:
        base = bench.data / "bases" / "afina-mini"
        strict = Path(shutil.copytree(base, tmp_path / "strict"))
        (strict / "chat_template.jinja").write_text(
            "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('No system.') }}{% endif %}"
            "<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
            "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
        )
        base.unlink()
        base.symlink_to(strict)
        rows = colour_rows()
        for row in rows[:12]:
            row["messages"].insert(0, {"role": "system", "content": "Sé breve."})
        result = bench.run(bench.request(rows, QUICK.model_copy(update={"epochs": 1})))
        assert 0 < result.evaluation.examples <= 10
        said = [event.message for event in bench.events(EventType.MESSAGE)]
        assert any("un orden de mensajes que la plantilla" in message for message in said)

    def test_an_unknown_base_is_named(self, bench: Bench) -> None:
        with pytest.raises(BaseNotAvailable):
            bench.run(bench.request(colour_rows(), base_id="nada"))
        assert "nada" in bench.events()[-1].message

    def test_a_base_of_the_catalogue_that_is_not_here_says_how_to_get_it(self, bench: Bench) -> None:
        with pytest.raises(BaseNotAvailable):
            bench.run(bench.request(colour_rows(), base_id="qwen3-0.6b"))
        assert "afina bases descargar qwen3-0.6b" in self.failed(bench)["hint"]

    def test_a_recipe_that_no_engine_can_serve_is_refused_before_work(self, bench: Bench) -> None:
        with pytest.raises(RecipeError):
            bench.run(bench.request(colour_rows(), QUICK.model_copy(update={"rank": 128})))

    def test_running_out_of_time_is_left_to_the_worker_to_tell(self, bench: Bench, monkeypatch) -> None:
        def late(*args: object) -> None:
            raise JobTimeoutException("late")

        monkeypatch.setattr("jobs.gpu.publish.write_results", late)
        with pytest.raises(JobTimeoutException):
            bench.run(bench.request(colour_rows()))
        assert not bench.events(EventType.FAILED)

    def test_a_bug_is_told_without_a_traceback(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("jobs.gpu.publish.write_results", lambda *a: 1 / 0)
        with pytest.raises(Exception, match="inesperado"):
            bench.run(bench.request(colour_rows()))
        assert "ZeroDivision" not in bench.events()[-1].model_dump_json()


class TestRunningOutOfMemory:
    def test_it_goes_on_with_smaller_steps_and_says_so(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        seen: list[tuple[int, int]] = []
        original = LeanSFTTrainer.training_step

        def limited(trainer, model, inputs, *more):
            rows = len(inputs["input_ids"])
            seen.append((rows, trainer.args.gradient_accumulation_steps))
            if rows > 2:
                raise torch.OutOfMemoryError
            return original(trainer, model, inputs, *more)

        monkeypatch.setattr(LeanSFTTrainer, "training_step", limited)
        result = bench.run(bench.request(colour_rows(), QUICK.model_copy(update={"packing": False})))
        assert result.adapter_bytes > 0
        assert {rows * accumulation for rows, accumulation in seen if rows in (8, 4, 2)} == {8}
        said = [event.message for event in bench.events(EventType.MESSAGE)]
        assert any("2 ejemplos a la vez" in message for message in said)

    def test_when_one_example_does_not_fit_the_job_says_it_does_not_fit(self, bench: Bench, monkeypatch) -> None:
        def never(*args, **kwargs):
            raise torch.OutOfMemoryError

        monkeypatch.setattr(LeanSFTTrainer, "training_step", never)
        with pytest.raises(DoesNotFit):
            bench.run(bench.request(colour_rows(), QUICK.model_copy(update={"batch_size": 2})))
        said = [event.message for event in bench.events(EventType.MESSAGE) if "No cabía" in event.message]
        assert [("recalculando" in message) for message in said] == [False, True]
        assert "QLoRA" in bench.events()[-1].data["hint"]


def test_the_way_of_a_gpu_trains_the_same_adapter(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """TRL's fused kernel, which models with scaled logits take on a processor too."""
    recipe = QUICK.model_copy(update={"epochs": 1})
    ours = bench.run(bench.request(colour_rows(), recipe))
    said = bench.events(EventType.METRICS)
    monkeypatch.setattr("jobs.gpu.trainer.is_plain", lambda model: False)
    fused = bench.run(bench.request(colour_rows(), recipe))
    weights = [load_file(bench.adapter(result) / "adapter_model.safetensors") for result in (ours, fused)]
    for name in weights[0]:
        torch.testing.assert_close(weights[0][name], weights[1][name], rtol=1e-3, atol=1e-4)
    for before, after in zip(said, bench.events(EventType.METRICS), strict=True):
        for figure in ("loss", "accuracy", "eval_loss", "eval_accuracy"):
            assert after.data.get(figure) == pytest.approx(before.data.get(figure), abs=1e-3)


class TestOtherWaysToTrain:
    @pytest.mark.parametrize(
        "changes",
        [
            {"method": Method.QLORA},
            {"rslora": True, "packing": False},
            {"dora": True, "gradient_checkpointing": True},
            {"early_stopping": 1, "epochs": 3, "batch_size": 4, "gradient_accumulation": 2},
        ],
        ids=["qlora", "rslora", "dora", "early stopping"],
    )
    def test_each_gives_an_adapter(self, bench: Bench, changes: dict[str, object]) -> None:
        result = bench.run(bench.request(colour_rows(), QUICK.model_copy(update=changes)))
        assert result.evaluation.tuned.loss < result.evaluation.base.loss
        config = json.loads((bench.adapter(result) / "adapter_config.json").read_text())
        assert config["use_dora"] is changes.get("dora", False)
        assert config["use_rslora"] is changes.get("rslora", False)

    def test_plain_text_is_learnt_whole_and_judged_by_its_loss(self, bench: Bench) -> None:
        rows = [{"text": f"El tomate número {number} es rojo y el cielo es azul."} for number in range(40)]
        result = bench.run(bench.request(rows, QUICK.model_copy(update={"epochs": 3})))
        assert result.evaluation.verdict is Verdict.BETTER
        assert result.evaluation.tuned.accuracy is None
        assert "perplejidad" in result.evaluation.summary

    @pytest.mark.parametrize(
        ("objective", "rows"), [(Objective.DPO, preference_rows()), (Objective.KTO, judged_rows())]
    )
    def test_preferences_are_learnt(self, bench: Bench, objective: Objective, rows: list[dict[str, object]]) -> None:
        recipe = QUICK.model_copy(update={"objective": objective, "packing": False, "epochs": 4})
        result = bench.run(bench.request(rows, recipe, validation_fraction=0.5))
        assert result.evaluation.tuned.accuracy.value > 0.9
        assert len(result.evaluation.samples) == 5
        assert "prefiere" in result.evaluation.summary

    @pytest.mark.parametrize("objective", [Objective.SFT, Objective.DPO])
    def test_a_model_can_be_continued(self, bench: Bench, objective: Objective) -> None:
        parent = bench.run(bench.request(colour_rows(), QUICK.model_copy(update={"epochs": 4})))
        rows = colour_rows() if objective is Objective.SFT else preference_rows()
        recipe = QUICK.model_copy(update={"objective": objective, "packing": False, "epochs": 1, "learning_rate": 1e-4})
        child = bench.run(bench.request(rows, recipe, parent_adapter=parent.adapter_name, job_id="trabajo2"))
        before, after = (load_file(bench.adapter(r) / "adapter_model.safetensors") for r in (parent, child))
        assert before.keys() == after.keys()
        moved = max((before[name] - after[name]).abs().max().item() for name in before)
        assert 0 < moved < 0.1  # it goes on from the parent's weights
        assert parent.adapter_name in (bench.adapter(child) / "README.md").read_text()

    def test_a_given_validation_file_is_used_as_it_is(self, bench: Bench) -> None:
        held_out = bench.put(colour_rows(12), version=2)
        result = bench.run(bench.request(colour_rows(), validation_path=held_out))
        assert result.evaluation.examples == 12

    def test_without_held_out_rows_it_says_that_nothing_was_measured(self, bench: Bench) -> None:
        result = bench.run(bench.request(colour_rows(), validation_fraction=0.0))
        assert result.evaluation is None
        assert "Sin evaluar" in (bench.adapter(result) / "README.md").read_text()
