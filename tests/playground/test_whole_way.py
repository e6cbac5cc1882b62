"""The way that a person goes with the bot, in one piece: command, file, card, button, form, thread, stream."""

from __future__ import annotations

import io

import discord
from discord import ui

from playground import Playground
from tests.playground.conftest import Bot, running


class TrainModal(ui.Modal, title="Afinar un modelo"):
    nombre = ui.Label(text="Nombre", component=ui.TextInput(custom_id="nombre", max_length=40))
    base = ui.Label(
        text="Modelo base",
        component=ui.Select(
            custom_id="base",
            options=[
                discord.SelectOption(label="Qwen3 0.6B", value="qwen"),
                discord.SelectOption(label="Mini", value="m"),
            ],
        ),
    )
    archivo = ui.Label(text="Datos", component=ui.FileUpload(custom_id="archivo", required=False))

    async def on_submit(self, interaction: discord.Interaction) -> None:
        files = self.archivo.component.values
        size = len(await files[0].read()) if files else 0
        channel = interaction.channel
        thread = await channel.create_thread(name=f"Taller de {interaction.user.display_name}", invitable=False)
        await thread.add_user(interaction.user)
        await interaction.response.send_message(
            f"{self.nombre.component.value} · {self.base.component.values[0]} · {size} bytes", ephemeral=True
        )
        message = await thread.send("Escribiendo")
        for count in range(3):
            await message.edit(content="Escribiendo" + "." * (count + 1))


class Card(ui.LayoutView):
    def __init__(self, text: str) -> None:
        super().__init__(timeout=None)
        button = ui.Button(label="Afinar un modelo", custom_id="train")
        button.callback = self.open
        box = ui.Container(accent_colour=0x33AA33)
        box.add_item(ui.Section(ui.TextDisplay(text), accessory=button))
        box.add_item(ui.Separator())
        box.add_item(ui.MediaGallery(discord.MediaGalleryItem("attachment://histograma.png")))
        self.add_item(box)

    async def open(self, interaction: discord.Interaction) -> None:
        await interaction.response.send_modal(TrainModal())


def setup(bot: Bot) -> None:
    @bot.tree.command(name="datos", description="Sube un archivo")
    async def datos(interaction: discord.Interaction, archivo: discord.Attachment) -> None:
        await interaction.response.defer(ephemeral=True)
        data = await archivo.read()
        picture = discord.File(io.BytesIO(b"\x89PNG\r\n\x1a\n" + bytes(40)), "histograma.png")
        await interaction.edit_original_response(
            view=Card(f"{archivo.filename}: {len(data.splitlines())} ejemplos"), attachments=[picture]
        )


async def test_a_person_goes_the_whole_way(place: Playground) -> None:
    ana = place.person("Ana")
    async with running(place, Bot(setup)) as bot:
        answer = await ana.slash("datos", archivo=("datos.jsonl", b"{}\n{}\n"))
        card = await answer.done()
        assert card.ephemeral
        assert "datos.jsonl: 2 ejemplos" in card.text
        assert (await ana.download(card.media[0])).startswith(b"\x89PNG")

        form = (await card.click("Afinar un modelo")).form
        assert form.title == "Afinar un modelo"
        assert list(form.fields) == ["nombre", "base", "archivo"]
        done = await form.submit(nombre="poeta", modelo_base=["Qwen3 0.6B"], datos=[("mas.jsonl", b"12345")])
        assert done.text == "poeta · qwen · 5 bytes"

        thread = await ana.wait_thread("Taller")
        assert thread.private
        message = await ana.wait_message("Escribiendo...", channel=thread)
        assert [one.text for one in message.edits] == ["Escribiendo", "Escribiendo.", "Escribiendo.."]
        assert not bot.errors
