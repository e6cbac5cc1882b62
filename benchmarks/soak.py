"""Many people chatting at once, each in a thread of their own, and the audit of every message that they were shown.

    python -m benchmarks.soak --folder DIR [--people 200] [--seconds 300] [--adapters 8] [--pause 30] [--json FILE]

Real processes: the bot, the embedded engine on afina-mini with `--adapters` of different ranks, the loopback Discord
with its rate limits. Everybody says a few words of their own, waits for the answer, thinks (up to twice `--pause` s)
and goes on; now and then they say two things at once. All answers are greedy, so that afterwards each is asked for
again with what stands in its thread before it, by the same model: what differs is compared with what the other models
would have said (wrong model) and with all other answers of the evening (crossed); two tokens that the model finds
equally good (logits at most 1e-3 apart, computed with transformers and PEFT) may differ, and are counted.

With `--people 1` the times are those of somebody who is alone. Prints one JSON object; exit code 1 when an answer was
lost, doubled, torn, crossed, from the wrong model or simply different, or when Discord said 429.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.soak_audit import ANSWER, audit
from bot.conversations import NOTE, WRITING
from bot.records import Owner
from bot.voices import Voice
from playground import Limits
from playground.model import Message as Record
from playground.people import Channel, Person
from playground.world import Event
from tests.whole.chatting import BASE, Chatting

RANKS = (8, 12, 16)
PATIENCE = 180.0  # seconds for one answer; a limit, not an expectation
WAKING = 5.0  # seconds between two looks at the memory
AT_ONCE = 12  # people who open a thread at the same time
TWICE = 0.15  # share of the messages that are followed by a second one at once
WORDS = (
    *("agua", "árbol", "barco", "calle", "cielo", "datos", "espejo", "fuego", "gato", "hoja", "isla", "jardín"),
    *("lago", "mano", "nube", "oro", "pan", "río", "sol", "tren", "uva", "viento", "zorro", "modelo", "palabra"),
    *("ejemplo", "pérdida", "lote", "base", "rango", "capa", "token", "curva", "semilla"),
)


@dataclass
class Ask:
    """Something that was said and is to be answered."""

    at: float  # monotonic seconds
    last: int  # id of its last message
    first_text: float | None = None  # seconds until something could be read
    whole: float | None = None


@dataclass
class Talk:
    """One person and their thread."""

    person: Person
    thread: Channel
    voice: Voice
    asks: list[Ask] = field(default_factory=list)
    silent: int = 0
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    def hear(self, record: Record) -> None:
        """The bot wrote or changed a message in this thread."""
        ask = self.asks[-1] if self.asks else None
        remark = record.content.startswith(NOTE) and not record.components  # with buttons it is an empty answer
        if ask is None or ask.whole is not None or record.id < ask.last or remark:
            return
        now = time.monotonic() - ask.at
        ask.first_text = ask.first_text or now
        if not record.content.endswith(WRITING.strip()):
            ask.whole = now
            self.ended.set()

    async def go_on(self, until: float, pause: float, dice: random.Random) -> None:
        await asyncio.sleep(dice.random() * pause)
        while time.monotonic() < until:
            self.ended.clear()
            said = await self.say(dice)
            if dice.random() < TWICE:
                await asyncio.sleep(dice.random() * 0.3)
                self.asks.pop()
                said = await self.say(dice)
            try:
                async with asyncio.timeout(PATIENCE):
                    while said.whole is None:
                        await self.ended.wait()
                        self.ended.clear()
            except TimeoutError:
                self.silent += 1
            await asyncio.sleep(dice.random() * 2 * pause)

    async def say(self, dice: random.Random) -> Ask:
        words = " ".join(dice.choices(WORDS, k=dice.randrange(2, 9)))
        # Before it is sent: the answer may be there before the person knows their message's id.
        self.asks.append(Ask(time.monotonic(), 0))
        message = await self.person.say(f"{words} {dice.randrange(10_000)}")
        self.asks[-1].last = message.id
        return self.asks[-1]


class Soak:
    def __init__(self, chatting: Chatting, *, people: int, adapters: int, seed: int) -> None:
        self.chatting = chatting
        self.people = people
        self.adapters = adapters
        self.dice = random.Random(seed)
        self.talks: dict[int, Talk] = {}  # by thread
        self.memory: dict[str, list[float]] = {"bot": [], "engine": []}  # MiB

    async def begin(self) -> None:
        """Models, processes, threads."""
        guild = self.chatting.place.guild("Grande", channels=tuple(f"sala-{n}" for n in range(self.people // 8 + 1)))
        people = [
            self.chatting.place.person(f"P{n}").at(self.chatting.place.channel(f"sala-{n // 8}", guild))
            for n in range(self.people)
        ]
        voices = [
            Voice(base_id=BASE, title=BASE),
            *await self._make_models(Owner(guild_id=guild.id, user_id=people[0].id)),
        ]
        await self.chatting.begin()
        self.chatting.place.world.listeners.append(self._heard)
        gate = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._open(gate, person, voices[n % len(voices)]) for n, person in enumerate(people)))

    async def _make_models(self, owner: Owner) -> list[Voice]:
        folder = Path(tempfile.mkdtemp(dir=self.chatting.stage.folder))
        made = await asyncio.to_thread(draw_adapters, self.chatting.stage.folder, folder, self.adapters)
        models = [await self.chatting.publish(owner, path.name, path) for path in made]
        return [Voice(base_id=BASE, title=model.name, model=model) for model in models]

    async def _open(self, gate: asyncio.Semaphore, person: Person, voice: Voice) -> None:
        async with gate:
            await (await person.slash("charlar", modelo=voice.value, temperatura=0.0, timeout=60)).done(timeout=60)
            thread = await person.wait_thread(timeout=60)
            person.at(thread)
            await person.slash("parametros", max_tokens=ANSWER, timeout=60)
            self.talks[thread.id] = Talk(person, thread, voice)

    def _heard(self, event: Event) -> None:
        record = event.subject
        if (
            event.name not in ("MESSAGE_CREATE", "MESSAGE_UPDATE")
            or record.author_id != self.chatting.place.world.bot.id
        ):
            return
        if talk := self.talks.get(record.channel_id):
            talk.hear(record)

    async def run(self, seconds: float, pause: float) -> None:
        until = time.monotonic() + seconds
        watching = asyncio.create_task(self._watch())
        try:
            await asyncio.gather(
                *(talk.go_on(until, pause, random.Random(self.dice.random())) for talk in self.talks.values())
            )
        finally:
            watching.cancel()

    async def _watch(self) -> None:
        assert self.chatting.bot
        assert self.chatting.engine
        watched = {"bot": psutil.Process(self.chatting.bot.pid), "engine": psutil.Process(self.chatting.engine.pid)}
        while True:
            for name, process in watched.items():
                self.memory[name].append(process.memory_info().rss / 2**20)
            await asyncio.sleep(WAKING)

    def figures(self) -> dict[str, Any]:
        asks = [ask for talk in self.talks.values() for ask in talk.asks]
        requests = self.chatting.place.requests
        return {
            "people": len(self.talks),
            "said": len(asks),
            "silent": sum(talk.silent for talk in self.talks.values()),
            "first_text_s": spread([ask.first_text for ask in asks if ask.first_text is not None]),
            "whole_answer_s": spread([ask.whole for ask in asks if ask.whole is not None]),
            "requests": len(requests),
            "status_429": sum(request.status == 429 for request in requests),
            "outside_the_contract": len(self.chatting.place.unhandled),
            "memory_mib_by_fifths": {name: growth(values) for name, values in self.memory.items()},
        }


def draw_adapters(data: Path, folder: Path, count: int) -> list[Path]:
    """Random LoRAs of several ranks over afina-mini that each make it speak otherwise."""
    from jobs.gpu.models import load_base, quiet_libraries
    from tests.gpu.engine.conftest import save_adapter

    quiet_libraries()
    model, _ = load_base(BASE, data=data)
    return [save_adapter(model, folder / f"voz-{n}", seed=n, rank=RANKS[n % len(RANKS)], std=0.1) for n in range(count)]


def spread(values: Sequence[float]) -> dict[str, float] | None:
    if not values:
        return None
    ordered = sorted(values)
    at = {name: ordered[min(len(ordered) - 1, int(share * len(ordered)))] for name, share in SHARES.items()}
    return {name: round(value, 2) for name, value in at.items()}


SHARES = {"p50": 0.5, "p95": 0.95, "max": 1.0}


def growth(values: Sequence[float]) -> list[float]:
    """Medians of each fifth of the time; the first ones are warming up (caches of bounded size fill)."""
    fifth = len(values) // 5
    return [round(statistics.median(values[n * fifth : (n + 1) * fifth]), 1) for n in range(5)] if fifth else []


async def run(
    folder: Path, *, people: int, seconds: float, adapters: int, pause: float, seed: int = 1
) -> dict[str, Any]:
    settings = {"AFINA_LOG_LEVEL": "WARNING"}
    async with Chatting.open(folder, limits=Limits(), acknowledge_within=15, settings=settings) as chatting:
        soak = Soak(chatting, people=people, adapters=adapters, seed=seed)
        await soak.begin()
        show(f"{len(soak.talks)} threads are open")
        await soak.run(seconds, pause)
        figures = soak.figures()
        show(f"{figures['said']} messages were said; now the audit")
        return {"adapters": adapters, "seconds": seconds, **figures, **await audit(soak)}


def show(line: str) -> None:
    print(f"{time.strftime('%H:%M:%S')} {line}", file=sys.stderr, flush=True)


def clean(figures: dict[str, Any]) -> bool:
    bad = ("silent", "lost", "doubled", "torn", "crossed", "wrong_model", "different", "status_429")
    return not any(figures[name] for name in bad) and not figures["outside_the_contract"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--people", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=300.0)
    parser.add_argument("--adapters", type=int, default=8)
    parser.add_argument(
        "--pause", type=float, default=30.0, help="seconds between an answer and the next message, mean"
    )
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", type=Path, default=None)
    args = vars(parser.parse_args())
    kept = args.pop("json")
    folder = args.pop("folder")
    folder.mkdir(parents=True, exist_ok=True)
    figures = asyncio.run(run(folder, **args))
    text = json.dumps(figures, ensure_ascii=False)
    print(text)
    if kept:
        kept.write_text(text + "\n", encoding="utf-8")
    return 0 if clean(figures) else 1


if __name__ == "__main__":
    sys.exit(main())
