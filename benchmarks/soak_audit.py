"""The audit of an evening of conversations: lost, doubled, torn, crossed, of the wrong model.

Rule of this file: it reads the threads as people see them, and asks the engine for every answer again.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from bot.chat import reply
from bot.conversations import WRITING, Turn, as_answer, branch, conversation, spoken
from bot.engine import EngineClient
from bot.voices import Voice
from playground.views import Message

if TYPE_CHECKING:
    from benchmarks.soak import Soak, Talk

ANSWER = 40  # tokens of an answer, at most
DONE = "Otra vez"


@dataclass(frozen=True)
class Shown:
    """One answer as it stands in a thread."""

    talk: Talk
    messages: tuple[dict[str, str], ...]  # what its model was given
    text: str

    @property
    def place(self) -> str:
        return f"{self.talk.person.name} with {self.talk.voice.title}: {self.text[:60]!r}"


async def audit(soak: Soak) -> dict[str, Any]:
    """Look at every thread, and ask for every answer again."""
    findings: dict[str, list[str]] = {
        name: [] for name in ("lost", "doubled", "torn", "crossed", "wrong_model", "different")
    }
    answers: list[Shown] = []
    for talk in soak.talks.values():
        answers += await look_at(talk, findings)
    client = EngineClient(soak.chatting.engine_url)
    gate = asyncio.Semaphore(8)

    async def again(shown: Shown, voice: Voice) -> str:
        async with gate:
            await client.ensure_adapter(voice.engine_name, folder_of(soak, voice)) if voice.model else None
            asked = await reply(client, voice, shown.messages, {"temperature": 0.0, "max_tokens": ANSWER})
            return seen("".join([chunk.text async for chunk in asked.chunks]))

    try:
        expected = await asyncio.gather(*(again(shown, shown.talk.voice) for shown in answers))
        ties = 0
        for shown, text in zip(answers, expected, strict=True):
            if shown.text == text:
                continue
            if is_a_tie(soak, shown):
                ties += 1
                continue
            others = {talk.voice.value: talk.voice for talk in soak.talks.values()}
            said = [name for name, voice in others.items() if await again(shown, voice) == shown.text]
            kind = "wrong_model" if said else "crossed" if shown.text in expected else "different"
            findings[kind].append(f"{shown.place}; expected {text[:60]!r}")
    finally:
        await client.aclose()
    return {
        "answers": len(answers),
        "distinct": len(set(expected)),
        "equally_good_tokens": ties,
        **{name: len(found) for name, found in findings.items()},
        "findings": {name: found[:20] for name, found in findings.items() if found},
    }


async def look_at(talk: Talk, findings: dict[str, list[str]]) -> list[Shown]:
    """The answers of one thread; what is lost, doubled and torn."""
    history = [m for m in await talk.person.history(talk.thread, limit=10**6) if m.data["type"] in (0, 19)]
    turns = [as_turn(message) for message in history]
    begun = next((n for n, message in enumerate(history) if not message.by_bot), len(history))
    out: list[Shown] = []
    answers = 0
    for index, message in enumerate(history[begun:], begun):
        after = history[index + 1] if index + 1 < len(history) else None
        if not message.by_bot:
            # Somebody who says two things at once gets one answer, to the second.
            if after is None or (not after.by_bot and not quick(message, after)):
                findings["lost"].append(f"{talk.person.name}: {message.content!r}")
            answers = 0
            continue
        answers += 1
        if answers > 1:
            findings["doubled"].append(f"{talk.person.name}: {message.content!r}")
        elif message.content.endswith(WRITING.strip()) or DONE not in [button.label for button in message.buttons]:
            findings["torn"].append(f"{talk.person.name}: {message.content!r}")
        else:
            path = branch(turns[:index], turns[index - 1].id)
            out.append(Shown(talk, tuple(conversation(path)), spoken(message.content)))
    return out


def quick(first: Message, second: Message) -> bool:
    """Whether a person said both without waiting for an answer."""
    return (second.id >> 22) - (first.id >> 22) < 2000  # milliseconds


def as_turn(message: Message) -> Turn:
    return Turn(
        id=message.id,
        author_id=0 if message.by_bot else 1,
        author=message.author,
        ours=message.by_bot,
        text=message.content,
        reply_to=message.reply_to,
    )


def seen(text: str) -> str:
    """A model's text after it has stood in Discord."""
    return spoken(as_answer(text).strip())


def folder_of(soak: Soak, voice: Voice) -> str:
    assert voice.model
    return str(soak.chatting.stage.artifacts.adapter(voice.model.adapter_name))


def is_a_tie(soak: Soak, shown: Shown) -> bool:
    """Whether every token of what was shown was (nearly) the best one, by transformers and PEFT."""
    import torch
    from peft import PeftModel

    from jobs.gpu.models import load_base

    model, tokenizer = load_base(shown.talk.voice.base_id, data=soak.chatting.stage.folder)
    if shown.talk.voice.model:
        model = PeftModel.from_pretrained(model, folder_of(soak, shown.talk.voice))
    prompt = tokenizer.apply_chat_template(list(shown.messages), add_generation_prompt=True, return_dict=True)[
        "input_ids"
    ]
    answer = tokenizer(shown.text, add_special_tokens=False)["input_ids"]
    with torch.inference_mode():
        logits = model(torch.tensor([prompt + answer])).logits[0, len(prompt) - 1 : -1]
    chosen = logits.gather(1, torch.tensor(answer)[:, None])[:, 0]
    return bool((logits.max(dim=1).values - chosen < 1e-3).all())
