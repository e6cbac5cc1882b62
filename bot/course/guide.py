"""`/guia`: prompt, search in documents, or fine-tuning? A recommendation with its reasons.

Rule of this file: a table of plain rules over four answers, no model and no state, so that the same answers always get
the same advice. The order of the questions is that of the course: first what is cheap to try. What a case is about is
read from its words; where they say nothing, the advice stays with the cheapest step.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import Enum

from bot.course.analysis import fold


class Data(Enum):
    """What the person has at hand; the value is what the form shows."""

    NONE = "Nada todavía"
    DOCUMENTS = "Documentos (manuales, apuntes, páginas)"
    FEW = "Menos de 50 ejemplos de entrada y respuesta"
    SOME = "Entre 50 y 500 ejemplos"
    MANY = "Más de 500 ejemplos"


class Tried(Enum):
    NOTHING = "Nada todavía"
    PROMPT = "Un prompt trabajado"
    FEW_SHOT = "Prompt con ejemplos (few-shot)"
    RAG = "Buscar en documentos (RAG)"


class Budget(Enum):
    NONE = "Nada: ni dinero ni GPU"
    SMALL = "Una GPU gratuita o unas horas alquiladas"
    STEADY = "Un presupuesto mensual"
    VOLUME = "Muchas consultas al día: me importa lo que cuesta cada una"


class Way(Enum):
    PROMPT = "Empieza por un buen prompt"
    FEW_SHOT = "Prueba antes un prompt con ejemplos"
    RAG = "Busca en tus documentos (RAG)"
    COLLECT = "Reúne ejemplos antes de afinar"
    TUNE = "Afina un modelo"
    BOTH = "Afina y además busca en tus documentos"


@dataclass(frozen=True, kw_only=True, slots=True)
class Case:
    text: str  # what the person wants the model to do
    data: Data
    tried: frozenset[Tried]
    budget: Budget


@dataclass(frozen=True, kw_only=True, slots=True)
class Advice:
    way: Way
    reasons: tuple[str, ...]
    questions: tuple[str, ...]  # to look up in the course: the pages to read
    command: str  # what to do next in Discord


# Beginnings of words (folded) that show what a case is about.
_KNOWLEDGE = re.compile(
    r"\b(document|manual|apunte|politica|normativ|reglament|catalogo|inventario|stock|horario|noticia|actualiz|cambia|"
    r"informacion|conocimiento|wiki|frecuentes|faq|precio|contrato|leyes|pdf)"
)
_FORM = re.compile(
    r"\b(estilo|tono|formato|json|clasifi|etiquet|extra|categor|resum|traduc|plantilla|voz|personalidad|como yo|habl|"
    r"siempre|estructur|sql|codigo|resen|sentimient|marca|personaje|jerga|corri|reescri)"
)

_PAGES = {
    Way.PROMPT: ("¿Qué es la ingeniería de prompts?", "¿Cuándo conviene ajustar un modelo?"),
    Way.FEW_SHOT: ("¿Qué es el few-shot?", "¿Cuándo conviene ajustar un modelo?"),
    Way.RAG: ("¿RAG o ajuste fino?", "¿Qué es la generación aumentada por recuperación?"),
    Way.COLLECT: ("¿Cuántos ejemplos necesito?", "¿Cómo genero datos sintéticos?"),
    Way.TUNE: ("¿Qué es LoRA?", "¿Qué formato tiene que tener mi JSONL?"),
    Way.BOTH: ("¿RAG o ajuste fino?", "¿Qué es LoRA?"),
}
_COMMANDS = {
    Way.PROMPT: "`/charlar`: prueba instrucciones distintas con un modelo base.",
    Way.FEW_SHOT: "`/charlar`: pon dos o tres ejemplos en las instrucciones y compara.",
    Way.RAG: "`/curso agregar`: quien administra el servidor puede sumar documentos a lo que sé.",
    Way.COLLECT: "`/datos plantilla`: un archivo de ejemplo para empezar a escribir los tuyos.",
    Way.TUNE: "`/datos subir` con tu JSONL, y después `/afinar`.",
    Way.BOTH: "`/datos subir` con tu JSONL, y `/curso agregar` para los documentos.",
}


def advise(case: Case) -> Advice:
    """The first step that is worth the person's time."""
    text = fold(case.text)
    knowledge = case.data is Data.DOCUMENTS or bool(_KNOWLEDGE.search(text))
    way, reasons = _decide(case, knowledge=knowledge, form=bool(_FORM.search(text)))
    if case.budget is Budget.VOLUME and way in (Way.TUNE, Way.BOTH):
        reasons.append("Con muchas consultas, un modelo afinado ahorra los ejemplos que hoy irían en cada prompt.")
    if case.budget is Budget.NONE and way in (Way.TUNE, Way.BOTH):
        reasons.append("Sin GPU propia también se puede: aquí entrenas por turnos, y hay cuadernos gratuitos.")
    return Advice(way=way, reasons=tuple(reasons), questions=_PAGES[way], command=_COMMANDS[way])


def _decide(case: Case, *, knowledge: bool, form: bool) -> tuple[Way, list[str]]:
    enough = case.data in (Data.SOME, Data.MANY)
    prompted = bool(case.tried & {Tried.PROMPT, Tried.FEW_SHOT})
    if knowledge and not form and Tried.RAG not in case.tried:
        return Way.RAG, [
            "Lo que necesitas es información que está en documentos o que cambia; "
            "afinar enseña formas, no datos al día.",
            "Con RAG la respuesta cita de dónde sale y se actualiza cambiando el documento, sin entrenar.",
        ]
    if not prompted:
        return Way.PROMPT, [
            "Es lo más rápido y no cuesta nada: muchas veces basta, y si no, ya tienes con qué comparar.",
            "Anota 20 casos de prueba: servirán para saber si afinar mejora de verdad.",
        ]
    if Tried.FEW_SHOT not in case.tried and not enough:
        return Way.FEW_SHOT, [
            "Dos o tres ejemplos en el prompt consiguen a menudo lo que la explicación sola no consigue.",
            "Con tan pocos ejemplos, afinar suele memorizar en vez de aprender.",
        ]
    if not enough:
        return Way.COLLECT, [
            "Ya has probado lo barato y tu caso pide una forma constante, pero faltan ejemplos: suelen hacer falta "
            "entre 50 y unos cientos, buenos y variados.",
            "Los casos en que el prompt falla son los mejores candidatos.",
        ]
    reasons = [
        "Ya has probado con prompts, así que tienes con qué comparar.",
        "Tienes ejemplos suficientes para enseñar una forma constante: estilo, formato o criterio.",
    ]
    if knowledge:
        return Way.BOTH, [
            *reasons,
            "La información que cambia déjala fuera del modelo: que la busque en tus documentos.",
        ]
    return Way.TUNE, reasons
