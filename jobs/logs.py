"""Logs of every process: one line or one JSON object an entry, with the job it is about, and never with a secret.

Rule of this file: set up once by the entry point of a process. `log.info("…", extra={"job": job.id})` names a job;
within `about(job=…)` every entry does, also those of libraries, and in a child that is forked there. Secrets that the
entry point knows, and whatever looks like a Discord token, are replaced before they are written.
"""

from __future__ import annotations

import contextlib
import json
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

Format = Literal["text", "json"]

FIELDS = ("job", "attempt", "adapter", "action")  # extras that are shown behind the message
HIDDEN = "[secreto]"
# A Discord token: the bot's id in base64, a time stamp, a signature; and what follows an authorization word.
TOKEN_LIKE = re.compile(
    r"[A-Za-z0-9_-]{23,30}\.[A-Za-z0-9_-]{6,7}\.[A-Za-z0-9_-]{27,45}|(?<=Bot )[\w.-]{20,}|(?<=Bearer )[\w.-]{8,}"
)
# Tokens of interactions and webhooks, in addresses and in dumped events (DEBUG): good for 15 minutes, in our name.
SHORT_LIVED = re.compile(r"(/(?:interactions|webhooks)/\d+/|['\"]token['\"]: ?['\"])[\w.-]{8,}")
PASSWORD = re.compile(r"://[^/@]*:([^/@]+)@")

_about: ContextVar[Mapping[str, Any] | None] = ContextVar("what the log is about", default=None)


@contextlib.contextmanager
def about(**fields: Any) -> Iterator[None]:
    """Everything logged inside carries these fields (of `FIELDS`)."""
    token = _about.set({**(_about.get() or {}), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def password_of(url: str | None) -> tuple[str, ...]:
    """The password inside an address; empty without one."""
    found = PASSWORD.search(url or "")
    return (found[1],) if found else ()


def hider(secrets: Iterable[str]) -> Callable[[str], str]:
    """A function that replaces `secrets`, and whatever looks like one, in a text."""
    known = sorted({secret for secret in secrets if len(secret) >= 4}, key=len, reverse=True)

    def hide(text: str) -> str:
        for secret in known:
            text = text.replace(secret, HIDDEN)
        return TOKEN_LIKE.sub(HIDDEN, SHORT_LIVED.sub(rf"\1{HIDDEN}", text))

    return hide


def fields_of(record: logging.LogRecord) -> dict[str, Any]:
    """What the entry is about: its own extras before those of `about`."""
    given = {name: getattr(record, name, None) for name in FIELDS}
    around = _about.get() or {}
    told = {name: around.get(name) if value is None else value for name, value in given.items()}
    return {name: value for name, value in told.items() if value is not None}


class LineFormatter(logging.Formatter):
    """`2026-01-31 12:00:00,000 INFO bot.client ready … job=abc123`, secrets hidden, also in tracebacks."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._hide = hider(secrets)

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        fields = [f"{name}={value}" for name, value in fields_of(record).items()]
        if fields:
            head, newline, rest = text.partition("\n")
            text = f"{head} {' '.join(fields)}{newline}{rest}"
        return self._hide(text)


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (ISO, UTC), level, logger, part, process, message, the fields, and error."""

    def __init__(self, part: str, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._part = part
        self._hide = hider(secrets)

    def format(self, record: logging.LogRecord) -> str:
        entry: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "part": self._part,
            "process": record.process,
            "message": self._hide(record.getMessage()),
            **{name: n if isinstance(n, int) else self._hide(str(n)) for name, n in fields_of(record).items()},
        }
        if record.exc_info:
            entry["error"] = self._hide(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False, default=str)


def set_up(part: str, *, level: str = "INFO", format: Format = "text", secrets: Iterable[str] = ()) -> None:
    """Log to the standard error. `part`: bot, worker, engine …"""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter(part, secrets) if format == "json" else LineFormatter(secrets))
    handler.setLevel(level)  # some libraries give their own loggers a lower level
    logging.basicConfig(level=level, handlers=[handler], force=True)
