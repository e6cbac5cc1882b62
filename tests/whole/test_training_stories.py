"""Trainings as people live them: each kind of data and method, and the ways in which one goes wrong.

Every story is told through Discord alone, on real processes and real trainings. What must hold: the person reads, in
Spanish, what came of it, why, what to change and where the course explains it, and has the button for it.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import zipfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from playground import task
from playground.views import Message
from tests.whole.studio import PATIENCE, Student, Studio

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow, pytest.mark.asyncio(loop_scope="module")]

BRIEF = {"vueltas": "1"}  # the numbers do not matter, what is told does
COLOURS = {"tomate": "rojo", "cielo": "azul", "hierba": "verde", "limón": "amarillo"}


def chat(question: str, answer: str, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer} | more]}


def colours(count: int = 60) -> list[dict[str, Any]]:
    things = list(COLOURS.items())
    return [chat(f"{i}. ¿De qué color es: {things[i % 4][0]}?", things[i % 4][1]) for i in range(count)]


def corners(count: int = 60) -> list[dict[str, Any]]:
    return task.rows(5, train=count)[0]


def pairs(count: int = 60) -> list[dict[str, Any]]:
    answers = ("Buenos días, estimada persona.", "Le saludo atentamente.")
    return [{"prompt": f"En tono formal: hola {i}", "completion": answers[i % 2]} for i in range(count)]


def texts(count: int = 60) -> list[dict[str, Any]]:
    breads = ("centeno", "trigo", "maíz", "avena", "espelta")
    return [
        {"text": f"Receta {i}: el pan de {breads[i % 5]} se amasa, reposa y se hornea despacio."} for i in range(count)
    ]


def preferences(count: int = 60) -> list[dict[str, Any]]:
    def said(text: str) -> list[dict[str, str]]:
        return [{"role": "assistant", "content": text}]

    return [
        {
            "prompt": [{"role": "user", "content": f"¿Me ayudas con la tarea {i}?"}],
            "chosen": said("Con mucho gusto, vamos paso a paso."),
            "rejected": said("No."),
        }
        for i in range(count)
    ]


def votes(count: int = 60) -> list[dict[str, Any]]:
    answers = ("Ni idea.", "Con mucho gusto te lo explico.")
    return [{"prompt": f"¿Cómo se hace {i}?", "completion": answers[i % 2], "label": i % 2 == 1} for i in range(count)]


def buttons(message: Message) -> list[str]:
    return [button.label for button in message.buttons if button.label]


def phases(card: Message) -> list[str]:
    """What the progress card said it was doing, without the numbers."""
    lines = [edit.text.split("\n")[1] for edit in card.edits]
    return list(dict.fromkeys(line.split(" (")[0].rstrip("0123456789/ ") for line in lines))


@contextlib.asynccontextmanager
async def little_memory(studio: Studio, spare: int) -> AsyncIterator[None]:
    """Trainings that begin inside find no more than `spare` bytes of memory beyond what the worker holds."""
    worker = psutil.Process(await studio.worker())
    held = worker.memory_info().data
    before = worker.rlimit(psutil.RLIMIT_DATA)
    worker.rlimit(psutil.RLIMIT_DATA, (held + spare, before[1]))
    try:
        yield
    finally:
        worker.rlimit(psutil.RLIMIT_DATA, before)


@pytest.mark.parametrize(
    ("name", "rows", "wish", "said"),
    [
        ("etiquetas", corners(), {}, ["acierto", "base+4", "en el prompt", "intervalo del 95", "se ahorra"]),
        ("cuatrobits", corners(), {"Método": ["QLoRA"]}, ["acierto", "F1 macro"]),
        ("formal", pairs(), {}, ["acierto", "tokens"]),
        ("panes", texts(), {}, ["pérdida"]),
        ("amable", preferences(), {}, ["prefiere", "cara o cruz", "La preferida"]),
        ("votos", votes(), {}, ["prefiere", "cara o cruz", "La preferida: Con mucho gusto te lo explico."]),
    ],
)
async def test_each_kind_of_data_and_method_ends_with_an_evaluated_model(
    studio: Studio, name: str, rows: list[dict[str, Any]], wish: dict[str, Any], said: list[str]
) -> None:
    ana = studio.student("Ana")
    data = await ana.upload(f"{name}.jsonl", rows)
    progress = await ana.train(data, name, values=BRIEF, **wish)
    end = await ana.end(name)
    assert "tu modelo está listo" in end.text
    assert "Medido en 1" in end.text  # ten rows and more, also of a small file: enough for a verdict
    for words in said:
        assert words in end.text
    assert {"Charlar", "Comparar"} <= set(buttons(end))
    assert [file.filename for file in end.attachments] == ["curva.png"]
    await progress.refresh()
    assert progress.text.split("\n")[1] == "terminado"
    assert not progress.buttons
    assert phases(progress)[0] == "en cola"
    assert "entrenando" in phases(progress)


async def test_a_model_can_be_trained_on_and_its_files_taken_away(studio: Studio) -> None:
    eva = studio.student("Eva")
    data = await eva.upload("colores.jsonl", colours())
    await eva.train(data, "primero", values={"vueltas": "3"})
    await eva.end("primero")
    plan = await eva.propose(data, "segundo", Modelo_base=["Seguir con primero"])
    assert "Continúa un modelo tuyo sobre Afina mini" in plan.text
    await eva.confirm(await eva.tweak(plan, **BRIEF), "segundo")
    assert "tu modelo está listo" in (await eva.end("segundo")).text
    assert "primero" in await eva.command("modelos ver", modelo="segundo")

    files = await exported(eva, "primero")
    table = list(csv.DictReader(io.StringIO(files["results.csv"])))
    assert list(table[0]) == ["step", "train_loss", "train_accuracy", "valid_loss", "valid_mean_token_accuracy"]
    assert float(table[-1]["valid_loss"]) < float(table[0]["train_loss"])
    events = [json.loads(line) for line in files["events.jsonl"].splitlines()]
    assert {event["object"] for event in events} == {"fine_tuning.job.event"}
    assert "license: apache-2.0" in files["README.md"]
    assert "Adaptador LoRA sobre **Afina mini**" in files["README.md"]
    assert "base: afina-mini" in files["recipe.yaml"]
    assert "Continúa el entrenamiento de `primero-" in (await exported(eva, "segundo"))["README.md"]


async def exported(who: Student, model: str) -> dict[str, str]:
    """The readable files of a model's archive."""
    answer = await who.person.slash("modelos exportar", modelo=model)
    await answer.done(timeout=PATIENCE)
    shown = await who.person.wait_message(contains="se carga con PEFT", channel=who.workshop, timeout=PATIENCE)
    with zipfile.ZipFile(io.BytesIO(await shown.attachments[0].read())) as archive:
        names = [name for name in archive.namelist() if name.endswith((".csv", ".jsonl", ".md", ".yaml"))]
        return {Path(name).name: archive.read(name).decode("utf-8") for name in names}


class TestGoingWrong:
    async def test_an_absurd_rate_is_foretold_seen_and_mended(self, studio: Studio) -> None:
        ivo = studio.student("Ivo")
        data = await ivo.upload("colores.jsonl", colours())
        plan = await ivo.tweak(await ivo.propose(data, "desbocado"), tasa_de_aprendizaje="0,1")
        assert "lo normal es que el entrenamiento se desboque" in plan.text
        assert "ajustes propios" in plan.text
        await ivo.confirm(plan, "desbocado")
        end = await ivo.end("desbocado")
        assert "Ha empeorado: mejor no lo uses" in end.text
        assert "Se está desbocando" in end.text
        assert "En el curso: Hiperparámetros" in end.text
        assert "Va bien" not in end.text
        assert buttons(end)[-2:] == ["Cambiar y repetir", "Leer en el curso"]
        await end.click("Cambiar y repetir")
        second = await ivo.person.wait_message(contains="ajustes propios", button="Confirmar", channel=ivo.workshop)
        assert "tasa 1e-1" in second.text  # it did not fail: what to change is the person's to say

    async def test_answers_cut_away_leave_nothing_to_learn_and_the_second_try_has_room(self, studio: Studio) -> None:
        noa = studio.student("Noa")
        rows = [chat(f"{i} " + "una pregunta larguísima " * 8, list(COLOURS)[i % 4]) for i in range(40)]
        data = await noa.upload("largos.jsonl", rows)
        plan = await noa.tweak(await noa.propose(data, "cortados"), longitud_máxima="16")
        assert "la longitud máxima es 16" in plan.text
        await noa.confirm(plan, "cortados")
        end = await noa.end("cortados")
        assert "tu entrenamiento no ha salido bien" in end.text
        assert "Con un máximo de 16 tokens por ejemplo, la respuesta no cabe en ninguno." in end.text
        assert "Sube la longitud máxima" in end.text
        assert buttons(end) == ["Cambiar y repetir", "Leer en el curso"]
        await end.click("Cambiar y repetir")
        second = await noa.person.wait_message(contains="hasta 128 tokens", button="Confirmar", channel=noa.workshop)
        await noa.confirm(second, "cortados")
        assert "tu modelo está listo" in (await noa.end("cortados")).text
        assert "lantilla" in await noa.press(end, "Leer en el curso")

    async def test_answers_without_weight_are_refused_before_anything_is_spent(self, studio: Studio) -> None:
        bea = studio.student("Bea")
        data = await bea.upload("peso.jsonl", [chat(f"di {i}", f"cosa {i}", weight=0) for i in range(30)])
        assert "el modelo no aprendería nada" in data.text
        assert "Afinar un modelo" not in buttons(data)

    async def test_identical_answers_are_pointed_out_and_are_no_improvement(self, studio: Studio) -> None:
        rut = studio.student("Rut")
        data = await rut.upload("iguales.jsonl", [chat(f"pregunta {i}", "Sí, claro.") for i in range(60)])
        assert "el modelo aprenderá a decir siempre eso" in (await data.settled()).text
        await rut.train(data, "loro")
        end = await rut.end("loro")
        assert "Sin diferencia clara" in end.text
        assert "Compartir" not in buttons(end)

    async def test_memory_that_runs_short_means_smaller_steps_and_the_card_says_so(self, studio: Studio) -> None:
        lia = studio.student("Lía")
        rows = [chat(f"Resume {i}: " + "érase una vez un cuento muy largo " * 20, "Un cuento.") for i in range(80)]
        data = await lia.upload("relatos.jsonl", rows)
        async with little_memory(studio, 140 * 2**20):  # for a few rows at a time, not for eight
            progress = await lia.train(data, "apretado", values=BRIEF)
            end = await lia.end("apretado")
        await progress.refresh()
        assert "tu modelo está listo" in end.text
        assert any("No cabía en la memoria: sigo con" in edit.text for edit in progress.edits)
        assert "No cabía en la memoria: sigo con" in end.text
        events = (await exported(lia, "apretado"))["events.jsonl"]
        assert "a la vez y el mismo lote efectivo" in events
        steps = [json.loads(line)["data"] for line in events.splitlines() if '"type":"metrics"' in line]
        assert steps[-1]["step"] == steps[-1]["total_steps"] == 9  # 70 rows of 80, eight a step

    async def test_what_is_too_big_for_the_device_is_refused(self, studio: Studio) -> None:
        big = studio.data / "bases" / "qwen3-8b"  # as a downloaded base looks; nobody gets as far as loading it
        big.mkdir(parents=True)
        (big / "config.json").write_text("{}", encoding="utf-8")
        await studio.worker()  # it tells how much memory there is
        gil = studio.student("Gil")
        rows = [chat(f"Resume {i}: " + "érase una vez " * 15_000, "Un cuento.") for i in range(12)]
        plan = await gil.propose(await gil.upload("cuentos.jsonl", rows), "enorme", Modelo_base=["Qwen3 8B"])
        form = (await plan.click("Avanzado", timeout=PATIENCE)).form
        await form.submit({"longitud_máxima": "40000"}, timeout=PATIENCE)
        refused = await gil.person.wait_message(contains="«Qwen3 8B» necesitaría unos", timeout=PATIENCE)
        assert "Prueba con QLoRA, una base más pequeña o ejemplos más cortos" in refused.text
        await plan.click("Cancelar")
        await plan.wait_edit(contains="no has gastado nada", timeout=PATIENCE)
