"""Pieces of an answer as one JSON object, or as server-sent events.

Rule of this file: whoever leaves frees the row: closing the connection closes the iterator, which cancels the request.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing, suppress
from typing import Any

from starlette.requests import ClientDisconnect, Request

from jobs.gpu.engine import protocol
from jobs.gpu.engine.engine import GenerationFailed, Piece


async def whole(
    request: Request, pieces: AsyncGenerator[Piece], answer: protocol.Answer, prompt: int
) -> dict[str, Any]:
    """The complete answer; generation ends early if the client goes away."""
    collecting = asyncio.ensure_future(_collect(pieces))
    leaving = asyncio.ensure_future(_gone(request))
    try:
        await asyncio.wait({collecting, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if not collecting.done():
            raise ClientDisconnect
        text, last = collecting.result()
    finally:
        for task in (collecting, leaving):
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
    return answer.whole(text, last.finish or "stop", protocol.usage(prompt, last.tokens, last.cached))


async def _collect(pieces: AsyncGenerator[Piece]) -> tuple[str, Piece]:
    texts = []
    async with aclosing(pieces):
        async for piece in pieces:
            texts.append(piece.text)
            last = piece
    return "".join(texts), last


async def _gone(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def lines(
    first: Piece, pieces: AsyncGenerator[Piece], answer: protocol.Answer, prompt: int, *, with_usage: bool
) -> AsyncGenerator[str]:
    """Server-sent events of one answer; closing them cancels it."""
    async with aclosing(pieces):
        piece = first
        yield _event(answer.chunk(piece.text, piece.finish, first=True))
        try:
            async for piece in pieces:
                yield _event(answer.chunk(piece.text, piece.finish))
        except GenerationFailed as error:
            yield _event(protocol.error(str(error), "InternalServerError", 500))
        if with_usage:
            yield _event(answer.usage(protocol.usage(prompt, piece.tokens, piece.cached)))
        yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    return f"data: {json.dumps(data, ensure_ascii=False)}\n\n"
