"""`afina up`: the whole of Afina on this machine, on real Discord (or whatever the settings name).

Where torch is not installed that is the bot (and its Redis): other machines train and serve.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
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


NO_TORCH = """Aquí no está instalada la parte que entrena y sirve modelos (torch).
Instálala con:  AFINA_TORCH=auto scripts/install"""
BOT_ALONE = """Aquí no está torch, así que arranco solo el bot: entrenar y charlar es cosa de otras máquinas (REDIS_URL
y AFINA_ENGINE_URL). Si tiene que hacerlo esta:  AFINA_TORCH=auto scripts/install"""


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    if not arguments.sin_bot and settings.discord_token is None:
        print(NO_TOKEN, file=sys.stderr)
        return 1
    logs.set_up(settings, part="up")
    trains = importlib.util.find_spec("torch") is not None
    if not trains:
        print(NO_TORCH if arguments.sin_bot else BOT_ALONE, file=sys.stderr)
        if arguments.sin_bot:
            return 1
    return asyncio.run(run_until_signalled(Stack(settings, bot=not arguments.sin_bot, worker=trains, engine=trains)))
