"""An engine over real HTTP whose answers the test writes: OpenAI's protocol with vLLM's adapter routes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

BASE = "afina-mini"


class ProtocolEngine:
    """`say` makes the pieces of each answer; `asked` are the requests for one, oldest first."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.adapters: dict[str, str] = {}
        self.loads: list[str] = []
        self.refusals: list[tuple[int, str]] = []  # (status, message) for the next requests of an answer
        self.retry_after = "1"  # of those with 429 or 503
        self.load_refusal: tuple[int, str] | None = None
        self.context = 4096
        self.pause = 0.0  # seconds before each piece
        self.breaks_after: int | None = None  # pieces, then the connection is cut
        self.gone = 0  # answers whose reader left
        self.asleep = False
        self.orders: list[str] = []  # "sleep" and "wake", as they came
        self.order_refusal: tuple[int, str] | None = None
        self.footprint: dict[str, Any] = {}  # what it says of itself beside whether it sleeps
        self.asked_asleep = 0  # answers that were asked for while it slept: vLLM would not survive that
        self.say: Callable[[dict[str, Any]], list[str]] = lambda body: [
            f"{body['model']}:",
            " ",
            body["messages"][-1]["content"],
        ]
        self.url = ""
        self._runner: web.AppRunner | None = None

    async def start(self, port: int = 0) -> None:
        app = web.Application()
        app.add_routes(
            [
                web.get("/health", self._health),
                web.get("/v1/models", self._models),
                web.post("/tokenize", self._tokenize),
                web.post("/v1/chat/completions", self._chat),
                web.post("/v1/load_lora_adapter", self._load),
                web.post("/v1/unload_lora_adapter", self._unload),
                web.post("/sleep", self._sleep),
                web.post("/wake_up", self._wake_up),
                web.get("/is_sleeping", self._is_sleeping),
            ]
        )
        self._runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", port)
        await site.start()
        self.url = f"http://127.0.0.1:{site._server.sockets[0].getsockname()[1]}"

    async def stop(self) -> None:
        if self._runner:
            await self._runner.cleanup()
            self._runner = None

    async def restart(self) -> None:
        """As a new process at the same address: it knows no adapter."""
        port = int(self.url.rsplit(":", 1)[1])
        await self.stop()
        self.adapters.clear()
        self.asleep = False
        await self.start(port)

    async def _sleep(self, _request: web.Request) -> web.Response:
        self.orders.append("sleep")
        if self.order_refusal:
            return _error(*self.order_refusal)
        self.asleep = True
        return web.Response()

    async def _wake_up(self, _request: web.Request) -> web.Response:
        self.orders.append("wake")
        if self.order_refusal:
            return _error(*self.order_refusal)
        self.asleep = False
        return web.Response()

    async def _is_sleeping(self, _request: web.Request) -> web.Response:
        return web.json_response({"is_sleeping": self.asleep, **self.footprint})

    async def _health(self, _request: web.Request) -> web.Response:
        return web.Response()

    async def _models(self, _request: web.Request) -> web.Response:
        data = [{"id": BASE, "parent": None}] + [{"id": name, "parent": BASE} for name in self.adapters]
        return web.json_response({"object": "list", "data": data})

    async def _tokenize(self, request: web.Request) -> web.Response:
        body = await request.json()
        count = sum(len(m["content"]) + 4 for m in body["messages"])  # a token a character
        return web.json_response({"count": count, "max_model_len": self.context})

    async def _load(self, request: web.Request) -> web.Response:
        body = await request.json()
        if self.load_refusal:
            return _error(*self.load_refusal)
        if body["lora_name"] in self.adapters:
            return _error(400, f"The lora adapter '{body['lora_name']}' has already been loaded.")
        self.loads.append(body["lora_name"])
        self.adapters[body["lora_name"]] = body["lora_path"]
        return web.Response(text="Success")

    async def _unload(self, request: web.Request) -> web.Response:
        name = (await request.json())["lora_name"]
        if self.adapters.pop(name, None) is None:
            return _error(404, f"The lora adapter '{name}' cannot be found.")
        return web.Response(text="Success")

    async def _chat(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        self.asked_asleep += self.asleep
        if not body.get("stream"):  # the canary
            if body["model"] not in (BASE, *self.adapters):
                return _error(404, f"The model `{body['model']}` does not exist.")
            return web.json_response({"model": body["model"], "choices": []})
        self.asked.append(body)
        if self.refusals:
            refusal = _error(*self.refusals.pop(0))
            if refusal.status in (429, 503):
                refusal.headers["Retry-After"] = self.retry_after
            return refusal
        if body["model"] not in (BASE, *self.adapters):
            return _error(404, f"The model `{body['model']}` does not exist.")
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        try:
            for index, piece in enumerate(self.say(body)):
                if index == self.breaks_after:
                    request.transport.close()
                    return response
                await asyncio.sleep(self.pause)
                await _event(response, {"delta": {"content": piece}, "finish_reason": None})
            await _event(response, {"delta": {}, "finish_reason": "stop"})
            await response.write(b"data: [DONE]\n\n")
        except (ConnectionError, asyncio.CancelledError):
            self.gone += 1
            raise
        return response


async def _event(response: web.StreamResponse, choice: dict[str, Any]) -> None:
    await response.write(f"data: {json.dumps({'choices': [choice]})}\n\n".encode())


def _error(status: int, message: str) -> web.Response:
    return web.json_response({"error": {"message": message, "type": "x", "code": status}}, status=status)


@asynccontextmanager
async def protocol_engine() -> AsyncIterator[ProtocolEngine]:
    engine = ProtocolEngine()
    await engine.start()
    try:
        yield engine
    finally:
        await engine.stop()
