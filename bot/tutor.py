"""What a tutor would say about a training: one sentence about its curves, and the page of the course on the matter.

Rule of this file: pure; points in, advice out. It judges curves, never answers: whether a model is any good is the
business of its evaluation.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

Points = tuple[tuple[int, float], ...]  # (step, nats)

FEWEST_POINTS = 6  # of a curve, before anything is said about its shape
FEW_STEPS = 20  # of the optimizer, below which a training hardly moves


@dataclass(frozen=True, kw_only=True, slots=True)
class Lesson:
    """Where the course explains something."""

    page: str  # file of the course
    title: str  # as people read it


LESSONS = {
    "overfitting": Lesson(page="25-sobreajuste.md", title="Sobreajuste"),
    "learning_rate": Lesson(page="24-hiperparametros.md", title="Hiperparámetros"),
    "epochs": Lesson(page="24-hiperparametros.md", title="Hiperparámetros"),
    "data": Lesson(page="05-formatos-de-datos.md", title="Formatos de datos"),
    "size": Lesson(page="09-filtrado-y-duplicados.md", title="Filtrado y duplicados"),
    "masks": Lesson(page="08-plantillas-de-chat.md", title="Plantillas de chat"),
    "memory": Lesson(page="26-memoria-de-gpu.md", title="Memoria de GPU"),
    "evaluation": Lesson(page="34-evaluacion.md", title="Evaluación"),
    "bases": Lesson(page="52-entrenar-con-afina.md", title="Entrenar con Afina"),
    "jobs": Lesson(page="53-controlar-entrenamientos.md", title="Controlar entrenamientos"),
}

# What went wrong (`code` of an AfinaError) → what to read about it.
FAILURES = {
    "diverged": "learning_rate",
    "recipe": "learning_rate",
    "does_not_fit": "memory",
    "worker_died": "memory",
    "nothing_to_learn": "masks",
    "dataset": "data",
    "too_large": "size",
    "base_not_available": "bases",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    text: str  # one or two Spanish sentences
    lesson: str | None = None  # key of LESSONS
    good: bool = False  # all is well


def lesson_after(code: str | None) -> str:
    """What to read after a failure."""
    return FAILURES.get(code or "", "jobs")


def advise(losses: Points, eval_losses: Points, total_steps: int) -> Advice | None:
    """About the curves so far; None while there is too little to see."""
    return (
        _diverging(losses)
        or _memorising(eval_losses)
        or _too_short(total_steps)
        or (_learning(losses, total_steps) if len(losses) >= FEWEST_POINTS else None)
    )


def _diverging(losses: Points) -> Advice | None:
    """The end is clearly above the beginning, and not by one bad step. Also after a leap in the very first steps."""
    if len(losses) < FEWEST_POINTS:
        return None
    first, last = _ends(losses)
    start = fmean(loss for _, loss in losses[:2])
    if last > max(1.3 * first, first + 0.2):
        before = first
    elif last > max(1.5 * start, start + 0.5):
        before = start
    else:
        return None
    return Advice(
        text=f"Se está desbocando: la pérdida sube de {_number(before)} a {_number(last)}."
        " Repítelo con una tasa de aprendizaje más baja.",
        lesson="learning_rate",
    )


def _memorising(eval_losses: Points) -> Advice | None:
    """The validation loss has left its best value behind, twice in a row."""
    if len(eval_losses) < 3:
        return None
    best_step, best = min(eval_losses, key=lambda point: point[1])
    after = [loss for step, loss in eval_losses if step > best_step]
    if len(after) < 2 or min(after[-2:]) < max(1.02 * best, best + 0.01):
        return None
    return Advice(
        text=f"Empieza a memorizar: con ejemplos que no ha visto, lo mejor fue el paso {best_step} ({_number(best)})"
        f" y ahora está en {_number(after[-1])}. Con menos épocas o más ejemplos generaliza mejor.",
        lesson="overfitting",
    )


def _too_short(total_steps: int) -> Advice | None:
    if not 0 < total_steps < FEW_STEPS:
        return None
    return Advice(
        text=f"Son solo {total_steps} pasos: con más ejemplos o más épocas se vería mejor si aprende.", lesson="epochs"
    )


def _learning(losses: Points, total_steps: int) -> Advice | None:
    first, last = _ends(losses)
    if first - last >= 0.03 * first:
        return Advice(text=f"Va bien: la pérdida baja de {_number(first)} a {_number(last)}.", good=True)
    if not total_steps or losses[-1][0] < 0.5 * total_steps:
        return None
    return Advice(
        text=f"Casi no aprende: la pérdida sigue en {_number(last)}."
        " Prueba con una tasa de aprendizaje más alta o revisa que los ejemplos se parezcan a lo que pides.",
        lesson="learning_rate",
    )


def _ends(losses: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Mean of the first and of the last fifth."""
    count = max(2, len(losses) // 5)
    return fmean(loss for _, loss in losses[:count]), fmean(loss for _, loss in losses[-count:])


def _number(value: float) -> str:
    """Two decimals, three where two would say nothing."""
    return f"{value:.{2 if value >= 0.1 else 3}f}".replace(".", ",")
