"""What people type into forms, as values: names of models and numbers of recipes.

Rule of this file: pure; accepts what people write («2e-4», «0,0002», «1 024») and refuses with the field's Spanish
name. Whether a recipe makes sense is the business of `jobs/recipe.py`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from pydantic import ValidationError

from bot.errors import BadInput
from jobs.contract import Recipe

NAME_LENGTH = 40  # characters of a model's name


def clean_name(name: str) -> str:
    """A model's name as typed, without what cannot be shown. Raises BadInput."""
    cleaned = re.sub(r"\s+", " ", "".join(c if c.isprintable() else " " for c in name)).strip()
    if not re.search(r"\w", cleaned):
        raise BadInput("El nombre necesita al menos una letra o un número.", hint="Por ejemplo: reseñas-ana")
    if len(cleaned) > NAME_LENGTH:
        raise BadInput(f"El nombre tiene {len(cleaned)} caracteres; caben {NAME_LENGTH}.", hint="Elige uno más corto.")
    return cleaned


def suggested_name(text: str) -> str:
    """A name for the form, from the name of the data: «reseñas.jsonl» → «reseñas»."""
    stem = re.sub(r"\.(jsonl?|txt|csv)$", "", text, flags=re.IGNORECASE).strip()
    return stem[:NAME_LENGTH].strip() or "mi modelo"


def free_name(name: str, taken: Sequence[str]) -> str:
    """`name`, or «name 2», «name 3» … where it is taken (case does not count)."""
    used = {one.casefold() for one in taken}
    candidate, number = name, 1
    while candidate.casefold() in used:
        number += 1
        candidate = f"{name[: NAME_LENGTH - len(str(number)) - 1]} {number}"
    return candidate


FIELDS = {
    "rank": "Rango",
    "learning_rate": "Tasa de aprendizaje",
    "epochs": "Vueltas",
    "max_length": "Longitud máxima",
    "seed": "Semilla",
}


def parse_value(field: str, text: str) -> float | int:
    """A number as people type it («2e-4», «0,0002», «1 024»). Raises BadInput."""
    compact = re.sub(r"[\s\u202f\u00a0]", "", text).replace(",", ".")
    try:
        value = float(compact)
        return value if field == "learning_rate" else _whole(value)
    except (ValueError, OverflowError):
        kind = "un número" if field == "learning_rate" else "un número entero"
        raise BadInput(f"{FIELDS[field]}: «{text.strip()[:40]}» no es {kind}.") from None


def _whole(value: float) -> int:
    if value != int(value):
        raise ValueError(value)
    return int(value)


def _explain(error: ValidationError) -> str:
    """The first limit that was broken, in Spanish."""
    first = error.errors()[0]
    name = FIELDS.get(str(first["loc"][0]) if first["loc"] else "", "Un valor")
    context = first.get("ctx", {})
    bounds = {"ge": "como mínimo", "gt": "mayor que", "le": "como máximo", "lt": "menor que"}
    for key, words in bounds.items():
        if key in context:
            limit = f"{context[key]:g}".replace(".", ",")
            return f"{name}: tiene que ser {words} {limit}."
    return f"{name}: ese valor no vale."


def changed_recipe(recipe: Recipe, answers: Mapping[str, str]) -> Recipe:
    """The recipe with the answers of a form; an empty answer keeps what was there. Raises BadInput."""
    changes = {field: parse_value(field, text) for field, text in answers.items() if text.strip()}
    try:
        return Recipe.model_validate({**recipe.model_dump(), **changes})
    except ValidationError as error:
        raise BadInput(_explain(error), hint="No he cambiado nada.") from error
