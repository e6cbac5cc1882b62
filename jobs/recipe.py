"""Hyperparameters: which ones suit some data and a base, why, whether they fit, and how long they take.

Rule of this file: pure arithmetic over `Recipe`, `DataStats` and `Base`. Sources of the defaults: «LoRA Without
Regret» (all linear layers, rate about ten times that of full fine-tuning, small batches), the exponents of Tinker's
rate rule, OpenAI's epoch rule with a lower ceiling. It trains nothing and measures nothing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jobs.catalog import Base
from jobs.contract import Method, Objective, Preset, Recipe
from jobs.errors import DoesNotFit, RecipeError

GB = 1_000_000_000
MAX_RANK_SERVED = 64  # what the engines load (vLLM's --max-lora-rank, ours)
LONGEST_ROW = 4096  # tokens of one example, unless somebody asks for more
MOST_SEEN = 25_000  # examples, all epochs together
USUAL_RATE = 2e-4  # for LoRA at hidden size 2000
RSLORA_ALPHA = 16  # divided by the root of the rank: 4 at rank 16, 2 at rank 64, where LoRA has 2
PREFERENCE_RATE = 1e-5  # DPO and KTO move a model that already answers
# How the best rate falls with the hidden size, by family (Tinker's rule); others in between.
RATE_EXPONENTS = {"qwen": 0.0775, "llama": 0.781}
CPU_TOKENS_TIMES_PARAMETERS = 2.0e10  # tokens/s × parameters that two cores manage; only for first guesses
GPU_TOKENS_TIMES_PARAMETERS = 4.0e13  # the same for one current GPU


@dataclass(frozen=True, kw_only=True, slots=True)
class DataStats:
    """What the defaults depend on, counted in tokens of the base (or an estimate of them)."""

    examples: int
    tokens: int  # all of them, once
    p95_tokens: int  # of one example
    learnt_tokens: int  # those that enter the loss
    longest: int | None = None  # tokens of the longest example, where known

    @classmethod
    def from_report(cls, stats: Mapping[str, Any]) -> DataStats:
        """From `Report.stats`; what is missing is guessed from the rest."""
        tokens = stats.get("tokens") or {}
        total = _number(tokens, "total") if isinstance(tokens, Mapping) else int(tokens)
        examples = int(stats.get("examples") or stats.get("usable") or 0)
        mean = total / examples if examples else 0
        p95 = _number(tokens, "p95") if isinstance(tokens, Mapping) else int(stats.get("p95_tokens") or 2 * mean)
        longest = _number(tokens, "max") if isinstance(tokens, Mapping) else 0
        learnt = stats.get("learnt_tokens")
        learnt = _number(learnt, "total") if isinstance(learnt, Mapping) else int(learnt or total // 2)
        return cls(examples=examples, tokens=total, p95_tokens=p95, learnt_tokens=learnt, longest=longest or None)


def _number(values: Mapping[str, Any], key: str) -> int:
    return math.ceil(values.get(key) or 0)


@dataclass(frozen=True, kw_only=True, slots=True)
class Estimate:
    tokens: int  # that pass through the model in all epochs
    steps: int  # of the optimizer
    seconds: float
    memory_bytes: int
    fits: bool  # True also where the device's memory is unknown


# -- what to use -------------------------------------------------------------------------------------------------------


def recommend(
    stats: DataStats,
    base: Base,
    *,
    preset: Preset = Preset.BALANCED,
    method: Method = Method.LORA,
    objective: Objective = Objective.SFT,
    rslora: bool = False,
    dora: bool = False,
    device_memory: int | None = None,
) -> Recipe:
    """A complete recipe that fits `device_memory` (bytes). Raises DoesNotFit where nothing does."""
    rank = 32 if stats.examples > 1000 or preset is Preset.CAREFUL else 16
    preference = objective is not Objective.SFT
    values: dict[str, Any] = {
        "method": method,
        "objective": objective,
        "rank": rank,
        "alpha": 2 * rank,
        "learning_rate": PREFERENCE_RATE if preference else usual_rate(base),
        "epochs": usual_epochs(stats.examples),
        "batch_size": 16 if stats.examples > 1000 else 8 if stats.examples >= 64 else 4,
        "max_length": usual_length(stats, base),
        "packing": not preference,
        "gradient_checkpointing": device_memory is None and base.parameters > 5e8,  # else where `fit` needs it
        "warmup_ratio": 0.05,
    }
    own = dict(base.recipe)
    if "epochs" in own:  # what suits little data; much is seen often enough by the rule
        own["epochs"] = min(own["epochs"], max(1, MOST_SEEN // max(1, stats.examples)))
    if preference:  # the base's own rate is meant for SFT; preferences keep their distance to it
        own["learning_rate"] = own.get("learning_rate", USUAL_RATE) * PREFERENCE_RATE / USUAL_RATE
    values |= own
    values |= _preset_values(preset, values)
    values |= {"rslora": rslora, "dora": dora} | ({"alpha": RSLORA_ALPHA} if rslora else {})
    return fit(Recipe(**values), stats, base, device_memory)


def _preset_values(preset: Preset, values: Mapping[str, Any]) -> dict[str, Any]:
    if preset is Preset.FAST:
        return {"epochs": max(1, values["epochs"] // 2)}
    if preset is Preset.CAREFUL:
        return {
            "rank": 32,
            "alpha": values["alpha"] * 32 // values["rank"],
            "learning_rate": values["learning_rate"] / 2,
            "epochs": min(12, values["epochs"] + max(1, values["epochs"] // 2)),
            "warmup_ratio": 0.1,
            "early_stopping": 2,
        }
    return {}


def usual_rate(base: Base) -> float:
    exponent = next((e for family, e in RATE_EXPONENTS.items() if base.id.startswith(family)), 0.4)
    rate = USUAL_RATE * (2000 / base.hidden_size) ** exponent
    return float(f"{min(3e-4, max(1e-4, rate)):.2g}")


def usual_epochs(examples: int) -> int:
    """OpenAI's rule (aim at 100 to 25 000 examples seen) with a ceiling of 10 in place of 25."""
    if examples * 3 < 100:
        return min(10, max(3, 100 // max(1, examples)))
    if examples * 3 > MOST_SEEN:
        return max(1, MOST_SEEN // examples)
    return 3


def usual_length(stats: DataStats, base: Base) -> int:
    """Room for nearly every example, and half as much again, because counts before training are estimates.

    Unused room costs nothing: rows are packed or padded to the longest example of a step.
    """
    nearly_all = stats.longest if stats.longest and stats.longest <= 2 * stats.p95_tokens else 1.25 * stats.p95_tokens
    return max(128, min(base.context, LONGEST_ROW, 64 * math.ceil(1.5 * nearly_all / 64)))


# -- whether it fits ---------------------------------------------------------------------------------------------------


def fit(recipe: Recipe, stats: DataStats, base: Base, device_memory: int | None) -> Recipe:
    """The recipe, changed as little as needed to fit: checkpointing, smaller micro-batches, then 4-bit weights."""
    if device_memory is None:
        return recipe
    usable = int(device_memory * 0.92)  # the rest is the allocator's and the driver's
    for four_bit in (False, True):
        candidate = recipe.model_copy(update={"method": Method.QLORA}) if four_bit else recipe
        if memory_needed(candidate, stats, base) <= usable:
            return candidate
        candidate = candidate.model_copy(update={"gradient_checkpointing": True})
        while memory_needed(candidate, stats, base) > usable and candidate.batch_size > 1:
            candidate = smaller_micro_batch(candidate)
        if memory_needed(candidate, stats, base) <= usable:
            return candidate
    needed = memory_needed(candidate, stats, base)
    raise DoesNotFit(
        f"«{base.name}» necesitaría unos {_gigabytes(needed)} y el dispositivo que entrena tiene "
        f"{_gigabytes(device_memory)}."
    )


def smaller_micro_batch(recipe: Recipe) -> Recipe:
    """Half the examples at a time and twice the accumulation: the same effective batch. Raises DoesNotFit at one."""
    if recipe.batch_size == 1:
        raise DoesNotFit
    for size in range(recipe.batch_size // 2, 0, -1):
        if recipe.effective_batch % size == 0:
            return recipe.model_copy(
                update={"batch_size": size, "gradient_accumulation": recipe.effective_batch // size}
            )
    raise AssertionError("1 divides every batch")


def less_memory(recipe: Recipe) -> Recipe:
    """What to try after running out of memory. Raises DoesNotFit where nothing is left to give up."""
    if recipe.batch_size > 1:
        return smaller_micro_batch(recipe)
    if recipe.gradient_checkpointing:
        raise DoesNotFit
    return recipe.model_copy(update={"gradient_checkpointing": True})


def memory_needed(recipe: Recipe, stats: DataStats, base: Base) -> int:
    """Bytes of the device while training, an estimate: weights, adapter and its optimizer, activations, logits."""
    tied = base.vocabulary * base.hidden_size  # the embedding stays in 16 bits under QLoRA
    blocks = max(0, base.parameters - tied)
    weights = 2 * base.parameters if recipe.method is Method.LORA else 2 * tied + int(0.56 * blocks)
    hidden, inner = base.hidden_size, base.intermediate_size
    adapter = recipe.rank * base.layers * (7 * hidden + 3 * (hidden + inner))
    row = min(recipe.max_length, max(1, stats.longest or 2 * stats.p95_tokens or recipe.max_length))
    tokens = row * recipe.batch_size
    one_layer = tokens * (18 * hidden + 8 * inner) * 2
    activations = (
        tokens * hidden * base.layers * 2 + one_layer if recipe.gradient_checkpointing else one_layer * base.layers
    )
    logits = min(tokens, 2048) * base.vocabulary * 6
    overhead = 1 * GB if base.parameters > 5e7 else GB // 4
    return int(weights + 16 * adapter + activations + logits + overhead)


def estimate(
    recipe: Recipe,
    stats: DataStats,
    base: Base,
    *,
    tokens_per_second: float | None,
    device_memory: int | None = None,
    gpu: bool = False,
) -> Estimate:
    """How much work a job is. Without a measured speed the seconds are a first guess from the base's size."""
    tokens = stats.tokens * recipe.epochs
    steps = recipe.epochs * max(1, math.ceil(stats.examples / recipe.effective_batch))
    guess = (GPU_TOKENS_TIMES_PARAMETERS if gpu else CPU_TOKENS_TIMES_PARAMETERS) / base.parameters
    seconds = tokens / (tokens_per_second or guess) + 0.03 * steps + 5
    memory = memory_needed(recipe, stats, base)
    return Estimate(
        tokens=tokens,
        steps=steps,
        seconds=seconds,
        memory_bytes=memory,
        fits=device_memory is None or memory <= 0.92 * device_memory,
    )


def check_recipe(recipe: Recipe, base: Base) -> None:
    """What no single field can tell. Raises RecipeError with the value that does not work and the one that would."""
    if recipe.rank > MAX_RANK_SERVED:
        raise RecipeError(f"El rango {recipe.rank} no se puede servir después: el máximo es {MAX_RANK_SERVED}.")
    if recipe.max_length > base.context:
        raise RecipeError(
            f"«{base.name}» lee como mucho {base.context} tokens y la receta pide {recipe.max_length}.",
            hint=f"Pon una longitud máxima de {base.context} o menos.",
        )
    if recipe.packing and recipe.objective is not Objective.SFT:
        raise RecipeError("DPO y KTO no empaquetan ejemplos.", hint="Desactiva el empaquetado.")
    if recipe.effective_batch > 256:
        raise RecipeError(f"Un lote efectivo de {recipe.effective_batch} es demasiado.", hint="LoRA prefiere 8 o 16.")


# -- in words ----------------------------------------------------------------------------------------------------------


def explain(recipe: Recipe, stats: DataStats) -> list[tuple[str, str]]:
    """Each field that matters and one Spanish sentence about its value."""
    steps = recipe.epochs * max(1, math.ceil(stats.examples / recipe.effective_batch))
    rows = [
        (
            "method",
            "QLoRA: la base se guarda a 4 bits para gastar la mitad de memoria o menos."
            if recipe.method is Method.QLORA
            else "LoRA: la base queda quieta y se entrena un añadido pequeño.",
        ),
        ("rank", f"Rango {recipe.rank}: la capacidad del añadido; sobra para {_thousands(stats.examples)} ejemplos."),
        (
            "alpha",
            f"Alpha {recipe.alpha}: cuánto pesa el añadido; "
            + ("con rsLoRA, más bajo que de costumbre." if recipe.rslora else "lo habitual es el doble del rango."),
        ),
        ("target_modules", "Se adaptan todas las capas lineales, que aprende mejor que adaptar solo la atención."),
        (
            "learning_rate",
            f"Tasa de aprendizaje {_scientific(recipe.learning_rate)}: el tamaño de cada paso; baja poco a poco hasta "
            "cero." if recipe.scheduler != "constant" else
            f"Tasa de aprendizaje {_scientific(recipe.learning_rate)}, constante.",
        ),
        (
            "warmup_ratio",
            f"El primer {_percent(recipe.warmup_ratio)} de los pasos va subiendo, para no arrancar a tirones.",
        ),
        ("epochs", f"{recipe.epochs} vueltas a los datos, unos {_thousands(steps)} pasos en total."),
        ("batch_size", f"Cada paso mira {recipe.effective_batch} ejemplos ({recipe.batch_size} a la vez)."),
        ("max_length", f"Ejemplos de hasta {_thousands(recipe.max_length)} tokens; lo que pase de ahí se corta."),
        (
            "packing",
            "Varios ejemplos comparten fila sin mezclarse: así no se calcula relleno."
            if recipe.packing
            else "Cada ejemplo va en su fila.",
        ),
    ]  # fmt: skip
    if recipe.objective is not Objective.SFT:
        rows.append(("beta", f"Beta {recipe.beta:g}: cuánto se le permite alejarse de la base.".replace(".", ",", 1)))
    if recipe.dora:
        rows.append(("dora", "DoRA: ajusta aparte tamaño y dirección; va más despacio y vLLM solo lo sirve fusionado."))
    if recipe.rslora:
        rows.append(("rslora", "rsLoRA: escala con la raíz del rango, útil con rangos altos."))
    if recipe.gradient_checkpointing:
        rows.append(("gradient_checkpointing", "Se recalculan pasos intermedios para gastar menos memoria."))
    if recipe.early_stopping:
        rows.append(("early_stopping", f"Para si {recipe.early_stopping} evaluaciones seguidas no mejoran."))
    return rows


def _thousands(value: int) -> str:
    return f"{value:,}".replace(",", "\u202f") if value >= 10_000 else str(value)


def _gigabytes(value: int) -> str:
    return f"{value / GB:.1f} GB".replace(".", ",")


def _percent(share: float) -> str:
    return f"{100 * share:.3g}\u00a0%".replace(".", ",")


def _scientific(value: float) -> str:
    return f"{value:.2g}".replace("e-0", "e-").replace(".", ",")
