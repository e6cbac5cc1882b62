"""What Discord accepts as a message, a thread or a command, and what it refuses.

Rule: a body is judged whole, all mistakes are told at once (50035 with paths), then permissions, in Discord's order.
Unknown fields are refused too: Discord ignores them, but here they mean that the contract has a hole.
Not covered: components (see `component_rules`); polls, stickers, forwarding and slow mode, which the contract leaves
out.
"""

from __future__ import annotations

from dataclasses import dataclass

from playground import components, refusals
from playground.component_rules import check_message
from playground.field_rules import unknown_keys
from playground.model import Attachment, Channel, ChannelType, Json, Message, MessageFlag
from playground.permissions import Permission
from playground.refusals import FormErrors
from playground.world import World

MAX_CONTENT = 2000
MAX_FILES = 10
MAX_REACTIONS = 20
LATE_EDITS = 3  # edits an hour of a message older than an hour; the real figure is not published
ARCHIVE_MINUTES = (60, 1440, 4320, 10080)

MESSAGE_FIELDS = {
    "content", "nonce", "enforce_nonce", "tts", "embeds", "allowed_mentions", "message_reference", "components",
    "attachments", "flags",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Upload:
    """A file of a multipart request."""

    index: int  # n of files[n]
    filename: str
    data: bytes


def check_body(body: Json, errors: FormErrors, *, v2: bool, path: str = "", fields: set[str] = MESSAGE_FIELDS) -> None:
    """Report what is wrong with the fields of a message body; *v2*: it shall be a Components V2 message."""
    prefix = f"{path}." if path else ""
    unknown_keys(body, fields, errors, path)
    content = body.get("content")
    if content is not None and not isinstance(content, str):
        errors.add(f"{prefix}content", "STRING_TYPE_CONVERT", "Could not interpret value as string.")
    elif content and len(content) > MAX_CONTENT:
        errors.add(f"{prefix}content", "BASE_TYPE_MAX_LENGTH", f"Must be {MAX_CONTENT} or fewer in length.")
    if body.get("embeds"):
        check_embeds(body["embeds"], errors, f"{prefix}embeds")
    if body.get("components"):
        check_message(body["components"], v2, errors, f"{prefix}components")
    if len(str(body.get("nonce") or "")) > 25:
        errors.add(f"{prefix}nonce", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
    for name in ("content", "embeds"):
        if v2 and body.get(name):
            message = f"The '{name}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"
            errors.add(f"{prefix}{name}", "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", message)
    check_allowed_mentions(body.get("allowed_mentions"), errors, f"{prefix}allowed_mentions")


def check_allowed_mentions(allowed: object, errors: FormErrors, path: str) -> None:
    if not isinstance(allowed, dict):
        return
    unknown_keys(allowed, {"parse", "users", "roles", "replied_user"}, errors, path)
    parse = allowed.get("parse") or []
    for index, one in enumerate(parse):
        if one not in ("users", "roles", "everyone"):
            message = "Value must be one of ('users', 'roles', 'everyone')."
            errors.add(f"{path}.parse.{index}", "BASE_TYPE_CHOICES", message)
    for name in ("users", "roles"):
        if name in parse and allowed.get(name):
            message = f"parse:[{name!r}] and {name}: [ids...] are mutually exclusive."
            errors.add(path, "MESSAGE_ALLOWED_MENTIONS_PARSE_EXCLUSIVE", message)


def check_embeds(embeds: object, errors: FormErrors, path: str) -> None:
    if not isinstance(embeds, list) or len(embeds) > 10:
        errors.add(path, "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")
        return
    total = 0
    for index, embed in enumerate(embeds):
        where = f"{path}.{index}"
        parts = [("title", 256), ("description", 4096)]
        texts = [(f"{where}.{name}", embed.get(name) or "", most) for name, most in parts]
        texts.append((f"{where}.footer.text", (embed.get("footer") or {}).get("text") or "", 2048))
        texts.append((f"{where}.author.name", (embed.get("author") or {}).get("name") or "", 256))
        fields = embed.get("fields") or []
        if len(fields) > 25:
            errors.add(f"{where}.fields", "BASE_TYPE_MAX_LENGTH", "Must be 25 or fewer in length.")
        for number, one in enumerate(fields):
            for name, most in (("name", 256), ("value", 1024)):
                spot = f"{where}.fields.{number}.{name}"
                if not one.get(name):
                    errors.required(spot)
                texts.append((spot, one.get(name) or "", most))
        for spot, text, most in texts:
            errors.length(spot, text, 0, most)
            total += len(text)
    if total > 6000:
        errors.add(path, "MAX_EMBED_SIZE_EXCEEDED", "Embed size exceeds maximum size of 6000")


def check_uploads(uploads: list[Upload], limit: int) -> None:
    """Refuse too many files, or one above *limit* bytes (413, 40005)."""
    if len(uploads) > MAX_FILES:
        raise refusals.form_error("attachments", "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")
    if any(len(one.data) > limit for one in uploads):
        raise refusals.too_large()


def check_references(tree: list[Json], attachments: list[Attachment], errors: FormErrors, path: str) -> None:
    """Every `attachment://name` of the components must be among the files of the message."""
    names = {one.filename for one in attachments}
    for where, component in components.walk(tree, path):
        for media in components.media_of(component):
            url = str(media.get("url", ""))
            if url.startswith("attachment://") and url.removeprefix("attachment://") not in names:
                message = f"The attachment {url} is not among the files of the message"
                errors.add(where, "UNFURLED_MEDIA_ITEM_REFERENCED_ATTACHMENT_NOT_FOUND", message)


def refuse_empty(content: str, embeds: list[Json], attachments: list[Attachment], tree: list[Json], v2: bool) -> None:
    """A message must hold something (50006)."""
    if v2:
        if not tree:
            raise refusals.form_error("components", "BASE_TYPE_REQUIRED", "This field is required")
    elif not (content.strip() or embeds or attachments or tree):
        raise refusals.empty_message()


def may_send(world: World, user_id: int, channel: Channel) -> None:
    """Refuse unless the person may write in *channel*: kind, permission, lock."""
    if channel.type in (ChannelType.FORUM, ChannelType.CATEGORY):
        raise refusals.non_text_channel()
    granted = world.permissions(user_id, channel)
    needed = Permission.SEND_MESSAGES_IN_THREADS if channel.is_thread else Permission.SEND_MESSAGES
    if not granted & needed:
        raise refusals.missing_permissions()
    if channel.thread and channel.thread.locked and not granted & Permission.MANAGE_THREADS:
        raise refusals.thread_locked()
    if channel.is_dm:
        may_write_direct(world, user_id, channel)


def may_write_direct(world: World, user_id: int, channel: Channel) -> None:
    """Direct messages need an open door and a server in common (50007)."""
    other = next(one for one in channel.recipients if one != user_id)
    if not world.users[other].accepts_dms or not world.mutual_guilds(user_id, other):
        raise refusals.cannot_message_user()


def may_attach(world: World, user_id: int, channel: Channel, uploads: list[Upload]) -> None:
    if uploads and not world.permissions(user_id, channel) & Permission.ATTACH_FILES:
        raise refusals.missing_permissions()


def refuse_archived(channel: Channel) -> None:
    """Edits, deletions, reactions and members need an open thread (50083)."""
    if channel.thread and channel.thread.archived:
        raise refusals.thread_archived()


def may_edit(world: World, user_id: int, message: Message, body: Json) -> None:
    """Only one's own messages; a moderator may only change the flags. Late edits are few (30046)."""
    if message.author_id != user_id:
        granted = world.permissions(user_id, world.channels[message.channel_id])
        if set(body) - {"flags"} or not granted & Permission.MANAGE_MESSAGES:
            raise refusals.edit_of_another()
    now = world.clock.now()
    recent = [at for at in message.late_edits if now - at < 3600]
    if now - message.created_at > 3600 and len(recent) >= LATE_EDITS:
        raise refusals.too_many_late_edits(round(3600 - (now - recent[0]), 3))


def check_v2_conversion(message: Message, body: Json, errors: FormErrors) -> None:
    """A message becomes Components V2 only when its old fields are emptied, and never goes back."""
    wanted = bool(int(body.get("flags") or 0) & MessageFlag.COMPONENTS_V2)
    was = bool(message.flags & MessageFlag.COMPONENTS_V2)
    if was and not wanted and body.get("flags") is not None:
        errors.add("flags", "MESSAGE_FLAGS_COMPONENTS_V2_CANNOT_BE_REMOVED", "IS_COMPONENTS_V2 cannot be removed")
    if was or not wanted:
        return
    for name in ("content", "embeds"):
        if getattr(message, name) and body.get(name, True):
            text = f"The '{name}' field cannot be used when using MessageFlags.IS_COMPONENTS_V2"
            errors.add(name, "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", text)


def check_thread_name(body: Json, errors: FormErrors) -> None:
    name = body.get("name")
    if not isinstance(name, str):
        errors.required("name")
    else:
        errors.length("name", name.strip(), 1, 100)
    duration = body.get("auto_archive_duration")
    if duration is not None and duration not in ARCHIVE_MINUTES:
        message = f"Value must be one of {ARCHIVE_MINUTES}."
        errors.add("auto_archive_duration", "BASE_TYPE_CHOICES", message)
