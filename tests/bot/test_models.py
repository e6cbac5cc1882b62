"""`/modelos`, and what people may take away or erase."""

from __future__ import annotations

import asyncio
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from bot import models, personal
from bot.client import Afina
from bot.cogs.help import erased_text
from bot.errors import BadInput
from bot.records import Model, Owner
from bot.services import Services
from bot.store.people import TABLES
from jobs.contract import Evaluation, Recipe
from playground import Playground
from tests.bot.scripted import ScriptedEngine, ScriptedQueue, ScriptedWorker, good_evaluation

NOTHING = {"datasets": 0, "models": 0, "jobs": 0, "votes": 0, "feedback": 0}


@pytest.mark.parametrize(
    ("there", "told"),
    [
        ({}, "Ya no queda nada tuyo aquí."),
        ({"models": 1}, "1 modelo. Ya no queda nada tuyo aquí."),
        (
            {"datasets": 2, "jobs": 1, "votes": 1, "feedback": 1},
            "2 archivos de datos, 1 entrenamiento y 2 opiniones. Ya no queda nada tuyo aquí.",
        ),
    ],
)
def test_what_was_erased_is_counted_as_people_count(there: dict[str, int], told: str) -> None:
    assert erased_text({**NOTHING, **there}) == told


@pytest.fixture
def model_of(services: Services, queue: ScriptedQueue, dataset_of: Any, tmp_path: Path) -> Any:
    """A finished model with a published adapter."""

    async def make(owner: Owner, name: str = "poeta", evaluation: Evaluation | None = None) -> Model:
        dataset = await dataset_of(owner, f"{name}.jsonl")
        job = await services.store.submit_job(
            owner=owner, name=name, dataset=dataset, base_id="afina-mini", recipe=Recipe()
        )
        folder = tmp_path / job.id
        folder.mkdir()
        (folder / "adapter_model.safetensors").write_bytes(bytes(2000))
        (folder / "adapter_config.json").write_text("{}", encoding="utf-8")
        (folder / "README.md").write_text("# poeta", encoding="utf-8")
        services.artifacts.publish_adapter(job.request.adapter_name, folder)
        worker = ScriptedWorker(queue, job.request)
        worker.finish(evaluation or good_evaluation())
        for _, event in queue.read_events("0", 0):
            await services.store.apply_event(event)
        return next(one for one in await services.store.models(owner) if one.job_id == job.id)

    return make


async def test_the_list_shows_ones_own_and_what_others_share(
    place: Playground, services: Services, bot: Afina, model_of: Any, owner_of: Any
) -> None:
    ana, eva = place.person("Ana"), place.person("Eva")
    await place.wait_bot("modelos")
    await model_of(owner_of(ana))
    secret = await model_of(owner_of(eva), "secreto")
    shared = await model_of(owner_of(eva), "abierto")
    await (await eva.slash("modelos compartir", modelo=shared.id)).done()
    text = (await (await ana.slash("modelos lista")).done()).text
    assert "poeta" in text
    assert "abierto" in text
    assert secret.name not in text
    refused = await (await ana.slash("modelos ver", modelo=secret.id)).done()
    assert "No encuentro" in refused.text


async def test_a_card_tells_where_a_model_comes_from_but_not_the_data_of_others(
    place: Playground, services: Services, bot: Afina, model_of: Any, owner_of: Any
) -> None:
    ana, eva = place.person("Ana"), place.person("Eva")
    await place.wait_bot("modelos")
    model = await model_of(owner_of(ana))
    mine = await (await ana.slash("modelos ver", modelo="poeta")).done()
    for words in ("Afina mini", "Apache-2.0", "poeta.jsonl", "Mejora clara", "93", model.adapter_name):
        assert words in mine.text
    assert {button.label for button in mine.buttons} == {"Charlar", "Comparar", "Ver fallos", "Compartir"}
    await (await mine.click("Compartir")).done()
    theirs = await (await eva.slash("modelos ver", modelo=model.id)).done()
    assert "poeta.jsonl" not in theirs.text
    assert {button.label for button in theirs.buttons} == {"Charlar", "Comparar"}


async def test_rename_checks_the_name_and_that_it_is_free(
    place: Playground, services: Services, bot: Afina, model_of: Any, owner_of: Any
) -> None:
    ana = place.person("Ana")
    await place.wait_bot("modelos")
    await model_of(owner_of(ana))
    await model_of(owner_of(ana), "otro")
    done = await (await ana.slash("modelos renombrar", modelo="poeta", nombre="  Lorca  2 ")).done()
    assert "ahora se llama **Lorca 2**" in done.text
    taken = await (await ana.slash("modelos renombrar", modelo="otro", nombre="lorca 2")).done()
    assert "Ya tienes un modelo" in taken.text
    empty = await (await ana.slash("modelos renombrar", modelo="otro", nombre="***")).done()
    assert "al menos una letra" in empty.text


async def test_deleting_asks_first_and_takes_row_files_and_engine(
    place: Playground, services: Services, bot: Afina, model_of: Any, owner_of: Any, engine: ScriptedEngine
) -> None:
    ana = place.person("Ana")
    await place.wait_bot("modelos")
    model = await model_of(owner_of(ana))
    engine.loaded.append(model.adapter_name)
    kept = await (await ana.slash("modelos borrar", modelo=model.id)).done()
    await kept.click("Conservarlo")
    assert await services.store.models(owner_of(ana))
    asked = await (await ana.slash("modelos borrar", modelo=model.id)).done()
    await asked.click("Borrar para siempre")
    await asked.wait_edit(contains="está borrado")
    assert await services.store.models(owner_of(ana)) == []
    assert engine.unloaded == [model.adapter_name]
    assert not (services.settings.data_dir / model.adapter_path).exists()


async def test_export_gives_the_adapter_as_a_zip(
    place: Playground, services: Services, bot: Afina, model_of: Any, owner_of: Any
) -> None:
    ana = place.person("Ana")
    await place.wait_bot("modelos")
    model = await model_of(owner_of(ana))
    await (await ana.slash("modelos exportar", modelo=model.id)).done()
    message = await ana.wait_message(contains="poeta", channel=await ana.wait_thread("Taller"))
    (file,) = message.attachments
    names = zipfile.ZipFile(io.BytesIO(await file.read())).namelist()
    assert f"{model.adapter_name}/adapter_model.safetensors" in names


async def test_a_model_too_large_for_discord_says_so(services: Services, model_of: Any) -> None:
    owner = Owner(guild_id=1, user_id=2)
    model = await model_of(owner)
    with pytest.raises(BadInput, match="Discord deja enviar"):
        await models.export(services, model.id, owner, limit=100)


# One's own data


async def test_everything_about_a_person_can_be_taken_away(
    place: Playground, services: Services, bot: Afina, model_of: Any, owner_of: Any
) -> None:
    ana, eva = place.person("Ana"), place.person("Eva")
    await place.wait_bot("misdatos")
    await model_of(owner_of(ana))
    await model_of(owner_of(eva), "ajeno")
    await (await ana.slash("misdatos descargar")).done()
    message = await ana.wait_message(contains="Todo lo tuyo", channel=await ana.wait_thread("Taller"))
    archive = zipfile.ZipFile(io.BytesIO(await message.attachments[0].read()))
    rows = json.loads(archive.read("filas.json"))
    assert [row["name"] for row in rows["models"]] == ["poeta"]
    assert rows["jobs"][0]["request"]["base_id"] == "afina-mini"
    assert rows["events"]
    assert "datos/poeta.jsonl v1.jsonl" in archive.namelist()
    assert "ajeno" not in archive.read("filas.json").decode()


async def test_erasing_stops_jobs_and_removes_rows_files_and_the_workshop(
    place: Playground,
    services: Services,
    bot: Afina,
    model_of: Any,
    owner_of: Any,
    dataset_of: Any,
    queue: ScriptedQueue,
    worker_for: Any,
) -> None:
    ana, eva = place.person("Ana"), place.person("Eva")
    await place.wait_bot("misdatos")
    model = await model_of(owner_of(ana))
    await model_of(owner_of(eva), "ajeno")
    form = (await ana.slash("afinar")).form
    await (await form.submit(**{"Nombre del modelo": "segundo"})).done()
    thread = await ana.wait_thread("Taller")
    await (await ana.wait_message(button="Confirmar", channel=thread)).click("Confirmar")
    worker = await worker_for()
    worker.train()
    asked = await ana.slash("misdatos borrar")
    assert asked.ephemeral
    await asked.message.click("Borrar todo para siempre")
    await asked.message.wait_edit(contains="Borrado")
    kept = await services.store.everything(owner_of(ana))
    assert {table: len(rows) for table, rows in kept.items() if rows} == {}
    assert await services.store.states("draft:") == {}
    assert (worker.request.job_id, 1, "cancelled") in queue.stops
    assert not (services.settings.data_dir / model.adapter_path).exists()
    assert list((services.settings.data_dir / "datasets").rglob("*.jsonl")) != []  # Eva's is still there
    assert [one.name for one in await services.store.models(owner_of(eva))] == ["ajeno"]
    assert not [one for one in await ana.threads() if one.name.startswith("Taller")]
    worker.finish()  # the worker did not hear of it in time: nothing comes back
    await asyncio.sleep(0.5)
    assert await services.store.models(owner_of(ana)) == []


async def test_every_table_about_people_is_taken_out_and_erased(services: Services) -> None:
    """A new table with people in it must be added to `bot/store/people.py`."""
    tables = await services.store._all("SELECT name FROM sqlite_master WHERE type = 'table'")
    with_people = set()
    for row in tables:
        columns = await services.store._all(f"SELECT name FROM pragma_table_info('{row['name']}')")
        if "user_id" in {column["name"] for column in columns}:
            with_people.add(row["name"])
    assert with_people == set(TABLES)


async def test_what_does_not_fit_into_the_archive_is_listed_in_it(services: Services, dataset_of: Any) -> None:
    owner = Owner(guild_id=1, user_id=2)
    dataset = await dataset_of(owner, "grande.jsonl")
    (services.settings.data_dir / dataset.path).write_bytes(b"x" * 3_000_000)
    archive = zipfile.ZipFile(io.BytesIO(await personal.take_out(services, owner, limit=600_000)))
    assert "grande" in archive.read("omitidos.txt").decode()


# Standing texts and administration


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("ayuda", ["/preguntar", "/datos subir", "/afinar", "/charlar"]),
        ("privacidad", ["no guardo", "/misdatos borrar", "se quedan en las máquinas del bot"]),
        ("limites", ["Entrenamientos sin terminar", "25,0", "por minuto"]),
    ],
)
async def test_standing_texts_are_private_and_say_what_they_should(
    place: Playground, bot: Afina, command: str, words: list[str]
) -> None:
    await place.wait_bot(command)
    message = await (await place.person("Ana").slash(command)).done()
    assert message.ephemeral
    for one in words:
        assert one in message.text


async def test_health_tells_staff_what_is_wrong_and_others_nothing(
    place: Playground, bot: Afina, queue: ScriptedQueue
) -> None:
    admin = place.person("Jefa", admin=True)
    await place.wait_bot("admin")
    well = await (await admin.slash("admin salud")).done()
    assert "✓ **Cola**" in well.text
    assert "uno · CPU" in well.text
    queue.away = True
    ill = await (await admin.slash("admin salud")).done()
    assert "✗ **Cola**" in ill.text
    assert "No hay ningún equipo" in ill.text
