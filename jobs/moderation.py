"""Word lists of the content filter: a text in, a category or nothing out. Torch-free, offline, the same everywhere.

Rule of this file: precision first. A phrase counts only where its words stand whole; accents, leetspeak, spelled-out
letters, stretched vowels and look-alike letters of other scripts are folded away before, and what is allowed is taken
out before anything is looked for. What to do about a verdict is the caller's business (`bot/moderation.py` for
messages, `jobs/dataset/deep.py` for data), and so is meaning: lists know words, a classifier is another `Moderator`.
"""

from __future__ import annotations

import re
import tomllib
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final, Literal

LISTS: Final = Path(__file__).with_name("moderation.toml")
Level = Literal["off", "mild", "strict"]
LEVELS: Final[tuple[Level, ...]] = ("off", "mild", "strict")


class Category(StrEnum):
    """Why a text is not wanted."""

    MINORS = "minors"  # minors in a sexual light; never allowed
    SELF_HARM = "self_harm"  # answered with where to find help
    HARASSMENT = "harassment"
    HATE = "hate"
    SEXUAL = "sexual"
    DANGEROUS = "dangerous"  # how to make weapons and drugs
    PROFANITY = "profanity"  # only where the setting is strict
    SERVER = "server"  # a word that a server's staff does not want


# For people, after «algo que aquí no se admite: …».
NAMES: Final = {
    Category.MINORS: "menores en un contexto sexual",
    Category.SELF_HARM: "suicidio o autolesiones",
    Category.HARASSMENT: "acoso o amenazas",
    Category.HATE: "odio contra un grupo",
    Category.SEXUAL: "contenido sexual explícito",
    Category.DANGEROUS: "cómo hacer armas o drogas",
    Category.PROFANITY: "palabras malsonantes",
    Category.SERVER: "algo que este servidor no permite",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Wishes:
    """How strict a place is, and its own words; JSON-able, for it travels to the process that looks at files."""

    level: Level = "mild"
    blocked: tuple[str, ...] = ()  # phrases as in moderation.toml, as people type them
    allowed: tuple[str, ...] = ()


class WordList:
    """The phrases that count for `wishes`, compiled once. `judge` is pure and safe to share between threads."""

    def __init__(self, wishes: Wishes, lists: Path = LISTS) -> None:
        data = tomllib.loads(lists.read_text(encoding="utf-8"))
        allowed = [*data.pop("allowed", ()), *map(typed, wishes.allowed)]
        self._allowed = re.compile("|".join(map(_expression, filter(None, allowed))) or r"(?!)")
        rank = LEVELS.index(wishes.level)
        chosen = {Category(name): list[str](entry["phrases"]) for name, entry in data.items() if rank >= _rank(entry)}
        if rank:
            chosen[Category.SERVER] = [one for phrase in wishes.blocked if (one := typed(phrase))]
        self._by_head: dict[str, list[tuple[Category, re.Pattern[str]]]] = {}
        for category, phrases in chosen.items():
            for phrase in phrases:
                expression = re.compile(_expression(phrase))
                for head in {word[:_HEAD] for word in _telling_words(phrase)}:
                    self._by_head.setdefault(head, []).append((category, expression))

    def judge(self, text: str) -> Category | None:
        """The gravest category (they are in this order) of which a phrase stands in `text`."""
        if not self._by_head:
            return None
        found: set[Category] = set()
        for form in _forms(text):
            heads = self._by_head.keys() & set(_HEADS.findall(form))
            suspects = [pair for head in heads for pair in self._by_head[head] if pair[1].search(form)]
            if suspects:
                cleaned = self._allowed.sub(" ¶ ", form)
                found |= {category for category, expression in suspects if expression.search(cleaned)}
        return min(found, key=_GRAVITY.index, default=None)


_GRAVITY: Final = tuple(Category)
_HEAD: Final = 5  # letters of a phrase's most telling word, by which most texts are let through without a closer look
_HEADS: Final = re.compile(rf"\b\w{{1,{_HEAD}}}")


def _rank(entry: dict[str, str]) -> int:
    return [*LEVELS].index(entry["level"])  # type: ignore[arg-type]


def _expression(phrase: str) -> str:
    """A phrase as a regular expression over a folded text."""
    parts = re.findall(r"\([^)]*\)|[^\s]+", fold(phrase))
    out, gap = "", ""
    for part in parts:
        if part == "...":
            gap = r"(?:\W+\w+){0,3}?\W+"
            continue
        out += (gap or r"\W+") + _alternatives(part) if out else _alternatives(part)
        gap = ""
    return rf"(?<!\w){out}(?!\w)"


def _alternatives(part: str) -> str:
    choices = part.removeprefix("(").removesuffix(")").split("|")
    return "(?:" + "|".join(_word(choice) for choice in choices) + ")"


def _word(text: str) -> str:
    """A word or several; a star at the end stands for any ending."""
    escaped = r"\W+".join(re.escape(word) for word in text.removesuffix("*").split())
    return escaped + r"\w*" if text.endswith("*") else escaped


def _telling_words(phrase: str) -> list[str]:
    """Words of which one stands in every text that a phrase stands in: those of its part with the longest ones."""
    parts = [part for part in re.findall(r"\([^)]*\)|[^\s]+", fold(phrase)) if part != "..."]
    choices = [
        [max(choice.split(), key=len) for choice in part.removeprefix("(").removesuffix(")").split("|")]
        for part in parts
    ]
    telling = max(choices, key=lambda words: min(len(word.removesuffix("*")) for word in words))
    if short := [word for word in telling if word.endswith("*") and len(word) <= _HEAD]:
        raise ValueError(f"a word with an open end needs {_HEAD} letters: {short}")
    return [word.removesuffix("*") for word in telling]


def typed(phrase: str) -> str:
    """A phrase as a person types it, made safe for a list: words, and a star at the end of a long enough one."""
    words = re.findall(r"\w+\*?", fold(phrase))
    return " ".join(word if len(word) > _HEAD else word.removesuffix("*") for word in words)


# Folding

_ENYE: Final = "\ue000"  # keeps ñ apart from n: «año»
_LIKE: Final = str.maketrans(
    "аеорсухікмнтвАЕОРСУХІКМНТВαερτυοικνΑΒΕΖΗΙΚΜΝΟΡΤΥΧ",
    "aeopcyxikmhtbaeopcyxikmhtbaeptuoiknabezhikmnoptyx",
)
_UNSEEN: Final = re.compile("[\u00ad\u034f\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufe00-\ufe0f\ufeff]")
_ACCENTS: Final = str.maketrans("áéíóúüàèìòùâêîôûäëïöç_", "aeiouuaeiouaeiouaeioc ")
_UNUSUAL: Final = re.compile("[^\x00-\x7fñ¿¡«»…—–“”‘’ºª€·]")
_LEET: Final = str.maketrans("0134578@$!|€", "oieastbasiie")
_LEET_SIGN: Final = re.compile(
    r"(?:(?<=[a-zñ])[013457@$!|€]+(?=[a-zñ]))|(?:\b[01345@$]+(?=[a-zñ]{2}))|(?:(?<=[a-zñ]{2})[0134@€]\b)"
)
_SPELLED: Final = re.compile(r"(?<!\w)(?:[a-zñ][\s.\-*·,/]{1,2}){2,}[a-zñ](?!\w)")
_STRETCHED: Final = re.compile(r"([a-zñ])\1{2,}")


def fold(text: str) -> str:
    """Small letters without accents (ñ stays), of one script, without what nobody sees."""
    if text.isascii():
        return text.lower().replace("_", " ")
    plain = text.lower().translate(_ACCENTS)
    if not _UNUSUAL.search(plain):
        return plain
    text = _UNSEEN.sub("", unicodedata.normalize("NFKC", text)).translate(_LIKE).casefold().replace("ñ", _ENYE)
    plain = "".join(c for c in unicodedata.normalize("NFD", text) if not unicodedata.combining(c))
    return plain.replace(_ENYE, "ñ").replace("_", " ")


def _forms(text: str) -> Iterator[str]:
    """The text as it stands, and as it may be meant, where it looks as if something were hidden."""
    plain = fold(text)
    yield plain
    if _SPELLED.search(plain):
        yield _SPELLED.sub(lambda spelled: re.sub(r"\W+", "", spelled[0]), plain)
    if _LEET_SIGN.search(plain):
        plain = _LEET_SIGN.sub(lambda sign: sign[0].translate(_LEET), plain)
        yield plain
    if _STRETCHED.search(plain):
        yield _STRETCHED.sub(r"\1", plain)
        yield _STRETCHED.sub(r"\1\1", plain)
