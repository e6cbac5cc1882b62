"""The demo's task: which corner of a neighbourhood repair workshop a message belongs to.

Rule of this file: Spanish, made by rule, of our own; a seed gives the same rows everywhere. Four labels, as many rows
of each. A row is a thing, a trouble, an owner and a frame; every word and every frame of a held-out row occurs in
training, but never that thing in that frame, so it cannot be answered by memory of a sentence. It knows nothing of
any model.
"""

from __future__ import annotations

import json
import random
from dataclasses import dataclass

Row = dict[str, list[dict[str, str]]]

TRAIN_ROWS = 200
HELD_OUT_ROWS = 60

# Things by corner of the workshop; the corner is the answer.
THINGS: dict[str, tuple[str, ...]] = {
    "bicicletas": ("la cadena oxidada", "el sillín", "el manillar", "los pedales", "los radios", "la cámara pinchada"),
    "costura": ("la cremallera", "el dobladillo", "la manga rasgada", "el forro", "los corchetes", "la falda plisada"),
    "electricidad": ("el enchufe", "la lámpara", "el interruptor", "la tostadora", "los cables", "la bombilla fundida"),
    "carpintería": ("la silla coja", "el cajón", "la cómoda astillada", "el estante", "los tablones", "la bisagra"),
}
TROUBLES = (
    "ya no aguanta", "da problemas", "se estropeó ayer", "necesita una mano", "me trae de cabeza", "lleva meses así",
    "quedó fatal", "hay que arreglarlo",
)  # fmt: skip
OWNERS = ("de mi vecina", "de mi sobrino", "de la abuela", "del trastero", "de mi hermana", "que heredé")
FRAMES = (
    "Vengo con {thing} {owner}: {trouble}",
    "{thing} {owner}, {trouble}; ¿a qué mesa voy?",
    "¿Atendéis esto el jueves? {thing} {owner}, {trouble}",
    "Traigo {thing}. {trouble}. Es {owner}",
    "¿Quién me echa un cable con {thing} {owner}? {trouble}",
    "Perdón por la hora, {thing} {owner} {trouble}",
    "{trouble}: {thing} {owner}. ¿Tenéis hueco?",
    "Apunto en la lista {thing} {owner}, {trouble}",
    "Me pasa algo con {thing} {owner}, {trouble}",
    "Turno de tarde, por favor. {thing} {owner}: {trouble}",
    "Antes de tirar {thing} {owner} pregunto, porque {trouble}",
    "Busco voluntario para {thing} {owner}; {trouble}",
)


def rows(seed: int, *, train: int = TRAIN_ROWS, held_out: int = HELD_OUT_ROWS) -> tuple[list[Row], list[Row]]:
    """(training, held-out) rows in the `messages` format, shuffled, balanced over the labels.

    No thing and frame of a held-out row stand together in training; each of them stands there with others.
    """
    rng = random.Random(seed)
    training: list[Row] = []
    waiting: list[Row] = []
    for label, things in THINGS.items():
        # A third of the frames of each thing is kept for the held-out rows; the shift makes it another third for each.
        frames = rng.sample(FRAMES, len(FRAMES))
        kept: list[tuple[str, str]] = []
        seen: list[tuple[str, str]] = []
        for shift, thing in enumerate(things):
            for index, frame in enumerate(frames):
                (kept if (index + shift) % 3 == 0 else seen).append((thing, frame))
        training += _rows(rng, label, seen, train // len(THINGS))
        waiting += _rows(rng, label, kept, held_out // len(THINGS))
    rng.shuffle(training)
    rng.shuffle(waiting)
    return training, waiting


def _rows(rng: random.Random, label: str, pairs: list[tuple[str, str]], count: int) -> list[Row]:
    """`count` rows of a label from these pairs of thing and frame, all things about equally often."""
    by_thing: dict[str, list[str]] = {}
    for thing, frame in rng.sample(pairs, len(pairs)):
        by_thing.setdefault(thing, []).append(frame)
    chosen: list[Row] = []
    while len(chosen) < count:
        for thing, frames in by_thing.items():
            if len(chosen) == count:
                break
            chosen.append(_row(_message(rng, thing, frames[len(chosen) // len(by_thing) % len(frames)]), label))
    return chosen


def _message(rng: random.Random, thing: str, frame: str) -> str:
    text = frame.format(thing=thing, owner=rng.choice(OWNERS), trouble=rng.choice(TROUBLES))
    return text[0].upper() + text[1:] + rng.choice(("", ".", " Gracias.", " :)"))


def _row(message: str, label: str) -> Row:
    return {"messages": [{"role": "user", "content": message}, {"role": "assistant", "content": label}]}


def to_jsonl(rows: list[Row]) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@dataclass(frozen=True, kw_only=True)
class BrokenFile:
    """A JSONL file with planted mistakes."""

    text: str
    mistakes: dict[int, str]  # line, counted from 1 → what is wrong there (Spanish)


def broken_file(seed: int, *, count: int = 24) -> BrokenFile:
    """Rows as people send them: most are good, five are not."""
    good, _ = rows(seed)
    lines = [json.dumps(row, ensure_ascii=False) for row in good[:count]]
    rng = random.Random(seed)
    places = sorted(rng.sample(range(1, count), 5))
    message = json.loads(lines[places[0]])["messages"]
    wrong_role = [message[0] | {"role": "usuario"}, message[1]]
    no_answer = json.loads(lines[places[2]])["messages"][:1]
    empty = json.loads(lines[places[3]])["messages"]
    empty[1]["content"] = ""
    lines[places[0]] = json.dumps({"messages": wrong_role}, ensure_ascii=False)
    lines[places[1]] = lines[places[1]][:-1] + ",}"
    lines[places[2]] = json.dumps({"messages": no_answer}, ensure_ascii=False)
    lines[places[3]] = json.dumps({"messages": empty}, ensure_ascii=False)
    lines[places[4]] = lines[places[4]].replace('"', "'")
    said = ("rol desconocido", "coma de más", "falta la respuesta", "respuesta vacía", "comillas simples")
    return BrokenFile(
        text="\n".join(lines) + "\n", mistakes={place + 1: what for place, what in zip(places, said, strict=True)}
    )
