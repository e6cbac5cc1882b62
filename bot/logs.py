"""Logs: one line an entry, with the job it is about, and never with a secret.

Rule of this file: set up once by the entry point. `log.info("…", extra={"job": job.id})` ends in ` job=…`; whatever
the settings hold as a secret, and whatever looks like a Discord token, is replaced before it is written.
"""

from __future__ import annotations

import logging
import re

from pydantic import SecretStr

from bot.settings import Settings

FIELDS = ("job", "attempt", "action")  # extras that are shown behind the message
HIDDEN = "[secreto]"
# A Discord token: the bot's id in base64, a time stamp, a signature; and what follows an authorization word.
TOKEN_LIKE = re.compile(
    r"[A-Za-z0-9_-]{23,30}\.[A-Za-z0-9_-]{6,7}\.[A-Za-z0-9_-]{27,45}|(?<=Bot )[\w.-]{20,}|(?<=Bearer )[\w.-]{8,}"
)

# Tokens of interactions and webhooks, in addresses and in dumped events (DEBUG): good for 15 minutes, in our name.
SHORT_LIVED = re.compile(r"(/(?:interactions|webhooks)/\d+/|['\"]token['\"]: ?['\"])[\w.-]{8,}")


class LineFormatter(logging.Formatter):
    """`2026-01-31 12:00:00,000 INFO bot.client ready … job=abc123`, secrets hidden, also in tracebacks."""

    def __init__(self, secrets: tuple[str, ...] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s %(message)s")
        self._secrets = tuple(sorted((secret for secret in secrets if len(secret) >= 4), key=len, reverse=True))

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        fields = [f"{name}={value}" for name in FIELDS if (value := getattr(record, name, None)) is not None]
        if fields:
            head, newline, rest = text.partition("\n")
            text = f"{head} {' '.join(fields)}{newline}{rest}"
        for secret in self._secrets:
            text = text.replace(secret, HIDDEN)
        return TOKEN_LIKE.sub(HIDDEN, SHORT_LIVED.sub(rf"\1{HIDDEN}", text))


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """Every secret value of the settings, and the password inside the address of Redis."""
    values = [
        value.get_secret_value()
        for name in type(settings).model_fields
        if isinstance(value := getattr(settings, name), SecretStr)
    ]
    if settings.redis_url and (found := re.search(r"://[^/@]*:([^/@]+)@", settings.redis_url)):
        values.append(found[1])
    return tuple(values)


def set_up(settings: Settings) -> None:
    """Log to the standard error; libraries at WARNING unless everything is wanted."""
    handler = logging.StreamHandler()
    handler.setFormatter(LineFormatter(secrets_of(settings)))
    handler.setLevel(settings.log_level)  # some libraries give their own loggers a lower level
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    if settings.log_level != "DEBUG":
        for name in ("discord", "httpx", "httpcore", "asyncio", "aiosqlite", "matplotlib"):
            logging.getLogger(name).setLevel(logging.WARNING)
