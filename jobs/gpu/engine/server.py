"""The engine over HTTP: OpenAI's routes, vLLM's routes for adapters and sleep.

Rule of this file: parse, call the engine, write JSON; every error is OpenAI's object with the status that vLLM gives.
The routes for adapters and sleep trust their caller: the engine listens on loopback or a private network, or behind a
key.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from jobs.contract import job_of
from jobs.errors import AfinaError, DoesNotFit
from jobs.gpu.engine import protocol
from jobs.gpu.engine.adapters import AdapterMissing, AdapterRefused
from jobs.gpu.engine.embeddings import Embedder
from jobs.gpu.engine.engine import (
    AlreadyLoaded,
    Engine,
    GenerationFailed,
    Sleeping,
    Target,
    TooLong,
    UnknownModel,
)
from jobs.gpu.engine.figures import CONTENT_TYPE, Figures
from jobs.gpu.engine.loop import QueueFull, aside
from jobs.gpu.engine.prompt import PromptRefused
from jobs.gpu.engine.stream import lines, whole

log = logging.getLogger(__name__)

MAX_BODY = 8 * 2**20  # bytes
Handler = Callable[[Request], Awaitable[Response]]
_Body = TypeVar("_Body", bound=BaseModel)


class _Refusal(Exception):
    """Ends a request with this status and OpenAI error object."""

    def __init__(self, status: int, kind: str, message: str) -> None:
        self.status, self.kind, self.message = status, kind, message


def application(engine: Engine, *, key: str | None = None, embedder: Embedder | None = None) -> Starlette:
    """The ASGI application. `key`: asked for as a bearer token, but for /health."""
    routes = _Routes(engine, embedder)

    def route(path: str, method: str, handler: Handler) -> Route:
        return Route(path, _guarded(handler, None if path == "/health" else key), methods=[method])

    return Starlette(
        routes=[
            route("/health", "GET", routes.health),
            route("/metrics", "GET", routes.metrics),
            route("/v1/models", "GET", routes.models),
            route("/v1/chat/completions", "POST", routes.chat),
            route("/v1/completions", "POST", routes.complete),
            route("/v1/embeddings", "POST", routes.embeddings),
            route("/tokenize", "POST", routes.tokenize),
            route("/v1/load_lora_adapter", "POST", routes.load),
            route("/v1/unload_lora_adapter", "POST", routes.unload),
            route("/sleep", "POST", routes.sleep),
            route("/wake_up", "POST", routes.wake_up),
            route("/is_sleeping", "GET", routes.is_sleeping),
        ],
        exception_handlers={HTTPException: _no_such_route},
    )


def _no_such_route(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error(error.status_code, "NotFoundError", f"{request.method} {request.url.path}: {error.detail}.")


def _guarded(handler: Handler, key: str | None) -> Handler:
    """`handler` with its errors turned into answers, behind `key`."""

    async def guarded(request: Request) -> Response:
        given = request.headers.get("authorization", "").removeprefix("Bearer ").encode()
        if key and not hmac.compare_digest(given, key.encode()):
            return _error(401, "Unauthorized", "Invalid API key.")
        try:
            return await handler(request)
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception as error:
            refusal = _refusal(error)
            return _error(refusal.status, refusal.kind, refusal.message)

    return guarded


def _refusal(error: Exception) -> _Refusal:
    match error:
        case _Refusal():
            return error
        case ValidationError():
            first = error.errors(include_url=False, include_input=False)[0]
            where = ".".join(str(part) for part in first["loc"])
            return _Refusal(400, "BadRequestError", f"{where}: {first['msg']}" if where else first["msg"])
        case TooLong() | PromptRefused() | AdapterRefused():
            return _Refusal(400, "BadRequestError", str(error))
        case UnknownModel():
            return _Refusal(404, "NotFoundError", f"The model `{error}` does not exist.")
        case QueueFull():
            return _Refusal(429, "OverloadedError", "Too many requests are waiting; try again in a moment.")
        case Sleeping():
            return _Refusal(503, "SleepingError", "The engine is asleep: its memory is lent to a training job.")
        case GenerationFailed():
            return _Refusal(500, "InternalServerError", str(error))
        case DoesNotFit():
            return _Refusal(503, "OutOfMemoryError", "There is not enough memory on the device for this model now.")
        case AfinaError():
            return _Refusal(404, "NotFoundError", str(error))
    log.error("a request failed", exc_info=error)
    return _Refusal(500, "InternalServerError", "The engine failed on this request.")


def _error(status: int, kind: str, message: str) -> JSONResponse:
    headers = {"Retry-After": "2"} if status in (429, 503) else None
    return JSONResponse(protocol.error(message, kind, status), status, headers=headers)


async def _body(request: Request, kind: type[_Body]) -> _Body:
    if int(request.headers.get("content-length") or 0) > MAX_BODY:
        raise _Refusal(413, "BadRequestError", f"The request is larger than {MAX_BODY} bytes.")
    raw = bytearray()
    async for part in request.stream():
        raw += part
        if len(raw) > MAX_BODY:
            raise _Refusal(413, "BadRequestError", f"The request is larger than {MAX_BODY} bytes.")
    return kind.model_validate_json(bytes(raw))


class _Routes:
    def __init__(self, engine: Engine, embedder: Embedder | None) -> None:
        self._engine = engine
        self._figures = Figures()
        self._embedder = embedder

    async def health(self, _request: Request) -> Response:
        return Response(status_code=200 if self._engine.loop.alive else 503)

    async def metrics(self, _request: Request) -> Response:
        return Response(self._figures.render(self._engine), headers={"Content-Type": CONTENT_TYPE})

    async def models(self, _request: Request) -> Response:
        engine = self._engine
        data = [_model(base, engine.created, max_model_len=engine.context(base)) for base in engine.bases()]
        data += [
            _model(name, known.created, parent=known.base_id, root=str(known.folder))
            for name, known in engine.adapters.items()
        ]
        return JSONResponse({"object": "list", "data": data})

    async def chat(self, request: Request) -> Response:
        body = await _body(request, protocol.ChatRequest)
        target = await self._engine.target(body.model)
        messages = [message.plain() for message in body.messages]
        prompt = await asyncio.to_thread(target.prompter.chat, messages, body.chat_template_kwargs)
        return await self._answer(request, body, target, prompt, chat=True)

    async def complete(self, request: Request) -> Response:
        body = await _body(request, protocol.CompletionRequest)
        target = await self._engine.target(body.model)
        prompt = await asyncio.to_thread(target.prompter.text, body.prompt)
        if not prompt:
            raise _Refusal(400, "BadRequestError", "The prompt is empty.")
        return await self._answer(request, body, target, prompt, chat=False)

    async def tokenize(self, request: Request) -> Response:
        body = await _body(request, protocol.TokenizeRequest)
        target = await self._engine.target(body.model)
        if body.messages is not None:
            messages = [message.plain() for message in body.messages]
            tokens = await asyncio.to_thread(target.prompter.chat, messages, body.chat_template_kwargs)
        else:
            tokens = await asyncio.to_thread(target.prompter.text, body.prompt or "")
        return JSONResponse({"count": len(tokens), "max_model_len": target.base.context, "tokens": tokens})

    async def embeddings(self, request: Request) -> Response:
        body = await _body(request, protocol.EmbeddingRequest)
        if self._embedder is None:
            raise _Refusal(404, "NotFoundError", "No embedding model is set.")
        texts = [body.input] if isinstance(body.input, str) else body.input
        made = await aside(self._embedder.embed, texts)
        name = body.model or self._embedder.name
        return JSONResponse(protocol.embeddings(name, made.vectors, made.tokens, body.encoding_format))

    async def load(self, request: Request) -> Response:
        body = await _body(request, protocol.LoadAdapter)
        if not body.lora_name or not body.lora_path:
            raise _Refusal(400, "InvalidUserInput", "Both 'lora_name' and 'lora_path' must be provided.")
        name = body.lora_name
        try:
            await self._engine.load_adapter(name, body.lora_path, replace=body.load_inplace)
        except AlreadyLoaded:
            raise _Refusal(
                400,
                "InvalidUserInput",
                f"The lora adapter '{name}' has already been loaded. "
                "If you want to load the adapter in place, set 'load_inplace' to True.",
            ) from None
        except AdapterMissing as error:
            raise _Refusal(404, "NotFoundError", f"Loading lora {name} failed: {error}") from None
        except AdapterRefused as error:
            raise _Refusal(400, "BadRequestError", f"Loading lora {name} failed: {error}") from None
        log.info("adapter loaded", extra={"adapter": name, "job": job_of(name)})
        return PlainTextResponse(f"Success: LoRA adapter '{name}' added successfully.")

    async def unload(self, request: Request) -> Response:
        body = await _body(request, protocol.UnloadAdapter)
        if not body.lora_name:
            raise _Refusal(400, "InvalidUserInput", "'lora_name' needs to be provided to unload a LoRA adapter.")
        try:
            self._engine.unload_adapter(body.lora_name)
        except UnknownModel:
            raise _Refusal(404, "NotFoundError", f"The lora adapter '{body.lora_name}' cannot be found.") from None
        log.info("adapter unloaded", extra={"adapter": body.lora_name, "job": job_of(body.lora_name)})
        return PlainTextResponse(f"Success: LoRA adapter '{body.lora_name}' removed successfully.")

    async def sleep(self, _request: Request) -> Response:
        await self._engine.sleep()
        return Response()

    async def wake_up(self, _request: Request) -> Response:
        await self._engine.wake_up()
        return Response()

    async def is_sleeping(self, _request: Request) -> Response:
        return JSONResponse({"is_sleeping": self._engine.sleeping, **self._engine.footprint()})

    async def _answer(
        self,
        request: Request,
        body: protocol.ChatRequest | protocol.CompletionRequest,
        target: Target,
        prompt: list[int],
        *,
        chat: bool,
    ) -> Response:
        room = self._engine.fit(target, prompt, body.wanted)
        limit = room if body.wanted else min(room, protocol.DEFAULT_MAX_TOKENS)
        written = self._engine.generate(target, prompt, body.sampling(limit))
        pieces = self._figures.counted(target, len(prompt), written)
        answer = protocol.Answer(body.model or self._engine.default_base, chat=chat)
        if not body.stream:
            return JSONResponse(await whole(request, pieces, answer, len(prompt)))
        # The first piece is awaited here, so that a full queue is a status and not a broken stream.
        first = await anext(pieces)
        events = lines(first, pieces, answer, len(prompt), with_usage=body.stream_options.include_usage)
        return StreamingResponse(events, media_type="text/event-stream", headers={"Cache-Control": "no-cache"})


def _model(name: str, created: int, **more: Any) -> dict[str, Any]:
    model = {"id": name, "object": "model", "created": created, "owned_by": "afina", "root": name, "parent": None}
    return model | {"max_model_len": None} | more
