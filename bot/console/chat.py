"""`afina chat`: a conversation with one of the models made here, or with a base."""

from __future__ import annotations

import argparse
import asyncio
import json
from dataclasses import dataclass

from bot.console.engine import engine
from bot.engine import EngineClient
from bot.errors import NotFound
from bot.records import CONSOLE
from bot.settings import Settings
from bot.store import Store
from jobs.artifacts import Artifacts
from jobs.catalog import load_catalog
from jobs.errors import ModelNotFound

Messages = list[dict[str, str]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """What to talk to: a base, or an adapter over it."""

    base_id: str
    adapter: str | None = None


def run(arguments: argparse.Namespace, settings: Settings) -> int:
    return asyncio.run(_run(arguments, settings))


async def _run(arguments: argparse.Namespace, settings: Settings) -> int:
    target = await find(arguments.model, settings)
    opening: Messages = [{"role": "system", "content": arguments.system}] if arguments.system else []
    parameters = {"temperature": arguments.temperature}
    async with engine(settings, target.base_id) as client:
        if target.adapter is not None:
            folder = await asyncio.to_thread(Artifacts(settings.artifacts).adapter, target.adapter)
            await client.ensure_adapter(target.adapter, str(folder))
        model = target.adapter or target.base_id
        if arguments.message is not None:
            messages = [*opening, {"role": "user", "content": arguments.message}]
            answer = await _say(client, model, messages, parameters, quiet=arguments.json)
            if arguments.json:
                print(json.dumps({"model": arguments.model, "answer": answer}, ensure_ascii=False))
            return 0
        await _converse(client, model, opening, parameters)
    return 0


async def find(name: str, settings: Settings) -> Target:
    """The model called `name` among the local user's, else the base with that id. Raises ModelNotFound."""
    if settings.database.exists():
        async with Store.open(settings.database) as store:
            try:
                model = await store.model(name, CONSOLE)
            except NotFound:
                pass
            else:
                return Target(base_id=model.base_id, adapter=model.adapter_name)
    if name in {base.id for base in load_catalog()}:
        return Target(base_id=name)
    raise ModelNotFound(
        f"No encuentro ningún modelo «{name}».", hint="Mira los que hay con «afina models» y «afina bases»."
    )


async def _say(
    client: EngineClient, model: str, messages: Messages, parameters: dict[str, float], *, quiet: bool
) -> str:
    pieces: list[str] = []
    async for piece in client.stream(model, messages, parameters=parameters):
        pieces.append(piece)
        if not quiet:
            print(piece, end="", flush=True)
    if not quiet:
        print()
    return "".join(pieces)


async def _converse(client: EngineClient, model: str, history: Messages, parameters: dict[str, float]) -> None:
    print("Escribe y pulsa Intro; línea vacía o Ctrl-D para salir.")
    while True:
        try:
            text = (await asyncio.to_thread(input, "> ")).strip()
        except EOFError:
            return
        if not text:
            return
        history = [*history, {"role": "user", "content": text}]
        history.append({"role": "assistant", "content": await _say(client, model, history, parameters, quiet=False)})
