"""Examples as other programs write them → the same example in a shape of ours.

Rule of this file: an object in, an object out, and only where the meaning is certain: one key that asks, one that
answers, whatever they are called; nothing that was said is lost on the way. An object of ours is left alone.
"""

from __future__ import annotations

import ast
import json
import re
import unicodedata
from collections.abc import Iterable
from typing import Any, Final

from jobs.dataset.shapes import Shape, shape_of
from jobs.dataset.sharegpt import SPEAKERS

Object = dict[str, Any]

# What keys are called, in any case and without accents.
ASKED: Final = frozenset(
    ["prompt", "question", "pregunta", "entrada", "input", "inputs", "user", "usuario", "query", "mensaje"]
)
ANSWERED: Final = frozenset(
    [
        "completion",
        "answer",
        "respuesta",
        "salida",
        "output",
        "outputs",
        "assistant",
        "asistente",
        "response",
        "targets",
    ]
)
INSTRUCTED: Final = frozenset(["system", "system_prompt", "sistema", "instrucciones"])
INSTRUCTION: Final = frozenset(["instruction", "instruccion"])
CONTEXT: Final = frozenset(["input", "entrada", "context", "contexto"])
TALKS: Final = frozenset(["messages", "mensajes", "conversation", "conversations", "conversacion", "conversaciones"])
_LISTS: Final = ("messages", "conversations", "chosen", "rejected")
_TURN: Final = re.compile(r"(?:\A|\n\n)\s*(Human|User|Assistant): ?")
_GEMINI: Final = {"user": "user", "model": "assistant"}
_STEPS: Final = 3  # dialects inside dialects


def translate(value: Object) -> Object | None:
    """What an object of another program says, in a shape of ours; None where it is ours already or nobody knows."""
    meant: Object | None = None
    for _ in range(_STEPS):
        current = value if meant is None else meant
        step = next((one for read in _READINGS if (one := read(current)) is not None), None)
        if step is None:
            break
        meant = step
    return meant if meant is not None and shape_of(meant)[0] is not Shape.UNKNOWN else None


def _row(value: Object) -> Object | None:
    """An object that only wraps another one, as the viewer of a hub does with each row."""
    inner = [part for name, part in value.items() if name not in ("row_idx", "truncated_cells")]
    return inner[0] if len(inner) == 1 and isinstance(inner[0], dict) else None


def _named_turns(value: Object) -> Object | None:
    """`messages` whose turns are called as in ShareGPT."""
    turns = value.get("messages")
    if "conversations" in value or not isinstance(turns, list) or not turns:
        return None
    if not all(isinstance(turn, dict) and turn.keys() == {"from", "value"} for turn in turns):
        return None
    return {"conversations": turns, **{name: part for name, part in value.items() if name != "messages"}}


def _parsed(value: Object) -> Object | None:
    """Tables keep lists as texts."""
    parsed = {name: turns for name in _LISTS if (turns := _list_in(value.get(name))) is not None}
    return {**value, **parsed} if parsed else None


def _list_in(text: Any) -> list[Object] | None:
    if not isinstance(text, str) or not text.lstrip().startswith("[{"):
        return None
    for read in (json.loads, ast.literal_eval):
        try:
            turns = read(text.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            continue
        if isinstance(turns, list) and all(isinstance(turn, dict) and turn.keys() & {"role", "from"} for turn in turns):
            return turns
    return None


def _gemini(value: Object) -> Object | None:
    """`contents` with `parts`."""
    turns = value.get("contents")
    if not isinstance(turns, list) or not turns or shape_of(value)[0] is not Shape.UNKNOWN:
        return None
    system = _parts(value.get("systemInstruction", value.get("system_instruction")))
    messages = [] if system is None else [_message("system", system)]
    for turn in turns:
        text, role = _parts(turn), turn.get("role") if isinstance(turn, dict) else None
        if text is None or not isinstance(role, str) or role not in _GEMINI:
            return None
        messages.append(_message(_GEMINI[role], text))
    return {"messages": messages}


def _parts(turn: Any) -> str | None:
    parts = turn.get("parts") if isinstance(turn, dict) else None
    if not isinstance(parts, list) or not parts:
        return None
    texts = [part.get("text") if isinstance(part, dict) and part.keys() == {"text"} else None for part in parts]
    return "".join(map(str, texts)) if all(isinstance(text, str) for text in texts) else None


def _transcripts(value: Object) -> Object | None:
    """Both sides of a preference as whole transcripts («Human: … Assistant: …») that differ in the last answer."""
    if "prompt" in value:
        return None
    chosen, rejected = (_transcript(value.get(name)) for name in ("chosen", "rejected"))
    if not chosen or not rejected or chosen[:-1] != rejected[:-1]:
        return None
    return {"prompt": chosen[:-1], "chosen": chosen[-1:], "rejected": rejected[-1:]}


def _transcript(text: Any) -> list[Object]:
    """Its turns, from the person's first to the last answer; none where it is no transcript."""
    if not isinstance(text, str):
        return []
    before, *rest = _TURN.split(text)
    speakers, said = rest[::2], [part.strip() for part in rest[1::2]]
    roles = ["assistant" if speaker == "Assistant" else "user" for speaker in speakers]
    whole = len(roles) >= 2 and len(roles) % 2 == 0 and roles == ["user", "assistant"] * (len(roles) // 2)
    if before.strip() or not whole or not all(said):
        return []
    return [_message(role, part) for role, part in zip(roles, said, strict=True)]


def _ranked_turns(value: Object) -> Object | None:
    """Both sides of a preference as turns of ShareGPT, the conversation before them beside (LLaMA-Factory)."""
    turns, chosen, rejected = value.get("conversations"), value.get("chosen"), value.get("rejected")
    if not isinstance(turns, list) or not turns or "prompt" in value:
        return None
    said = [_turn(turn) for turn in (*turns, chosen, rejected)]
    if not all(said) or [turn["role"] for turn in said[-2:] if turn] != ["assistant", "assistant"]:
        return None
    return {"prompt": said[:-2], "chosen": said[-2:-1], "rejected": said[-1:]}


def _turn(turn: Any) -> Object | None:
    """A turn of ShareGPT as a message."""
    if not isinstance(turn, dict) or turn.keys() != {"from", "value"}:
        return None
    name, text = str(turn["from"]), turn["value"]
    role = None if name == "function_call" else SPEAKERS.get(name)
    return _message(role, text) if role in ("system", "user", "assistant") and isinstance(text, str) else None


def _plain_turns(value: Object) -> Object | None:
    """A conversation as texts alone, where person and assistant take turns."""
    texts = value.get("conversations")
    if (
        not isinstance(texts, list)
        or len(texts) < 2
        or len(texts) % 2
        or not all(isinstance(one, str) for one in texts)
    ):
        return None
    turns = [_message(("user", "assistant")[place % 2], text) for place, text in enumerate(texts)]
    return {"messages": turns} if "messages" not in value else None


def _renamed(value: Object) -> Object | None:
    """The keys of an object by what they are for."""
    if value.keys() & {"chosen", "rejected"}:
        return _renamed_preference(value)
    shape, other = shape_of(value)
    if shape is Shape.ALPACA and "output" not in value and other is None:
        return _renamed_instruction(value)
    if shape is Shape.PROMPT_COMPLETION and not {"prompt", "completion"} <= value.keys():
        asked, answered = _only(value, ASKED), _only(value, ANSWERED)
        rest = {name: part for name, part in value.items() if name not in (asked, answered)}
        return {"prompt": value[asked], "completion": value[answered], **rest} if asked and answered else None
    if shape is not Shape.UNKNOWN:
        return None
    return _renamed_talk(value) or _renamed_instruction(value) or as_messages(value)


def _renamed_talk(value: Object) -> Object | None:
    name = _only(value, TALKS, list)
    if name is None or not all(isinstance(turn, dict) for turn in value[name]):
        return None
    ours = "messages" if any("role" in turn for turn in value[name]) else "conversations"
    return {ours: value[name], **{key: part for key, part in value.items() if key != name}}


def _renamed_instruction(value: Object) -> Object | None:
    instruction, answered, context = _only(value, INSTRUCTION), _only(value, ANSWERED), _only(value, CONTEXT)
    if instruction is None or answered is None or (context is None and _named(value, CONTEXT)):
        return None
    system = _only(value, INSTRUCTED)
    return {
        "instruction": value[instruction],
        "input": value[context] if context else "",
        "output": value[answered],
        **({"system": value[system]} if system else {}),
    }


def _renamed_preference(value: Object) -> Object | None:
    asked = _only(value, ASKED | INSTRUCTION)
    if (
        asked in (None, "prompt")
        or not isinstance(value.get("chosen"), str)
        or not isinstance(value.get("rejected"), str)
    ):
        return None
    system = _only(value, INSTRUCTED)
    if system is None or not value[system].strip():
        return {"prompt": value[asked], "chosen": value["chosen"], "rejected": value["rejected"]}
    return {
        "prompt": [_message("system", value[system]), _message("user", value[asked])],
        "chosen": [_message("assistant", value["chosen"])],
        "rejected": [_message("assistant", value["rejected"])],
    }


def as_messages(value: Object) -> Object | None:
    """An object with one known key for the input and one for the answer, as messages."""
    asked, answered = _only(value, ASKED), _only(value, ANSWERED)
    if asked is None or answered is None:
        return None
    system, context = _only(value, INSTRUCTED), _only(value, CONTEXT - {plain(asked)})
    question = f"{value[asked]}\n\n{value[context]}" if context and value[context].strip() else value[asked]
    messages = [_message("system", value[system])] if system and value[system].strip() else []
    return {"messages": [*messages, _message("user", question), _message("assistant", value[answered])]}


def _only(value: Object, names: Iterable[str], kind: type = str) -> str | None:
    """The one key of an object that is called so and holds that; None where there is none or several."""
    found = [key for key in _named(value, names) if isinstance(value[key], kind)]
    return found[0] if len(found) == 1 else None


def _named(value: Object, names: Iterable[str]) -> list[str]:
    return [key for key in value if plain(key) in names]


def plain(name: str) -> str:
    """A key without case, accents and surrounding space."""
    decomposed = unicodedata.normalize("NFD", name.strip().casefold())
    return "".join(letter for letter in decomposed if not unicodedata.combining(letter)).replace(" ", "_")


def _message(role: str, content: str) -> Object:
    return {"role": role, "content": content}


_READINGS: Final = (_row, _parsed, _named_turns, _gemini, _transcripts, _ranked_turns, _plain_turns, _renamed)
