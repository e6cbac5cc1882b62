"""From `/afinar` to a finished model, as a person sees it."""

from __future__ import annotations

from typing import Any

from bot.client import Afina
from bot.services import Services
from playground import Playground
from tests.bot.scripted import ScriptedWorker


async def propose(ana: Any, place: Playground, **answers: Any) -> Any:
    """Fill in the form; the card that asks for confirmation."""
    form = (await ana.slash("afinar")).form
    pointer = await (await form.submit(**{"Nombre del modelo": "reseñas-ana", **answers})).done()
    assert "taller" in pointer.text.lower()
    thread = await ana.wait_thread("Taller")
    return await ana.wait_message(contains="reseñas-ana", button="Confirmar", channel=thread)


async def test_a_person_trains_a_model_from_the_form_to_the_buttons_of_the_result(
    place: Playground, bot: Afina, services: Services, dataset_of: Any, owner_of: Any, worker_for: Any
) -> None:
    ana = place.person("Ana")
    owner = owner_of(ana)
    await dataset_of(owner)
    await place.wait_bot("afinar")

    card = await propose(ana, place)
    assert "203 ejemplos" in card.text
    assert "rango" in card.text
    await card.click("Confirmar")
    worker: ScriptedWorker = await worker_for()
    progress = await ana.wait_message(contains="reseñas-ana", button="Pausar", channel=card)
    worker.train(total=20)
    await progress.wait_edit(contains="entrenando 20/20")
    assert "pérdida 2,31 → 0,60" in progress.text
    worker.finish()
    end = await ana.wait_message(contains="tu modelo está listo", button="Charlar", channel=card)
    assert f"<@{ana.id}>" in end.text
    assert "93" in end.text
    assert {button.label for button in end.buttons} == {"Charlar", "Comparar", "Ver fallos", "Compartir"}
    (model,) = await services.store.models(owner)
    assert model.name == "reseñas-ana"
    await progress.wait_edit(contains="terminado")
