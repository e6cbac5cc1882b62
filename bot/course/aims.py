"""What a question is after, apart from its subject: a definition, a person, a sum, another role for the bot.

Rule of this file: forms of speech, never words of a subject. Each form is a pattern over the folded words of a question
(`Analyzer.words`: no accents, no signs, chat spelling undone, «te llamas» as «te nombre»). One that is not listed says
nothing.
"""

from __future__ import annotations

import re
from enum import Enum


class Aim(Enum):
    DEFINITION = "definition"  # what something is
    PERSON = "person"  # who somebody is or earns, who made something, what the bot is like
    EXERCISE = "exercise"  # a sum to be solved
    COMMAND = "command"  # to leave one's rules or role, to show them, to recite
    COURTESY = "courtesy"  # a greeting or thanks, and nothing else


_ABOUT_COURSE = r"(?!.*\b(?:curso|guia|repositorio|leccion|course|guide|esto|este)\b)"
_FORMS: dict[Aim, tuple[str, ...]] = {
    Aim.DEFINITION: (
        r"\b(?:que (?:es|son|significa|quiere decir)|en que consiste|what (?:is|are)|defin|explica|concepto)",
    ),
    Aim.PERSON: (  # «¿Quién fundó OpenAI?», but not «¿quién hizo este curso?»
        r"\b(?:quien(?:es)?|who) (?:es|son|fue|fueron|era|creo|crearon|fundo|fundaron|invento|inventaron|gano|descubrio"
        r"|escribio|dirige|manda|is|was|are|were|invented|created|founded|owns|won|wrote|discovered)\b"
        r"(?! (?:el|la|the) (?:autor|autora|author)\b)" + _ABOUT_COURSE,
        r"\b(?:cuanto|how much)(?: dinero)? (?:gana|ganan|cobra|cobran) (?:un|una|el|la|los|las|al)\b",
        r"^(?:que te gusta|te gusta|te gustaria|cual es tu|como te nombre|do you like)\b",
    ),
    Aim.EXERCISE: (
        r"^(?:por favor )?(?:resuelv|despej|factoriz|simplific|deriva |integra |demuestra (?:el|la|que) )",
        r"^(?:por favor )?calcul\w+ (?:\w+ )?(?:determinante|derivada|integral|raiz|limite|area|media|\d)",
        r"^(?:cuanto|how much) (?:es|da|son|is) (?:(?:el|la|the) )?(?:\d|integral|derivada|raiz|seno|coseno|logaritmo)",
        r"^(?:cual es la )?(?:derivada|integral) (?:de|del) ",
    ),
    Aim.COMMAND: (
        r"^(?:por |favor |please |ahora |oye |hola |y )*"
        r"(?:ignora|ignore|olvida|olvidate|forget|desobedece|saltate|omite|disregard)"
        r" (?:de |all |about )*(?:tod|tu |tus |las |los |lo |cualquier|your|previous|every|the |my )",
        r"\b(?:ahora|desde hoy|a partir de ahora) (?:eres|seras|vas a ser|te nombre)\b",
        r"^(?:eres|you are) (?:un|una|a|an|mi|my) (?!model|adaptador)",
        r"\b(?:actua|finge|comportate|imagina que eres|haz de cuenta|responde|act|pretend) (?:como|que|as|to be)\b",
        r"\b(?:dime|dame|muestra|muestrame|imprime|repite|revela|copia|ensename|cual es|cuales son|show|print|reveal"
        r"|repeat|tell me)(?: me)? (?:(?:cual es|cuales son|all|todo|todas|entero) )?(?:tu|tus|your)"
        r" (?:\w+ )?(?:prompt|instruc|regla|rule|clave|key|token|contrase|config)",
        r"^(?:repite|repeat) (?:la|el|esta|the|this|after|lo)\b",
        r"^(?:escribe|escribeme|haz|hazme|componme|inventa|cuenta|cuentame|traduce|traduceme|write|tell) (?:me )?"
        r"(?:(?:un|una|mi|la|el|este|esto|a|an|my|the) )?(?:poema|cancion|chiste|cuento|tarea|ensayo|carta|haiku|poem"
        r"|joke|song|essay|homework|story|esto)\b",
        r"\bdime como (?:hacer|fabricar|robar|hackear|matar|construir)\b",
    ),
}
_PATTERNS = {aim: re.compile("|".join(forms)) for aim, forms in _FORMS.items()}
_COURTESIES = frozenset(
    [
        "hola",
        "holi",
        "ola",
        "buenas",
        "buenos",
        "buen",
        "dias",
        "dia",
        "tardes",
        "noches",
        "noche",
        "que",
        "tal",
        "como",
        "estas",
        "va",
        "todo",
        "bien",
        "gracias",
        "muchas",
        "mil",
        "muchisimas",
        "genial",
        "perfecto",
        "vale",
        "ok",
        "okey",
        "listo",
        "entendido",
        "saludos",
        "adios",
        "chao",
        "chau",
        "hasta",
        "luego",
        "nos",
        "vemos",
        "jaja",
        "jajaja",
        "jeje",
        "a",
        "todos",
        "todas",
        "amigos",
        "gente",
        "hi",
        "hello",
        "hey",
        "thanks",
        "thank",
        "you",
        "bye",
        "good",
        "morning",
        "very",
        "much",
        "afina",
        "bot",
        "de",
        "nada",
    ]
)
_LAUGHTER = re.compile(r"(?:ja|je|ji|ha|xd|lol)+j?")


def aims_of(words: list[str]) -> frozenset[Aim]:
    """The aims of a question, given its folded words in order."""
    spelt_out = " ".join(words)
    found = {aim for aim, pattern in _PATTERNS.items() if pattern.search(spelt_out)}
    if words and all(word in _COURTESIES or _LAUGHTER.fullmatch(word) for word in words):
        found.add(Aim.COURTESY)
    return frozenset(found)
