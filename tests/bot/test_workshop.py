"""The workshop: one private place for each person, found again whatever happened to it."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
import pytest
from discord import app_commands

from bot.client import Afina
from bot.cogs.workshop import acknowledge, deliver
from bot.render.cards import card
from bot.services import Services
from playground import Permission, Playground


@pytest.fixture
async def show(place: Playground, bot: Afina, services: Services) -> Any:
    """The command `/dejar`, which puts a card into the workshop of whoever uses it."""

    async def leave(interaction: discord.Interaction) -> None:
        await acknowledge(services, interaction)
        await deliver(services, interaction, card("privado"))

    bot.tree.add_command(app_commands.Command(name="dejar", description="Para la prueba", callback=leave))
    await bot.tree.sync()
    await place.wait_bot("dejar")


async def test_the_first_use_makes_a_private_thread_and_later_ones_find_it(place: Playground, show: None) -> None:
    ana, eva = place.person("Ana"), place.person("Eva")
    for _ in range(3):
        pointer = await (await ana.slash("dejar")).done()
        assert pointer.ephemeral
        assert "discord.com/channels/" in pointer.text
    (thread,) = await ana.threads()
    assert thread.private
    assert thread.name == "Taller de Ana"
    assert await eva.threads() == []


async def test_two_commands_at_once_make_one_workshop(place: Playground, show: None) -> None:
    ana = place.person("Ana")
    answers = await asyncio.gather(*(ana.slash("dejar") for _ in range(4)))
    await asyncio.gather(*(answer.done() for answer in answers))
    assert len(await ana.threads()) == 1


async def test_inside_the_workshop_the_answer_is_the_card_itself(place: Playground, show: None) -> None:
    ana = place.person("Ana")
    await (await ana.slash("dejar")).done()
    (thread,) = await ana.threads()
    answer = await (await ana.slash("dejar", channel=thread)).done()
    assert answer.text == "privado"
    assert not answer.ephemeral


async def test_an_archived_workshop_is_opened_again(place: Playground, show: None) -> None:
    ana, admin = place.person("Ana"), place.person("Jefa", admin=True)
    await (await ana.slash("dejar")).done()
    thread = await ana.wait_thread("Taller")
    await admin.update_thread(thread, archived=True)
    await (await ana.slash("dejar")).done()
    assert not (await ana.channel(thread)).archived
    assert sum("privado" in message.text for message in await ana.history(thread)) == 2


async def test_who_left_their_workshop_is_let_in_again(place: Playground, show: None) -> None:
    ana = place.person("Ana")
    await (await ana.slash("dejar")).done()
    thread = await ana.wait_thread("Taller")
    await ana.leave_thread(thread)
    await (await ana.slash("dejar")).done()
    assert [one.id for one in await ana.threads()] == [thread.id]


async def test_a_deleted_workshop_is_made_anew(place: Playground, show: None) -> None:
    ana, admin = place.person("Ana"), place.person("Jefa", admin=True)
    await (await ana.slash("dejar")).done()
    old = await ana.wait_thread("Taller")
    await admin.delete_channel(old)
    await (await ana.slash("dejar")).done()
    (new,) = await ana.threads()
    assert new.id != old.id


async def test_each_server_has_its_own_workshop(place: Playground, show: None) -> None:
    ana = place.person("Ana")
    other = place.guild("Otra", channels=("general",))
    place.join(ana, other)
    await asyncio.sleep(0.3)
    await (await ana.slash("dejar")).done()
    general = next(one for one in place.world.channels.values() if one.guild_id == other.id and one.name == "general")
    await (await ana.slash("dejar", channel=general.id)).done()
    assert len(await ana.threads()) == 2


async def test_a_thread_that_may_be_made_but_not_used_is_cleaned_up(place: Playground, show: None) -> None:
    permissions = Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES | Permission.CREATE_PRIVATE_THREADS
    guild = place.guild("Rara", bot_permissions=permissions)
    guild.roles[guild.id].permissions &= ~Permission.SEND_MESSAGES_IN_THREADS  # of @everyone
    ana = place.person("Ana", guild)
    await asyncio.sleep(0.3)
    await (await ana.slash("dejar")).done()
    await ana.wait_message(contains="privado", channel=await ana.direct(), since=0)
