"""What people see, as operations on JSON.

Rule: every public coroutine is an operation (see `control`); it changes nothing. A person sees what their permissions
and Discord's rules let them see: ephemeral messages only their own, private threads only as a member.
Not covered: doing anything (see `acts`).
"""

from __future__ import annotations

from playground import messages
from playground.commands import Commands
from playground.forms import Impossible
from playground.interactions import Interaction, Interactions
from playground.model import Channel, Json, Message, User
from playground.payloads import Payloads
from playground.permissions import Permission
from playground.refusals import Refusal
from playground.world import World


class Sight:
    """Lets people look at *world*."""

    def __init__(self, world: World, payloads: Payloads, commands: Commands, interactions: Interactions) -> None:
        self.world = world
        self.payloads = payloads
        self.commands = commands
        self.interactions = interactions

    # -- finding things ---------------------------------------------------------------------------------------

    def user(self, user_id: int) -> User:
        return self.world.users[int(user_id)]

    def channel_of(self, user_id: int, channel_id: int) -> Channel:
        try:
            return self.world.channel_for(int(user_id), int(channel_id))
        except Refusal as refusal:
            raise Impossible(f"{self.user(user_id).name} does not see that channel ({refusal})") from refusal

    def message_of(self, user_id: int, message_id: int) -> Message:
        for channel in self.world.channels.values():
            message = channel.messages.get(int(message_id))
            if message and self.world.sees(int(user_id), message):
                return message
        raise Impossible(f"{self.user(user_id).name} does not see message {message_id}")

    def need(self, user_id: int, channel: Channel, permission: Permission) -> None:
        if not self.world.permissions(int(user_id), channel) & permission:
            raise Impossible(f"{self.user(user_id).name} lacks {permission.name} in #{channel.name}")

    # -- places and commands ----------------------------------------------------------------------------------

    async def channels(self, user: int, guild: int | None = None) -> list[Json]:
        """The channels and threads that a person sees."""
        found = [one for one in self.world.channels.values() if self.world.can_see(int(user), one)]
        return [self.place(one) for one in found if guild is None or one.guild_id == int(guild)]

    async def channel(self, user: int, channel: int) -> Json:
        """One channel or thread, as it is now."""
        return self.place(self.channel_of(user, channel))

    async def typing(self, user: int, channel: int) -> list[str]:
        """Who is writing in a channel now: names, for 10 s or until they send."""
        now = self.world.clock.now()
        place = self.channel_of(user, channel)
        return [self.world.users[who].name for who, at in place.typing if now - at < 10]

    async def offered(self, user: int, channel: int, kind: int = 1) -> list[Json]:
        """The commands that a person is shown in a channel (*kind* 1 slash, 2 on a person, 3 on a message)."""
        place = self.channel_of(user, channel)
        granted = self.world.permissions(int(user), place)
        if not granted & Permission.USE_APPLICATION_COMMANDS:
            return []
        shown = self.commands.offered(place.guild_id, kind)
        if place.is_dm:
            return shown
        allowed = []
        for one in shown:
            needed = int(one.get("default_member_permissions") or 0)
            closed = one.get("default_member_permissions") == "0" and not granted & Permission.ADMINISTRATOR
            if granted & needed == needed and not closed:
                allowed.append(one)
        return allowed

    # -- messages and answers ---------------------------------------------------------------------------------

    async def answer(self, user: int, interaction: int, timeout: float, followups: int = 0) -> Json:
        """How the bot answered, waited for at most *timeout* seconds; `state` says whether it did.

        *followups*: wait for so many of them instead.
        """
        found = self.interactions.by_id[int(interaction)]

        def settled() -> str | None:
            state = self.interactions.state(found)
            return None if state == "waiting" else state

        if followups:
            await self.world.until(lambda: len(found.followups) >= followups or None, timeout)
            return self._answer(found)
        left = found.created_at + self.interactions.acknowledge_within - self.world.clock.now()
        await self.world.until(settled, min(timeout, max(left, 0) + 0.05))
        return self._answer(found)

    def _answer(self, found: Interaction) -> Json:
        message = found.original
        return {
            "interaction": found.id,
            "user": found.user_id,
            "state": self.interactions.state(found),
            "callback": found.callback,
            "message": self.view(message) if message else None,
            "modal": found.modal,
            "choices": found.choices,
            "followups": [self.view(one) for one in found.followups],
            "seconds": self.world.clock.now() - found.created_at,
        }

    async def revision(self, since: int | None = None, timeout: float = 0.0) -> int:
        """The number of changes so far, a mark to wait from; with *since*, once there are more than that."""
        if since is not None:
            await self.world.until(lambda: self.world.revision > since or None, timeout)
        return self.world.revision

    async def changes(self, user: int, since: int, timeout: float = 0.0, channel: int | None = None) -> Json:
        """Messages that a person sees and that changed after revision *since*, oldest first; waits for one."""

        def changed() -> list[Message] | None:
            found = [
                one
                for one in self.world.changed_since(since)
                if (channel is None or one.channel_id == int(channel)) and self.world.sees(int(user), one)
            ]
            return sorted(found, key=lambda one: one.id) or None

        found = await self.world.until(changed, timeout)
        return {"revision": self.world.revision, "messages": [self.view(one) for one in found or []]}

    async def history(self, user: int, channel: int, limit: int = 50) -> list[Json]:
        """The last messages of a channel that a person sees, oldest first."""
        place = self.channel_of(user, channel)
        return [self.view(one) for one in messages.visible(self.world, place, int(user))[-limit:]]

    async def message(self, user: int, message: int, since: int = -1, timeout: float = 0.0) -> Json:
        """One message as it is now (deleted ones too); with *since*, once it changed after that revision."""
        for place in self.world.channels.values():
            if found := place.messages.get(int(message)):
                break
        else:
            raise Impossible(f"there is no message {message}")
        if found.visible_to not in (None, int(user)):
            raise Impossible(f"{self.user(user).name} does not see message {message}")
        await self.world.until(lambda: found if found.revision > since else None, timeout)
        return self.view(found)

    def view(self, message: Message) -> Json:
        """A message as people see it: the wire format plus what tests ask."""
        data = self.payloads.message(message)
        return data | {
            "deleted": message.deleted,
            "loading": message.loading,
            "ephemeral": message.ephemeral,
            "revision": message.revision,
            "created_at": message.created_at,
            "edited_at": message.edited_at,
            "notified": {
                "people": [self.world.users[one].name for one in message.mentions],
                "roles": len(message.mention_roles),
                "everyone": message.mention_everyone,
            },
            "history": [{"at": one.at, "text": one.text} for one in message.history],
        }

    def place(self, channel: Channel) -> Json:
        """A channel as people see it, with the names of a thread's members."""
        data = self.payloads.channel(channel)
        members = channel.thread.members if channel.thread else {}
        return data | {"members": [self.world.users[one].name for one in members if one in self.world.users]}
