"""What a trained adapter leaves behind: its weights, and files that people and engines read.

Rule of this file: one folder, complete before anybody sees it; the store of artifacts makes it visible at once. No
absolute path and no name of a machine gets into it.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Sequence
from pathlib import Path

import yaml
from peft import PeftModel
from transformers import PreTrainedTokenizerBase

from jobs.attempt import EVENTS_FILE, read_event_file
from jobs.catalog import Base
from jobs.contract import Evaluation, Event, EventType, Interval, Metrics, Objective, Score, TrainRequest, Verdict

# The columns of OpenAI's result files, so that existing notebooks read them.
RESULT_COLUMNS = ("step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy")


def write_adapter(
    folder: Path,
    *,
    model: PeftModel,
    tokenizer: PreTrainedTokenizerBase,
    request: TrainRequest,
    base: Base,
    revision: str | None,
    evaluation: Evaluation | None,
    events: Sequence[Event],
) -> tuple[str, ...]:
    """Fill `folder` and return the names of the files that people may want to download."""
    config = model.peft_config[model.active_adapter]
    config.base_model_name_or_path = base.repo or base.id
    config.revision = revision
    model.save_pretrained(
        str(folder), safe_serialization=True, save_embedding_layers=False, selected_adapters=[model.active_adapter]
    )
    tokenizer.save_pretrained(folder)
    measured = [Metrics.model_validate(event.data) for event in events if event.type is EventType.METRICS]
    write_results(folder / "results.csv", measured)
    (folder / "recipe.yaml").write_text(recipe_yaml(request), encoding="utf-8")
    (folder / "README.md").write_text(model_card(request, base, revision, evaluation), encoding="utf-8")
    files = ["results.csv", "recipe.yaml", "README.md"]
    if evaluation is not None:
        (folder / "evaluation.json").write_text(evaluation.model_dump_json(indent=2), encoding="utf-8")
        files.append("evaluation.json")
    if events:
        lines = (event.model_dump_json() + "\n" for event in events if event.type is not EventType.HEARTBEAT)
        (folder / EVENTS_FILE).write_text("".join(lines), encoding="utf-8")
        files.append(EVENTS_FILE)
    return tuple(files)


def history_of(job: Path) -> list[Event]:
    """What all attempts of a job wrote down in its folder on this machine, in order."""
    attempts = sorted(
        (folder for folder in job.iterdir() if folder.name.isdigit()), key=lambda folder: int(folder.name)
    )
    return [event for folder in attempts for event in read_event_file(folder)]


def write_results(path: Path, history: Sequence[Metrics]) -> None:
    """One line a step, empty where a number was not measured; a step that was repeated has its newest numbers."""
    lines: dict[int, dict[str, float | int | None]] = {}
    for metrics in history:
        line = lines.setdefault(metrics.step, dict.fromkeys(RESULT_COLUMNS, None) | {"step": metrics.step})
        found = {
            "train_loss": metrics.loss,
            "train_accuracy": metrics.accuracy,
            "valid_loss": metrics.eval_loss,
            "valid_mean_token_accuracy": metrics.eval_accuracy,
        }
        line.update({key: value for key, value in found.items() if value is not None})
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, RESULT_COLUMNS)
        writer.writeheader()
        writer.writerows(lines[step] for step in sorted(lines))


def recipe_yaml(request: TrainRequest) -> str:
    """The settings that train the same model again."""
    settings = {
        "base": request.base_id,
        "dataset_sha256": request.dataset_sha256,
        "validation_fraction": request.validation_fraction,
        "parent_adapter": request.parent_adapter,
        "recipe": request.recipe.model_dump(mode="json"),
    }
    return str(yaml.safe_dump(settings, allow_unicode=True, sort_keys=False))


def model_card(request: TrainRequest, base: Base, revision: str | None, evaluation: Evaluation | None) -> str:
    """README.md of the adapter: front matter as model hubs read it, then Spanish prose."""
    front = {
        "language": ["es"],
        "license": "other" if " " in base.licence else base.licence.lower(),
        "base_model": base.repo or base.id,
        "library_name": "peft",
        "tags": ["lora", request.recipe.objective.value, "afina"],
    }
    recipe = request.recipe
    kind = {Objective.SFT: "ajuste supervisado", Objective.DPO: "DPO", Objective.KTO: "KTO"}[recipe.objective]
    parts = [
        "---\n" + yaml.safe_dump(front, allow_unicode=True, sort_keys=False) + "---\n",
        f"# {request.adapter_name}\n",
        f"Adaptador LoRA sobre **{base.name}**, hecho con Afina ({kind}). No funciona sin su base.\n",
        "## Cómo se hizo\n",
        f"- Base: `{base.repo or base.id}`" + (f", revisión `{revision}`" if revision else ""),
        f"- Licencia de la base: {base.licence}",
        f"- Datos: SHA-256 `{request.dataset_sha256}`",
        f"- {recipe.method.value}, rango {recipe.rank}, alpha {recipe.alpha}, tasa {recipe.learning_rate:g}, "
        f"{recipe.epochs} vueltas, lote efectivo {recipe.effective_batch}, semilla {recipe.seed}",
    ]
    if request.parent_adapter:
        parts.append(f"- Continúa el entrenamiento de `{request.parent_adapter}`")
    parts += ["", "## Evaluación\n", *_evaluation_lines(evaluation), "", "## Archivos\n"]
    parts.append("`results.csv` (pérdidas por paso), `recipe.yaml` (ajustes), `events.jsonl` (historia del trabajo).\n")
    return "\n".join(parts)


def _evaluation_lines(evaluation: Evaluation | None) -> list[str]:
    if evaluation is None:
        return ["Sin evaluar: no había ejemplos apartados."]
    sides = [
        ("base", evaluation.base),
        ("base con ejemplos en el prompt", evaluation.few_shot),
        ("ajustado", evaluation.tuned),
    ]
    measured = [(name, score) for name, score in sides if score is not None]
    lines = [evaluation.summary, "", "| | " + " | ".join(name for name, _ in measured) + " |"]
    lines.append("|---" * (len(measured) + 1) + "|")
    for label, read in _ROWS:
        values = [read(score) for _, score in measured]
        if any(value is not None for value in values):
            shown = ["—" if value is None else f"{value:.3g}".replace(".", ",") for value in values]
            lines.append(f"| {label} | " + " | ".join(shown) + " |")
    if evaluation.verdict is Verdict.WORSE:
        lines += ["", "**No se recomienda usar este modelo.**"]
    return lines


def _value(name: str) -> Callable[[Score], float | None]:
    """A reader of one figure of a score."""

    def read(score: Score) -> float | None:
        found: Interval | float | None = getattr(score, name)
        return found.value if isinstance(found, Interval) else found

    return read


_ROWS = tuple(
    (label, _value(name))
    for label, name in (
        ("pérdida", "loss"),
        ("perplejidad", "perplexity"),
        ("acierto por token", "token_accuracy"),
        ("coincidencia exacta", "exact_match"),
        ("acierto", "accuracy"),
        ("macro-F1", "macro_f1"),
        ("chrF", "chrf"),
        ("BLEU", "bleu"),
        ("ROUGE-L", "rouge_l"),
        ("tokens por petición", "prompt_tokens"),
    )
)


def read_evaluation(folder: Path) -> Evaluation | None:
    """The evaluation of a published adapter, where it has one."""
    path = folder / "evaluation.json"
    return Evaluation.model_validate(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else None
