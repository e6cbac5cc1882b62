"""Interactions: what a person does with a command, a button, a list or a form, and how the bot answers.

Rule: an interaction is acknowledged once, within 3 s; its token works for 15 minutes; the first follow-up of a
deferred answer is that answer. What only one person may see is kept as an ephemeral message.
Not covered: entitlements, activities, user-installed applications.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Literal

from playground import refusals
from playground.model import Channel, Guild, Json, Message, User
from playground.payloads import Payloads
from playground.world import Event, World

ACKNOWLEDGE_WITHIN = 3.0  # seconds
TOKEN_LIFE = 15 * 60.0  # seconds


class Kind(IntEnum):
    COMMAND = 2
    COMPONENT = 3
    AUTOCOMPLETE = 4
    MODAL = 5


class Callback(IntEnum):
    MESSAGE = 4
    DEFERRED_MESSAGE = 5
    DEFERRED_UPDATE = 6
    UPDATE = 7
    CHOICES = 8
    MODAL = 9


State = Literal["waiting", "answered", "expired"]


@dataclass(kw_only=True, eq=False)
class Interaction:
    id: int
    token: str
    kind: int
    user_id: int
    channel: Channel
    created_at: float
    name: str  # of the command, or custom_id
    source: Message | None = None  # the message whose component was used
    parent: Interaction | None = None  # of a modal: what opened it
    callback: int | None = None  # how it was answered
    original: Message | None = None  # the answer, or the message that the component belongs to
    deferred: bool = False  # the answer is still «thinking…»
    modal: Json | None = None
    choices: list[Json] | None = None
    followups: list[Message] = field(default_factory=list)
    expired: bool = False  # by a fault
    metadata: Json = field(default_factory=dict)


class Interactions:
    """Creates interactions and finds them again by token."""

    def __init__(self, world: World, payloads: Payloads, acknowledge_within: float = ACKNOWLEDGE_WITHIN) -> None:
        self.world = world
        self.payloads = payloads
        self.acknowledge_within = acknowledge_within
        self.by_token: dict[str, Interaction] = {}
        self.by_id: dict[int, Interaction] = {}

    def create(
        self,
        kind: int,
        user: User,
        channel: Channel,
        data: Json,
        *,
        name: str,
        source: Message | None = None,
        parent: Interaction | None = None,
    ) -> Interaction:
        """Start an interaction and dispatch it to the bot."""
        interaction = Interaction(
            id=self.world.clock.snowflake(),
            token=secrets.token_urlsafe(48),
            kind=kind,
            user_id=user.id,
            channel=channel,
            created_at=self.world.clock.now(),
            name=name,
            source=source,
            parent=parent,
        )
        interaction.metadata = self._metadata(interaction)
        self.by_token[interaction.token] = interaction
        self.by_id[interaction.id] = interaction
        payload = self._payload(interaction, user, data)
        event = Event(name="INTERACTION_CREATE", guild_id=channel.guild_id, channel=channel, subject=payload)
        self.world.emit(event)
        return interaction

    def state(self, interaction: Interaction) -> State:
        """Whether the bot has answered, still may, or came too late."""
        if interaction.callback is not None:
            return "answered"
        late = self.world.clock.now() - interaction.created_at > self.acknowledge_within
        return "expired" if late or interaction.expired else "waiting"

    def expire_all(self) -> None:
        for interaction in self.by_token.values():
            interaction.expired = True
        self.world.touch()

    # -- for the routes ---------------------------------------------------------------------------------------

    def to_acknowledge(self, interaction_id: int, token: str) -> Interaction:
        """The interaction of a callback, or the refusal: 10062 unknown or too late, 40060 already answered."""
        interaction = self.by_token.get(token)
        if interaction is None or interaction.id != interaction_id:
            raise refusals.unknown_interaction()
        if interaction.callback is not None:
            raise refusals.already_acknowledged()
        if self.state(interaction) == "expired":
            raise refusals.unknown_interaction()
        return interaction

    def to_follow(self, token: str) -> Interaction:
        """The interaction behind a webhook token: 50027 after 15 min, 10015 before the acknowledgement."""
        interaction = self.by_token.get(token)
        if interaction is None:
            raise refusals.unknown_webhook()
        if interaction.expired or self.world.clock.now() - interaction.created_at > TOKEN_LIFE:
            raise refusals.invalid_webhook_token()
        if interaction.callback is None:
            raise refusals.unknown_webhook()
        return interaction

    # -- JSON -------------------------------------------------------------------------------------------------

    def _metadata(self, interaction: Interaction) -> Json:
        user = self.world.users[interaction.user_id]
        data: Json = {
            "id": str(interaction.id),
            "type": int(interaction.kind),
            "user": self.payloads.user(user),
            "authorizing_integration_owners": self._owners(interaction.channel),
        }
        if interaction.kind == Kind.COMMAND:
            data["name"] = interaction.name
        if interaction.kind == Kind.COMPONENT and interaction.source:
            data["interacted_message_id"] = str(interaction.source.id)
        if interaction.kind == Kind.MODAL and interaction.parent:
            data["triggering_interaction_metadata"] = interaction.parent.metadata
        return data

    def _owners(self, channel: Channel) -> Json:
        return {"0": str(channel.guild_id or 0)}

    def _payload(self, interaction: Interaction, user: User, data: Json) -> Json:
        channel, world = interaction.channel, self.world
        guild = world.guild_of(channel)
        payload: Json = {
            "id": str(interaction.id),
            "application_id": str(world.bot.id),
            "type": int(interaction.kind),
            "token": interaction.token,
            "version": 1,
            "data": data,
            "channel_id": str(channel.id),
            "channel": self.payloads.channel(channel) | {"permissions": str(int(world.permissions(user.id, channel)))},
            "app_permissions": str(int(world.permissions(world.bot.id, channel))),
            "locale": "es-ES",
            "entitlements": [],
            "entitlement_sku_ids": [],
            "authorizing_integration_owners": self._owners(channel),
            "context": 0 if guild else 1,
            "attachment_size_limit": guild.attachment_limit if guild else 10 * 1024 * 1024,
        }
        payload |= self._who(user, channel, guild)
        if interaction.source:
            payload["message"] = self.payloads.message(interaction.source)
        return payload

    def _who(self, user: User, channel: Channel, guild: Guild | None) -> Json:
        if guild is None:
            return {"user": self.payloads.user(user)}
        return {
            "guild_id": str(guild.id),
            "guild": {"id": str(guild.id), "locale": "es-ES", "features": []},
            "guild_locale": "es-ES",
            "member": self.payloads.interaction_member(guild, user.id, channel),
        }
