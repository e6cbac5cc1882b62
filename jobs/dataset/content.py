"""What stands in one text: marks of chat templates, characters that nobody sees, broken encodings.

Rule of this file: one text in, codes out; precision first, because a false alarm on clean data costs as much as a
miss. Cheap tests come first: most texts hold none of the characters that a rule looks for. Personal data and secrets
have their own module.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from ftfy import fix_encoding
from ftfy.badness import is_bad

# Marks that no ordinary text uses. `<|…|>` covers ChatML, Llama 3, Phi, gpt-oss and DeepSeek's wide bars.
_MARKS: Final = re.compile(
    r"<[|｜][A-Za-z0-9_▁-]{1,40}[|｜]>"
    r"|<(?:start_of_turn|end_of_turn|start_of_image|bos|eos|tool_call|tool_response|tool_calls|think|"
    r"start_header_id|end_of_text|sp|endoftext)>"
    r"|</(?:think|tool_call|tool_response|tool_calls)>"
    r"|\[/?INST\]|<</?SYS>>|\[/?(?:AVAILABLE_TOOLS|TOOL_CALLS|TOOL_RESULTS|SYSTEM_PROMPT)\]"
)
_REASONING: Final = re.compile(r"\s*<think>(?:(?!</?think>).)*</think>", re.DOTALL)
_CODE: Final = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)
_SENTENCE_MARK: Final = re.compile(r"</?s>")
_HTML: Final = re.compile(
    r"</?(?:p|b|i|u|a|br|div|span|del|em|strong|li|ul|ol|h[1-6]|td|tr)\b[^>]*>|html|etiqueta|\btags?\b|tachad|strike",
    re.IGNORECASE,
)

_ZWNJ, _ZWJ = "\u200c", "\u200d"
_INVISIBLE: Final = re.compile(
    "[\u0001-\u0008\u000e-\u001f\u007f\u0080-\u0084\u0086-\u009f\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180e"
    "\u200b-\u200d\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
_DIRECTION: Final = re.compile("[\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]")
_OVERRIDE: Final = "\u202d\u202e"
_RIGHT_TO_LEFT: Final = re.compile(
    "[\u0590-\u08ff\ufb1d-\ufdff\ufe70-\ufefc\U00010800-\U00010fff\U0001e800-\U0001efff]"
)
# Scripts that shape letters with joiners: Arabic, Syriac, N'Ko and all of Brahmic descent.
_JOINING: Final = re.compile(
    "[\u0600-\u08ff\u0900-\u109f\u1780-\u18af\u1a00-\u1cff\ua800-\uabff\ufb50-\ufdff\ufe70-\ufefc]"
)
_FLAG, _TAG_END = "\U0001f3f4", "\U000e007f"
_FLAG_TAGS: Final = re.compile(f"{_FLAG}[\U000e0030-\U000e007a]+{_TAG_END}")
_LEADS: Final = re.compile("[\u00c2-\u00f4][\u0080-\u00bf\u0152-\u0192\u02c6\u02dc\u2013-\u203a\u20ac\u2122]|\ufffd")

# Names for people, of what the rules above find.
_NAMES: Final = {
    "\u200b": "espacio de ancho cero",
    _ZWNJ: "separador de ancho cero",
    _ZWJ: "unión de ancho cero",
    "\u2060": "unión de palabras",
    "\ufeff": "BOM dentro del texto",
    "\u00ad": "guion opcional",
    "\u202e": "inversión de derecha a izquierda",
    "\u202d": "inversión de izquierda a derecha",
    "\u200e": "marca de izquierda a derecha",
    "\u200f": "marca de derecha a izquierda",
}


def control_token(text: str, *, assistant: bool = False) -> str | None:
    """The first mark of a chat template in `text`.

    A leading, closed `<think>…</think>` of an assistant is reasoning data, not an accident. `<s>` and `</s>` are
    HTML's strike-through unless they stand unpaired or around the whole text.
    """
    if "<" not in text and "[" not in text:
        return None
    body = text
    if assistant and (reasoning := _REASONING.match(text)):
        body = text[reasoning.end() :]
    if mark := _MARKS.search(body):
        return mark[0]
    if "s>" not in body:
        return None
    return _sentence_mark(_CODE.sub("", body))


def _sentence_mark(text: str) -> str | None:
    marks = _SENTENCE_MARK.findall(text)
    if not marks or _HTML.search(text):
        return None
    pairs = len(marks) % 2 == 0 and marks == ["<s>", "</s>"] * (len(marks) // 2)
    whole = text.strip().startswith("<s>") and text.strip().endswith("</s>")
    return None if pairs and not (whole and len(marks) == 2) else str(marks[0])


def invisible_character(text: str) -> str | None:
    """Spanish name of the first character that nobody sees and nothing needs."""
    return next((_name(text[place]) for place in _invisible_places(text)), None)


def _invisible_places(text: str) -> Iterator[int]:
    if text.isascii() and text.isprintable():
        return
    flags = [match.span() for match in _FLAG_TAGS.finditer(text)] if _FLAG in text else []
    for match in _INVISIBLE.finditer(text):
        place = match.start()
        if not _is_needed(text, place) and not any(start <= place < end for start, end in flags):
            yield place


def _is_needed(text: str, place: int) -> bool:
    """Joiners shape emoji and the letters of many scripts; fillers are Korean, selectors Mongolian or Chinese."""
    character = text[place]
    around = text[max(0, place - 3) : place] + text[place + 1 : place + 3]
    if character == _ZWJ and any(_is_emoji(neighbour) for neighbour in around):
        return True
    if character in (_ZWNJ, _ZWJ) or "\u180b" <= character <= "\u180e":
        return bool(_JOINING.search(around))
    if character in "\u115f\u1160\u3164\uffa0":
        return any("\u1100" <= neighbour <= "\u11ff" or "\uac00" <= neighbour <= "\ud7a3" for neighbour in around)
    if "\U000e0100" <= character <= "\U000e01ef":  # ideographic variation
        return any("\u3400" <= neighbour <= "\u9fff" or neighbour >= "\U00020000" for neighbour in around)
    if character == "\u200b":  # breaks words in scripts without blanks
        return any("\u0e00" <= neighbour <= "\u0eff" or "\u1000" <= neighbour <= "\u17ff" for neighbour in around)
    return False


def _is_emoji(character: str) -> bool:
    return character == "\ufe0f" or character >= "\U0001f000" or "\u2190" <= character <= "\u2bff"


def direction_character(text: str) -> str | None:
    """Spanish name of the first direction mark that the text's own script does not call for."""
    if text.isascii():
        return None
    marks = _DIRECTION.findall(text)
    if not marks:
        return None
    if _RIGHT_TO_LEFT.search(text):
        marks = [mark for mark in marks if mark in _OVERRIDE]
    return _name(marks[0]) if marks else None


def _name(character: str) -> str:
    known = _NAMES.get(character)
    if known:
        return known
    if "\U000e0000" <= character <= "\U000e007f":
        return "etiqueta invisible"
    return f"U+{ord(character):04X}" if unicodedata.category(character) != "Cc" else f"control U+{ord(character):04X}"


def is_mojibake(text: str) -> bool:
    """Whether UTF-8 was read as something else on the way, or characters were lost (U+FFFD)."""
    if text.isascii() or not _LEADS.search(text):
        return False
    return "\ufffd" in text or any(is_bad(line) and fix_encoding(line) != line for line in text.splitlines())


def text_problems(text: str, *, assistant: bool = False) -> Iterator[tuple[str, dict[str, str]]]:
    """(code, values) of everything wrong with one text."""
    if token := control_token(text, assistant=assistant):
        yield "control_token", {"token": token.strip("<>[]|｜")}
    if name := invisible_character(text):
        yield "invisible_character", {"name": name}
    if name := direction_character(text):
        yield "direction_character", {"name": name}
    if is_mojibake(text):
        yield "mojibake", {}


def clean_text(text: str) -> str:
    """The same text decoded rightly and without invisible or direction characters that nothing needs.

    Repeated until nothing changes, so that cleaning twice changes nothing.
    """
    for _ in range(8):
        cleaned = _clean_once(text)
        if cleaned == text:
            return text
        text = cleaned
    return _DIRECTION.sub("", _INVISIBLE.sub("", text))


def _clean_once(text: str) -> str:
    if text.isascii() and text.isprintable():
        return text
    if is_mojibake(text):
        text = "\n".join(fix_encoding(line) if is_bad(line) else line for line in text.split("\n"))
    if places := set(_invisible_places(text)):
        text = "".join(character for place, character in enumerate(text) if place not in places)
    if direction_character(text):
        marks = _DIRECTION if not _RIGHT_TO_LEFT.search(text) else re.compile(f"[{_OVERRIDE}]")
        text = marks.sub("", text)
    return text
