"""Acting as a person: what they can do, what they cannot, what they see; in this process and from another one."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import discord
import pytest
from discord import ui

from playground import Impossible, NoAnswer, Playground, RemotePlayground
from tests.playground.conftest import Bot, running


def polite(bot: Bot) -> None:
    """Greets, with a card, and answers its button."""

    class Card(ui.LayoutView):
        def __init__(self) -> None:
            super().__init__(timeout=None)
            button: ui.Button[Any] = ui.Button(label="Más", custom_id="more", emoji="✨")
            button.callback = self.more  # type: ignore[method-assign]
            self.add_item(ui.Container(ui.TextDisplay("# Hola"), ui.TextDisplay("¿Qué tal?"), accent_colour=0xFF))
            self.add_item(ui.ActionRow(button, ui.Button(label="Curso", url="https://example.org")))

        async def more(self, interaction: discord.Interaction) -> None:
            await interaction.response.send_message("más", ephemeral=True)

    @bot.event
    async def on_message(message: discord.Message) -> None:
        if not message.author.bot and message.content == "hola":
            await message.channel.send(view=Card())

    @bot.tree.command(name="eco", description="Repite")
    async def eco(interaction: discord.Interaction, archivo: discord.Attachment) -> None:
        await interaction.response.defer()
        data = await archivo.read()
        await interaction.followup.send(f"{len(data)} bytes", file=await archivo.to_file())


@pytest.fixture
async def remote(place: Playground) -> AsyncIterator[RemotePlayground]:
    async with RemotePlayground(place.control_url) as other:
        yield other


@pytest.mark.parametrize("where", ["here", "elsewhere"])
async def test_the_same_acts_work_here_and_from_another_process(
    where: str, place: Playground, remote: RemotePlayground
) -> None:
    ana = place.person("Ana") if where == "here" else await remote.person("Ana")
    async with running(place, Bot(polite)):
        await remote.wait_bot("eco")
        await ana.say("hola")
        card = await ana.wait_message("¿qué TAL?", button="Más")
        assert card.text == "# Hola\n¿Qué tal?"
        assert card.accent == 0xFF
        assert [(one.label, one.emoji, one.url) for one in card.buttons] == [
            ("Más", "✨", None),
            ("Curso", None, "https://example.org"),
        ]
        assert (await card.click("mas")).text == "más"
        with pytest.raises(Impossible, match="link"):
            await card.click("Curso")
        with pytest.raises(Impossible, match="no 'Menos' among"):
            await card.click("Menos")
        answer = await ana.slash("eco", archivo=("ñandú.txt", b"\x00\xff"))
        done = await answer.done()
        assert done.text == "2 bytes"
        assert await done.attachments[0].read() == b"\x00\xff"
        assert (await remote.state())["unhandled"] == []


async def test_waiting_finds_what_is_new_since_the_last_act_and_nothing_old(place: Playground) -> None:
    ana = place.person("Ana")
    async with running(place, Bot(polite)):
        start = await ana.mark()
        await ana.say("hola")
        first = await ana.wait_message(re.compile("^# Hola"))
        await ana.say("nada")
        with pytest.raises(NoAnswer, match=r"waited 0\.2 s"):
            await ana.wait_message("Hola", timeout=0.2)
        assert (await ana.wait_message("Hola", since=start)).id == first.id
        await ana.no_message(0.1)
        await ana.say("hola")
        with pytest.raises(AssertionError):
            await ana.no_message(5)


async def test_people_are_waited_for_by_name(place: Playground) -> None:
    ana, eva = place.person("Ana"), place.person("Eva")
    waiting = asyncio.create_task(ana.wait_message("hola", by="Eva"))
    await eva.say("hola")
    assert (await waiting).author == "Eva"


async def test_servers_do_not_see_each_other(place: Playground) -> None:
    heard: list[str] = []

    def setup(bot: Bot) -> None:
        @bot.event
        async def on_message(message: discord.Message) -> None:
            heard.append(f"{message.guild.name}: {message.content}")

    first = next(iter(place.world.guilds.values()))
    second, without = place.guild("Otra"), place.guild("Sin bot", bot_permissions=None)
    ana, eva, zoe = place.person("Ana", first), place.person("Eva", second), place.person("Zoe", without)
    async with running(place, Bot(setup)) as bot:
        await zoe.say("aquí no")
        await ana.say("uno")
        await eva.say("dos")
        await asyncio.wait_for(_until(lambda: len(heard) == 2), 5)
        assert heard == ["Comunidad: uno", "Otra: dos"]
        with pytest.raises(Impossible):
            await ana.say("intrusa", channel=eva.here)
        assert [one.name for one in await ana.channels()] == ["general", "modelos", "ayuda"]
        with pytest.raises(discord.Forbidden) as refusal:
            await bot.fetch_channel(zoe.here)
        assert refusal.value.code == 50001
        place.join(ana, second)
        assert len(await ana.channels()) == 4


async def _until(check: Any) -> None:
    while not check():
        await asyncio.sleep(0.005)


async def test_a_closed_channel_is_closed(place: Playground) -> None:
    guild = next(iter(place.world.guilds.values()))
    role = place.role(guild, "Equipo")
    closed = place.channel("equipo", guild, only_for=(role,))
    ana, eva = place.person("Ana"), place.person("Eva", roles=(role,))
    await eva.say("entre nosotras", channel=closed)
    with pytest.raises(Impossible):
        await ana.history(closed)
    async with running(place, Bot()) as bot:
        with pytest.raises(discord.Forbidden):
            await bot.get_channel(closed.id).send("¿puedo?")


async def test_only_ones_own_messages_can_be_changed(place: Playground) -> None:
    ana, jefa = place.person("Ana"), place.person("Jefa", admin=True)
    message = await ana.say("mío")
    seen = (await jefa.history())[-1]
    with pytest.raises(Impossible, match="own messages"):
        await seen.edit("tuyo")
    await seen.delete()
    await message.wait_deleted()


async def test_a_person_has_limits_too(place: Playground) -> None:
    ana = place.person("Ana")
    place.user(ana).upload_limit = 0
    for wrong in (ana.say("x" * 2001), ana.say("  "), ana.attach(("g.bin", bytes((10 << 20) + 1)))):
        with pytest.raises(Impossible):
            await wrong


async def test_other_bots_can_be_played(place: Playground) -> None:
    async with running(place, Bot(polite)):
        other = place.person("Otro bot", bot=True)
        await other.say("hola")
        await other.no_message(0.2)


async def test_typing_shows_until_the_message_or_ten_seconds(place: Playground) -> None:
    ana, eva = place.person("Ana"), place.person("Eva")
    await ana.type()
    assert await eva.typing() == ["Ana"]
    await ana.say("ya")
    assert await eva.typing() == []
    await ana.type()
    place.clock.advance(11)
    assert await eva.typing() == []


async def test_the_remote_side_is_told_what_is_impossible(place: Playground, remote: RemotePlayground) -> None:
    ana = await remote.person("Ana", admin=True)
    with pytest.raises(Impossible, match="not offered"):
        await ana.slash("nada")
    with pytest.raises(Impossible, match="no such operation"):
        await remote.call("fly")
    with pytest.raises(Impossible, match="TypeError"):
        await remote.call("say", user=ana.id)
    with pytest.raises(Impossible, match="no fault"):
        await remote.fault("earthquake")
    await remote.fault("status", status=503, method="GET")
    await remote.advance(5)
    with pytest.raises(Impossible, match="not ready"):
        await remote.wait_bot(timeout=0.05)
    place.faults.clear()
    made = await remote.guild("Remota", channels=("a", "b"))
    assert list(made["channels"]) == ["a", "b"]
    assert [one["name"] for one in await remote.guilds()] == ["Comunidad", "Remota"]
    assert (await remote.channel("c", made["id"])).name == "c"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_the_process_writes_its_addresses_serves_and_ends_cleanly(number: int, tmp_path: Path) -> None:
    ready = tmp_path / "ready.json"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "playground", "--ready-file", str(ready), stdout=asyncio.subprocess.PIPE
    )
    try:
        assert process.stdout
        printed = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
        assert json.loads(ready.read_text()) == printed
        assert printed["pid"] == process.pid
        async with RemotePlayground.from_ready_file(ready) as place:
            ana = await place.person("Ana")
            await ana.attach(("a.txt", b"x"), content="hola")
            (message,) = await ana.history()
            assert (message.text, await message.attachments[0].read()) == ("hola", b"x")
            (guild,) = await place.guilds()
            assert list(guild["channels"]) == ["general", "modelos", "ayuda"]
        process.send_signal(number)
        assert await asyncio.wait_for(process.wait(), 10) == 0
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
