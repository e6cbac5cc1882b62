"""Errors as replies: the one place that turns an exception into Spanish that a person reads.

Rule of this file: an `AfinaError` is told as it is; the few Discord errors that a person can do something about get a
sentence; everything else is logged with an id and answered with that id alone. It never raises: an interaction that
can no longer be answered (expired, answered by a twin) falls back to a message in the channel, or to the log.
"""

from __future__ import annotations

import logging
import secrets
from collections.abc import Mapping
from typing import Any

import discord
from discord import app_commands

from bot.errors import BadInput, NotAllowed
from jobs.errors import AfinaError, DiskFull, for_want_of_room

log = logging.getLogger(__name__)

# https://docs.discord.com/developers/topics/opcodes-and-status-codes#json
UNKNOWN_INTERACTION = 10062  # older than 3 s without an answer
ALREADY_ACKNOWLEDGED = 40060  # the same interaction was delivered twice and the other copy won
INVALID_TOKEN = 50027  # older than 15 min
UNKNOWN_WEBHOOK = 10015  # what an expired interaction token can also look like
CLOSED_TO_US = 50007  # direct messages, by somebody's wish
EXPIRED = {UNKNOWN_INTERACTION, INVALID_TOKEN, UNKNOWN_WEBHOOK}


def as_refusal(error: BaseException) -> AfinaError | None:
    """The sentence behind an exception, or None when it is a surprise (a bug)."""
    original = getattr(error, "original", None)
    if isinstance(original, Exception):
        return as_refusal(original)
    if isinstance(error, AfinaError):
        return error
    if for_want_of_room(error):
        return DiskFull()
    if isinstance(error, app_commands.NoPrivateMessage):
        return BadInput("Esto solo funciona dentro de un servidor.", hint="Escríbelo en un canal del servidor.")
    if isinstance(error, app_commands.MissingPermissions):
        return NotAllowed()
    if isinstance(error, app_commands.CommandOnCooldown):
        return BadInput("Vas muy deprisa.", hint=f"Prueba otra vez en {error.retry_after:.0f} s.")
    if isinstance(error, app_commands.CommandNotFound | app_commands.CommandSignatureMismatch):
        return BadInput("Ese comando ha cambiado hace poco.", hint="Recarga Discord y escríbelo otra vez.")
    if isinstance(error, discord.Forbidden) and error.code == CLOSED_TO_US:
        return NotAllowed(
            "Aquí no puedo abrir un hilo privado y tus mensajes directos están cerrados.",
            hint="Permite mensajes directos de este servidor, o prueba en otro canal.",
        )
    if isinstance(error, discord.Forbidden):
        return NotAllowed(
            "Aquí me falta un permiso de Discord para hacer eso.",
            hint="Quien administra el servidor puede dármelo: enviar mensajes, adjuntar archivos y crear hilos.",
        )
    return None


def refusal_text(refusal: AfinaError) -> str:
    """What is shown: what happened, then what to do. At most 2000 characters, pinging nobody."""
    text = f"⚠️ {refusal.message}"
    return f"{text}\n{refusal.hint}"[:2000] if refusal.hint else text[:2000]


async def answer_error(interaction: discord.Interaction, error: BaseException) -> None:
    """Tell the person behind `interaction` what went wrong. Never raises."""
    cause = getattr(error, "original", error)
    if isinstance(cause, discord.HTTPException) and cause.code == ALREADY_ACKNOWLEDGED:
        log.info("interaction %s was delivered twice; the other copy answers", interaction.id)
        return
    refusal = as_refusal(error)
    if refusal is not None:
        serious = logging.ERROR if isinstance(refusal, DiskFull) else logging.INFO
        log.log(serious, "refused %s: %s", _what(interaction), refusal.code)
        interaction.client.dispatch("refusal", refusal)  # for whoever counts them
        text = refusal_text(refusal)
    elif isinstance(cause, discord.HTTPException) and cause.code in EXPIRED:
        log.warning("interaction %s expired: %s", interaction.id, _what(interaction))
        text = "⚠️ No llegué a tiempo a contestarte. Inténtalo otra vez, por favor."
    else:
        error_id = secrets.token_hex(4)
        log.error("error %s in %s", error_id, _what(interaction), exc_info=cause)
        text = f"⚠️ Algo ha fallado por mi parte; ya está anotado. Inténtalo otra vez. (error `{error_id}`)"
    await tell(interaction, text)


async def tell(interaction: discord.Interaction, text: str) -> None:
    """Answer privately by whatever way is still open; else in the channel. Never raises."""
    try:
        if interaction.response.is_done():
            await interaction.followup.send(text, ephemeral=True)
        else:
            await interaction.response.send_message(text, ephemeral=True)
        return
    except discord.HTTPException as failure:
        if failure.code == ALREADY_ACKNOWLEDGED:
            return
        log.info("interaction %s cannot be answered (%s); trying the channel", interaction.id, failure.code)
    except discord.InteractionResponded:
        return
    except Exception:  # an answer of Discord that the library cannot read (a proxy's page, an empty one)
        log.warning("interaction %s cannot be answered; trying the channel", interaction.id, exc_info=True)
    try:
        channel = interaction.channel
        if isinstance(channel, discord.abc.Messageable):
            await channel.send(f"{interaction.user.mention} {text}"[:2000])
    except Exception:
        log.warning("no way to answer interaction %s", interaction.id, exc_info=True)


def _what(interaction: discord.Interaction) -> str:
    command = interaction.command.qualified_name if interaction.command else None
    data: Mapping[str, Any] = interaction.data or {}
    return f"{command or data.get('custom_id', interaction.type.name)} of user {interaction.user.id}"
