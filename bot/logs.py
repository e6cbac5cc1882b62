"""Logs of the bot: as its settings say, and without what its settings hold as secrets.

Rule of this file: set up once by the entry point; how an entry looks is in `jobs/logs.py`.
"""

from __future__ import annotations

import logging

from pydantic import SecretStr

from bot.settings import Settings
from jobs import logs


def secrets_of(settings: Settings) -> tuple[str, ...]:
    """Every secret value of the settings, and the password inside the address of Redis."""
    values = [
        value.get_secret_value()
        for name in type(settings).model_fields
        if isinstance(value := getattr(settings, name), SecretStr)
    ]
    return (*values, *logs.password_of(settings.redis_url))


def set_up(settings: Settings, *, part: str = "bot") -> None:
    """Log to the standard error; libraries at WARNING unless everything is wanted."""
    logs.set_up(part, level=settings.log_level, format=settings.log_format, secrets=secrets_of(settings))
    if settings.log_level != "DEBUG":
        for name in ("discord", "httpx", "httpcore", "asyncio", "aiosqlite", "matplotlib"):
            logging.getLogger(name).setLevel(logging.WARNING)
