"""Texts made comparable: normal forms, words, and how alike two lists of words are.

Rule of this file: pure functions on text, shared by the split, the search for duplicates and the rules on answers.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from difflib import SequenceMatcher
from typing import Final

_NOT_WORD: Final = re.compile(r"[\W_]+")
_ACCENTS: Final = re.compile("[\u0300-\u036f]")
_NEGATION: Final = re.compile(
    r"(?:no|not|nunca|never|sin|without|ni|tampoco|nadie|nada|jamas|none|isn|don|doesn|can|won)\Z"
)

# A changed word is a slip of the pen rather than another word above this likeness.
_SAME_WORD: Final = 0.75


def normalised(text: str) -> str:
    """Without case, accents, punctuation and repeated blanks; only signs left: the text itself, stripped."""
    plain = text.lower() if text.isascii() else _ACCENTS.sub("", unicodedata.normalize("NFKD", text.casefold()))
    return _NOT_WORD.sub(" ", plain).strip() or text.strip()


def nearly_equal(one: Sequence[str], other: Sequence[str]) -> bool:
    """Whether two lists of words say the same but for slips.

    Allowed: words that came or went in longer texts, misspelt words, and in long texts a few others. Never: another
    number, or a negation that came or went. A single other word in a short text is a filled-in template, not a slip.
    """
    if one == other:
        return True
    longest = max(len(one), len(other))
    if longest < 6 or abs(len(one) - len(other)) > max(1, longest // 10):
        return False
    slips = strangers = moved = 0
    for tag, a, b, c, d in SequenceMatcher(None, one, other, autojunk=False).get_opcodes():
        if tag == "equal":
            continue
        gone, came = one[a:b], other[c:d]
        if any(_NEGATION.match(word) or any(sign.isdigit() for sign in word) for word in (*gone, *came)):
            return False
        for before, after in zip(gone, came, strict=False):
            alike = SequenceMatcher(None, before, after).ratio() >= _SAME_WORD and min(len(before), len(after)) >= 4
            slips += alike
            strangers += not alike
        moved += abs(len(gone) - len(came))
    return (
        slips <= max(1, longest // 10)
        and strangers <= (longest // 25 if longest >= 50 else 0)
        and moved <= (max(1, longest // 12) if longest >= 10 else 0)
    )
