"""What an engine's refusals mean to a person.

Rule of this file: HTTP statuses and the English words of vLLM and the embedded engine in, our own errors with a Spanish
sentence out; it asks nothing itself.
"""

from __future__ import annotations

import logging
from contextlib import suppress

import httpx

from bot.errors import BadInput
from jobs.errors import EngineUnavailable, ModelNotFound

log = logging.getLogger(__name__)


class TooLong(BadInput):
    code = "too_long"
    default = "La conversación no cabe en el contexto de este modelo."
    default_hint = "Acorta tu mensaje, o empieza de nuevo con /reiniciar."


class EngineResting(EngineUnavailable):
    """Its memory is lent to a training job; it comes back by itself."""

    code = "engine_resting"
    default = "La GPU está entrenando un modelo ahora mismo, así que las conversaciones esperan."
    default_hint = "Vuelvo en cuanto termine; la conversación no se pierde."


class Crowded(EngineUnavailable):
    """More requests wait than the engine takes."""

    code = "engine_crowded"
    default = "Hay muchas conversaciones a la vez."
    default_hint = "Vuelve a intentarlo en unos segundos."

    retry_after: float = 2.0  # seconds, as the engine says


def away(error: httpx.HTTPError) -> EngineUnavailable:
    log.warning("the engine does not answer: %r", error)
    if isinstance(error, httpx.ReadTimeout):
        return EngineUnavailable("El motor que sirve los modelos tarda demasiado en contestar.")
    return EngineUnavailable()


def message_of(response: httpx.Response) -> str:
    """What an engine says went wrong, in English, whatever the shape of its JSON."""
    try:
        data = response.json()
        error = data.get("error", data)
        return str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError):
        return response.text[:500]


def refusal(response: httpx.Response, model: str) -> EngineUnavailable | ModelNotFound | TooLong:
    """The error behind an HTTP status of the engine."""
    message = message_of(response)
    log.warning("the engine refused %s: %s %s", model, response.status_code, message[:300])
    lower = message.lower()
    if response.status_code == 404:
        return ModelNotFound(f"El motor no encuentra el modelo «{model}».")
    if "context length" in lower or "maximum model length" in lower:
        return TooLong()
    if response.status_code in (400, 500) and "lora" in lower:  # vLLM says 500 for a rank that is too high
        return ModelNotFound(f"El motor no puede cargar «{model}».", hint=_why(lower))
    if response.status_code == 503 and "asleep" in lower:
        return EngineResting()
    if response.status_code in (429, 503):
        crowded = Crowded()
        with suppress(ValueError):
            crowded.retry_after = min(max(float(response.headers.get("retry-after", 2)), 0.1), 10.0)
        return crowded
    if response.status_code in (401, 403):
        return EngineUnavailable("El motor no acepta la clave configurada.", hint="Avisa a quien administra el bot.")
    return EngineUnavailable()


def _why(message: str) -> str:
    """The reasons that a person can do something about."""
    if "rank" in message:
        return "Su rango es mayor que el que admite el motor (--max-lora-rank)."
    if "base" in message:
        return "Se entrenó sobre otro modelo base."
    if "dora" in message:
        return "Se entrenó con DoRA y hay que fusionarlo con su base."
    return "Sus archivos no están completos o no son de este motor."
