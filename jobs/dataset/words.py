"""Texts made comparable: normal forms, words, and how alike two lists of words are.

Rule of this file: pure functions on text, shared by the split, the search for duplicates and the rules on answers.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

_NOT_WORD: Final = re.compile(r"[\W_]+")
_ACCENTS: Final = re.compile("[\u0300-\u036f]")
_NEGATION: Final = re.compile(
    r"(?:no|not|nunca|never|sin|without|ni|tampoco|nadie|nada|jamas|none|isn|don|doesn|can|won)\Z"
)

MISSPELT: Final = 6  # letters; shorter words that differ in one letter are other words


def normalised(text: str) -> str:
    """Without case, accents, punctuation and repeated blanks; only signs left: the text itself, stripped."""
    plain = text.lower() if text.isascii() else _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return _NOT_WORD.sub(" ", plain).strip() or text.strip()


def nearly_equal(
    one: Sequence[str], other: Sequence[str], *, only_slips: bool = False, strangers_in: int | None = None
) -> bool:
    """Whether two lists of words say the same but for slips.

    Allowed: misspelt words, words that came or went in longer texts, and in long texts a few others. Never: another
    number, or a negation that came or went. A single other word in a short text is a filled-in template, not a slip.

    Args:
        only_slips: allow misspelt words alone.
        strangers_in: words of which one may be another (25 in texts of 50 words or more by default); twice as many may
            have come or gone.
    """
    if one == other:
        return True
    longest = max(len(one), len(other))
    spread = 2 * (longest // strangers_in) if strangers_in else longest // 10
    if longest < 6 or abs(len(one) - len(other)) > max(1, spread):
        return False
    slips = strangers = moved = 0
    for tag, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        gone, came = one[a:b], other[c:d]
        if any(_NEGATION.match(word) or any(sign.isdigit() for sign in word) for word in (*gone, *came)):
            return False
        pairs = list(zip(gone, came, strict=False))
        alike = sum(is_slip(before, after) for before, after in pairs)
        slips += alike
        strangers += len(pairs) - alike
        moved += abs(len(gone) - len(came))
    if only_slips:
        return not strangers and not moved and slips <= max(1, longest // 10)
    allowed = longest // strangers_in if strangers_in else (longest // 25 if longest >= 50 else 0)
    return (
        slips <= max(1, longest // 10)
        and strangers <= allowed
        and moved <= (2 * allowed if strangers_in else max(1, longest // 12) if longest >= 10 else 0)
    )


def only_added(one: Sequence[str], other: Sequence[str], *, at_most: int) -> bool:
    """Whether one list is the other with a few more words, no number and no negation among them."""
    shorter, longer = sorted((one, other), key=len)
    rest = iter(longer)
    if not 0 < len(longer) - len(shorter) <= at_most or not all(word in rest for word in shorter):
        return False
    added = Counter(longer) - Counter(shorter)
    return not any(_NEGATION.match(word) or any(sign.isdigit() for sign in word) for word in added)


def is_slip(one: str, other: str) -> bool:
    """Whether one longer word is the other with a single letter changed, left out, added or swapped."""
    if min(len(one), len(other)) < MISSPELT or abs(len(one) - len(other)) > 1:
        return False
    same = 0
    while same < min(len(one), len(other)) and one[same] == other[same]:
        same += 1
    rest, others = one[same:], other[same:]
    if rest[1:] == others[1:] or rest == others[1:] or rest[1:] == others:
        return True
    return rest[:2] == others[:2][::-1] and rest[2:] == others[2:]
