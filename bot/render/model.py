"""Models as text: a line of a list, and the card of one.

Rule of this file: model → text and buttons; the evaluation is worded in `bot/render/evaluation.py`.
"""

from __future__ import annotations

from collections.abc import Sequence

import discord

from bot.records import Model, Owner
from bot.render import evaluation as evaluation_text
from bot.render.cards import Accent, Elsewhere, card
from bot.render.numbers import moment, plain
from jobs.catalog import Base
from jobs.contract import Verdict

SHOWN = 20  # models of a list

_ACCENT = {
    Verdict.BETTER: Accent.GOOD,
    Verdict.NO_DIFFERENCE: Accent.WARN,
    Verdict.WORSE: Accent.BAD,
    Verdict.NOT_MEASURED: Accent.NEUTRAL,
}


def accent(model: Model) -> Accent:
    return _ACCENT[model.evaluation.verdict] if model.evaluation else Accent.NEUTRAL


def verdict(model: Model) -> str:
    return evaluation_text.headline(model.evaluation) if model.evaluation else "Sin evaluar"


def list_texts(models: Sequence[Model], owner: Owner) -> list[str]:
    """One's own first, then what others share."""
    own = [model for model in models if model.owner == owner]
    shared = [model for model in models if model.owner != owner]
    if not models:
        return ["## Modelos\nTodavía no tienes ninguno. Sube tus datos con `/datos subir` y pulsa *Afinar un modelo*."]
    texts = ["## Modelos"]
    for title, some in (("Los tuyos", own), ("Compartidos en el servidor", shared)):
        if some:
            lines = [_line(model, owner) for model in some[:SHOWN]]
            if len(some) > SHOWN:
                lines.append(f"… y {len(some) - SHOWN} más")
            texts.append("\n".join([f"**{title}**", *lines]))
    return texts


def _line(model: Model, owner: Owner) -> str:
    whose = " · compartido" if model.shared and model.owner == owner else ""
    by = f" · de <@{model.owner.user_id}>" if model.owner != owner else ""
    return f"- **{plain(model.name, 60)}** · {verdict(model)} · {model.base_id}{by}{whose} · {moment(model.created_at)}"


def model_card(
    model: Model, base: Base | None, *, viewer: Owner, parent: Model | None = None, dataset: str | None = None
) -> discord.ui.LayoutView:
    """Everything about one model; `base`: None when the catalogue does not list it any more."""
    mine = model.owner == viewer
    facts = [
        f"**Dueño**  <@{model.owner.user_id}>" + (" · compartido con el servidor" if model.shared else " · privado"),
        f"**Base**  {plain(base.name if base else model.base_id, 80)}"
        + (f" · licencia {plain(base.licence, 60)}" if base else ""),
        f"**Datos**  {plain(dataset, 80) if dataset and mine else 'privados'} · huella `{model.dataset_sha256[:12]}`",
    ]
    if parent is not None:
        facts.append(f"**Continúa**  {plain(parent.name, 60)}")
    facts.append(
        f"-# `{model.adapter_name}` · adaptador `{model.adapter_sha256[:12]}` · {moment(model.created_at, 'D')}"
    )
    texts = [f"## {plain(model.name, 60)}\n{verdict(model)}", "\n".join(facts)]
    if model.evaluation is not None:
        result = model.evaluation
        texts.append(f"{evaluation_text.table(result)}\n{evaluation_text.details(result)}")
    return card(*texts, accent=accent(model), actions=model_actions(model, mine=mine))


def model_actions(model: Model, *, mine: bool) -> list[Elsewhere]:
    actions = [
        Elsewhere(f"afina:chat:open:{model.id}", label="Charlar", style=discord.ButtonStyle.primary),
        Elsewhere(f"afina:chat:compare:{model.id}", label="Comparar"),
    ]
    if model.evaluation is not None and model.evaluation.samples and mine:
        actions.append(Elsewhere(f"afina:job:samples:{model.job_id}", label="Ver fallos"))
    if mine:
        verb, label = ("unshare", "Dejar de compartir") if model.shared else ("share", "Compartir")
        actions.append(Elsewhere(f"afina:model:{verb}:{model.id}", label=label))
    return actions
