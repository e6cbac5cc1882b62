"""Commands, buttons, lists and forms, with a real discord.py client: who sees what, until when, and what is refused."""

from __future__ import annotations

import asyncio
import io
import re
from typing import Any

import discord
import pytest
from discord import app_commands, ui

from playground import Impossible, NoAnswer, Playground
from tests.playground.conftest import Bot, eventually, running


def one_command(act: Any, **about: Any) -> Any:
    """A bot with the command /x, which does *act*."""

    def setup(bot: Bot) -> None:
        bot.tree.command(name="x", description="x", **about)(act)

    return setup


async def test_options_arrive_with_their_types(place: Playground) -> None:
    seen: dict[str, Any] = {}

    def setup(bot: Bot) -> None:
        @bot.tree.command(name="x", description="x")
        @app_commands.choices(nivel=[app_commands.Choice(name="Básico", value=1)])
        async def x(
            interaction: discord.Interaction,
            texto: str,
            entero: app_commands.Range[int, 1, 10],
            numero: float,
            verdad: bool,
            persona: discord.Member,
            canal: discord.TextChannel,
            papel: discord.Role,
            archivo: discord.Attachment,
            nivel: app_commands.Choice[int],
            opcional: str | None = None,
        ) -> None:
            seen.update(interaction.namespace.__dict__, data=await archivo.read())
            await interaction.response.send_message("ok")

    guild = next(iter(place.world.guilds.values()))
    ana, eva = place.person("Ana"), place.person("Eva")
    role = place.role(guild, "Lectura")
    options = {
        "texto": "¿qué?",
        "entero": 3,
        "numero": 0.5,
        "verdad": True,
        "persona": eva,
        "canal": place.channel("modelos"),
        "papel": role.id,
        "archivo": ("datos raros.jsonl", "{}"),
        "nivel": "Básico",
    }
    async with running(place, Bot(setup)):
        await ana.slash("x", **options)
        assert (seen["texto"], seen["entero"], seen["numero"], seen["verdad"]) == ("¿qué?", 3, 0.5, True)
        assert (seen["persona"].display_name, seen["canal"].name, seen["papel"].name) == ("Eva", "modelos", "Lectura")
        assert (seen["archivo"].filename, seen["data"], seen["nivel"]) == ("datos_raros.jsonl", b"{}", 1)
        assert "opcional" not in seen
        for wrong in ({"entero": 11}, {"entero": "tres"}, {"nivel": "Experto"}, {"verdad": "sí"}, {"texto": None}):
            with pytest.raises(Impossible):
                await ana.slash("x", **(options | wrong))
        with pytest.raises(Impossible, match="has no option color"):
            await ana.slash("x", color="rojo", **options)
        with pytest.raises(Impossible, match="not offered"):
            await ana.slash("y")


async def test_groups_and_subcommands(place: Playground) -> None:
    def setup(bot: Bot) -> None:
        group = app_commands.Group(name="datos", description="Datos")

        @group.command(name="subir", description="Sube")
        async def subir(interaction: discord.Interaction, nombre: str) -> None:
            await interaction.response.send_message(f"{interaction.command.qualified_name}: {nombre}")

        bot.tree.add_command(group)

    ana = place.person("Ana")
    async with running(place, Bot(setup)):
        assert (await ana.slash("datos subir", nombre="a")).text == "datos subir: a"
        with pytest.raises(Impossible, match="needs a subcommand"):
            await ana.slash("datos")
        with pytest.raises(Impossible, match="no subcommand"):
            await ana.slash("datos bajar")


async def test_an_ephemeral_answer_is_seen_by_one_person_only(place: Playground) -> None:
    async def act(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("en privado", ephemeral=True, view=view())
        assert [one async for one in interaction.channel.history()] == []
        original = await interaction.original_response()
        with pytest.raises(discord.NotFound) as refusal:
            await interaction.channel.fetch_message(original.id)
        assert refusal.value.code == 10008

    def view() -> ui.View:
        made = ui.View(timeout=None)
        made.add_item(ui.Button(label="Sí", custom_id="si"))
        return made

    ana, eva = place.person("Ana"), place.person("Eva", admin=True)
    async with running(place, Bot(one_command(act))) as bot:
        answer = await ana.slash("x")
        assert answer.ephemeral
        assert answer.text == "en privado"
        assert [one.text for one in await ana.history()] == ["en privado"]
        assert await eva.history() == []
        with pytest.raises(Impossible):
            await eva.act("press", message=answer.message.id, custom_id="si")
        with pytest.raises(Impossible, match="no reactions"):
            await answer.message.react("👍")
        assert not bot.errors


async def test_the_first_followup_after_a_deferred_answer_is_that_answer(place: Playground) -> None:
    async def act(interaction: discord.Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        first = await interaction.followup.send("primera")
        second = await interaction.followup.send("segunda", ephemeral=False)
        assert first.id == (await interaction.original_response()).id != second.id
        await first.edit(content="primera, editada")
        await second.delete()

    ana = place.person("Ana")
    async with running(place, Bot(one_command(act))) as bot:
        answer = await ana.slash("x")
        message = await answer.message.wait(lambda one: one.text == "primera, editada")
        assert message.ephemeral
        (second,) = await answer.followups()
        assert not second.ephemeral
        await second.wait_deleted()
        assert not bot.errors


async def test_acknowledging_twice_is_refused(place: Playground) -> None:
    refused: list[discord.HTTPException] = []

    async def act(interaction: discord.Interaction) -> None:
        await interaction.response.defer()
        again = discord.Interaction(data=interaction_data(interaction), state=interaction._state)
        try:
            await again.response.send_message("otra vez")
        except discord.HTTPException as refusal:
            refused.append(refusal)
        await interaction.edit_original_response(content="hecho")

    def interaction_data(interaction: discord.Interaction) -> Any:
        return {
            "id": interaction.id,
            "token": interaction.token,
            "type": 2,
            "version": 1,
            "application_id": interaction.application_id,
            "attachment_size_limit": 0,
        }

    ana = place.person("Ana")
    async with running(place, Bot(one_command(act))):
        await (await ana.slash("x")).message.wait(lambda one: one.text == "hecho")
        assert [(one.status, one.code) for one in refused] == [(400, 40060)]


async def test_an_acknowledgement_after_three_seconds_is_refused_and_the_person_is_told(place: Playground) -> None:
    place.interactions.acknowledge_within = 3.0

    async def act(interaction: discord.Interaction) -> None:
        place.clock.advance(3.1)
        await interaction.response.send_message("tarde")

    ana = place.person("Ana")
    async with running(place, Bot(one_command(act))) as bot:
        with pytest.raises(NoAnswer, match="did not answer"):
            await ana.slash("x")
        await eventually(lambda: bot.errors)
        assert [one.code for one in bot.errors] == [10062]
        assert await ana.history() == []


async def test_the_token_works_for_fifteen_minutes(place: Playground) -> None:
    refused: list[discord.HTTPException] = []
    done = asyncio.Event()

    async def act(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("hola")
        place.clock.advance(14 * 60)
        await interaction.edit_original_response(content="aún")
        place.clock.advance(61)
        for late in (interaction.edit_original_response(content="tarde"), interaction.followup.send("tarde")):
            with pytest.raises(discord.HTTPException) as refusal:
                await late
            refused.append(refusal.value)
        message = await interaction.channel.fetch_message((await ana.history())[0].id)
        await message.edit(content="como mensaje del canal, sí")
        done.set()

    ana = place.person("Ana")
    async with running(place, Bot(one_command(act))) as bot:
        await ana.slash("x")
        await asyncio.wait_for(done.wait(), 10)
        assert [(one.status, one.code) for one in refused] == [(401, 50027)] * 2
        assert (await ana.history())[0].text == "como mensaje del canal, sí"
        assert not bot.errors


async def test_a_callback_that_is_malformed_leaves_the_interaction_open(place: Playground) -> None:
    async def act(interaction: discord.Interaction) -> None:
        with pytest.raises(discord.HTTPException) as refusal:
            await interaction.response.send_message("x" * 2001)
        assert refusal.value.code == 50035
        await interaction.response.send_message("corto")

    ana = place.person("Ana")
    async with running(place, Bot(one_command(act))) as bot:
        assert (await ana.slash("x")).text == "corto"
        assert not bot.errors


async def test_a_button_can_update_its_message_open_a_form_or_answer_apart(place: Playground) -> None:
    class Card(ui.View):
        @ui.button(label="Cambia", custom_id="a")
        async def change(self, interaction: discord.Interaction, button: ui.Button[Any]) -> None:
            button.disabled = True
            await interaction.response.edit_message(content="cambiado", view=self)

        @ui.button(label="Aparte", custom_id="b")
        async def apart(self, interaction: discord.Interaction, button: ui.Button[Any]) -> None:
            await interaction.response.send_message("aparte", ephemeral=True)

        @ui.button(label="Luego", custom_id="c")
        async def later(self, interaction: discord.Interaction, button: ui.Button[Any]) -> None:
            await interaction.response.defer()
            await interaction.edit_original_response(content="luego")

    async def act(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("tarjeta", view=Card(timeout=None))

    ana, eva = place.person("Ana"), place.person("Eva")
    async with running(place, Bot(one_command(act))) as bot:
        card = (await ana.slash("x")).message
        seen_by_eva = (await eva.history())[0]
        assert [one.label for one in seen_by_eva.buttons] == ["Cambia", "Aparte", "Luego"]
        apart = await seen_by_eva.click("Aparte")
        assert (apart.text, apart.ephemeral) == ("aparte", True)
        changed = await card.click("Cambia")
        assert (changed.message.id, changed.text) == (card.id, "cambiado")
        with pytest.raises(Impossible, match="disabled"):
            await (await card.refresh()).click("Cambia")
        await card.click("luego")
        await card.wait(lambda one: one.text == "luego")
        assert not bot.errors


async def test_lists_of_options_people_roles_and_channels(place: Playground) -> None:
    chosen: list[Any] = []

    class Lists(ui.View):
        @ui.select(
            cls=ui.Select,
            custom_id="o",
            placeholder="Modelo",
            max_values=2,
            options=[discord.SelectOption(label=name, value=name[0]) for name in ("Uno", "Dos", "Tres")],
        )
        async def options(self, interaction: discord.Interaction, select: ui.Select[Any]) -> None:
            chosen.append(select.values)
            await interaction.response.defer()

        @ui.select(cls=ui.UserSelect, custom_id="u", placeholder="Persona")
        async def people(self, interaction: discord.Interaction, select: ui.UserSelect[Any]) -> None:
            chosen.append(select.values[0].display_name)
            await interaction.response.defer()

        @ui.select(cls=ui.ChannelSelect, custom_id="c", placeholder="Canal")
        async def channels(self, interaction: discord.Interaction, select: ui.ChannelSelect[Any]) -> None:
            chosen.append(select.values[0].name)
            await interaction.response.defer()

    async def act(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("listas", view=Lists(timeout=None))

    ana = place.person("Ana")
    async with running(place, Bot(one_command(act))) as bot:
        card = (await ana.slash("x")).message
        assert card.selects[0].labels == ["Uno", "Dos", "Tres"]
        await card.select("Uno", "T", name="Modelo")
        await card.select(ana, name="Persona")
        await card.select(place.channel("modelos"), name="Canal")
        await eventually(lambda: len(chosen) == 3)
        assert chosen == [["U", "T"], "Ana", "modelos"]
        for values in (("Cuatro",), ("Uno", "Dos", "Tres"), ()):
            with pytest.raises(Impossible):
                await card.select(*values, name="Modelo")
        assert not bot.errors


async def test_a_form_with_every_kind_of_field(place: Playground) -> None:
    got: dict[str, Any] = {}

    class Form(ui.Modal, title="Formulario"):
        saludo = ui.TextDisplay("Lee esto")
        nombre = ui.Label(
            text="Nombre", description="Corto", component=ui.TextInput(custom_id="n", min_length=2, max_length=5)
        )
        base = ui.Label(
            text="Base",
            component=ui.Select(
                custom_id="b",
                required=False,
                options=[
                    discord.SelectOption(label="A", value="a", default=True),
                    discord.SelectOption(label="B", value="b"),
                ],
            ),
        )
        ficheros = ui.Label(text="Ficheros", component=ui.FileUpload(custom_id="f", max_values=2))
        notas = ui.Label(
            text="Notas", component=ui.TextInput(custom_id="o", style=discord.TextStyle.long, required=False)
        )

        async def on_submit(self, interaction: discord.Interaction) -> None:
            got["nombre"] = self.nombre.component.value
            got["base"] = self.base.component.values
            got["ficheros"] = [(one.filename, await one.read()) for one in self.ficheros.component.values]
            got["notas"] = self.notas.component.value
            await interaction.response.send_message("recibido", ephemeral=True)

    async def act(interaction: discord.Interaction) -> None:
        await interaction.response.send_modal(Form())

    ana = place.person("Ana")
    files = [("a.jsonl", b"1"), ("b.jsonl", b"2")]
    async with running(place, Bot(one_command(act))) as bot:
        form = (await ana.slash("x")).form
        assert (form.title, form.text) == ("Formulario", "Lee esto")
        fields = {one.label: (one.required, one.value) for one in form.fields.values()}
        assert fields == {
            "Nombre": (True, None),
            "Base": (False, ["a"]),
            "Ficheros": (True, None),
            "Notas": (False, None),
        }
        for wrong in (
            {"nombre": "x", "ficheros": files},  # too short
            {"nombre": "xxxxxx", "ficheros": files},  # too long
            {"nombre": "abc"},  # a required file is missing
            {"nombre": "abc", "ficheros": files, "base": "C"},  # not an option
            {"nombre": "abc", "ficheros": [*files, ("c", b"")]},  # too many
            {"nombre": "abc", "ficheros": files, "color": "rojo"},  # no such field
        ):
            with pytest.raises(Impossible):
                await form.submit(**wrong)
        answer = await form.submit({"Nombre": "abc"}, f=files)
        assert answer.text == "recibido"
        assert got == {"nombre": "abc", "base": ["a"], "ficheros": files, "notas": ""}
        with pytest.raises(Impossible, match="no open form"):
            await form.submit(nombre="abc", f=files)
        assert not bot.errors


async def test_a_form_of_six_fields_is_refused(place: Playground) -> None:
    async def act(interaction: discord.Interaction) -> None:
        form = ui.Modal(title="x")
        for number in range(5):
            form.add_item(ui.Label(text=str(number), component=ui.TextInput()))
        form._children.append(ui.Label(text="5", component=ui.TextInput()))
        with pytest.raises(discord.HTTPException) as refusal:
            await interaction.response.send_modal(form)
        assert refusal.value.code == 50035
        await interaction.response.send_message("no cabe")

    ana = place.person("Ana")
    async with running(place, Bot(one_command(act))) as bot:
        assert (await ana.slash("x")).text == "no cabe"
        assert not bot.errors


async def test_suggestions_while_typing(place: Playground) -> None:
    def setup(bot: Bot) -> None:
        @bot.tree.command(name="x", description="x")
        async def x(interaction: discord.Interaction, modelo: str, otro: str = "") -> None:
            await interaction.response.send_message(modelo)

        @x.autocomplete("modelo")
        async def suggest(interaction: discord.Interaction, typed: str) -> list[app_commands.Choice[str]]:
            return [
                app_commands.Choice(name=one.title(), value=one)
                for one in ("poeta", "cocinera")
                if one.startswith(typed)
            ]

    ana = place.person("Ana")
    async with running(place, Bot(setup)) as bot:
        assert await ana.autocomplete("x", "modelo", "po") == [{"name": "Poeta", "value": "poeta"}]
        assert len(await ana.autocomplete("x", "modelo")) == 2
        with pytest.raises(Impossible, match="does not complete"):
            await ana.autocomplete("x", "otro")
        assert not bot.errors


async def test_a_command_on_a_message_gets_the_whole_message_even_without_the_content_intent(
    place: Playground,
) -> None:
    def setup(bot: Bot) -> None:
        @bot.tree.context_menu(name="Preguntar al curso")
        async def ask(interaction: discord.Interaction, message: discord.Message) -> None:
            await interaction.response.send_message(f"{message.author.display_name}: {message.content}")

    ana, eva = place.person("Ana"), place.person("Eva")
    async with running(place, Bot(setup, content=False)) as bot:
        await eva.say("¿qué es LoRA?")
        (message,) = await ana.history()
        assert (await message.menu("Preguntar al curso")).text == "Eva: ¿qué es LoRA?"
        with pytest.raises(Impossible, match="no command"):
            await message.menu("Otro")
        assert not bot.errors


async def test_buttons_survive_a_restart_of_the_client(place: Playground) -> None:
    class Job(ui.DynamicItem[ui.Button[Any]], template=r"job:(?P<id>\d+)"):
        def __init__(self, number: int) -> None:
            self.number = number
            super().__init__(ui.Button(label="Ver", custom_id=f"job:{number}"))

        @classmethod
        async def from_custom_id(
            cls, interaction: discord.Interaction, item: ui.Item[Any], match: re.Match[str]
        ) -> Job:
            return cls(int(match["id"]))

        async def callback(self, interaction: discord.Interaction) -> None:
            await interaction.response.send_message(f"trabajo {self.number}")

    def setup(bot: Bot) -> None:
        bot.add_dynamic_items(Job)

        @bot.tree.command(name="x", description="x")
        async def x(interaction: discord.Interaction) -> None:
            view = ui.LayoutView(timeout=None)
            view.add_item(ui.Container(ui.TextDisplay("tarjeta"), ui.ActionRow(Job(7))))
            await interaction.response.send_message(view=view)

    ana = place.person("Ana")
    async with running(place, Bot(setup)):
        card = (await ana.slash("x")).message
    async with running(place, Bot(setup)) as second:
        assert (await card.click("Ver")).text == "trabajo 7"
        assert not second.errors
    place.interactions.acknowledge_within = 0.2
    with pytest.raises(NoAnswer):
        await card.click("Ver")


async def test_files_of_an_answer_can_be_read_and_replaced(place: Playground) -> None:
    async def act(interaction: discord.Interaction) -> None:
        await interaction.response.send_message("uno", file=discord.File(io.BytesIO(b"1"), "uno.txt"))
        view = ui.LayoutView()
        view.add_item(ui.File("attachment://dos.jsonl"))
        await interaction.edit_original_response(
            content=None, view=view, attachments=[discord.File(io.BytesIO(b"2"), "dos.jsonl")]
        )

    ana = place.person("Ana")
    async with running(place, Bot(one_command(act))) as bot:
        message = (await ana.slash("x")).message
        assert await message.attachments[0].read() == b"1"
        await message.wait(lambda one: one.media)
        assert [one.filename for one in message.attachments] == ["dos.jsonl"]
        assert await ana.download(message.media[0]) == b"2"
        assert not bot.errors


async def test_commands_for_moderators_are_not_offered_to_others(place: Playground) -> None:
    @app_commands.default_permissions(administrator=True)
    async def act(interaction: discord.Interaction) -> None:
        await interaction.response.send_message(str(interaction.permissions.administrator))

    ana, jefa = place.person("Ana"), place.person("Jefa", admin=True)
    async with running(place, Bot(one_command(act))):
        assert (await ana.commands(), await jefa.commands()) == ([], ["x"])
        assert (await jefa.slash("x")).text == "True"
        with pytest.raises(Impossible):
            await ana.slash("x")


async def test_commands_work_in_direct_messages_unless_they_are_for_servers_only(place: Playground) -> None:
    def setup(bot: Bot) -> None:
        @bot.tree.command(name="x", description="x")
        async def x(interaction: discord.Interaction) -> None:
            await interaction.response.send_message(f"{interaction.guild} {interaction.user.name}", ephemeral=True)

        @bot.tree.command(name="y", description="y")
        @app_commands.guild_only()
        async def y(interaction: discord.Interaction) -> None:
            await interaction.response.send_message("en un servidor")

    ana = place.person("Ana")
    async with running(place, Bot(setup)) as bot:
        direct = await ana.direct()
        assert (await ana.slash("x", channel=direct)).text == "None ana"
        assert await ana.commands(direct) == ["x"]
        assert not bot.errors
