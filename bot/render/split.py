"""Long answers cut into messages that Discord accepts.

Rule of this file: pure text. A message holds at most `limit` characters and is never blank; cuts fall between
paragraphs, else lines, sentences, words, else anywhere; a code block that is cut is closed and opened again with its
language (Discord takes three backticks anywhere for its beginning or end). Nothing but white space at the cuts and
those extra fences is lost or added.
"""

from __future__ import annotations

import re

LIMIT = 2000  # characters of one Discord message
LEAST_LIMIT = 128  # below it there would be no room for text between two fences

_FENCE = re.compile(r"`{3,16}(?:([A-Za-z0-9_+.#-]{1,32})(?=\n))?")
_CLOSING = "\n```"
_SENTENCE_END = re.compile(r"[.!?…:;][)»”\"']*\s")
_LATE = 0.5  # a better kind of cut is taken only in the last half of a message


def split(text: str, limit: int = LIMIT) -> list[str]:
    """`text` in messages of at most `limit` characters; [] when there is nothing to say."""
    if limit < LEAST_LIMIT:
        raise ValueError(f"limit must be at least {LEAST_LIMIT}")
    parts: list[str] = []
    opening = ""  # of the code block that goes on from the message before
    rest = text.strip()
    while len(opening) + len(rest) > limit:
        cut = _cut(rest, limit - len(opening) - len(_CLOSING))
        piece, rest = rest[:cut], rest[cut:]
        now_open = _open_after(piece, opening)
        parts.append(opening + piece.rstrip() + (_CLOSING if now_open else ""))
        rest = rest.lstrip("\n") if now_open else rest.lstrip()
        opening = now_open
    if rest:
        parts.append(opening + rest)
    return [part for part in parts if part.strip()]


def join(parts: list[str]) -> str:
    """The text behind messages that `split` may have cut: blocks that it closed are one again."""
    text = ""
    for part in parts:
        if _open_after(text, "") or not text.endswith(_CLOSING):
            text += ("\n" if text else "") + part
            continue
        again = _FENCE.match(part)
        if again and part[again.end() : again.end() + 1] == "\n" and _reopened(text, again[0]):
            text = text.removesuffix(_CLOSING) + part[again.end() :]
        else:
            text += "\n" + part
    return text


def _cut(text: str, room: int) -> int:
    """Where to cut `text` so that at most `room` characters come before; never inside a fence."""
    cut = _best_cut(text, room)
    for fence in _FENCE.finditer(text, 0, min(len(text), room + 64)):
        if fence.start() < cut < fence.end():
            return fence.start() or fence.end()
    return cut


def _best_cut(text: str, room: int) -> int:
    window, least = text[: room + 1], int(room * _LATE)
    for mark in ("\n\n", "\n"):
        if (place := window.rfind(mark)) > least:
            return place
    ends = [match.end() for match in _SENTENCE_END.finditer(window) if match.end() <= room]
    if ends and ends[-1] > least:
        return ends[-1]
    if (place := window.rfind(" ")) > least:
        return place
    return room


def _open_after(piece: str, opening: str) -> str:
    """How the code block that is open at the end of `piece` is opened; "" when none is."""
    for fence in _FENCE.finditer(piece):
        opening = "" if opening else f"```{fence[1] or ''}\n"
    return opening


def _reopened(text: str, fence: str) -> bool:
    """Whether the last block of `text` was opened by `fence`."""
    fences = list(_FENCE.finditer(text))
    return len(fences) >= 2 and fences[-2][0] == fence
