"""The REST side: finds the route, applies faults and limits, reads the body, answers.

Rule: what is not in the table of routes is refused and recorded in `unhandled`, with the reason; a refusal becomes
Discord's JSON. Every request is recorded in `requests`, with its status.
Not covered: what the routes do (see `routes/`).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aiohttp import BodyPartReader, web

from playground import refusals
from playground.model import Json
from playground.refusals import Refusal
from playground.rules import Upload

if TYPE_CHECKING:
    from playground.api import Api

PREFIX = "/api/v10"
Handler = Callable[["Api", "Call"], Awaitable[Any]]


@dataclass(kw_only=True)
class Call:
    """One request, read."""

    params: dict[str, str]  # from the path
    query: dict[str, str]
    body: Json
    uploads: list[Upload] = field(default_factory=list)

    def id(self, name: str) -> int:
        """A snowflake of the path; anything else is a form error, as on Discord."""
        value = self.params[name]
        if not value.isdigit() or int(value) >= 1 << 63:
            raise refusals.form_error(f"{name}_id", "NUMBER_TYPE_COERCE", f'Value "{value}" is not snowflake.')
        return int(value)


@dataclass(frozen=True, kw_only=True)
class Route:
    method: str
    template: str
    handler: Handler
    by_token: bool = False  # no bot token needed, and free of the limit for the whole bot
    limited: bool = True

    @property
    def pattern(self) -> re.Pattern[str]:
        return re.compile(re.sub(r"\{(\w+)\}", r"(?P<\1>[^/]+)", self.template))

    @property
    def name(self) -> str:
        return f"{self.method} {self.template}"

    def major(self, params: dict[str, str]) -> str:
        """The parameters that have a bucket of their own."""
        return "+".join(params[one] for one in ("channel", "guild", "application", "token") if one in params)


@dataclass(frozen=True, kw_only=True)
class Record:
    """A request that was answered, for tests that count."""

    method: str
    path: str  # after /api/v10
    route: str  # «METHOD template»; empty if unknown
    status: int  # 0: the connection was cut
    at: float  # loop time, seconds


class Rest:
    """Serves `/api/v10`. *api* holds what the routes work on."""

    def __init__(self, api: Api, routes: list[Route], token: str) -> None:
        self.api = api
        self.token = token
        self._routes = [(route, route.pattern) for route in routes]
        self.unhandled: list[Json] = []
        self.requests: list[Record] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        path = request.path.removeprefix(PREFIX)
        route, params = self._find(request.method, path)
        try:
            response = await self._with_faults(request, path, route, params)
        except Refusal as refusal:
            response = _json(refusal.status, refusal.body, {"Via": "1.1 playground"} if refusal.status == 429 else {})
        status = response.status if response else 0
        at = asyncio.get_running_loop().time()
        name = route.name if route else ""
        self.requests.append(Record(method=request.method, path=path, route=name, status=status, at=at))
        if response is None:  # the connection was cut on purpose
            if request.transport:
                request.transport.abort()
            return web.Response(status=500)
        return response

    def _find(self, method: str, path: str) -> tuple[Route | None, dict[str, str]]:
        for route, pattern in self._routes:
            if route.method == method and (match := pattern.fullmatch(path)):
                return route, match.groupdict()
        return None, {}

    async def _with_faults(
        self, request: web.Request, path: str, route: Route | None, params: dict[str, str]
    ) -> web.Response | None:
        fault = self.api.faults.take(request.method, path)
        if fault is None:
            return await self._answer(request, path, route, params)
        match fault.kind:
            case "delay":
                await asyncio.sleep(fault.seconds)
                return await self._answer(request, path, route, params)
            case "drop-before":
                return None
            case "drop-after":
                await self._answer(request, path, route, params)
                return None
        headers = {}
        body: Json = {"message": f"{fault.status}: injected fault", "code": 0}
        if fault.retry_after is not None:
            body |= {"retry_after": fault.retry_after, "global": fault.whole_bot}
            headers["Retry-After"] = str(max(1, round(fault.retry_after)))
        if fault.status == 429:
            body["message"] = "You are being rate limited."
            headers |= {"Via": "1.1 playground", "X-RateLimit-Scope": "global" if fault.whole_bot else "user"}
        return _json(fault.status, body, headers)

    async def _answer(
        self, request: web.Request, path: str, route: Route | None, params: dict[str, str]
    ) -> web.Response:
        if route is None:
            self._complain(request.method, path, "no such route")
            known = any(pattern.fullmatch(path) for _, pattern in self._routes)
            raise refusals.method_not_allowed() if known else refusals.not_found()
        if not route.by_token and request.headers.get("Authorization") != f"Bot {self.token}":
            raise refusals.unauthorized()
        headers: dict[str, str] = {}
        if route.limited:
            verdict = self.api.limits.take(route.name, route.major(params), counts_for_bot=not route.by_token)
            headers = verdict.headers
            if verdict.retry_after is not None:
                return _too_many(verdict.retry_after, verdict.whole_bot, headers)
        try:
            body, uploads = await _read(request)
            call = Call(params=params, query=dict(request.query), body=body, uploads=uploads)
            result = await route.handler(self.api, call)
        except Refusal as refusal:
            self._note_unknown_fields(request.method, path, refusal)
            if refusal.status == 429:
                headers |= {"Via": "1.1 playground"}
            return _json(refusal.status, refusal.body, headers)
        if result is None:
            return web.Response(status=204, headers=headers)
        return _json(200, result, headers)

    def _note_unknown_fields(self, method: str, path: str, refusal: Refusal) -> None:
        if "UNKNOWN_FIELD" in json.dumps(refusal.body):
            self._complain(method, path, "unknown field", refusal.body.get("errors"))

    def _complain(self, method: str, path: str, reason: str, detail: Any = None) -> None:
        self.unhandled.append({"method": method, "path": path, "reason": reason, "detail": detail})


async def _read(request: web.Request) -> tuple[Json, list[Upload]]:
    """The JSON body and the files of a request: `application/json`, or multipart with `payload_json`."""
    if request.content_type.startswith("multipart/"):
        return await _read_multipart(request)
    raw = await request.read()
    if not raw:
        return {}, []
    if request.content_type != "application/json":
        raise refusals.form_error("_misc", "CONTENT_TYPE_INVALID", "Expected application/json")
    return _parse(raw), []


async def _read_multipart(request: web.Request) -> tuple[Json, list[Upload]]:
    body: Json = {}
    uploads: list[Upload] = []
    reader = await request.multipart()
    while (part := await reader.next()) is not None:
        assert isinstance(part, BodyPartReader)
        data = bytes(await part.read(decode=False))
        if part.name == "payload_json":
            body = _parse(data)
        elif match := re.fullmatch(r"files\[(\d+)\]", part.name or ""):
            uploads.append(Upload(index=int(match[1]), filename=part.filename or "unknown", data=data))
        else:
            raise refusals.form_error(part.name or "form", "UNKNOWN_FIELD", "This part is not part of the contract")
    return body, uploads


def _parse(raw: bytes) -> Json:
    try:
        body = json.loads(raw)
    except ValueError:
        raise refusals.bad_json() from None
    return body if isinstance(body, dict) else {"_list": body}


def _json(status: int, body: Any, headers: dict[str, str]) -> web.Response:
    """An answer whose Content-Type is exactly `application/json`, which clients compare literally."""
    return web.Response(
        status=status,
        body=json.dumps(body).encode(),
        headers={**headers, "Content-Type": "application/json"},
    )


def _too_many(retry_after: float, whole_bot: bool, headers: dict[str, str]) -> web.Response:
    body = {"message": "You are being rate limited.", "retry_after": round(retry_after, 3), "global": whole_bot}
    scope = "global" if whole_bot else "user"
    extra = {"Via": "1.1 playground", "Retry-After": str(int(retry_after) + 1), "X-RateLimit-Scope": scope}
    return _json(429, body, headers | extra)
