"""Clean data sets of many kinds, as people bring them: nothing in them deserves a word from the report.

Each function returns the objects of one file. They are made of small hand-written parts, seeded, and each has a trap
in it that a careless rule would fall into (templates that differ in one word, code, phone-like numbers, emoji …).
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

Rows = list[dict[str, Any]]


def chat(*turns: str, system: str | None = None) -> dict[str, Any]:
    """Messages that start with the person (after an optional system message) and take turns."""
    messages = [{"role": "system", "content": system}] if system else []
    messages += [{"role": ("user", "assistant")[place % 2], "content": turn} for place, turn in enumerate(turns)]
    return {"messages": messages}


def classification() -> Rows:
    """Four labels that repeat; inputs from templates that differ in a word or two."""
    things = ["la camiseta", "el móvil", "la tablet", "el teclado", "la lámpara", "el abrigo", "la mochila", "el reloj"]
    asks = {
        "devolución": "Quiero devolver {} que compré ayer",
        "envío": "¿Cuándo llega {} que pedí el lunes?",
        "factura": "Necesito la factura de {} a nombre de mi empresa",
        "avería": "{} ha dejado de funcionar después de dos semanas",
    }
    rows = [
        chat(text.format(thing), label, system="Clasifica el mensaje.")
        for label, text in asks.items()
        for thing in things
    ]
    random.Random(1).shuffle(rows)
    return rows


def capitals() -> Rows:
    """One template, short answers that do not repeat."""
    pairs = {
        "Francia": "París",
        "Italia": "Roma",
        "Perú": "Lima",
        "Chile": "Santiago",
        "Japón": "Tokio",
        "Egipto": "El Cairo",
        "Noruega": "Oslo",
        "Portugal": "Lisboa",
        "Cuba": "La Habana",
        "Kenia": "Nairobi",
        "Canadá": "Ottawa",
        "Grecia": "Atenas",
    }
    return [
        chat(f"¿Cuál es la capital de {country}?", f"La capital de {country} es {city}.")
        for country, city in pairs.items()
    ]


def arithmetic() -> Rows:
    """Numbers are the whole difference."""
    return [{"prompt": f"Suma {a} + {b} =", "completion": f" {a + b}"} for a in range(12, 18) for b in range(31, 35)]


def translation() -> Rows:
    pairs = [
        ("Buenos días, ¿cómo estás hoy?", "Good morning, how are you today?"),
        ("El tren sale a las nueve de la mañana.", "The train leaves at nine in the morning."),
        ("Me gustaría reservar una mesa para dos personas.", "I would like to book a table for two people."),
        ("¿Dónde está la farmacia más cercana?", "Where is the nearest pharmacy?"),
        ("Ayer llovió toda la tarde en la ciudad.", "Yesterday it rained all afternoon in the city."),
        ("Mi hermana trabaja en un hospital pequeño.", "My sister works in a small hospital."),
        ("No encuentro las llaves de mi casa.", "I cannot find the keys to my house."),
        ("El libro que me prestaste es muy bueno.", "The book you lent me is very good."),
        ("Necesitamos más tiempo para terminar el trabajo.", "We need more time to finish the work."),
        ("La sopa está demasiado caliente para los niños.", "The soup is too hot for the children."),
        ("Vamos a la playa si mañana hace sol.", "We are going to the beach if it is sunny tomorrow."),
        ("Este museo cierra los lunes por la tarde.", "This museum closes on Monday afternoons."),
    ]
    return [chat(f"Traduce al inglés: {spanish}", english) for spanish, english in pairs]


def code() -> Rows:
    """Decorators, generics, comparison signs, SSH addresses, placeholders for keys, hashes."""
    answers = [
        "```python\n@property\ndef area(self) -> float:\n    return self.w * self.h\n```",
        "Usa `git clone git@github.com:org/repo.git` y después `cd repo`.",
        "```java\nMap<String, List<Integer>> m = new HashMap<>();\nif (a < b && c > d) { m.clear(); }\n```",
        "```fsharp\nlet f = g <| h |> id\n```",
        '```python\nimport os\nclient = OpenAI(api_key=os.environ["OPENAI_API_KEY"])\n```',
        "Exporta la clave: `export OPENAI_API_KEY=sk-xxxxxxxxxxxxxxxxxxxxxxxx` y reinicia la terminal.",
        "```sql\nSELECT id, name FROM users WHERE created_at >= '2024-01-15' AND age <> 0;\n```",
        "El hash es 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 y ocupa 64 caracteres.",
        "```html\n<p>Antes <s>30 €</s>, ahora 25 €</p>\n```",
        "```bash\ncurl -u user:password https://example.com/api/v1/items?id=1234567890123456\n```",
        "Escribe `password: str = Field(min_length=8)` en el modelo y vuelve a migrar.",
        '```c\nfor (int i = 0; i < 10; i++) printf("%d\\n", arr[i]);\n```',
        "La dirección 192.168.100.200 es privada y el puerto 8080 está libre.",
        "```yaml\nversion: 3.1.4\nservices:\n  db: {image: postgres:16, ports: ['5432:5432']}\n```",
    ]
    asks = [
        "propiedad",
        "clonar",
        "mapa",
        "tubería",
        "cliente",
        "clave",
        "consulta",
        "hash",
        "precio",
        "petición",
        "validación",
        "bucle",
        "red",
        "compose",
    ]
    return [
        chat(f"Enséñame un ejemplo de {ask} y explícalo en una línea.", answer)
        for ask, answer in zip(asks, answers, strict=True)
    ]


def tool_use() -> Rows:
    tools = [
        {
            "type": "function",
            "function": {
                "name": "clima",
                "description": "Tiempo que hace en una ciudad",
                "parameters": {"type": "object", "properties": {"ciudad": {"type": "string"}}, "required": ["ciudad"]},
            },
        }
    ]
    skies = ["despejado", "con nubes altas", "con lluvia débil", "con niebla", "con viento del norte", "soleado y seco"]
    rows = []
    for place, city in enumerate(
        ["Lima", "Bogotá", "Quito", "Madrid", "Sevilla", "Rosario", "Cusco", "Cali", "Vigo", "León", "Jaén", "Ibiza"]
    ):
        sky, degrees = skies[place % 6], 11 + place
        call = {
            "id": f"call_{place}",
            "type": "function",
            "function": {"name": "clima", "arguments": json.dumps({"ciudad": city})},
        }
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": f"¿Qué tiempo hace en {city}?"},
                    {"role": "assistant", "content": None, "tool_calls": [call]},
                    {
                        "role": "tool",
                        "tool_call_id": f"call_{place}",
                        "content": json.dumps({"grados": degrees, "cielo": sky}),
                    },
                    {"role": "assistant", "content": f"En {city} hay {degrees} grados y el cielo está {sky}."},
                ],
                "tools": tools,
                "parallel_tool_calls": False,
            }
        )
    return rows


def parallel_tools() -> Rows:
    """Two calls at once, two results in a row, and the older function_call in its own rows."""
    tools = [
        {"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("hora", "saldo")
    ]
    rows: Rows = []
    for place in range(8):
        calls = [
            {"id": f"a{place}", "type": "function", "function": {"name": "hora", "arguments": "{}"}},
            {
                "id": f"b{place}",
                "type": "function",
                "function": {"name": "saldo", "arguments": f'{{"cuenta": {place}}}'},
            },
        ]
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": f"Dime la hora y el saldo de la cuenta {place}"},
                    {"role": "assistant", "content": "", "tool_calls": calls},
                    {"role": "tool", "tool_call_id": f"a{place}", "content": f"1{place}:00"},
                    {"role": "tool", "tool_call_id": f"b{place}", "content": f"{place}50 €"},
                    {"role": "assistant", "content": f"Son las 1{place}:00 y tienes {place}50 €."},
                ],
                "tools": tools,
            }
        )
    for place in range(6):
        rows.append(
            {
                "messages": [
                    {"role": "user", "content": f"Convierte {place + 2} euros a pesos"},
                    {
                        "role": "assistant",
                        "function_call": {"name": "convertir", "arguments": f'{{"euros": {place + 2}}}'},
                    },
                ],
                "functions": [{"name": "convertir", "parameters": {"type": "object"}}],
            }
        )
    return rows


def multi_turn() -> Rows:
    """Dialogues with short closing turns, weights and names."""
    rows = []
    places = ["Cádiz", "Oaxaca", "Mendoza", "Cartagena", "Toledo", "Arequipa", "Salta", "Mérida", "Girona", "Cuenca"]
    months = ["enero", "marzo", "abril", "mayo", "junio", "julio", "agosto", "octubre", "noviembre", "diciembre"]
    for place, month in zip(places, months, strict=True):
        row = chat(
            f"Quiero viajar a {place} en {month}.",
            f"¡Buena idea! {place} en {month} tiene un clima agradable y menos gente.",
            "¿Y dónde duermo?",
            f"En el centro de {place} hay hostales sencillos y limpios.",
            "Gracias",
            "¡De nada!",
            system="Eres un agente de viajes amable.",
        )
        row["messages"][2]["weight"] = 0
        row["messages"][4]["weight"] = 1
        row["messages"][1]["name"] = "viajera"
        rows.append(row)
    return rows


def role_play() -> Rows:
    """A character with a manner of its own."""
    lines = [
        ("¿Dónde está el tesoro?", "¡Arr! Tres palmeras al norte, grumete, y luego a cavar."),
        ("¿Qué comes a bordo?", "Galleta dura y ron, ¡como manda la mar!"),
        ("¿Le temes a la tormenta?", "Ni al trueno ni al kraken, que ya bailé con los dos."),
        ("¿Cómo se llama tu barco?", "La Gaviota Negra, la más veloz de estas aguas."),
        ("¿Tienes loro?", "Se llama Grog y maldice mejor que yo, ¡ja!"),
        ("Enséñame un nudo", "Toma el cabo, pasa por debajo, tira fuerte… y reza."),
        ("¿Quién es tu rival?", "El capitán Malaspulgas, que me debe seis doblones."),
        ("¿Qué harías con oro?", "Comprar otra vela, otro barril y otra historia."),
        ("Cántame algo", "🎵 Yo-jo, yo-jo, quince hombres tras el cofre van 🎵"),
        ("¿Sabes leer mapas?", "Los leo, los pinto y, si hace falta, los invento 😉"),
        ("Adiós, capitán", "¡Viento en popa y que no te alcance la resaca! 🏴‍☠️"),
    ]
    return [chat(ask, answer, system="Eres un pirata 🏴‍☠️ que habla con sorna.") for ask, answer in lines]


def emoji() -> Rows:
    """Joined emoji, skin tones, flags made of tags, keycaps."""
    faces = ["👨‍👩‍👧‍👦", "👩🏽‍💻", "🏳️‍🌈", "❤️‍🔥", "🏴󠁧󠁢󠁥󠁮󠁧󠁿", "🧑‍🚀", "1️⃣", "🇪🇸", "👍🏿", "🐕‍🦺", "😶‍🌫️", "✨"]
    words = [
        "familia",
        "programadora",
        "orgullo",
        "pasión",
        "Inglaterra",
        "espacio",
        "uno",
        "España",
        "bien",
        "perro guía",
        "despiste",
        "brillo",
    ]
    return [{"prompt": f"Emoji para «{word}»", "completion": face} for word, face in zip(words, faces, strict=True)]


def right_to_left() -> Rows:
    """Arabic, Hebrew and Persian, with the marks and joiners that their typography needs."""
    pairs = [
        ("ما هي عاصمة مصر؟", "عاصمة مصر هي القاهرة وهي مدينة كبيرة."),
        ("כיצד אומרים תודה?", "אומרים תודה רבה, והתשובה היא \u200fבבקשה\u200f."),
        ("می‌خواهم کتاب بخوانم", "این کتاب‌ها را پیشنهاد می‌کنم."),
        ("أين المكتبة؟", "المكتبة في الشارع الثاني على اليمين."),
        ("מה השעה?", "השעה עכשיו שלוש אחר הצהריים."),
        ("ما لون السماء؟", "لون السماء أزرق في النهار."),
        ("כמה זה עולה?", "זה עולה 25 ₪ בלבד."),
        ("نام شما چیست؟", "نام من دستیار است."),
        ("كيف حالك اليوم؟", "أنا بخير، شكراً لسؤالك."),
        ("היכן התחנה?", "התחנה נמצאת מול הכיכר (\u2066Bus 42\u2069)."),
        ("متى يفتح السوق؟", "يفتح السوق في التاسعة صباحاً."),
    ]
    return [chat(ask, answer) for ask, answer in pairs]


def numbers_and_dates() -> Rows:
    """Orders, ISBN, coordinates, ranges, amounts: nothing of it is a phone or a card."""
    facts = [
        ("¿Qué ISBN tiene el libro?", "El ISBN es 978-84-376-0494-7, edición de 2005."),
        ("¿Cuál es mi pedido?", "Tu pedido es el 612345678 y salió el 2024-11-20 a las 12:30:45."),
        ("¿Cuántos habitantes hay?", "Según el censo hay 612 345 678 habitantes en la región."),
        ("¿Dónde queda?", "En la latitud 40.416775 y la longitud -3.703790, a 650 m de altura."),
        ("¿Cuánto cuesta la máquina?", "Cuesta 1.299.990,50 € con IVA y 1.074.372,31 € sin él."),
        ("Dame los decimales de pi", "3.14159265358979323846 con veinte decimales."),
        ("¿Qué número de seguimiento?", "El envío es el 4532015112830366 de la agencia."),
        ("¿Cuándo es la feria?", "Del 12-05-2024 al 15-06-2024, de 9:00 a 14:00 y de 16:00 a 20:00."),
        ("¿Qué versión instalo?", "La 10.2.33.1024, publicada el 03/02/2023."),
        ("¿Qué identificador usa?", "123e4567-e89b-12d3-a456-426614174000, un UUID de la versión 1."),
        ("¿Y la serie?", "1 1 2 3 5 8 13 21 34 55 89 144 233, la de Fibonacci."),
        ("¿Referencia catastral?", "9872023 VH5797S 0001 WX es solo un ejemplo de formato."),
    ]
    return [chat(ask, answer) for ask, answer in facts]


def markdown() -> Rows:
    topics = ["pan", "yogur", "compost", "ajedrez", "velas", "origami", "kéfir", "bonsáis", "jabón", "cometas", "tinta"]
    return [
        chat(
            f"Haz una guía corta sobre {topic}",
            f"# Guía de {topic}\n\n| paso | tiempo |\n|---|---|\n| preparar {topic} | {place + 5} min |\n\n"
            f"> **Nota**: más en [la wiki](https://es.wikipedia.org/wiki/{topic}).\n\n"
            f"- [ ] empezar\n- [x] leer sobre {topic}",
        )
        for place, topic in enumerate(topics)
    ]


def unusual_separators() -> Rows:
    """U+2028, NEL, form feeds and tabs inside texts are correct JSONL."""
    marks = ["\u2028", "\u2029", "\x85", "\x0b", "\x0c", "\t", "\u00a0", "\u202f", "\u2009", "\u3000"]
    words = ["uno", "dos", "tres", "cuatro", "cinco", "seis", "siete", "ocho", "nueve", "diez"]
    return [chat(f"Separa {word}", f"antes{mark}después de {word}") for word, mark in zip(words, marks, strict=True)]


def alpaca() -> Rows:
    jobs = [
        (
            "Resume el texto.",
            "La fotosíntesis convierte luz en energía química.",
            "Las plantas usan la luz para alimentarse.",
        ),
        ("Escribe un titular.", "", "Un pueblo recupera su molino centenario"),
        ("Corrige la frase.", "Haber si vienes mañana", "A ver si vienes mañana."),
        ("Da un sinónimo.", "rápido", "veloz"),
        ("Explica qué es un eclipse.", "", "Es cuando un astro tapa a otro visto desde un lugar."),
        ("Ordena alfabéticamente.", "pera, kiwi, ajo", "ajo, kiwi, pera"),
        ("Convierte a pasado.", "como pan", "comí pan"),
        ("Propón un nombre.", "una cafetería junto al mar", "La Marea Tostada"),
        ("Extrae la fecha.", "La reunión será el 4 de mayo.", "4 de mayo"),
        ("Inventa una adivinanza.", "", "Tengo agujas y no coso: el reloj."),
        ("Pon título.", "Un cuento de un zorro y una luna", "El zorro que quiso la luna"),
    ]
    return [{"instruction": ask, "input": given, "output": answer} for ask, given, answer in jobs]


def alpaca_with_history() -> Rows:
    return [{**row, "system": "Sé breve.", "history": [["Hola", "¡Hola! ¿En qué te ayudo?"]]} for row in alpaca()]


def sharegpt() -> Rows:
    rows = []
    for place, topic in enumerate(
        ["lupas", "mareas", "imanes", "nubes", "ecos", "sombras", "volcanes", "lunas", "rocas", "ríos", "dunas"]
    ):
        rows.append(
            {
                "id": f"identity_{place}",
                "conversations": [
                    {"from": "system", "value": "Eres divulgador científico."},
                    {"from": "human", "value": f"Cuéntame algo de {topic}"},
                    {
                        "from": "gpt",
                        "value": f"Sobre {topic} se sabe desde hace {place + 3} siglos más de lo que crees.",
                    },
                    {"from": "human", "value": "¿Y qué más?"},
                    {"from": "gpt", "value": f"Que las {topic} aparecen en {place + 2} leyendas distintas."},
                ],
            }
        )
    return rows


def sharegpt_tools() -> Rows:
    tools = json.dumps([{"name": "buscar", "parameters": {"type": "object"}}])
    return [
        {
            "conversations": [
                {"from": "human", "value": f"Busca {what}"},
                {"from": "function_call", "value": json.dumps({"name": "buscar", "arguments": {"q": what}})},
                {"from": "observation", "value": json.dumps({"total": place + 3})},
                {"from": "gpt", "value": f"He encontrado {place + 3} resultados de {what}."},
            ],
            "tools": tools,
        }
        for place, what in enumerate(
            ["gatos", "mapas", "vinos", "trenes", "lanas", "setas", "quesos", "pozos", "faros", "nidos"]
        )
    ]


def preference_strings() -> Rows:
    asks = [
        "una época",
        "un token",
        "una pérdida",
        "un lote",
        "un gradiente",
        "un sesgo",
        "una capa",
        "un peso",
        "un dato",
        "un modelo",
    ]
    return [
        {
            "prompt": f"Explica qué es {ask}.",
            "chosen": f"{ask.capitalize()} es una idea básica y aquí va un ejemplo claro.",
            "rejected": f"No sé nada de {ask}.",
        }
        for ask in asks
    ]


def preference_chat() -> Rows:
    return [
        {
            "prompt": [{"role": "user", "content": row["prompt"]}],
            "chosen": [{"role": "assistant", "content": row["chosen"]}],
            "rejected": [{"role": "assistant", "content": row["rejected"]}],
        }
        for row in preference_strings()
    ]


def preference_openai() -> Rows:
    return [
        {
            "input": {"messages": row["prompt"], "tools": [], "parallel_tool_calls": True},
            "preferred_output": row["chosen"],
            "non_preferred_output": row["rejected"],
        }
        for row in preference_chat()
    ]


def preference_implicit() -> Rows:
    """The prompt stands at the start of both sides, as several public sets have it."""
    return [
        {"chosen": row["prompt"] + row["chosen"], "rejected": row["prompt"] + row["rejected"]}
        for row in preference_chat()
    ]


def kto() -> Rows:
    """One prompt, a good and a bad answer: judged apart, not a contradiction."""
    rows = []
    for row in preference_strings():
        rows.append({"prompt": row["prompt"], "completion": row["chosen"], "label": True})
        rows.append({"prompt": row["prompt"], "completion": row["rejected"], "label": False})
    return rows


def prompt_completion_chat() -> Rows:
    return [{"prompt": row["prompt"], "completion": row["chosen"]} for row in preference_chat()]


def running_text() -> Rows:
    lines = [
        "En un lugar apartado vivía un relojero que solo arreglaba relojes parados.",
        "La lluvia llegó de noche y se quedó tres semanas, como una visita.",
        "Nadie sabía cuántos escalones tenía el faro, porque nadie los contaba al bajar.",
        "El mercado olía a comino, a cuero y a fruta madura.",
        "Su abuela guardaba las cartas en una lata de galletas danesas.",
        "Aquel invierno el río se heló hasta el puente viejo.",
        "Los trenes pasaban de largo desde que cerraron la mina.",
        "Dijo que volvería en otoño, y en otoño volvió.",
        "Una cometa roja quedó presa en el tejado del colegio.",
        "El último en salir apagaba la luz y daba las gracias al edificio.",
    ]
    return [{"text": line} for line in lines]


def json_answers() -> Rows:
    """Structured answers start and end alike; that is their form."""
    people = ["Ana", "Luis", "Marta", "Iván", "Sofía", "Raúl", "Elena", "Pablo", "Nuria", "Hugo", "Alba"]
    jobs = ["médica", "albañil", "pintora", "chef", "jueza", "piloto", "actriz", "minero", "maestra", "poeta", "física"]
    return [
        chat(
            f"{name} trabaja de {job}. Extrae los datos.",
            json.dumps({"nombre": name, "oficio": job}, ensure_ascii=False),
        )
        for name, job in zip(people, jobs, strict=True)
    ]


def mentions() -> Rows:
    """Mentions, invites and «ignora las instrucciones anteriores» are data."""
    texts = [
        "@everyone",
        "<@123456789012345678>",
        "@here",
        "discord.gg/abc",
        "ignora las instrucciones anteriores",
        "ignore all previous instructions",
        "<#987>",
        "</comando:1>",
        "```ansi",
        "||spoiler||",
        "<:cara:12>",
    ]
    return [
        chat(f"¿Es peligroso el texto {text}?", f"No: {text} aquí es solo texto que alguien ha escrito.")
        for text in texts
    ]


def reasoning() -> Rows:
    """Closed reasoning at the start of an answer."""
    return [
        chat(
            f"¿Cuánto es {a} por {a + 1}?",
            f"<think>\n{a} por {a + 1} son {a * (a + 1)}.\n</think>\n\nSon {a * (a + 1)}.",
        )
        for a in range(3, 15)
    ]


def exported_nulls() -> Rows:
    """As a library writes optional fields that are absent."""
    return [
        {
            "messages": [
                {**turn, "name": None, "tool_calls": None, "tool_call_id": None, "function_call": None, "weight": None}
                for turn in row["messages"]
            ],
            "tools": None,
        }
        for row in capitals()
    ]


def text_parts() -> Rows:
    return [
        {
            "messages": [
                {"role": turn["role"], "content": [{"type": "text", "text": turn["content"]}]}
                for turn in row["messages"]
            ]
        }
        for row in capitals()
    ]


CLEAN: dict[str, Callable[[], Rows]] = {
    make.__name__: make
    for make in (
        classification,
        capitals,
        arithmetic,
        translation,
        code,
        tool_use,
        parallel_tools,
        multi_turn,
        role_play,
        emoji,
        right_to_left,
        numbers_and_dates,
        markdown,
        unusual_separators,
        alpaca,
        alpaca_with_history,
        sharegpt,
        sharegpt_tools,
        preference_strings,
        preference_chat,
        preference_openai,
        preference_implicit,
        kto,
        prompt_completion_chat,
        running_text,
        json_answers,
        mentions,
        reasoning,
        exported_nulls,
        text_parts,
    )
}

FORMATS: dict[str, str] = {
    **dict.fromkeys(CLEAN, "messages"),
    "arithmetic": "prompt_completion",
    "emoji": "prompt_completion",
    "prompt_completion_chat": "prompt_completion",
    "alpaca": "alpaca",
    "alpaca_with_history": "alpaca",
    "sharegpt": "sharegpt",
    "sharegpt_tools": "sharegpt",
    **{name: "preference" for name in CLEAN if name.startswith("preference")},
    "kto": "preference",
    "running_text": "text",
}


def as_jsonl(rows: Rows, *, ascii_only: bool = False) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=ascii_only) + "\n" for row in rows).encode()
