"""The least that a bot needs: every route is there, and each kind of record has the fields that the client reads."""

from __future__ import annotations

import pytest

from playground import Playground
from playground.routes import table
from tests.playground.conftest import Raw

ROUTES = """
GET /users/@me · GET /oauth2/applications/@me · GET /users/1 · GET /channels/1 · GET /guilds/1
GET /guilds/1/members/2 · POST /users/@me/channels
PUT /applications/1/commands · GET /applications/1/commands
PUT /applications/1/guilds/2/commands · GET /applications/1/guilds/2/commands
POST /channels/1/messages · GET /channels/1/messages · GET /channels/1/messages/2
PATCH /channels/1/messages/2 · DELETE /channels/1/messages/2
PUT /channels/1/messages/2/reactions/👍/@me · DELETE /channels/1/messages/2/reactions/👍/@me
DELETE /channels/1/messages/2/reactions/👍/3 · POST /channels/1/messages/2/threads
POST /channels/1/threads · POST /channels/1/typing · PATCH /channels/1 · DELETE /channels/1
PUT /channels/1/thread-members/2 · DELETE /channels/1/thread-members/2
POST /interactions/1/token/callback · POST /webhooks/1/token
GET /webhooks/1/token/messages/@original · PATCH /webhooks/1/token/messages/@original
DELETE /webhooks/1/token/messages/@original · PATCH /webhooks/1/token/messages/2
"""

FIELDS = {
    "/users/@me": "id username discriminator avatar",
    "/users/{ana}": "id username discriminator avatar",
    "/guilds/{guild}/members/{ana}": "user roles flags",
    "/guilds/{guild}": "id name roles",
    "/channels/{channel}": "id type name position",
    "/channels/{thread}": "id type parent_id name owner_id message_count member_count thread_metadata",
    "/channels/{channel}/messages/{message}": "id author content type attachments reactions",
    "/oauth2/applications/@me": "id name icon description bot_public bot_require_code_grant verify_key owner",
}


@pytest.mark.parametrize(
    "route", [one.strip() for line in ROUTES.split("\n") for one in line.split("·") if one.strip()]
)
def test_the_route_exists(route: str) -> None:
    method, path = route.split(" ")
    assert [one.name for one in table() if one.method == method and one.pattern.fullmatch(path)]


def test_no_route_hides_another() -> None:
    names = [one.name for one in table()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("path", FIELDS)
async def test_a_record_has_the_fields_that_the_client_reads(path: str, place: Playground, raw: Raw) -> None:
    ana = place.person("Ana")
    message = await ana.attach(("a.txt", b"x"))
    await message.react("👍")
    thread = await ana.start_thread("Hilo")
    known = {"ana": ana.id, "guild": next(iter(place.world.guilds)), "channel": ana.here}
    status, record = await raw("GET", path.format(**known, thread=thread.id, message=message.id))
    assert status == 200
    assert set(FIELDS[path].split()) <= set(record)
