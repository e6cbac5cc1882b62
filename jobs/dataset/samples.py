"""A small good file of each format, to start from.

Rule of this file: the same ten pairs in every shape, so that people see that only the form differs. Each file comes
out valid.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, Final

PAIRS: Final = (
    ("¿A qué hora abre la biblioteca?", "Abre a las nueve de la mañana, de lunes a viernes."),
    ("¿Puedo renovar un préstamo por teléfono?", "Sí, si nadie más ha reservado el libro."),
    ("He perdido el carné, ¿qué hago?", "Pide un duplicado en el mostrador; tarda un par de días."),
    ("¿Hay sala de estudio?", "En la segunda planta, con cuarenta mesas y enchufes."),
    ("¿Cuántos libros me puedo llevar?", "Hasta seis a la vez, durante tres semanas."),
    ("¿Organizáis un club de lectura?", "El primer jueves de cada mes, por la tarde."),
    ("¿Tenéis cómics en francés?", "Una estantería entera, junto a la ventana del fondo."),
    ("¿Qué pasa si devuelvo tarde?", "No hay multa, pero no podrás llevarte más hasta devolverlo."),
    ("¿Se puede imprimir?", "Desde los ordenadores de la entrada, con tu tarjeta."),
    ("¿Admitís donaciones?", "Con gusto; trae una lista y elegimos juntos lo que falta."),
)
WORSE: Final = "No lo sé, pregunta a otra persona."


def _messages(asked: str, answer: str) -> dict[str, Any]:
    system = {"role": "system", "content": "Atiendes la biblioteca del barrio con amabilidad."}
    return {"messages": [system, {"role": "user", "content": asked}, {"role": "assistant", "content": answer}]}


def _openai_preference(asked: str, answer: str) -> dict[str, Any]:
    return {
        "input": {"messages": [{"role": "user", "content": asked}]},
        "preferred_output": [{"role": "assistant", "content": answer}],
        "non_preferred_output": [{"role": "assistant", "content": WORSE}],
    }


SAMPLES: Final[dict[str, tuple[str, Callable[[str, str], dict[str, Any]]]]] = {
    "messages": ("Chat (messages)", _messages),
    "prompt_completion": ("Entrada y salida (prompt, completion)", lambda q, a: {"prompt": q, "completion": a}),
    "alpaca": ("Alpaca (instruction, input, output)", lambda q, a: {"instruction": q, "input": "", "output": a}),
    "sharegpt": (
        "ShareGPT (conversations)",
        lambda q, a: {"conversations": [{"from": "human", "value": q}, {"from": "gpt", "value": a}]},
    ),
    "preference": (
        "Preferencias (prompt, chosen, rejected)",
        lambda q, a: {"prompt": q, "chosen": a, "rejected": WORSE},
    ),
    "openai_preference": ("Preferencias de OpenAI (DPO)", _openai_preference),
    "kto": ("Votos (KTO: prompt, completion, label)", lambda q, a: {"prompt": q, "completion": a, "label": True}),
    "text": ("Texto corrido (text)", lambda q, a: {"text": f"{q} {a}"}),
}


def sample_file(name: str) -> bytes:
    """The file of a format in `SAMPLES`."""
    _, make = SAMPLES[name]
    rows = [make(asked, answer) for asked, answer in PAIRS]
    if name == "kto":
        rows[1::2] = [
            {**row, "completion": f"Ni idea sobre eso: {row['prompt']}", "label": False} for row in rows[1::2]
        ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
