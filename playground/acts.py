"""What people do and see, as operations on JSON: the same for a test in this process and for another process.

Rule: every public coroutine of `Acts` is an operation that `control` serves at `POST /control/<name>`; it takes and
returns JSON values, with files in base64. What a person could not do raises `Impossible`.
Not covered: convenience (finding a button by its label, waiting with a predicate): see `people` and `views`.
"""

from __future__ import annotations

from typing import Any

from playground import forms, messages, rules, threads
from playground.commands import Commands
from playground.components import SELECTS, Kind, walk
from playground.forms import Impossible, Resolved
from playground.interactions import Interaction, Interactions
from playground.interactions import Kind as InteractionKind
from playground.messages import Draft
from playground.model import Channel, ChannelType, Json, Message, MessageType, User
from playground.payloads import Payloads
from playground.permissions import Permission
from playground.refusals import Refusal
from playground.world import World


class Acts:
    """Lets people act in *world*."""

    def __init__(self, world: World, payloads: Payloads, commands: Commands, interactions: Interactions) -> None:
        self.world = world
        self.payloads = payloads
        self.commands = commands
        self.interactions = interactions

    # -- finding things ---------------------------------------------------------------------------------------

    def _user(self, user_id: int) -> User:
        return self.world.users[int(user_id)]

    def _channel(self, user_id: int, channel_id: int) -> Channel:
        try:
            return self.world.channel_for(int(user_id), int(channel_id))
        except Refusal as refusal:
            raise Impossible(f"{self._user(user_id).name} does not see that channel ({refusal})") from refusal

    def _message(self, user_id: int, message_id: int) -> Message:
        for channel in self.world.channels.values():
            message = channel.messages.get(int(message_id))
            if message and self.world.sees(int(user_id), message):
                return message
        raise Impossible(f"{self._user(user_id).name} does not see message {message_id}")

    def _need(self, user_id: int, channel: Channel, permission: Permission) -> None:
        if not self.world.permissions(int(user_id), channel) & permission:
            raise Impossible(f"{self._user(user_id).name} lacks {permission.name} in #{channel.name}")

    # -- messages ---------------------------------------------------------------------------------------------

    async def say(
        self, user: int, channel: int, content: str = "", files: list[Json] | None = None, reply_to: int | None = None
    ) -> Json:
        """Write a message, with files, as a reply if *reply_to* names a message."""
        author, place = self._user(user), self._channel(user, channel)
        try:
            rules.may_send(self.world, author.id, place)
        except Refusal as refusal:
            raise Impossible(f"{author.name} may not write in #{place.name} ({refusal})") from refusal
        if len(content) > rules.MAX_CONTENT or not (content.strip() or files):
            raise Impossible(f"a message has 1–{rules.MAX_CONTENT} characters or a file")
        if files:
            self._need(user, place, Permission.ATTACH_FILES)
        draft = Draft(content=content.strip())
        draft.attachments = [forms.upload(self.world, author, place, one) for one in files or []]
        if reply_to is not None:
            original = self._message(user, reply_to)
            draft.type, draft.reference = MessageType.REPLY, {"message_id": original.id, "channel_id": place.id}
        return self.view(messages.post(self.world, place, author.id, draft))

    async def edit(self, user: int, message: int, content: str) -> Json:
        """Change one's own message."""
        found = self._message(user, message)
        if found.author_id != int(user):
            raise Impossible("only one's own messages can be edited")
        messages.edit(self.world, self.world.channels[found.channel_id], found, {"content": content.strip()})
        return self.view(found)

    async def delete(self, user: int, message: int) -> None:
        """Delete one's own message, or another's as a moderator; dismiss an ephemeral one."""
        found = self._message(user, message)
        channel = self.world.channels[found.channel_id]
        if found.author_id != int(user) and not found.ephemeral:
            self._need(user, channel, Permission.MANAGE_MESSAGES)
        messages.delete(self.world, channel, found)

    async def react(self, user: int, message: int, emoji: str) -> None:
        """Add a reaction."""
        found = self._message(user, message)
        channel = self.world.channels[found.channel_id]
        if found.ephemeral:
            raise Impossible("an ephemeral message takes no reactions")
        if emoji not in found.reactions:
            self._need(user, channel, Permission.ADD_REACTIONS)
        messages.react(self.world, channel, found, int(user), emoji)

    async def unreact(self, user: int, message: int, emoji: str) -> None:
        """Take one's reaction back."""
        found = self._message(user, message)
        messages.unreact(self.world, self.world.channels[found.channel_id], found, int(user), emoji)

    async def start_typing(self, user: int, channel: int) -> None:
        """Show that one is writing."""
        messages.start_typing(self.world, self._channel(user, channel), int(user))

    async def typing(self, user: int, channel: int) -> list[str]:
        """Who is writing in a channel now: names, for 10 s or until they send."""
        now = self.world.clock.now()
        place = self._channel(user, channel)
        return [self.world.users[who].name for who, at in place.typing if now - at < 10]

    # -- places -----------------------------------------------------------------------------------------------

    async def open_direct(self, user: int, other: int | None = None) -> Json:
        """The direct-message channel with the bot, or with somebody else."""
        return self.place(self.world.direct_channel(int(user), int(other or self.world.bot.id)))

    async def start_thread(
        self, user: int, channel: int, name: str, private: bool = False, message: int | None = None
    ) -> Json:
        """Start a thread in a channel, or from a message."""
        parent = self._channel(user, channel)
        needed = Permission.CREATE_PRIVATE_THREADS if private else Permission.CREATE_PUBLIC_THREADS
        self._need(user, parent, needed)
        origin = self._message(user, message) if message is not None else None
        kind = ChannelType.PRIVATE_THREAD if private else ChannelType.PUBLIC_THREAD
        thread = threads.start(self.world, parent, int(user), name, kind=kind, from_message=origin)
        messages.announce_thread(self.world, parent, thread, int(user), origin)
        return self.place(thread)

    async def update_thread(self, user: int, channel: int, changes: Json) -> Json:
        """Archive, lock, rename: `{"archived", "locked", "name"}`."""
        thread = self._channel(user, channel)
        if thread.thread is None:
            raise Impossible(f"#{thread.name} is not a thread")
        if thread.thread.owner_id != int(user) or "locked" in changes:
            self._need(user, thread, Permission.MANAGE_THREADS)
        threads.update(self.world, thread, changes)
        return self.place(thread)

    async def invite(self, user: int, channel: int, guest: int) -> None:
        """Bring somebody into a thread."""
        thread = self._channel(user, channel)
        self._need(user, thread, Permission.SEND_MESSAGES_IN_THREADS)
        if threads.add_member(self.world, thread, int(guest)):
            messages.announce_member(self.world, thread, int(guest), int(user))

    async def leave_thread(self, user: int, channel: int) -> None:
        """Leave a thread."""
        threads.remove_member(self.world, self._channel(user, channel), int(user))

    async def delete_channel(self, user: int, channel: int) -> None:
        """Delete a channel or a thread, as a moderator."""
        place = self._channel(user, channel)
        self._need(user, place, Permission.MANAGE_THREADS if place.is_thread else Permission.MANAGE_CHANNELS)
        self.world.remove_channel(place)

    async def channels(self, user: int, guild: int | None = None) -> list[Json]:
        """The channels and threads that a person sees."""
        found = [one for one in self.world.channels.values() if self.world.can_see(int(user), one)]
        return [self.place(one) for one in found if guild is None or one.guild_id == int(guild)]

    async def channel(self, user: int, channel: int) -> Json:
        """One channel or thread, as it is now."""
        return self.place(self._channel(user, channel))

    # -- interactions -----------------------------------------------------------------------------------------

    async def offered(self, user: int, channel: int, kind: int = 1) -> list[Json]:
        """The commands that a person is shown in a channel (*kind* 1 slash, 2 on a person, 3 on a message)."""
        place = self._channel(user, channel)
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

    async def slash(self, user: int, channel: int, line: str, options: Json | None = None) -> int:
        """Send a slash command (`datos subir`); returns the id of the interaction."""
        return await self._command(user, channel, line, options or {}, None)

    async def complete(self, user: int, channel: int, line: str, focused: str, options: Json | None = None) -> int:
        """Ask for suggestions while typing the option *focused*; returns the id of the interaction."""
        return await self._command(user, channel, line, options or {}, focused)

    async def _command(self, user: int, channel: int, line: str, options: Json, focused: str | None) -> int:
        author, place = self._user(user), self._channel(user, channel)
        command, path = forms.find_command(await self.offered(user, channel), line)
        if focused is not None:
            level = path[-1] if path else command
            option: Json = next((one for one in level["options"] if one["name"] == focused), {})
            if not option.get("autocomplete"):
                raise Impossible(f"/{line} does not complete {focused!r}")
            options = {focused: ""} | options
        resolved = Resolved(self.world, self.payloads, place, author)
        data = forms.command_data(command, path, options, resolved, focused)
        kind = InteractionKind.COMMAND if focused is None else InteractionKind.AUTOCOMPLETE
        name = " ".join([command["name"], *(one["name"] for one in path)])
        return self.interactions.create(kind, author, place, data, name=name).id

    async def context_menu(self, user: int, name: str, message: int | None = None, person: int | None = None) -> int:
        """Use a command on a message or on a person; returns the id of the interaction."""
        author = self._user(user)
        kind = 3 if message is not None else 2
        if message is None:
            raise Impossible("commands on people are not part of the contract")
        target = self._message(user, message)
        place = self.world.channels[target.channel_id]
        command = next((one for one in await self.offered(user, place.id, kind) if one["name"] == name), None)
        if command is None:
            raise Impossible(f"there is no command {name!r} on messages here")
        data: Json = {
            "id": command["id"],
            "name": name,
            "type": kind,
            "target_id": str(target.id),
            "resolved": {"messages": {str(target.id): self.payloads.message(target)}},
        }
        if "guild_id" in command:
            data["guild_id"] = command["guild_id"]
        return self.interactions.create(InteractionKind.COMMAND, author, place, data, name=name).id

    async def press(self, user: int, message: int, custom_id: str, values: list[Any] | None = None) -> int:
        """Press a button, or choose *values* in a list; returns the id of the interaction."""
        author, source = self._user(user), self._message(user, message)
        place = self.world.channels[source.channel_id]
        found = next((one for _, one in walk(source.components) if one.get("custom_id") == custom_id), None)
        if found is None or source.loading:
            raise Impossible(f"message {message} has no component {custom_id!r}")
        if found.get("disabled"):
            raise Impossible(f"{found.get('label') or custom_id!r} is disabled")
        data: Json = {"custom_id": custom_id, "component_type": found["type"], "id": found.get("id", 0)}
        if found["type"] in SELECTS:
            resolved = Resolved(self.world, self.payloads, place, author)
            data["values"] = forms.pick(found, values or [], resolved)
            data |= {"resolved": resolved.data} if resolved.data else {}
        elif found["type"] != Kind.BUTTON:
            raise Impossible(f"{custom_id!r} cannot be pressed")
        return self.interactions.create(
            InteractionKind.COMPONENT, author, place, data, name=custom_id, source=source
        ).id

    async def submit(self, user: int, interaction: int, values: Json) -> int:
        """Send the modal that *interaction* opened; returns the id of the new interaction."""
        opener = self.interactions.by_id[int(interaction)]
        if opener.modal is None or opener.user_id != int(user):
            raise Impossible("there is no open form")
        author = self._user(user)
        resolved = Resolved(self.world, self.payloads, opener.channel, author)
        data = forms.modal_data(opener.modal, values, resolved)
        created = self.interactions.create(
            InteractionKind.MODAL,
            author,
            opener.channel,
            data,
            name=opener.modal["custom_id"],
            source=opener.source,
            parent=opener,
        )
        opener.modal = None
        return created.id

    async def answer(self, user: int, interaction: int, timeout: float) -> Json:
        """How the bot answered, waited for at most *timeout* seconds; `state` says whether it did."""
        found = self.interactions.by_id[int(interaction)]

        def settled() -> str | None:
            state = self.interactions.state(found)
            return None if state == "waiting" else state

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

    # -- seeing -----------------------------------------------------------------------------------------------

    async def revision(self) -> int:
        """The number of changes so far; a mark to wait from."""
        return self.world.revision

    async def changes(self, user: int, since: int, timeout: float = 0.0, channel: int | None = None) -> Json:
        """Messages that a person sees and that changed after revision *since*, oldest first; waits for one."""

        def changed() -> list[Message] | None:
            found = [
                message
                for place in self.world.channels.values()
                if channel is None or place.id == int(channel)
                for message in place.messages.values()
                if message.revision > since and self.world.sees(int(user), message)
            ]
            return sorted(found, key=lambda one: one.id) or None

        found = await self.world.until(changed, timeout)
        return {"revision": self.world.revision, "messages": [self.view(one) for one in found or []]}

    async def history(self, user: int, channel: int, limit: int = 50) -> list[Json]:
        """The last messages of a channel that a person sees, oldest first."""
        place = self._channel(user, channel)
        return [self.view(one) for one in messages.visible(self.world, place, int(user))[-limit:]]

    async def message(self, user: int, message: int, since: int = -1, timeout: float = 0.0) -> Json:
        """One message as it is now (deleted ones too); with *since*, once it changed after that revision."""
        for place in self.world.channels.values():
            if found := place.messages.get(int(message)):
                break
        else:
            raise Impossible(f"there is no message {message}")
        if found.visible_to not in (None, int(user)):
            raise Impossible(f"{self._user(user).name} does not see message {message}")
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
            "history": [
                {"at": one.at, "content": one.content, "components": one.components, "embeds": one.embeds}
                for one in message.history
            ],
        }

    def place(self, channel: Channel) -> Json:
        """A channel as people see it, with the names of a thread's members."""
        data = self.payloads.channel(channel)
        members = channel.thread.members if channel.thread else {}
        return data | {"members": [self.world.users[one].name for one in members if one in self.world.users]}
