"""Threads with a real discord.py client: public, private, from a message, in a forum; members, archive and lock."""

from __future__ import annotations

import asyncio
from typing import Any

import discord
import pytest

from playground import Impossible, Permission, Playground
from tests.playground.conftest import Bot, Raw, eventually, running


async def private_thread(bot: Bot, place: Playground, **options: Any) -> discord.Thread:
    channel = bot.get_channel(place.channel("general").id)
    return await channel.create_thread(name="Taller", type=discord.ChannelType.private_thread, **options)


async def test_a_private_thread_exists_only_for_its_members_and_moderators(place: Playground) -> None:
    ana, eva, jefa = place.person("Ana"), place.person("Eva"), place.person("Jefa", admin=True)
    async with running(place, Bot()) as bot:
        thread = await private_thread(bot, place, invitable=False)
        await thread.send("hola")
        assert [one.name for one in await ana.threads()] == []
        await thread.add_user(discord.Object(ana.id))
        assert sorted((await ana.wait_thread("Taller")).members) == ["Afina", "Ana"]
        assert [one.text for one in await ana.history(thread.id)] == ["hola", f"<@{ana.id}>"]
        with pytest.raises(Impossible):
            await eva.say("¿puedo?", channel=thread.id)
        assert await eva.threads() == []
        assert [one.name for one in await jefa.threads()] == ["Taller"]


async def test_the_bot_hears_a_private_thread_only_while_it_may(place: Playground) -> None:
    guild = place.guild("Estricta", bot_permissions=int(Permission.CREATE_PRIVATE_THREADS))
    ana, heard = place.person("Ana", guild), []

    def setup(bot: Bot) -> None:
        @bot.event
        async def on_message(message: discord.Message) -> None:
            heard.append(message.content)

    async with running(place, Bot(setup)) as bot:
        place.world.change_role(
            guild, place.role(guild, "@everyone"), guild.roles[guild.id].permissions | Permission.CREATE_PRIVATE_THREADS
        )
        thread = await ana.start_thread("Secreto", private=True)
        await ana.say("sin el bot", channel=thread)
        with pytest.raises(discord.Forbidden) as refusal:
            await bot.fetch_channel(thread.id)
        assert refusal.value.code == 50001
        joined = asyncio.ensure_future(bot.wait_for("thread_join", timeout=5))
        await place.call("invite", user=ana.id, channel=thread.id, guest=bot.user.id)
        assert (await joined).id == thread.id
        await ana.say("con el bot", channel=thread)
        await eventually(lambda: "con el bot" in heard)
        assert "sin el bot" not in heard


async def test_a_mention_brings_a_person_into_a_private_thread(place: Playground, raw: Raw) -> None:
    ana, eva = place.person("Ana"), place.person("Eva")
    async with running(place, Bot()) as bot:
        thread = await private_thread(bot, place)
        await raw.send(thread.id, content=f"mira, {ana.mention}")
        assert "Ana" in (await ana.wait_thread()).members
        await raw.send(thread.id, content=f"callado, {eva.mention}", allowed_mentions={"parse": []})
        assert await eva.threads() == []


async def test_a_thread_from_a_message_shares_its_id_and_is_made_once(place: Playground) -> None:
    ana = place.person("Ana")
    async with running(place, Bot()) as bot:
        said = await ana.say("hablemos")
        message = await bot.get_channel(said.channel_id).fetch_message(said.id)
        thread = await message.create_thread(name="Charla")
        assert thread.id == said.id
        with pytest.raises(discord.HTTPException) as refusal:
            await message.create_thread(name="Otra")
        assert refusal.value.code == 160004
        await ana.say("aquí estoy", channel=thread.id)
        assert "Ana" in (await ana.channel(thread.id)).members


async def test_an_archived_thread_wakes_when_somebody_writes(place: Playground) -> None:
    updates: list[bool] = []

    def setup(bot: Bot) -> None:
        @bot.event
        async def on_raw_thread_update(payload: discord.RawThreadUpdateEvent) -> None:
            updates.append(payload.data["thread_metadata"]["archived"])

    ana = place.person("Ana")
    async with running(place, Bot(setup)) as bot:
        thread = await bot.get_channel(ana.here).create_thread(name="Charla", type=discord.ChannelType.public_thread)
        message = await thread.send("hola")
        await thread.edit(archived=True)
        for refused in (message.edit(content="x"), message.delete(), message.add_reaction("👍"), thread.edit(name="x")):
            with pytest.raises(discord.HTTPException) as refusal:
                await refused
            assert (refusal.value.status, refusal.value.code) == (400, 50083)
        await ana.say("despierta", channel=thread.id)
        assert not (await ana.channel(thread.id)).archived
        await message.edit(content="ya")
        await eventually(lambda: len(updates) == 2)
        assert updates == [True, False]


async def test_a_locked_thread_is_closed_to_people_but_not_to_moderators(place: Playground) -> None:
    ana, jefa = place.person("Ana"), place.person("Jefa", admin=True)
    async with running(place, Bot()) as bot:
        thread = await bot.get_channel(ana.here).create_thread(name="Charla", type=discord.ChannelType.public_thread)
        await thread.edit(archived=True, locked=True)
        with pytest.raises(Impossible, match="160005"):
            await ana.say("¿hola?", channel=thread.id)
        await jefa.say("la abro", channel=thread.id)
        seen = await ana.channel(thread.id)
        assert (seen.archived, seen.locked) == (False, True)


async def test_without_the_moderators_permission_the_bot_cannot_write_in_a_locked_thread(
    place: Playground, raw: Raw
) -> None:
    guild = place.guild("Otra", bot_permissions=0)
    jefa = place.person("Jefa", guild, admin=True)
    thread = await jefa.start_thread("Charla")
    await jefa.update_thread(thread, locked=True)
    assert (await raw.send(thread.id, content="x"))[1]["code"] == 160005
    assert (await raw("PATCH", f"/channels/{thread.id}", {"locked": False}))[1]["code"] == 50013


async def test_a_callback_in_a_locked_archived_thread_can_fail(place: Playground) -> None:
    def setup(bot: Bot) -> None:
        @bot.tree.command(name="x", description="x")
        async def x(interaction: discord.Interaction) -> None:
            await interaction.response.send_message("hola")

    place.interactions.acknowledge_within = 0.5
    ana = place.person("Ana")
    async with running(place, Bot(setup)) as bot:
        thread = await bot.get_channel(ana.here).create_thread(name="Charla", type=discord.ChannelType.public_thread)
        await thread.edit(archived=True, locked=True)
        with pytest.raises(AssertionError):
            await ana.slash("x", channel=thread.id)
        assert [one.code for one in bot.errors] == [50083]


async def test_members_come_and_go(place: Playground) -> None:
    seen: list[str] = []

    def setup(bot: Bot) -> None:
        @bot.event
        async def on_thread_member_join(member: discord.ThreadMember) -> None:
            seen.append(f"+{member.id}")

        @bot.event
        async def on_raw_thread_member_remove(payload: discord.RawThreadMembersUpdate) -> None:
            seen.append("-")

    ana = place.person("Ana")
    async with running(place, Bot(setup)) as bot:
        thread = await private_thread(bot, place)
        await thread.add_user(discord.Object(ana.id))
        assert {one.id for one in await thread.fetch_members()} == {ana.id, bot.user.id}
        await thread.remove_user(discord.Object(ana.id))
        await eventually(lambda: len(seen) == 2)
        assert seen == [f"+{ana.id}", "-"]
        assert await ana.threads() == []
        await thread.leave()
        assert {one.id for one in await thread.fetch_members()} == set()


async def test_a_person_leaves_deletes_or_loses_the_server(place: Playground) -> None:
    gone: list[str] = []

    def setup(bot: Bot) -> None:
        @bot.event
        async def on_raw_thread_delete(payload: discord.RawThreadDeleteEvent) -> None:
            gone.append("thread")

        @bot.event
        async def on_raw_member_remove(payload: discord.RawMemberRemoveEvent) -> None:
            gone.append(payload.user.name)

    ana, jefa = place.person("Ana"), place.person("Jefa", admin=True)
    async with running(place, Bot(setup, members=True)) as bot:
        thread = await private_thread(bot, place)
        await thread.add_user(discord.Object(ana.id))
        place.leave(ana)
        with pytest.raises(Impossible):
            await ana.say("hola", channel=thread.id)
        await jefa.delete_channel(await jefa.channel(thread.id))
        await eventually(lambda: len(gone) == 2)
        assert gone == ["ana", "thread"]
        with pytest.raises(discord.NotFound) as refusal:
            await thread.send("¿hay alguien?")
        assert refusal.value.code == 10003


async def test_a_post_in_a_forum_is_a_thread_with_a_first_message(place: Playground) -> None:
    ana = place.person("Ana")
    async with running(place, Bot()) as bot:
        forum = bot.get_channel(place.channel("ayuda").id)
        assert isinstance(forum, discord.ForumChannel)
        made = await forum.create_thread(name="Resultados", content="primer mensaje")
        assert made.thread.id == made.message.id
        assert [one.text for one in await ana.history(made.thread.id)] == ["primer mensaje"]
        heard = asyncio.ensure_future(bot.wait_for("message", check=lambda one: one.author != bot.user, timeout=5))
        post = await ana.start_thread("Mi duda", channel=place.channel("ayuda"), content="¿cómo?")
        message = await heard
        assert (message.content, message.id, message.channel.parent.name) == ("¿cómo?", post.id, "ayuda")
        with pytest.raises(discord.HTTPException):
            await bot.http.send_message(forum.id, params=discord.http.handle_message_parameters("x"))


async def test_lists_of_threads(place: Playground) -> None:
    async with running(place, Bot()) as bot:
        channel = bot.get_channel(place.channel("general").id)
        first = await private_thread(bot, place)
        second = await channel.create_thread(name="B", type=discord.ChannelType.public_thread)
        assert {one.id for one in await channel.guild.active_threads()} == {first.id, second.id}
        await first.edit(archived=True)
        await second.edit(archived=True)
        assert [one.id async for one in channel.archived_threads(private=True)] == [first.id]
        assert [one.id async for one in channel.archived_threads()] == [second.id]
        assert await channel.guild.active_threads() == []


@pytest.mark.parametrize(
    "body",
    [{}, {"name": ""}, {"name": "x" * 101}, {"name": "x", "auto_archive_duration": 5}, {"name": "x", "type": 10}],
)
async def test_a_malformed_thread_is_refused(body: dict[str, Any], place: Playground, raw: Raw) -> None:
    status, answer = await raw("POST", f"/channels/{place.channel('general').id}/threads", body)
    assert (status, answer["code"]) == (400, 50035)
