"""The client stays up and polite: errors are Spanish replies, and discord.py's traps do not hurt.

The traps are those of discord.py 2.7: each test names the one it is about.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import discord
import pytest
from aiohttp import web
from discord import app_commands

from bot.client import Afina, redirect
from bot.cogs.replies import as_refusal, refusal_text
from bot.errors import BadInput, NotFound
from bot.services import Services
from bot.settings import ROOT
from jobs.errors import QueueUnavailable
from playground import Playground
from tests.bot.conftest import running


@pytest.fixture
async def aiohttp_server() -> AsyncIterator[Any]:
    """`await aiohttp_server(answer)`: a server that gives the same answer to everything; its address."""
    runners: list[web.AppRunner] = []

    async def start(answer: Any) -> str:
        async def handle(request: web.Request) -> web.Response:
            return answer()

        app = web.Application()
        app.router.add_route("*", "/{path:.*}", handle)
        runner = web.AppRunner(app)
        await runner.setup()
        runners.append(runner)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        return f"http://127.0.0.1:{runner.addresses[0][1]}"

    yield start
    for runner in runners:
        await runner.cleanup()


async def put_on(bot: Afina, place: Playground, name: str, callback: Any) -> None:
    """Give the running bot one more slash command."""
    bot.tree.add_command(app_commands.Command(name=name, description="Para la prueba", callback=callback))
    await bot.tree.sync()
    await place.wait_bot(name)


# Errors as replies


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (NotFound("No encuentro esos datos.", hint="Mira los que tienes."), "No encuentro esos datos.\nMira los"),
        (QueueUnavailable(), "no llego a la cola"),
        (app_commands.NoPrivateMessage(), "dentro de un servidor"),
        (app_commands.MissingPermissions(["manage_guild"]), "No tienes permiso"),
        (app_commands.CommandNotFound("x", []), "Recarga Discord"),
    ],
)
def test_what_a_person_can_do_something_about_is_told_in_spanish(error: Exception, words: str) -> None:
    refusal = as_refusal(error)
    assert refusal is not None
    assert words in refusal_text(refusal)


def test_a_bug_is_not_a_refusal() -> None:
    assert as_refusal(KeyError("secret")) is None


async def test_a_refusal_is_a_private_reply_with_what_to_do(place: Playground, bot: Afina) -> None:
    async def refuse(interaction: discord.Interaction) -> None:
        raise BadInput("Eso no vale.", hint="Prueba con otra cosa.")

    await put_on(bot, place, "negar", refuse)
    answer = await place.person("Ana").slash("negar")
    assert answer.ephemeral
    assert answer.text == "⚠️ Eso no vale.\nPrueba con otra cosa."


async def test_a_bug_is_an_apology_with_an_id_and_no_traceback(
    place: Playground, bot: Afina, caplog: pytest.LogCaptureFixture
) -> None:
    async def break_down(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        raise KeyError("internal")

    await put_on(bot, place, "romper", break_down)
    message = await (await place.person("Ana").slash("romper")).done()
    assert "internal" not in message.text
    error_id = message.text.split("`")[1]
    assert any(error_id in record.getMessage() and record.exc_info for record in caplog.records)


async def test_an_expired_interaction_is_answered_in_the_channel(place: Playground, bot: Afina) -> None:
    async def dawdle(interaction: discord.Interaction) -> None:
        await interaction.response.defer(thinking=True)
        place.faults.expire_interactions()
        await interaction.followup.send("tarde")

    await put_on(bot, place, "tardar", dawdle)
    ana = place.person("Ana")
    await ana.slash("tardar")
    message = await ana.wait_message(contains="No llegué a tiempo")
    assert ana.mention in message.text
    assert not message.ephemeral


async def test_a_button_that_nobody_knows_any_more_is_answered(place: Playground, bot: Afina) -> None:
    ana = place.person("Ana")
    channel = bot.get_channel((await ana.channels())[0].id)
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(discord.ui.ActionRow(discord.ui.Button(label="Viejo", custom_id="afina:gone:verb:1")))
    await channel.send(view=view)
    answer = await (await ana.wait_message(button="Viejo")).click("Viejo")
    assert "ya no sirve" in answer.text


async def test_a_form_from_before_a_restart_is_answered(
    place: Playground, services: Services, dataset_of: Any, owner_of: Any
) -> None:
    ana = place.person("Ana")
    await dataset_of(owner_of(ana))
    async with running(services):
        await place.wait_bot("afinar")
        form = (await ana.slash("afinar")).form
    async with running(services):
        answer = await form.submit(**{"Nombre del modelo": "x"})
        assert "reinicié" in answer.text


# Commands


async def test_commands_are_registered_once_and_again_only_when_they_change(
    place: Playground, services: Services
) -> None:
    def registrations() -> int:
        return sum(record.method == "PUT" and record.path.endswith("/commands") for record in place.requests)

    async with running(services):
        await place.wait_bot("ayuda")
    async with running(services) as client:
        await client.wait_until_ready()
        await asyncio.sleep(0.3)
    assert registrations() == 1
    await services.store.set_state(f"commands:{client.application_id}:global", "otros")
    async with running(services):
        async with asyncio.timeout(5):
            while registrations() < 2:
                await asyncio.sleep(0.02)


async def test_with_a_guild_in_the_settings_commands_belong_to_it(place: Playground, services: Services) -> None:
    guild = next(iter(place.world.guilds))
    async with running(replace(services, settings=services.settings.model_copy(update={"guild_id": guild}))):
        await place.wait_bot("ayuda")
    assert any(record.path.endswith(f"/guilds/{guild}/commands") for record in place.requests)


async def test_every_command_and_option_fits_discord_and_has_no_accents(bot: Afina) -> None:
    for command in bot.tree.walk_commands():
        assert command.name.isascii(), command.qualified_name
        assert 0 < len(command.description) <= 100, command.qualified_name


# The traps


@pytest.mark.parametrize(
    ("trap", "answer"),
    [
        ("1: HTML from a captive portal", lambda: web.Response(text="<html>", content_type="text/html")),
        ("1: JSON called something else", lambda: web.Response(text="{}", content_type="text/json")),
        ("2: an empty answer", lambda: web.Response(status=204)),
    ],
)
async def test_trap_1_and_2_a_server_that_is_not_discord_ends_the_client(
    services: Services, aiohttp_server: Any, trap: str, answer: Any
) -> None:
    """The library takes anything but exactly `application/json` for text, and then trips over it."""
    origin = await aiohttp_server(answer)
    redirect(services.settings.model_copy(update={"discord_api": origin}))
    client = Afina(services)
    with pytest.raises((TypeError, AttributeError, KeyError)):
        await asyncio.wait_for(client.run_forever("token"), 10)
    await client.close()


async def test_trap_2_an_unreadable_answer_to_a_callback_does_not_break_the_next_command(
    place: Playground, bot: Afina
) -> None:
    async def garble(interaction: discord.Interaction) -> None:
        raise TypeError("what an empty answer becomes inside the library")

    await put_on(bot, place, "vacio", garble)
    ana = place.person("Ana")
    assert "ya está anotado" in (await ana.slash("vacio")).text
    assert "Qué puedes hacer" in (await ana.slash("ayuda")).text


async def test_trap_4_the_gateway_may_be_away_at_the_start(place: Playground, services: Services) -> None:
    place.faults.gateway_away(True)
    redirect(services.settings)
    client = Afina(services)
    task = asyncio.create_task(client.run_forever(place.token))
    await asyncio.sleep(1.0)
    assert not task.done()
    place.faults.gateway_away(False)
    await asyncio.wait_for(client.online.wait(), 30)
    await client.close()
    await asyncio.gather(task, return_exceptions=True)


async def test_trap_3_an_exception_in_the_event_parser_ends_the_client(place: Playground, services: Services) -> None:
    redirect(services.settings)
    client = Afina(services)
    task = asyncio.create_task(client.run_forever(place.token))
    await asyncio.wait_for(client.online.wait(), 20)
    broken = {"op": 0, "t": "MESSAGE_CREATE", "s": 1, "d": {"id": "no es un número"}}
    await place.gateway.send_everybody(broken)
    done, _ = await asyncio.wait([task], timeout=10)
    assert done, "the client lingers half alive"
    assert task.exception() is not None
    await client.close()


@pytest.mark.parametrize("status", [500, 502])
async def test_trap_5_server_errors_are_retried_by_the_library(place: Playground, bot: Afina, status: int) -> None:
    async def speak(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        await interaction.channel.send("una vez")
        await interaction.followup.send("hecho")

    await put_on(bot, place, "hablar", speak)
    place.faults.status(status, method="POST", path="/channels/.*/messages")
    ana = place.person("Ana")
    await ana.slash("hablar")
    await ana.wait_message(contains="una vez")


async def test_trap_5_a_503_is_not_retried_and_becomes_an_apology(place: Playground, bot: Afina) -> None:
    async def speak(interaction: discord.Interaction) -> None:
        await interaction.channel.send("hola")

    await put_on(bot, place, "hablar", speak)
    place.faults.status(503, method="POST", path="/channels/.*/messages")
    answer = await place.person("Ana").slash("hablar")
    assert "ya está anotado" in answer.text


async def test_trap_6_a_message_whose_answer_was_lost_is_not_doubled(place: Playground, bot: Afina) -> None:
    async def speak(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True)
        await interaction.channel.send("una sola vez")

    await put_on(bot, place, "hablar", speak)
    place.faults.drop("after", method="POST", path="/channels/.*/messages")
    ana = place.person("Ana")
    await ana.slash("hablar")
    await ana.wait_message(contains="una sola vez")
    await asyncio.sleep(2.5)
    assert sum("una sola vez" in message.text for message in await ana.history()) == 1


async def test_trap_7_the_answer_after_thinking_is_one_message(place: Playground, bot: Afina) -> None:
    ana = place.person("Ana")
    await place.wait_bot("modelos")
    answer = await ana.slash("modelos lista")
    message = await answer.done()
    assert "Modelos" in message.text
    assert message.ephemeral
    assert message.id == answer.message.id


async def test_trap_8_a_button_in_a_locked_archive_does_not_break_the_bot(
    place: Playground, bot: Afina, services: Services, dataset_of: Any, owner_of: Any
) -> None:
    ana, admin = place.person("Ana"), place.person("Jefa", admin=True)
    await dataset_of(owner_of(ana))
    await place.wait_bot("afinar")
    form = (await ana.slash("afinar")).form
    await (await form.submit(**{"Nombre del modelo": "x"})).done()
    thread = await ana.wait_thread("Taller")
    card = await ana.wait_message(button="Confirmar", channel=thread)
    await admin.update_thread(thread, archived=True, locked=True)
    await card.click("Confirmar")
    answer = await (await ana.slash("entrenamientos lista")).done()
    assert "Entrenamientos" in answer.text


# Doubled and broken connections


@pytest.mark.parametrize("event", ["INTERACTION_CREATE", "MESSAGE_CREATE"])
async def test_what_is_delivered_twice_is_handled_once(place: Playground, bot: Afina, event: str) -> None:
    handled: list[int] = []

    async def count(interaction: discord.Interaction) -> None:
        handled.append(interaction.id)
        await interaction.response.send_message("hecho")

    async def hear(message: discord.Message) -> None:
        if not message.author.bot:
            handled.append(message.id)

    await put_on(bot, place, "contar", count)
    bot.add_listener(hear, "on_message")
    place.faults.duplicate(event)
    ana = place.person("Ana")
    if event == "MESSAGE_CREATE":
        await ana.say("hola")
    else:
        await ana.slash("contar")
    await asyncio.sleep(0.3)
    assert len(handled) == 1


@pytest.mark.parametrize("fault", ["reconnect", "cut", "invalidate", "close"])
async def test_a_broken_connection_is_mended(place: Playground, bot: Afina, fault: str) -> None:
    arguments: dict[str, Any] = {"invalidate": {"resumable": False}, "close": {"code": 4000}}.get(fault, {})
    await place.wait_bot("ayuda")
    await getattr(place.faults, fault)(**arguments)
    await place.wait_connected(False)
    await place.wait_connected(timeout=20)
    ana = place.person("Ana")
    assert "Pregunta al curso" in (await ana.slash("ayuda")).text


async def test_nothing_the_bot_says_pings_anyone_by_default(place: Playground, bot: Afina) -> None:
    async def shout(interaction: discord.Interaction) -> None:
        await interaction.response.send_message(f"@everyone <@{interaction.user.id}>")

    await put_on(bot, place, "gritar", shout)
    answer = await place.person("Ana").slash("gritar")
    assert not answer.message.notified


async def test_every_command_that_a_text_names_exists(bot: Afina) -> None:
    """People type what they read: a hint that names a command which is not there is a dead end."""
    known = {command.qualified_name for command in bot.tree.walk_commands()}
    groups = {name.split()[0] for name in known}
    texts = [path.read_text(encoding="utf-8") for path in sorted((ROOT / "bot").rglob("*.py"))]
    texts += [path.read_text(encoding="utf-8") for path in sorted((ROOT / "jobs").glob("*.py"))]
    named = {
        (match[1], match[2])
        for text in texts
        for match in re.finditer(r"(?<![\w./:<{}-])/([a-z]{4,})(?: ([a-z]{3,}))?\b(?![/{.\w])", text)
        if match[1] in groups or match[1] in COMMANDS_ONCE_PLANNED
    }
    verbs = {group: {name.split()[1] for name in known if name.startswith(f"{group} ")} for group in groups}
    missing = {
        f"/{group} {verb or ''}".strip()
        for group, verb in named
        if group not in groups or (verb in EVERY_VERB and verb not in verbs[group])
    }
    assert missing == set()
    assert len(named) > 10


# Words behind a command name that are meant as its verb, and not as the sentence going on.
EVERY_VERB = {
    "lista", "ver", "subir", "borrar", "plantilla", "dividir", "unir", "cancelar", "pausar", "reanudar", "repetir",
    "compartir", "renombrar", "exportar", "descargar", "salud", "limites", "fuentes", "agregar", "quitar", "reindexar",
}  # fmt: skip
COMMANDS_ONCE_PLANNED = {
    "preguntar", "curso", "guia", "datos", "afinar", "entrenamientos", "modelos", "charlar", "comparar", "limites",
    "privacidad", "misdatos", "admin", "ayuda", "instrucciones", "parametros", "modelo", "reiniciar", "cerrar",
}  # fmt: skip
