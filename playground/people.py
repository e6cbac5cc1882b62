"""People: the API with which a test or a demo acts on the loopback Discord.

Rule: a person acts through a transport with one method, `call(operation, **JSON)`; in this process it goes straight
to `acts`, in another one over HTTP (`remote`). Waiting starts at the person's last act, so that nothing is missed
in between and nothing old is found.
Not covered: setting up servers and people (see `place`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from typing import Any, Protocol

from playground.answers import Answer
from playground.forms import Impossible
from playground.model import ChannelType, Json
from playground.reading import DEFAULT_TIMEOUT, FileLike, as_file, matches, plain
from playground.views import Message, NoAnswer


class Transport(Protocol):
    """How operations reach the playground."""

    async def call(self, operation: str, /, **arguments: Any) -> Any: ...

    async def download(self, url: str) -> bytes: ...


class Channel:
    """A channel, thread or direct-message channel, as it was when it was asked for."""

    def __init__(self, data: Json) -> None:
        self.data = data

    def __repr__(self) -> str:
        return f"<Channel {self.id} {self.name!r} type={self.data['type']}>"

    @property
    def id(self) -> int:
        return int(self.data["id"])

    @property
    def name(self) -> str:
        return str(self.data.get("name", ""))

    @property
    def parent_id(self) -> int | None:
        return int(self.data["parent_id"]) if self.data.get("parent_id") else None

    @property
    def is_thread(self) -> bool:
        return "thread_metadata" in self.data

    @property
    def private(self) -> bool:
        """A private thread or a direct-message channel."""
        return self.data["type"] in (ChannelType.PRIVATE_THREAD, ChannelType.DM)

    @property
    def archived(self) -> bool:
        return bool(self.data.get("thread_metadata", {}).get("archived"))

    @property
    def locked(self) -> bool:
        return bool(self.data.get("thread_metadata", {}).get("locked"))

    @property
    def members(self) -> list[str]:
        """Names of a thread's members."""
        return list(self.data["members"])


class Person:
    """Somebody who uses Discord. `channel`: where they act when nothing else is said."""

    longest_poll = 20.0  # seconds that one waiting call may last

    def __init__(self, transport: Transport, user_id: int, name: str, channel: int | None) -> None:
        self._transport = transport
        self.id = user_id
        self.name = name
        self.here = channel
        self._mark = 0  # world revision at the last act

    def __repr__(self) -> str:
        return f"<Person {self.name}>"

    @property
    def mention(self) -> str:
        return f"<@{self.id}>"

    def at(self, channel: Channel | Message | int) -> Person:
        """Act in *channel* from now on."""
        self.here = _channel_id(channel)
        return self

    # -- the two ways through the transport -------------------------------------------------------------------

    async def look(self, operation: str, **arguments: Any) -> Any:
        """An operation that only looks: waiting still starts at the last act."""
        return await self._transport.call(operation, user=self.id, **arguments)

    async def act(self, operation: str, **arguments: Any) -> Any:
        """An operation that does something: what comes after it is new."""
        self._mark = await self._transport.call("revision")
        return await self._transport.call(operation, user=self.id, **arguments)

    async def interact(self, operation: str, timeout: float, **arguments: Any) -> Answer:
        """Start an interaction and wait until the bot acknowledges it."""
        interaction = await self.act(operation, **arguments)
        data = await self.look("answer", interaction=interaction, timeout=timeout)
        if data["state"] != "answered":
            raise NoAnswer(f"the bot did not answer {operation} of {self.name} in time: {arguments}")
        return Answer(self, data)

    async def download(self, url: str) -> bytes:
        """Fetch an attachment."""
        return await self._transport.download(url)

    def _place(self, channel: Channel | Message | int | None) -> int:
        wanted = _channel_id(channel) if channel is not None else self.here
        if wanted is None:
            raise Impossible(f"{self.name} is in no channel: say where")
        return wanted

    # -- acting -----------------------------------------------------------------------------------------------

    async def say(
        self,
        content: str = "",
        *,
        channel: Channel | Message | int | None = None,
        reply_to: Message | None = None,
        files: Sequence[FileLike] = (),
    ) -> Message:
        """Write a message."""
        data = await self.act(
            "say",
            channel=self._place(channel),
            content=content,
            files=[as_file(one) for one in files],
            reply_to=reply_to.id if reply_to else None,
        )
        return Message(self, data)

    async def attach(
        self, *files: FileLike, content: str = "", channel: Channel | Message | int | None = None
    ) -> Message:
        """Write a message with files."""
        return await self.say(content, channel=channel, files=files)

    async def slash(
        self,
        line: str,
        /,
        *,
        channel: Channel | Message | int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
        **options: Any,
    ) -> Answer:
        """Send a slash command; options by name: text, numbers, people, channels, files."""
        given = {name: plain(value) for name, value in options.items()}
        return await self.interact("slash", timeout, channel=self._place(channel), line=line, options=given)

    async def autocomplete(
        self, line: str, option: str, typed: str = "", /, *, channel: Channel | int | None = None, **options: Any
    ) -> list[Json]:
        """The suggestions for *option* after typing *typed*: `{"name", "value"}`."""
        given = {name: plain(value) for name, value in options.items()} | {option: typed}
        answer = await self.interact(
            "complete", DEFAULT_TIMEOUT, channel=self._place(channel), line=line, focused=option, options=given
        )
        return answer.choices

    async def context_menu(self, name: str, message: Message, *, timeout: float = DEFAULT_TIMEOUT) -> Answer:
        """Use the bot's command *name* on a message."""
        return await self.interact("context_menu", timeout, name=name, message=message.id)

    async def commands(self, channel: Channel | int | None = None) -> list[str]:
        """Names of the slash commands that are offered here."""
        offered = await self.look("offered", channel=self._place(channel))
        return [one["name"] for one in offered]

    async def type(self, channel: Channel | int | None = None) -> None:
        """Show that one is writing."""
        await self.act("start_typing", channel=self._place(channel))

    async def typing(self, channel: Channel | int | None = None) -> list[str]:
        """Names of those who are writing."""
        return list(await self.look("typing", channel=self._place(channel)))

    # The same acts as on the views, for those who prefer to name the message.

    async def click(self, message: Message, label: str, **how: Any) -> Answer:
        return await message.click(label, **how)

    async def select(self, message: Message, *values: Any, **how: Any) -> Answer:
        return await message.select(*values, **how)

    async def react(self, message: Message, emoji: str) -> None:
        await self.act("react", message=message.id, emoji=emoji)

    # -- channels and threads ---------------------------------------------------------------------------------

    async def direct(self) -> Channel:
        """The direct-message channel with the bot."""
        return Channel(await self.act("open_direct"))

    async def channels(self) -> list[Channel]:
        """All channels and threads that this person sees."""
        return [Channel(one) for one in await self.look("channels")]

    async def channel(self, channel: Channel | Message | int) -> Channel:
        """A channel as it is now."""
        return Channel(await self.look("channel", channel=_channel_id(channel)))

    async def threads(self) -> list[Channel]:
        return [one for one in await self.channels() if one.is_thread]

    async def wait_thread(self, name: str | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> Channel:
        """The newest thread that this person is a member of (and whose name contains *name*)."""
        deadline = asyncio.get_running_loop().time() + timeout
        while True:
            seen = await self.mark()
            mine = [one for one in await self.threads() if self.name in one.members]
            fitting = [one for one in mine if name is None or name.casefold() in one.name.casefold()]
            if fitting:
                return max(fitting, key=lambda one: one.id)
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise NoAnswer(f"{self.name} is in no thread {name!r} after {timeout:g} s (in: {mine})")
            await self._transport.call("revision", since=seen, timeout=min(left, self.longest_poll))

    async def start_thread(
        self,
        name: str,
        *,
        private: bool = False,
        message: Message | None = None,
        channel: Channel | int | None = None,
        content: str = "",
    ) -> Channel:
        """Start a thread here, from a *message*, or as a post of a forum (with its first *content*)."""
        return Channel(
            await self.act(
                "start_thread",
                channel=self._place(message or channel),
                name=name,
                private=private,
                message=message.id if message else None,
                content=content,
            )
        )

    async def update_thread(self, thread: Channel, **changes: Any) -> Channel:
        """Change a thread: `archived=True`, `locked=True`, `name="…"`."""
        return Channel(await self.act("update_thread", channel=thread.id, changes=changes))

    async def invite(self, thread: Channel, guest: Person) -> None:
        await self.act("invite", channel=thread.id, guest=guest.id)

    async def leave_thread(self, thread: Channel) -> None:
        await self.act("leave_thread", channel=thread.id)

    async def delete_channel(self, channel: Channel) -> None:
        await self.act("delete_channel", channel=channel.id)

    # -- seeing and waiting -----------------------------------------------------------------------------------

    async def history(self, channel: Channel | Message | int | None = None, limit: int = 50) -> list[Message]:
        """The last messages of a channel, oldest first, ephemeral ones for this person included."""
        found = await self.look("history", channel=self._place(channel), limit=limit)
        return [Message(self, one) for one in found]

    async def mark(self) -> int:
        """A point in time for `since`."""
        return int(await self._transport.call("revision"))

    async def wait_message(
        self,
        contains: str | re.Pattern[str] | None = None,
        *,
        channel: Channel | Message | int | None = None,
        button: str | None = None,
        by: str | None = None,
        where: Callable[[Message], object] | None = None,
        since: int | None = None,
        timeout: float = DEFAULT_TIMEOUT,
    ) -> Message:
        """A message of the bot, new or edited since this person's last act (or since a `mark`), that fits.

        *channel*: only there (default: anywhere). *by*: another author's name. *where*: any further test.
        """
        since = self._mark if since is None else since
        place = None if channel is None else _channel_id(channel)
        deadline = asyncio.get_running_loop().time() + timeout
        seen: list[Message] = []
        while True:
            left = deadline - asyncio.get_running_loop().time()
            poll = max(0.0, min(left, self.longest_poll))
            data = await self.look("changes", since=since, channel=place, timeout=poll)
            since = data["revision"]
            for one in data["messages"]:
                message = Message(self, one)
                fits = matches(message, contains, button, by) and (by is not None or message.by_bot)
                if fits and not message.loading and (where is None or where(message)):
                    return message
                seen.append(message)
            if left <= 0:
                wanted = f"{contains!r} button={button!r} by={by!r}"
                raise NoAnswer(f"{self.name} waited {timeout:g} s for {wanted}; saw {seen[-5:]}")

    async def no_message(self, seconds: float, *, channel: Channel | Message | int | None = None) -> None:
        """Nothing new from the bot for so long; raises AssertionError otherwise."""
        try:
            found = await self.wait_message(channel=channel, timeout=seconds)
        except NoAnswer:
            return
        raise AssertionError(f"{self.name} expected silence, but there is {found!r}")


def _channel_id(channel: Channel | Message | int) -> int:
    return channel.channel_id if isinstance(channel, Message) else channel if isinstance(channel, int) else channel.id
