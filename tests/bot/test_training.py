"""From `/afinar` to a finished model, as a person sees it."""

from __future__ import annotations

import asyncio
import json
import time
from typing import Any

from bot.client import Afina
from bot.records import Owner
from bot.render import cards
from bot.services import Services
from bot.settings import Settings
from bot.store import Store
from jobs.contract import Phase
from playground import Permission, Playground
from tests.bot.conftest import make_services, running
from tests.bot.scripted import ScriptedQueue, ScriptedWorker


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


async def confirmed(ana: Any, place: Playground) -> Any:
    """A confirmed job; its progress card."""
    card = await propose(ana, place)
    await card.click("Confirmar")
    return await ana.wait_message(contains="reseñas-ana", button="Cancelar", channel=card)


# Before it is a job


async def test_the_confirmation_says_what_it_costs_and_nothing_runs_before_it(
    place: Playground, bot: Afina, services: Services, queue: ScriptedQueue, dataset_of: Any, owner_of: Any
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    card = await propose(ana, place)
    for words in ("Duración", "Memoria", "tokens", "Cola", "Gastas", "licencia"):
        assert words in card.text
    assert queue.submitted == []
    assert await services.store.jobs(owner_of(ana)) == []


async def test_two_clicks_on_confirm_make_one_job(
    place: Playground, bot: Afina, services: Services, dataset_of: Any, owner_of: Any, worker_for: Any
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    card = await propose(ana, place)
    await asyncio.gather(card.click("Confirmar"), card.click("Confirmar"))
    await worker_for()
    await ana.wait_message(button="Pausar", channel=card)
    await asyncio.sleep(0.3)
    assert len(await services.store.jobs(owner_of(ana))) == 1
    shown = [one for one in await ana.history(card) if any(button.label == "Pausar" for button in one.buttons)]
    assert len(shown) == 1


async def test_advanced_values_change_the_recipe_and_bad_ones_are_explained(
    place: Playground, bot: Afina, dataset_of: Any, owner_of: Any, worker_for: Any
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    card = await propose(ana, place)

    answer = await (await card.click("Avanzado")).form.submit(Rango="mucho")
    await ana.wait_message(contains="«mucho» no es un número entero", channel=card)
    answer = await (await card.click("Avanzado")).form.submit(Vueltas="99")
    await ana.wait_message(contains="Vueltas: tiene que ser como máximo 50", channel=card)

    why = await card.click("¿Por qué así?")
    assert "Rango 32" in why.message.text
    assert "el tamaño de cada paso" in why.message.text

    await (await card.click("Avanzado")).form.submit(
        **{"Rango": "8", "Tasa de aprendizaje": "2,5e-4", "Vueltas": "2", "Semilla": "7"}
    )
    await card.wait_edit(contains="rango 8 · tasa 2,5e-4 · 2 vueltas")
    await card.click("Confirmar")
    recipe = (await worker_for()).request.recipe
    assert (recipe.rank, recipe.learning_rate, recipe.epochs, recipe.seed) == (8, 2.5e-4, 2, 7)
    assert answer is not None


async def test_a_discarded_proposal_spends_nothing(
    place: Playground, bot: Afina, services: Services, dataset_of: Any, owner_of: Any
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    card = await propose(ana, place)
    await card.click("Cancelar")
    await card.wait_edit(contains="descartado")
    assert card.buttons == []
    assert await services.store.jobs(owner_of(ana)) == []


async def test_the_button_of_a_dataset_card_opens_the_form_with_that_dataset(
    place: Playground, bot: Afina, services: Services, dataset_of: Any, owner_of: Any
) -> None:
    ana = place.person("Ana")
    first = await dataset_of(owner_of(ana), "primero.jsonl")
    await dataset_of(owner_of(ana), "segundo.jsonl")
    await place.wait_bot("afinar")
    channel = bot.get_channel((await ana.channels())[0].id)
    await channel.send(view=cards.card("Datos", actions=[cards.Elsewhere(f"afina:train:start:{first.id}", label="A")]))
    form = (await (await ana.wait_message(button="A")).click("A")).form
    assert "primero" in str(form.fields)
    pointer = await (await form.submit()).done()
    assert "taller" in pointer.text.lower()
    card = await ana.wait_message(button="Confirmar", channel=await ana.wait_thread("Taller"))
    assert "primero.jsonl v1" in card.text


async def test_nobody_else_can_use_a_persons_buttons(
    place: Playground, bot: Afina, services: Services, dataset_of: Any, owner_of: Any, worker_for: Any
) -> None:
    ana, eva = place.person("Ana"), place.person("Eva", admin=True)
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    card = await propose(ana, place)
    await (await eva.wait_message(button="Confirmar", channel=card, since=0)).click("Confirmar")
    await eva.wait_message(contains="ya no existe", channel=card)
    await card.click("Confirmar")
    await worker_for()
    await ana.wait_message(button="Cancelar", contains="reseñas-ana", channel=card)
    await (await eva.wait_message(button="Pausar", channel=card, since=0)).click("Cancelar")
    await eva.wait_message(contains="No encuentro ese entrenamiento", channel=card)
    (job,) = await services.store.jobs(owner_of(ana))
    assert not job.cancel_requested


async def test_a_person_without_data_uploads_a_file_in_the_form(
    place: Playground, bot: Afina, services: Services, owner_of: Any
) -> None:
    ana = place.person("Ana")
    await place.wait_bot("afinar")
    form = (await ana.slash("afinar")).form
    data = next(iter(form.fields.values()))
    assert "derecho a usar" in (data.description or "")
    rows = [{"prompt": f"¿Qué tal el plato {i}?", "completion": "bueno" if i % 2 else "malo"} for i in range(40)]
    file = "".join(json.dumps(row) + "\n" for row in rows).encode()
    answer = await form.submit({data.custom_id: [("platos.jsonl", file)], "Nombre del modelo": "platos"})
    await answer.done(timeout=60)
    card = await ana.wait_message(contains="40 ejemplos", button="Confirmar", channel=await ana.wait_thread("Taller"))
    assert "platos v1" in card.text
    (dataset,) = await services.store.datasets(owner_of(ana))
    assert dataset.consent_at is not None


async def test_an_uploaded_file_that_cannot_be_used_is_explained(place: Playground, bot: Afina) -> None:
    ana = place.person("Ana")
    await place.wait_bot("afinar")
    form = (await ana.slash("afinar")).form
    data = next(iter(form.fields.values()))
    answer = await form.submit({data.custom_id: [("roto.jsonl", b"esto no es JSON\n")], "Nombre del modelo": "x"})
    await answer.done(timeout=60)
    report = await ana.wait_message(contains="Hay que corregirlo", channel=await ana.wait_thread("Taller"))
    assert "roto" in report.text
    assert not any(button.label == "Confirmar" for one in await ana.history(report) for button in one.buttons)


async def test_rows_kept_apart_by_the_person_measure_the_model(
    place: Playground, bot: Afina, services: Services, dataset_of: Any, owner_of: Any, worker_for: Any
) -> None:
    ana = place.person("Ana")
    kept = await dataset_of(owner_of(ana), "apartadas")
    await dataset_of(owner_of(ana), "reseñas", validation_id=kept.id)
    await place.wait_bot("afinar")
    form = (await ana.slash("afinar")).form
    assert "apartadas" not in str(form.fields)
    await (await form.submit(**{"Nombre del modelo": "x"})).done()
    card = await ana.wait_message(button="Confirmar", channel=await ana.wait_thread("Taller"))
    await card.click("Confirmar")
    assert (await worker_for()).request.validation_path == kept.path


async def test_data_with_what_looks_like_secrets_is_not_trained_on(
    place: Playground, bot: Afina, dataset_of: Any, owner_of: Any
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana), report={"groups": [{"code": "secret"}], "stats": {}})
    await place.wait_bot("afinar")
    answer = await (await ana.slash("afinar")).form.submit(**{"Nombre del modelo": "x"})
    assert "claves o contraseñas" in (await answer.done()).text


async def test_limits_are_told_before_anything_is_spent(
    place: Playground, bot: Afina, services: Services, queue: ScriptedQueue, dataset_of: Any, owner_of: Any
) -> None:
    ana, admin = place.person("Ana"), place.person("Jefa", admin=True)
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    await (await admin.slash("admin limites", entrenamientos=1)).done()
    queue.crew.clear()  # nobody trains: the first job stays open
    await confirmed(ana, place)
    form = (await ana.slash("afinar")).form
    refusal = await (await form.submit(**{"Nombre del modelo": "otra"})).done()
    assert "Ya tienes 1 entrenamientos sin terminar; el máximo es 1" in refusal.text
    limits = await (await ana.slash("limites")).done()
    assert "1 de 1" in limits.text


async def test_where_there_are_no_private_threads_the_workshop_is_in_direct_messages(
    place: Playground, bot: Afina, services: Services, dataset_of: Any, worker_for: Any
) -> None:
    guild = place.guild("Estricta", bot_permissions=Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES)
    ana = place.person("Ana", guild)
    owner = Owner(guild_id=guild.id, user_id=ana.id)
    await dataset_of(owner)
    await place.wait_bot("afinar")
    await asyncio.sleep(0.3)
    form = (await ana.slash("afinar")).form
    await (await form.submit(**{"Nombre del modelo": "reseñas-ana"})).done()
    direct = await ana.direct()
    await ana.wait_message(contains="no puedo abrir hilos privados", channel=direct, since=0)
    card = await ana.wait_message(button="Confirmar", channel=direct, since=0)
    await card.click("Confirmar")
    worker = await worker_for()
    worker.train()
    worker.finish()
    end = await ana.wait_message(contains="tu modelo está listo", channel=direct)
    await end.click("Compartir")
    await ana.wait_message(contains="ya lo puede usar todo el servidor", channel=direct)


async def test_closed_direct_messages_and_no_threads_are_explained(
    place: Playground, bot: Afina, dataset_of: Any
) -> None:
    guild = place.guild("Estricta", bot_permissions=Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES)
    ana = place.person("Ana", guild)
    place.user(ana).accepts_dms = False
    await dataset_of(Owner(guild_id=guild.id, user_id=ana.id))
    await place.wait_bot("afinar")
    await asyncio.sleep(0.3)
    refusal = await (await (await ana.slash("afinar")).form.submit(**{"Nombre del modelo": "x"})).done()
    assert "mensajes directos están cerrados" in refusal.text


# The card of a job


async def test_the_card_survives_a_restart_of_the_bot(
    place: Playground, services: Services, dataset_of: Any, owner_of: Any, worker_for: Any, queue: ScriptedQueue
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    async with running(services):
        await place.wait_bot("afinar")
        progress = await confirmed(ana, place)
        worker = await worker_for()
        worker.phase(Phase.TRAINING)
        worker.step(5, 20, loss=2.0)
        await progress.wait_edit(contains="entrenando 5/20")
    worker.step(15, 20, loss=1.0)
    again = make_services(services.settings, services.store, queue, services.engine)
    async with running(again):
        await progress.wait_edit(contains="entrenando 15/20")
        await progress.click("Pausar")
        await progress.wait_edit(contains="pausa")
        assert queue.stops[-1][2] == "paused"


async def test_a_job_that_ended_while_the_bot_was_away_is_told_once(
    place: Playground, services: Services, dataset_of: Any, owner_of: Any, worker_for: Any, queue: ScriptedQueue
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    async with running(services):
        await place.wait_bot("afinar")
        progress = await confirmed(ana, place)
        worker = await worker_for()
    worker.train()
    worker.finish()
    for _ in range(2):
        async with running(make_services(services.settings, services.store, queue, services.engine)):
            await ana.wait_message(contains="tu modelo está listo", channel=progress, since=0)
            await asyncio.sleep(0.5)
    told = [one for one in await ana.history(progress) if "tu modelo está listo" in one.text]
    assert len(told) == 1
    assert told[0].notified


async def test_a_deleted_card_is_posted_again(
    place: Playground, bot: Afina, dataset_of: Any, owner_of: Any, worker_for: Any
) -> None:
    ana, admin = place.person("Ana"), place.person("Jefa", admin=True)
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    progress = await confirmed(ana, place)
    worker = await worker_for()
    worker.phase(Phase.LOADING)
    await progress.wait_edit(contains="cargando")
    await admin.act("delete", message=progress.id)
    worker.phase(Phase.TRAINING)
    worker.step(3, 20, loss=2.0)
    again = await ana.wait_message(contains="entrenando 3/20", channel=progress)
    assert again.id != progress.id


async def test_a_card_that_is_too_old_to_edit_is_replaced(
    place: Playground, settings: Settings, queue: ScriptedQueue, engine: Any, dataset_of: Any, owner_of: Any,
    worker_for: Any,
) -> None:  # fmt: skip
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    ahead = 0.0
    async with (
        Store.open(settings.database, clock=lambda: time.time() + ahead) as store,
        running(make_services(settings, store, queue, engine)),
    ):
        await place.wait_bot("afinar")
        progress = await confirmed(ana, place)
        worker = await worker_for()
        ahead = 3600.0
        worker.phase(Phase.LOADING)
        again = await ana.wait_message(contains="cargando", channel=progress)
        assert again.id != progress.id
        await progress.wait_deleted()


async def test_a_deleted_workshop_sends_the_result_somewhere_private(
    place: Playground, bot: Afina, dataset_of: Any, owner_of: Any, worker_for: Any
) -> None:
    ana, admin = place.person("Ana"), place.person("Jefa", admin=True)
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    await confirmed(ana, place)
    worker = await worker_for()
    await admin.delete_channel(await ana.wait_thread("Taller"))
    worker.train()
    worker.finish()
    await ana.wait_message(contains="tu modelo está listo", channel=await ana.direct())


async def test_a_failure_is_told_with_its_cause_and_a_way_to_repeat(
    place: Playground, bot: Afina, dataset_of: Any, owner_of: Any, worker_for: Any
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    progress = await confirmed(ana, place)
    worker = await worker_for()
    worker.phase(Phase.TRAINING)
    worker.fail("diverged", "El entrenamiento se ha desbocado.", "Repite con una tasa más baja.")
    end = await ana.wait_message(contains="no ha salido bien", button="Cambiar y repetir", channel=progress)
    assert "desbocado" in end.text
    assert "tasa más baja" in end.text
    assert "En el curso: Hiperparámetros" in end.text
    assert end.notified
    await end.click("Cambiar y repetir")
    plan = await ana.wait_message(contains="ajustes propios", button="Confirmar", channel=progress)
    await plan.click("Confirmar")
    second = await worker_for(1)
    assert second.request.recipe.learning_rate == worker.request.recipe.learning_rate / 2
    assert second.request.job_id != worker.request.job_id


async def test_pause_and_resume_go_on_from_the_checkpoint(
    place: Playground, bot: Afina, dataset_of: Any, owner_of: Any, worker_for: Any, queue: ScriptedQueue
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    progress = await confirmed(ana, place)
    worker = await worker_for()
    worker.phase(Phase.TRAINING)
    worker.step(5, 20, loss=2.0)
    await progress.wait_edit(contains="entrenando 5/20")
    await progress.click("Pausar")
    async with asyncio.timeout(10):
        while not queue.stops:
            await asyncio.sleep(0.02)
    worker.stop("paused")
    await progress.wait_edit(contains="en pausa en el paso 5/20")
    await progress.click("Reanudar")
    second = await worker_for(1)
    assert second.request.resume
    assert second.request.attempt == 2


async def test_commands_find_jobs_by_name_and_say_what_is_not_possible(
    place: Playground, bot: Afina, dataset_of: Any, owner_of: Any, worker_for: Any, queue: ScriptedQueue
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    queue.crew.clear()
    await place.wait_bot("entrenamientos")
    await confirmed(ana, place)
    (choice,) = await ana.autocomplete("entrenamientos cancelar", "entrenamiento", "rese")
    assert choice["name"].startswith("reseñas-ana")
    shown = await (await ana.slash("entrenamientos ver", entrenamiento="RESEÑAS-ANA")).done()
    assert "en cola" in shown.text
    refused = await (await ana.slash("entrenamientos repetir", entrenamiento=choice["value"])).done()
    assert "todavía no ha terminado" in refused.text
    cancelled = await (await ana.slash("entrenamientos cancelar", entrenamiento=choice["value"])).done()
    assert "está cancelado" in cancelled.text
    again = await (await ana.slash("entrenamientos cancelar", entrenamiento=choice["value"])).done()
    assert "ya estaba cancelado" in again.text
    missing = await (await ana.slash("entrenamientos ver", entrenamiento="otro")).done()
    assert "No encuentro" in missing.text
    listed = await (await ana.slash("entrenamientos lista")).done()
    assert "reseñas-ana** · cancelado" in listed.text


async def test_the_curve_and_the_mistakes_are_one_button_away(
    place: Playground, bot: Afina, dataset_of: Any, owner_of: Any, worker_for: Any
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    progress = await confirmed(ana, place)
    worker = await worker_for()
    worker.train()
    await progress.wait_edit(contains="entrenando 20/20")
    answer = await (await progress.click("Ver curva")).done()
    (picture,) = answer.attachments
    assert (await picture.read()).startswith(b"\x89PNG")
    worker.finish()
    end = await ana.wait_message(contains="tu modelo está listo", channel=progress)
    assert end.media
    shown = await (await end.click("Ver fallos")).done()
    assert "Falla 1 de estos 2 ejemplos" in shown.text
    assert shown.text.index("Cumple") < shown.text.index("parpadea")


async def test_discord_down_for_a_moment_loses_no_card(
    place: Playground, bot: Afina, dataset_of: Any, owner_of: Any, worker_for: Any
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    progress = await confirmed(ana, place)
    worker = await worker_for()
    place.faults.status(503, method="PATCH", path="/channels/.*/messages/.*", times=3)
    worker.train()
    await progress.wait_edit(contains="entrenando 20/20")
