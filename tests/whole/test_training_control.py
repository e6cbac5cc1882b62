"""Steering trainings from Discord: cancel, pause, resume and repeat in every phase, each with the right answer.

Each wish is told to two jobs at most and pressed twice; the machine that trains dies once. Two people share one worker.
"""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest

from playground.views import Message
from tests.whole.studio import PATIENCE, Student, Studio

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

LONG = {"vueltas": "50"}


def rows(count: int = 60) -> list[dict[str, Any]]:
    answers = ("rojo", "azul", "verde")
    return [
        {
            "messages": [
                {"role": "user", "content": f"¿Qué color lleva el número {i}?"},
                {"role": "assistant", "content": answers[i % 3]},
            ]
        }
        for i in range(count)
    ]


async def in_phase(card: Message, phase: str) -> Message:
    return await card.wait(lambda one: one.text.split("\n")[1].startswith(phase), timeout=PATIENCE, what=phase)


async def wishes(who: Student, name: str, *verbs: str) -> list[str]:
    """What the commands answer, one after the other; only the first line of each."""
    answers = [await who.command(f"entrenamientos {verb}", entrenamiento=name) for verb in verbs]
    return [answer.split("\n")[0] for answer in answers]


class TestWhileItTrains:
    async def test_pause_resume_and_cancel_pressed_twice(self, studio: Studio) -> None:
        ana = studio.student("Ana")
        card = await ana.train(await ana.upload("colores.jsonl", rows()), "largo", values=LONG)
        await card.wait(lambda one: "entrenando 2" in one.text, timeout=PATIENCE)
        assert "guardará su avance" in await ana.press(card, "Pausar")
        assert await wishes(ana, "largo", "pausar", "reanudar", "repetir") == [
            "**largo** guardará su avance y se detendrá en unos segundos.",
            "⚠️ Todavía se está deteniendo.",
            "⚠️ Ese entrenamiento todavía no ha terminado.",
        ]
        await in_phase(card, "en pausa en el paso")
        assert [button.label for button in card.buttons] == ["Reanudar", "Cancelar", "Ver curva"]
        stood = int(card.text.split("en el paso ")[1].split("/")[0])
        assert await wishes(ana, "largo", "pausar") == ["**largo** está en pausa. Sigue cuando quieras con Reanudar."]

        assert "seguirá donde se quedó" in await ana.press(card, "Reanudar")
        assert await wishes(ana, "largo", "reanudar") == ["⚠️ No está en pausa: está en la cola o en marcha."]
        await in_phase(card, "entrenando ")
        assert int(card.text.split("entrenando ")[1].split("/")[0]) >= stood

        assert "se detendrá en unos segundos" in await ana.press(card, "Cancelar")
        assert await wishes(ana, "largo", "cancelar") == ["**largo** se detendrá en unos segundos."]
        await in_phase(card, "cancelado")
        assert card.buttons == []
        assert await wishes(ana, "largo", "cancelar", "pausar", "reanudar") == 3 * [
            "⚠️ Este entrenamiento ya estaba cancelado."
        ]
        assert "largo" not in await ana.command("modelos lista")

    async def test_the_machine_dies_and_another_attempt_goes_on(self, studio: Studio) -> None:
        leo = studio.student("Leo")
        card = await leo.train(await leo.upload("colores.jsonl", rows()), "tenaz", values={"vueltas": "15"})
        await card.wait(lambda one: "validación" in one.text and "entrenando" in one.text, timeout=PATIENCE)
        worker = studio.stack.child("worker").process
        assert worker is not None
        os.kill(worker.pid, signal.SIGKILL)
        await card.wait(lambda one: "No se ha perdido nada" in one.text, timeout=PATIENCE)
        end = await leo.end("tenaz")
        assert "tu modelo está listo" in end.text
        assert "2 intentos" in end.text


PHASES = [
    "arrancando",
    "preparando los datos",
    "cargando el modelo base",
    "entrenando",
    "evaluando",
    "guardando el modelo",
]


@pytest.mark.parametrize(
    ("phase", "verb", "outcome"),
    [
        ("preparando los datos", "pausar", "en pausa"),
        ("cargando el modelo base", "cancelar", "cancelado"),
        ("evaluando", "cancelar", "cancelado"),
    ],
)
async def test_a_wish_is_heard_in_every_phase(studio: Studio, phase: str, verb: str, outcome: str) -> None:
    """A phase may be over before the wish arrives; then it counts in the next one. The very last comes too late."""
    who = studio.student(f"{verb} {phase}")
    card = await who.train(await who.upload("colores.jsonl", rows()), "breve", values={"vueltas": "3"})
    begun = tuple(PHASES[PHASES.index(phase) :])
    await card.wait(lambda one: one.text.split("\n")[1].startswith((*begun, "terminado")), timeout=PATIENCE, what=phase)
    (first,) = await wishes(who, "breve", verb)
    await card.wait(
        lambda one: one.text.split("\n")[1].startswith((outcome, "terminado")), timeout=PATIENCE, what=outcome
    )
    if card.text.split("\n")[1] == "terminado":
        assert "ya terminó" in first or "bórralo con" in first
        assert phase == "evaluando"
        return
    assert "breve" not in await who.command("modelos lista")
    if verb == "pausar":
        await who.press(card, "Reanudar")
        assert "tu modelo está listo" in (await who.end("breve")).text


class TestInTheQueue:
    async def test_two_people_share_one_worker_fairly(self, studio: Studio) -> None:
        ana, berta = studio.student("Ana"), studio.student("Berta")
        data = await ana.upload("colores.jsonl", rows())
        first = await ana.train(data, "uno", values=LONG)
        await in_phase(first, "entrenando")
        second, third = await ana.train(data, "dos"), await ana.train(data, "tres")
        plan = await berta.propose(await berta.upload("suyos.jsonl", rows()), "cuatro")
        assert "1.º, empieza en unos" in plan.text  # before Ana's second and third
        hers = await berta.confirm(plan, "cuatro")
        assert "en cola (1.º, empieza en unos" in hers.text
        assert "1 en marcha · 3 esperando" in await berta.command("entrenamientos lista")
        assert "dos" not in await berta.command("entrenamientos lista")

        assert "está en pausa" in await ana.press(second, "Pausar")
        await in_phase(second, "en pausa")
        assert "está cancelado" in await ana.press(third, "Cancelar")
        assert await wishes(ana, "tres", "cancelar") == ["⚠️ Este entrenamiento ya estaba cancelado."]
        assert "vuelve a la cola" in await ana.press(second, "Reanudar")
        await wishes(ana, "uno", "cancelar")
        assert "tu modelo está listo" in (await berta.end("cuatro")).text
        await second.refresh()
        assert "terminado" not in second.text  # hers came first
        assert "tu modelo está listo" in (await ana.end("dos")).text

    async def test_a_finished_job_is_repeated_once_however_often_that_is_pressed(self, studio: Studio) -> None:
        eva = studio.student("Eva")
        await eva.train(await eva.upload("colores.jsonl", rows()), "otra")
        end = await eva.end("otra")
        assert await wishes(eva, "otra", "pausar", "cancelar", "reanudar") == 3 * ["⚠️ Este entrenamiento ya terminó."]
        once, twice = [await eva.command("entrenamientos repetir", entrenamiento="otra", semilla=7) for _ in range(2)]
        assert once == twice
        assert "vuelve a empezar" in once
        again = await eva.end("otra 2")
        assert "tu modelo está listo" in again.text
        assert end.id != again.id
