"""`/curso` (what the bot knows, and what staff add to it) and `/guia` (prompt, documents or fine-tuning?).

Rule of this file: staff are those who manage the server and its tutors (`/admin roles`). Everything answers
privately.
"""

from __future__ import annotations

import asyncio
import re
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot.cogs.actions import Action, Form, owner_of, services_of
from bot.cogs.datasets import download
from bot.cogs.entrance import must_be
from bot.course.analysis import fold
from bot.course.guide import Advice, Budget, Case, Data, Tried, advise
from bot.errors import BadInput, NotAllowed, NotFound
from bot.render.answer import safe_url
from bot.render.cards import Accent, card
from bot.render.course import advice_texts, holdings_texts, page_parts
from bot.render.numbers import count, plain
from bot.roles import Role
from bot.services import Services

Interaction = discord.Interaction[Any]
LARGEST = 25 * 2**20  # bytes of a document


class CourseCog(commands.Cog):
    course = app_commands.Group(name="curso", description="Lo que sé, y cómo sumar documentos", guild_only=True)

    def __init__(self, services: Services) -> None:
        self.services = services

    @course.command(name="fuentes", description="Los documentos del curso en este servidor")
    async def sources(self, interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        guild_id = owner_of(interaction).guild_id
        library = await self.services.lessons.library()
        holdings = await asyncio.to_thread(library.holdings, guild_id)
        refusals = await asyncio.to_thread(library.refusals, guild_id)
        await interaction.followup.send(view=card(*holdings_texts(holdings, refusals)))

    @course.command(name="leer", description="Lee una página del curso aquí mismo")
    @app_commands.describe(pagina="Escribe parte del título")
    async def read(self, interaction: Interaction, pagina: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await show_page(interaction, pagina)

    @read.autocomplete("pagina")
    async def _titles(self, interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        if not self.services.lessons.ready:
            return []
        course = await self.services.lessons.course(interaction.guild_id)
        titles = {passage.file: passage.title for passage in course.passages}
        wanted = fold(typed).split()
        fitting = [(file, title) for file, title in titles.items() if all(word in fold(title) for word in wanted)]
        return [app_commands.Choice(name=title[:100], value=file) for file, title in fitting[:25] if len(file) <= 100]

    @course.command(name="agregar", description="Suma un documento al curso de este servidor")
    @app_commands.describe(archivo="Markdown, texto, PDF, cuaderno, HTML, DOCX o un ZIP con ellos")
    async def add(self, interaction: Interaction, archivo: discord.Attachment) -> None:
        guild_id = await self._staff(interaction)
        if archivo.size > LARGEST:
            raise BadInput("Ese archivo pasa de 25 MiB.", hint="Divídelo en partes.")
        content = await download(archivo)
        library = await self.services.lessons.library()
        course = await asyncio.to_thread(library.add, guild_id, archivo.filename, content)
        await self._note(interaction, guild_id, f"Agregó al curso «{plain(archivo.filename, 100)}»")
        await interaction.followup.send(
            view=card(
                f"## Agregado: {plain(archivo.filename, 100)}",
                f"El curso de este servidor tiene ahora {count(len(course.passages), 'fragmento', 'fragmentos')}. "
                "Pruébalo con `/preguntar`.",
                accent=Accent.GOOD,
            )
        )

    @course.command(name="quitar", description="Quita un documento que agregó este servidor")
    @app_commands.describe(documento="Uno de los que agregó el servidor")
    async def remove(self, interaction: Interaction, documento: str) -> None:
        guild_id = await self._staff(interaction)
        library = await self.services.lessons.library()
        await asyncio.to_thread(library.remove, guild_id, documento)
        await self._note(interaction, guild_id, f"Quitó del curso «{plain(documento, 100)}»")
        await interaction.followup.send(f"He quitado «{plain(documento, 100)}» del curso de este servidor.")

    @remove.autocomplete("documento")
    async def _own(self, interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        if not self.services.lessons.ready:
            return []
        library = await self.services.lessons.library()
        holdings = await asyncio.to_thread(library.holdings, interaction.guild_id)
        names = dict.fromkeys(holding.file.split("/")[0] for holding in holdings if holding.own)
        fitting = [name for name in names if typed.strip().lower() in name.lower()]
        return [app_commands.Choice(name=name[:100], value=name[:100]) for name in fitting[:25]]

    @course.command(name="reindexar", description="Vuelve a leer los documentos del curso")
    async def reindex(self, interaction: Interaction) -> None:
        guild_id = await self._staff(interaction)
        course = await self.services.lessons.reload(guild_id)
        amount = count(len(course.passages), "fragmento", "fragmentos")
        await interaction.followup.send(f"Listo: el curso de este servidor tiene {amount}.")

    @course.command(name="foro", description="Un foro donde contesto solo, si el curso sabe la respuesta")
    @app_commands.describe(canal="Sin canal, dejo de hacerlo")
    async def forum(self, interaction: Interaction, canal: discord.ForumChannel | None = None) -> None:
        guild_id = await self._staff(interaction)
        await self.services.store.set_state(f"forum:{guild_id}", str(canal.id) if canal else "")
        where = f"en <#{canal.id}>" if canal else "en ningún foro"
        await self._note(interaction, guild_id, f"Contestar sin que pregunten: {where}")
        if canal is None:
            await interaction.followup.send("De acuerdo: ya no contesto por mi cuenta en ningún foro.")
        else:
            await interaction.followup.send(
                f"Contestaré las publicaciones nuevas de {canal.mention} cuando el curso sepa la respuesta."
            )

    async def _note(self, interaction: Interaction, guild_id: int, text: str) -> None:
        await self.services.store.note_action(guild_id, actor_id=interaction.user.id, action="course", text=text)

    async def _staff(self, interaction: Interaction) -> int:
        """Acknowledge, and say which server; NotAllowed for anybody who does not care for its course."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        try:
            return await must_be(self.services, interaction, Role.TUTOR)
        except NotAllowed:
            raise NotAllowed(
                "Solo quien administra el servidor o es tutor puede cambiar el curso.",
                hint="Los documentos que hay se ven con /curso fuentes.",
            ) from None

    @app_commands.command(name="guia", description="¿Prompt, documentos o afinar? Te digo por dónde empezar")
    async def guide(self, interaction: Interaction) -> None:
        await interaction.response.send_modal(GuideForm())


class ReadPage(Action, cog="course", verb="read"):
    """A page of the course, or a further part of it; the target is its file and, after a colon, the part."""

    label = "Seguir leyendo"

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        file, _, part = self.target.partition(":")
        await show_page(interaction, file, int(part) if part.isdigit() else 0)


async def show_page(interaction: Interaction, file: str, part: int = 0) -> None:
    """One part of a page, with a button for the next. NotFound when the course has no such page."""
    services = services_of(interaction)
    course = await services.lessons.course(interaction.guild_id)
    passages = course.page(file)
    parts = page_parts(passages)
    if part >= len(parts):
        raise NotFound("El curso no tiene esa página.", hint="Elige una de la lista de /curso leer.")
    title = plain(passages[0].title, 120)
    actions: list[discord.ui.Item[Any]] = []
    if part + 1 < len(parts) and re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", file):
        actions.append(ReadPage(f"{file}:{part + 1}"))
    if url := safe_url(passages[0].url):
        actions.append(discord.ui.Button(label="Abrir en la web", style=discord.ButtonStyle.link, url=url))
    number = f" · {part + 1} de {len(parts)}" if len(parts) > 1 else ""
    await interaction.followup.send(view=card(f"## {title}{number}", parts[part], actions=actions), ephemeral=True)


class GuideForm(Form):
    """Case, data at hand, alternatives tried, costs."""

    def __init__(self) -> None:
        super().__init__(title="¿Prompt, RAG o afinar?")
        self.case: discord.ui.TextInput[GuideForm] = discord.ui.TextInput(
            style=discord.TextStyle.paragraph,
            min_length=5,
            max_length=600,
            placeholder="Que clasifique reseñas de productos en estrellas",
            custom_id="caso",
        )
        self.data: discord.ui.Select[GuideForm] = discord.ui.Select(
            options=[discord.SelectOption(label=data.value, value=data.name) for data in Data], custom_id="datos"
        )
        self.tried: discord.ui.Select[GuideForm] = discord.ui.Select(
            options=[discord.SelectOption(label=tried.value, value=tried.name) for tried in Tried],
            max_values=len(Tried),
            custom_id="probado",
        )
        self.budget: discord.ui.Select[GuideForm] = discord.ui.Select(
            options=[discord.SelectOption(label=budget.value, value=budget.name) for budget in Budget],
            custom_id="costos",
        )
        self.add_item(discord.ui.Label(text="¿Qué quieres que haga el modelo?", component=self.case))
        self.add_item(discord.ui.Label(text="¿Qué datos tienes?", component=self.data))
        self.add_item(discord.ui.Label(text="¿Qué has probado ya?", component=self.tried))
        self.add_item(discord.ui.Label(text="¿Qué puedes gastar?", component=self.budget))

    async def on_submit(self, interaction: Interaction, /) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        case = Case(
            text=self.case.value,
            data=Data[self.data.values[0]],
            tried=frozenset(Tried[name] for name in self.tried.values),
            budget=Budget[self.budget.values[0]],
        )
        advice = advise(case)
        pages = await _pages(services_of(interaction), interaction.guild_id, advice)
        await interaction.followup.send(
            view=card(*advice_texts(case, advice, list(pages)), accent=Accent.GOOD, actions=list(pages.values()))
        )


async def _pages(services: Services, guild_id: int | None, advice: Advice) -> dict[str, discord.ui.Item[Any]]:
    """Sections of the course that the advice leads to, each with a button that opens its page; none when the course
    has nothing on it."""
    course = await services.lessons.course(guild_id)
    found = [await asyncio.to_thread(course.look_up, question, 1) for question in advice.questions]
    pages: dict[str, discord.ui.Item[Any]] = {}
    for passage in (findings.passages[0] for findings in found if findings.found):
        if re.fullmatch(r"[A-Za-z0-9_.-]{1,60}", passage.file):
            pages[passage.label] = ReadPage(passage.file, label=f"Leer: {passage.title}"[:80])
    return pages


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return [ReadPage]
