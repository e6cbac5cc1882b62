"""Answers cut for Discord: nothing lost, nothing too long, no code block broken."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.render.split import LIMIT, join, split

words = st.text(alphabet="abcñé .,!?\n`", min_size=1, max_size=30)
blocks = st.builds(
    lambda language, code: f"```{language}\n{code}\n```",
    st.sampled_from(["", "python", "c++", "jsonl"]),
    st.text(alphabet="abc =()\n\t", min_size=1, max_size=600),
)
texts = st.lists(st.one_of(words, blocks, st.just("\n\n"), st.text(max_size=80)), max_size=40).map("".join)

plain = st.text(max_size=80).map(lambda text: text.replace("`", ""))
# Blocks on lines of their own: elsewhere `bare` cannot tell the language of a block from its first word.
fenced = st.lists(st.one_of(plain, blocks), max_size=40).map("\n".join)


def bare(text: str) -> str:
    """The text without white space and fences, which a cut may add or drop."""
    return re.sub(r"`{3,16}(?:[A-Za-z0-9_+.#-]{1,32}(?=\n))?|\s", "", text)


@given(texts, st.sampled_from([128, 200, 500, LIMIT]))
def test_every_part_fits_and_is_not_blank(text: str, limit: int) -> None:
    for part in split(text, limit):
        assert 0 < len(part.strip()) <= len(part) <= limit


@given(fenced, st.sampled_from([128, 200, 500]))
def test_nothing_but_white_space_and_fences_is_lost_or_added(text: str, limit: int) -> None:
    assert "".join(bare(part) for part in split(text, limit)) == bare(text)


@given(st.lists(st.one_of(st.text(alphabet="abcñ .,\n", max_size=200), blocks), max_size=12).map("\n".join))
def test_every_part_closes_the_code_it_opens(text: str) -> None:
    for part in split(text, 256):
        assert len(re.findall(r"`{3,16}", part)) % 2 == 0


@given(st.text(max_size=LIMIT))
def test_what_fits_stays_as_it_is(text: str) -> None:
    assert split(text) == ([text.strip()] if text.strip() else [])


@given(st.text(alphabet="abc =()", min_size=3, max_size=60), st.text(alphabet="abc ", max_size=40))
def test_joining_mends_the_blocks_that_were_cut(line: str, before: str) -> None:
    code = "\n".join([line] * 20)
    text = f"{before}\n```python\n{code}\n```".strip()
    assert re.sub(r"\s", "", join(split(text, 128))) == re.sub(r"\s", "", text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p" * 70 + "\n\n" + "q" * 90, ["p" * 70, "q" * 90]),
        ("p" * 70 + ". " + "q" * 90, ["p" * 70 + ".", "q" * 90]),
        ("p" * 70 + " " + "q" * 90, ["p" * 70, "q" * 90]),
        ("p" * 200, ["p" * 124, "p" * 76]),
        ("```py\n" + "x = 1\n" * 30 + "```", None),
    ],
)
def test_it_cuts_at_paragraphs_then_sentences_then_words(text: str, expected: list[str] | None) -> None:
    parts = split(text, 128)
    if expected is not None:
        assert parts == expected
    else:
        assert all(part.startswith("```py\n") and part.endswith("\n```") for part in parts)


def test_growing_text_leaves_earlier_messages_alone_almost_always() -> None:
    text = "Una frase cualquiera, ni corta ni larga. " * 200
    previous: list[str] = []
    changed = 0
    for end in range(100, len(text), 50):
        parts = split(text[:end])
        changed += sum(old != new for old, new in zip(previous[:-1], parts, strict=False))
        previous = parts
    assert changed == 0
