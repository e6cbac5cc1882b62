"""Many people at once while the bot is at its heaviest work: nobody is left without an answer."""

from __future__ import annotations

import asyncio
import json

from bot.client import Afina
from playground import Playground

COMMANDS = ["ayuda", "limites", "privacidad", "datos lista", "modelos lista"]


def large(lines: int) -> bytes:
    """A dataset of about 10 MiB."""
    rows = [
        {"messages": [
            {"role": "user", "content": f"Pregunta {n}: " + "¿qué es esto? " * 20},
            {"role": "assistant", "content": f"Respuesta {n}: " + "es otra cosa distinta. " * 20},
        ]}
        for n in range(lines)
    ]  # fmt: skip
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


async def test_fifty_commands_during_a_validation_are_all_acknowledged(place: Playground, bot: Afina) -> None:
    """How soon is measured by `benchmarks/commands.py`; the loopback Discord gives up on an answer as Discord does."""
    await place.wait_bot("datos", "ayuda")
    data = large(11_500)
    assert 9 * 2**20 < len(data) <= 10 * 2**20
    ana = place.person("Ana")
    people = [place.person(f"Persona {number}") for number in range(50)]
    judging = asyncio.create_task(ana.slash("datos subir", archivo=("grande.jsonl", data), tengo_derecho=True))
    await asyncio.sleep(0.2)
    answers = await asyncio.gather(
        *(person.slash(COMMANDS[number % len(COMMANDS)], timeout=30) for number, person in enumerate(people))
    )
    assert len(answers) == 50  # whoever is not acknowledged raises NoAnswer
    await (await judging).done(timeout=60)
