"""A second opinion: the same stories and the same mistakes on simcord, which was written elsewhere.

simcord simulates Discord in process, without HTTP, gateway faults or resume. Where the two disagree, the
disagreement is listed with its reason, and a test fails when it is no longer one.
"""

from __future__ import annotations

import io
from collections.abc import Awaitable, Callable
from typing import Any

import discord
import pytest
import simcord
from discord import ui

from playground import Limits, Playground
from tests.playground.conftest import Bot, running

Outcome = Any
Probe = Callable[[discord.TextChannel], Awaitable[Outcome]]


# -- a story ----------------------------------------------------------------------------------------------------


class Form(ui.Modal, title="Afinar"):
    nombre = ui.Label(text="Nombre", component=ui.TextInput(custom_id="nombre"))
    datos = ui.Label(text="Datos", component=ui.FileUpload(custom_id="datos"))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        size = len(await self.datos.component.values[0].read())
        thread = await interaction.channel.create_thread(name="Taller", type=discord.ChannelType.private_thread)
        await thread.add_user(interaction.user)
        await interaction.response.send_message(f"{self.nombre.component.value}: {size} bytes", ephemeral=True)
        await interaction.followup.send(f"miembros: {len(await thread.fetch_members())}", ephemeral=True)


class Card(ui.LayoutView):
    def __init__(self, text: str) -> None:
        super().__init__(timeout=None)
        button: ui.Button[Any] = ui.Button(label="Afinar", custom_id="train")
        button.callback = self.open  # type: ignore[method-assign]
        self.add_item(ui.Container(ui.TextDisplay(text), ui.ActionRow(button)))

    async def open(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_modal(Form())


def story_bot(bot: Bot) -> None:
    @bot.tree.command(name="datos", description="Sube")
    async def datos(interaction: discord.Interaction, archivo: discord.Attachment) -> None:
        await interaction.response.defer(ephemeral=True)
        await interaction.edit_original_response(view=Card(f"{len(await archivo.read())} bytes"))

    @bot.event
    async def on_message(message: discord.Message) -> None:
        if message.author != bot.user and message.content:
            await message.reply(message.content.upper())


def texts(components: list[dict[str, Any]]) -> list[str]:
    found = [one["content"] for one in components if one["type"] == 10]
    return found + [text for one in components for text in texts(one.get("components", []))]


async def story_here() -> list[Any]:
    async with Playground(limits=Limits(enabled=False), acknowledge_within=10) as place:
        place.guild()
        ana = place.person("Ana")
        async with running(place, Bot(story_bot)):
            card = await (await ana.slash("datos", archivo=("d.jsonl", b"12345"))).message.wait(lambda one: one.text)
            form = (await card.click("Afinar")).form
            done = await form.submit(nombre="poeta", datos=[("m.jsonl", b"123")])
            (followup,) = await done.followups()
            await ana.say("hola")
            reply = await ana.wait_message("HOLA")
            assert place.unhandled == []
            return [
                (card.text, card.ephemeral),
                (form.title, list(form.fields)),
                (done.text, done.ephemeral),
                (followup.text, followup.ephemeral),
                (reply.text, reply.reply_to is not None),
            ]


async def story_there() -> list[Any]:
    async with simcord.run(Bot(story_bot)) as env:
        guild = env.create_guild()
        channel = guild.create_text_channel("general")
        ana = guild.add_member(env.create_user("ana"))
        answer = await ana.slash(channel, "datos", archivo=("d.jsonl", b"12345"))
        card = answer.response
        shown = await ana.click(card, label="Afinar")
        done = await ana.submit_modal(shown, {"nombre": "poeta", "datos": ("m.jsonl", b"123")})
        (followup,) = done.followups
        await ana.send(channel, "hola")
        reply = channel.last_message
        fields = [one["component"]["custom_id"] for one in shown.modal["components"]]
        return [
            ("\n".join(texts(card.components)), card.ephemeral),
            (shown.modal["title"], fields),
            (done.response.content, done.response.ephemeral),
            (followup.content, followup.ephemeral),
            (reply.content, reply.reference is not None),
        ]


async def test_the_same_story_is_told_by_both() -> None:
    assert await story_here() == await story_there()


# -- mistakes ---------------------------------------------------------------------------------------------------


async def code_of(wrong: Awaitable[Any]) -> Outcome:
    """Status and code of a refusal; «accepted» if there was none."""
    try:
        await wrong
    except discord.HTTPException as refusal:
        return refusal.status, refusal.code
    return "accepted"


async def raw_send(channel: discord.TextChannel, **body: Any) -> Any:
    route = discord.http.Route("POST", "/channels/{channel_id}/messages", channel_id=channel.id)
    return await channel._state.http.request(route, json=body)


async def archived(channel: discord.TextChannel) -> tuple[discord.Thread, discord.Message]:
    thread = await channel.create_thread(name="x", type=discord.ChannelType.public_thread)
    message = await thread.send("x")
    await thread.edit(archived=True)
    return thread, message


async def edit_in_archived(channel: discord.TextChannel) -> Any:
    _, message = await archived(channel)
    return await message.edit(content="y")


async def react_in_archived(channel: discord.TextChannel) -> Any:
    _, message = await archived(channel)
    return await message.add_reaction("👍")


async def send_in_archived(channel: discord.TextChannel) -> Any:
    thread, _ = await archived(channel)
    return await thread.send("y")


async def second_thread(channel: discord.TextChannel) -> Any:
    message = await channel.send("x")
    await message.create_thread(name="a")
    return await message.create_thread(name="b")


async def legacy_to_v2(channel: discord.TextChannel) -> Any:
    message = await channel.send("x")
    view = ui.LayoutView()
    view.add_item(ui.TextDisplay("y"))
    return await message.edit(view=view)


async def upload(channel: discord.TextChannel, size: int) -> Any:
    return await channel.send(file=discord.File(io.BytesIO(bytes(size)), "a.bin"))


def row(*inside: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"type": 1, "components": list(inside)}]


BUTTON = {"type": 2, "style": 1, "label": "x", "custom_id": "a"}

PROBES: dict[str, Probe] = {
    "text of 2001": lambda channel: raw_send(channel, content="x" * 2001),
    "nothing": lambda channel: raw_send(channel, content=""),
    "embed of 6001": lambda channel: raw_send(channel, embeds=[{"description": "x" * 3001}] * 2),
    "11 embeds": lambda channel: raw_send(channel, embeds=[{"title": "x"}] * 11),
    "custom_id of 101": lambda channel: raw_send(
        channel, content="x", components=row(BUTTON | {"custom_id": "x" * 101})
    ),
    "custom_id twice": lambda channel: raw_send(channel, content="x", components=row(BUTTON, BUTTON)),
    "26 options": lambda channel: raw_send(
        channel,
        content="x",
        components=row(
            {"type": 3, "custom_id": "a", "options": [{"label": str(one), "value": str(one)} for one in range(26)]}
        ),
    ),
    "layout without flag": lambda channel: raw_send(channel, components=[{"type": 10, "content": "x"}]),
    "content with layout": lambda channel: raw_send(
        channel, content="x", flags=1 << 15, components=[{"type": 10, "content": "x"}]
    ),
    "41 components": lambda channel: raw_send(
        channel, flags=1 << 15, components=[{"type": 17, "components": [{"type": 10, "content": "x"}] * 40}]
    ),
    "reply to nothing": lambda channel: raw_send(
        channel, content="x", message_reference={"message_id": "5", "channel_id": str(channel.id)}
    ),
    "unknown message": lambda channel: channel.fetch_message(5),
    "unknown user": lambda channel: channel._state.http.get_user(5),
    "unknown member": lambda channel: channel.guild.fetch_member(5),
    "edit in an archived thread": edit_in_archived,
    "reaction in an archived thread": react_in_archived,
    "sending wakes an archived thread": send_in_archived,
    "a second thread on a message": second_thread,
    "text becomes layout": legacy_to_v2,
    "a file above the limit": lambda channel: upload(channel, (10 << 20) + 1),
    "channel renamed without permission": lambda channel: channel.edit(name="otro"),
    "a reaction that is no emoji": lambda channel: _react(channel, "hola"),
}


async def _react(channel: discord.TextChannel, emoji: str) -> Any:
    return await (await channel.send("x")).add_reaction(emoji)


# probe → why the two differ. Nothing here was compared with the real service.
DISAGREEMENTS: dict[str, str] = {
    "nothing": "Discord's own list gives 50006 to an empty message; simcord answers 50035",
    "reply to nothing": "simcord does not look up the message of a reply",
    "unknown member": "simcord calls somebody who does not exist an unknown member; here they are an unknown user",
    "edit in an archived thread": "simcord lets archived threads be changed; reports of Discord show 50083",
    "reaction in an archived thread": "the same",
    "a second thread on a message": "simcord starts a second thread; Discord's list has 160004",
    "a file above the limit": "simcord knows no limit of size",
    "channel renamed without permission": "simcord's bot is an administrator by default; here it is not",
    "a reaction that is no emoji": "simcord takes any text",
}


async def here(probe: Probe) -> Outcome:
    async with Playground(limits=Limits(enabled=False)) as place:
        place.guild()
        ana = place.person("Ana")
        async with running(place, Bot()) as bot:
            return await code_of(probe(bot.get_channel(ana.here)))


async def there(probe: Probe) -> Outcome:
    bot = Bot()
    async with simcord.run(bot) as env:
        channel = env.create_guild().create_text_channel("general")
        await env.settle()
        try:
            return await code_of(probe(bot.get_channel(channel.id)))
        except (simcord.RouteNotImplemented, simcord.UnsupportedField) as missing:
            return f"not simulated: {type(missing).__name__}"


@pytest.mark.parametrize("name", PROBES)
async def test_both_refuse_the_same_with_the_same_code(name: str) -> None:
    mine, other = await here(PROBES[name]), await there(PROBES[name])
    assert (mine != other) == (name in DISAGREEMENTS), f"here {mine}, simcord {other}"
