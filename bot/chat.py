"""What a model is asked: parameters within limits, and as much of the conversation as fits.

Rule of this file: everything about an answer that is neither Discord nor the protocol.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass

from bot.conversations import Prompt, length, trim
from bot.engine import Chunk, EngineClient, TooLong
from bot.errors import BadInput
from bot.voices import Voice

DEFAULTS: Mapping[str, float] = {"temperature": 0.3, "top_p": 0.95, "max_tokens": 512}
LIMITS: Mapping[str, tuple[float, float]] = {"temperature": (0.0, 2.0), "top_p": (0.05, 1.0), "max_tokens": (1, 4096)}
NAMES: Mapping[str, str] = {"temperature": "La temperatura", "top_p": "top_p", "max_tokens": "El número de tokens"}
MAX_INSTRUCTIONS = 4000  # characters
_UNKNOWN_CONTEXT = 12_000  # characters sent to an engine that cannot count tokens


def checked_parameters(given: Mapping[str, float | None]) -> dict[str, float]:
    """Parameters that a person set, without those left out. Raises BadInput outside the limits."""
    out: dict[str, float] = {}
    for name, value in given.items():
        if value is None:
            continue
        low, high = LIMITS[name]
        if not low <= value <= high:
            raise BadInput(
                f"{NAMES[name]} tiene que estar entre {f'{low:g}'.replace('.', ',')} y {high:g}.",
                hint=f"Lo normal es {f'{DEFAULTS[name]:g}'.replace('.', ',')}.",
            )
        out[name] = value
    return out


def checked_instructions(text: str | None) -> str:
    """Raises BadInput when they are too long."""
    text = (text or "").strip()
    if len(text) > MAX_INSTRUCTIONS:
        raise BadInput(f"Las instrucciones no pueden pasar de {MAX_INSTRUCTIONS} caracteres.", hint="Acórtalas.")
    return text


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer on its way."""

    chunks: AsyncGenerator[Chunk, None]
    dropped: int  # messages of the past that did not fit


async def reply(
    engine: EngineClient, voice: Voice, messages: Sequence[Mapping[str, str]], parameters: Mapping[str, float]
) -> Reply:
    """Begin an answer. Raises TooLong, ModelNotFound, EngineUnavailable, now or while it is read."""
    wishes = {**DEFAULTS, **parameters}
    wanted = int(wishes["max_tokens"])
    prompt, room = await fit(engine, voice.engine_name, messages, wanted)
    wishes["max_tokens"] = wanted if room is None else max(1, min(wanted, room))
    return Reply(engine.answer(voice.engine_name, prompt.messages, parameters=wishes), prompt.dropped)


async def fit(
    engine: EngineClient, model: str, messages: Sequence[Mapping[str, str]], wanted: int
) -> tuple[Prompt, int | None]:
    """As many of the newest messages as leave room for `wanted` tokens of answer (half the context at most).

    Returns the prompt and the tokens that the answer may have (None: the engine cannot count).

    Raises:
        TooLong: the last message alone does not fit.
    """
    prompt = trim(messages, length(messages))
    while count := await engine.count(model, prompt.messages):
        room = count.context - min(wanted, count.context // 2)
        if count.tokens <= room:
            return prompt, count.context - count.tokens
        shorter = trim(messages, int(length(prompt.messages) * room / count.tokens * 0.95))
        if len(shorter.messages) == len(prompt.messages):
            raise TooLong
        prompt = shorter
    return trim(messages, _UNKNOWN_CONTEXT), None
