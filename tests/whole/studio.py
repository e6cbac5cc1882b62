"""One real stack and people who have nothing but Discord: they upload, press buttons, fill in forms, and read.

Redis, the bot, a warm worker and its trainings of afina-mini are real processes; the engine is left out, because nobody
chats here. Everything waits for what a person would see, with generous limits.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from bot.console.stack import Stack
from bot.settings import Settings
from jobs.queue import Queue
from playground import Limits, Playground
from playground.people import Channel, Person
from playground.views import Message

PATIENCE = 150.0  # seconds; a limit, not an expectation
QUICK = {"Preset": ["Rápido"]}


def jsonl(rows: Iterable[dict[str, Any]]) -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()


class Studio:
    """A server of Discord with Afina in it."""

    def __init__(self, place: Playground, stack: Stack) -> None:
        self.place = place
        self.stack = stack
        self.data = stack.data

    @classmethod
    @asynccontextmanager
    async def open(cls, folder: Path, **environment: str) -> AsyncIterator[Studio]:
        async with Playground(token="t", limits=Limits(enabled=False), acknowledge_within=30) as place:
            place.guild("Estudio")
            settings = Settings(_env_file=None).model_copy(
                update={"data_dir": folder, "discord_api": place.api_url, "discord_gateway": place.gateway_url}
            )
            own = {
                "DISCORD_TOKEN": "t",
                "AFINA_CARD_EDIT_EVERY": "0.2",
                "AFINA_RECONCILE_EVERY": "2",
                "AFINA_LEASE_SECONDS": "10",
            }
            async with Stack(settings, engine=False, logs=True, environment=own | environment) as stack:
                await place.wait_bot("afinar", "datos", "entrenamientos", timeout=PATIENCE)
                yield cls(place, stack)
            assert place.unhandled == []

    async def worker(self) -> int:
        """The worker's process, once it has imported everything and waits for jobs."""
        queue = Queue(self.stack.redis_url)
        async with asyncio.timeout(PATIENCE):
            while not queue.workers():
                await asyncio.sleep(0.2)
        return self.stack.child("worker").process.pid

    def student(self, name: str) -> Student:
        return Student(self.place.person(name))


class Student:
    """Somebody who trains models. Jobs are known by the name of the model to be."""

    def __init__(self, person: Person) -> None:
        self.person = person
        self.workshop: Channel | None = None

    async def upload(self, name: str, rows: Iterable[dict[str, Any]] | bytes, **files: tuple[str, bytes]) -> Message:
        """The card of the data, with its whole report."""
        data = rows if isinstance(rows, bytes) else jsonl(rows)
        answer = await self.person.slash("datos subir", archivo=(name, data), tengo_derecho=True, **files)
        await answer.done(timeout=PATIENCE)
        self.workshop = self.workshop or await self.person.wait_thread("Taller", timeout=PATIENCE)
        stem = name.rsplit(".", 1)[0]
        return await self.person.wait_message(contains=stem, button="Borrar", channel=self.workshop, timeout=PATIENCE)

    async def propose(self, data: Message, name: str, **wishes: Any) -> Message:
        """Fill in the form of these data; the plan that asks for confirmation."""
        form = (await data.click("Afinar un modelo", timeout=PATIENCE)).form
        await form.submit({"Nombre del modelo": name, "Preset": ["Rápido"]} | wishes, timeout=PATIENCE)
        return await self.person.wait_message(contains=name, button="Avanzado", timeout=PATIENCE)

    async def tweak(self, plan: Message, **values: str) -> Message:
        """Change finer values of a plan."""
        form = (await plan.click("Avanzado", timeout=PATIENCE)).form
        shown = plan.revision
        await form.submit(values, timeout=PATIENCE)
        return await plan.wait(lambda one: one.revision > shown, timeout=PATIENCE)

    async def confirm(self, plan: Message, name: str) -> Message:
        """The progress card of the job."""
        await plan.click("Confirmar", timeout=PATIENCE)
        return await self.person.wait_message(contains=f"## {name}", button="Cancelar", timeout=PATIENCE)

    async def train(self, data: Message, name: str, *, values: dict[str, str] | None = None, **wishes: Any) -> Message:
        """From the data to the progress card; what the end says is `end`'s."""
        plan = await self.propose(data, name, **wishes)
        if values:
            plan = await self.tweak(plan, **values)
        return await self.confirm(plan, name)

    async def end(self, name: str) -> Message:
        """The message that tells what came of the job: the only one that mentions its person."""
        return await self.person.wait_message(
            contains=f"## {name}", where=lambda one: bool(one.notified), timeout=PATIENCE
        )

    async def command(self, line: str, **options: Any) -> str:
        """What a command answers."""
        return (await (await self.person.slash(line, timeout=PATIENCE, **options)).done(timeout=PATIENCE)).text

    async def press(self, message: Message, label: str) -> str:
        """What pressing a button answers, for the eyes of this person only."""
        answer = await message.click(label, timeout=PATIENCE)
        return (await answer.done(timeout=PATIENCE)).text
