"""What `/curso` and `/guia` say, as blocks of text for a card.

Rule of this file: pure text from values; names of files and what people wrote are escaped.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from bot.course.guide import Advice, Case
from bot.render.numbers import count, plain

if TYPE_CHECKING:  # the library brings the index, and with it scipy
    from bot.course.library import Holding
    from bot.course.loading import Refusal
    from bot.course.passage import Passage

SHOWN = 60  # documents listed by name
PAGE = 3200  # characters of one part of a page


def holdings_texts(holdings: Sequence[Holding], refusals: Sequence[Refusal]) -> list[str]:
    """The documents of a server's course: its own with their file names, then those that ship with Afina."""
    own = [holding for holding in holdings if holding.own]
    shipped = [holding for holding in holdings if not holding.own]
    texts = ["## El curso de este servidor"]
    if own:
        texts.append("\n".join([f"**De este servidor** ({len(own)})", *map(_own_line, own[:SHOWN])]))
    else:
        texts.append("Este servidor todavía no ha agregado documentos. Con `/curso agregar` se suman los suyos.")
    if shipped:
        titles = " · ".join(plain(holding.title, 60) for holding in shipped[:SHOWN])
        texts.append(f"**Con Afina** ({len(shipped)})\n{titles}")
    if refusals:
        lines = [f"⚠️ {plain(refusal.file, 80)}: {refusal.reason}" for refusal in refusals[:10]]
        texts.append("\n".join(["**No se han podido leer**", *lines]))
    return texts


def page_parts(passages: Sequence[Passage]) -> list[str]:
    """A page of the course as texts of at most `PAGE` characters, cut between passages."""
    parts = [""]
    heading = ""
    for passage in passages:
        here = passage.heading[-1] if passage.heading else ""
        body = re.sub(r"^#{1,6}\s+(.+)$", r"**\1**", passage.plain, flags=re.MULTILINE).strip()
        if here and here != heading and not body.startswith(f"**{here}"):
            body = f"**{here}**\n{body}"
        heading = here
        if parts[-1] and len(parts[-1]) + len(body) + 2 > PAGE:
            parts.append("")
        parts[-1] = f"{parts[-1]}\n\n{body}".strip()
    return [part for part in parts if part]


def advice_texts(case: Case, advice: Advice, pages: Sequence[str]) -> list[str]:
    """The recommendation with its reasons, pages and next command."""
    texts = [
        f"## {advice.way.value}\n-# Tu caso: {plain(case.text, 200)}",
        "\n".join(f"• {reason}" for reason in advice.reasons),
    ]
    if pages:
        texts.append("**Para leer**\n" + "\n".join(f"• {plain(page, 100)}" for page in pages))
    return [*texts, f"**Y ahora**  {advice.command}"]


def _own_line(holding: Holding) -> str:
    title = plain(holding.title, 60)
    name = plain(holding.file, 80)
    return f"• {name} · {title} · {count(holding.passages, 'fragmento', 'fragmentos')}"
