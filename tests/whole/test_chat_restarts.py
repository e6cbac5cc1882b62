"""Conversations on real processes: what a person sees when the bot, the engine or both die in the middle of a stream.

The engine is the embedded one; where `AFINA_TEST_VLLM` names vLLM's executable, an evening is spent with each of them.
"""

from __future__ import annotations

import asyncio
import os
import random
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.conversations import WRITING, as_answer, spoken
from bot.engine import EngineClient
from bot.records import Owner
from playground.people import Channel, Person
from playground.views import Message
from tests.gpu.engine.conftest import save_adapter
from tests.whole.chatting import BASE, Chatting

DONE, STOP = "Otra vez", "Detener"
LONG = 60.0  # seconds; a limit, not an expectation
QUESTION = "Hola, ¿qué eres?"
LONG_QUESTION = "Cuéntame algo muy largo"
SEED = 1  # of the first adapter: rank 16 and this one make it talk without end
SETTINGS = {"AFINA_STREAM_EDIT_EVERY": "0.2"}

pytestmark = [
    pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning"),
    pytest.mark.timeout(600),
    pytest.mark.slow,
]
WITH_VLLM = [
    pytest.mark.vllm,
    pytest.mark.skipif("AFINA_TEST_VLLM" not in os.environ, reason="no vLLM"),
]
# Both go through the same evening; tests/bot/test_chat_embedded.py has the embedded one's share of it for every day.
ENGINES = [
    pytest.param(None, id="embedded", marks=WITH_VLLM),
    pytest.param(os.environ.get("AFINA_TEST_VLLM"), id="vllm", marks=WITH_VLLM),
]


def draw(chatting: Chatting, folder: Path, **ranks: int) -> dict[str, Path]:
    """Adapters over afina-mini by name, that make it speak otherwise."""
    from jobs.gpu.models import load_base

    model, _ = load_base(BASE, data=chatting.stage.folder)
    return {
        name: save_adapter(model, folder / name, seed=seed, rank=rank, std=0.1)
        for seed, (name, rank) in enumerate(ranks.items(), SEED)
    }


@asynccontextmanager
async def evening(folder: Path, vllm: str | None = None, **ranks: int) -> AsyncIterator[tuple[Chatting, Person]]:
    """Bot and engine run, and Ana has a model for each of `ranks`."""
    async with Chatting.open(folder / "datos", vllm=vllm, settings=SETTINGS) as chatting:
        guild = chatting.place.guild("Taller", channels=("general",))
        ana = chatting.place.person("Ana", guild)
        for name, adapter in draw(chatting, folder, **ranks).items():
            await chatting.publish(Owner(guild_id=guild.id, user_id=ana.id), name, adapter)
        await chatting.begin()
        yield chatting, ana


async def open_thread(person: Person, model: str, max_tokens: int = 40) -> Channel:
    await (await person.slash("charlar", modelo=model, temperatura=0.0, timeout=LONG)).done(timeout=LONG)
    thread = await person.wait_thread()
    person.at(thread)
    await person.slash("parametros", max_tokens=max_tokens, timeout=LONG)
    return thread


async def answer_to(person: Person, text: str) -> Message:
    await person.say(text)
    return await person.wait_message(button=DONE, timeout=LONG)


async def starts_anew(person: Person, max_tokens: int) -> None:
    await person.slash("reiniciar", timeout=LONG)
    await person.slash("parametros", max_tokens=max_tokens, timeout=LONG)


def over(message: Message) -> bool:
    return DONE in [button.label for button in message.buttons] and not message.content.endswith(WRITING.strip())


async def exchanges(person: Person, thread: Channel) -> list[tuple[str, list[Message]]]:
    """What the person said, each with the answers below it."""
    out: list[tuple[str, list[Message]]] = []
    for message in await person.history(thread, limit=10_000):
        if message.data["type"] not in (0, 19):
            continue
        if not message.by_bot:
            out.append((message.content, []))
        elif out and not message.content.startswith("-# ⚠️ Vas"):
            out[-1][1].append(message)
    return out


@pytest.mark.parametrize("vllm", ENGINES)
async def test_an_evening_with_several_models_and_an_engine_that_is_killed(vllm: str | None, tmp_path: Path) -> None:
    async with evening(tmp_path, vllm, poeta=16, critico=8, enorme=128) as (chatting, ana):
        thread = await open_thread(ana, "poeta")
        first = spoken((await answer_to(ana, QUESTION)).content)
        await ana.slash("modelo", modelo="critico", timeout=LONG)
        await starts_anew(ana, 40)
        other = spoken((await answer_to(ana, QUESTION)).content)
        direct = await asked_directly(chatting, ana)
        assert first == direct["poeta"]
        assert other == direct["critico"]
        assert len({*direct.values()}) == 3

        card = await ana.slash(
            "comparar", mensaje=QUESTION, modelo1="poeta", modelo2="critico", modelo3=f"base:{BASE}", timeout=LONG
        )
        shown = await (await card.done(timeout=LONG)).wait_edit(button="Empate", timeout=LONG)
        assert len(set(re.findall(r"Modelo [A-C]\*\*\n(.+)", shown.text))) == 3
        assert "⚠️" not in shown.text

        await ana.slash("modelo", modelo="enorme", timeout=LONG)
        assert "rango" in (await answer_to(ana, QUESTION)).content

        await ana.slash("modelo", modelo="poeta", timeout=LONG)
        await starts_anew(ana, 900)
        await ana.say(LONG_QUESTION)
        growing = await ana.wait_message(button=STOP, timeout=LONG)
        await growing.click(STOP)
        assert "Detenido" in (await growing.wait_edit(button=DONE, timeout=LONG)).content

        await ana.say(LONG_QUESTION)
        growing = await ana.wait_message(button=STOP, timeout=LONG)
        await chatting.kill_engine()
        assert "se ha interrumpido" in (await growing.wait_edit(button=DONE, timeout=LONG)).content
        assert "no llego al motor" in (await answer_to(ana, "¿Sigues ahí?")).content

        critic = await chatting.stage.store.model("critico", _owner(chatting, ana))
        shutil.rmtree(chatting.stage.folder / "adapters" / critic.adapter_name)
        chatting.start_engine()
        await chatting.engine_answers()
        await starts_anew(ana, 40)
        assert spoken((await answer_to(ana, QUESTION)).content) == first  # its adapter was loaded again

        await ana.slash("modelo", modelo="critico", timeout=LONG)
        assert "no encuentra el modelo" in (await answer_to(ana, QUESTION)).content  # and nobody answers in its place
        assert all(len(answers) == 1 for _, answers in await exchanges(ana, thread))


async def asked_directly(chatting: Chatting, person: Person) -> dict[str, str]:
    """What the base and each model that the engine has loaded say to QUESTION, without the bot."""
    engine = EngineClient(chatting.engine_url)
    loaded = await engine.models()
    models = {model.name: model.adapter_name for model in await chatting.stage.store.models(_owner(chatting, person))}
    names = {BASE: BASE, **{name: adapter for name, adapter in models.items() if adapter in loaded}}
    wish = [{"role": "user", "content": QUESTION}]
    greedy = {"temperature": 0, "max_tokens": 40}
    said = {name: await engine.chat(adapter, wish, parameters=greedy) for name, adapter in names.items()}
    await engine.aclose()
    return {name: spoken(as_answer(text).strip()) for name, text in said.items()}


def _owner(chatting: Chatting, person: Person) -> Owner:
    return Owner(guild_id=next(iter(chatting.place.world.guilds)), user_id=person.id)


async def hard_evening(folder: Path, rounds: list[str], *, seed: int) -> list[str]:
    """Kill `rounds` of "bot", "engine" and "both" at random moments of an answer; how each interrupted answer ended.

    Asserts that it ended finished or honestly failed, in one message, and that the next message works.
    """
    dice, ends = random.Random(seed), []
    async with evening(folder, poeta=16) as (chatting, ana):
        thread = await open_thread(ana, "poeta", max_tokens=200)
        for victim in rounds:
            await ana.say(LONG_QUESTION)
            if dice.random() < 0.7:
                await ana.wait_message(button=STOP, timeout=LONG)
            await asyncio.sleep(dice.random() * 1.2)
            blow = 9 if dice.random() < 0.7 else 15
            if victim in ("engine", "both"):
                await chatting.kill_engine(blow)
            if victim in ("bot", "both"):
                await chatting.kill_bot(blow)
            await asyncio.sleep(dice.random() * 0.5)
            if victim in ("engine", "both"):
                chatting.start_engine()
            if victim in ("bot", "both"):
                chatting.start_bot()
            await chatting.bot_is_ready()
            await settled(ana, thread, chatting)
            answers = (await exchanges(ana, thread))[-1][1]
            assert len(answers) == 1, [answer.content for answer in answers]
            ends.append("failed" if "⚠️" in answers[0].content else "finished")
            await chatting.engine_answers()
            await starts_anew(ana, 24)
            assert "⚠️" not in (await answer_to(ana, QUESTION)).content
            await starts_anew(ana, 200)
    return ends


async def settled(person: Person, thread: Channel, chatting: Chatting) -> None:
    """Wait until the last thing said is answered, by a message that is over."""
    async with asyncio.timeout(2 * LONG):
        while True:
            answers = (await exchanges(person, thread))[-1][1]
            if answers and all(over(answer) for answer in answers[-1:]):
                return
            assert chatting.bot
            assert chatting.bot.poll() is None, chatting.stage.tail()
            await asyncio.sleep(0.1)


async def test_an_answer_cut_off_by_a_kill_ends_finished_or_honestly_failed(tmp_path: Path) -> None:
    assert len(await hard_evening(tmp_path, ["both"], seed=1)) == 1
