"""Whether the answers of a file are in one language.

Rule of this file: only whole sentences of prose count, a language needs weight to be reported, and translations are
no mix: where the input speaks of translating, or most answers are in another language than their input, nothing is
said. Seven European languages are told apart; texts in other scripts are known by their letters.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

from lingua import Language, LanguageDetector, LanguageDetectorBuilder

from jobs.dataset.example import Example, Kind
from jobs.dataset.problem import Problem, make_problem

SPANISH_NAMES: Final = {
    Language.SPANISH: "español",
    Language.ENGLISH: "inglés",
    Language.PORTUGUESE: "portugués",
    Language.FRENCH: "francés",
    Language.ITALIAN: "italiano",
    Language.GERMAN: "alemán",
    Language.CATALAN: "catalán",
}
SCRIPTS: Final = (
    ("ruso u otro en cirílico", re.compile("[\u0400-\u052f]")),
    ("chino o japonés", re.compile("[\u3040-\u30ff\u3400-\u9fff]")),
    ("coreano", re.compile("[\uac00-\ud7a3]")),
    ("árabe", re.compile("[\u0600-\u06ff]")),
    ("hebreo", re.compile("[\u0590-\u05ff]")),
    ("griego", re.compile("[\u0370-\u03ff]")),
    ("hindi", re.compile("[\u0900-\u097f]")),
)
SAMPLE: Final = 2_000  # examples looked at
WORDS: Final = 8  # fewer tell nothing
SURE: Final = 0.9
SHARE: Final = 0.02  # of the sample that a second language needs
_NOT_PROSE: Final = re.compile(
    r"```.*?(?:```|\Z)|`[^`\n]*`|https?://\S+|\S+@\S+|<[^>\n]{1,80}>|[\d_#*|>{}\[\]()=/\\;]+", re.DOTALL
)
_TRANSLATION: Final = re.compile(
    r"tradu|transl|übersetz|\b(?:en|al|del|in|to|into|from|auf|em|para)(?: el| lo)? "
    r"(?:español|spanish|castellano|espagnol|ingl[eé]s|english|anglais|franc[eé]s|french|français|alem[aá]n|german|deutsch"
    r"|italiano?|portugu[eé]se?|catal[aá]n|rus(?:o|sian)|chin(?:o|ese)|japon[eé]s|japanese|árabe|arabic|lat[ií]n)\b",
    re.IGNORECASE,
)


def judge_languages(examples: Sequence[Example]) -> Iterator[Problem]:
    chats = [example for example in examples if example.kind in (Kind.CHAT, Kind.PREFERENCE)]
    if len(chats) < 10:
        return
    detector = LanguageDetectorBuilder.from_languages(*SPANISH_NAMES).with_low_accuracy_mode().build()
    step = max(1, len(chats) // SAMPLE)
    counts: Counter[str] = Counter()
    crossed = seen = 0
    for example in chats[::step][:SAMPLE]:
        spoken = " ".join(turn.content for turn in example.prompt)
        answer = language_of(example.answer, detector)
        asked = language_of(" ".join(turn.content for turn in example.prompt if turn.role == "user"), detector)
        if answer and asked:
            seen += 1
            crossed += answer != asked
        if answer and not _TRANSLATION.search(spoken):
            counts[answer] += 1
    if crossed * 2 > seen > 0:
        return
    heard = [name for name, count in counts.most_common() if count >= max(1, SHARE * counts.total())]
    if len(heard) > 1:
        yield make_problem("language_mix", languages=", ".join(heard[:4]))


def language_of(text: str, detector: LanguageDetector) -> str | None:
    """Spanish name of the language of a text; None where it is too short, no prose or in doubt."""
    prose = _NOT_PROSE.sub(" ", text[:2_000])
    letters = sum(sign.isalpha() for sign in prose)
    if letters < 20:
        return None
    for name, letter in SCRIPTS:
        if len(letter.findall(prose)) * 2 > letters:
            return name
    if len(prose.split()) < WORDS or letters < 0.6 * len(text[:2_000].strip()):
        return None
    best, second = detector.compute_language_confidence_values(prose)[:2]
    return SPANISH_NAMES[best.language] if best.value >= SURE and second.value < 1 - SURE else None
