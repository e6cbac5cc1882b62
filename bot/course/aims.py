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
    PRICE = "price"  # what something costs
    EXERCISE = "exercise"  # a sum to be solved
    COMMAND = "command"  # to leave one's rules or role, to show them, to recite
    COURTESY = "courtesy"  # a greeting or thanks, and nothing else


_ABOUT_COURSE = r"(?!.*\b(?:curso|guia|repositorio|leccion|course|guide|esto|este)\b)"
_FORMS: dict[Aim, tuple[str, ...]] = {
    Aim.DEFINITION: (
        r"\b(?:que (?:es|son|significa|quiere decir)|en que consiste|what (?:is|are)|defin|explica|concepto)",
        r"\b(?:para que sirven?|como funcionan?|how does \w+ work)\b",
    ),
    Aim.PERSON: (  # «¿Quién fundó OpenAI?», but not «¿quién hizo este curso?»
        r"\b(?:quien(?:es)?|who) (?:es|son|fue|fueron|era|creo|crearon|fundo|fundaron|invento|inventaron|gano|descubrio"
        r"|escribio|dirige|manda|is|was|are|were|invented|created|founded|owns|won|wrote|discovered)\b"
        r"(?! (?:el|la|the) (?:autor|autora|author)\b)" + _ABOUT_COURSE,
        r"\b(?:cuanto|how much)(?: dinero)? (?:gana|ganan|cobra|cobran) (?:un|una|el|la|los|las|al)\b",
        r"^(?:que te gusta|te gusta|te gustaria|cual es tu|como te nombre|do you like|te quiero|te amo|te odio)\b",
        r"^(?:que )?(?:significa tu nombre|edad tienes)\b|^(?:donde vives|cuantos anos tienes|are you|sos|eres)\b"
        r"(?! capaz| able)",
        r"^(?:tienes|do you have) (?:sentimiento|alma|conciencia|familia|novi|pareja|hijo|amigo|hambre|miedo|feeling)",
    ),
    Aim.PRICE: (
        r"\b(?:cuanto|how much) (?:me |nos |does |do )?(?:cuesta|cuestan|costaria|vale|valen|sale|salen|cost|costs)\b"
        r"(?! la pena)",
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
_COURTESY = re.compile(
    r"hola|holi|ola|buenas|buenos|buen|dias|dia|tardes|noches|noche|tal|gracias|mil|muchisimas|"
    r"genial|perfecto|vale|ok|okey|listo|entendido|saludos|adios|chao|chau|vemos|jaja|jajaja|"
    r"jeje|amigos|crack|genio|genia|bro|profe|ayuda|respuesta|gente|hi|hello|hey|thanks|thank|"
    r"bye|good|morning|afina|bot"
)
_LAUGHTER = re.compile(r"(?:ja|je|ji|ha|xd|lol)+j?")


def aims_of(words: list[str], stop: frozenset[str]) -> frozenset[Aim]:
    """The aims of a question, given its folded words in order, and the words that never count."""
    spelt_out = " ".join(words)
    found = {aim for aim, pattern in _PATTERNS.items() if pattern.search(spelt_out)}
    polite = [bool(_COURTESY.fullmatch(word) or _LAUGHTER.fullmatch(word)) for word in words]
    if any(polite) and all(kind or word in stop for word, kind in zip(words, polite, strict=True)):
        found.add(Aim.COURTESY)
    return frozenset(found)
