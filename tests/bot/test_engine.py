"""The engine's client against an engine over HTTP: loading on first use, restarts, refusals in Spanish."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from bot.engine import Chunk, Count, EngineClient, TooLong
from jobs.errors import AfinaError, EngineUnavailable, ModelNotFound
from tests.bot.protocol_engine import BASE, ProtocolEngine, protocol_engine

HELLO = [{"role": "user", "content": "hola"}]


@pytest.fixture
async def served() -> AsyncIterator[ProtocolEngine]:
    async with protocol_engine() as engine:
        yield engine


@pytest.fixture
async def client(served: ProtocolEngine) -> AsyncIterator[EngineClient]:
    client = EngineClient(served.url + "/v1", max_loaded=2)
    yield client
    await client.aclose()


async def test_it_lists_streams_and_counts(client: EngineClient) -> None:
    assert await client.healthy()
    assert await client.models() == [BASE]
    assert await client.chat(BASE, HELLO) == "afina-mini: hola"
    chunks = [chunk async for chunk in client.answer(BASE, HELLO)]
    assert chunks[-1] == Chunk("", "stop")
    assert await client.count(BASE, HELLO) == Count(8, 4096)


async def test_parameters_reach_the_engine(client: EngineClient, served: ProtocolEngine) -> None:
    await client.chat(BASE, HELLO, parameters={"temperature": 0.5, "max_tokens": 7})
    assert served.asked[-1]["temperature"] == 0.5
    assert served.asked[-1]["max_tokens"] == 7


async def test_an_adapter_is_loaded_once_however_many_ask_at_once(client: EngineClient, served: ProtocolEngine) -> None:
    await asyncio.gather(*(client.ensure_adapter("poeta-1", "/datos/adapters/poeta-1") for _ in range(5)))
    assert served.loads == ["poeta-1"]
    assert client.has("poeta-1")
    assert await client.chat("poeta-1", HELLO) == "poeta-1: hola"


async def test_one_that_the_engine_had_already_is_fine(client: EngineClient, served: ProtocolEngine) -> None:
    served.adapters["poeta-1"] = "/x"
    await client.ensure_adapter("poeta-1", "/x")
    assert await client.chat("poeta-1", HELLO) == "poeta-1: hola"


async def test_the_least_recently_used_adapters_are_unloaded(client: EngineClient, served: ProtocolEngine) -> None:
    for name in ("a", "b", "a", "c"):
        await client.ensure_adapter(name, f"/{name}")
    assert sorted(served.adapters) == ["a", "c"]


async def test_many_more_models_than_room_at_once_and_each_answers_for_itself(
    client: EngineClient, served: ProtocolEngine
) -> None:
    """Whichever is unloaded between being loaded and being asked: nobody hears that their model is gone."""

    async def talk(name: str) -> list[str]:
        out = []
        for _ in range(5):
            await client.ensure_adapter(name, f"/{name}")
            out.append(await client.chat(name, HELLO))
        return out

    names = [f"m{number}" for number in range(10)]
    answers = await asyncio.gather(*(talk(name) for name in names))
    assert answers == [[f"{name}: hola"] * 5 for name in names]
    await client.ensure_adapter("otro", "/otro")
    assert len(served.adapters) <= 2


async def test_a_deleted_model_stays_deleted(client: EngineClient) -> None:
    await client.ensure_adapter("a", "/a")
    await client.unload("a")
    with pytest.raises(ModelNotFound):
        await client.chat("a", HELLO)


async def test_after_a_restart_of_the_engine_adapters_are_loaded_again(
    client: EngineClient, served: ProtocolEngine
) -> None:
    await client.ensure_adapter("poeta-1", "/x")
    await served.restart()
    assert await client.chat("poeta-1", HELLO) == "poeta-1: hola"
    assert served.loads == ["poeta-1", "poeta-1"]


async def test_a_model_that_was_never_loaded_is_not_found_and_never_the_base(client: EngineClient) -> None:
    with pytest.raises(ModelNotFound, match="nadie"):
        await client.chat("nadie", HELLO)


@pytest.mark.parametrize(
    ("status", "message", "kind", "words"),
    [
        (503, "The engine is asleep: its memory is lent to a training job.", EngineUnavailable, "entrenando"),
        (400, "This model's maximum context length is 512 tokens.", TooLong, "contexto"),
        (500, "boom", EngineUnavailable, "motor"),
        (401, "Unauthorized", EngineUnavailable, "clave"),
    ],
)
async def test_a_refusal_becomes_a_spanish_sentence(
    client: EngineClient, served: ProtocolEngine, status: int, message: str, kind: type[AfinaError], words: str
) -> None:
    served.refusals.append((status, message))
    with pytest.raises(kind) as caught:
        await client.chat(BASE, HELLO)
    assert words in str(caught.value)
    assert message not in str(caught.value)


async def test_a_crowded_engine_is_asked_again_when_it_said_and_only_for_so_long(
    client: EngineClient, served: ProtocolEngine
) -> None:
    served.retry_after = "0.1"
    served.refusals += [(429, "Too many requests are waiting")] * 3
    assert await client.chat(BASE, HELLO) == f"{BASE}: hola"
    assert len(served.asked) == 4
    served.retry_after = "9999"
    served.refusals += [(429, "Too many requests are waiting")] * 3
    hasty = EngineClient(served.url, patience=1.0)
    with pytest.raises(EngineUnavailable, match="muchas conversaciones"):
        await hasty.chat(BASE, HELLO)
    await hasty.aclose()


VLLM_RANK = "Call to add_lora method failed: Worker failed with error 'LoRA rank 64 is greater than max_lora_rank 32.'"


@pytest.mark.parametrize(
    ("status", "message", "hint"),
    [
        (400, "Loading lora x failed: LoRA rank 64 is greater than max_lora_rank 16.", "rango"),
        (500, VLLM_RANK, "rango"),  # as vLLM 0.32 says it
        (400, "Loading lora x failed: the adapter was made for the base 'y'", "base"),
        (400, "Loading lora x failed: a DoRA adapter must be merged", "DoRA"),
    ],
)
async def test_a_refused_adapter_says_why(
    client: EngineClient, served: ProtocolEngine, status: int, message: str, hint: str
) -> None:
    served.load_refusal = (status, message)
    with pytest.raises(ModelNotFound) as caught:
        await client.ensure_adapter("x", "/x")
    assert hint in caught.value.hint
    assert not client.has("x")


async def test_an_engine_that_is_away_is_one_clear_message(client: EngineClient, served: ProtocolEngine) -> None:
    await served.stop()
    assert not await client.healthy()
    for call in (
        client.models(),
        client.chat(BASE, HELLO),
        client.ensure_adapter("x", "/x"),
        client.count(BASE, HELLO),
    ):
        with pytest.raises(EngineUnavailable):
            await call


async def test_an_answer_that_breaks_off_is_never_taken_for_a_whole_one(
    client: EngineClient, served: ProtocolEngine
) -> None:
    served.breaks_after = 1
    pieces = client.stream(BASE, HELLO)
    assert await anext(pieces) == "afina-mini:"
    with pytest.raises(EngineUnavailable):
        await anext(pieces)
    assert len(served.asked) == 1


async def test_closing_an_answer_lets_the_engine_know(client: EngineClient, served: ProtocolEngine) -> None:
    served.pause = 0.02
    served.say = lambda body: ["x"] * 500
    async with aclosing(client.answer(BASE, HELLO)) as answer:
        await anext(answer)
    for _ in range(100):
        if served.gone:
            break
        await asyncio.sleep(0.02)
    assert served.gone == 1
