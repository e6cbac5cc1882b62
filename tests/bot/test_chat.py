"""Talking to a model in a thread: a real client on the loopback Discord, an engine over HTTP."""

from __future__ import annotations

import asyncio
import datetime
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import discord
import pytest

from bot.client import Afina
from bot.cogs.chat_buttons import Again, when_writing
from bot.cogs.growing import Growing
from bot.conversations import WRITING
from bot.engine import EngineClient
from bot.errors import BadInput
from bot.records import Model, Owner
from bot.services import Services
from bot.sessions import Pace
from bot.settings import Settings
from bot.store import Store
from jobs.artifacts import Artifacts
from jobs.contract import Event, EventType, Recipe, TrainResult
from playground import Limits, Permission, Playground
from playground.people import Channel, Person
from playground.views import Message
from tests.bot.conftest import make_services, running
from tests.bot.protocol_engine import BASE, ProtocolEngine, protocol_engine

DONE = "Otra vez"
MakeModel = Callable[..., Awaitable[Model]]


@pytest.fixture
async def served() -> AsyncIterator[ProtocolEngine]:
    async with protocol_engine() as engine:
        yield engine


@pytest.fixture
async def engine(served: ProtocolEngine) -> AsyncIterator[EngineClient]:
    client = EngineClient(served.url)
    yield client
    await client.aclose()


@pytest.fixture
def services(settings: Settings, store: Store, queue: Any, engine: EngineClient) -> Services:
    settings = settings.model_copy(update={"default_base": BASE, "stream_edit_every": 0.15})
    return make_services(settings, store, queue, engine)


@pytest.fixture
def ana(place: Playground) -> Person:
    return place.person("Ana")


@pytest.fixture
def new_model(store: Store, settings: Settings, dataset_of: Callable[..., Awaitable[Any]], tmp_path: Any) -> MakeModel:
    """A published adapter and its model, as a finished job leaves them."""

    async def make(owner: Owner, name: str = "poeta", *, shared: bool = False) -> Model:
        dataset = await dataset_of(owner, name=f"{name}.jsonl")
        job = await store.submit_job(owner=owner, name=name, dataset=dataset, base_id=BASE, recipe=Recipe())
        folder = tmp_path / f"adapter-{job.id}"
        folder.mkdir()
        (folder / "adapter_config.json").write_text("{}")
        (folder / "adapter_model.safetensors").write_bytes(b"x")
        published = Artifacts(settings.artifacts).publish_adapter(job.request.adapter_name, folder)
        result = TrainResult(
            adapter_name=job.request.adapter_name,
            adapter_path=published.path,
            adapter_sha256=published.sha256,
            adapter_bytes=1,
            trained_tokens=1,
            seconds=1.0,
        )
        event = Event(
            job_id=job.id,
            attempt=1,
            seq=1,
            created_at=time.time(),
            type=EventType.RESULT,
            data=result.model_dump(mode="json"),
        )
        await store.apply_event(event)
        model = await store.model(name, owner)
        return await store.share_model(model.id, owner, True) if shared else model

    return make


async def open_thread(person: Person, model: str = f"base:{BASE}", **options: Any) -> Channel:
    answer = await (await person.slash("charlar", modelo=model, **options)).done()
    assert answer.ephemeral
    assert "Te espero" in answer.text, answer.text
    thread = await person.wait_thread()
    await person.wait_message("Escribe sin más", channel=thread)
    person.at(thread)
    return thread


@pytest.mark.parametrize(("name", "words"), [("temperatura", "La temperatura tiene que estar entre 0 y 2.")])
async def test_what_is_out_of_range_is_said_in_words_of_people(
    ana: Person, place: Playground, bot: Afina, name: str, words: str
) -> None:
    await place.wait_bot("charlar")
    answer = await (await ana.slash("charlar", modelo=f"base:{BASE}", **{name: 9})).done()
    assert words in answer.text
    assert "Lo normal es 0,3." in answer.text


async def answer_to(person: Person, text: str, **how: Any) -> Message:
    await person.say(text, **how)
    return await person.wait_message(button=DONE, timeout=10)


async def spoken(person: Person, thread: Channel) -> list[str]:
    """What stands in the thread, without the bot's notes."""
    shown = [m for m in await person.history(thread) if m.data["type"] in (0, 19)]
    return [m.content for m in shown if not m.content.startswith("-# ")]


async def stays(person: Person, thread: Channel, expected: list[str], seconds: float = 0.8) -> None:
    """The thread holds these messages, and nothing more comes."""
    await asyncio.sleep(seconds)
    assert await spoken(person, thread) == expected


async def test_a_private_thread_opens_and_plain_messages_are_answered(
    bot: Afina, ana: Person, served: ProtocolEngine
) -> None:
    thread = await open_thread(ana, instrucciones="Sé breve.", temperatura=0.5)
    assert thread.private
    message = await answer_to(ana, "hola")
    assert message.content == f"{BASE}: hola"
    assert served.asked[-1]["messages"] == [
        {"role": "system", "content": "Sé breve."},
        {"role": "user", "content": "hola"},
    ]
    assert served.asked[-1]["temperature"] == 0.5
    await answer_to(ana, "¿y ahora?")
    assert [m["content"] for m in served.asked[-1]["messages"]] == ["Sé breve.", "hola", f"{BASE}: hola", "¿y ahora?"]


async def test_somebody_who_writes_before_the_thread_is_ready_is_answered(
    bot: Afina, ana: Person, place: Playground, served: ProtocolEngine
) -> None:
    place.faults.delay(1.0, method="PUT", path=".*thread-members.*")
    await ana.slash("charlar", modelo=BASE, publico=True)
    thread = await ana.wait_thread(BASE)
    await ana.say("hola", channel=thread)
    message = await ana.wait_message(button=DONE, channel=thread, timeout=10)
    assert message.content == f"{BASE}: hola"


async def test_an_answer_grows_by_edits_with_a_mark_and_a_button_to_stop(
    bot: Afina, ana: Person, served: ProtocolEngine
) -> None:
    await open_thread(ana)
    served.pause = 0.06
    served.say = lambda body: [f"palabra{i} " for i in range(12)]
    await ana.say("cuenta")
    growing = await ana.wait_message("palabra0", button="Detener")
    assert growing.content.endswith(WRITING.strip())
    done = await growing.wait_edit(button=DONE, timeout=10)
    assert done.content == "".join(served.say({})).strip()
    assert len(done.edits) >= 3
    times = [edit.at for edit in done.edits]
    assert all(later - earlier > 0.1 for earlier, later in itertools.pairwise(times))


async def test_who_waits_long_for_the_first_word_is_told_so_and_the_answer_takes_the_place_of_it(
    bot: Afina, ana: Person, served: ProtocolEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.cogs.answering.PATIENCE", 0.2)
    await open_thread(ana)
    served.pause = 0.7
    await ana.say("hola")
    waiting = await ana.wait_message("sigo esperando", button="Detener")
    done = await waiting.wait_edit(button=DONE, timeout=10)
    assert done.content == f"{BASE}: hola"
    assert [turn["content"] for turn in served.asked[-1]["messages"]] == ["hola"]


async def test_waiting_can_be_stopped_before_the_first_word(
    bot: Afina, ana: Person, served: ProtocolEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bot.cogs.answering.PATIENCE", 0.2)
    await open_thread(ana)
    served.pause = 60
    await ana.say("hola")
    waiting = await ana.wait_message("sigo esperando", button="Detener")
    await waiting.click("Detener")
    stopped = await waiting.wait_edit(button=DONE, timeout=10)
    assert "Detenido" in stopped.content
    assert "esperando" not in stopped.content


async def test_a_tuned_model_answers_under_its_versioned_name(
    bot: Afina, ana: Person, served: ProtocolEngine, new_model: MakeModel, owner_of: Callable[..., Owner]
) -> None:
    model = await new_model(owner_of(ana))
    choices = await ana.autocomplete("charlar", "modelo", "po")
    assert [(c["name"], c["value"]) for c in choices] == [("poeta", model.id)]
    await open_thread(ana, "poeta")
    assert (await answer_to(ana, "hola")).content == f"{model.adapter_name}: hola"
    assert served.loads == [model.adapter_name]


async def test_long_answers_are_split_and_read_as_one(bot: Afina, ana: Person, served: ProtocolEngine) -> None:
    thread = await open_thread(ana)
    served.context = 20_000
    text = "```python\n" + "x = 1\n" * 700 + "```"
    served.say = lambda body: [text[i : i + 400] for i in range(0, len(text), 400)]
    await answer_to(ana, "programa")
    parts = [m for m in await spoken(ana, thread) if m.startswith("```")]
    assert len(parts) >= 3
    assert all(part.startswith("```python\n") and part.endswith("\n```") for part in parts)
    served.say = lambda body: ["bien"]
    await answer_to(ana, "gracias")
    assert "".join(served.asked[-1]["messages"][1]["content"].split()) == "".join(text.split())


async def test_two_quick_messages_get_one_answer(bot: Afina, ana: Person, served: ProtocolEngine) -> None:
    thread = await open_thread(ana)
    await ana.say("hola")
    await answer_to(ana, "¿qué tal?")
    assert len(served.asked) == 1
    assert served.asked[0]["messages"][-1]["content"] == "hola\n¿qué tal?"
    await stays(ana, thread, ["hola", "¿qué tal?", f"{BASE}: hola\n¿qué tal?"])


async def test_a_newer_message_replaces_an_answer_that_is_being_written(
    bot: Afina, ana: Person, served: ProtocolEngine
) -> None:
    thread = await open_thread(ana)
    served.pause = 0.05
    served.say = lambda body: ["lento "] * 100
    await ana.say("uno")
    stale = await ana.wait_message("lento")
    served.say = lambda body: ["rápido"]
    message = await answer_to(ana, "dos")
    assert message.content == "rápido"
    await stale.wait_deleted()
    assert await spoken(ana, thread) == ["uno", "dos", "rápido"]


async def test_detener_keeps_what_was_written_and_frees_the_engine(
    bot: Afina, ana: Person, served: ProtocolEngine
) -> None:
    await open_thread(ana)
    served.pause = 0.05
    served.say = lambda body: [f"n{i} " for i in range(200)]
    await ana.say("cuenta")
    growing = await ana.wait_message("n1", button="Detener")
    await growing.click("Detener")
    stopped = await growing.wait_edit("Detenido", timeout=5)
    assert "n0 n1" in stopped.content
    for _ in range(100):
        if served.gone:
            break
        await asyncio.sleep(0.02)
    assert served.gone == 1
    served.say = lambda body: ["sigo"]
    await answer_to(ana, "¿y?")
    assert "Detenido" not in str(served.asked[-1]["messages"])


async def test_otra_vez_writes_another_answer_in_the_same_place(
    bot: Afina, ana: Person, served: ProtocolEngine
) -> None:
    thread = await open_thread(ana)
    first = await answer_to(ana, "hola")
    served.say = lambda body: ["otra cosa"]
    await first.click(DONE)
    again = await first.wait_edit("otra cosa", button=DONE)
    assert again.id == first.id
    assert served.asked[-1]["messages"] == served.asked[0]["messages"]
    assert served.asked[-1]["temperature"] >= 0.8
    assert await spoken(ana, thread) == ["hola", "otra cosa"]


async def test_votes_are_kept_and_buttons_survive_a_restart(
    services: Services, ana: Person, served: ProtocolEngine, owner_of: Callable[..., Owner]
) -> None:
    async with running(services):
        await open_thread(ana)
        message = await answer_to(ana, "hola")
        await (await message.click("👎")).done()
    async with running(services):
        await (await message.click("👍")).done()
        votes = await services.store.votes("chat", owner_of(ana).guild_id)
        assert [(vote["message_id"], vote["value"]) for vote in votes] == [(message.id, "up")]
        await message.click(DONE)
        await message.wait(lambda m: len(served.asked) == 2 and m.edits)
        await asyncio.sleep(0.2)
        assert (await answer_to(ana, "¿sigues?")).content == f"{BASE}: ¿sigues?"


async def test_edits_and_deletions_are_respected(bot: Afina, ana: Person, served: ProtocolEngine) -> None:
    await open_thread(ana)
    first = await ana.say("me llamo Ana")
    await ana.wait_message(button=DONE)
    second = await ana.say("borra esto")
    await ana.wait_message(button=DONE)
    await first.edit("me llamo Eva")
    await second.delete()
    await answer_to(ana, "¿cómo me llamo?")
    sent = [m["content"] for m in served.asked[-1]["messages"] if m["role"] == "user"]
    assert sent == ["me llamo Eva", "¿cómo me llamo?"]


async def test_a_reply_to_an_older_message_branches_from_there(bot: Afina, ana: Person, served: ProtocolEngine) -> None:
    await open_thread(ana)
    first = await answer_to(ana, "a")
    await answer_to(ana, "b")
    await ana.say("otra vez", reply_to=first)
    branched = await ana.wait_message(f"{BASE}: otra vez", button=DONE)
    assert [m["content"] for m in served.asked[-1]["messages"]] == ["a", f"{BASE}: a", "otra vez"]
    assert branched.reply_to is not None
    await answer_to(ana, "sigo")
    assert [m["content"] for m in served.asked[-1]["messages"]][-3:] == ["otra vez", f"{BASE}: otra vez", "sigo"]


async def test_several_people_are_told_apart_and_nobody_is_pinged(
    bot: Afina, place: Playground, ana: Person, served: ProtocolEngine
) -> None:
    luis = place.person("Luis")
    thread = await open_thread(ana)
    await answer_to(ana, "hola")
    await ana.invite(thread, luis)
    luis.at(thread)
    served.say = lambda body: [f"@everyone {ana.mention} saludos"]
    message = await answer_to(luis, "hola a todos")
    assert message.notified == []
    assert served.asked[-1]["messages"][0]["content"] == "Ana: hola"
    assert served.asked[-1]["messages"][-1]["content"] == "Luis: hola a todos"


async def test_where_neither_threads_nor_direct_messages_are_allowed_it_says_which(
    bot: Afina, place: Playground
) -> None:
    guild = place.guild("Estricta", bot_permissions=Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES)
    eva = place.person("Eva", guild)
    place.user(eva).accepts_dms = False
    await place.wait_bot("charlar")
    await asyncio.sleep(0.3)
    refusal = await (await eva.slash("charlar", modelo=f"base:{BASE}")).done()
    assert "tus mensajes directos están cerrados" in refusal.text
    assert "Permite mensajes directos" in refusal.text


async def test_text_files_are_read(bot: Afina, ana: Person, served: ProtocolEngine) -> None:
    await open_thread(ana)
    await ana.attach(("notas.txt", "línea uno".encode("cp1252")), ("foto.png", b"\x89PNG"), content="resume")
    answer = await ana.wait_message(button=DONE)
    assert "foto.png: no lo he leído, porque no es un archivo de texto." in answer.text
    assert "notas.txt: " not in answer.text
    sent = served.asked[-1]["messages"][-1]["content"]
    assert sent == "resume\n\n[notas.txt]\nlínea uno\n\n[foto.png]\n(archivo que no es de texto)"


async def test_the_settings_of_a_thread_can_be_changed_and_only_by_its_owner(
    bot: Afina,
    place: Playground,
    ana: Person,
    served: ProtocolEngine,
    new_model: MakeModel,
    owner_of: Callable[..., Owner],
) -> None:
    model = await new_model(owner_of(ana))
    thread = await open_thread(ana)
    await answer_to(ana, "hola")
    assert "0,90" in (await (await ana.slash("parametros", temperatura=0.9, max_tokens=50)).done()).text
    form = (await ana.slash("instrucciones")).form
    await form.submit({next(iter(form.fields)): "Habla como un pirata."})
    await ana.slash("modelo", modelo="poeta")
    await answer_to(ana, "¿y ahora?")
    sent = served.asked[-1]
    assert (sent["model"], sent["temperature"], sent["max_tokens"]) == (model.adapter_name, 0.9, 50)
    assert sent["messages"][0] == {"role": "system", "content": "Habla como un pirata."}
    assert len(sent["messages"]) == 4
    await ana.slash("reiniciar")
    await answer_to(ana, "de nuevo")
    assert [m["content"] for m in served.asked[-1]["messages"]] == ["Habla como un pirata.", "de nuevo"]
    luis = place.person("Luis")
    await ana.invite(thread, luis)
    refused = await (await luis.at(thread).slash("reiniciar")).done()
    assert refused.ephemeral
    assert "Solo quien abrió" in refused.text
    await ana.slash("cerrar")
    for _ in range(100):
        if (await ana.channel(thread)).archived:
            break
        await asyncio.sleep(0.02)
    assert (await ana.channel(thread)).archived
    before = await spoken(ana, thread)
    await ana.say("¿hola?")
    await stays(ana, thread, [*before, "¿hola?"])


async def test_commands_of_a_thread_elsewhere_say_what_to_do(bot: Afina, ana: Person) -> None:
    answer = await (await ana.slash("reiniciar")).done()
    assert answer.ephemeral
    assert "/charlar" in answer.text


async def test_a_deleted_model_is_said_and_never_answered_by_the_base(
    bot: Afina,
    ana: Person,
    served: ProtocolEngine,
    store: Store,
    settings: Settings,
    new_model: MakeModel,
    owner_of: Callable[..., Owner],
) -> None:
    owner = owner_of(ana)
    model = await new_model(owner)
    await open_thread(ana, "poeta")
    await answer_to(ana, "hola")
    await store.delete_model(model.id, owner)
    asked = len(served.asked)
    message = await answer_to(ana, "¿sigues?")
    assert "ya no existe" in message.text
    assert "/modelo" in message.text
    assert len(served.asked) == asked


async def test_lost_files_of_a_model_are_said(
    bot: Afina,
    ana: Person,
    served: ProtocolEngine,
    settings: Settings,
    new_model: MakeModel,
    owner_of: Callable[..., Owner],
) -> None:
    model = await new_model(owner_of(ana))
    await open_thread(ana, "poeta")
    (settings.data_dir / model.adapter_path / "adapter_model.safetensors").unlink()
    assert "ya no están" in (await answer_to(ana, "hola")).text
    assert served.asked == []


async def test_an_engine_that_is_away_is_said_and_the_next_message_works(
    bot: Afina, ana: Person, served: ProtocolEngine
) -> None:
    await open_thread(ana)
    port_kept = served.url
    await served.stop()
    assert "no llego al motor" in (await answer_to(ana, "hola")).text
    await served.start(int(port_kept.rsplit(":", 1)[1]))
    assert (await answer_to(ana, "¿y ahora?")).content == f"{BASE}: hola\n¿y ahora?"


async def test_an_engine_that_dies_half_way_leaves_an_honest_message(
    bot: Afina, ana: Person, served: ProtocolEngine
) -> None:
    await open_thread(ana)
    served.pause, served.breaks_after = 0.05, 3
    served.say = lambda body: [f"trozo{i} " for i in range(9)]
    message = await answer_to(ana, "hola")
    assert message.content.startswith("trozo0 trozo1")
    assert "se ha interrumpido" in message.content
    assert not message.content.endswith(WRITING.strip())
    served.breaks_after = None
    served.say = lambda body: ["entero"]
    await message.click(DONE)
    assert (await message.wait_edit("entero", button=DONE)).content == "entero"


async def test_a_bot_that_dies_half_way_finishes_the_answer_when_it_is_back(
    services: Services, ana: Person, served: ProtocolEngine
) -> None:
    served.pause = 0.05
    served.say = lambda body: [f"trozo{i} " for i in range(400)]
    async with running(services):
        thread = await open_thread(ana)
        await ana.say("hola")
        cut = await ana.wait_message("trozo2", button="Detener")
    await cut.refresh()
    assert cut.content.endswith(WRITING.strip())
    await asyncio.sleep(0.1)
    served.pause = 0.0
    served.say = lambda body: ["entero"]
    async with running(services):
        done = await cut.wait_edit("entero", button=DONE, timeout=10)
        assert done.id == cut.id
        assert await spoken(ana, thread) == ["hola", "entero"]


async def test_what_was_written_while_the_bot_was_away_is_answered_once(
    services: Services, ana: Person, served: ProtocolEngine
) -> None:
    async with running(services):
        thread = await open_thread(ana)
        await answer_to(ana, "hola")
    await ana.say("¿hay alguien?")
    expected = ["hola", f"{BASE}: hola", "¿hay alguien?", f"{BASE}: ¿hay alguien?"]
    async with running(services):
        await ana.wait_message(f"{BASE}: ¿hay alguien?", button=DONE)
        await stays(ana, thread, expected)
    async with running(services):
        await stays(ana, thread, expected)


async def test_a_message_delivered_twice_is_answered_once(
    bot: Afina, place: Playground, ana: Person, served: ProtocolEngine
) -> None:
    thread = await open_thread(ana)
    place.faults.duplicate("MESSAGE_CREATE", times=2)
    await answer_to(ana, "hola")
    await stays(ana, thread, ["hola", f"{BASE}: hola"])
    assert len(served.asked) == 1


async def test_deleting_the_question_takes_the_unfinished_answer_back(
    bot: Afina, ana: Person, served: ProtocolEngine
) -> None:
    await open_thread(ana)
    served.pause = 0.05
    served.say = lambda body: ["lento "] * 100
    asked = await ana.say("uno")
    growing = await ana.wait_message("lento")
    await asked.delete()
    await growing.wait_deleted()


async def test_a_thread_that_is_deleted_half_way_is_forgotten(
    bot: Afina, place: Playground, ana: Person, served: ProtocolEngine, store: Store
) -> None:
    thread = await open_thread(ana)
    served.pause = 0.05
    served.say = lambda body: ["lento "] * 100
    await ana.say("uno")
    await ana.wait_message("lento")
    await place.person("Moderadora", admin=True).delete_channel(thread)
    async with asyncio.timeout(10):
        while not served.gone or not (chat := await store.chat(thread.id)) or not chat.closed:
            await asyncio.sleep(0.02)
    assert served.gone == 1


async def test_an_answer_that_a_moderator_deletes_half_way_ends_quietly(
    bot: Afina, place: Playground, ana: Person, served: ProtocolEngine
) -> None:
    thread = await open_thread(ana)
    served.pause, served.say = 0.05, lambda body: ["lento "] * 100
    await ana.say("uno")
    growing = await ana.wait_message("lento")
    moderator = place.person("Moderadora", admin=True).at(thread)
    await next(message for message in await moderator.history() if message.id == growing.id).delete()
    async with asyncio.timeout(10):
        while not served.gone:
            await asyncio.sleep(0.02)
    await ana.no_message(0.5)  # neither a new answer nor a word about permissions
    served.pause, served.say = 0.0, lambda body: ["entero"]
    assert (await answer_to(ana, "dos")).content == "entero"


async def test_a_thread_that_goes_to_sleep_half_way_is_woken(
    bot: Afina, place: Playground, ana: Person, served: ProtocolEngine
) -> None:
    thread = await open_thread(ana)
    served.pause, served.say = 0.05, lambda body: [f"trozo{i} " for i in range(20)]
    await ana.say("uno")
    growing = await ana.wait_message("trozo1")
    await place.person("Moderadora", admin=True).update_thread(thread, archived=True)
    assert "trozo19" in (await growing.wait_edit(button=DONE, timeout=10)).content
    assert not (await ana.channel(thread)).archived


async def test_a_permission_that_is_lost_half_way_is_told_to_the_owner(
    bot: Afina, place: Playground, ana: Person, served: ProtocolEngine
) -> None:
    await open_thread(ana)
    served.pause, served.say = 0.05, lambda body: ["x" * 150 + " "] * 40  # more than one message
    await ana.say("uno")
    await ana.wait_message("xxx")
    guild = next(iter(place.world.guilds.values()))
    for role in (guild.id, *guild.members[place.world.bot.id].roles):
        place.world.change_role(guild, guild.roles[role], 0)
    told = await ana.wait_message("Ya no puedo escribir", timeout=10)
    assert told.channel_id == (await ana.direct()).id
    assert served.gone == 1


async def test_an_answer_too_old_to_be_edited_gets_a_new_one_in_its_place() -> None:
    """Discord refuses all but a few edits of what is older than an hour (30046)."""

    class Old:
        created_at = discord.utils.utcnow() - datetime.timedelta(hours=2)
        edits, deleted = 0, False

        async def edit(self, **_: Any) -> None:
            self.edits += 1

        async def delete(self) -> None:
            self.deleted = True

    class Room:
        def __init__(self) -> None:
            self.sent: list[str] = []

        async def send(self, content: str, **_: Any) -> Old:
            self.sent.append(content)
            return Old()

    old, room = Old(), Room()
    growing = Growing(room, Pace(1000), 0.0, existing=[old])  # type: ignore[arg-type, list-item]
    growing.text = "nuevo"
    await growing.show(discord.ui.View())
    assert not old.deleted
    await growing.finish("nuevo del todo", [], None)
    assert (old.deleted, old.edits, room.sent) == (True, 0, [f"nuevo{WRITING}"])


async def test_a_thread_that_gets_locked_half_way_is_told_to_its_owner(
    bot: Afina, place: Playground, ana: Person, served: ProtocolEngine
) -> None:
    thread = await open_thread(ana)
    served.pause = 0.05
    served.say = lambda body: ["lento "] * 100
    await ana.say("uno")
    await ana.wait_message("lento")
    moderator = place.person("Moderadora", admin=True)
    await moderator.update_thread(thread, archived=True, locked=True)
    told = await ana.wait_message("Ya no puedo escribir", timeout=10)
    assert told.channel_id == (await ana.direct()).id


async def test_too_long_a_message_is_refused_and_an_old_past_is_forgotten_with_a_note(
    bot: Afina, ana: Person, served: ProtocolEngine
) -> None:
    served.context = 300
    await open_thread(ana)
    assert "no cabe" in (await answer_to(ana, "x" * 400)).text
    await ana.slash("reiniciar")
    served.say = lambda body: ["y" * 60]
    for _ in range(3):
        message = await answer_to(ana, "z" * 60)
    assert "ya no caben" in message.content
    sent = served.asked[-1]
    assert sum(len(m["content"]) + 4 for m in sent["messages"]) + sent["max_tokens"] <= 300


async def test_the_limit_a_minute_is_said(services: Services, ana: Person, settings: Settings) -> None:
    limited = make_services(
        services.settings.model_copy(update={"chats_per_minute": 2}), services.store, services.queue, services.engine
    )
    async with running(limited):
        await open_thread(ana)
        await answer_to(ana, "uno")
        await answer_to(ana, "dos")
        await ana.say("tres")
        assert "muy deprisa" in (await ana.wait_message("deprisa")).text


async def test_a_private_model_is_nobody_elses_business(
    bot: Afina, place: Playground, ana: Person, new_model: MakeModel, owner_of: Callable[..., Owner]
) -> None:
    model = await new_model(owner_of(ana))
    luis = place.person("Luis")
    assert await luis.autocomplete("charlar", "modelo", "poeta") == []
    assert "No encuentro" in (await (await luis.slash("charlar", modelo=model.id)).done()).text
    refused = await (await ana.slash("charlar", modelo="poeta", publico=True)).done()
    assert "privado" in refused.text


async def test_in_a_public_thread_others_have_to_call_the_bot(
    bot: Afina, place: Playground, ana: Person, served: ProtocolEngine
) -> None:
    thread = await open_thread(ana, publico=True)
    assert not thread.private
    luis = place.person("Luis").at(thread)
    await luis.say("¿qué es esto?")
    await luis.no_message(0.8, channel=thread)
    await luis.say(f"<@{bot.user.id}> hola")
    await luis.wait_message(button=DONE, channel=thread)
    assert (await answer_to(ana, "hola")).content


async def test_without_private_threads_it_talks_in_direct_messages(
    services: Services, place: Playground, served: ProtocolEngine
) -> None:
    guild = place.guild(
        "Cerrada", channels=("general",), bot_permissions=Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES
    )
    eva = place.person("Eva", guild)
    async with running(services):
        answer = await (await eva.slash("charlar", modelo=f"base:{BASE}")).done()
        assert "mensajes directos" in answer.text
        eva.at(await eva.direct())
        assert any("Escribe sin más" in message.content for message in await eva.history())
        assert (await answer_to(eva, "hola")).content == f"{BASE}: hola"


async def test_direct_messages_go_on_after_a_restart(
    services: Services, place: Playground, served: ProtocolEngine
) -> None:
    closed = Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES
    eva = place.person("Eva", place.guild("Cerrada", channels=("general",), bot_permissions=closed))
    async with running(services):
        await (await eva.slash("charlar", modelo=f"base:{BASE}")).done()
        direct = await eva.direct()
        eva.at(direct)
        await answer_to(eva, "hola")
        served.pause = 0.05
        served.say = lambda body: [f"trozo{i} " for i in range(400)]
        await eva.say("cuéntame algo largo")
        cut = await eva.wait_message("trozo2", button="Detener")
    served.pause, served.say = 0.0, lambda body: ["entero"]
    async with running(services):
        assert (await cut.wait_edit("entero", button=DONE, timeout=10)).id == cut.id
    await eva.say("¿hay alguien?")
    async with running(services):
        await eva.wait_message("entero", button=DONE)
        await stays(eva, direct, ["hola", f"{BASE}: hola", "cuéntame algo largo", "entero", "¿hay alguien?", "entero"])


async def test_who_left_the_server_is_not_answered_in_direct_messages(
    services: Services, place: Playground, served: ProtocolEngine
) -> None:
    closed = place.guild(
        "Cerrada", channels=("general",), bot_permissions=Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES
    )
    home = place.guild("Casa")
    eva = place.person("Eva", closed)
    place.join(eva, home)
    async with running(services) as bot:
        await bot.make_home(eva.id, home.id)  # it is not their home that counts, but where this was opened
        await (await eva.slash("charlar", modelo=f"base:{BASE}")).done()
        eva.at(await eva.direct())
        answered = await answer_to(eva, "hola")
        place.leave(eva, closed)
        asked = len(served.asked)
        await eva.say("¿sigues ahí?")
        assert "/misdatos" in (await eva.wait_message("Ya no estás en el servidor")).text
        await answered.click(DONE)
        await eva.wait_message("Ya no estás en el servidor")
        assert len(served.asked) == asked


async def test_where_the_bot_was_thrown_out_direct_messages_end_too(
    services: Services, place: Playground, served: ProtocolEngine
) -> None:
    closed = Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES
    guild = place.guild("Cerrada", channels=("general",), bot_permissions=closed)
    eva = place.person("Eva", guild)
    place.join(eva, place.guild("Casa"))
    async with running(services):
        await (await eva.slash("charlar", modelo=f"base:{BASE}")).done()
        eva.at(await eva.direct())
        place.world.leave(place.world.guilds[guild.id], place.world.bot.id)
        await eva.say("¿sigues ahí?")
        await eva.wait_message("Ya no estás en el servidor")


async def test_a_made_up_button_stops_nobody_elses_answer(
    bot: Afina, ana: Person, place: Playground, served: ProtocolEngine
) -> None:
    thread = await open_thread(ana)
    served.pause = 0.05
    served.say = lambda body: [f"palabra{i} " for i in range(30)]
    await ana.say("cuenta")
    await ana.wait_message("palabra0", button="Detener")
    luis = place.person("Luis")
    channel = bot.get_channel((await luis.channels())[0].id)
    assert isinstance(channel, discord.TextChannel)
    await channel.send("Pulsa", view=when_writing(thread.id))
    await (await luis.wait_message("Pulsa", button="Detener")).click("Detener")
    assert "palabra29" in (await ana.wait_message(button=DONE, timeout=10)).content


async def test_many_threads_at_once_stay_below_discords_limits_and_never_cross(
    settings: Settings, served: ProtocolEngine, queue: Any, engine: EngineClient
) -> None:
    async with Playground(limits=Limits(), acknowledge_within=10) as place:
        guild = place.guild("Grande", channels=("general", "uno", "dos"))
        addresses = {"discord_api": place.api_url, "discord_gateway": place.gateway_url, "default_base": BASE}
        settings = settings.model_copy(update={**addresses, "stream_edit_every": 1.0})
        async with Store.open(settings.database) as store, running(make_services(settings, store, queue, engine)):
            people = [
                place.person(f"P{i}").at(place.channel(name, guild))
                for name in ("general", "uno", "dos")
                for i in range(4)
            ]
            await asyncio.gather(*(open_thread(person) for person in people))
            served.pause = 0.05
            served.say = lambda body: [f"{body['messages'][-1]['content']}-{i} " for i in range(30)]
            messages = await asyncio.gather(*(answer_to_slowly(person, f"{person.id}") for person in people))
            for person, message in zip(people, messages, strict=True):
                assert message.content == "".join(f"{person.id}-{i} " for i in range(30)).strip()
        assert [r for r in place.requests if r.status == 429] == []
        assert place.unhandled == []


async def answer_to_slowly(person: Person, text: str) -> Message:
    await person.say(text)
    return await person.wait_message(button=DONE, timeout=60)


@pytest.mark.parametrize("made_up", ["abc", "-1", "1.5", "9" * 60])
def test_a_button_whose_id_somebody_made_up_is_refused_in_words(made_up: str) -> None:
    with pytest.raises(BadInput, match="ya no sirve"):
        _ = Again(made_up).number
    assert Again(1234567890123456789).number == 1234567890123456789
