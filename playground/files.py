"""Attachments: how a file is kept, and the address under which it is served.

Rule: an address is signed and ends after a day, as on Discord's network; what is not an attachment has none.
Not covered: who sees the message that carries it.
"""

from __future__ import annotations

import hashlib
import hmac
import mimetypes
import re
import secrets
import struct
from collections.abc import Mapping
from urllib.parse import quote

from playground.clock import Clock
from playground.model import Attachment, Json
from playground.rules import Upload
from playground.world import World

LINK_LIFE = 24 * 3600  # seconds that an address works


class Links:
    """Makes and checks addresses. *origin*: `http://host:port`, known once the server listens."""

    def __init__(self, clock: Clock) -> None:
        self.origin = ""
        self.expired_before = 0  # addresses issued before this second are dead (a fault)
        self._clock = clock
        self._secret = secrets.token_bytes(16)

    def url(self, attachment: Attachment) -> str:
        """A signed address (`ex` is its end and `is` its beginning, in hexadecimal seconds)."""
        now = int(self._clock.now())
        folder = "ephemeral-attachments" if attachment.ephemeral else "attachments"
        path = f"/{folder}/{attachment.channel_id}/{attachment.id}/{quote(attachment.filename)}"
        begins, ends = f"{now:x}", f"{now + LINK_LIFE:x}"
        return f"{self.origin}{path}?ex={ends}&is={begins}&hm={self._sign(attachment.id, begins, ends)}"

    def valid(self, attachment: Attachment, query: Mapping[str, str]) -> bool:
        """Whether the query of an address is ours and still counts."""
        begins, ends = query.get("is", ""), query.get("ex", "")
        if not hmac.compare_digest(query.get("hm", ""), self._sign(attachment.id, begins, ends)):
            return False
        return int(ends, 16) >= self._clock.now() and int(begins, 16) >= self.expired_before

    def expire_all(self) -> None:
        """All addresses given out so far stop working."""
        self._clock.advance(1)  # addresses count in seconds: what is given out next must be younger
        self.expired_before = int(self._clock.now())

    def _sign(self, attachment_id: int, begins: str, ends: str) -> str:
        text = f"{attachment_id}.{begins}.{ends}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()


def store(world: World, channel_id: int, upload: Upload, described: Json, *, ephemeral: bool = False) -> Attachment:
    """Keep a file as Discord does: its name made safe, its kind guessed from the name, a picture measured."""
    wanted = str(described.get("filename") or upload.filename)
    filename = safe_name(wanted)
    width, height = picture_size(upload.data)
    attachment = Attachment(
        id=world.clock.snowflake(),
        filename=filename,
        data=upload.data,
        content_type=content_type(filename),
        channel_id=channel_id,
        ephemeral=ephemeral,
        description=described.get("description"),
        spoiler=filename.startswith("SPOILER_"),
        width=width,
        height=height,
    )
    world.files[attachment.id] = attachment
    return attachment


def safe_name(filename: str) -> str:
    """Discord keeps letters, digits, `_ . -`; spaces become underscores, the rest disappears."""
    return re.sub(r"[^\w.\-]", "", filename.strip().replace(" ", "_")) or "unknown"


def picture_size(data: bytes) -> tuple[int | None, int | None]:
    """Width and height of a PNG, else nothing."""
    if data[:8] == b"\x89PNG\r\n\x1a\n" and len(data) >= 24:
        width, height = struct.unpack(">II", data[16:24])
        return width, height
    return None, None


def content_type(filename: str) -> str | None:
    """What the file's name says it is; None when it says nothing."""
    if filename.endswith(".jsonl"):
        return None
    guess, _ = mimetypes.guess_type(filename)
    return f"{guess}; charset=utf-8" if guess and guess.startswith("text/") else guess
