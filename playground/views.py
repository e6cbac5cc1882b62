"""What a person has in front of them: a message, with what they can do to it.

Rule: a view is a picture of one moment; `refresh` and the waiting methods renew it in place. Everything goes
through the person's transport, so that views work in this process and over HTTP alike.
Not covered: how things look; `text` is the reading order without layout. Answers and forms are in `answers`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playground.components import SELECTS, Kind, media_of, walk
from playground.forms import Impossible
from playground.model import Json
from playground.reading import DEFAULT_TIMEOUT, find, matches, plain, text_of

if TYPE_CHECKING:
    from playground.answers import Answer
    from playground.people import Person


class NoAnswer(AssertionError):
    """The bot did not do what was waited for: no acknowledgement in 3 s, no such message in time."""


@dataclass(frozen=True, kw_only=True)
class Edit:
    """What a message was before an edit."""

    at: float  # when it ceased to be so, seconds since the epoch
    text: str


@dataclass(frozen=True, kw_only=True)
class File:
    """An attachment of a message."""

    filename: str
    size: int  # bytes
    url: str
    content_type: str | None
    person: Person

    async def read(self) -> bytes:
        """The content, fetched over HTTP."""
        return await self.person.download(self.url)


@dataclass(frozen=True, kw_only=True)
class Button:
    label: str
    custom_id: str | None
    url: str | None
    disabled: bool
    emoji: str | None
    style: int


@dataclass(frozen=True, kw_only=True)
class Select:
    custom_id: str
    kind: int
    placeholder: str | None
    options: list[Json]  # {"label", "value", "description"?, "default"?}
    disabled: bool
    min_values: int
    max_values: int

    @property
    def labels(self) -> list[str]:
        return [one["label"] for one in self.options]


class Message:
    """A message as one person sees it."""

    def __init__(self, person: Person, data: Json) -> None:
        self.person = person
        self.data = data

    def __repr__(self) -> str:
        return f"<Message {self.id} by {self.author}: {self.text[:60]!r} buttons={[one.label for one in self.buttons]}>"

    # -- reading ----------------------------------------------------------------------------------------------

    @property
    def id(self) -> int:
        return int(self.data["id"])

    @property
    def channel_id(self) -> int:
        return int(self.data["channel_id"])

    @property
    def author(self) -> str:
        user = self.data["author"]
        return str(user.get("global_name") or user["username"])

    @property
    def by_bot(self) -> bool:
        """By the bot under test; other bots count as people."""
        return "application_id" in self.data

    @property
    def content(self) -> str:
        return str(self.data["content"])

    @property
    def text(self) -> str:
        """All that can be read: content, embeds, every TextDisplay, in order, one piece a line."""
        return text_of(self.data["content"], self.data["embeds"], self.data["components"])

    @property
    def ephemeral(self) -> bool:
        return bool(self.data["ephemeral"])

    @property
    def loading(self) -> bool:
        """The bot is «thinking…»."""
        return bool(self.data["loading"])

    @property
    def deleted(self) -> bool:
        return bool(self.data["deleted"])

    @property
    def revision(self) -> int:
        return int(self.data["revision"])

    @property
    def buttons(self) -> list[Button]:
        found = [one for _, one in walk(self.data["components"]) if one["type"] == Kind.BUTTON]
        return [
            Button(
                label=one.get("label") or "",
                custom_id=one.get("custom_id"),
                url=one.get("url"),
                disabled=bool(one.get("disabled")),
                emoji=(one.get("emoji") or {}).get("name"),
                style=one["style"],
            )
            for one in found
        ]

    @property
    def selects(self) -> list[Select]:
        found = [one for _, one in walk(self.data["components"]) if one["type"] in SELECTS]
        return [_select(one) for one in found]

    @property
    def attachments(self) -> list[File]:
        return [self._file(one) for one in self.data["attachments"]]

    def _file(self, one: Json) -> File:
        return File(
            filename=one["filename"],
            size=one["size"],
            url=one["url"],
            content_type=one.get("content_type"),
            person=self.person,
        )

    @property
    def media(self) -> list[str]:
        """Addresses of the pictures and files that components show, in order."""
        return [item["url"] for _, one in walk(self.data["components"]) for item in media_of(one)]

    @property
    def edits(self) -> list[Edit]:
        """What the message was before each edit, oldest first."""
        return [Edit(at=one["at"], text=one["text"]) for one in self.data["history"]]

    @property
    def notified(self) -> list[str]:
        """Names of the people that it pinged (`@everyone` counts as a name)."""
        given = self.data["notified"]
        return list(given["people"]) + (["@everyone"] if given["everyone"] else [])

    @property
    def reactions(self) -> dict[str, int]:
        return {one["emoji"]["name"]: one["count"] for one in self.data.get("reactions", [])}

    @property
    def reply_to(self) -> int | None:
        reference = self.data.get("message_reference") or {}
        return int(reference["message_id"]) if "message_id" in reference else None

    @property
    def accent(self) -> int | None:
        """The colour of the first container."""
        found = (one.get("accent_color") for _, one in walk(self.data["components"]) if one["type"] == Kind.CONTAINER)
        return next(found, None)

    # -- acting -----------------------------------------------------------------------------------------------

    async def click(self, label: str, *, timeout: float = DEFAULT_TIMEOUT) -> Answer:
        """Press the button with this label, emoji or custom_id."""
        button = find(self.buttons, label, lambda one: (one.label, one.emoji, one.custom_id))
        if button.custom_id is None:
            raise Impossible(f"{label!r} is a link to {button.url}")
        return await self.person.interact("press", timeout, message=self.id, custom_id=button.custom_id)

    async def select(self, *values: Any, name: str | None = None, timeout: float = DEFAULT_TIMEOUT) -> Answer:
        """Choose *values* (labels or values) in the only list, or in the one called *name*."""
        if name is None:
            if len(self.selects) != 1:
                raise Impossible(f"there are {len(self.selects)} lists: say which")
            chosen = self.selects[0]
        else:
            chosen = find(self.selects, name, lambda one: (one.custom_id, one.placeholder))
        wanted = [plain(one) for one in values]
        return await self.person.interact("press", timeout, message=self.id, custom_id=chosen.custom_id, values=wanted)

    async def menu(self, name: str, *, timeout: float = DEFAULT_TIMEOUT) -> Answer:
        """Use the bot's command *name* on this message."""
        return await self.person.context_menu(name, self, timeout=timeout)

    async def reply(self, content: str, files: Sequence[Any] = ()) -> Message:
        return await self.person.say(content, channel=self.channel_id, reply_to=self, files=files)

    async def react(self, emoji: str) -> None:
        await self.person.act("react", message=self.id, emoji=emoji)

    async def unreact(self, emoji: str) -> None:
        await self.person.act("unreact", message=self.id, emoji=emoji)

    async def edit(self, content: str) -> Message:
        self.data = await self.person.act("edit", message=self.id, content=content)
        return self

    async def delete(self) -> None:
        await self.person.act("delete", message=self.id)

    # -- waiting ----------------------------------------------------------------------------------------------

    async def refresh(self) -> Message:
        """See the message as it is now."""
        self.data = await self.person.look("message", message=self.id)
        return self

    async def wait(
        self, until: Callable[[Message], object], *, timeout: float = DEFAULT_TIMEOUT, what: str = "the change"
    ) -> Message:
        """Renew this message until *until* is true of it."""
        deadline = asyncio.get_running_loop().time() + timeout
        await self.refresh()
        while not until(self):
            left = deadline - asyncio.get_running_loop().time()
            if left <= 0:
                raise NoAnswer(f"{self.person.name} waited {timeout:g} s for {what}; the message is {self!r}")
            since = self.revision
            self.data = await self.person.look(
                "message", message=self.id, since=since, timeout=min(left, self.person.longest_poll)
            )
        return self

    async def done(self, *, timeout: float = DEFAULT_TIMEOUT) -> Message:
        """Wait until the bot no longer «thinks»."""
        return await self.wait(lambda one: not one.loading or one.deleted, timeout=timeout, what="an answer")

    async def wait_edit(
        self, contains: str | None = None, *, timeout: float = DEFAULT_TIMEOUT, button: str | None = None
    ) -> Message:
        """Wait for the next edit; with *contains* or *button*, until the message shows them."""
        if contains is None and button is None:
            seen = len(self.data["history"])
            return await self.wait(lambda one: len(one.data["history"]) > seen, timeout=timeout, what="an edit")
        what = f"{contains!r} / button {button!r}"
        return await self.wait(lambda one: matches(one, contains, button, None), timeout=timeout, what=what)

    async def settled(self, *, quiet: float = 1.5, timeout: float = 30.0) -> Message:
        """Wait until nothing has changed for *quiet* seconds: the end of a stream of edits."""
        deadline = asyncio.get_running_loop().time() + timeout
        await self.done(timeout=timeout)
        while asyncio.get_running_loop().time() < deadline:
            before = self.revision
            self.data = await self.person.look("message", message=self.id, since=before, timeout=quiet)
            if self.revision == before:
                return self
        raise NoAnswer(f"the message still changes after {timeout:g} s: {self!r}")

    async def wait_deleted(self, *, timeout: float = DEFAULT_TIMEOUT) -> Message:
        return await self.wait(lambda one: one.deleted, timeout=timeout, what="its deletion")


def _select(one: Json) -> Select:
    low, high = one.get("min_values"), one.get("max_values")
    return Select(
        custom_id=one["custom_id"],
        kind=one["type"],
        placeholder=one.get("placeholder"),
        options=one.get("options") or [],
        disabled=bool(one.get("disabled")),
        min_values=1 if low is None else low,
        max_values=1 if high is None else high,
    )
