"""Prompts as text files: what the models are told, in Spanish.

Rule of this file: `prompts/NAME.md` is a text with `$variables`; a missing or an unknown variable is an error, so
that a prompt never goes out with a hole in it. Values are inserted as they are and never expanded again: a document
that contains `$question` stays a document.
"""

from __future__ import annotations

from pathlib import Path
from string import Template


class PromptError(ValueError):
    """A prompt is missing, or its variables are not those that the code gives."""


class Prompts:
    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def render(self, name: str, /, **variables: str) -> str:
        """The text of `NAME.md` with its variables filled in; PromptError when names do not match."""
        path = self._folder / f"{name}.md"
        try:
            template = Template(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise PromptError(f"no prompt {name} in {self._folder}") from None
        wanted = set(template.get_identifiers())
        if wanted != set(variables):
            raise PromptError(f"prompt {name}: wants {sorted(wanted)}, got {sorted(variables)}")
        return template.substitute(variables).strip()
