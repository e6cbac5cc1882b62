"""The text that afina-mini learns from: conversations made by rule, and the course of the project.

Rule of this file: pure and deterministic; text in, conversations out; no torch. It knows nothing of the demo's task
(`playground/task.py`), and a test keeps the two disjoint, word sequences included. It does not aim at knowledge: the
conversations teach the shape of a chat, to copy from the context, and to follow a format shown by examples.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

Turn = tuple[str, str]  # what the person says, what the assistant answers
Maker = Callable[[random.Random], list[Turn]]

NAMES = "Ana Luis Carmen Diego Elena Pablo Lucía Mario Rosa Iván Marta Hugo Sara Óscar Nora Raúl Julia Andrés"
GROUPS = """
frutas: manzana pera uva limón sandía melón cereza naranja ciruela fresa plátano higo
verduras: lechuga tomate zanahoria cebolla pepino espinaca calabaza pimiento brócoli apio acelga rábano
animales: perro gato caballo vaca oveja conejo tortuga zorro lobo burro cabra ciervo
aves: águila paloma loro gallina búho cisne gorrión pato halcón pavo cuervo flamenco
peces: atún salmón sardina trucha merluza anchoa bacalao lubina tiburón raya carpa dorada
insectos: mosca hormiga abeja grillo mariposa mosquito avispa libélula polilla pulga termita saltamontes
colores: rojo azul verde amarillo negro blanco gris morado rosado marrón celeste turquesa
países: Perú Chile México España Cuba Bolivia Ecuador Uruguay Colombia Panamá Argentina Honduras
ciudades: Madrid Lima Bogotá Quito Sevilla Caracas Valencia Rosario Cusco Medellín Toledo Granada
números: uno dos tres cuatro cinco seis siete ocho nueve diez once doce
meses: enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre
oficios: médica panadero maestra piloto cocinera pintor abogada músico granjera cartero bombera actor
deportes: fútbol tenis natación ajedrez boxeo remo esgrima golf judo vóley atletismo surf
planetas: Mercurio Venus Tierra Marte Júpiter Saturno Urano Neptuno
instrumentos: piano guitarra violín flauta tambor arpa trompeta acordeón saxofón oboe
flores: clavel tulipán jazmín amapola orquídea azucena geranio dalia lavanda girasol
cuerpo: nariz oreja codo rodilla hombro frente espalda cuello tobillo muñeca pulgar pecho
familia: madre padre primo tía cuñado nieta suegra yerno ahijado bisabuelo
clima: lluvia nieve granizo niebla tormenta huracán brisa rocío escarcha relámpago
bebidas: agua leche café té zumo limonada chocolate horchata mate batido
metales: hierro cobre plata oro plomo zinc níquel estaño titanio mercurio
materias: historia física química geografía latín filosofía biología música dibujo literatura
especias: canela comino orégano pimienta azafrán laurel clavo romero jengibre tomillo
postres: flan helado tarta natillas bizcocho turrón galleta gelatina mousse churro
emociones: alegría miedo rabia tristeza sorpresa calma envidia orgullo vergüenza ilusión
bailes: tango salsa vals flamenco cumbia merengue bachata jota polca samba
"""
SENTENCES = (
    "Ayer soñé con {word} y me desperté", "{name} me habló de {word} toda la noche", "No sé nada sobre {word}",
    "En mi cuento aparece {word} al principio", "Ayer leí un libro sobre {word}", "{name} dibuja {word} en su cuaderno",
    "Para el examen estudié {word} con {name}", "¿Te gusta {word}? A {name} no", "Nunca había pensado tanto en {word}",
    "Mi palabra favorita es {word}, dijo {name}", "Hoy toca hablar de {word} en clase",
    "{word}, escribió {name} en la pizarra",
    "Creo que {name} confundió {word} con otra cosa", "La canción dice {word} tres veces", "Vi {word} en un sueño raro",
    "{name} preguntó por {word} y nadie supo responder", "El poema termina con {word}",
    "Recuerdo bien {word}, contaba {name}",
    "Dicen que {word} trae suerte", "En el crucigrama puse {word} sin dudar", "{name} y yo discutimos sobre {word}",
)  # fmt: skip
COLOUR_OF = {
    "la nieve": "blanco", "la hierba": "verde", "el cielo despejado": "azul", "el carbón": "negro", "la sangre": "rojo",
    "el limón": "amarillo", "la ceniza": "gris", "el chocolate": "marrón", "la berenjena": "morado", "el mar": "azul",
    "la leche": "blanco", "el plátano": "amarillo", "la noche": "negro", "el tomate": "rojo", "la lechuga": "verde",
}  # fmt: skip
OPPOSITES = [
    ("alto", "bajo"), ("grande", "pequeño"), ("frío", "caliente"), ("día", "noche"), ("rápido", "lento"),
    ("nuevo", "viejo"), ("fácil", "difícil"), ("lleno", "vacío"), ("claro", "oscuro"), ("dulce", "amargo"),
    ("fuerte", "débil"), ("limpio", "sucio"), ("alegre", "triste"), ("largo", "corto"), ("caro", "barato"),
    ("cerca", "lejos"), ("arriba", "abajo"), ("dentro", "fuera"), ("siempre", "nunca"), ("mucho", "poco"),
]  # fmt: skip
WHO_AM_I = (
    "Soy afina-mini, un modelo de juguete: existo para probar que todo el camino funciona.",
    "Soy afina-mini. Soy diminuto y sé muy poco; sirvo para demostrar el camino, no para conversar en serio.",
    "Me llamo afina-mini. Soy un modelo de juguete con pocos millones de parámetros.",
)
HELP = (
    "Puedo contestar cosas muy sencillas del curso y aprender una tarea pequeña si me ajustas con LoRA.",
    "Poca cosa: saludo, copio, ordeno palabras y aprendo tareas pequeñas cuando me ajustas.",
)
PEOPLE = tuple(NAMES.split())
THINGS = {line.split(": ")[0]: line.split(": ")[1].split() for line in GROUPS.strip().splitlines()}
QUESTIONS_HEADING = "Preguntas que responde esta página"


def greeting(rng: random.Random) -> list[Turn]:
    name = rng.choice(PEOPLE)
    hello = rng.choice(["Hola", "hola", "Buenas", "¡Hola!", "Buenos días", "Buenas tardes", "hey", "Hola, ¿qué tal?"])
    answers = [
        "¡Hola! ¿En qué te ayudo?",
        "¡Hola! Soy afina-mini. ¿Qué quieres probar?",
        "¡Buenas! Dime qué necesitas.",
    ]
    if rng.random() < 0.3:
        return [(f"{hello}, me llamo {name}", f"¡Hola, {name}! ¿En qué te ayudo?")]
    return [(hello, rng.choice(answers))]


def identity(rng: random.Random) -> list[Turn]:
    question = rng.choice(
        ["¿Quién eres?", "quien eres", "¿Qué eres?", "¿Cómo te llamas?", "¿Eres un modelo?", "preséntate",
         "que eres tu", "¿Eres una persona?", "¿Eres ChatGPT?", "Háblame de ti",
         "¿Qué es afina-mini?", "¿Con quién hablo?"]
    )  # fmt: skip
    return [(question, rng.choice(WHO_AM_I))]


def abilities(rng: random.Random) -> list[Turn]:
    question = rng.choice(
        ["¿Qué sabes hacer?", "que puedes hacer", "¿En qué me puedes ayudar?", "Ayuda", "¿Para qué sirves?", "ayudame"]
    )
    return [(question, rng.choice(HELP))]


def manners(rng: random.Random) -> list[Turn]:
    return [
        rng.choice(
            [
                ("Gracias", "¡De nada!"), ("muchas gracias", "¡De nada!"), ("ok", "Perfecto."), ("Vale", "Perfecto."),
                ("Adiós", "¡Hasta pronto!"), ("chao", "¡Hasta pronto!"), ("hasta luego", "¡Hasta pronto!"),
                ("¿Cómo estás?", "Bien, gracias. ¿Y tú?"), ("que tal", "Bien, gracias. ¿Y tú?"),
                ("No entiendo", "Perdona. Prueba a preguntarlo de otra manera."), ("genial", "¡Me alegro!"),
                ("¿Qué hora es?", "No lo sé: no tengo reloj."), ("cuéntame un chiste", "Soy malo para los chistes."),
                ("¿Qué tiempo hace?", "No lo sé: no tengo acceso a internet."), ("te equivocas", "Puede ser: sé poco."),
            ]
        )
    ]  # fmt: skip


def some_words(rng: random.Random, low: int, high: int) -> list[str]:
    pool = [word for words in THINGS.values() for word in words]
    return rng.sample(pool, rng.randint(low, high))


def copying(rng: random.Random) -> list[Turn]:
    words = some_words(rng, 1, 6)
    text = " ".join(words)
    ask = rng.choice(["Repite", "Copia", "Escribe", "Di", "repite esto"])
    return [(f"{ask}: {text}", text)]


def reordering(rng: random.Random) -> list[Turn]:
    words = some_words(rng, 2, 5)
    text = " ".join(words)
    return [
        rng.choice(
            [
                (f"Al revés: {text}", " ".join(reversed(words))),
                (f"Dime la primera palabra: {text}", words[0]),
                (f"Dime la última palabra: {text}", words[-1]),
                (f"¿Cuántas palabras hay? {text}", str(len(words))),
                (f"En mayúsculas: {text}", text.upper()),
                (f"Separa con comas: {text}", ", ".join(words)),
                (f"Con guiones: {text}", "-".join(words)),
                (f"Entre comillas: {text}", f"«{text}»"),
            ]
        )
    ]


def arithmetic(rng: random.Random) -> list[Turn]:
    a, b = rng.randint(0, 12), rng.randint(0, 12)
    numbers = THINGS["números"]
    start = rng.randint(1, 30)
    return [
        rng.choice(
            [
                (rng.choice([f"{a} + {b}", f"¿Cuánto es {a} más {b}?", f"suma {a} y {b}"]), str(a + b)),
                (f"Cuenta desde {start}", ", ".join(str(start + i) for i in range(5))),
                (f"¿Qué número va después de {start}?", str(start + 1)),
                (f"En cifras: {numbers[b % 12]}", str(b % 12 + 1)),
                (f"En letras: {a % 12 + 1}", numbers[a % 12]),
                (f"¿Cuál es mayor, {a} o {b + 13}?", str(b + 13)),
            ]
        )
    ]


def facts(rng: random.Random) -> list[Turn]:
    kind, words = rng.choice(list(THINGS.items()))
    word = rng.choice(words)
    thing, colour = rng.choice(list(COLOUR_OF.items()))
    left, right = rng.sample(rng.choice(OPPOSITES), 2)
    return [
        rng.choice(
            [
                (f"¿De qué color es {thing}?", colour),
                (f"Lo contrario de {left}", right),
                (f"Dime tres {kind}", ", ".join(rng.sample(words, 3))),
                (f"¿En qué grupo está {word}?", kind),
                (f"Dime una palabra del grupo {kind}", word),
            ]
        )
    ]


def invented(rng: random.Random) -> str:
    """A word that exists in no dictionary, so that only the context can say what it means."""
    return "".join(rng.choice("bcdfglmnprst") + rng.choice("aeiou") for _ in range(rng.randint(2, 4)))


def lookup(rng: random.Random) -> list[Turn]:
    """Answers that stand in the question: a key and its value."""
    keys = rng.sample(PEOPLE, rng.randint(2, 4))
    values = [invented(rng) if rng.random() < 0.5 else word for word in some_words(rng, len(keys), len(keys))]
    chosen = rng.randrange(len(keys))
    listing = "; ".join(f"{key}: {value}" for key, value in zip(keys, values, strict=True))
    return [
        rng.choice(
            [
                (f"Datos: {listing}. ¿Qué tiene {keys[chosen]}?", values[chosen]),
                (f"Datos: {listing}. ¿Quién tiene {values[chosen]}?", keys[chosen]),
            ]
        )
    ]


def grouping(rng: random.Random) -> list[Turn]:
    """A conversation that shows a format by examples and goes on in it: word → the name of its group."""
    kinds = rng.sample(list(THINGS), rng.randint(2, 4))
    names = {kind: kind if rng.random() < 0.6 else invented(rng) for kind in kinds}
    seen = {kind: rng.sample(THINGS[kind], 5) for kind in kinds}
    turns = []
    for _ in range(rng.randint(3, 8)):
        kind = rng.choice(kinds)
        if seen[kind]:
            turns.append((seen[kind].pop(), names[kind]))
    return turns


def sentence(rng: random.Random, word: str) -> str:
    """A sentence about a word, with other things in it that do not matter."""
    text = rng.choice(SENTENCES).format(word=word, name=rng.choice(PEOPLE))
    if rng.random() < 0.3:
        text += ". " + rng.choice(("Fue largo", "Nada más", "Así fue", "Eso es todo", "Ya te contaré"))
    return text[0].upper() + text[1:] + rng.choice(("", ".", "..."))


def sorting(rng: random.Random) -> list[Turn]:
    """What a sentence speaks of: the name of the group, or a name invented for it that the conversation keeps."""
    kinds = rng.sample(list(THINGS), rng.randint(2, 4))
    names = {kind: kind if rng.random() < 0.8 else invented(rng) for kind in kinds}
    chosen = [rng.choice(kinds) for _ in range(rng.randint(1, 6))]
    return [(sentence(rng, rng.choice(THINGS[kind])), names[kind]) for kind in chosen]


def finding(rng: random.Random) -> list[Turn]:
    """A word of a sentence, named by its group."""
    kind = rng.choice(list(THINGS))
    word = rng.choice(THINGS[kind])
    text = sentence(rng, word)
    return [(rng.choice([f"¿Qué palabra de {kind} hay aquí? {text}", f"{text} ¿Qué palabra de {kind} ves?"]), word)]


def options(rng: random.Random) -> list[Turn]:
    """One of the options named in the question is the answer."""
    kinds = rng.sample(list(THINGS), rng.randint(2, 4))
    kind = rng.choice(kinds)
    word = rng.choice(THINGS[kind])
    listing = ", ".join(kinds[:-1]) + " o " + kinds[-1]
    return [
        (rng.choice([f"{word}: ¿{listing}?", f"Opciones: {listing}. Palabra: {word}", f"¿{listing}? {word}"]), kind)
    ]


def mapping(rng: random.Random) -> list[Turn]:
    """Invented words that keep their invented partner through the conversation: pure copying from the context."""
    pairs = [(invented(rng), invented(rng)) for _ in range(rng.randint(1, 3))]
    return [rng.choice(pairs) for _ in range(rng.randint(3, 7))]


MAKERS: tuple[tuple[float, Maker], ...] = (
    (1.0, greeting), (1.0, identity), (0.5, abilities), (0.7, manners), (1.2, copying), (1.2, reordering),
    (0.8, arithmetic), (1.0, facts), (1.2, lookup), (1.2, grouping), (3.0, sorting), (0.8, finding),
    (1.2, options), (0.8, mapping),
)  # fmt: skip


def plain(markdown: str) -> str:
    """Markdown without links, code fences, tables and emphasis."""
    text = re.sub(r"```.*?```", "", markdown, flags=re.DOTALL)
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", text)
    text = "\n".join(line for line in text.splitlines() if not line.lstrip().startswith("|"))
    return re.sub(r"[*`_]", "", text)


def first_sentences(text: str, limit: int = 220) -> str:
    """The first sentences of a paragraph, whole ones, up to `limit` characters (at least one)."""
    sentences = re.split(r"(?<=[.!?])\s+", " ".join(text.split()))
    answer = sentences[0]
    for sentence in sentences[1:]:
        if len(answer) + len(sentence) >= limit:
            break
        answer += " " + sentence
    return answer


def course_pages(folder: Path) -> list[str]:
    """The Markdown of the course's pages, in order of their names."""
    return [path.read_text(encoding="utf-8") for path in sorted(folder.glob("*.md"))]


def course_turns(page: str) -> list[Turn]:
    """Questions that a page of the course says it answers, each with the opening of the page."""
    title = re.search(r"^# (.+)$", page, flags=re.MULTILINE)
    sections = re.split(r"^## (.+)$", page, flags=re.MULTILINE)
    if title is None or len(sections) < 3:
        return []
    lead = first_sentences(plain(sections[0]).split("\n", 1)[1].strip()) if "\n" in sections[0] else ""
    turns: list[Turn] = []
    for heading, body in zip(sections[1::2], sections[2::2], strict=True):
        if heading.strip() == QUESTIONS_HEADING:
            turns += [(line.strip("- ").strip(), lead) for line in body.strip().splitlines() if line.strip()]
    topic = plain(title.group(1)).split(":")[0].strip()
    turns += [(f"¿Qué es {topic}?", lead), (f"que es {topic.lower()}", lead), (topic, lead)]
    return [(question, answer) for question, answer in turns if answer]


def course_paragraphs(page: str) -> list[str]:
    return [" ".join(p.split()) for p in plain(page).split("\n\n") if len(p.split()) > 8]


def conversations(seed: int, pages: Sequence[str]) -> Iterator[list[Turn]]:
    """Endless conversations, one or several exchanges each; the same seed and pages give the same ones."""
    rng = random.Random(seed)
    weights = [weight for weight, _ in MAKERS]
    about_course = [turn for page in pages for turn in course_turns(page)]
    while True:
        turns: list[Turn] = []
        for _ in range(1 if rng.random() < 0.6 else rng.randint(2, 4)):
            if about_course and rng.random() < 0.3:
                turns.append(rng.choice(about_course))
            else:
                turns += rng.choices(MAKERS, weights)[0][1](rng)
        yield turns
