"""The demo as a conversation in the terminal, and the transcript that is written down beside it.

Rule of this file: what to show is told to it in Discord's own terms (who said what, which pictures came along); it
knows nothing of the playground. Text is printed as it is, never read as markup.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

_TIMESTAMP = re.compile(r"<t:(\d+)(?::\w)?>")
_MENTION = re.compile(r"<[@#][!&]?\d+>")
_QUIET = re.compile(r"^-# ", flags=re.M)


@dataclass(kw_only=True)
class Terminal:
    """Prints and remembers. `transcript` holds {"who", "text", "at"} with seconds since the start."""

    console: Console = field(default_factory=lambda: Console(record=True, width=100, highlight=False))
    transcript: list[dict[str, Any]] = field(default_factory=list)
    started: float = field(default_factory=time.monotonic)

    def title(self, text: str, below: str) -> None:
        self.console.print(Panel(Text(below), title=f"[bold]{text}", border_style="cyan", padding=(0, 1)))

    def step(self, number: int, text: str) -> None:
        self.console.print()
        self.console.rule(f"[bold cyan]{number}. {text}", align="left", style="cyan")

    def person(self, who: str, text: str) -> None:
        self._remember(who, text)
        self.console.print(Text.assemble(("> ", "bold green"), (f"{who}: ", "green"), text))

    def bot(self, text: str, *, pictures: tuple[Path, ...] = (), buttons: tuple[str, ...] = ()) -> None:
        text = readable(text)
        self._remember("Afina", text + "".join(f"\n[imagen: {path.name}]" for path in pictures))
        self.console.print(self._card(text, pictures, buttons))

    @contextmanager
    def moving(self) -> Iterator[Any]:
        """One card that changes in place: call what it yields with the card's newest text."""
        last = ""
        with Live(console=self.console, refresh_per_second=8, transient=True) as live:

            def show(text: str) -> None:
                nonlocal last
                text = readable(text)
                if text != last:
                    last = text
                    self._remember("Afina", text)
                    live.update(self._card(text, (), ()))

            yield show

    def table(self, title: str, columns: list[str], rows: list[list[str]]) -> None:
        table = Table(*columns, title=title, title_justify="left", title_style="bold")
        for row in rows:
            table.add_row(*(Text(cell) for cell in row))
        self.console.print(table)

    def note(self, text: str, style: str = "dim") -> None:
        self.console.print(Text(text, style=style))

    def picture(self, title: str) -> str:
        """All of it as an SVG that loads nothing from elsewhere."""
        return re.sub(r"@font-face\s*{[^}]*}", "", self.console.export_svg(title=title))

    def _card(self, text: str, pictures: tuple[Path, ...], buttons: tuple[str, ...]) -> Padding:
        lines: list[Text] = [Text(text)]
        lines += [Text(f"imagen: {path}", style="magenta") for path in pictures]
        if buttons:
            lines.append(Text(" ".join(f"[{label}]" for label in buttons), style="blue"))
        return Padding(Group(*lines), (0, 0, 0, 2))

    def _remember(self, who: str, text: str) -> None:
        self.transcript.append({"who": who, "text": text, "at": round(time.monotonic() - self.started, 2)})


def readable(text: str) -> str:
    """Discord's markup as a person sees it: dates as words, mentions as names, no marks of bold, small print, code."""
    text = _TIMESTAMP.sub(lambda found: _ago(int(found[1])), text)
    text = _MENTION.sub("@Ana", text)
    text = _QUIET.sub("", text)
    text = re.sub(r"^```\w*\n", "", text, flags=re.M)
    text = re.sub(r"\n```$", "", text, flags=re.M)
    text = re.sub(r"\*\*(.+?)\*\*", r"\1", text)
    text = re.sub(r"^#{1,3} ", "", text, flags=re.M)
    text = re.sub(r"\[([^\]]+)\]\(<?https?://[^)]*>?\)", r"\1", text)
    return re.sub(r"\\([_*~`|>#\[\]()-])", r"\1", text).strip()


def _ago(moment: int) -> str:
    seconds = moment - time.time()
    amount = abs(seconds)
    words = f"{amount:.0f} s" if amount < 90 else f"{amount / 60:.0f} min"
    return f"dentro de {words}" if seconds > 0 else f"hace {words}"
