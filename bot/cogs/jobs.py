"""`/entrenamientos`: see, cancel, pause, resume and repeat jobs, by command or by the buttons of their cards.

Rule of this file: parse, ask the store, show. The store decides what is possible in which state; the scheduler carries
it to the worker.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Awaitable, Callable, Collection
from typing import Any

import discord
from discord import app_commands
from discord.ext import commands

from bot import training
from bot.cogs.actions import Action, board_of, owner_of, services_of
from bot.errors import NotFound, WrongState
from bot.progress import JobView
from bot.progress import view as progress_view
from bot.records import Job
from bot.render import evaluation as evaluation_text
from bot.render import job as job_text
from bot.render.cards import card
from bot.render.curve import draw
from bot.render.numbers import plain
from bot.services import Services
from jobs.contract import JobState, Phase

Interaction = discord.Interaction[Any]
Act = Callable[[Services, Interaction, str], Awaitable[str]]  # on a job's id; what to say about it
CHOICES = 25  # of an autocomplete
OPEN = frozenset(state for state in JobState if not state.terminal)
ALMOST_DONE = (Phase.EVALUATING, Phase.PUBLISHING)  # a wish to stop may come too late
OVER = frozenset(state for state in JobState if state.terminal)


class JobsCog(commands.Cog):
    entrenamientos = app_commands.Group(name="entrenamientos", description="Tus entrenamientos y la cola")

    def __init__(self, services: Services) -> None:
        self.services = services

    @entrenamientos.command(name="lista", description="Tus entrenamientos, y cuántos hay en la cola del servidor")
    async def list_jobs(self, interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        owner = owner_of(interaction)
        mine = await self.services.store.jobs(owner)
        waiting = [job for job in await self.services.store.open_jobs() if job.owner.guild_id == owner.guild_id]
        await interaction.followup.send(view=card(*job_text.list_texts(mine, waiting)))

    @entrenamientos.command(name="ver", description="Cómo va un entrenamiento, con su curva")
    @app_commands.rename(name="entrenamiento")
    @app_commands.describe(name="Uno de los tuyos")
    async def show(self, interaction: Interaction, name: str) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        job = await find_job(self.services, interaction, name)
        await show_job(self.services, interaction, job)

    @entrenamientos.command(name="cancelar", description="Detiene un entrenamiento y descarta lo hecho")
    @app_commands.rename(name="entrenamiento")
    async def cancel(self, interaction: Interaction, name: str) -> None:
        await self._control(interaction, name, cancel_job, OPEN)

    @entrenamientos.command(name="pausar", description="Detiene un entrenamiento y guarda su avance")
    @app_commands.rename(name="entrenamiento")
    async def pause(self, interaction: Interaction, name: str) -> None:
        await self._control(interaction, name, pause_job, OPEN)

    @entrenamientos.command(name="reanudar", description="Sigue con un entrenamiento en pausa")
    @app_commands.rename(name="entrenamiento")
    async def resume(self, interaction: Interaction, name: str) -> None:
        await self._control(interaction, name, resume_job, {JobState.PAUSED})

    @entrenamientos.command(name="repetir", description="Vuelve a lanzar un entrenamiento ya terminado")
    @app_commands.rename(name="entrenamiento", seed="semilla")
    @app_commands.describe(seed="Otra semilla da otro resultado; con la misma sale el mismo modelo")
    async def repeat(
        self, interaction: Interaction, name: str, seed: app_commands.Range[int, 0, 2**31 - 1] | None = None
    ) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        old = await find_job(self.services, interaction, name, OVER)
        await interaction.followup.send(await repeat_job(self.services, interaction, old.id, seed=seed))

    async def _control(self, interaction: Interaction, name: str, act: Act, states: Collection[JobState]) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        job = await find_job(self.services, interaction, name, states)
        await interaction.followup.send(await act(self.services, interaction, job.id))

    @show.autocomplete("name")
    async def _any(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return await self._choices(interaction, current, frozenset(JobState))

    @cancel.autocomplete("name")
    async def _open(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return await self._choices(interaction, current, OPEN)

    @pause.autocomplete("name")
    async def _running(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return await self._choices(interaction, current, {JobState.QUEUED, JobState.DISPATCHED, JobState.RUNNING})

    @resume.autocomplete("name")
    async def _paused(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return await self._choices(interaction, current, {JobState.PAUSED})

    @repeat.autocomplete("name")
    async def _over(self, interaction: Interaction, current: str) -> list[app_commands.Choice[str]]:
        return await self._choices(interaction, current, OVER)

    async def _choices(
        self, interaction: Interaction, current: str, states: Collection[JobState]
    ) -> list[app_commands.Choice[str]]:
        jobs = [job for job in await self.services.store.jobs(owner_of(interaction)) if job.state in states]
        wanted = current.strip().casefold()
        found = [job for job in jobs if wanted in job.name.casefold() or wanted == job.id]
        return [app_commands.Choice(name=job_text.choice(job), value=job.id) for job in found[:CHOICES]]


def dynamic_items() -> list[type[discord.ui.DynamicItem[Any]]]:
    return [Cancel, Pause, Resume, Repeat, Curve, Samples]


async def find_job(
    services: Services, interaction: Interaction, text: str, states: Collection[JobState] = frozenset(JobState)
) -> Job:
    """By the id that autocompletion gives, or by name as typed: the newest of that name, one in `states` before others.

    Raises NotFound.
    """
    wanted = text.strip().casefold()
    jobs = await services.store.jobs(owner_of(interaction))
    if found := [job for job in jobs if wanted in (job.id, job.name.casefold())]:
        return next((job for job in found if job.state in states), found[0])
    raise NotFound("No encuentro ese entrenamiento.", hint="Elige uno de la lista que aparece al escribir.")


async def cancel_job(services: Services, interaction: Interaction, job_id: str) -> str:
    job = await services.store.request_cancel(job_id, owner_of(interaction))
    await after_request(services, interaction, job)
    name = plain(job.name)
    if job.state.terminal:
        return f"**{name}** está cancelado."
    late = " Si ya se estaba guardando, bórralo con `/modelos borrar`." if job.phase in ALMOST_DONE else ""
    return f"**{name}** se detendrá en unos segundos.{late}"


async def pause_job(services: Services, interaction: Interaction, job_id: str) -> str:
    job = await services.store.request_pause(job_id, owner_of(interaction))
    await after_request(services, interaction, job)
    name = plain(job.name)
    if job.state is JobState.PAUSED:
        return f"**{name}** está en pausa. Sigue cuando quieras con Reanudar."
    return f"**{name}** guardará su avance y se detendrá en unos segundos."


async def resume_job(services: Services, interaction: Interaction, job_id: str) -> str:
    job = await training.resume(services, job_id, owner_of(interaction))
    await after_request(services, interaction, job)
    return f"**{plain(job.name)}** vuelve a la cola y seguirá donde se quedó."


async def repeat_job(services: Services, interaction: Interaction, job_id: str, *, seed: int | None = None) -> str:
    job = await training.repeat(services, job_id, owner_of(interaction), seed=seed)
    services.scheduler.nudge()
    return f"**{plain(job.name)}** vuelve a empezar: {await board_of(interaction).show(job)}"


async def after_request(services: Services, interaction: Interaction, job: Job) -> None:
    """A person changed a job: the worker hears of it now, not at the scheduler's next round, and the card says so."""
    services.scheduler.nudge()
    await board_of(interaction).changed(job)


async def show_job(services: Services, interaction: Interaction, job: Job) -> None:
    """A snapshot for the eyes of the person alone, with the curve."""
    state = progress_view(job, await services.store.events(job.id))
    files = await _curve(job, state)
    view = card(
        *job_text.card_texts(job, state, await board_of(interaction).queue_place(job)),
        accent=job_text.accent(job),
        images=[job_text.CURVE] if files else [],
        actions=job_text.job_actions(job),
    )
    await interaction.followup.send(view=view, files=files, ephemeral=True)


async def _curve(job: Job, state: JobView) -> list[discord.File]:
    """The picture of the losses so far; none where there is nothing to draw."""
    points = job_text.curve_points(state)
    if points is None:
        return []
    return [discord.File(io.BytesIO(await asyncio.to_thread(draw, points, title=job.name)), job_text.CURVE)]


class _JobAction(Action, cog="job", verb="none"):
    """A button that changes a job and says what happened to the one who pressed it."""

    act: Act  # of the class, as a staticmethod

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        await interaction.followup.send(await self.act(services_of(interaction), interaction, self.target))


class Cancel(_JobAction, cog="job", verb="cancel"):
    label = "Cancelar"
    style = discord.ButtonStyle.danger
    act = staticmethod(cancel_job)


class Pause(_JobAction, cog="job", verb="pause"):
    label = "Pausar"
    act = staticmethod(pause_job)


class Resume(_JobAction, cog="job", verb="resume"):
    label = "Reanudar"
    style = discord.ButtonStyle.success
    act = staticmethod(resume_job)


class Repeat(_JobAction, cog="job", verb="repeat"):
    label = "Repetir"
    act = staticmethod(repeat_job)


class Curve(Action, cog="job", verb="curve"):
    label = "Ver curva"

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        services = services_of(interaction)
        job = await services.store.job(self.target, owner_of(interaction))
        files = await _curve(job, progress_view(job, await services.store.events(job.id)))
        if not files:
            raise WrongState("Todavía no hay nada que dibujar.", hint="Vuelve en cuanto haya dado unos pasos.")
        await interaction.followup.send(file=files[0])


class Samples(Action, cog="job", verb="samples"):
    """«Ver fallos»: held-out examples with the answers of each, the wrong ones first."""

    label = "Ver fallos"

    async def run(self, interaction: Interaction) -> None:
        await interaction.response.defer(ephemeral=True, thinking=True)
        services, owner = services_of(interaction), owner_of(interaction)
        models = await services.store.models(owner)
        model = next((one for one in models if one.job_id == self.target and one.owner == owner), None)
        if model is None or model.evaluation is None:
            raise NotFound("Ya no tengo los ejemplos de ese modelo.")
        head = f"## {plain(model.name, 60)}\n{evaluation_text.samples_head(model.evaluation)}"
        await interaction.followup.send(
            view=card(head, *evaluation_text.samples(model.evaluation, mistakes_first=True))
        )
