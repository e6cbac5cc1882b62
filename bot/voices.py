"""Who may answer: the bases, and the models that people made over them.

Rule of this file: a voice is a base or an adapter over one; an adapter that is gone is an error and never the base
instead. What a person may not see does not exist for them.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass

from bot.engine import EngineClient
from bot.errors import NotFound
from bot.records import ChatThread, Model, Owner
from bot.store import Store
from jobs.artifacts import Artifacts
from jobs.errors import AfinaError, ModelNotFound

BASE_PREFIX = "base:"  # how a base is named where a model's id may stand
GONE = "El modelo con el que hablabas ya no existe."
CHOOSE_ANOTHER = "Elige otro con /modelo; la conversación sigue aquí."


@dataclass(frozen=True, kw_only=True, slots=True)
class Voice:
    """Who answers."""

    base_id: str
    title: str  # as people see it
    model: Model | None = None  # None: the base itself

    @property
    def engine_name(self) -> str:
        return self.model.adapter_name if self.model else self.base_id

    @property
    def value(self) -> str:
        """How it is named in commands and buttons."""
        return self.model.id if self.model else BASE_PREFIX + self.base_id

    @property
    def public(self) -> bool:
        """Whether everybody in the server may see its answers."""
        return self.model is None or self.model.shared


class Voices:
    """Finds who may answer whom, and gets them ready."""

    def __init__(self, *, store: Store, engine: EngineClient, artifacts: Artifacts, default_base: str) -> None:
        self._store = store
        self._engine = engine
        self._artifacts = artifacts
        self._default_base = default_base

    async def find(self, text: str, owner: Owner) -> Voice:
        """The voice that a person named: a model's id or name, `base:ID` or a base's id. Raises NotFound."""
        wanted = text.strip()
        if not wanted.startswith(BASE_PREFIX):
            with suppress(NotFound):
                return _tuned(await self._store.model(wanted, owner))
        base_id = wanted.removeprefix(BASE_PREFIX)
        offered = (await self._store.policy(owner.guild_id)).offers(base_id)
        if offered and (base_id == self._default_base or base_id in await self._engine.bases()):
            return _base(base_id)
        raise NotFound(f"No encuentro ningún modelo «{wanted[:80]}».", hint="Elígelo de la lista al escribir.")

    async def of(self, chat: ChatThread) -> Voice:
        """The voice of a thread. Raises ModelNotFound when its model is gone."""
        if chat.model_id is None:
            if not (await self._store.policy(chat.owner.guild_id)).offers(chat.base_id):
                raise ModelNotFound("Este servidor ya no ofrece esa base.", hint=CHOOSE_ANOTHER)
            return _base(chat.base_id)
        try:
            return _tuned(await self._store.model(chat.model_id, chat.owner))
        except NotFound as error:
            raise ModelNotFound(GONE, hint=CHOOSE_ANOTHER) from error

    async def all(self, owner: Owner) -> list[Voice]:
        """Everyone whom this person may talk to: their models, the server's, the bases."""
        bases = [self._default_base]
        with suppress(AfinaError):  # a list to choose from is better short than missing
            bases += [base for base in await self._engine.bases() if base != self._default_base]
        policy = await self._store.policy(owner.guild_id)
        offered = sorted((base for base in bases if policy.offers(base)), key=lambda base: base != policy.default_base)
        return [*(_tuned(model) for model in await self._store.models(owner)), *(_base(base) for base in offered)]

    async def prepare(self, voice: Voice) -> None:
        """Have the engine load it. Raises ModelNotFound, EngineUnavailable."""
        if voice.model is None or self._engine.has(voice.model.adapter_name):
            return
        try:
            folder = await asyncio.to_thread(self._artifacts.adapter, voice.model.adapter_name)
        except ModelNotFound as error:
            raise ModelNotFound(
                f"Los archivos de «{voice.title}» ya no están.", hint="Vuelve a entrenarlo, o elige otro con /modelo."
            ) from error
        await self._engine.ensure_adapter(voice.model.adapter_name, str(folder))


def _tuned(model: Model) -> Voice:
    return Voice(base_id=model.base_id, title=model.name, model=model)


def _base(base_id: str) -> Voice:
    return Voice(base_id=base_id, title=f"{base_id} (sin afinar)")
