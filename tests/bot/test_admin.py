"""`/admin` as the staff of a server uses it, and what the members notice of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from bot.bases import offered_bases
from bot.client import Afina, load_cogs
from bot.cogs.entrance import BUTTONS, COMMANDS
from bot.policy import Policy
from bot.records import Job, Owner
from bot.roles import Role
from bot.services import Services
from jobs.catalog import base_folder
from jobs.contract import Event, EventType, JobState, Recipe
from playground import Permission, Playground
from playground.people import Person
from playground.views import NoAnswer
from tests.bot.scripted import ScriptedQueue

QUESTION = "¿Qué es LoRA?"


@pytest.fixture
async def admin(place: Playground, bot: Afina) -> Person:
    person = place.person("Jefa", admin=True)
    await place.wait_bot("admin")
    return person


def home(place: Playground) -> Any:
    return next(iter(place.world.guilds.values()))


def channel(place: Playground, name: str) -> int:
    return next(one.id for one in place.world.channels.values() if one.name == name)


async def said(person: Person, line: str, **options: Any) -> str:
    return (await (await person.slash(line, **options)).done(timeout=60)).text  # a course may be indexed meanwhile


# Roles


async def test_a_discord_role_makes_tutors_with_more_room_until_it_is_unmapped_or_deleted(
    place: Playground, services: Services, admin: Person
) -> None:
    guild = home(place)
    role = place.role(guild, "Profes")
    tutora, ana = place.person("Tutora", roles=(role,)), place.person("Ana")
    assert "te quedan 300 de 300" in await said(tutora, "limites")
    shown = await said(admin, "admin roles", para="tutor", agregar=role.id)
    assert f"<@&{role.id}>" in shown
    assert "te quedan 900 de 900" in await said(tutora, "limites")
    assert "te quedan 300 de 300" in await said(ana, "limites")
    await said(admin, "admin roles", para="tutor", quitar=role.id)
    assert "te quedan 300 de 300" in await said(tutora, "limites")
    log = await said(admin, "admin registro")
    assert log.count(f"<@{admin.id}>") == 2
    assert "ya no son tutores" in log


async def test_everyone_cannot_be_staff(place: Playground, admin: Person) -> None:
    guild = home(place)
    assert "@everyone" in await said(admin, "admin roles", para="admin", agregar=guild.id)
    assert "¿Tutores o administradores?" in await said(admin, "admin roles", agregar=place.role(guild, "Profes").id)


async def test_a_tutor_changes_the_course_and_a_member_does_not(
    place: Playground, services: Services, admin: Person
) -> None:
    role = place.role(home(place), "Profes")
    await said(admin, "admin roles", para="tutor", agregar=role.id)
    tutora, ana = place.person("Tutora", roles=(role,)), place.person("Ana")
    assert "tiene" in await said(tutora, "curso reindexar")
    assert "tutor" in await said(ana, "curso reindexar")


async def test_members_neither_see_nor_get_what_is_for_staff(
    place: Playground, services: Services, bot: Afina, admin: Person
) -> None:
    ana = place.person("Ana")
    assert "admin" not in " ".join(await ana.commands())
    with pytest.raises(Exception, match="admin"):
        await ana.slash("admin registro")
    assert await services.store.policy(home(place).id) == Policy()


# Limits


async def test_limits_of_a_role_are_changed_shown_and_put_back(
    place: Playground, services: Services, admin: Person
) -> None:
    ana = place.person("Ana")
    shown = await said(admin, "admin limites", minutos=45, modelos=0, disco_mb=100)
    assert "45" in shown
    mine = await said(ana, "limites")
    assert "te quedan 45 de 45" in mine
    assert "**Modelos**  0, sin límite" in mine
    assert "100" in mine
    assert "te quedan 900 de 900" in await said(admin, "limites")
    log = await said(admin, "admin registro")
    assert "minutos de entrenamiento por semana 300 → 45" in log
    await said(admin, "admin limites", restablecer=True)
    assert "te quedan 300 de 300" in await said(ana, "limites")


async def test_looking_changes_nothing_and_notes_nothing(place: Playground, services: Services, admin: Person) -> None:
    for line in ("roles", "limites", "catalogo", "canales", "cola", "registro"):
        assert "##" in await said(admin, f"admin {line}")
    assert await services.store.audit(home(place).id) == []


async def test_a_job_over_ones_minutes_is_refused_before_it_is_promised(
    place: Playground, services: Services, queue: ScriptedQueue, admin: Person, dataset_of: Any, owner_of: Any
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana), report={"stats": {"examples": 203, "tokens": {"total": 9_000_000, "p95": 140}}})
    await said(admin, "admin limites", minutos=1)
    form = (await ana.slash("afinar")).form
    await (await form.submit(**{"Nombre del modelo": "x"})).done()
    card = await ana.wait_message(button="Confirmar", channel=await ana.wait_thread("Taller"))
    assert "No te alcanza" in card.text
    await card.click("Confirmar")
    await ana.wait_message(contains="tu límite es de 1 a la semana")
    assert queue.submitted == []
    assert await services.store.jobs(owner_of(ana)) == []


async def test_data_beyond_ones_room_are_refused_before_they_are_read(
    place: Playground, services: Services, admin: Person, dataset_of: Any, owner_of: Any
) -> None:
    ana = place.person("Ana")
    kept = await dataset_of(owner_of(ana))
    await said(admin, "admin limites", datos=1)
    file = ("más.jsonl", b'{"prompt": "a", "completion": "b"}\n')
    assert "archivos de datos" in await said(ana, "datos subir", archivo=file, tengo_derecho=True)
    for line, more in (("dividir", {}), ("muestra", {"cuantos": 5})):
        assert "archivos de datos" in await said(ana, f"datos {line}", datos=kept.id, **more)
    assert [one.id for one in await services.store.datasets(owner_of(ana))] == [kept.id]


# The catalogue of a server


async def test_a_server_offers_its_own_bases(
    place: Playground, services: Services, admin: Person, dataset_of: Any, owner_of: Any
) -> None:
    other = next(base.id for base in services.catalog if base.repo is not None)
    folder = base_folder(services.settings.data_dir, other)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    guild = home(place)
    shown = await said(admin, "admin catalogo", por_defecto=other)
    assert shown.count("✅") == 2
    assert [base.id for base in await offered_bases(services, guild.id)] == [other, "afina-mini"]
    await said(admin, "admin catalogo", retirar=other)
    assert [base.id for base in await offered_bases(services, guild.id)] == ["afina-mini"]
    assert len(await offered_bases(services, guild.id + 1)) == 2  # another server is not concerned
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    assert other not in str((await ana.slash("afinar")).form.fields)
    assert "al menos una" in await said(admin, "admin catalogo", retirar="afina-mini")


# Channels


async def test_questions_are_answered_only_where_staff_wants_them(
    place: Playground, services: Services, admin: Person
) -> None:
    general, allowed = channel(place, "general"), channel(place, "modelos")
    await said(admin, "admin canales", para="questions", permitir=allowed)
    ana = place.person("Ana")
    refusal = await ana.slash("preguntar", pregunta=QUESTION, channel=general)
    assert f"<#{allowed}>" in refusal.text
    assert "LoRA" in (await (await ana.slash("preguntar", pregunta=QUESTION, channel=allowed)).done(timeout=30)).text
    await ana.say(f"<@{place.world.bot.id}> {QUESTION}", channel=general)
    answer = await ana.wait_message(contains="En este canal no contesto preguntas", channel=general)
    assert f"<#{allowed}>" in answer.text
    for line in ("limites", "ayuda", "datos lista"):  # what is one's own, and what has its own list
        assert "En este canal" not in (await ana.slash(line, channel=general)).text


async def test_a_thread_is_allowed_with_its_channel_and_a_workshop_always(
    place: Playground, services: Services, admin: Person, dataset_of: Any, owner_of: Any
) -> None:
    ana = place.person("Ana")
    dataset = await dataset_of(owner_of(ana))
    general, allowed = channel(place, "general"), channel(place, "modelos")
    await (await ana.slash("datos ver", datos=dataset.id, channel=general)).done()
    workshop = await ana.wait_thread("Taller")
    await said(admin, "admin canales", para="work", permitir=allowed)
    assert "En este canal" in (await ana.slash("afinar", channel=general)).text
    assert "En este canal" not in (await (await ana.slash("datos lista", channel=workshop)).done()).text
    await said(admin, "admin canales", para="work", en_todos=True)
    assert "En este canal" not in (await (await ana.slash("datos lista", channel=general)).done()).text


async def test_a_list_whose_only_channel_was_deleted_does_not_open_every_other_one(
    place: Playground, services: Services, admin: Person
) -> None:
    gone = next(one for one in await admin.channels() if one.name == "modelos")
    await said(admin, "admin canales", para="questions", permitir=gone.id)
    await admin.delete_channel(gone)
    refusal = await place.person("Ana").slash("preguntar", pregunta=QUESTION)
    assert "En este canal no contesto preguntas" in refusal.text
    assert "ya no existe" in await said(admin, "admin canales")


async def test_direct_messages_can_be_switched_off(
    place: Playground, services: Services, bot: Afina, admin: Person, dataset_of: Any
) -> None:
    strict = place.guild("Estricta", bot_permissions=Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES)
    boss, ana = place.person("Dueña", strict, admin=True), place.person("Ana", strict)
    dataset = await dataset_of(Owner(guild_id=strict.id, user_id=ana.id), verdict="rejected", usable=0)
    await asyncio.sleep(0.3)
    await (await ana.slash("datos ver", datos=dataset.id)).done()
    direct = await ana.direct()
    card = await ana.wait_message(contains="reseñas", button="Borrar", channel=direct, since=0)
    await said(boss, "admin canales", mensajes_directos=False)
    assert "mensajes directos" in (await card.click("Borrar")).text
    bea = place.person("Bea", strict)
    theirs = await dataset_of(Owner(guild_id=strict.id, user_id=bea.id))
    refusal = await (await bea.slash("datos ver", datos=theirs.id)).done()
    assert "no usa mensajes directos" in refusal.text
    with pytest.raises(NoAnswer):
        await bea.wait_message(channel=await bea.direct(), since=0, timeout=0.5)


# The queue, and cancelling what is somebody else's


@pytest.fixture
async def running_job(place: Playground, services: Services, dataset_of: Any, owner_of: Any) -> tuple[Person, Job]:
    """A job of Ana's that has run for ten minutes."""
    ana = place.person("Ana")
    owner, store = owner_of(ana), services.store
    dataset = await dataset_of(owner)
    await (await ana.slash("datos ver", datos=dataset.id)).done()
    job = await store.submit_job(
        owner=owner, name="reseñas", dataset=dataset, base_id="afina-mini", recipe=Recipe(), estimated_seconds=900
    )
    await store.mark_dispatched(job.id, 1)
    for seq, ago in ((1, 600), (2, 0)):
        at = store.clock() - ago
        await store.apply_event(Event(job_id=job.id, attempt=1, seq=seq, created_at=at, type=EventType.MESSAGE))
    return ana, job


async def test_staff_cancels_a_job_its_owner_is_told_and_pays_nothing(
    place: Playground, services: Services, queue: ScriptedQueue, admin: Person, running_job: tuple[Person, Job]
) -> None:
    ana, job = running_job
    assert round((await services.store.usage(job.owner)).spent) == 600
    card = await (await admin.slash("admin cola")).done()
    assert f"<@{ana.id}>" in card.text
    assert "15 min" in card.text
    question = await (await card.click("Cancelar 1")).done()
    await question.click("Cancelarlo")
    told = await ana.wait_message(contains="ha cancelado", channel=await ana.wait_thread("Taller"))
    assert "reseñas" in told.text
    await services.store.apply_event(
        Event(job_id=job.id, attempt=1, seq=3, created_at=services.store.clock(), type=EventType.STOPPED,
              data={"kind": "cancelled"})
    )  # fmt: skip
    assert (await services.store.job(job.id)).state is JobState.CANCELLED
    assert (await services.store.usage(job.owner)).spent == 0
    log = await said(admin, "admin registro")
    assert f"Canceló el entrenamiento `{job.id}` (a <@{ana.id}>)" in log


async def test_staff_withdraws_a_shared_model_and_its_owner_keeps_it(
    place: Playground, services: Services, admin: Person, running_job: tuple[Person, Job]
) -> None:
    ana, job = running_job
    name = job.request.adapter_name
    data = {"adapter_name": name, "adapter_path": f"adapters/{name}", "adapter_sha256": "ab" * 32, "adapter_bytes": 9}
    event = Event(job_id=job.id, attempt=1, seq=9, created_at=1.0, type=EventType.RESULT,
                  data={**data, "trained_tokens": 1, "seconds": 1.0})  # fmt: skip
    await services.store.apply_event(event)
    (model,) = await services.store.models(job.owner)
    assert "No encuentro" in await said(admin, "admin retirar", modelo=model.id)  # private: none of staff's business
    await services.store.share_model(model.id, job.owner, True)
    assert [one["value"] for one in await admin.autocomplete("admin retirar", "modelo", "res")] == [model.id]
    await said(admin, "admin retirar", modelo=model.id, motivo="Insulta")
    told = await ana.wait_message(contains="ha dejado de compartir", channel=await ana.wait_thread("Taller"))
    assert "Insulta" in told.text
    assert [one.shared for one in await services.store.models(job.owner)] == [False]
    assert "Dejó de compartir el modelo" in await said(admin, "admin registro")


async def test_the_queue_of_a_server_is_its_own(
    place: Playground, services: Services, admin: Person, running_job: tuple[Person, Job]
) -> None:
    job = running_job[1]
    other = place.guild("Otra")
    stranger = place.person("Ajena", other, admin=True)
    await asyncio.sleep(0.3)
    assert "no hay nada en la cola" in await said(stranger, "admin cola")
    assert "nada anotado" in await said(stranger, "admin registro")
    own = await (await admin.slash("admin cola")).done()
    assert "reseñas" in own.text
    assert (await services.store.job(job.id)).state is JobState.RUNNING


async def test_the_log_is_read_page_by_page(place: Playground, services: Services, admin: Person) -> None:
    guild = home(place)
    for number in range(20):
        await services.store.note_action(guild.id, actor_id=admin.id, action="course", text=f"cosa {number}.")
    await services.store.note_action(guild.id + 1, actor_id=5, action="course", text="de otro servidor")
    card = await (await admin.slash("admin registro")).done()
    assert "cosa 19." in card.text
    assert "cosa 4." not in card.text
    await card.click("Anteriores")
    await card.wait_edit(contains="cosa 4.")
    assert "otro servidor" not in card.text


# The door


def test_the_door_knows_every_command_and_every_button(services: Services) -> None:
    cogs = load_cogs(Afina(services))
    names = {command.name for cog, _ in cogs for command in cog.get_app_commands()}
    names |= {menu.name for cog, _ in cogs for menu in getattr(cog, "context_menus", ())}
    assert names == set(COMMANDS)
    kinds = {item.prefix.split(":")[1] for _, items in cogs for item in items}
    assert kinds <= set(BUTTONS)


async def test_limits_that_are_not_there_cannot_be_reached(
    place: Playground, services: Services, admin: Person
) -> None:
    await said(admin, "admin limites", rol="member", preguntas=0)
    ana = place.person("Ana")
    for _ in range(12):  # the default is ten a minute
        assert "máximo" not in (await ana.slash("preguntar", pregunta="hola")).text
    assert (await services.store.role(Owner(guild_id=home(place).id, user_id=admin.id))) is Role.ADMIN


async def test_a_conversation_ends_where_staff_no_longer_wants_it_and_says_so(
    place: Playground, services: Services, admin: Person
) -> None:
    ana = place.person("Ana")
    general, allowed = channel(place, "general"), channel(place, "modelos")
    await (await ana.slash("charlar", modelo="base:afina-mini", channel=general)).done()
    thread = await ana.wait_thread("afina-mini")
    await said(admin, "admin canales", para="work", permitir=allowed)
    await ana.say("hola", channel=thread)
    note = await ana.wait_message(contains="En este canal no trabajo", channel=thread)
    assert f"<#{allowed}>" in note.text
    assert "En este canal no trabajo" in (await ana.slash("charlar", modelo="base:afina-mini", channel=general)).text


async def test_opening_conversations_counts_as_chatting(place: Playground, services: Services, admin: Person) -> None:
    await said(admin, "admin limites", charlas=2)
    ana = place.person("Ana")
    told = [await said(ana, "charlar", modelo="base:afina-mini") for _ in range(3)]
    assert "Vas muy deprisa" in told[2]
    assert len(await ana.threads()) == 2


async def test_in_direct_messages_the_server_of_the_workshop_counts(
    place: Playground, services: Services, admin: Person, dataset_of: Any
) -> None:
    strict = place.guild("Estricta", bot_permissions=Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES)
    boss, ana = place.person("Dueña", strict, admin=True), place.person("Ana", strict)
    place.join(ana, home(place))
    await asyncio.sleep(0.3)
    await said(boss, "admin limites", minutos=77)
    await said(admin, "admin limites", minutos=55)
    dataset = await dataset_of(Owner(guild_id=strict.id, user_id=ana.id), verdict="rejected", usable=0)
    await (await ana.slash("datos ver", datos=dataset.id)).done()
    direct = await ana.direct()
    card = await ana.wait_message(contains="reseñas", button="Borrar", channel=direct, since=0)
    assert "te quedan 77 de 77" in await said(ana, "limites", channel=direct)
    place.leave(ana, strict)
    refusal = await card.click("Borrar")
    assert "Ya no estás en el servidor" in refusal.text
    assert "Todo lo tuyo" in await said(ana, "misdatos descargar", channel=direct)
