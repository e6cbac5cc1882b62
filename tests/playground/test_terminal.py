"""What the demo prints reads as on a screen, without Discord's marks."""

from __future__ import annotations

import pytest

from playground.terminal import readable


@pytest.mark.parametrize(
    ("sent", "printed"),
    [
        ("## **Listo**\n-# con letra pequeña", "Listo\ncon letra pequeña"),
        ("<@123>, mira <#456>", "@Ana, mira @Ana"),
        (
            "antes\n```\n      base  tuyo\nnota  11 %  93 %\n```\ndespués",
            "antes\n      base  tuyo\nnota  11 %  93 %\ndespués",
        ),
        ("código:\n```python\nprint(1)\n```", "código:\nprint(1)"),
        (r"una \*estrella\*", "una *estrella*"),
    ],
)
def test_text_is_printed_without_marks(sent: str, printed: str) -> None:
    assert readable(sent) == printed
