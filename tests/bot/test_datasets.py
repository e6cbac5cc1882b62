"""The dataset desk in Discord: a file goes in, everything wrong with it is told, and it comes back mended."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest

from bot.client import Afina
from bot.records import Owner
from bot.settings import Settings
from bot.store import Store
from playground import Playground
from playground.task import broken_file
from tests.bot.conftest import make_services, running
from tests.bot.scripted import ScriptedEngine, ScriptedQueue
from tests.dataset.clean import as_jsonl, capitals, chat, kto

GOOD = as_jsonl(capitals())


@pytest.fixture
def ana(place: Playground) -> Any:
    return place.person("Ana")


async def upload(
    ana: Any, place: Playground, data: bytes, name: str = "capitales.jsonl", shown: str | None = None, **more: Any
) -> Any:
    """Send the file and wait until the whole report is on its card."""
    await place.wait_bot("datos")
    await (await ana.slash("datos subir", archivo=(name, data), tengo_derecho=True, **more)).done(timeout=30)
    thread = await ana.wait_thread("Taller", timeout=20)
    card = await ana.wait_message(
        contains=shown or name.split(".", maxsplit=1)[0], button="Borrar", channel=thread, timeout=30
    )
    ana.at(thread)
    return card


async def test_without_the_persons_consent_nothing_is_kept(
    ana: Any, place: Playground, bot: Afina, store: Store
) -> None:
    await place.wait_bot("datos")
    answer = await ana.slash("datos subir", archivo=("a.jsonl", GOOD), tengo_derecho=False)
    assert "Sin tu confirmación no guardo nada" in answer.text
    owner = Owner(guild_id=next(iter(place.world.guilds)), user_id=ana.id)
    assert await store.datasets(owner) == []


async def test_a_good_file_is_ready_with_its_picture_and_a_button_to_train(
    ana: Any, place: Playground, bot: Afina, store: Store, owner_of: Callable[..., Owner]
) -> None:
    card = await upload(ana, place, GOOD)
    assert "Listo para entrenar" in card.text
    assert "12 ejemplos · 12 utilizables" in card.text
    assert [button.label for button in card.buttons] == ["Afinar un modelo", "Ver ejemplos", "Borrar"]
    assert len(card.media) == 1
    (dataset,) = await store.datasets(owner_of(ana))
    assert (dataset.name, dataset.verdict, dataset.usable, dataset.format) == ("capitales", "valid", 12, "messages")
    assert dataset.consent_at is not None
    assert bot.services.artifacts.local(dataset.path).read_bytes() == GOOD


async def test_every_mistake_is_told_with_its_line_and_mended_as_a_new_version(
    ana: Any, place: Playground, bot: Afina, store: Store, owner_of: Callable[..., Owner]
) -> None:
    broken = broken_file(seed=3)
    card = await upload(ana, place, broken.text.encode(), "avisos.jsonl")
    assert "Hay que corregirlo" in card.text
    for line in broken.mistakes:
        assert str(line) in card.text
    assert "Afinar un modelo" not in [button.label for button in card.buttons]
    await card.click("Reparar")
    mended = await ana.wait_message(contains="Reparado", timeout=30)
    assert "versión nueva; el original se queda como estaba" in mended.text
    assert "Afinar un modelo" in [button.label for button in mended.buttons]
    new, old = await store.datasets(owner_of(ana))
    assert (new.version, new.parent_id, new.verdict != "rejected") == (2, old.id, True)
    assert bot.services.artifacts.local(old.path).read_bytes() == broken.text.encode()
    await mended.click("Descargar")
    file = await ana.wait_message(contains="avisos v2", timeout=20)
    (attachment,) = file.attachments
    assert await attachment.read() == bot.services.artifacts.local(new.path).read_bytes()


async def test_another_container_is_converted_with_one_press(ana: Any, place: Playground, bot: Afina) -> None:
    card = await upload(ana, place, gzip.compress(json.dumps(capitals()).encode()), "capitales.json.gz")
    assert "comprimido" in card.text
    await card.click("Reparar")
    mended = await ana.wait_message(contains="Reparado", timeout=30)
    assert "12 ejemplos · 12 utilizables" in mended.text


NOT_DATA = {
    "an empty file": (b"", "El archivo está vacío"),
    "a picture": (b"\x89PNG\r\n\x1a\n" + b"0" * 64, "imagen PNG"),
    "a workbook": (b"PK\x03\x04" + bytes(26) + b"[Content_Types].xml", "Guárdalo como CSV"),
    "a note": ("hola\nqué tal\n".encode(), "/datos plantilla"),
}


@pytest.mark.parametrize(("data", "words"), NOT_DATA.values(), ids=NOT_DATA)
async def test_what_nobody_could_repair_offers_no_button_for_it(
    ana: Any, place: Playground, bot: Afina, data: bytes, words: str
) -> None:
    card = await upload(ana, place, data, "raro.jsonl")
    assert words in card.text
    assert [button.label for button in card.buttons] == ["Informe completo", "Leer en el curso", "Borrar"]


async def test_where_nothing_is_left_it_says_so(ana: Any, place: Playground, bot: Afina) -> None:
    card = await upload(ana, place, b'{"a": 1}\n{"b": 2}\n', "raro.jsonl")
    answer = await card.click("Reparar")
    assert "No queda ninguna línea que se pueda entrenar" in (await answer.done(timeout=30)).text


async def test_secrets_must_be_covered_or_confirmed_before_training(ana: Any, place: Playground, bot: Afina) -> None:
    secret = "ghp_16C7e42F292c6912E7710c838347Ae178B4a"
    data = GOOD + as_jsonl([chat("¿Cuál es la clave del repositorio?", f"Es {secret}, no la compartas.")])
    card = await upload(ana, place, data)
    assert secret not in card.text
    train = next(button for button in card.buttons if button.label == "Afinar un modelo")
    assert train.disabled
    await card.click("Tapar secretos")
    mended = await ana.wait_message(contains="Tapados secretos", timeout=30)
    assert not next(button for button in mended.buttons if button.label == "Afinar un modelo").disabled
    await card.click("No son secretos")
    card = await card.wait(lambda now: "No son secretos" not in [button.label for button in now.buttons], timeout=20)
    assert not next(button for button in card.buttons if button.label == "Afinar un modelo").disabled


async def test_examples_are_shown_as_the_model_sees_them_one_after_the_other(
    ana: Any, place: Playground, bot: Afina
) -> None:
    card = await upload(ana, place, GOOD)
    await card.click("Ver ejemplos")
    shown = await ana.wait_message(contains="Ejemplo 1", timeout=30)
    assert "Aprende a escribir esto" in shown.text
    assert "La capital de Francia es París.<|im_end|>" in shown.text
    await shown.click("Siguiente ▶")
    assert "Roma" in (await shown.wait_edit(contains="Ejemplo 2", timeout=20)).text


async def test_the_whole_report_comes_as_files(ana: Any, place: Playground, bot: Afina) -> None:
    card = await upload(ana, place, GOOD + b"{}\n" * 40)
    assert "40 en total" in card.text
    await card.click("Informe completo")
    report = await ana.wait_message(contains="Informe de", timeout=30)
    contents = {file.filename: await file.read() for file in report.attachments}
    assert len(contents["informe.jsonl"].splitlines()) == 40
    assert "línea 52" in contents["informe.txt"].decode()


async def test_a_second_file_is_kept_apart_to_measure_with(
    ana: Any, place: Playground, bot: Afina, store: Store, owner_of: Callable[..., Owner]
) -> None:
    kept = as_jsonl([*capitals()[:2], chat("¿Cuál es la capital de Suecia?", "La capital de Suecia es Estocolmo.")])
    card = await upload(ana, place, GOOD, validacion=("prueba.jsonl", kept))
    card = await card.wait(lambda now: "también está en el otro archivo" in now.text, timeout=20)
    assert "3 ejemplos aparte" in card.text
    train, validation = sorted(await store.datasets(owner_of(ana)), key=lambda one: one.name)
    assert train.validation_id == validation.id
    assert validation.name == "capitales (validación)"


async def test_dividing_keeps_twins_on_one_side(
    ana: Any, place: Playground, bot: Afina, store: Store, owner_of: Callable[..., Owner]
) -> None:
    await upload(ana, place, as_jsonl(kto()), "votos.jsonl")
    await (await ana.slash("datos dividir", datos="votos", porcentaje=20)).done(timeout=30)
    card = await ana.wait_message(contains="Divididos", timeout=30)
    assert "16 ejemplos para entrenar y 4 aparte" in card.text
    made = await store.dataset_by_name(owner_of(ana), "votos")
    assert (made.version, made.usable, made.format) == (2, 16, "kto")
    assert made.validation_id is not None


async def test_a_sample_is_a_dataset_of_its_own(
    ana: Any, place: Playground, bot: Afina, store: Store, owner_of: Callable[..., Owner]
) -> None:
    await upload(ana, place, GOOD)
    await (await ana.slash("datos muestra", datos="capitales", cuantos=4)).done(timeout=30)
    await ana.wait_message(contains="muestra", timeout=30)
    assert (await store.dataset_by_name(owner_of(ana), "capitales (muestra)")).usable == 4
    refused = await (await ana.slash("datos muestra", datos="capitales", cuantos=4000)).done(timeout=30)
    assert "eso ya es todo" in refused.text


async def test_filtering_leaves_out_the_examples_with_a_warning(
    ana: Any, place: Playground, bot: Afina, store: Store, owner_of: Callable[..., Owner]
) -> None:
    rows = capitals()
    await upload(ana, place, as_jsonl([*rows, rows[0], rows[1]]))
    dataset = await store.dataset_by_name(owner_of(ana), "capitales")
    choices = await ana.autocomplete("datos filtrar", "aviso", "", datos=dataset.id)
    assert [choice["value"] for choice in choices] == ["duplicate"]
    await (await ana.slash("datos filtrar", datos="capitales", aviso="duplicate")).done(timeout=30)
    card = await ana.wait_message(contains="Filtrados", timeout=30)
    assert "He quitado 2 ejemplos" in card.text
    made = await store.dataset_by_name(owner_of(ana), "capitales")
    assert (made.version, made.usable) == (2, len(rows))


async def test_joining_two_drops_what_stands_in_both(
    ana: Any, place: Playground, bot: Afina, store: Store, owner_of: Callable[..., Owner]
) -> None:
    await upload(ana, place, GOOD)
    await upload(ana, place, as_jsonl(capitals()[3:6]), "otras.jsonl")
    await (await ana.slash("datos unir", datos="capitales", con="otras", nombre="todas")).done(timeout=30)
    assert (await store.dataset_by_name(owner_of(ana), "todas")).usable == 12


async def test_deleting_asks_first_and_takes_the_file_along(
    ana: Any, place: Playground, bot: Afina, store: Store, owner_of: Callable[..., Owner]
) -> None:
    card = await upload(ana, place, GOOD)
    (dataset,) = await store.datasets(owner_of(ana))
    asked = await (await card.click("Borrar")).done(timeout=20)
    await asked.click("Borrar para siempre")
    await asked.wait_edit(contains="está borrado", timeout=20)
    assert await store.datasets(owner_of(ana)) == []
    assert not bot.services.artifacts.exists(dataset.path)


async def test_nobody_else_can_press_a_persons_buttons(ana: Any, place: Playground, bot: Afina) -> None:
    card = await upload(ana, place, GOOD)
    eva = place.person("Eva", admin=True)
    seen = next(message for message in await eva.history(card) if message.id == card.id)
    answer = await (await seen.click("Ver ejemplos")).done(timeout=20)
    assert "No encuentro esos datos" in answer.text


async def test_buttons_of_a_card_work_after_a_restart(ana: Any, place: Playground, services: Any) -> None:
    async with running(services):
        card = await upload(ana, place, GOOD)
    async with running(services):
        await place.wait_bot("datos")
        await card.click("Ver ejemplos")
        assert await ana.wait_message(contains="Ejemplo 1", timeout=30)


async def test_names_and_contents_of_a_file_neither_ping_nor_format(ana: Any, place: Playground, bot: Afina) -> None:
    role = {"role": "@everyone", "content": "x", "`<@1>`": 1}
    bad = json.dumps({"messages": [role, {"role": "assistant", "content": "y"}]})
    card = await upload(ana, place, GOOD + bad.encode() + b"\n", "@here **hola**.jsonl", shown="Hay que corregirlo")
    assert not card.notified
    assert "@everyone" not in card.text
    assert "**hola**" not in card.text


async def test_too_large_a_file_is_refused_before_it_is_downloaded(
    ana: Any, place: Playground, settings: Settings, store: Store, queue: ScriptedQueue, engine: ScriptedEngine
) -> None:
    small = settings.model_copy(update={"max_file_bytes": 1000})
    async with running(make_services(small, store, queue, engine)):
        await place.wait_bot("datos")
        answer = await ana.slash("datos subir", archivo=("a.jsonl", GOOD), tengo_derecho=True)
        assert "El archivo ocupa" in (await answer.done(timeout=20)).text


@pytest.mark.parametrize("form", ["messages", "prompt_completion", "alpaca", "sharegpt", "preference", "kto", "text"])
async def test_a_template_is_a_good_file_to_start_from(ana: Any, place: Playground, bot: Afina, form: str) -> None:
    await place.wait_bot("datos")
    answer = await (await ana.slash("datos plantilla", formato=form)).done(timeout=20)
    (file,) = answer.attachments
    assert file.filename == f"plantilla-{form}.jsonl"
    assert len((await file.read()).splitlines()) == 10


async def test_what_one_has_is_listed_and_opened_again(ana: Any, place: Playground, bot: Afina) -> None:
    await place.wait_bot("datos")
    nothing = await (await ana.slash("datos lista")).done(timeout=20)
    assert "Todavía no tienes" in nothing.text
    await upload(ana, place, GOOD)
    listed = await (await ana.slash("datos lista")).done(timeout=20)
    assert "capitales" in listed.text
    assert "12 utilizables" in listed.text
    choices = await ana.autocomplete("datos ver", "datos", "capi")
    assert len(choices) == 1
    opened = await (await ana.slash("datos ver", datos="capitales")).done(timeout=30)
    assert "Listo para entrenar" in opened.text


async def test_an_unknown_name_is_told(ana: Any, place: Playground, bot: Afina) -> None:
    await place.wait_bot("datos")
    answer = await (await ana.slash("datos ver", datos="nada de nada")).done(timeout=20)
    assert "No encuentro esos datos" in answer.text
