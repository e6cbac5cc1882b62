"""What only the whole set shows: twins, contradictions, lopsided classes, frames, mixed languages; and what is fine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from jobs.dataset import check_file
from tests.dataset.clean import Rows, as_jsonl, chat, classification, kto, preference_strings

PAIRS = [
    ("¿Cómo riego un cactus?", "Echa poca agua cada quince días y deja que la tierra se seque del todo."),
    ("¿Qué hago si pierdo el tren?", "Pregunta en la taquilla por el siguiente y pide que te cambien el billete."),
    ("¿Para qué sirve el bicarbonato?", "Ayuda a limpiar la cocina, quita malos olores y esponja algunos bizcochos."),
    ("¿Cómo conservo el pan?", "Guárdalo en una bolsa de tela, lejos del calor, y congela lo que sobre."),
    ("¿Qué ropa llevo a la montaña?", "Varias capas finas, un impermeable ligero y botas que ya hayas usado antes."),
    ("¿Cómo pido un aumento?", "Prepara ejemplos de lo que has logrado y elige un momento tranquilo para hablar."),
    (
        "¿Por qué se empañan los cristales?",
        "Porque el aire húmedo se enfría al tocar el vidrio y el vapor se condensa.",
    ),
    ("¿Cómo elijo una sandía?", "Busca una que pese mucho, suene hueca y tenga la mancha de abajo amarilla."),
    ("¿Qué es una beca Erasmus?", "Una ayuda de la Unión Europea para estudiar unos meses en otra universidad."),
    (
        "¿Cómo quito una mancha de vino?",
        "Cúbrela con sal enseguida, espera unos minutos y lava la prenda con agua fría.",
    ),
    ("¿Cuándo se podan los rosales?", "Al final del invierno, cuando ya no hiela y las yemas empiezan a hincharse."),
    ("¿Cómo aprendo a nadar de mayor?", "Apúntate a clases en grupo y empieza por flotar sin prisa en la parte baja."),
    ("¿Qué como antes de correr?", "Algo ligero con hidratos, como un plátano o una tostada, una hora antes."),
    ("¿Cómo hago un currículum?", "Resume en una página lo que sabes hacer y pon primero lo más reciente."),
    ("¿Por qué maúlla tanto mi gato?", "Suele pedir comida, juego o compañía; fíjate en la hora y en el tono."),
    ("¿Cómo duermo mejor?", "Acuéstate siempre a la misma hora y deja las pantallas un buen rato antes."),
]
ENGLISH = [
    ("How do I keep bread fresh?", "Keep it in a cloth bag away from the heat and freeze what is left over."),
    (
        "What should I wear in the mountains?",
        "Several thin layers, a light raincoat and boots that you have already used.",
    ),
    ("Why does my cat meow so much?", "It usually asks for food or company, so look at the time and at the tone."),
]


def base() -> Rows:
    return [chat(asked, answer) for asked, answer in PAIRS]


def told(rows: Rows, folder: Path) -> list[tuple[str, int | None]]:
    path = folder / "a.jsonl"
    path.write_bytes(as_jsonl(rows))
    return [(problem.code, problem.line) for problem in check_file(path).problems]


def changed(place: int, **answer: str) -> dict[str, Any]:
    asked, said = PAIRS[place]
    return chat(answer.get("asked", asked), answer.get("said", said))


LAST = len(PAIRS) + 1
ONE_MORE: dict[str, tuple[dict[str, Any], list[tuple[str, int]]]] = {
    "the same again": (changed(3), [("duplicate", LAST)]),
    "the same but for case and signs": (
        changed(3, asked="COMO CONSERVO EL PAN", said=PAIRS[3][1].replace(",", "").replace("á", "a")),
        [("near_duplicate", LAST)],
    ),
    "a typing error": (changed(5, said=PAIRS[5][1].replace("ejemplos", "ejenplos")), [("near_duplicate", LAST)]),
    "a word more in the answer": (
        changed(9, said=PAIRS[9][1].replace("agua fría", "agua muy fría")),
        [("near_duplicate", LAST)],
    ),
    "a courtesy before the question": (changed(8, asked=f"Hola, {PAIRS[8][0]}"), [("near_duplicate", LAST)]),
    "a courtesy after the question": (changed(8, asked=f"{PAIRS[8][0]} Gracias."), [("near_duplicate", LAST)]),
    "a word or two in a short answer to the same question": (
        changed(4, said=PAIRS[4][1].replace("ligero", "barato") + " Y agua."),
        [("contradiction", LAST)],  # short answers that differ are told as such
    ),
    "the same input and another answer": (changed(0, said="Riégalo a diario."), [("contradiction", LAST)]),
    "one tiny answer": (chat("¿Me ayudas con la maleta?", "Ok."), [("short_answer", LAST)]),
    "another input with one other word": (
        changed(
            10,
            asked="¿Cuándo se podan los olivos?",
            said="En otoño, tras la cosecha, y siempre en días secos y sin viento fuerte.",
        ),
        [],
    ),
    "a number that changes everything": (
        chat(
            "¿Cuánto son 12 manzanas y 7 peras más en total?", "Son 19 piezas de fruta en total, contadas una por una."
        ),
        [],
    ),
    "a short answer that is a number": (chat("¿Cuántas patas tiene una araña?", "8"), []),
    "a short answer that is an emoji": (chat("Resume tu día con un emoji", "😴"), []),
    "a translation": (
        chat("Traduce al inglés: «El pan está en la mesa de la cocina»", "The bread is on the table of the kitchen."),
        [],
    ),
}


LONG = (
    "Empieza por medir la pared y marca con lápiz la altura de los estantes. Después taladra despacio, mete un taco en "
    "cada agujero y atornilla los soportes sin apretar. Coloca encima la tabla, mira que esté recta y aprieta del todo."
)


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (LONG.replace("despacio", "con calma"), ["near_duplicate"]),
        (LONG + " ¡Mucha suerte!", ["near_duplicate"]),
        (LONG.split(". ", 1)[1], []),  # a third of it is gone: another answer
    ],
    ids=["another word", "a farewell", "much shorter"],
)
def test_a_long_answer_that_hardly_differs_is_told(said: str, expected: list[str], tmp_path: Path) -> None:
    rows = [*base(), chat("¿Cómo cuelgo un estante?", LONG), chat("¿Cómo cuelgo un estante?", said)]
    assert told(rows, tmp_path) == [(code, len(rows)) for code in expected]


@pytest.mark.parametrize("case", ONE_MORE)
def test_one_more_example(case: str, tmp_path: Path) -> None:
    row, expected = ONE_MORE[case]
    assert told([*base(), row], tmp_path) == expected


WHOLE: dict[str, tuple[Rows, list[str]]] = {
    "nothing": (base(), []),
    "all answers alike": ([chat(asked, "No lo sé, lo siento mucho.") for asked, _ in PAIRS], ["identical_answers"]),
    "one class for nearly all": (
        [chat(asked, "spam" if place else "normal") for place, (asked, _) in enumerate(PAIRS)],
        ["class_imbalance"],
    ),
    "two classes, not too uneven": (
        [chat(asked, "spam" if place % 3 else "normal") for place, (asked, _) in enumerate(PAIRS)],
        [],
    ),
    "a heading before all answers": ([chat(asked, f"Respuesta: {said}") for asked, said in PAIRS], ["common_prefix"]),
    "a sentence before all answers": (
        [chat(asked, f"¡Claro que sí! {said}") for asked, said in PAIRS],
        ["common_prefix"],
    ),
    "a farewell after all answers": (
        [chat(asked, f"{said} Espero haberte ayudado.") for asked, said in PAIRS],
        ["common_suffix"],
    ),
    "a mark after all answers": ([chat(asked, f"{said} ###") for asked, said in PAIRS], ["common_suffix"]),
    "some in another language": (base() + [chat(*pair) for pair in ENGLISH], ["language_mix"]),
    "some texts in another language": ([{"text": said} for _, said in PAIRS + ENGLISH], ["language_mix"]),
    "texts about a translation": (
        [{"text": said} for _, said in PAIRS] + [{"text": f"Traducción: {said}"} for _, said in ENGLISH],
        [],
    ),
    "a template in the answers": (
        [chat(f"¿Quién escribió «{name}»?", f"La obra «{name}» la escribió alguien llamado {name[::-1]}.") for name in
         ["Luna", "Arena", "Bruma", "Calma", "Duna", "Espejo", "Faro", "Grano", "Hiedra", "Isla", "Junco"]],
        [],
    ),
    "classes that repeat": (classification() + classification()[:0], []),
    "good and bad answers to one input": (kto(), []),
}  # fmt: skip


@pytest.mark.parametrize("case", WHOLE)
def test_a_whole_set(case: str, tmp_path: Path) -> None:
    rows, expected = WHOLE[case]
    assert told(rows, tmp_path) == [(code, None) for code in expected]


def test_the_same_pair_judged_both_ways_is_a_contradiction(tmp_path: Path) -> None:
    pairs = preference_strings()
    turned = {**pairs[0], "chosen": pairs[0]["rejected"], "rejected": pairs[0]["chosen"]}
    assert told([*pairs, turned], tmp_path) == [("contradiction", len(pairs) + 1)]
    votes = kto()
    assert told([*votes, {**votes[0], "label": False}], tmp_path) == [("contradiction", len(votes) + 1)]


def test_equal_sides_of_a_pair_are_told(tmp_path: Path) -> None:
    pairs = preference_strings()
    pairs[4]["rejected"] = pairs[4]["chosen"]
    assert told(pairs, tmp_path) == [("same_pair", 5)]
