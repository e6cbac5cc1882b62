"""The inference engine's client: the OpenAI protocol with vLLM's routes for adapters.

Rule of this file: one door to whichever engine serves (the embedded one or vLLM); everything that can go wrong behind
it becomes EngineUnavailable, ModelNotFound or TooLong with a Spanish sentence. An adapter is loaded on first use by its
versioned name, tried with one token before anybody talks to it, and loaded again when the engine has been restarted.
It never falls back to the base. While the engine's memory is lent (`bot/arbiter.py`) nothing is asked of it. It does
not know Discord, conversations or who may use what.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections import Counter, OrderedDict, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from bot.engine_errors import Crowded, EngineResting, TooLong, away, message_of, refusal
from jobs.errors import EngineUnavailable, ModelNotFound

__all__ = ["Chunk", "Count", "EngineClient", "EngineResting", "EngineState", "Messages", "Parameters", "TooLong"]

log = logging.getLogger(__name__)

Messages = Sequence[Mapping[str, str]]  # {"role": "system" | "user" | "assistant", "content": …}
Parameters = Mapping[str, float]  # temperature, top_p, max_tokens, seed …, as the protocol calls them

MAX_LOADED = 64  # adapters kept loaded at once; the engine itself decides which weights stay in memory
BROKEN_OFF = "El motor se ha interrumpido a mitad de la respuesta."
_RETRY_AFTER = 0.3  # seconds before the one retry of a connection that failed
PATIENCE = 20.0  # seconds that a crowded engine is asked again before a person hears of it
_LENDING = httpx.Timeout(300.0, connect=3.0)  # seconds to put gigabytes away, or back
_TIMEOUT = httpx.Timeout(120.0, connect=3.0)  # seconds; between two tokens, and to connect


@dataclass(frozen=True, slots=True)
class Chunk:
    """Some text of an answer; the last one says why it ended."""

    text: str
    finish: Literal["stop", "length"] | None = None


@dataclass(frozen=True, slots=True)
class Count:
    """How long a prompt is."""

    tokens: int
    context: int  # tokens that prompt and answer may have together


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineState:
    """What an engine says of itself; vLLM says only whether it sleeps."""

    sleeping: bool
    memory_bytes: int | None = None  # what it takes of its device when it is awake
    hostname: str | None = None
    device: str | None = None  # "cpu" or "cuda"


class EngineClient:
    """Talks to the engine at `base_url` (with or without a trailing /v1)."""

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        max_loaded: int = MAX_LOADED,
        patience: float = PATIENCE,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self._http = httpx.AsyncClient(
            base_url=base_url.rstrip("/").removesuffix("/v1"),
            headers={"Authorization": f"Bearer {key}"} if key else None,
            timeout=_TIMEOUT,
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=32),
            transport=transport,
        )
        self._max_loaded = max_loaded
        self._patience = patience
        self._folders: dict[str, str] = {}  # of every adapter that may be asked for, loaded or not
        self._loaded: OrderedDict[str, None] = OrderedDict()  # least recently used first
        self._in_use: Counter[str] = Counter()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)
        self.resting = False  # its memory is lent: set by the arbiter
        self.last_used = 0.0  # Unix seconds of the last answer that was asked for here

    @property
    def busy(self) -> int:
        """Answers that are being written now."""
        return self._in_use.total()

    @contextmanager
    def used_by(self, model: str) -> Iterator[None]:
        """An answer of `model` is being written, by us or by somebody who asks the engine at its own address.

        Raises EngineResting.
        """
        self._must_be_awake()
        self._in_use[model] += 1
        self.last_used = time.time()
        try:
            yield
        finally:
            self.last_used = time.time()
            self._in_use[model] -= 1
            if not self._in_use[model]:
                del self._in_use[model]

    async def aclose(self) -> None:
        await self._http.aclose()

    async def healthy(self) -> bool:
        """Whether the engine answers at all."""
        try:
            return (await self._http.get("/health", timeout=3.0)).is_success
        except httpx.HTTPError:
            return False

    async def models(self) -> list[str]:
        """Names that can be asked for now: bases and loaded adapters. Raises EngineUnavailable."""
        return [model["id"] for model in await self._listed()]

    async def bases(self) -> list[str]:
        """Names of the bases. Raises EngineUnavailable."""
        return [model["id"] for model in await self._listed() if not model.get("parent")]

    async def maker(self) -> str | None:
        """Who made the engine, as it says itself: "afina", "vllm" … Raises EngineUnavailable."""
        listed = await self._listed()
        return listed[0].get("owned_by") if listed else None

    async def chat(self, model: str, messages: Messages, *, parameters: Parameters | None = None) -> str:
        """A whole answer. Raises EngineUnavailable, ModelNotFound, TooLong."""
        return "".join([piece async for piece in self.stream(model, messages, parameters=parameters)])

    async def stream(
        self, model: str, messages: Messages, *, parameters: Parameters | None = None
    ) -> AsyncGenerator[str, None]:
        """An answer in pieces. Raises EngineUnavailable, ModelNotFound, TooLong."""
        async with aclosing(self.answer(model, messages, parameters=parameters)) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    yield chunk.text

    async def answer(
        self, model: str, messages: Messages, *, parameters: Parameters | None = None
    ) -> AsyncGenerator[Chunk, None]:
        """An answer in pieces, the last with the reason why it ended. Closing the iterator stops the engine.

        Raises:
            EngineUnavailable: also when the answer breaks off half-way; what came before stands.
            ModelNotFound, TooLong
        """
        body = {**(parameters or {}), "model": model, "messages": [dict(m) for m in messages], "stream": True}
        patient_until = time.monotonic() + self._patience
        attempt, started = 0, False
        with self.used_by(model):
            while True:
                attempt += 1
                try:
                    async with aclosing(self._stream(body)) as chunks:
                        async for chunk in chunks:
                            started = True
                            yield chunk
                    return
                except ModelNotFound:
                    if attempt == 2 or not await self._reload(model):
                        raise
                except Crowded as error:
                    if time.monotonic() + error.retry_after > patient_until:
                        raise
                    attempt -= 1
                    await asyncio.sleep(error.retry_after)
                except EngineUnavailable:
                    self._must_be_awake()  # broken off because it went to sleep
                    raise
                except httpx.HTTPError as error:
                    self._must_be_awake()
                    if started:
                        raise EngineUnavailable(BROKEN_OFF) from error
                    if attempt == 2 or not isinstance(error, httpx.ConnectError | httpx.RemoteProtocolError):
                        raise away(error) from error
                    await asyncio.sleep(_RETRY_AFTER)

    async def count(self, model: str, messages: Messages) -> Count | None:
        """How long these messages are for `model`; None when the engine cannot tell (other providers)."""
        self._must_be_awake()
        body = {"model": model, "messages": [dict(m) for m in messages], "add_generation_prompt": True}
        async with self._errors():
            response = await self._http.post("/tokenize", json=body)
        if not response.is_success:
            return None
        data = response.json()
        return Count(int(data["count"]), int(data["max_model_len"]))

    def has(self, name: str) -> bool:
        """Whether `ensure_adapter` has loaded this name, as far as we know."""
        return name in self._loaded

    async def ensure_adapter(self, name: str, path: str) -> None:
        """Load the adapter at `path` (as the engine sees it) under its versioned name, unless it is loaded.

        Raises:
            ModelNotFound: it is not there, or the engine refuses it; the message says why.
            EngineUnavailable
        """
        self._must_be_awake()
        async with self._locks[name]:
            if name in self._loaded:
                self._loaded.move_to_end(name)
                return
            async with self._errors():
                response = await self._http.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": path})
            if not response.is_success and "already been loaded" not in message_of(response):
                raise refusal(response, name)
            try:
                await self._try(name)
            except Exception:
                with suppress(httpx.HTTPError):
                    await self._forget(name)
                raise
            self._loaded[name] = None
            self._folders[name] = path
        await self._make_room()

    async def unload(self, name: str) -> None:
        """Let the engine forget an adapter; one that it does not know is fine. Raises EngineUnavailable."""
        self._folders.pop(name, None)
        async with self._locks[name], self._errors():
            await self._forget(name)
        self._locks.pop(name, None)

    # Lending its memory

    async def state(self) -> EngineState:
        """Whether it sleeps, and what it takes. Raises EngineUnavailable, also when it does not know that route."""
        async with self._errors():
            response = await self._http.get("/is_sleeping", timeout=10.0)
        if not response.is_success:
            raise refusal(response, "")
        told = response.json()
        return EngineState(
            sleeping=bool(told.get("is_sleeping")),
            memory_bytes=told.get("memory_bytes"),
            hostname=told.get("hostname"),
            device=told.get("device"),
        )

    async def sleep(self) -> bool:
        """Have it give its memory away; what it has loaded is forgotten first. False: it refuses to.

        vLLM's adapters have come back damaged from its sleep, without an error: they are loaded anew afterwards.
        Raises EngineUnavailable when it does not answer.
        """
        for name in list(self._loaded):
            async with self._locks[name], self._errors():
                await self._forget(name)
        return await self._order("/sleep?level=1")

    async def wake(self) -> bool:
        """Have it take its memory back. False: it cannot. Raises EngineUnavailable when it does not answer."""
        return await self._order("/wake_up")

    async def _order(self, route: str) -> bool:
        async with self._errors():
            response = await self._http.post(route, timeout=_LENDING)
        if not response.is_success:
            log.warning("the engine refuses %s: %s %s", route, response.status_code, message_of(response)[:300])
        return response.is_success

    def _must_be_awake(self) -> None:
        if self.resting:
            raise EngineResting

    async def _try(self, name: str) -> None:
        """One token through a fresh adapter: better to fail here than in front of a person."""
        body = {
            "model": name,
            "messages": [{"role": "user", "content": "Hola"}],
            "max_tokens": 1,
            "temperature": 0,
        }
        async with self._errors():
            response = await self._http.post("/v1/chat/completions", json=body)
        if not response.is_success:
            raise refusal(response, name)
        if response.json().get("model") != name:
            raise ModelNotFound(f"El motor ha contestado con otro modelo en lugar de «{name}».")

    async def _reload(self, name: str) -> bool:
        """After the engine has forgotten (a restart, or others needed the room): load again what we had loaded."""
        path = self._folders.get(name)
        if path is None:
            return False
        self._loaded.pop(name, None)
        log.info("the engine forgot %s; loading it again", name)
        await self.ensure_adapter(name, path)
        return True

    async def _make_room(self) -> None:
        """Unload the least recently used; one that is asked for at that very moment is loaded again."""
        for name in list(self._loaded):
            async with self._locks[name], self._errors():
                if len(self._loaded) <= self._max_loaded:
                    return
                if name in self._loaded and not self._in_use[name]:
                    await self._forget(name)

    async def _forget(self, name: str) -> None:
        self._loaded.pop(name, None)
        await self._http.post("/v1/unload_lora_adapter", json={"lora_name": name})

    async def _listed(self) -> list[dict[str, Any]]:
        async with self._errors():
            response = await self._http.get("/v1/models", timeout=10.0)
        if not response.is_success:
            raise refusal(response, "")
        return list(response.json()["data"])

    async def _stream(self, body: dict[str, Any]) -> AsyncGenerator[Chunk, None]:
        async with self._http.stream("POST", "/v1/chat/completions", json=body) as response:
            if not response.is_success:
                await response.aread()
                raise refusal(response, str(body["model"]))
            finished = False
            async for line in response.aiter_lines():
                if not line.startswith("data: "):
                    continue
                if line == "data: [DONE]":
                    break
                data = json.loads(line.removeprefix("data: "))
                if "error" in data:
                    raise EngineUnavailable(BROKEN_OFF)
                for choice in data["choices"]:
                    finish = choice.get("finish_reason")
                    finished = finished or finish is not None
                    yield Chunk(choice["delta"].get("content") or "", finish)
            if not finished:
                raise EngineUnavailable(BROKEN_OFF)

    @asynccontextmanager
    async def _errors(self) -> AsyncIterator[None]:
        try:
            yield
        except httpx.HTTPError as error:
            raise away(error) from error
