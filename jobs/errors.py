"""What can go wrong on the queue and GPU side, as one tree.

    AfinaError                     something that a person may be told, in Spanish
    ├── DatasetError               the data cannot be used as it is
    │   ├── NothingToLearn         no token of the data would be learnt
    │   └── TooLarge               above one of the limits on size
    ├── RecipeError                a hyperparameter is outside its limits or does not fit the others
    ├── BaseNotAvailable           the base model is unknown, not downloaded or not readable
    ├── ModelNotFound              no such adapter, or its files are gone
    ├── DoesNotFit                 the device has too little memory for the request
    ├── DiskFull                   there is no room to write
    ├── Diverged                   the loss became NaN or infinite
    ├── Stopped                    a person asked the job to stop
    │   ├── Cancelled              and to throw the work away
    │   └── Paused                 and to keep the checkpoint
    ├── QueueUnavailable           Redis does not answer
    └── EngineUnavailable          the inference engine does not answer, or is overloaded

Every class carries a default Spanish message (its `message`), what to do next (`hint`) and a stable `code`; they
survive pickling and JSON (`to_dict`). Surprises (bugs) are not AfinaErrors and are never shown to people.
"""

from __future__ import annotations

import errno
from typing import Any, ClassVar

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class AfinaError(Exception):
    """Base of everything that a person may be told."""

    code: ClassVar[str] = "error"
    default: ClassVar[str] = "Algo no ha salido bien."
    default_hint: ClassVar[str] = "Inténtalo de nuevo en un rato."

    def __init__(self, message: str | None = None, *, hint: str | None = None) -> None:
        self.message = message or self.default
        self.hint = hint if hint is not None else self.default_hint
        super().__init__(self.message)

    def __reduce__(self) -> tuple[Any, ...]:
        return (_rebuild, (type(self), self.message, self.hint))

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()

    def to_dict(self) -> dict[str, str]:
        return {"code": self.code, "message": self.message, "hint": self.hint}


def _rebuild(kind: type[AfinaError], message: str, hint: str) -> AfinaError:
    return kind(message, hint=hint)


class DatasetError(AfinaError):
    code = "dataset"
    default = "Estos datos no se pueden usar como están."
    default_hint = "Mira el informe: dice qué línea falla y cómo arreglarla."


class NothingToLearn(DatasetError):
    code = "nothing_to_learn"
    default = "Con estos datos el modelo no aprendería nada: ningún texto es una respuesta del asistente."
    default_hint = "Revisa que cada ejemplo termine con un mensaje del asistente."


class TooLarge(DatasetError):
    code = "too_large"
    default = "El archivo es demasiado grande."
    default_hint = "Divídelo o quédate con una muestra de los mejores ejemplos."


class RecipeError(AfinaError):
    code = "recipe"
    default = "Ese ajuste no es posible."
    default_hint = "Elige uno de los presets o un valor dentro de los límites."


class BaseNotAvailable(AfinaError):
    code = "base_not_available"
    default = "Ese modelo base no está disponible aquí."
    default_hint = "Mira los que hay con «afina bases»; se descargan con «afina bases descargar ID»."


class ModelNotFound(AfinaError):
    code = "model_not_found"
    default = "No encuentro ese modelo."
    default_hint = "Mira los que tienes con /modelos lista."


class DoesNotFit(AfinaError):
    code = "does_not_fit"
    default = "Este trabajo no cabe en la memoria del dispositivo que entrena."
    default_hint = "Prueba con QLoRA, una base más pequeña o ejemplos más cortos."


class DiskFull(AfinaError):
    code = "disk_full"
    default = "No queda sitio en el disco de la máquina."
    default_hint = "Avisa a quien administra Afina; cuando haya sitio, repítelo. Lo que ya tenías sigue ahí."


class Diverged(AfinaError):
    code = "diverged"
    default = "El entrenamiento se ha desbocado: la pérdida dejó de ser un número."
    default_hint = "Repite con una tasa de aprendizaje más baja, por ejemplo la mitad."


class Stopped(AfinaError):
    code = "stopped"
    default = "El trabajo se ha detenido."
    default_hint = ""


class Cancelled(Stopped):
    code = "cancelled"
    default = "El trabajo se ha cancelado."


class Paused(Stopped):
    code = "paused"
    default = "El trabajo está en pausa; su avance queda guardado."


class QueueUnavailable(AfinaError):
    code = "queue_unavailable"
    default = "Ahora mismo no llego a la cola de trabajos."
    default_hint = "No se ha perdido nada: lo que pediste se enviará en cuanto vuelva."


class EngineUnavailable(AfinaError):
    code = "engine_unavailable"
    default = "Ahora mismo no llego al motor que sirve los modelos."
    default_hint = "Vuelve a intentarlo en un minuto; la conversación no se pierde."


def for_want_of_room(error: BaseException) -> bool:
    """Whether a full disk is behind an exception; libraries wrap it in errors of their own."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in _NO_ROOM:
            return True
        if "No space left on device" in str(cause) or "file write failed" in str(cause):
            return True
        cause = cause.__cause__ or cause.__context__
    return False
