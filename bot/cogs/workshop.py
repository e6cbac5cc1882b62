"""A person's workshop: the private thread «Taller de …» where everything of theirs appears.

Rule of this file: made on first use in the channel where they asked, found again by its id, opened again when it was
archived, made anew when it was deleted. Where the bot may not make private threads it uses direct messages, and where
those are closed it says so; a private thing is never posted in public.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Sequence
from typing import Any

import discord

from bot.cogs.actions import owner_of
from bot.errors import NotAllowed
from bot.records import Owner
from bot.services import Services

log = logging.getLogger(__name__)

Workshop = discord.Thread | discord.DMChannel

WELCOME = (
    "Este es tu taller, {mention}: aquí verás tus datos, tus entrenamientos y tus modelos. "
    "Solo lo ves tú (y quien modera los hilos de este servidor)."
)
WELCOME_DM = (
    "En **{server}** no puedo abrir hilos privados, así que tu taller está aquí, en mensajes directos: "
    "verás tus datos, tus entrenamientos y tus modelos."
)


async def workshop_for(services: Services, interaction: discord.Interaction[Any]) -> Workshop:
    """Where private things of the person behind `interaction` go. Raises NotAllowed when there is no such place."""
    if isinstance(interaction.channel, discord.DMChannel):
        return interaction.channel
    owner = owner_of(interaction)
    async with interaction.client.lock("workshop", owner):
        known = await services.store.workshop(owner)
        if known is not None and (place := await _open(interaction.client, known)) is not None:
            if isinstance(place, discord.Thread) and place.id != interaction.channel_id:
                with contextlib.suppress(discord.HTTPException):
                    await place.add_user(interaction.user)  # who left it would not find what we put there
            return place
        return await _make(services, interaction, owner)


async def _open(client: discord.Client, channel_id: int) -> Workshop | None:
    """The workshop with this id, ready to be written in; None when it is gone or closed to the bot."""
    channel: object = client.get_channel(channel_id)
    try:
        if channel is None:
            channel = await client.fetch_channel(channel_id)
        if isinstance(channel, discord.Thread) and channel.archived:
            channel = await channel.edit(archived=False)
    except (discord.NotFound, discord.Forbidden):
        return None
    return channel if isinstance(channel, Workshop) else None


async def _make(services: Services, interaction: discord.Interaction[Any], owner: Owner) -> Workshop:
    place: Workshop | None = await _make_thread(interaction)
    if place is None:
        place = await _make_dm(services, interaction)
        await interaction.client.make_home(owner.user_id, owner.guild_id)
    await services.store.set_workshop(owner, place.id)
    return place


async def _make_thread(interaction: discord.Interaction[Any]) -> discord.Thread | None:
    channel = interaction.channel
    parent = channel.parent if isinstance(channel, discord.Thread) else channel
    if not isinstance(parent, discord.TextChannel):
        return None
    # Discord archives it after a week (10 080 min) without a message, which is the longest it allows.
    name = f"Taller de {interaction.user.display_name}"[:100]
    try:
        thread = await parent.create_thread(
            name=name, type=discord.ChannelType.private_thread, invitable=False, auto_archive_duration=10_080
        )
    except discord.HTTPException as error:  # no permission, or the server is full of threads
        log.info("no private thread in channel %s: %s", parent.id, error)
        return None
    try:
        await thread.add_user(interaction.user)
        await thread.send(WELCOME.format(mention=interaction.user.mention))
    except discord.HTTPException as error:  # allowed to make it, not to use it
        log.info("thread %s cannot be used: %s", thread.id, error)
        with contextlib.suppress(discord.HTTPException):
            await thread.delete()
        return None
    return thread


async def _make_dm(services: Services, interaction: discord.Interaction[Any]) -> discord.DMChannel:
    if not (await services.store.policy(owner_of(interaction).guild_id)).direct:
        raise NotAllowed(
            "Aquí no puedo abrir hilos privados, y este servidor no usa mensajes directos conmigo, así que no tengo "
            "dónde darte lo tuyo sin que lo vean los demás.",
            hint="Prueba en otro canal, o pide a quien administra el servidor que me deje crear hilos privados.",
        )
    server = discord.utils.escape_markdown(interaction.guild.name) if interaction.guild else "ese servidor"
    try:
        dm = await interaction.user.create_dm()
        await dm.send(WELCOME_DM.format(server=server))
    except discord.HTTPException as error:
        raise NotAllowed(
            "Aquí no puedo abrir hilos privados y tus mensajes directos están cerrados, así que no tengo dónde darte "
            "lo tuyo sin que lo vean los demás.",
            hint="Permite mensajes directos de este servidor, o pide que me dejen crear hilos privados en este canal.",
        ) from error
    return dm


async def acknowledge(services: Services, interaction: discord.Interaction[Any]) -> None:
    """Say «thinking…» within Discord's 3 s: openly inside the person's own workshop, else for their eyes only."""
    inside = interaction.guild_id is None or await services.store.workshop(owner_of(interaction)) == (
        interaction.channel_id
    )
    await interaction.response.defer(ephemeral=not inside, thinking=True)


async def deliver(
    services: Services,
    interaction: discord.Interaction[Any],
    view: discord.ui.LayoutView,
    *,
    files: Sequence[discord.File] = (),
    note: str = "Te lo he dejado en tu taller: {place}",
) -> discord.Message:
    """Post a private card in the workshop, after `acknowledge`; asked elsewhere, answer with the way there.

    `note`: that answer; `{place}` becomes a link to the card.
    """
    place = await workshop_for(services, interaction)
    if place.id == interaction.channel_id:
        return await interaction.followup.send(view=view, files=list(files), wait=True)
    message = await place.send(view=view, files=list(files))
    await interaction.edit_original_response(content=note.format(place=message.jump_url))
    return message
