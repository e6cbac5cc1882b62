"""The refusals of Discord: HTTP status, JSON error code and words, one function each.

Rule: a refusal is raised where it is found and becomes `{"code", "message", "errors"?}` in one place.
Codes after Discord's published list; statuses as seen in reports of the real service.
Not covered: rate limits (see `limits`), which also carry headers.
"""

from __future__ import annotations

from typing import Any


class Refusal(Exception):
    """What the API answers instead of doing it."""

    def __init__(
        self,
        status: int,
        code: int,
        message: str,
        *,
        errors: dict[str, Any] | None = None,
        extra: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(f"{status} ({code}): {message}")
        self.status = status
        self.body: dict[str, Any] = {"message": message, "code": code} | (extra or {})
        if errors:
            self.body["errors"] = errors

    @property
    def code(self) -> int:
        return int(self.body["code"])


class FormErrors:
    """Collects the mistakes of one request body; all are told at once, as Discord does."""

    def __init__(self) -> None:
        self.tree: dict[str, Any] = {}

    def add(self, path: str, code: str, message: str) -> None:
        """Record a mistake at *path*, dotted (`components.0.custom_id`; empty for the whole body)."""
        node = self.tree
        for part in filter(None, path.split(".")):
            node = node.setdefault(part, {})
        node.setdefault("_errors", []).append({"code": code, "message": message})

    def refuse_if_any(self) -> None:
        if self.tree:
            raise invalid_form(self.tree)

    def required(self, path: str) -> None:
        self.add(path, "BASE_TYPE_REQUIRED", "This field is required")

    def length(self, path: str, value: str, low: int, high: int) -> None:
        if not low <= len(value) <= high:
            if low:
                self.add(path, "BASE_TYPE_BAD_LENGTH", f"Must be between {low} and {high} in length.")
            else:
                self.add(path, "BASE_TYPE_MAX_LENGTH", f"Must be {high} or fewer in length.")


def invalid_form(errors: dict[str, Any]) -> Refusal:
    return Refusal(400, 50035, "Invalid Form Body", errors=errors)


def form_error(path: str, code: str, message: str) -> Refusal:
    errors = FormErrors()
    errors.add(path, code, message)
    return invalid_form(errors.tree)


def unauthorized() -> Refusal:
    return Refusal(401, 0, "401: Unauthorized")


def not_found() -> Refusal:
    return Refusal(404, 0, "404: Not Found")


def method_not_allowed() -> Refusal:
    return Refusal(405, 0, "405: Method Not Allowed")


def bad_json() -> Refusal:
    return Refusal(400, 50109, "The request body contains invalid JSON.")


def unknown_application() -> Refusal:
    return Refusal(404, 10002, "Unknown Application")


def unknown_channel() -> Refusal:
    return Refusal(404, 10003, "Unknown Channel")


def unknown_guild() -> Refusal:
    return Refusal(404, 10004, "Unknown Guild")


def unknown_member() -> Refusal:
    return Refusal(404, 10007, "Unknown Member")


def unknown_message() -> Refusal:
    return Refusal(404, 10008, "Unknown Message")


def unknown_user() -> Refusal:
    return Refusal(404, 10013, "Unknown User")


def unknown_emoji() -> Refusal:
    return Refusal(400, 10014, "Unknown Emoji")


def unknown_webhook() -> Refusal:
    return Refusal(404, 10015, "Unknown Webhook")


def unknown_interaction() -> Refusal:
    return Refusal(404, 10062, "Unknown interaction")


def unknown_command() -> Refusal:
    return Refusal(404, 10063, "Unknown application command")


def invalid_webhook_token() -> Refusal:
    return Refusal(401, 50027, "Invalid Webhook Token")


def already_acknowledged() -> Refusal:
    return Refusal(400, 40060, "Interaction has already been acknowledged.")


def too_large() -> Refusal:
    return Refusal(413, 40005, "Request entity too large")


def missing_access() -> Refusal:
    return Refusal(403, 50001, "Missing Access")


def edit_of_another() -> Refusal:
    return Refusal(403, 50005, "Cannot edit a message authored by another user")


def empty_message() -> Refusal:
    return Refusal(400, 50006, "Cannot send an empty message")


def cannot_message_user() -> Refusal:
    return Refusal(403, 50007, "Cannot send messages to this user")


def non_text_channel() -> Refusal:
    return Refusal(400, 50008, "Cannot send messages in a non-text channel")


def missing_permissions() -> Refusal:
    return Refusal(403, 50013, "Missing Permissions")


def system_message() -> Refusal:
    return Refusal(403, 50021, "Cannot execute action on a system message")


def wrong_channel_type() -> Refusal:
    return Refusal(400, 50024, "Cannot execute action on this channel type")


def thread_archived() -> Refusal:
    return Refusal(400, 50083, "Thread is archived")


def thread_locked() -> Refusal:
    return Refusal(403, 160005, "Thread is locked")


def thread_exists() -> Refusal:
    return Refusal(400, 160004, "A thread has already been created for this message")


def too_many_threads() -> Refusal:
    return Refusal(400, 160006, "Maximum number of active threads reached")


def reply_needs_history() -> Refusal:
    return Refusal(400, 160002, "Cannot reply without permission to read message history")


def too_many_reactions() -> Refusal:
    return Refusal(403, 30010, "Maximum number of reactions reached (20)")


def too_many_late_edits(retry_after: float) -> Refusal:
    message = "Maximum number of edits to messages older than 1 hour reached. Try again later"
    return Refusal(429, 30046, message, extra={"retry_after": retry_after, "global": False})
