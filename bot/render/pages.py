"""Buttons that open a page of the course, where a problem or a result has one that explains it.

Rule of this file: which page explains what, and the button for it. With a public address of the pages the button is a
link; without, the bot shows the page itself (`/curso leer`).
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import discord

from bot.render.cards import Elsewhere
from jobs.dataset.rules import RULES

READ = "afina:course:read:"  # beginning of the button's id; the file and the part follow


def page_button(file: str, course_url: str | None = None) -> discord.ui.Item[Any]:
    label = "Leer en el curso"
    if course_url:
        return discord.ui.Button(label=label, style=discord.ButtonStyle.link, url=page_url(file, course_url))
    return Elsewhere(f"{READ}{file}", label=label)


def page_url(file: str, course_url: str) -> str:
    return f"{course_url.rstrip('/')}/{quote(file)}"


def page_of_rule(code: str) -> str | None:
    rule = RULES.get(code)
    return rule.page if rule else None


def name(file: str) -> str:
    """What a page is about, from the name of its file."""
    return re.sub(r"^\d+-", "", file).removesuffix(".md").replace("-", " ")
