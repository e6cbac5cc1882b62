"""`/admin filtro`: what a server's staff does not want here, beyond what the machine's lists hold.

Rule of this file: change, note in the log, show. The phrases themselves are shown to staff only, and never in the log.
"""

from __future__ import annotations

from typing import Any

import discord

from bot.render.cards import card
from bot.render.numbers import plain
from bot.services import Services
from jobs.moderation import NAMES, Category, Level

SHOWN = 60  # phrases of a list
LEVELS: dict[Level, str] = {
    "off": "como en la máquina",
    "mild": "suave: acoso, odio, sexo explícito, menores, autolesiones, armas y drogas",
    "strict": "estricto: también palabrotas",
}


async def filter_card(
    services: Services,
    interaction: discord.Interaction[Any],
    guild_id: int,
    *,
    level: Level | None,
    block: str | None,
    allow: str | None,
    forget: str | None,
) -> discord.ui.LayoutView:
    """Change what was asked for and show how things stand. Phrases come separated by commas. Raises BadInput."""
    before = await services.moderation.own_wishes(guild_id)
    wishes = await services.moderation.change(
        guild_id, level=level, block=_split(block), allow=_split(allow), forget=_split(forget)
    )
    if wishes != before:
        await services.store.note_action(
            guild_id, actor_id=interaction.user.id, action="filter", text="Cambió el filtro de contenido"
        )
    now = await services.moderation.wishes(guild_id)
    always = ", ".join(NAMES[one] for one in Category if one not in (Category.PROFANITY, Category.SERVER))
    return card(
        f"## Filtro de contenido\n**Ahora**  {LEVELS[now.level] if now.level != 'off' else 'apagado'}",
        f"**Prohibido además**  {_listed(wishes.blocked)}\n**Permitido siempre**  {_listed(wishes.allowed)}",
        f"-# Mira preguntas, respuestas, nombres y datos: {always}. Este servidor puede ser más estricto que la "
        "máquina, nunca menos. Un * al final de una palabra larga abarca lo que siga.",
    )


def _split(text: str | None) -> list[str]:
    return [phrase.strip() for phrase in (text or "").split(",") if phrase.strip()]


def _listed(phrases: tuple[str, ...]) -> str:
    shown = ", ".join(f"«{plain(phrase, 80)}»" for phrase in phrases[:SHOWN])
    return (shown + (f" y {len(phrases) - SHOWN} más" if len(phrases) > SHOWN else "")) or "nada"
