"""Attached files become text whatever editor wrote them, and what is no text is said."""

from __future__ import annotations

import zipfile
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.attachments import EMPTY, FILE_TEXT, MAX_FILE, NOT_TEXT, TOO_BIG, as_text, unread, worth_reading

TEXT = "Año de niñas:\n¿qué tal?\n"


def archive() -> bytes:
    held = BytesIO()
    with zipfile.ZipFile(held, "w") as file:
        file.writestr("a.txt", "hola " * 50)
    return held.getvalue()


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(TEXT.encode(), id="UTF-8"),
        pytest.param(TEXT.encode("utf-8-sig"), id="UTF-8 with a mark, as Notepad writes it"),
        pytest.param(TEXT.encode("utf-16"), id="UTF-16, as Excel writes it"),
        pytest.param(TEXT.encode("utf-16-le"), id="UTF-16 without a mark"),
        pytest.param(TEXT.encode("utf-16-be"), id="UTF-16 the other way round"),
        pytest.param(TEXT.encode("cp1252"), id="Windows-1252"),
        pytest.param(TEXT.replace("\n", "\r\n").encode(), id="lines of Windows"),
        pytest.param(TEXT.replace("\n", "\r").encode(), id="lines of an old Mac"),
    ],
)
def test_text_is_read_in_the_encodings_of_everyday_editors(data: bytes) -> None:
    assert as_text(data) == TEXT.strip()


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00", NOT_TEXT),
        (b"%PDF-1.7\n\xe2\xe3\xcf\xd3\n1 0 obj\x00\x01\x02", NOT_TEXT),
        (archive(), NOT_TEXT),
        (b"\x7fELF\x02\x01\x01\x00" + bytes(64), NOT_TEXT),
        (b"", EMPTY),
        (b" \r\n\t ", EMPTY),
    ],
)
def test_what_is_no_text_is_said(data: bytes, said: str) -> None:
    assert as_text(data) == said


def test_a_long_text_is_cut_and_says_so() -> None:
    text = as_text(b"palabra " * 10_000)
    assert len(text) <= FILE_TEXT + len("\n(sigue)")
    assert text.endswith("(sigue)")


@pytest.mark.parametrize(
    ("kind", "size", "said"),
    [
        ("text/x-python; charset=utf-8", 100, None),
        ("application/octet-stream", 100, None),
        (None, 100, None),
        ("image/svg+xml", 100, None),
        ("image/png", 100, NOT_TEXT),
        ("video/mp4", 10**9, NOT_TEXT),
        ("text/csv", MAX_FILE + 1, TOO_BIG),
    ],
)
def test_what_cannot_be_read_here_is_not_downloaded(kind: str | None, size: int, said: str | None) -> None:
    assert worth_reading(kind, size) == said


@given(st.binary(max_size=300))
def test_any_bytes_become_a_text_that_can_be_sent(data: bytes) -> None:
    text = as_text(data)
    assert text.strip()
    assert "\x00" not in text
    text.encode()


@pytest.mark.parametrize(
    ("text", "told"),
    [("hola", None), (EMPTY, None), (TOO_BIG, "256 KB"), (NOT_TEXT, "no es"), (as_text(b"a" * 30_000), "el principio")],
)
def test_who_attached_a_file_is_told_what_the_model_did_not_get(text: str, told: str | None) -> None:
    said = unread(text)
    assert said is None if told is None else told in (said or "")
