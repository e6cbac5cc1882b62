"""`afina up`: the whole of Afina on this machine, on real Discord (or whatever the settings name)."""

from __future__ import annotations

import argparse
import asyncio
import sys

from bot import logs
from bot.console.stack import Stack, run_until_signalled
from bot.settings import Settings

NO_TOKEN = """Falta DISCORD_TOKEN, el token de tu bot de Discord.

  1. Entra en discord.com/developers, crea una aplicación y, en «Bot», pulsa «Reset Token» y cópialo.
  2. Activa ahí mismo la intención «Message Content».
  3. Ponlo en un archivo .env (mira .env.example):  DISCORD_TOKEN=…
  4. Vuelve a ejecutar scripts/run.

Para verlo todo sin token: scripts/demo"""


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    if not arguments.sin_bot and settings.discord_token is None:
        print(NO_TOKEN, file=sys.stderr)
        return 1
    logs.set_up(settings, part="up")
    return asyncio.run(run_until_signalled(Stack(settings, bot=not arguments.sin_bot)))
