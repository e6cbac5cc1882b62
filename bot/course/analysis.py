"""Text to tokens: Spanish as students write it in chat, with English terms in between.

Rule of this file: the same analysis serves documents, glossary and questions, so that they meet on equal stems. Words
are lower-cased, accents folded, chat spelling undone and stemmed (Snowball Spanish). It knows nothing of concepts
(glossary) nor of typing errors (spelling).
"""

from __future__ import annotations

import re
import threading
import tomllib
import unicodedata
from collections.abc import Iterable
from importlib import resources

import Stemmer

_WORD = re.compile(r"[^\W_]+(?:[.\-+/][^\W_]+)*")
_PART = re.compile(r"[^\W_]+")
_LETTERS_DIGITS = re.compile(r"^([a-z]{2,})(\d+[a-z]?)$")
_LONG_REPEAT = re.compile(r"([a-z])\1{2,}")
_FOLDED_ION = re.compile(r"(?<=[cstxg])ion$")
_ENGLISH_PLURAL = re.compile(r"(?<=[a-z]{2}[bcdfghjklmnpqrtvwxz])s$|(?<=^[cgtn]pu)s$")  # «tokens», «GPUs»


# What nearly every text needs; anything else goes the long way through Unicode.
_PLAIN = str.maketrans("áàâäãéèêëíìîïóòôöõúùûüñç", "aaaaaeeeeiiiiooooouuuunc") | dict.fromkeys(
    map(ord, "¿¡«»“”‘’–—…·•°→≥≤×±≈€\u00a0\u2009\u202f"), " "
)


def fold(text: str) -> str:
    """Lower case without accents: «Cuantización» → «cuantizacion»."""
    text = text.lower().translate(_PLAIN)
    if text.isascii():
        return text
    return "".join(char for char in unicodedata.normalize("NFKD", text) if not unicodedata.combining(char))


# «Se llama» names something; only «Llama» alone is the model.
_IS_CALLED = re.compile(r"\b(?P<whom>se|te|me|le|les|nos|lo) (?:llama|llamas|llaman|llamo|llamaba)\b")

REMEMBERED = 500_000  # words whose analysis is kept; people can type without end


class Analyzer:
    """Splits, folds, and stems; holds the word lists of `words.toml`.

    `stop` words never count; `light` words are everyday Spanish or English that any subject uses: they may rank, but
    they are no evidence that the course covers a question; `double` words belong to the field and to everyday life.
    """

    def __init__(self) -> None:
        lists = tomllib.loads(resources.files("bot.course").joinpath("words.toml").read_text(encoding="utf-8"))
        self._stemmer = Stemmer.Stemmer("spanish")
        self._lock = threading.Lock()
        self._stems: dict[str, str] = {}
        self._words: dict[str, tuple[str, ...]] = {}
        self.chat: dict[str, str] = {fold(short): fold(long) for short, long in lists["chat"].items()}
        self.stop = frozenset(_words(lists["stop"].values()))
        self.light = frozenset(self.stem(word) for word in _words(lists["light"].values()))
        self.double = frozenset(self.stem(word) for word in _words(lists["double"].values()))
        self._foreign = frozenset(_words(lists["foreign"].values()))

    def words(self, text: str) -> list[str]:
        """Folded words in order, chat spelling undone, compounds also joined: «Phi-3» → phi, 3, phi3."""
        found: list[str] = []
        folded = fold(text)
        if "llam" in folded:
            folded = _IS_CALLED.sub(r"\g<whom> nombre", folded)
        for whole in _WORD.findall(folded):
            words = self._words.get(whole)
            if words is None:
                if len(self._words) >= REMEMBERED:
                    self._words.clear()
                words = self._words[whole] = self._take_apart(whole)
            found.extend(words)
        return found

    def _take_apart(self, whole: str) -> tuple[str, ...]:
        parts = _PART.findall(whole)
        words = [word for part in parts for word in self._spell_out(part)]
        joined = "".join(parts)
        if 1 < len(parts) <= 3 and len(joined) <= 24 and not joined.isdigit():
            words.append(joined)
        return tuple(words)

    def _spell_out(self, word: str) -> list[str]:
        word = _LONG_REPEAT.sub(r"\1", word)
        if word in self.chat:
            return self.chat[word].split()
        if pieces := _LETTERS_DIGITS.match(word):
            return [pieces.group(1), word]
        return [word]

    def is_foreign(self, word: str) -> bool:
        """A folded word of another subject; compared as written, because stems of short words collide."""
        return word in self._foreign or (word.endswith("s") and word[:-1] in self._foreign)

    def stem(self, word: str) -> str:
        """Stem of one folded word; numbers and words with digits stay as they are."""
        stem = self._stems.get(word)
        if stem is None:
            stem = self._stems[word] = self._new_stem(word)
        return stem

    def _new_stem(self, word: str) -> str:
        if len(self._stems) >= REMEMBERED:
            self._stems.clear()
        if not (word.isalpha() and word.isascii()):
            return word
        with self._lock:  # a Snowball stemmer must not be used by two threads at once
            # Snowball knows «-ción», not the folded «-cion», and no plural without a vowel.
            return fold(self._stemmer.stemWord(_FOLDED_ION.sub("ión", _ENGLISH_PLURAL.sub("", word))))

    def stems(self, text: str) -> list[str]:
        """Stems without stop words; the order is kept."""
        return [self.stem(word) for word in self.words(text) if word not in self.stop]

    def sequence(self, text: str) -> list[str]:
        """Stems of all words, stop words kept as they are: what phrases are compared with."""
        return self.as_sequence(self.words(text))

    def as_sequence(self, words: Iterable[str]) -> list[str]:
        return [word if word in self.stop else self.stem(word) for word in words]


def _words(groups: Iterable[str]) -> list[str]:
    return [fold(word) for group in groups for word in group.split()]
