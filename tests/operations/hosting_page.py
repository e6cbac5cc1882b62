"""The hosting page as tests use it: what it tells people to write is what is tried."""

import re
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent.parent / "docs" / "alojamiento.md"


def block_of(file: str) -> str:
    """The code block that the page gives for a file: the first one after its name in backticks."""
    text = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"`{re.escape(file)}`.*?\n```\w*\n(.*?)```", text, flags=re.S)
    assert found, f"{PAGE.name} gives no {file}"
    return found[1]
