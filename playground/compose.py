"""From the body of a request to a message: reads, judges, and builds what `messages` then posts.

Rule: the same two functions serve every way in which the bot writes (channel, answer, follow-up, forum post): `draft`
for a new message, `changes` for an edit.
Not covered: whether the bot may write there (`rules.may_send`), which differs between those ways.
"""

from __future__ import annotations

from playground import files, refusals, rules
from playground.field_rules import unknown_keys
from playground.messages import Draft, editable_flags
from playground.model import Attachment, Channel, Json, Message, MessageFlag, MessageType
from playground.permissions import Permission
from playground.refusals import FormErrors
from playground.rules import Upload
from playground.world import World

ATTACHMENT_FIELDS = {
    "id", "filename", "description", "title", "is_spoiler", "duration_secs", "waveform", "size", "url", "proxy_url",
    "content_type", "width", "height", "spoiler", "ephemeral", "flags",
}  # fmt: skip


def draft(
    world: World, channel: Channel, body: Json, uploads: list[Upload], *, limit: int, ephemeral: bool = False
) -> Draft:
    """A new message of the bot, or the refusal. *limit*: bytes a file may have."""
    rules.check_uploads(uploads, limit)
    flags = int(body.get("flags") or 0)
    v2 = bool(flags & MessageFlag.COMPONENTS_V2)
    errors = FormErrors()
    rules.check_body(body, errors, v2=v2)
    attached = attach(
        world, channel.id, body.get("attachments"), uploads=uploads, present=[], errors=errors, ephemeral=ephemeral
    )
    tree = body.get("components") or []
    if not errors.tree:
        rules.check_references(tree, attached, errors, "components")
    reference = _reference(world, channel, body, errors)
    errors.refuse_if_any()
    content, embeds = body.get("content") or "", _embeds(body)
    rules.refuse_empty(content, embeds, attached, tree, v2)
    kept = MessageFlag.COMPONENTS_V2 | MessageFlag.SUPPRESS_EMBEDS | MessageFlag.SUPPRESS_NOTIFICATIONS
    return Draft(
        content=content.strip(),
        type=MessageType.REPLY if reference else MessageType.DEFAULT,
        flags=int(flags & kept) | (MessageFlag.EPHEMERAL if ephemeral else 0),
        embeds=embeds,
        components=tree,
        attachments=attached,
        reference=reference,
        nonce=None if body.get("nonce") is None else str(body["nonce"]),
        tts=bool(body.get("tts")),
        allowed_mentions=body.get("allowed_mentions"),
    )


def changes(world: World, message: Message, body: Json, uploads: list[Upload], *, limit: int) -> Json:
    """The attributes that an edit gives to *message*, or the refusal."""
    rules.check_uploads(uploads, limit)
    wanted = int(body.get("flags") or 0)
    v2 = bool((message.flags | wanted) & MessageFlag.COMPONENTS_V2)
    errors = FormErrors()
    rules.check_body(body, errors, v2=v2)
    rules.check_v2_conversion(message, body, errors)
    attached = attach(
        world,
        message.channel_id,
        body.get("attachments"),
        uploads=uploads,
        present=message.attachments,
        errors=errors,
        ephemeral=message.ephemeral,
    )
    tree = (body["components"] or []) if "components" in body else message.components
    if not errors.tree:
        rules.check_references(tree, attached, errors, "components")
    errors.refuse_if_any()
    content = (body["content"] or "").strip() if "content" in body else message.content
    embeds = _embeds(body) if "embeds" in body else message.embeds
    rules.refuse_empty(content, embeds, attached, tree, v2)
    return {
        "content": content,
        "embeds": embeds,
        "components": tree,
        "attachments": attached,
        "flags": editable_flags(message.flags, wanted if "flags" in body else message.flags),
    }


def attach(
    world: World,
    channel_id: int,
    listed: list[Json] | None,
    *,
    uploads: list[Upload],
    present: list[Attachment],
    errors: FormErrors,
    ephemeral: bool,
) -> list[Attachment]:
    """The files of a message: those listed among the *present*, then the uploads with their descriptions.

    A list (`attachments`) that leaves a present file out removes it; no list keeps all.
    """
    described: dict[int, Json] = {}
    kept = list(present) if listed is None else []
    by_id = {one.id: one for one in present}
    indexes = {one.index for one in uploads}
    for number, one in enumerate(listed or []):
        unknown_keys(one, ATTACHMENT_FIELDS, errors, f"attachments.{number}")
        identity = int(one.get("id", -1))
        if identity in by_id:
            kept.append(by_id[identity])
        elif identity in indexes:
            described[identity] = one
        else:
            message = "The attachment is neither uploaded here nor part of the message"
            errors.add(f"attachments.{number}.id", "ATTACHMENT_NOT_FOUND", message)
    fresh = [files.store(world, channel_id, one, described.get(one.index, {}), ephemeral=ephemeral) for one in uploads]
    if len(kept) + len(fresh) > rules.MAX_FILES:
        errors.add("attachments", "BASE_TYPE_MAX_LENGTH", "Must be 10 or fewer in length.")
    return kept + fresh


def _embeds(body: Json) -> list[Json]:
    return [{"type": "rich", **one} for one in body.get("embeds") or []]


def _reference(world: World, channel: Channel, body: Json, errors: FormErrors) -> Json | None:
    reference = body.get("message_reference")
    if not reference:
        return None
    known = {"message_id", "channel_id", "guild_id", "fail_if_not_exists", "type"}
    unknown_keys(reference, known, errors, "message_reference")
    if reference.get("type"):
        errors.add("message_reference.type", "UNKNOWN_FIELD", "Forwarding is not part of the contract")
        return None
    if not world.permissions(world.bot.id, channel) & Permission.READ_MESSAGE_HISTORY:
        raise refusals.reply_needs_history()
    if reference.get("channel_id") is not None and int(reference["channel_id"]) != channel.id:
        text = "Cannot reply to a message in a different channel"
        errors.add("message_reference", "REPLIES_CANNOT_REFERENCE_OTHER_CHANNEL", text)
        return None
    original = channel.messages.get(int(reference.get("message_id") or 0))
    if original is None or original.deleted or original.ephemeral:
        if reference.get("fail_if_not_exists", True):
            errors.add("message_reference", "MESSAGE_REFERENCE_UNKNOWN_MESSAGE", "Unknown message")
        return None
    return {"message_id": original.id, "channel_id": channel.id}
