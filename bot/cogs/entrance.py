"""The door: before anything is done for somebody, who they are in this server and whether it may be done here.

Rule of this file: every interaction comes through `enter` (`Afina.admit`), every message through `enter_message`; so
no command, button, form, menu or message needs to remember it. What answers privately and is about the person alone
(`/limites`, `/privacidad`, `/misdatos`) is open everywhere.

In direct messages the server is the one for which they are the person's workshop (`owner_of`), or where the
conversation was opened: its limits hold, its staff decides whether direct messages are used at all, and who is no
longer in it is not served.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import discord
from discord import app_commands

from bot.errors import NotAllowed
from bot.policy import Policy, Purpose
from bot.records import Owner
from bot.roles import Role, role_of
from bot.store import StoreUnavailable

if TYPE_CHECKING:
    from bot.client import Afina
    from bot.services import Services

log = logging.getLogger(__name__)

Interaction = discord.Interaction[Any]

ASKING = 1.0  # seconds for Discord to say who somebody is; an interaction must be acknowledged within 3

# What each command (by its first word) is for; None: open everywhere.
COMMANDS: dict[str, Purpose | None] = {
    "preguntar": Purpose.QUESTIONS,
    "Preguntar al curso": Purpose.QUESTIONS,
    "datos": Purpose.WORK,
    "afinar": Purpose.WORK,
    "entrenamientos": Purpose.WORK,
    "modelos": Purpose.WORK,
    "charlar": Purpose.WORK,
    "comparar": Purpose.WORK,
    "comparar_ranking": Purpose.WORK,
    "instrucciones": Purpose.WORK,
    "parametros": Purpose.WORK,
    "modelo": Purpose.WORK,
    "reiniciar": None,  # one can always end what one has
    "cerrar": None,
    "guia": None,
    "curso": None,
    "ayuda": None,
    "limites": None,
    "privacidad": None,
    "misdatos": None,
    "admin": None,
}

# The same for buttons, by the cog in their `custom_id` («afina:<cog>:…»).
BUTTONS: dict[str, Purpose | None] = {
    "ask": Purpose.QUESTIONS,
    "data": Purpose.WORK,
    "train": Purpose.WORK,
    "job": Purpose.WORK,
    "model": Purpose.WORK,
    "chat": Purpose.WORK,
    "compare": Purpose.WORK,
    "course": None,
    "mine": None,
    "admin": None,
    "any": None,
}

_WORDS = {Purpose.QUESTIONS: "contesto preguntas", Purpose.WORK: "trabajo con datos, entrenamientos y charlas"}


async def enter(client: Afina, interaction: Interaction) -> None:
    """Raises NotAllowed where this may not be done; remembers what role the person has."""
    services = client.services
    if interaction.guild_id is None:
        await _enter_directly(client, interaction)
        return
    owner = Owner(guild_id=interaction.guild_id, user_id=interaction.user.id)
    policy = await services.store.policy(owner.guild_id)
    if isinstance(interaction.user, discord.Member):
        await _see(services, owner, policy, interaction.user, manages=interaction.permissions.manage_guild)
    purpose = _purpose(interaction)
    if purpose is None or policy.allows(purpose, _places(interaction.channel, interaction.channel_id)):
        return
    if await services.store.workshop(owner) == interaction.channel_id:
        return  # made when the channel was allowed; what is theirs stays within reach
    raise NotAllowed(elsewhere(policy, purpose), hint="Prueba allí.")


async def enter_message(services: Services, message: discord.Message, owner: Owner, purpose: Purpose | None) -> None:
    """The same for a message in a server. Raises NotAllowed."""
    policy = await services.store.policy(owner.guild_id)
    if isinstance(message.author, discord.Member):
        manages = message.author.guild_permissions.manage_guild
        await _see(services, owner, policy, message.author, manages=manages)
    if purpose is not None and not policy.allows(purpose, _places(message.channel, message.channel.id)):
        raise NotAllowed(elsewhere(policy, purpose), hint="")


async def enter_direct_message(client: Afina, owner: Owner) -> None:
    """The same for a direct message; `owner`: who writes, from the server where that conversation was opened."""
    policy = await client.services.store.policy(owner.guild_id)
    if not policy.direct:
        raise _no_direct_messages()
    await member_of(client, owner)


async def member_of(client: Afina, owner: Owner) -> discord.Member | None:
    """Somebody in their server, asked of Discord now; None: it does not say, and what was last seen of them holds.

    Raises NotAllowed when they left it, or the bot did.
    """
    gone = NotAllowed(
        "Ya no estás en el servidor donde tenías lo tuyo.", hint="Con /misdatos puedes llevártelo o borrarlo."
    )
    guild = client.get_guild(owner.guild_id)
    if guild is None:  # not (yet) known after a start
        if await client.services.store.has_departed(owner.guild_id):
            raise gone
        return None
    try:
        async with asyncio.timeout(ASKING):
            return await guild.fetch_member(owner.user_id)
    except discord.NotFound:
        raise gone from None
    except (discord.HTTPException, TimeoutError) as error:
        log.info("member %s of %s cannot be looked up: %s", owner.user_id, owner.guild_id, error)
        return None


async def is_open(services: Services, channel: discord.Thread | discord.DMChannel, guild_id: int) -> bool:
    """Whether conversations go on in a place, as its server wants it now."""
    policy = await services.store.policy(guild_id)
    if isinstance(channel, discord.DMChannel):
        return policy.direct
    return policy.allows(Purpose.WORK, _places(channel, channel.id))


def elsewhere(policy: Policy, purpose: Purpose) -> str:
    """Where it may be done instead."""
    places = ", ".join(f"<#{one}>" for one in policy.channels.get(purpose, ())[:10])
    return f"En este canal no {_WORDS[purpose]}; aquí sí: {places}."


async def role_here(services: Services, interaction: Interaction) -> Role:
    """What the person behind an interaction is in its server, now; a member outside of servers."""
    if interaction.guild_id is None or not isinstance(interaction.user, discord.Member):
        return Role.MEMBER
    policy = await services.store.policy(interaction.guild_id)
    held = [role.id for role in interaction.user.roles]
    return role_of(policy.roles, held, manages=interaction.permissions.manage_guild)


async def must_be(services: Services, interaction: Interaction, role: Role) -> int:
    """The server, for somebody who is at least `role` in it. Raises NotAllowed."""
    if (await role_here(services, interaction)).rank < role.rank or interaction.guild_id is None:
        raise NotAllowed
    return interaction.guild_id


async def _enter_directly(client: Afina, interaction: Interaction) -> None:
    """Direct messages: the person's home server decides; somebody without one asks the course that ships with Afina."""
    home = client.homes.get(interaction.user.id)
    if home is None:
        return
    services = client.services
    policy = await services.store.policy(home)
    if not policy.direct and _purpose(interaction) is not None:
        raise _no_direct_messages()
    owner = Owner(guild_id=home, user_id=interaction.user.id)
    try:
        member = await member_of(client, owner)
    except NotAllowed:
        if _purpose(interaction) is None:
            return  # what is kept about somebody is theirs to take and to erase, also afterwards
        raise
    if member is not None:
        await _see(services, owner, policy, member, manages=member.guild_permissions.manage_guild)


async def _see(services: Services, owner: Owner, policy: Policy, member: discord.Member, *, manages: bool) -> None:
    role = role_of(policy.roles, [one.id for one in member.roles], manages=manages)
    try:
        await services.store.set_role(owner, role)
    except StoreUnavailable:
        log.warning("the role of %s could not be kept", owner.user_id)


def _purpose(interaction: Interaction) -> Purpose | None:
    command = interaction.command
    if isinstance(command, app_commands.Command):
        return COMMANDS.get((command.root_parent or command).name, Purpose.WORK)
    if command is not None:
        return COMMANDS.get(command.name, Purpose.WORK)
    data: Mapping[str, Any] = interaction.data or {}
    parts = str(data.get("custom_id", "")).split(":")
    return BUTTONS.get(parts[1], Purpose.WORK) if len(parts) > 1 and parts[0] == "afina" else None


def _places(channel: object, channel_id: int | None) -> list[int | None]:
    """The channel, and the one that it is a thread of."""
    return [channel_id, channel.parent_id if isinstance(channel, discord.Thread) else None]


def _no_direct_messages() -> NotAllowed:
    return NotAllowed(
        "En tu servidor no se usan los mensajes directos conmigo.", hint="Escríbeme en uno de sus canales."
    )
