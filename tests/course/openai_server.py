"""A scripted server that speaks the OpenAI protocol: chat completions (streamed or not) and embeddings.

The test says what comes next; the server notes what it was sent.
"""

from __future__ import annotations

import asyncio
import json
import zlib
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web


@dataclass(frozen=True, kw_only=True)
class Reply:
    text: str = ""
    delay: float = 0.0  # seconds before the first byte
    cut: bool = False  # the connection ends in the middle of the stream
    silent_cut: bool = False  # the stream ends without a finish reason
    status: int = 200


@dataclass
class ScriptedOpenAI:
    url: str = ""
    replies: deque[Reply] = field(default_factory=deque)
    requests: list[dict[str, Any]] = field(default_factory=list)
    embeddings_away: bool = False

    def will_say(self, *replies: str | Reply) -> None:
        self.replies.extend(reply if isinstance(reply, Reply) else Reply(text=reply) for reply in replies)

    def prompt(self, number: int = -1) -> str:
        """All that the model was told in one request."""
        return "\n".join(message["content"] for message in self.requests[number]["messages"])

    async def chat(self, request: web.Request) -> web.StreamResponse:
        asked = await request.json()
        self.requests.append(asked)
        reply = self.replies.popleft()
        await asyncio.sleep(reply.delay)
        if reply.status != 200:
            return web.json_response({"error": {"message": "no"}}, status=reply.status)
        if not asked.get("stream"):
            message = {"role": "assistant", "content": reply.text}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            return web.json_response(
                {"id": "x", "object": "chat.completion", "model": "m", "created": 0, "choices": [choice]}
            )
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        words = reply.text.split(" ")
        for number, word in enumerate(words):
            if (reply.cut or reply.silent_cut) and number >= len(words) // 2:
                break
            await _event(response, {"content": word + (" " if number < len(words) - 1 else "")}, None)
        if reply.cut:
            assert request.transport is not None
            request.transport.abort()
            return response
        if not reply.silent_cut:
            await _event(response, {}, "stop")
            await response.write(b"data: [DONE]\n\n")
        return response

    async def embeddings(self, request: web.Request) -> web.Response:
        if self.embeddings_away:
            return web.json_response({"error": {"message": "no"}}, status=503)
        texts = (await request.json())["input"]
        texts = [texts] if isinstance(texts, str) else texts
        self.requests.append({"input": texts})
        data = [{"object": "embedding", "index": i, "embedding": _bag(text)} for i, text in enumerate(texts)]
        return web.json_response(
            {"object": "list", "data": data, "model": "m", "usage": {"prompt_tokens": 0, "total_tokens": 0}}
        )


def _bag(text: str) -> list[float]:
    """A vector of the words of a text, where «felino» and «gato» happen to be one word."""
    vector = [0.0] * 256
    for word in text.lower().replace("felino", "gato").split():
        vector[zlib.crc32(word.strip(".,;:¿?¡!").encode()) % 256] += 1.0
    return vector


async def _event(response: web.StreamResponse, delta: dict[str, str], finish: str | None) -> None:
    chunk = {
        "id": "x",
        "object": "chat.completion.chunk",
        "model": "m",
        "created": 0,
        "choices": [{"index": 0, "delta": delta, "finish_reason": finish}],
    }
    await response.write(f"data: {json.dumps(chunk)}\n\n".encode())


@asynccontextmanager
async def openai_server() -> AsyncIterator[ScriptedOpenAI]:
    script = ScriptedOpenAI()
    app = web.Application()
    app.router.add_post("/v1/chat/completions", script.chat)
    app.router.add_post("/v1/embeddings", script.embeddings)
    runner = web.AppRunner(app, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    script.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield script
    finally:
        await runner.cleanup()
