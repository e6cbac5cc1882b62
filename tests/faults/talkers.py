"""People who chat all the time while processes die, and what must be true of their threads afterwards.

Each says something, waits until it is answered, and says the next thing. Every message must get one answer, which may
say that it was interrupted or that the engine is away, but is neither missing nor doubled nor left half written.
"""

import asyncio
from collections import Counter
from dataclasses import dataclass, field

from bot.conversations import WRITING
from playground.people import Channel, Person
from playground.views import Message, NoAnswer

DONE = "Otra vez"
PATIENCE = 120.0  # seconds for one answer; a limit, not an expectation
_HONEST = {"se ha interrumpido": "interrupted", "no llego al motor": "engine away"}


@dataclass
class Talker:
    person: Person
    thread: Channel
    said: list[Message] = field(default_factory=list)
    over: bool = False

    @classmethod
    async def begin(cls, person: Person, model: str) -> "Talker":
        """Opens a thread with `model`, before anything is killed."""
        await (await person.slash("charlar", modelo=model, timeout=30)).done()
        thread = await person.wait_thread()
        await person.wait_message("Escribe sin más", channel=thread, timeout=30)
        person.at(thread)
        await person.slash("parametros", max_tokens=40, timeout=30)
        return cls(person, thread)

    async def talk(self) -> None:
        while not self.over:
            self.said.append(await self.person.say(f"Pregunta {len(self.said)}: ¿y eso?"))
            await self._hear()
            await asyncio.sleep(0.1)

    async def _hear(self) -> None:
        """Wait for the answer. While processes are still killed, a bot may be away for long: nobody gives up on it,
        because a second message would rightly be answered together with the first."""
        while True:
            try:
                await self.person.wait_message(channel=self.thread, button=DONE, timeout=PATIENCE)
                return
            except NoAnswer:
                if self.over:
                    return  # the audit finds it

    async def audit(self) -> tuple[dict[str, list[str]], Counter[str]]:
        """What is lost, doubled or torn in this thread, and how its answers ended."""
        findings: dict[str, list[str]] = {"lost": [], "doubled": [], "torn": []}
        ends: Counter[str] = Counter(said=len(self.said))
        shown = [m for m in await self.person.history(self.thread, limit=10**6) if m.data["type"] in (0, 19)]
        ours = {message.id for message in self.said}
        question, answers = None, []
        for message in [*shown, None]:
            if message is None or message.id in ours:
                if question is not None:
                    _judge(question, answers, findings, ends)
                question, answers = message, []
            elif message.by_bot:
                answers.append(message)
        return findings, ends


def _judge(question: Message, answers: list[Message], findings: dict[str, list[str]], ends: Counter[str]) -> None:
    name = f"chat {question.channel_id}, {question.content!r}"
    if not answers:
        findings["lost"].append(name)
    elif len(answers) > 1:
        findings["doubled"].append(f"{name}: {[answer.content for answer in answers]}")
    elif answers[0].content.endswith(WRITING.strip()) or DONE not in [b.label for b in answers[0].buttons]:
        findings["torn"].append(f"{name}: {answers[0].content!r}")
    else:
        ends[next((end for words, end in _HONEST.items() if words in answers[0].content), "answered")] += 1
