"""`/admin`: health, who is who, limits, bases, channels, shared models, for whoever administers the server.

Rule of this file: Discord hides these commands from everybody without *Manage Server*, and each one checks again. Every
one of them shows how things stand, after changing what its options say; each change is a line in the server's log.
What is done to what belongs to others, and the log, are in `bot/cogs/admin_queue.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import health
from bot.bases import available_bases
from bot.cogs import admin_queue
from bot.cogs.admin_filter import LEVELS, filter_card
from bot.cogs.entrance import must_be
from bot.errors import BadInput
from bot.limits import MIB, NAMES
from bot.policy import (
    Policy,
    Purpose,
    changed_limits,
    default_base,
    with_base,
    with_channel,
    with_default_base,
    with_default_limits,
    with_limits,
    with_role,
    without_channels,
    without_roles,
)
from bot.render import admin as texts
from bot.render.cards import Accent, card
from bot.render.health import health_texts
from bot.roles import MAPPED, SPANISH, Role
from bot.services import Services

Interaction = discord.Interaction[Any]
Amount = app_commands.Range[int, 0, 10_000]
Channel = discord.TextChannel | discord.ForumChannel
CHOICES = 25  # of an autocomplete

ROLES = [app_commands.Choice(name=SPANISH[role].capitalize(), value=role.value) for role in Role]
MAPPED_ROLES = [app_commands.Choice(name=SPANISH[role].capitalize(), value=role.value) for role in MAPPED]
PURPOSES = [app_commands.Choice(name=name, value=purpose.value) for purpose, name in texts.PURPOSES.items()]


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
        await self._enter(interaction, Role.TUTOR)
        found = await health.examine(self.services)
        await interaction.followup.send(
            view=card(
                *health_texts(found, latency=interaction.client.latency),
                accent=Accent.GOOD if found.well else Accent.BAD,
            )
        )

    @admin.command(name="roles", description="Qué roles de Discord son tutores o administran a Afina")
    @app_commands.rename(role="para", add="agregar", remove="quitar")
    @app_commands.choices(role=MAPPED_ROLES)
    @app_commands.describe(add="Un rol de Discord que lo es", remove="Un rol de Discord que deja de serlo")
    async def roles(
        self,
        interaction: Interaction,
        role: str | None = None,
        add: discord.Role | None = None,
        remove: discord.Role | None = None,
    ) -> None:
        guild_id = await self._enter(interaction)
        if (add or remove) and role is None:
            raise BadInput("¿Tutores o administradores?", hint="Elígelo en «para».")
        wanted = Role(role) if role else Role.TUTOR
        for one, has in ((add, True), (remove, False)):
            if one is not None:
                if one.is_default():
                    raise BadInput("@everyone son todos: elige un rol que tengan solo algunos.", hint="")
                verb = "son" if has else "ya no son"
                await self._change(
                    interaction,
                    lambda old, one=one, has=has: with_role(old, wanted, one.id, has=has),  # type: ignore[misc]
                    "roles",
                    f"Quienes tienen <@&{one.id}> {verb} {SPANISH[wanted]}",
                )
        policy = await self.services.store.policy(guild_id)
        existing = {one.id for one in interaction.guild.roles} if interaction.guild else set()
        await interaction.followup.send(view=card(*texts.roles_texts(policy, existing)))

    @admin.command(name="limites", description="Lo que puede usar cada persona, según su rol")
    @app_commands.rename(
        role="rol",
        minutes="minutos",
        running="en_marcha",
        queued="entrenamientos",
        datasets="datos",
        models="modelos",
        disk="disco_mb",
        questions="preguntas",
        chats="charlas",
        reset="restablecer",
    )
    @app_commands.choices(role=ROLES)
    @app_commands.describe(
        role="De quién (miembros si no dices nada)",
        minutes="Minutos de entrenamiento en siete días; 0: sin límite",
        running="Entrenamientos en marcha a la vez; 0: sin límite",
        queued="Entrenamientos sin terminar; 0: sin límite",
        datasets="Archivos de datos; 0: sin límite",
        models="Modelos; 0: sin límite",
        disk="Lo que ocupan sus datos y modelos, en MB; 0: sin límite",
        questions="Preguntas al curso por minuto; 0: sin límite",
        chats="Mensajes de charla por minuto; 0: sin límite",
        reset="Volver a los de la instalación",
    )
    async def limits(  # noqa: PLR0917 - the options of a command
        self,
        interaction: Interaction,
        role: str = Role.MEMBER.value,
        minutes: Amount | None = None,
        running: Amount | None = None,
        queued: Amount | None = None,
        datasets: Amount | None = None,
        models: Amount | None = None,
        disk: app_commands.Range[int, 0, 10_000_000] | None = None,
        questions: Amount | None = None,
        chats: Amount | None = None,
        reset: bool = False,
    ) -> None:
        guild_id = await self._enter(interaction)
        wanted = Role(role)
        given = dict(zip(NAMES, (minutes, running, queued, datasets, models, disk, questions, chats), strict=True))
        changes = {name: value for name, value in given.items() if value is not None}
        if disk is not None:
            changes["max_disk_bytes"] = disk * MIB

        def change(old: Policy) -> Policy:
            return with_limits(with_default_limits(old, wanted) if reset else old, wanted, changes)

        settings = self.services.settings
        before = await self.services.store.policy(guild_id)
        differences = changed_limits(before.limits_of(wanted, settings), change(before).limits_of(wanted, settings))
        if differences or reset:
            text = texts.limit_changes_text(wanted, differences, NAMES) if differences else "Límites restablecidos"
            await self._change(interaction, change, "limits", text)
        policy = await self.services.store.policy(guild_id)
        await interaction.followup.send(view=card(*texts.limits_texts(policy, settings)))

    @admin.command(name="catalogo", description="Sobre qué modelos base se puede entrenar y charlar aquí")
    @app_commands.rename(offer="ofrecer", withdraw="retirar", first="por_defecto")
    @app_commands.describe(
        offer="Una base que se ofrece", withdraw="Una base que se deja de ofrecer", first="La que se propone"
    )
    async def catalogue(
        self,
        interaction: Interaction,
        offer: str | None = None,
        withdraw: str | None = None,
        first: str | None = None,
    ) -> None:
        guild_id = await self._enter(interaction)
        there = {base.id: base for base in available_bases(self.services)}
        for base_id, verb in ((offer, "Se ofrece"), (withdraw, "Ya no se ofrece"), (first, "Se propone")):
            if base_id is None:
                continue
            if base_id not in there:
                raise BadInput("Esa base no está en esta máquina.", hint="Elige una de la lista al escribir.")
            await self._change(
                interaction,
                lambda old, base_id=base_id, verb=verb: (  # type: ignore[misc]
                    with_default_base(old, base_id)
                    if verb == "Se propone"
                    else with_base(old, base_id, offered=verb == "Se ofrece", available=list(there))
                ),
                "catalogue",
                f"{verb} la base `{base_id}`",
            )
        policy = await self.services.store.policy(guild_id)
        proposed = default_base(policy, self.services.settings, list(there))
        await interaction.followup.send(view=card(*texts.catalogue_texts(policy, list(there.values()), proposed)))

    @catalogue.autocomplete("offer")
    @catalogue.autocomplete("withdraw")
    @catalogue.autocomplete("first")
    async def _bases(self, interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        bases = [base for base in available_bases(self.services) if typed.casefold() in base.name.casefold()]
        return [app_commands.Choice(name=base.name[:100], value=base.id) for base in bases[:CHOICES]]

    @admin.command(name="canales", description="Dónde contesto y dónde se entrena; mensajes directos sí o no")
    @app_commands.rename(
        purpose="para", allow="permitir", remove="quitar", everywhere="en_todos", direct="mensajes_directos"
    )
    @app_commands.choices(purpose=PURPOSES)
    @app_commands.describe(
        purpose="Para qué",
        allow="Un canal donde sí; desde entonces, solo en los que permitas",
        remove="Un canal donde ya no",
        everywhere="Borrar la lista: en todos los canales",
        direct="Si se puede usar a Afina en mensajes directos",
    )
    async def channels(  # noqa: PLR0917 - the options of a command
        self,
        interaction: Interaction,
        purpose: str | None = None,
        allow: Channel | None = None,
        remove: Channel | None = None,
        everywhere: bool = False,
        direct: bool | None = None,
    ) -> None:
        guild_id = await self._enter(interaction)
        if (allow or remove or everywhere) and purpose is None:
            raise BadInput("¿Para preguntas, o para entrenar y charlar?", hint="Elígelo en «para».")
        wanted = Purpose(purpose) if purpose else Purpose.QUESTIONS
        name = texts.PURPOSES[wanted].lower()
        if everywhere:
            await self._change(interaction, lambda old: without_channels(old, wanted), "channels", f"En todos: {name}")
        for channel, allowed in ((allow, True), (remove, False)):
            if channel is not None:
                await self._change(
                    interaction,
                    lambda old, channel=channel, allowed=allowed: with_channel(  # type: ignore[misc]
                        old, wanted, channel.id, allowed=allowed
                    ),
                    "channels",
                    f"{'Permitido' if allowed else 'Quitado'} <#{channel.id}>: {name}",
                )
        if direct is not None:
            await self._change(
                interaction,
                lambda old: old.model_copy(update={"direct": direct}),
                "channels",
                f"Mensajes directos: {'sí' if direct else 'no'}",
            )
        policy = await self.services.store.policy(guild_id)
        existing = {one.id for one in interaction.guild.channels} if interaction.guild else set()
        await interaction.followup.send(view=card(*texts.channels_texts(policy, existing)))

    @admin.command(name="filtro", description="Qué no se admite aquí, en mensajes y en datos")
    @app_commands.rename(level="nivel", block="prohibir", allow="permitir", forget="olvidar")
    @app_commands.describe(
        level="Más estricto que la máquina; nunca menos",
        block="Palabras o frases que no quieres, separadas por comas",
        allow="Frases que siempre pasan",
        forget="Frases que quitas de las dos listas",
    )
    @app_commands.choices(level=[app_commands.Choice(name=text[:100], value=one) for one, text in LEVELS.items()])
    async def filter(
        self,
        interaction: Interaction,
        level: str | None = None,
        block: str | None = None,
        allow: str | None = None,
        forget: str | None = None,
    ) -> None:
        guild_id = await self._enter(interaction)
        wanted = next((one for one in LEVELS if one == level), None)
        view = await filter_card(
            self.services, interaction, guild_id, level=wanted, block=block, allow=allow, forget=forget
        )
        await interaction.followup.send(view=view)

    @admin.command(name="cola", description="Lo que espera y se entrena en este servidor; cancela lo que haga falta")
    async def queue(self, interaction: Interaction) -> None:
        guild_id = await self._enter(interaction, Role.TUTOR)
        await interaction.followup.send(view=await admin_queue.queue_card(self.services, guild_id))

    @admin.command(name="retirar", description="Deja de compartir un modelo que no debería estar a la vista")
    @app_commands.rename(name="modelo", reason="motivo")
    @app_commands.describe(name="Uno de los que comparte el servidor", reason="Se le dice a quien lo hizo")
    async def withdraw(
        self, interaction: Interaction, name: str, reason: app_commands.Range[str, 1, 300] | None = None
    ) -> None:
        guild_id = await self._enter(interaction, Role.TUTOR)
        done = await admin_queue.withdraw_model(self.services, interaction, guild_id, name, reason or "")
        await interaction.followup.send(view=done)

    @withdraw.autocomplete("name")
    async def _suggest_shared(self, interaction: Interaction, typed: str) -> list[app_commands.Choice[str]]:
        shared = await admin_queue.shared_models(self.services, await must_be(self.services, interaction, Role.TUTOR))
        fitting = [one for one in shared if typed.strip().casefold() in one.name.casefold()]
        return [app_commands.Choice(name=one.name[:100], value=one.id) for one in fitting[:CHOICES]]

    @admin.command(name="registro", description="Quién cambió qué, y cuándo")
    async def log(self, interaction: Interaction) -> None:
        guild_id = await self._enter(interaction, Role.TUTOR)
        await interaction.followup.send(view=await admin_queue.log_card(self.services, guild_id))

    @commands.Cog.listener()
    async def on_guild_role_delete(self, role: discord.Role) -> None:
        """It is on nobody any more; the list need not name it."""
        await self.services.store.change_policy(
            role.guild.id,
            lambda old: without_roles(old, [role.id]),
            actor_id=role.guild.me.id,
            action="roles",
            text="Un rol borrado en Discord deja de contar",
        )

    async def _enter(self, interaction: Interaction, role: Role = Role.ADMIN) -> int:
        """Acknowledge, and say which server. Raises NotAllowed for anybody below `role`."""
        await interaction.response.defer(ephemeral=True, thinking=True)
        return await must_be(self.services, interaction, role)

    async def _change(
        self, interaction: Interaction, change: Callable[[Policy], Policy], action: str, text: str
    ) -> Policy:
        guild_id = await must_be(self.services, interaction, Role.ADMIN)
        return await self.services.store.change_policy(
            guild_id, change, actor_id=interaction.user.id, action=action, text=text
        )


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return admin_queue.dynamic_items()
