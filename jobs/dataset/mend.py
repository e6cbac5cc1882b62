"""One bad object → the object that was certainly meant, change by change.

Rule of this file: values only, and only what is certain: names of roles, types that say the same, what training
ignores anyway, and characters that nobody sees. It works on a copy; whether the result is good is for the reader to
judge. Mending twice changes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, Final

from jobs.dataset.chat import MESSAGE_KEYS, ROLES, is_blank
from jobs.dataset.content import clean_text
from jobs.dataset.dialects import translate
from jobs.dataset.private import cover
from jobs.dataset.shapes import KEYS, Shape, shape_of
from jobs.dataset.sharegpt import SPEAKERS, TURN_KEYS

Note = Callable[[str, str], None]  # (code of the problem, what was done)

_ALIASES: Final = {
    "human": "user",
    "usuario": "user",
    "customer": "user",
    "cliente": "user",
    "gpt": "assistant",
    "bot": "assistant",
    "ai": "assistant",
    "model": "assistant",
    "chatgpt": "assistant",
    "asistente": "assistant",
    "sistema": "system",
}
_LISTS: Final = ("messages", "conversations", "prompt", "completion", "chosen", "rejected")
_TEXTS: Final = ("prompt", "completion", "instruction", "input", "output", "text")
_SURROGATE: Final = re.compile("[\ud800-\udfff]")
_NO_TEXT: Final = frozenset({"role", "from", "id", "tool_call_id", "type", "tools", "functions"})


def mend_object(value: dict[str, Any], note: Note, *, redact: bool = False) -> dict[str, Any]:
    """What was meant by an object; `note` hears of every change.

    Args:
        redact: also cover secrets and personal data.
    """
    meant = translate(value)
    if meant is not None:
        value = meant
    shape, _ = shape_of(value)
    if meant is not None:
        note("other_program", f"Escrito como «{shape.family}».")
    if shape is Shape.UNKNOWN:
        return value
    if shape is Shape.PROMPT_COMPLETION:
        value, shape = _with_system(value, note)
    if shape is Shape.MESSAGES:
        value = _system_inside(value, note)
    value = _numbers_as_text(value, note)
    value = _known_only(value, KEYS[shape], note)
    for name in _LISTS:
        if isinstance(value.get(name), list):
            value = {**value, name: _mend_turns(value[name], note, whole=name in ("messages", "conversations"))}
    if shape is Shape.OPENAI_PREFERENCE:
        value = _mend_preference(value, note)
    if shape is Shape.KTO:
        value = _mend_label(value, note)
    return {name: _mend_texts(part, name, note, redact) for name, part in value.items()}


def _system_inside(value: dict[str, Any], note: Note) -> dict[str, Any]:
    """Instructions beside the messages, where some programs keep them, as the first message."""
    system, messages = value.get("system"), value.get("messages")
    if not isinstance(system, str) or is_blank(system) or not isinstance(messages, list) or not messages:
        return value
    if any(isinstance(turn, dict) and turn.get("role") in ("system", "developer") for turn in messages):
        return value
    note("unknown_key", "Llevado «system» al primer mensaje.")
    rest = {name: part for name, part in value.items() if name != "system"}
    return {**rest, "messages": [{"role": "system", "content": system}, *messages]}


def _with_system(value: dict[str, Any], note: Note) -> tuple[dict[str, Any], Shape]:
    """A pair with instructions beside it as messages, which have a place for them."""
    texts = [value.get(name) for name in ("system", "prompt", "completion")]
    if not all(isinstance(text, str) and not is_blank(text) for text in texts):
        return value, Shape.PROMPT_COMPLETION
    note("unknown_key", "Escrito como «messages», para que «system» cuente.")
    turns = zip(("system", "user", "assistant"), texts, strict=True)
    rest = {name: part for name, part in value.items() if name not in ("system", "prompt", "completion")}
    return {"messages": [{"role": role, "content": text} for role, text in turns], **rest}, Shape.MESSAGES


def _numbers_as_text(value: dict[str, Any], note: Note) -> dict[str, Any]:
    """Labels and results are often numbers."""
    numbers = [
        name for name in _TEXTS if isinstance(value.get(name), int | float) and not isinstance(value[name], bool)
    ]
    if not numbers:
        return value
    note("wrong_type", "Escrito como texto lo que era un número.")
    return {**value, **{name: str(value[name]) for name in numbers}}


def _known_only(value: dict[str, Any], known: frozenset[str], note: Note) -> dict[str, Any]:
    """Without keys that training ignores."""
    if value.keys() <= known:
        return value
    note("unknown_key", "Quitadas las claves que no se usan.")
    return {name: part for name, part in value.items() if name in known}


def _mend_turns(turns: list[Any], note: Note, *, whole: bool) -> list[Any]:
    mended = [_mend_turn(turn, note) if isinstance(turn, dict) else turn for turn in turns]
    if not whole:
        return mended
    last = max(
        (place + 1 for place, turn in enumerate(mended) if isinstance(turn, dict) and _speaker(turn) == "assistant"),
        default=len(mended),
    )
    if last < len(mended):
        note("last_not_assistant", "Quitado lo que seguía a la última respuesta.")
    return mended[:last]


def _speaker(turn: dict[str, Any]) -> Any:
    speaker = turn.get("role", turn.get("from"))
    return SPEAKERS.get(speaker, speaker) if isinstance(speaker, str) else None


def _mend_turn(turn: dict[str, Any], note: Note) -> dict[str, Any]:
    if "from" in turn and "role" not in turn:
        turn = _mend_role(turn, "from", tuple(SPEAKERS), note)
        return _known_only(turn, TURN_KEYS, note)
    turn = _mend_role(turn, "role", ROLES, note)
    turn = _known_only(turn, MESSAGE_KEYS, note)
    content = turn.get("content")
    if isinstance(content, int | float) and not isinstance(content, bool):
        note("content_not_text", "Escrito como texto un contenido que era un número.")
        turn = {**turn, "content": str(content)}
    weight = turn.get("weight")
    if isinstance(weight, bool) or (isinstance(weight, str) and weight.strip() in ("0", "1")):
        note("bad_weight", "Escrito «weight» como número.")
        turn = {**turn, "weight": int(weight)}
    return turn


def _mend_role(turn: dict[str, Any], key: str, roles: tuple[str, ...], note: Note) -> dict[str, Any]:
    role = turn.get(key)
    if not isinstance(role, str):
        return turn
    if role == "developer":
        note("developer_role", "Cambiado el rol «developer» por «system».")
        return {**turn, key: "system"}
    right = role.strip().lower()
    right = right if right in roles else _ALIASES.get(right, right)
    if role in roles or right not in roles:
        return turn
    note("role_miscased", f"Corregido un rol: ahora es «{right}».")
    return {**turn, key: right}


def _mend_preference(value: dict[str, Any], note: Note) -> dict[str, Any]:
    """OpenAI's sides are lists of messages, even of one."""
    mended = dict(value)
    for name in ("preferred_output", "non_preferred_output"):
        if isinstance(mended.get(name), dict):
            note("wrong_type", f"Puesto «{name}» en una lista.")
            mended[name] = [mended[name]]
        if isinstance(mended.get(name), list):
            mended[name] = _mend_turns(mended[name], note, whole=False)
    given = mended.get("input")
    if isinstance(given, list):
        note("wrong_type", "Puesta la entrada en «messages».")
        given = {"messages": given}
    if isinstance(given, dict) and isinstance(given.get("messages"), list):
        given = _known_only(given, frozenset({"messages", "tools", "parallel_tool_calls"}), note)
        mended["input"] = {**given, "messages": _mend_turns(given["messages"], note, whole=False)}
    return mended


def _mend_label(value: dict[str, Any], note: Note) -> dict[str, Any]:
    label = value.get("label")
    plain = label.strip().lower() if isinstance(label, str) else label
    if isinstance(label, bool) or plain not in (0, 1, "0", "1", "true", "false"):
        return value
    note("label_not_boolean", "Escrito «label» como true o false.")
    return {**value, "label": plain in (1, "1", "true")}


def _mend_texts(value: Any, name: str, note: Note, redact: bool) -> Any:
    """Texts without what nobody sees, and with private parts covered if asked."""
    if name in _NO_TEXT:
        return value
    if isinstance(value, str):
        return _mend_text(value, note, redact)
    if isinstance(value, list):
        return [_mend_texts(item, "", note, redact) for item in value]
    if isinstance(value, dict):
        return {key: _mend_texts(item, key, note, redact) for key, item in value.items()}
    return value


def _mend_text(text: str, note: Note, redact: bool) -> str:
    mended = text
    if not text.isascii() and _SURROGATE.search(mended):
        mended = _SURROGATE.sub("", mended)
        note("lone_surrogate", "Quitado medio carácter suelto.")
    if "\0" in mended:
        mended = mended.replace("\0", "")
        note("escaped_nul", "Quitado un carácter NUL.")
    cleaned = clean_text(mended)
    if cleaned != mended:
        note("invisible_character", "Corregidos caracteres invisibles o mal codificados.")
    if redact and (covered := cover(cleaned)) != cleaned:
        note("secret", "Tapados secretos o datos personales.")
        return covered
    return cleaned
