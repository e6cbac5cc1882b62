"""Files that people attach to what they say: the text that a model reads, or why there is none.

Rule of this file: pure, and the bytes decide, not the name: whatever reads as text is text, in the encodings that
editors on phones and on Windows write. What is said in brackets is for the model and for whoever looks at the thread.
"""

from __future__ import annotations

import codecs

MAX_FILE = 256 * 1024  # bytes of a file that is read
FILE_TEXT = 20_000  # characters of it that a model gets
NOT_TEXT = "(archivo que no es de texto)"
TOO_BIG = "(archivo demasiado grande para leerlo aquí)"
EMPTY = "(archivo vacío)"
GOES_ON = "\n(sigue)"  # after a text that was cut

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_CONTROLS = frozenset(map(chr, range(32))) - frozenset("\t\n\r\f\x1b")
_NEVER = ("image/", "audio/", "video/", "font/")


def worth_reading(content_type: str | None, size: int) -> str | None:
    """What to say instead of reading a file of this kind and of so many bytes; None: read it."""
    if (content_type or "").startswith(_NEVER) and not (content_type or "").startswith("image/svg"):
        return NOT_TEXT
    return TOO_BIG if size > MAX_FILE else None


def as_text(data: bytes) -> str:
    """The text of a file for a model, cut where it gets long."""
    text = decoded(data)
    if text is None:
        return NOT_TEXT
    text = text.replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        return EMPTY
    return text if len(text) <= FILE_TEXT else text[:FILE_TEXT].rstrip() + GOES_ON


def unread(text: str) -> str | None:
    """What the person who attached a file has to know when the model did not get all of it."""
    if text == NOT_TEXT:
        return "no lo he leído, porque no es un archivo de texto"
    if text == TOO_BIG:
        return f"no lo he leído, porque pasa de {MAX_FILE // 1024} KB; pega aquí la parte que importa"
    if text.endswith(GOES_ON):
        return "solo he leído el principio, porque es muy largo"
    return None


def decoded(data: bytes) -> str | None:
    """The text behind `data`, by its mark, else UTF-8, UTF-16 without a mark, Windows-1252; None: it is no text."""
    even, odd = data[:2000:2].count(0), data[1:2000:2].count(0)
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _plausible(data.decode(encoding, errors="replace"))
    if max(even, odd) > 0.3 * len(data[:2000:2]) and min(even, odd) < 0.05 * len(data[:2000:2]):
        return _plausible(data.decode("utf-16-be" if even > odd else "utf-16-le", errors="replace"))
    try:
        return _plausible(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    return _plausible(data.decode("cp1252", errors="replace"))


def _plausible(text: str) -> str | None:
    """None when there are control characters in it, as in programs, archives and documents of other kinds."""
    return None if any(char in _CONTROLS for char in text) else text
