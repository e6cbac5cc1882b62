"""Numbers, times and names as a Spanish-speaking person reads them.

Rule of this file: pure functions from values to short text. Thousands are split by a narrow no-break space (so a
number never breaks over two lines on a phone), decimals by a comma. Text that people or models wrote goes through
`plain` before it enters any card.
"""

from __future__ import annotations

import math
import re
import unicodedata

import discord

THIN = "\u202f"  # narrow no-break space
UNITS = ("B", "KB", "MB", "GB", "TB")

_CONTROL = re.compile(r"[\s\x00-\x1f\x7f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+")
_MARKUP = re.compile(r"([\\*_~`|<>\[\]()#])")


def number(value: float, digits: int = 0) -> str:
    """`1234.5` → «1 234,5» (with `digits=1`); NaN and infinities are «—»."""
    if not math.isfinite(value):
        return "—"
    return f"{value:,.{digits}f}".replace(",", THIN).replace(".", ",")


def percent(share: float, digits: int = 0) -> str:
    """A share of 0..1 → «93 %»."""
    return f"{number(share * 100, digits)}{THIN}%"


def loss(value: float) -> str:
    """A loss in nats: two decimals, three below 0.1, where the second one alone would hide everything."""
    return number(value, 3 if 0 <= value < 0.1 else 2)


def small(value: float) -> str:
    """A learning rate: «2e-4», as everybody writes it."""
    mantissa, exponent = f"{value:.1e}".split("e")
    return f"{mantissa.removesuffix('.0').replace('.', ',')}e{int(exponent)}"


def size(count: float) -> str:
    """Bytes → «5,1 MB» (powers of 1024, as Discord's own limits are counted)."""
    for unit in UNITS:
        if count < 1024 or unit == UNITS[-1]:
            return f"{number(count, 0 if unit == 'B' or count >= 100 else 1)}{THIN}{unit}"
        count /= 1024
    raise AssertionError("unreachable")


def duration(seconds: float) -> str:
    """Seconds → «40 s», «4 min», «1 h 20 min», «2 d 3 h»: two units at most, rounded as people do."""
    if not math.isfinite(seconds):
        return "—"
    if seconds < 1:
        return f"menos de 1{THIN}s"
    if seconds < 90:
        return f"{round(seconds)}{THIN}s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes}{THIN}min"
    hours, minutes = divmod(minutes, 60)
    if hours < 24:
        return f"{hours}{THIN}h {minutes}{THIN}min" if minutes else f"{hours}{THIN}h"
    days, hours = divmod(hours, 24)
    return f"{days}{THIN}d {hours}{THIN}h" if hours else f"{days}{THIN}d"


def ordinal(position: int) -> str:
    """A masculine place: «2.º»."""
    return f"{position}.º"


def count(amount: int, one: str, many: str) -> str:
    """«1 ejemplo», «214 ejemplos»."""
    return f"{number(amount)} {one if amount == 1 else many}"


def moment(unix: float, style: str = "R") -> str:
    """A Discord timestamp, shown in the reader's own language and time zone."""
    return f"<t:{int(unix)}:{style}>"


def plain(text: str, limit: int = 200) -> str:
    """Untrusted text on one line: no markup, no mentions, no control or direction characters, `limit` at most."""
    line = _CONTROL.sub(" ", unicodedata.normalize("NFC", text)).strip()
    if len(line) > limit:
        line = f"{line[: limit - 1].rstrip()}…"
    return discord.utils.escape_mentions(_MARKUP.sub(r"\\\1", line))


def quoted(text: str, limit: int = 300) -> str:
    """Untrusted text of several lines inside a code block that it cannot leave."""
    body = discord.utils.escape_mentions(text.replace("```", "`\u200b``")).strip()
    if len(body) > limit:
        body = f"{body[: limit - 1].rstrip()}…"
    return f"```\n{body or ' '}\n```"
