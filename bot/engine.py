"""The inference engine's client: the OpenAI protocol with vLLM's routes for adapters.

Rule of this file: one door to whichever engine serves (the embedded one or vLLM); everything that can go wrong behind
it becomes EngineUnavailable, ModelNotFound or TooLong with a Spanish sentence. An adapter is loaded on first use by its
versioned name, tried with one token before anybody talks to it, and loaded again when the engine has been restarted.
It never falls back to the base. It does not know Discord, conversations or who may use what.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections import Counter, OrderedDict, defaultdict
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal

import httpx

from bot.errors import BadInput
from jobs.errors import EngineUnavailable, ModelNotFound

log = logging.getLogger(__name__)

Messages = Sequence[Mapping[str, str]]  # {"role": "system" | "user" | "assistant", "content": …}
Parameters = Mapping[str, float]  # temperature, top_p, max_tokens, seed …, as the protocol calls them

MAX_LOADED = 64  # adapters kept loaded at once; the engine itself decides which weights stay in memory
BROKEN_OFF = "El motor se ha interrumpido a mitad de la respuesta."
_RETRY_AFTER = 0.3  # seconds before the one retry of a connection that failed
_TIMEOUT = httpx.Timeout(120.0, connect=3.0)  # seconds; between two tokens, and to connect


class TooLong(BadInput):
    code = "too_long"
    default = "La conversación no cabe en el contexto de este modelo."
    default_hint = "Acorta tu mensaje, o empieza de nuevo con /reiniciar."


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


class EngineClient:
    """Talks to the engine at `base_url` (with or without a trailing /v1)."""

    def __init__(
        self,
        base_url: str,
        key: str | None = None,
        *,
        max_loaded: int = MAX_LOADED,
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
        self._loaded: OrderedDict[str, str] = OrderedDict()  # adapter -> folder, least recently used first
        self._in_use: Counter[str] = Counter()
        self._locks: defaultdict[str, asyncio.Lock] = defaultdict(asyncio.Lock)

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
        self._in_use[model] += 1
        try:
            for attempt in (1, 2):
                started = False
                try:
                    async with aclosing(self._stream(body)) as chunks:
                        async for chunk in chunks:
                            started = True
                            yield chunk
                    return
                except ModelNotFound:
                    if attempt == 2 or not await self._reload(model):
                        raise
                except httpx.HTTPError as error:
                    if started:
                        raise EngineUnavailable(BROKEN_OFF) from error
                    if attempt == 2 or not isinstance(error, httpx.ConnectError | httpx.RemoteProtocolError):
                        raise _away(error) from error
                    await asyncio.sleep(_RETRY_AFTER)
        finally:
            self._in_use[model] -= 1
            if not self._in_use[model]:
                del self._in_use[model]

    async def count(self, model: str, messages: Messages) -> Count | None:
        """How long these messages are for `model`; None when the engine cannot tell (other providers)."""
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
        async with self._locks[name]:
            if name in self._loaded:
                self._loaded.move_to_end(name)
                return
            async with self._errors():
                response = await self._http.post("/v1/load_lora_adapter", json={"lora_name": name, "lora_path": path})
            if not response.is_success and "already been loaded" not in _message(response):
                raise _refusal(response, name)
            try:
                await self._try(name)
            except Exception:
                with suppress(httpx.HTTPError):
                    await self._forget(name)
                raise
            self._loaded[name] = path
        await self._make_room()

    async def unload(self, name: str) -> None:
        """Let the engine forget an adapter; one that it does not know is fine. Raises EngineUnavailable."""
        async with self._locks[name], self._errors():
            await self._forget(name)
        del self._locks[name]

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
            raise _refusal(response, name)
        if response.json().get("model") != name:
            raise ModelNotFound(f"El motor ha contestado con otro modelo en lugar de «{name}».")

    async def _reload(self, name: str) -> bool:
        """After the engine has forgotten (a restart): load again what we had loaded."""
        path = self._loaded.pop(name, None)
        if path is None:
            return False
        log.info("the engine forgot %s; loading it again", name)
        await self.ensure_adapter(name, path)
        return True

    async def _make_room(self) -> None:
        idle = [name for name in self._loaded if not self._in_use[name]]
        for name in idle[: max(0, len(self._loaded) - self._max_loaded)]:
            await self.unload(name)

    async def _forget(self, name: str) -> None:
        self._loaded.pop(name, None)
        await self._http.post("/v1/unload_lora_adapter", json={"lora_name": name})

    async def _listed(self) -> list[dict[str, Any]]:
        async with self._errors():
            response = await self._http.get("/v1/models", timeout=10.0)
        if not response.is_success:
            raise _refusal(response, "")
        return list(response.json()["data"])

    async def _stream(self, body: dict[str, Any]) -> AsyncGenerator[Chunk, None]:
        async with self._http.stream("POST", "/v1/chat/completions", json=body) as response:
            if not response.is_success:
                await response.aread()
                raise _refusal(response, str(body["model"]))
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
            raise _away(error) from error


def _away(error: httpx.HTTPError) -> EngineUnavailable:
    log.warning("the engine does not answer: %r", error)
    if isinstance(error, httpx.ReadTimeout):
        return EngineUnavailable("El motor que sirve los modelos tarda demasiado en contestar.")
    return EngineUnavailable()


def _message(response: httpx.Response) -> str:
    """What an engine says went wrong, in English, whatever the shape of its JSON."""
    try:
        data = response.json()
        error = data.get("error", data)
        return str(error.get("message", error) if isinstance(error, dict) else error)
    except (ValueError, AttributeError):
        return response.text[:500]


def _refusal(response: httpx.Response, model: str) -> EngineUnavailable | ModelNotFound | TooLong:
    """The error behind an HTTP status of the engine."""
    message = _message(response)
    log.warning("the engine refused %s: %s %s", model, response.status_code, message[:300])
    lower = message.lower()
    if response.status_code == 404:
        return ModelNotFound(f"El motor no encuentra el modelo «{model}».")
    if "context length" in lower or "maximum model length" in lower:
        return TooLong()
    if response.status_code == 400 and "lora" in lower:
        return ModelNotFound(f"El motor no puede cargar «{model}».", hint=_why(lower))
    if response.status_code == 503 and "asleep" in lower:
        return EngineUnavailable(
            "La GPU está entrenando ahora mismo, así que las conversaciones esperan.",
            hint="Escríbeme otra vez dentro de un rato; la conversación no se pierde.",
        )
    if response.status_code in (429, 503):
        return EngineUnavailable("Hay muchas conversaciones a la vez.", hint="Vuelve a intentarlo en unos segundos.")
    if response.status_code in (401, 403):
        return EngineUnavailable("El motor no acepta la clave configurada.", hint="Avisa a quien administra el bot.")
    return EngineUnavailable()


def _why(message: str) -> str:
    """The reasons that a person can do something about."""
    if "rank" in message:
        return "Su rango es mayor que el que admite el motor (--max-lora-rank)."
    if "base" in message:
        return "Se entrenó sobre otro modelo base."
    if "merged" in message:
        return "Se entrenó con DoRA y hay que fusionarlo con su base."
    return "Sus archivos no están completos o no son de este motor."
