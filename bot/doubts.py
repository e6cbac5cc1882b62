"""What a person should think about before confirming a training, in Spanish sentences.

Rule of this file: pure; nothing here forbids anything. What is not possible is refused where it is asked for
(`jobs.recipe.check_recipe`, `bot/members.py`).
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.records import Dataset
from jobs.catalog import Base
from jobs.contract import Recipe, WorkerInfo
from jobs.recipe import DataStats, Estimate, recommend

FEW_EXAMPLES = 50  # below this many, say that it rarely helps
RATE_DOUBTED = 5  # times the usual learning rate, or that many times less


def circumstances(
    dataset: Dataset, base: Base, cost: Estimate, crew: Sequence[WorkerInfo], left: float | None
) -> tuple[str, ...]:
    notes = []
    if left is not None and cost.seconds > left:
        notes.append("No te alcanzan los minutos que te quedan: en *Avanzado* puedes pedir menos vueltas.")
    if dataset.usable < FEW_EXAMPLES:
        notes.append(f"Son pocos ejemplos ({dataset.usable}): suelen hacer falta unos cientos para que se note.")
    if dataset.verdict == "warnings":
        notes.append("Los datos tienen avisos: míralos con /datos ver antes de entrenar.")
    if not cost.fits:
        notes.append("No cabe en la memoria del equipo que entrena: prueba con QLoRA o con una base más pequeña.")
    if not crew:
        notes.append("Aún no hay ningún equipo listo para entrenar: quedará en la cola y empezará en cuanto haya uno.")
    if not base.verified:
        notes.append("Esta base no se ha probado todavía de principio a fin con Afina; mira bien el resultado.")
    return tuple(notes)


def odd_values(recipe: Recipe, stats: DataStats, base: Base) -> list[str]:
    """Values that somebody typed and that rarely end well with these data."""
    doubts = []
    usual = recommend(stats, base, objective=recipe.objective)
    times = recipe.learning_rate / usual.learning_rate
    if times > RATE_DOUBTED:
        doubts.append(
            f"La tasa de aprendizaje es {times:.0f} veces la habitual aquí ({usual.learning_rate:.0e}): lo normal es "
            "que el entrenamiento se desboque.".replace("e-0", "e-")
        )
    elif times < 1 / RATE_DOUBTED:
        doubts.append(
            f"La tasa de aprendizaje es {1 / times:.0f} veces menor que la habitual aquí ({usual.learning_rate:.0e}): "
            "puede que apenas aprenda.".replace("e-0", "e-")
        )
    if stats.p95_tokens > recipe.max_length:
        doubts.append(
            f"Hay ejemplos de {stats.longest or stats.p95_tokens} tokens y la longitud máxima es {recipe.max_length}: "
            "se cortarán, y si la respuesta no cabe no se aprende nada de ellos."
        )
    return doubts
