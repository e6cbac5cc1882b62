"""Cards: Components V2 messages with a coloured edge, text, pictures and buttons.

Rule of this file: a card always fits Discord (40 components, 4000 characters of text, rows of five buttons), whatever
it is given; text too long is cut at a line with «…». Cards hold no state: build a new one for every send and edit.
What goes in is already escaped (`numbers.plain`).
"""

from __future__ import annotations

from collections.abc import Sequence
from enum import Enum
from typing import Any

import discord

MAX_TEXT = 4000  # characters over all text of one message with Components V2
MAX_COMPONENTS = 40  # over the whole message, rows and containers included
ROW = 5  # buttons
CUT = "\n…"


class Accent(Enum):
    """The colour of a card's edge; never the only carrier of a meaning."""

    NEUTRAL = 0x5865F2
    GOOD = 0x2E7D32
    WARN = 0xB26A00
    BAD = 0xB3261E
    QUIET = 0x6B7280


def card(
    *texts: str,
    accent: Accent = Accent.NEUTRAL,
    images: Sequence[str] = (),
    files: Sequence[str] = (),
    actions: Sequence[discord.ui.Item[Any]] = (),
    footer: str = "",
    outside: str = "",
) -> discord.ui.LayoutView:
    """Blocks of text with a thin line between them, then pictures, files, a footer and rows of buttons.

    `images` and `files` are names of attachments of the same message. `outside` is text above the frame, the only
    place where a mention of a person belongs. Selects among `actions` get a row of their own.
    """
    view = discord.ui.LayoutView(timeout=None)
    blocks = fit([outside, *texts, f"-# {footer}" if footer else ""], MAX_TEXT)
    head, body, foot = blocks[0], blocks[1:-1], blocks[-1]
    if head:
        view.add_item(discord.ui.TextDisplay(head))
    frame: discord.ui.Container[Any] = discord.ui.Container(accent_colour=accent.value)
    for index, block in enumerate(block for block in body if block):
        if index:
            frame.add_item(discord.ui.Separator(visible=index > 1))
        frame.add_item(discord.ui.TextDisplay(block))
    if images:
        frame.add_item(discord.ui.MediaGallery(*(discord.MediaGalleryItem(f"attachment://{name}") for name in images)))
    for name in files:
        frame.add_item(discord.ui.File(f"attachment://{name}"))
    if foot:
        frame.add_item(discord.ui.TextDisplay(foot))
    for row in rows(actions):
        frame.add_item(discord.ui.ActionRow(*row))
    view.add_item(frame)
    return view


class Elsewhere(discord.ui.DynamicItem[discord.ui.Button[Any]], template="afina:"):
    """A button that some cog answers: `Elsewhere("afina:chat:open:ID", label="Charlar")`.

    discord.py accepts it because the template matches the beginning, and never dispatches to it because that would
    need the template to match the whole id; so only the cog that registered the verb hears of the click, and the
    library keeps nothing about the message in memory.
    """

    def __init__(
        self,
        custom_id: str,
        *,
        label: str,
        style: discord.ButtonStyle = discord.ButtonStyle.secondary,
        disabled: bool = False,
    ) -> None:
        super().__init__(discord.ui.Button(label=label, style=style, custom_id=custom_id, disabled=disabled))


def rows(actions: Sequence[discord.ui.Item[Any]]) -> list[list[discord.ui.Item[Any]]]:
    """Five buttons a row; a select alone in its row."""
    out: list[list[discord.ui.Item[Any]]] = []
    for action in actions:
        if not out or action.width == ROW or sum(item.width for item in out[-1]) + action.width > ROW:
            out.append([])
        out[-1].append(action)
    return out


def fit(blocks: Sequence[str], limit: int) -> list[str]:
    """The same blocks, together at most `limit` characters: the longest ones are cut first, at a line end."""
    out = list(blocks)
    while (over := sum(map(len, out)) - limit) > 0:
        longest = max(range(len(out)), key=lambda index: len(out[index]))
        out[longest] = clip(out[longest], max(len(out[longest]) - over, 200))
    return out


def clip(text: str, limit: int) -> str:
    """`text`, at most `limit` characters, cut at a line end and an open code block closed."""
    if len(text) <= limit:
        return text
    room = limit - len(CUT) - len("\n```")
    kept = text[:room]
    if "\n" in kept[room // 2 :]:
        kept = kept[: kept.rindex("\n")]
    if kept.count("```") % 2:
        kept += "\n```"
    return kept + CUT


def plain_view(text: str) -> discord.ui.LayoutView:
    """One line of text as a card without a frame: to replace a card whose message already is Components V2."""
    view = discord.ui.LayoutView(timeout=None)
    view.add_item(discord.ui.TextDisplay(clip(text, MAX_TEXT)))
    return view
