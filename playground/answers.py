"""How the bot answered an act: with a message, a form, suggestions, or nothing new.

Rule: an `Answer` is what a person has in hand after a command, a button, a list or a form; it offers what its message
or its form offers.
Not covered: the message itself (see `views`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from playground.components import Kind
from playground.model import Json
from playground.reading import DEFAULT_TIMEOUT, find, plain, text_of
from playground.views import Button, File, Message, NoAnswer, Select

if TYPE_CHECKING:
    from playground.people import Person


class Answer:
    """How the bot answered a command, a button, a list or a form."""

    def __init__(self, person: Person, data: Json) -> None:
        self.person = person
        self.data = data
        self._message = Message(person, data["message"]) if data["message"] else None

    def __repr__(self) -> str:
        return f"<Answer callback={self.data['callback']} {self.modal or self._message!r}>"

    @property
    def modal(self) -> Modal | None:
        """The form that opened, if one did."""
        return Modal(self.person, self.data) if self.data["modal"] else None

    @property
    def form(self) -> Modal:
        """The form that must have opened."""
        if self.modal is None:
            raise NoAnswer(f"no form opened: {self!r}")
        return self.modal

    @property
    def message(self) -> Message:
        """The answer, or the message whose component was used."""
        if self._message is None:
            raise NoAnswer(f"there is no message: {self!r}")
        return self._message

    @property
    def seconds(self) -> float:
        """From the person's act to the acknowledgement seen here."""
        return float(self.data["seconds"])

    @property
    def text(self) -> str:
        return self.message.text

    @property
    def ephemeral(self) -> bool:
        return self.message.ephemeral

    @property
    def buttons(self) -> list[Button]:
        return self.message.buttons

    @property
    def selects(self) -> list[Select]:
        return self.message.selects

    @property
    def attachments(self) -> list[File]:
        return self.message.attachments

    @property
    def choices(self) -> list[Json]:
        """Suggestions: `{"name", "value"}`."""
        return self.data["choices"] or []

    async def done(self, *, timeout: float = DEFAULT_TIMEOUT) -> Message:
        """Wait for the whole answer; returns the message."""
        return await self.message.done(timeout=timeout)

    async def wait_edit(self, contains: str | None = None, *, timeout: float = DEFAULT_TIMEOUT) -> Message:
        return await self.message.wait_edit(contains, timeout=timeout)

    async def click(self, label: str, *, timeout: float = DEFAULT_TIMEOUT) -> Answer:
        return await self.message.click(label, timeout=timeout)

    async def select(self, *values: Any, name: str | None = None, timeout: float = DEFAULT_TIMEOUT) -> Answer:
        return await self.message.select(*values, name=name, timeout=timeout)

    async def submit(self, *positional: Json, **values: Any) -> Answer:
        return await self.form.submit(*positional, **values)

    @property
    def fields(self) -> dict[str, Field]:
        return self.form.fields

    async def followups(self, at_least: int = 1, *, timeout: float = DEFAULT_TIMEOUT) -> list[Message]:
        """The follow-ups, once there are *at_least* so many."""
        self.data = await self.person.look(
            "answer", interaction=self.data["interaction"], timeout=timeout, followups=at_least
        )
        if len(self.data["followups"]) < at_least:
            raise NoAnswer(f"{len(self.data['followups'])} follow-ups after {timeout:g} s")
        return [Message(self.person, one) for one in self.data["followups"]]


@dataclass(frozen=True, kw_only=True)
class Field:
    """A field of a form."""

    custom_id: str
    label: str
    description: str | None
    kind: int
    required: bool
    value: Any  # what it holds already
    options: list[Json]
    max_length: int | None


class Modal:
    """An open form."""

    def __init__(self, person: Person, data: Json) -> None:
        self.person = person
        self.interaction = int(data["interaction"])
        self.title = str(data["modal"]["title"])
        self.custom_id = str(data["modal"]["custom_id"])
        self.components: list[Json] = data["modal"]["components"]

    def __repr__(self) -> str:
        return f"<Modal {self.title!r} fields={list(self.fields)}>"

    @property
    def text(self) -> str:
        """What the form says besides its fields."""
        return text_of("", [], self.components)

    @property
    def fields(self) -> dict[str, Field]:
        """By custom_id, in order."""
        found: dict[str, Field] = {}
        for component in self.components:
            if component["type"] == Kind.LABEL:
                inner = component["component"]
                found[inner["custom_id"]] = _field(inner, component["label"], component.get("description"))
            elif component["type"] == Kind.ACTION_ROW:
                for inner in component["components"]:
                    found[inner["custom_id"]] = _field(inner, inner["label"], None)
        return found

    async def submit(self, *positional: Json, timeout: float = DEFAULT_TIMEOUT, **values: Any) -> Answer:
        """Send the form. Fields by custom_id or by label (without accents and case, `_` for spaces)."""
        wanted: Json = {}
        for given in (*positional, values):
            for name, value in given.items():
                field = find(list(self.fields.values()), name, lambda one: (one.custom_id, one.label))
                several = isinstance(value, list) or (isinstance(value, tuple) and field.kind != Kind.FILE_UPLOAD)
                wanted[field.custom_id] = [plain(one) for one in value] if several else plain(value)
        return await self.person.interact("submit", timeout, interaction=self.interaction, values=wanted)


def _field(inner: Json, label: str, description: str | None) -> Field:
    options = inner.get("options") or []
    defaults = [one["value"] for one in options if one.get("default")]
    return Field(
        custom_id=inner["custom_id"],
        label=label,
        description=description,
        kind=inner["type"],
        required=bool(inner.get("required", True)),
        value=defaults if options else inner.get("value", inner.get("default")),
        options=options,
        max_length=inner.get("max_length"),
    )
