"""What staff does to what belongs to others: cancel a job, withdraw a shared model; and the log of what staff did.

Rule of this file: only jobs, models and lines of the very server where it is asked for, checked at every press. What
staff does is told to the owner and noted; a job that staff cancels costs its owner nothing.
"""

from __future__ import annotations

from typing import Any

import discord

from bot.cogs.actions import Action, board_of, services_of
from bot.cogs.entrance import must_be
from bot.errors import NotFound
from bot.records import Job, Model, Owner
from bot.render import admin as texts
from bot.render.cards import Accent, card
from bot.render.numbers import plain
from bot.roles import Role
from bot.services import Services

Interaction = discord.Interaction[Any]
SHOWN = 10  # jobs of a queue with a button each
LINES = 15  # of the log on one card


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return [AskCancel, CancelNow, Leave, Older]


async def queue_card(services: Services, guild_id: int) -> discord.ui.LayoutView:
    """Everything that waits or runs in one server."""
    jobs = [job for job in await services.store.open_jobs() if job.owner.guild_id == guild_id]
    return card(
        *texts.queue_texts(jobs, services.store.clock(), SHOWN),
        actions=[AskCancel(job.id, label=f"Cancelar {place}") for place, job in enumerate(jobs[:SHOWN], 1)],
    )


async def log_card(services: Services, guild_id: int, before: int | None = None) -> discord.ui.LayoutView:
    entries = await services.store.audit(guild_id, limit=LINES + 1, before=before)
    shown = entries[:LINES]
    more = [Older(shown[-1].id)] if len(entries) > LINES else []
    return card(*texts.audit_texts(shown), accent=Accent.QUIET, actions=more)


async def shared_models(services: Services, guild_id: int) -> list[Model]:
    """What this server shares: what somebody sees who has nothing of their own."""
    return await services.store.models(Owner(guild_id=guild_id, user_id=0))


async def withdraw_model(
    services: Services, interaction: Interaction, guild_id: int, name: str, reason: str
) -> discord.ui.LayoutView:
    """Make a shared model private again; what to tell the one who did it. Raises NotFound."""
    shared = await shared_models(services, guild_id)
    model = next((one for one in shared if name.strip() in (one.id, one.name)), None)
    if model is None:
        raise NotFound("No encuentro ese modelo entre los que se comparten.", hint="Elígelo de la lista.")
    await services.store.share_model(model.id, model.owner, False)
    await services.store.note_action(
        guild_id,
        actor_id=interaction.user.id,
        action="models",
        text=f"Dejó de compartir el modelo `{model.adapter_name}`",
        subject_id=model.owner.user_id,
    )
    why = f" Motivo: «{plain(reason, 300)}»." if reason else ""
    await board_of(interaction).notify(
        await services.store.job(model.job_id),
        f"Quien cuida de este servidor ha dejado de compartir **{plain(model.name)}**.{why} Sigue siendo tuyo.",
    )
    return card(f"**{plain(model.name)}** ya solo lo ve <@{model.owner.user_id}>, y se le ha avisado.")


async def job_here(services: Services, interaction: Interaction, job_id: str) -> Job:
    """Anybody's job of this server, for its staff. Raises NotAllowed, and NotFound for a job of another server."""
    guild_id = await must_be(services, interaction, Role.TUTOR)
    job = await services.store.job(job_id)
    if job.owner.guild_id != guild_id:
        raise NotFound("No encuentro ese entrenamiento.", hint="La cola de este servidor se ve con /admin cola.")
    return job


class AskCancel(Action, cog="admin", verb="cancel"):
    label = "Cancelar"

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        job = await job_here(services_of(interaction), interaction, self.target)
        await interaction.followup.send(
            view=card(
                f"## ¿Cancelar un entrenamiento de otra persona?\n{texts.queue_line(job)}",
                "Se pierde lo que llevaba hecho. Se le avisa, no le gasta minutos y queda anotado en el registro.",
                accent=Accent.BAD,
                actions=[CancelNow(job.id), Leave(job.id)],
            )
        )


class CancelNow(Action, cog="admin", verb="cancelnow"):
    label = "Cancelarlo"
    style = discord.ButtonStyle.danger

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer()
        services = services_of(interaction)
        job = await job_here(services, interaction, self.target)
        mine = job.owner.user_id == interaction.user.id
        after = await services.store.request_cancel(job.id, by_staff=not mine)
        services.scheduler.nudge()
        if not mine:
            await services.store.note_action(
                job.owner.guild_id,
                actor_id=interaction.user.id,
                action="jobs",
                text=f"Canceló el entrenamiento `{job.id}`",
                subject_id=job.owner.user_id,
            )
            await board_of(interaction).notify(
                after, f"Quien cuida de este servidor ha cancelado **{plain(job.name)}**. No te gasta minutos."
            )
        await board_of(interaction).changed(after)
        await interaction.edit_original_response(
            view=card(f"**{plain(job.name)}** está cancelado o se detendrá en unos segundos.", accent=Accent.QUIET)
        )


class Leave(Action, cog="admin", verb="leave"):
    label = "Dejarlo"

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer()
        await interaction.edit_original_response(view=card("Sigue en la cola.", accent=Accent.QUIET))


class Older(Action, cog="admin", verb="older"):
    """The lines before those on the card; its id is that of the oldest one shown."""

    label = "Anteriores"

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer()
        services = services_of(interaction)
        guild_id = await must_be(services, interaction, Role.TUTOR)
        before = int(self.target) if self.target.isdigit() else None
        await interaction.edit_original_response(view=await log_card(services, guild_id, before))
