"""What is served: bases by LRU, adapters by name, and the way from a conversation to a stream of text.

Rule of this file: asyncio on the outside, the loop's thread on the inside; this is where they meet. A name is either a
base or an adapter; an adapter that is not loaded is unknown, never answered by its base. It covers neither HTTP nor
the shape of JSON.
"""

from __future__ import annotations

import asyncio
import gc
import socket
import time
from collections import OrderedDict
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from jobs.gpu.engine.adapters import Adapter, AdapterRefused, inside, read_config
from jobs.gpu.engine.base import Base
from jobs.gpu.engine.batch import Delivery, Request
from jobs.gpu.engine.loop import Loop, aside
from jobs.gpu.engine.options import Options
from jobs.gpu.engine.prompt import Prompter, TextStream
from jobs.gpu.engine.sampling import Sampling


class UnknownModel(Exception):
    """No base and no loaded adapter has this name."""


class AlreadyLoaded(Exception):
    """An adapter of this name is loaded."""


class Sleeping(Exception):
    """The engine has given its memory away for a while."""


class TooLong(Exception):
    """Prompt and answer do not fit the context; the message says by how much."""


class GenerationFailed(Exception):
    """The answer broke off inside the engine."""


@dataclass(frozen=True, slots=True)
class Known:
    """An adapter that has been loaded."""

    base_id: str
    folder: Path
    created: int  # Unix seconds


@dataclass(frozen=True, slots=True)
class Target:
    """What a request's `model` stands for."""

    base: Base
    adapter: Adapter | None
    prompter: Prompter


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of an answer, or its end."""

    text: str
    finish: str | None = None  # "stop", "length" or "abort"; None: more will come
    tokens: int = 0  # generated so far
    cached: int = 0  # prompt tokens that were known from an earlier turn


class Engine:
    """Bases, adapters and conversations behind the OpenAI protocol."""

    def __init__(
        self,
        *,
        default_base: str,
        load: Callable[[str], tuple[Any, Any]],  # base id -> (model, tokenizer); AfinaError when there is none
        known_bases: Callable[[], Sequence[str]],
        roots: Sequence[Path],  # where adapters may lie
        options: Options,
    ) -> None:
        self.default_base = default_base
        self.options = options
        self.adapters: dict[str, Known] = {}
        self.created = int(time.time())
        self._load = load
        self._known_bases = known_bases
        self._roots = roots
        self._bases: OrderedDict[str, Base] = OrderedDict()
        self._loading = asyncio.Lock()  # one load of a base or an adapter at a time
        self._sleeping = False
        self._bytes: int | None = None  # what it takes awake, when last looked at
        self._device: str | None = None
        self.loop = Loop(max_waiting=options.max_waiting, cells=options.cells, prefill_tokens=options.prefill_tokens)

    async def start(self) -> None:
        self.loop.start(self.options.threads)
        await self._base(self.default_base)

    def close(self) -> None:
        self.loop.close()

    @property
    def sleeping(self) -> bool:
        return self._sleeping

    def bases(self) -> list[str]:
        """The bases that can be asked for, the default first."""
        return [self.default_base, *sorted(set(self._known_bases()) - {self.default_base})]

    def context(self, base_id: str) -> int | None:
        """Tokens of context of a base in memory."""
        return self._bases[base_id].context if base_id in self._bases else None

    async def load_adapter(self, name: str, path: str, *, replace: bool = False) -> None:
        """Serve the adapter at `path` under `name`.

        Raises:
            AlreadyLoaded, AdapterRefused, AdapterMissing, Sleeping
        """
        if name in self.adapters and not replace:
            raise AlreadyLoaded(name)
        if name in self.bases():
            raise AdapterRefused(f"'{name}' is the name of a base model.")
        folder = await asyncio.to_thread(inside, path, self._roots)
        base = await self._base(self._base_of(await asyncio.to_thread(read_config, folder)))
        async with self._loading:
            await aside(base.library.load, name, folder)
            base.prompters[folder] = await asyncio.to_thread(base.prompter_in, folder)
        self.adapters[name] = Known(base.id, folder, int(time.time()))

    def unload_adapter(self, name: str) -> None:
        """Running answers of it end well.

        Raises:
            UnknownModel
        """
        known = self.adapters.pop(name, None)
        if known is None:
            raise UnknownModel(name)
        if base := self._bases.get(known.base_id):
            base.library.drop(name)
            base.prompters.pop(known.folder, None)

    async def target(self, model: str | None) -> Target:
        """Find what `model` names, reading it again if it had left memory.

        Raises:
            UnknownModel, Sleeping, AdapterRefused
        """
        name = model or self.default_base
        known = self.adapters.get(name)
        if known is None:
            if name not in self.bases():
                raise UnknownModel(name)
            base = await self._base(name)
            return Target(base, None, base.prompter)
        base = await self._base(known.base_id)
        async with self._loading:
            get = base.library.get
            resident = name in base.library.resident  # then there is nothing to read
            adapter = get(name, known.folder) if resident else await aside(get, name, known.folder)
            if known.folder not in base.prompters:
                base.prompters[known.folder] = await asyncio.to_thread(base.prompter_in, known.folder)
        return Target(base, adapter, base.prompters[known.folder])

    async def generate(self, target: Target, prompt: list[int], sampling: Sampling) -> AsyncGenerator[Piece]:
        """Stream an answer. Closing the iterator cancels the request.

        Raises:
            TooLong, loop.QueueFull, Sleeping, GenerationFailed
        """
        if self._sleeping:
            raise Sleeping
        events: asyncio.Queue[Delivery] = asyncio.Queue()
        caller = asyncio.get_running_loop()

        def deliver(delivery: Delivery) -> None:
            if not caller.is_closed():
                caller.call_soon_threadsafe(events.put_nowait, delivery)

        stop_tokens = target.base.stop_tokens | ({target.prompter.eos} if target.prompter.eos is not None else set())
        request = Request(
            prompt=prompt, adapter=target.adapter, sampling=sampling, stop_tokens=stop_tokens, deliver=deliver
        )
        text = TextStream(target.prompter, sampling.stop)
        count = 0
        self.loop.submit(target.base.batch, request)
        try:
            while True:
                event = await events.get()
                if event.finish == "error":
                    raise GenerationFailed(event.error)
                piece = ""
                if event.token is not None:
                    count += 1
                    piece = text.push(event.token)
                if text.stopped:
                    yield Piece(piece, "stop", count, request.cached)
                    return
                if event.finish:
                    yield Piece(piece + text.finish(), "stop" if text.stopped else event.finish, count, request.cached)
                    return
                if piece or count == 1:
                    yield Piece(piece, None, count, request.cached)
        finally:
            request.cancelled = True

    def fit(self, target: Target, prompt: Sequence[int], wanted: int | None) -> int:
        """How many tokens the answer may have.

        Raises:
            TooLong: the prompt, or prompt and wanted answer together, are above the context.
        """
        context, length = target.base.context, len(prompt)
        if length >= context or (wanted is not None and length + wanted > context):
            asked = f" and you asked for {wanted} output tokens" if wanted is not None else ""
            raise TooLong(
                f"This model's maximum context length is {context} tokens. "
                f"However, your request has {length} input tokens{asked}."
            )
        return wanted if wanted is not None else context - length

    async def sleep(self) -> None:
        """Give all memory back; running answers end with an error."""
        async with self._loading:
            self.footprint()
            self._sleeping = True
            while self._bases:
                await self._drop(next(iter(self._bases)))

    async def wake_up(self) -> None:
        """Take the memory back; asleep still, if that fails.

        Raises:
            jobs.errors.DoesNotFit: somebody else has it.
        """
        self._sleeping = False
        try:
            await self._base(self.default_base)
        except BaseException:
            self._sleeping = True
            raise

    def footprint(self) -> dict[str, Any]:
        """Where the engine lives and how many bytes it takes there when it is awake, running answers at their most."""
        if not self._sleeping and self._bases:
            self._bytes = sum(base.batch.bytes(self.options.cells) for base in self._bases.values())
            self._device = next(iter(self._bases.values())).batch.device.type
        return {"hostname": socket.gethostname(), "device": self._device, "memory_bytes": self._bytes}

    async def _base(self, base_id: str) -> Base:
        """The base, loaded if need be; the least recently used one gives way.

        Raises:
            Sleeping, jobs.errors.BaseNotAvailable
        """
        async with self._loading:
            if self._sleeping:
                raise Sleeping
            if base_id not in self._bases:
                while len(self._bases) >= self.options.max_bases:
                    await self._drop(next(iter(self._bases)))
                self._bases[base_id] = await aside(self._open, base_id)
            self._bases.move_to_end(base_id)
            return self._bases[base_id]

    def _open(self, base_id: str) -> Base:
        model, tokenizer = self._load(base_id)
        return Base.of(base_id, model, tokenizer, self.options)

    async def _drop(self, base_id: str) -> None:
        base = self._bases.pop(base_id)

        def close() -> None:
            self.loop.drop(base.batch, "The engine gave this model's memory away.")
            base.batch.close()

        await asyncio.wrap_future(self.loop.call(close))
        base.batch.model = None  # whoever still holds this base holds no weights
        gc.collect()
        if torch.cuda.is_available():
            torch.cuda.empty_cache()

    def _base_of(self, config: Mapping[str, Any]) -> str:
        """Which base an adapter was made for.

        `base_model_name_or_path` is a base's id or the folder it lay in, where "/" is written "--".

        Raises:
            AdapterRefused: none that is served here.
        """
        named = str(config.get("base_model_name_or_path") or "")
        for base_id in self.bases():
            if named == base_id or Path(named).name in (base_id, base_id.replace("/", "--")):
                return base_id
        raise AdapterRefused(f"the adapter was made for the base '{named}', which is not served here.")
