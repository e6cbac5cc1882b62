"""Crafted buttons: every persistent button there is, made up with the ids of somebody else's things, gets nothing.

Whoever changes their Discord client can send any `custom_id`. Here an outsider of the same server (an administrator
even) and one of another server press every kind of button for everything that Ana has; afterwards her rows are what
they were, nobody was asked to stop her job, and no answer holds a word of hers.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import discord
import pytest
from discord import app_commands

from bot.client import Afina, load_cogs
from bot.records import ChatThread, Owner
from bot.services import Services
from bot.settings import Settings
from bot.store import Store
from jobs.contract import Event, EventType, Recipe
from playground import Playground
from playground.answers import Answer
from playground.people import Person
from tests.bot.scripted import ScriptedQueue, ScriptedWorker, good_evaluation

SECRET = "zarzamora"  # in the name of everything of Ana's, and nowhere else


def buttons(services: Services) -> list[str]:
    """The prefix of every persistent button."""
    return sorted({item.prefix for _, items in load_cogs(Afina(services)) for item in items})


@pytest.fixture
async def store(settings: Settings) -> AsyncIterator[Store]:
    """With leases so long that nothing changes by itself."""
    async with Store.open(settings.database, lease_seconds=3600) as opened:
        yield opened


@pytest.fixture
def ana(place: Playground) -> Person:
    return place.person("Ana")


@pytest.fixture
async def belongings(
    ana: Person, services: Services, queue: ScriptedQueue, dataset_of: Any, owner_of: Any, tmp_path: Any
) -> tuple[Owner, list[str]]:
    """What Ana has, and every id that leads to it."""
    owner = owner_of(ana)
    store = services.store
    dataset = await dataset_of(owner, f"{SECRET}.jsonl")
    done = await store.submit_job(owner=owner, name=SECRET, dataset=dataset, base_id="afina-mini", recipe=Recipe())
    draft = tmp_path / "adapter"
    draft.mkdir()
    (draft / "adapter_model.safetensors").write_bytes(bytes(2000))
    (draft / "adapter_config.json").write_text("{}", encoding="utf-8")
    services.artifacts.publish_adapter(done.request.adapter_name, draft)
    ScriptedWorker(queue, done.request).finish(good_evaluation())
    for _, event in queue.read_events("0", 0):
        await store.apply_event(event)
    (model,) = await store.models(owner)
    running = await store.submit_job(
        owner=owner, name=f"{SECRET} 2", dataset=dataset, base_id="afina-mini", recipe=Recipe()
    )
    await store.mark_dispatched(running.id, 1)
    await store.apply_event(Event(job_id=running.id, attempt=1, seq=1, created_at=1.0, type=EventType.MESSAGE))
    thread = ChatThread(
        thread_id=987654321, owner=owner, model_id=model.id, base_id="afina-mini", instructions=f"Habla de {SECRET}"
    )
    await store.open_chat(thread)
    ids = [dataset.id, done.id, running.id, model.id, model.adapter_name, str(thread.thread_id), str(owner.user_id)]
    return owner, ids


async def rows_of(services: Services, owner: Owner) -> dict[str, list[dict[str, Any]]]:
    """Everything about somebody, but for where the cards of their jobs are: those come and go by themselves."""
    rows = await services.store.everything(owner)
    cards = ("channel_id", "message_id")
    return {table: [{name: row[name] for name in row if name not in cards} for row in rows[table]] for table in rows}


async def words_of(answer: Answer) -> str:
    """Everything that an answer says or brings along."""
    if answer.modal is not None:
        return str(answer.data["modal"])
    message = await answer.done(timeout=20)
    files = [(await file.read()).decode("latin-1") for file in message.attachments]
    return " ".join([message.text, *files])


async def press(bot: Afina, person: Person, custom_id: str, channel: Any = None) -> str:
    """A message with this button where the person is, and what pressing it brings."""
    channel = channel or bot.get_channel((await person.channels())[0].id)
    view = discord.ui.LayoutView(timeout=None).add_item(discord.ui.TextDisplay(f"[{custom_id}]"))
    button = discord.ui.Button(label="Pulsar", custom_id=custom_id)
    await channel.send(view=view.add_item(discord.ui.ActionRow(button)))
    message = await person.wait_message(contains=f"[{custom_id}]", since=0)
    words = await words_of(await message.click("Pulsar"))
    return words.replace(f"[{custom_id}]", "").replace(custom_id.split(":", 3)[-1], "")  # what was sent may be repeated


@pytest.mark.timeout(400)
@pytest.mark.parametrize("where", ["the same server", "another server"])
async def test_a_made_up_button_gets_nothing(
    place: Playground,
    services: Services,
    queue: ScriptedQueue,
    bot: Afina,
    belongings: tuple[Owner, list[str]],
    where: str,
) -> None:
    owner, ids = belongings
    home = None if where == "the same server" else place.guild("Otra", channels=("general",))
    eva = place.person("Eva", home, admin=True)
    await place.wait_bot("ayuda")
    before = await rows_of(services, owner)
    # Staff of her own server may cancel Ana's job, which is tested where that belongs; nobody else's staff may.
    staff = "afina:admin:" if where == "the same server" else "none"
    made_up = [f"{prefix}{one}" for prefix in buttons(services) for one in ids if not prefix.startswith(staff)]
    assert len(made_up) > 150
    told = [await press(bot, eva, custom_id) for custom_id in made_up]
    assert [words for words in told if SECRET in words] == []
    assert await rows_of(services, owner) == before
    assert queue.stops == []
    assert services.artifacts.list_adapters() != []


async def test_nor_does_it_in_direct_messages_that_claim_to_belong_to_that_server(
    place: Playground, services: Services, queue: ScriptedQueue, bot: Afina, belongings: tuple[Owner, list[str]]
) -> None:
    """As somebody's who was in Ana's server once: it still is what their direct messages belong to."""
    owner, ids = belongings
    eva = place.person("Eva", place.guild("Otra", channels=("general",)), admin=True)
    await place.wait_bot("ayuda")
    await bot.make_home(eva.id, owner.guild_id)
    direct = await (await bot.fetch_user(eva.id)).create_dm()
    eva.at(await eva.direct())
    before = await rows_of(services, owner)
    wanted = {"data": ids[0], "train": ids[0], "job": ids[2], "admin": ids[2], "chat": ids[3], "model": ids[3]}
    made_up = [f"{prefix}{wanted.get(prefix.split(':')[1], ids[6])}" for prefix in buttons(services)]
    told = [await press(bot, eva, custom_id, direct) for custom_id in made_up]
    assert sum("Ya no estás" in words for words in told) > len(made_up) / 2
    assert [words for words in told if SECRET in words] == []
    assert await rows_of(services, owner) == before
    assert queue.stops == []


async def test_a_member_who_makes_up_the_buttons_of_staff_gets_nothing(
    place: Playground, services: Services, queue: ScriptedQueue, bot: Afina, belongings: tuple[Owner, list[str]]
) -> None:
    owner, ids = belongings
    await place.wait_bot("ayuda")
    eva = place.person("Eva")
    before = await rows_of(services, owner)
    await services.store.note_action(owner.guild_id, actor_id=5, action="jobs", text=f"Canceló {SECRET}")
    made_up = [f"{prefix}{one}" for prefix in buttons(services) if ":admin:" in prefix for one in [*ids, "999"]]
    told = [await press(bot, eva, custom_id) for custom_id in made_up]
    assert sum("No tienes permiso" in words for words in told) > len(ids)
    assert [words for words in told if SECRET in words] == []
    assert await rows_of(services, owner) == before
    assert queue.stops == []


@pytest.mark.timeout(400)
@pytest.mark.parametrize("where", ["the same server", "another server"])
async def test_no_command_and_no_suggestion_knows_what_is_somebody_elses(
    place: Playground,
    services: Services,
    queue: ScriptedQueue,
    bot: Afina,
    belongings: tuple[Owner, list[str]],
    where: str,
) -> None:
    """Every command with every id of Ana's where a text can be given, and every list that appears while typing."""
    owner, ids = belongings
    home = None if where == "the same server" else place.guild("Otra", channels=("general",))
    eva = place.person("Eva", home, admin=where == "another server")
    await place.wait_bot("ayuda")
    before = await rows_of(services, owner)
    found, tried = [], 0
    for command in bot.tree.walk_commands():
        if not isinstance(command, app_commands.Command) or command.qualified_name in UNSENT:
            continue
        if command.qualified_name.startswith("admin") and where == "the same server":
            continue  # hidden from members; staff of the same server sees the queue
        parameters = command.parameters
        texts = [one for one in parameters if one.type is discord.AppCommandOptionType.string]
        for one in (text for text in texts if text.autocomplete):
            for typed in ("", SECRET):
                shown = await eva.autocomplete(command.qualified_name, one.display_name, typed)
                found += [str(shown)] if SECRET in str(shown) else []
        free = [one for one in texts if not one.choices]
        for wanted in [ids[0], ids[2], ids[3], SECRET] if free else [""]:  # data, job, model, name
            options = {one.display_name: wanted for one in free if one.required or one.autocomplete}
            options |= {one.display_name: one.choices[0].value for one in texts if one.choices and one.required}
            options |= {one.display_name: 5 for one in parameters if one.required and one not in texts}
            words = await words_of(await eva.slash(command.qualified_name, **options))
            tried += 1
            found += [f"{command.qualified_name} {options}: {words}"] if SECRET in words.replace(wanted, "") else []
    assert tried > 50
    assert found == []
    assert await rows_of(services, owner) == before
    assert queue.stops == []


# Commands that take a file, and those that answer with what the model says.
UNSENT = {"datos subir", "curso agregar", "misdatos borrar"}


async def test_the_same_buttons_work_for_whom_they_are(
    place: Playground, bot: Afina, ana: Person, belongings: tuple[Owner, list[str]]
) -> None:
    """So that the test above can fail: what must not be told to Eva is told to Ana."""
    await place.wait_bot("ayuda")
    dataset, _, running = belongings[1][:3]
    assert SECRET in await press(bot, ana, f"afina:data:delete:{dataset}")
    assert "No encuentro" not in await press(bot, ana, f"afina:job:cancel:{running}")
