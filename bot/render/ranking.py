"""The ranking of a server's models as a newcomer reads it.

Rule of this file: text only; what the figures mean is in `bot/ranking.py`. A difference that the votes do not show is
said, not drawn.
"""

from __future__ import annotations

from collections.abc import Sequence

from bot.ranking import Standing
from bot.render.numbers import count, percent, plain

SHOWN = 20  # models
HOW_TO_READ = (
    "El porcentaje es cuántas veces ganaría a un modelo medio de este servidor; entre paréntesis, entre qué valores "
    "está casi seguro (95 %). Con pocos votos el margen es ancho. Se calcula con Bradley-Terry."
)


def standings(rows: Sequence[tuple[str, Standing]]) -> str:
    """A line a model, (title, standing) best first, and whether the first one is clearly ahead."""
    lines = [
        f"{place}. **{plain(title)}** gana el {percent(s.chance)} ({percent(s.low)} a {percent(s.high)}) · "
        f"{count(s.votes, 'voto', 'votos')}"
        for place, (title, s) in enumerate(rows[:SHOWN], 1)
    ]
    if len(rows) > SHOWN:
        lines.append(f"… y {count(len(rows) - SHOWN, 'modelo', 'modelos')} más")
    if len(rows) > 1:
        lines += ["", _lead(rows)]
    return "\n".join(lines)


def _lead(rows: Sequence[tuple[str, Standing]]) -> str:
    (title, first), (_, second) = rows[:2]
    if first.low > second.high:
        return f"**{plain(title)}** va claramente por delante."
    return "Aún no hay un ganador claro: los márgenes de los primeros se solapan. Hacen falta más votos."
