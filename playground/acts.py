"""What people do, as operations on JSON: the same for a test in this process and for another process.

Rule: every public coroutine of `Acts` is an operation that `control` serves at `POST /control/<name>`; it takes and
returns JSON values, with files in base64. What a person could not do raises `Impossible`.
Not covered: seeing (see `sight`); convenience such as finding a button by its label (see `people` and `views`).
"""

from __future__ import annotations

from typing import Any

from playground import forms, messages, rules, threads
from playground.components import SELECTS, Kind, walk
from playground.forms import Impossible, Resolved
from playground.interactions import Interactions
from playground.interactions import Kind as InteractionKind
from playground.messages import Draft
from playground.model import ChannelType, Json, MessageType
from playground.payloads import Payloads
from playground.permissions import Permission
from playground.refusals import Refusal
from playground.sight import Sight
from playground.world import World


class Acts:
    """Lets people act in *world*."""

    def __init__(self, world: World, payloads: Payloads, sight: Sight, interactions: Interactions) -> None:
        self.world = world
        self.payloads = payloads
        self.sight = sight
        self.interactions = interactions

    # -- messages ---------------------------------------------------------------------------------------------

    async def say(
        self, user: int, channel: int, content: str = "", files: list[Json] | None = None, reply_to: int | None = None
    ) -> Json:
        """Write a message, with files, as a reply if *reply_to* names a message."""
        author, place = self.sight.user(user), self.sight.channel_of(user, channel)
        try:
            rules.may_send(self.world, author.id, place)
        except Refusal as refusal:
            raise Impossible(f"{author.name} may not write in #{place.name} ({refusal})") from refusal
        if len(content) > rules.MAX_CONTENT or not (content.strip() or files):
            raise Impossible(f"a message has 1–{rules.MAX_CONTENT} characters or a file")
        if files:
            self.sight.need(user, place, Permission.ATTACH_FILES)
        draft = Draft(content=content.strip())
        draft.attachments = [forms.upload(self.world, author, place, one) for one in files or []]
        if reply_to is not None:
            original = self.sight.message_of(user, reply_to)
            draft.type, draft.reference = MessageType.REPLY, {"message_id": original.id, "channel_id": place.id}
        return self.sight.view(messages.post(self.world, place, author.id, draft))

    async def edit(self, user: int, message: int, content: str) -> Json:
        """Change one's own message."""
        found = self.sight.message_of(user, message)
        if found.author_id != int(user):
            raise Impossible("only one's own messages can be edited")
        messages.edit(self.world, self.world.channels[found.channel_id], found, {"content": content.strip()})
        return self.sight.view(found)

    async def delete(self, user: int, message: int) -> None:
        """Delete one's own message, or another's as a moderator; dismiss an ephemeral one."""
        found = self.sight.message_of(user, message)
        channel = self.world.channels[found.channel_id]
        if found.author_id != int(user) and not found.ephemeral:
            self.sight.need(user, channel, Permission.MANAGE_MESSAGES)
        messages.delete(self.world, channel, found)

    async def react(self, user: int, message: int, emoji: str) -> None:
        """Add a reaction."""
        found = self.sight.message_of(user, message)
        channel = self.world.channels[found.channel_id]
        if found.ephemeral:
            raise Impossible("an ephemeral message takes no reactions")
        if emoji not in found.reactions:
            self.sight.need(user, channel, Permission.ADD_REACTIONS)
        messages.react(self.world, channel, found, int(user), emoji)

    async def unreact(self, user: int, message: int, emoji: str) -> None:
        """Take one's reaction back."""
        found = self.sight.message_of(user, message)
        messages.unreact(self.world, self.world.channels[found.channel_id], found, int(user), emoji)

    async def start_typing(self, user: int, channel: int) -> None:
        """Show that one is writing."""
        messages.start_typing(self.world, self.sight.channel_of(user, channel), int(user))

    # -- places -----------------------------------------------------------------------------------------------

    async def open_direct(self, user: int, other: int | None = None) -> Json:
        """The direct-message channel with the bot, or with somebody else."""
        return self.sight.place(self.world.direct_channel(int(user), int(other or self.world.bot.id)))

    async def start_thread(
        self,
        user: int,
        channel: int,
        name: str,
        *,
        private: bool = False,
        message: int | None = None,
        content: str = "",
    ) -> Json:
        """Start a thread in a channel, or from a message; in a forum, a post with *content*."""
        parent = self.sight.channel_of(user, channel)
        if parent.type == ChannelType.FORUM:
            self.sight.need(user, parent, Permission.SEND_MESSAGES)
            if not content.strip():
                raise Impossible("a post needs words")
            post = threads.start(self.world, parent, int(user), name, kind=ChannelType.PUBLIC_THREAD)
            messages.post(self.world, post, int(user), Draft(content=content.strip()), message_id=post.id)
            return self.sight.place(post)
        needed = Permission.CREATE_PRIVATE_THREADS if private else Permission.CREATE_PUBLIC_THREADS
        self.sight.need(user, parent, needed)
        origin = self.sight.message_of(user, message) if message is not None else None
        kind = ChannelType.PRIVATE_THREAD if private else ChannelType.PUBLIC_THREAD
        thread = threads.start(self.world, parent, int(user), name, kind=kind, from_message=origin)
        messages.announce_thread(self.world, parent, thread, int(user), origin)
        return self.sight.place(thread)

    async def update_thread(self, user: int, channel: int, changes: Json) -> Json:
        """Archive, lock, rename: `{"archived", "locked", "name"}`."""
        thread = self.sight.channel_of(user, channel)
        if thread.thread is None:
            raise Impossible(f"#{thread.name} is not a thread")
        if thread.thread.owner_id != int(user) or "locked" in changes:
            self.sight.need(user, thread, Permission.MANAGE_THREADS)
        threads.update(self.world, thread, changes)
        return self.sight.place(thread)

    async def invite(self, user: int, channel: int, guest: int) -> None:
        """Bring somebody into a thread."""
        thread = self.sight.channel_of(user, channel)
        self.sight.need(user, thread, Permission.SEND_MESSAGES_IN_THREADS)
        if threads.add_member(self.world, thread, int(guest)):
            messages.announce_member(self.world, thread, int(guest), int(user))

    async def leave_thread(self, user: int, channel: int) -> None:
        """Leave a thread."""
        threads.remove_member(self.world, self.sight.channel_of(user, channel), int(user))

    async def delete_channel(self, user: int, channel: int) -> None:
        """Delete a channel or a thread, as a moderator."""
        place = self.sight.channel_of(user, channel)
        self.sight.need(user, place, Permission.MANAGE_THREADS if place.is_thread else Permission.MANAGE_CHANNELS)
        self.world.remove_channel(place)

    # -- interactions -----------------------------------------------------------------------------------------

    async def slash(self, user: int, channel: int, line: str, options: Json | None = None) -> int:
        """Send a slash command (`datos subir`); returns the id of the interaction."""
        return await self._command(user, channel, line, options or {}, None)

    async def complete(self, user: int, channel: int, line: str, focused: str, options: Json | None = None) -> int:
        """Ask for suggestions while typing the option *focused*; returns the id of the interaction."""
        return await self._command(user, channel, line, options or {}, focused)

    async def _command(self, user: int, channel: int, line: str, options: Json, focused: str | None) -> int:
        author, place = self.sight.user(user), self.sight.channel_of(user, channel)
        command, path = forms.find_command(await self.sight.offered(user, channel), line)
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
        author = self.sight.user(user)
        kind = 3 if message is not None else 2
        if message is None:
            raise Impossible("commands on people are not part of the contract")
        target = self.sight.message_of(user, message)
        place = self.world.channels[target.channel_id]
        command = next((one for one in await self.sight.offered(user, place.id, kind) if one["name"] == name), None)
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
        author, source = self.sight.user(user), self.sight.message_of(user, message)
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
        author = self.sight.user(user)
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
