"""The card that asks for confirmation: what a job would do, how long, how much, and what it spends.

Rule of this file: plan → text; estimates are said to be estimates.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.render.limits import spending_text
from bot.render.numbers import count, duration, number, ordinal, plain, small
from bot.training import Plan
from jobs.contract import Method, Objective, Preset, Recipe

PRESETS = {
    Preset.FAST: "rápido",
    Preset.BALANCED: "equilibrado",
    Preset.CAREFUL: "cuidadoso",
}
METHODS = {Method.LORA: "LoRA", Method.QLORA: "QLoRA (4 bits)"}
OBJECTIVES = {Objective.SFT: "", Objective.DPO: " con DPO (preferencias)", Objective.KTO: " con KTO (votos)"}


def plan_texts(plan: Plan) -> list[str]:
    """Blocks of a card, the most important first."""
    draft, recipe, cost = plan.draft, plan.draft.recipe, plan.estimate
    data = (
        f"{plain(plan.dataset.name, 80)} v{plan.dataset.version} · {count(plan.dataset.usable, 'ejemplo', 'ejemplos')}"
    )
    base = f"Continúa un modelo tuyo sobre {plan.base.name}" if draft.parent_adapter else plan.base.name
    blocks = [
        f"## {plain(draft.name, 60)}\nAsí quedaría este entrenamiento. No empieza hasta que confirmes.",
        f"**Datos**  {data}\n"
        f"**Base**  {base} · licencia {plain(plan.base.licence, 60)}\n"
        f"**Método**  {method(recipe)}{OBJECTIVES[recipe.objective]} · {_preset(draft.preset)}\n"
        f"-# rango {recipe.rank} · tasa {small(recipe.learning_rate)} · {count(recipe.epochs, 'vuelta', 'vueltas')} · "
        f"lote {recipe.effective_batch} · hasta {number(recipe.max_length)} tokens por ejemplo · semilla {recipe.seed}",
        f"**Duración**  unos {duration(cost.seconds)}: {count(cost.steps, 'paso', 'pasos')}, "
        f"{number(cost.tokens)} tokens\n"
        f"**Memoria**  {memory(cost.memory_bytes, plan.memory)}\n"
        f"**Cola**  {queue_text(plan.position, plan.wait)}\n"
        f"**Gastas**  {spending_text(plan.limits, plan.usage, cost.seconds)}",
    ]
    if plan.notes:
        blocks.append("\n".join(f"⚠️ {note}" for note in plan.notes))
    return blocks


def _preset(preset: Preset | None) -> str:
    return "ajustes propios" if preset is None else f"preset {PRESETS[preset]}"


def reasons_text(reasons: Sequence[str]) -> str:
    return "### Por qué estos valores\n" + "\n".join(f"- {reason}" for reason in reasons)


def method(recipe: Recipe) -> str:
    """«QLoRA (4 bits), DoRA»."""
    kinds = [name for name, on in (("rsLoRA", recipe.rslora), ("DoRA", recipe.dora)) if on]
    return ", ".join([METHODS[recipe.method], *kinds])


def memory(needed: int, there: int | None) -> str:
    """«5,1 de 24 GB, cabe de sobra»; gigabytes as sellers of graphics cards count them."""
    wanted = number(needed / 1e9, 1)
    if there is None:
        return f"unos {wanted} GB"
    fits = "cabe de sobra" if needed < 0.7 * there else "cabe justo" if needed <= 0.92 * there else "no cabe"
    return f"unos {wanted} de {number(there / 1e9, 0 if there > 2e10 else 1)} GB, {fits}"


def queue_text(position: int, wait: float | None) -> str:
    """«2.º, empieza en unos 6 min»: never surer than what is known."""
    if wait is not None and wait < 1:
        return "empieza enseguida"
    if position == 1 and wait is None:
        return "será el siguiente"
    start = "" if wait is None else f", empieza en unos {duration(wait)}"
    return f"{ordinal(position)}{start}"
