"""Where a conversation happens: a private thread, a public one by wish, else direct messages.

Rule of this file: made beside the channel where it was asked for; what a private model says is never put in public
for want of a better place.
"""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import Literal

import discord

from bot.chat import DEFAULTS
from bot.cogs.actions import owner_of, services_of
from bot.cogs.answering import Place, own_id
from bot.conversations import NOTE
from bot.errors import NotAllowed
from bot.records import ChatThread
from bot.render.numbers import number, plain
from bot.sessions import Pace
from bot.voices import Voice

log = logging.getLogger(__name__)

FULL_OF_THREADS = 160006  # Discord's code for a server that has as many active threads as it may
WEEK: Literal[10_080] = 10_080  # minutes without a message after which Discord archives a thread: the longest it allows


async def make_place(interaction: discord.Interaction, title: str, pace: Pace, *, public: bool) -> Place:
    """A new thread with this person in it, or their direct messages. Raises NotAllowed."""
    channel = interaction.channel
    parent = channel.parent if isinstance(channel, discord.Thread) else channel
    if isinstance(parent, discord.TextChannel):
        kind = discord.ChannelType.public_thread if public else discord.ChannelType.private_thread
        try:
            await pace.turn()
            thread = await parent.create_thread(name=title[:100], type=kind, auto_archive_duration=WEEK)
            await pace.turn()
            await thread.add_user(interaction.user)
            return thread
        except discord.HTTPException as error:
            if public or not (isinstance(error, discord.Forbidden) or error.code == FULL_OF_THREADS):
                raise
            log.info("no thread in channel %s: %s", parent.id, error)
    services = services_of(interaction)
    if not (await services.store.policy(owner_of(interaction).guild_id)).direct:
        raise NotAllowed("Aquí no puedo abrir un hilo.", hint="Prueba en otro canal.")
    try:
        await pace.turn()
        return await interaction.user.create_dm()
    except discord.HTTPException as error:
        raise NotAllowed(
            "Aquí no puedo abrir un hilo y tus mensajes directos están cerrados.",
            hint="Prueba en otro canal, o permite mensajes directos de este servidor.",
        ) from error


def welcome(voice: Voice, chat: ChatThread, mention: str) -> str:
    """The first note of a conversation."""
    over = f", afinado sobre {plain(voice.base_id)}" if voice.model else ""
    temperature = chat.parameters.get("temperature", DEFAULTS["temperature"])
    wishes = f"«{plain(chat.instructions, 200)}»" if chat.instructions else "ninguna"
    lines = [
        f"{mention}, aquí contesta **{plain(voice.title)}**{over}. Escribe sin más.",
        f"Instrucciones: {wishes} · temperatura {number(temperature, 2)}",
        "Se cambia con /instrucciones, /parametros y /modelo; /reiniciar olvida, /cerrar termina.",
    ]
    return "\n".join(NOTE + line for line in lines)


def is_for_us(message: discord.Message, chat: ChatThread) -> bool:
    """A private place is for whoever is in it; in a public thread others than its owner have to call the bot."""
    place = message.channel
    if message.author.id == chat.owner.user_id or not isinstance(place, discord.Thread) or place.is_private():
        return True
    return own_id(place) in {user.id for user in message.mentions}


def link(place: Place) -> str:
    return place.mention if isinstance(place, discord.Thread) else "tus mensajes directos"


async def tell_owner(place: Place, chat: ChatThread) -> None:
    """The bot can no longer write in a thread that is still there: say so where it can. Never raises."""
    if not isinstance(place, discord.Thread):
        return
    try:
        with suppress(discord.Forbidden):  # it is there, and we may not even see it any more
            await place.guild.fetch_channel(place.id)
        user = place.guild.get_member(chat.owner.user_id) or await place.guild.fetch_member(chat.owner.user_id)
        await user.send(
            f"Ya no puedo escribir en {place.mention}: está cerrado o me falta un permiso. "
            "Abre otra conversación con /charlar, o pide que me dejen escribir ahí."
        )
    except discord.HTTPException as error:
        log.info("thread %s is gone for everybody: %s", place.id, error)
