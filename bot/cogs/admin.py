"""`/admin`: health, limits and the role of tutors, for whoever manages the server.

Rule of this file: Discord hides these commands from everybody without *Manage Server*, and each one checks again. What
is changed is logged with who did it.
"""

from __future__ import annotations

import logging
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import health
from bot.cogs.actions import owner_of
from bot.errors import NotAllowed
from bot.limits import NAMES, change_limits, limits_for
from bot.render.cards import Accent, card
from bot.render.health import health_texts
from bot.services import Services

log = logging.getLogger(__name__)

Interaction = discord.Interaction[Any]
Amount = app_commands.Range[int, 1, 10_000]


class AdminCog(commands.Cog):
    admin = app_commands.Group(
        name="admin",
        description="Para quien administra el servidor",
        guild_only=True,
        default_permissions=discord.Permissions(manage_guild=True),
    )

    def __init__(self, services: Services) -> None:
        self.services = services

    @admin.command(name="salud", description="Cómo están la cola, los equipos que entrenan, el motor y el disco")
    async def health(self, interaction: Interaction) -> None:
        must_manage(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        found = await health.examine(self.services)
        await interaction.followup.send(
            view=card(
                *health_texts(found, latency=interaction.client.latency),
                accent=Accent.GOOD if found.well else Accent.BAD,
            )
        )

    @admin.command(name="limites", description="Cambia lo que puede usar cada persona de este servidor")
    @app_commands.rename(queued="entrenamientos", questions="preguntas", chats="charlas")
    @app_commands.describe(
        queued="Entrenamientos sin terminar por persona",
        questions="Preguntas al curso por minuto y persona",
        chats="Mensajes de charla por minuto y persona",
    )
    async def limits(
        self,
        interaction: Interaction,
        queued: Amount | None = None,
        questions: Amount | None = None,
        chats: Amount | None = None,
    ) -> None:
        must_manage(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        settings, store, guild_id = self.services.settings, self.services.store, owner_of(interaction).guild_id
        changes = {"max_queued_jobs": queued, "questions_per_minute": questions, "chats_per_minute": chats}
        if any(value is not None for value in changes.values()):
            limits = await change_limits(settings, store, guild_id, **changes)
            log.info(
                "user %s set limits of %s to %s", interaction.user.id, guild_id, limits, extra={"action": "limits"}
            )
        else:
            limits = await limits_for(settings, store, guild_id)
        lines = [f"**{name.capitalize()}**  {getattr(limits, field)}" for field, name in NAMES.items()]
        await interaction.followup.send(view=card("## Límites por persona", "\n".join(lines)))

    @admin.command(name="tutores", description="Qué rol puede cuidar del curso sin administrar el servidor")
    @app_commands.rename(role="rol")
    @app_commands.describe(role="Sin rol, solo quien administra el servidor")
    async def tutors(self, interaction: Interaction, role: discord.Role | None = None) -> None:
        must_manage(interaction)
        await interaction.response.defer(ephemeral=True, thinking=True)
        guild_id = owner_of(interaction).guild_id
        await self.services.store.set_state(f"tutors:{guild_id}", str(role.id) if role else "")
        log.info("user %s set tutors of %s to %s", interaction.user.id, guild_id, role, extra={"action": "tutors"})
        who = f"Quien tenga {role.mention}" if role else "Solo quien administra el servidor"
        await interaction.followup.send(f"{who} puede cuidar del curso.")


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return []


def must_manage(interaction: Interaction) -> None:
    """Raises NotAllowed for anybody who does not manage the server."""
    if not interaction.permissions.manage_guild:
        raise NotAllowed


async def is_staff(services: Services, interaction: Interaction) -> bool:
    """Whether the person manages the server or is a tutor of it."""
    if interaction.guild_id is None or not isinstance(interaction.user, discord.Member):
        return False
    if interaction.permissions.manage_guild:
        return True
    role = await services.store.get_state(f"tutors:{interaction.guild_id}")
    return bool(role) and interaction.user.get_role(int(role or 0)) is not None
