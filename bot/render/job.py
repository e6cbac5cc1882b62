"""Jobs as text: the progress card, its end, a line of a list.

Rule of this file: job and view → words; never surer than what is known, and no bar where nothing is measured. Buttons
are named by their `custom_id`; what they do is in `bot/cogs/jobs.py`, `models.py` and `chat.py`.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import discord

from bot.progress import JobView, view
from bot.records import Job, Model
from bot.render import evaluation as evaluation_text
from bot.render.cards import Accent, Elsewhere, card
from bot.render.curve import Points
from bot.render.numbers import count, duration, loss, moment, number, plain
from bot.render.pages import page_button
from bot.render.plan import queue_text
from bot.tutor import LESSONS, Advice, lesson_after
from jobs.contract import Evaluation, JobState, Phase, Verdict

CURVE = "curva.png"  # name of the picture
BAR = 18  # blocks
SPARKS = "▁▂▃▄▅▆▇█"
LISTED = 15  # jobs of a list

_ACCENTS = {
    JobState.PAUSED: Accent.WARN,
    JobState.SUCCEEDED: Accent.GOOD,
    JobState.FAILED: Accent.BAD,
    JobState.CANCELLED: Accent.QUIET,
}
_VERDICTS = {
    Verdict.BETTER: Accent.GOOD,
    Verdict.NO_DIFFERENCE: Accent.WARN,
    Verdict.WORSE: Accent.BAD,
    Verdict.NOT_MEASURED: Accent.NEUTRAL,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class QueuePlace:
    position: int  # from 1; 0 when it does not wait any more
    wait: float | None  # seconds; None: nobody knows
    behind_chat: bool = False  # it would start now, but people are talking to models on the same GPU


def status(job: Job, state: JobView, queue: QueuePlace | None = None) -> str:
    """One honest phrase: «en cola (2.º, empieza en unos 6 min)», «entrenando 120/300»."""
    waits = job.state in (JobState.QUEUED, JobState.DISPATCHED) and queue is not None and queue.position > 0
    waits = waits and not job.cancel_requested and not job.pause_requested
    if not waits or queue is None:
        return "ha fallado" if job.state is JobState.FAILED else state.status
    again = "; sigue donde se quedó" if job.request.resume else ""
    place = "empieza cuando terminen quienes charlan en la misma GPU" if queue.behind_chat else None
    return f"en cola ({place or queue_text(queue.position, queue.wait)}{again})"


def card_texts(job: Job, state: JobView, queue: QueuePlace | None = None) -> list[str]:
    """Blocks of the progress card."""
    head = [f"## {plain(job.name, 60)}", status(job, state, queue)]
    if state.bar is not None and job.phase in (Phase.TRAINING, None) and not job.state.terminal:
        left = f" quedan {duration(state.eta_seconds)}" if state.eta_seconds else ""
        head.append(f"`{bar(state.bar)}`{left}")
    blocks = ["\n".join(head)]
    if measured := measures(state):
        blocks.append(measured)
    if state.advice and job.state is not JobState.FAILED:  # «va bien» next to a failure would be absurd
        blocks.append(advice(state.advice))
    if state.messages and job.state is JobState.RUNNING:
        blocks.append(f"-# {plain(state.messages[-1], 300)}")
    if job.failures and not job.state.terminal:
        blocks.append(f"El equipo que entrena se ha cortado. No se ha perdido nada: sigo en el intento {job.attempt}.")
    if job.state is JobState.FAILED:
        blocks.append(failure(job))
    return blocks


def measures(state: JobView) -> str:
    """«pérdida 1,92 → 0,61 · validación 0,70 · 3 900 tokens/s», then the shape of the curve."""
    parts = []
    if state.losses:
        first, last = state.losses[0][1], state.losses[-1][1]
        parts.append(f"pérdida {loss(first)} → {loss(last)}" if len(state.losses) > 1 else f"pérdida {loss(last)}")
    if state.eval_losses:
        parts.append(f"validación {loss(state.eval_losses[-1][1])}")
    if state.tokens_per_second:
        parts.append(f"{number(state.tokens_per_second)} tokens/s")
    lines = [" · ".join(parts)] if parts else []
    if len(state.sparkline) >= 4:
        lines.append(f"`{sparkline(state.sparkline)}`")
    return "\n".join(lines)


def bar(share: float) -> str:
    filled = round(BAR * min(max(share, 0.0), 1.0))
    return "█" * filled + "░" * (BAR - filled)


def sparkline(values: Sequence[float]) -> str:
    """One block a value; low is good and looks low. Logarithmic, or the first steps would flatten all the others."""
    heights = [math.log(max(value, 1e-6)) for value in values]
    low, high = min(heights), max(heights)
    span = (high - low) or 1.0
    return "".join(SPARKS[min(int((height - low) / span * len(SPARKS)), len(SPARKS) - 1)] for height in heights)


def failure(job: Job) -> str:
    """Cause and what to change, in words."""
    error = job.error or {}
    message = error.get("message") or "El entrenamiento se ha interrumpido."
    hint = error.get("hint") or ""
    text = f"**Qué ha pasado**  {message}" + (f"\n**Qué puedes hacer**  {hint}" if hint else "")
    return f"{text}\n{_in_course(lesson_after(error.get('code')))}"


def advice(given: Advice) -> str:
    """What a tutor says, and where the course explains it."""
    return f"{given.text}\n{_in_course(given.lesson)}" if given.lesson else given.text


def _in_course(lesson: str) -> str:
    return f"-# En el curso: {LESSONS[lesson].title}"


def accent(job: Job) -> Accent:
    return _ACCENTS.get(job.state, Accent.NEUTRAL)


def job_card(job: Job, state: JobView, queue: QueuePlace | None = None) -> discord.ui.LayoutView:
    return card(*card_texts(job, state, queue), accent=accent(job), actions=job_actions(job))


def job_actions(job: Job) -> list[Elsewhere]:
    """What can be done with the job as it stands."""
    if job.cancel_requested or job.state.terminal:
        return []
    buttons = []
    if job.state is JobState.PAUSED:
        buttons.append(Elsewhere(f"afina:job:resume:{job.id}", label="Reanudar", style=discord.ButtonStyle.success))
    elif not job.pause_requested:
        buttons.append(Elsewhere(f"afina:job:pause:{job.id}", label="Pausar"))
    buttons.append(Elsewhere(f"afina:job:cancel:{job.id}", label="Cancelar", style=discord.ButtonStyle.danger))
    if job.step:
        buttons.append(Elsewhere(f"afina:job:curve:{job.id}", label="Ver curva"))
    return buttons


def curve_points(state: JobView) -> Points | None:
    """None when there is not enough to draw."""
    if len(state.losses) + len(state.eval_losses) < 2:
        return None
    return Points(train=state.losses, validation=state.eval_losses)


# The end


def end_card(job: Job, state: JobView, model: Model | None, *, curve: bool) -> discord.ui.LayoutView:
    """What came of the job, addressed to its person; the only card that mentions somebody."""
    mention = f"<@{job.owner.user_id}>"
    images = [CURVE] if curve else []
    if job.state is JobState.SUCCEEDED and model is not None:
        return _good_end(job, state, model, mention, images)
    return card(
        f"## {plain(job.name, 60)} · ha fallado",
        failure(job),
        accent=Accent.BAD,
        images=images,
        outside=f"{mention}, tu entrenamiento no ha salido bien.",
        actions=[*_once_more(job), page_button(LESSONS[lesson_after((job.error or {}).get("code"))].page)],
    )


def _once_more(job: Job) -> list[Elsewhere]:
    """As it was, where bad luck may be the cause; with other settings first, where they are."""
    change = Elsewhere(f"afina:train:again:{job.id}", label="Cambiar y repetir", style=discord.ButtonStyle.primary)
    repeat = Elsewhere(f"afina:job:repeat:{job.id}", label="Repetir")
    own_fault = (job.error or {}).get("code") in ("diverged", "recipe", "does_not_fit", "nothing_to_learn", "dataset")
    return [change] if own_fault else [repeat, change]


def _good_end(job: Job, state: JobView, model: Model, mention: str, images: list[str]) -> discord.ui.LayoutView:
    texts = [f"## {plain(model.name, 60)}"]
    result = model.evaluation
    if result is not None:
        texts = [f"## {plain(model.name, 60)} · {evaluation_text.headline(result)}\n{evaluation_text.summary(result)}"]
        texts.append(f"{evaluation_text.table(result)}\n{evaluation_text.details(result)}")
        texts += [f"**Por ejemplo**\n{block}" for block in evaluation_text.samples(result, limit=1, width=160)]
    else:
        texts.append(evaluation_text.UNMEASURED)
    texts += [f"-# {plain(message, 300)}" for message in state.messages]
    better = result is None or result.verdict is Verdict.BETTER
    if state.advice and (better or not state.advice.good):  # a falling loss is no consolation
        texts.append(advice(state.advice))
    actions: list[discord.ui.Item[Any]] = [
        Elsewhere(f"afina:chat:open:{model.id}", label="Charlar", style=discord.ButtonStyle.primary),
        Elsewhere(f"afina:chat:compare:{model.id}", label="Comparar"),
    ]
    if result is not None and result.samples:
        actions.append(Elsewhere(f"afina:job:samples:{job.id}", label=_samples_label(result)))
    if better:
        actions.append(Elsewhere(f"afina:model:share:{model.id}", label="Compartir"))
    else:
        lesson = state.advice.lesson if state.advice and state.advice.lesson else "evaluation"
        actions.append(Elsewhere(f"afina:train:again:{job.id}", label="Cambiar y repetir"))
        actions.append(page_button(LESSONS[lesson].page))
    return card(
        *texts,
        accent=_VERDICTS[result.verdict] if result else Accent.NEUTRAL,
        images=images,
        outside=f"{mention}, tu modelo está listo.",
        footer=_effort(job),
        actions=actions,
    )


def _samples_label(result: Evaluation) -> str:
    return "Ver respuestas" if evaluation_text.is_preference(result) else "Ver fallos"


def _effort(job: Job) -> str:
    if job.started_at is None or job.finished_at is None:
        return ""
    attempts = f" · {count(job.attempt, 'intento', 'intentos')}" if job.attempt > 1 else ""
    return f"Ha tardado {duration(job.finished_at - job.started_at)}{attempts} · base {plain(job.request.base_id)}"


# Lists


def list_texts(mine: Sequence[Job], waiting: Sequence[Job]) -> list[str]:
    """One's jobs, newest first, and how full the server's queue is (no names: they are private)."""
    running = sum(job.state is JobState.RUNNING for job in waiting)
    queued = sum(job.state in (JobState.QUEUED, JobState.DISPATCHED) for job in waiting)
    queue = f"**Cola del servidor**  {running} en marcha · {queued} esperando"
    if not mine:
        return ["## Entrenamientos\nTodavía no tienes ninguno. Empieza con `/afinar`.", queue]
    lines = [
        f"- **{plain(job.name, 60)}** · {status(job, view(job, ()))} · {moment(job.created_at)}"
        for job in mine[:LISTED]
    ]
    if len(mine) > LISTED:
        lines.append(f"… y {len(mine) - LISTED} más antiguos")
    return ["\n".join(["## Entrenamientos", *lines]), queue]


def choice(job: Job) -> str:
    """A line of autocompletion: plain text, 100 characters at most."""
    return f"{job.name} · {status(job, view(job, ()))}"[:100]
