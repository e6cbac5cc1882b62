"""Whether the answers of a file, or its running texts, are in one language.

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

from jobs.dataset.example import Example
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
# Small words that hardly occur in the other languages; a language counts only where its own outnumber the others'.
SMALL_WORDS: Final = {
    Language.SPANISH: "el los las y una es del con por muy pero más está son lo su mi te hay qué cómo cuando esto eso",
    Language.ENGLISH: "the and of to is you that it for with are this have your can be on not what how we they was",
    Language.PORTUGUESE: "não uma os você são com muito em um ao pela pelo está mais também isso ele ela da do na dos",
    Language.FRENCH: "les des est une et pas vous je du dans pour qui avec nous sur plus ce ne il elle sont c'est",
    Language.ITALIAN: "il che è di non una sono con per gli della del anche più questo mi ci nel dei alla lo ho",
    Language.GERMAN: "der die das und ist nicht ein eine zu mit ich sie auf den es für von dem im auch sind wie",
    Language.CATALAN: "els les amb és una i són per molt però més està això aquest aquesta dels pel hi ha et què com",
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
_SMALL: Final = {language: frozenset(words.split()) for language, words in SMALL_WORDS.items()}
ENOUGH: Final = 10  # examples; fewer tell nothing
SAMPLE: Final = 1_000  # examples looked at
CHARACTERS: Final = 600  # of a text that are looked at
WORDS: Final = 8  # fewer tell nothing
MEANT: Final = 3  # with more languages than this, the file is multilingual on purpose
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
    if len(examples) < ENOUGH:
        return
    detector = LanguageDetectorBuilder.from_languages(*SPANISH_NAMES).with_low_accuracy_mode().build()
    step = max(1, len(examples) // SAMPLE)
    counts: Counter[str] = Counter()
    crossed = seen = 0
    for example in examples[::step][:SAMPLE]:
        spoken = " ".join(turn.content for turn in example.prompt)
        answer = language_of(example.answer, detector)
        asked = language_of(" ".join(turn.content for turn in example.prompt if turn.role == "user"), detector)
        if answer and asked:
            seen += 1
            crossed += answer != asked
        if answer and not _TRANSLATION.search(spoken or example.text[:CHARACTERS]):
            counts[answer] += 1
    if crossed * 2 > seen > 0:
        return
    if counts and counts.most_common(1)[0][0] not in SPANISH_NAMES.values():
        return
    heard = [name for name, count in counts.most_common() if count >= max(1, SHARE * counts.total())]
    if 1 < len(heard) <= MEANT:
        yield make_problem("language_mix", languages=", ".join(heard[:4]))


def language_of(text: str, detector: LanguageDetector) -> str | None:
    """Spanish name of the language of a text; None where it is too short, no prose or in doubt."""
    prose = _NOT_PROSE.sub(" ", text[:CHARACTERS])
    letters = sum(sign.isalpha() for sign in prose)
    if letters < 20:
        return None
    for name, letter in SCRIPTS:
        if len(letter.findall(prose)) * 2 > letters:
            return name
    if len(prose.split()) < WORDS or letters < 0.6 * len(text[:CHARACTERS].strip()):
        return None
    best, second = detector.compute_language_confidence_values(prose)[:2]
    if best.value < SURE or second.value > 1 - SURE:
        return None
    words = prose.lower().split()
    small = {language: sum(word in known for word in words) for language, known in _SMALL.items()}
    most = max(small.values())
    own = small[best.language]
    return SPANISH_NAMES[best.language] if own == most >= 2 and list(small.values()).count(most) == 1 else None
