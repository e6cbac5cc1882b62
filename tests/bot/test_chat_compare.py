"""Blind comparisons: several voices in one card, votes, a ranking per server."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from bot.client import Afina
from bot.ranking import Ballot, rank
from bot.records import Owner
from bot.render.ranking import standings
from bot.services import Services
from playground import Playground
from playground.people import Person
from playground.views import Message
from tests.bot.conftest import running
from tests.bot.protocol_engine import BASE, ProtocolEngine
from tests.bot.test_chat import MakeModel, ana, engine, new_model, served, services

__all__ = ["ana", "engine", "new_model", "served", "services"]  # fixtures


@pytest.fixture
def named(served: ProtocolEngine) -> ProtocolEngine:
    """Each voice says its engine name."""
    served.say = lambda body: ["soy ", body["model"]]
    return served


async def compared(person: Person, **models: str) -> Message:
    answer = await person.slash("comparar", mensaje="¿quién eres?", **models)
    return await (await answer.done()).wait_edit(button="Empate", timeout=10)


def columns(card: Message) -> dict[str, str]:
    """Letter → what that voice said."""
    return dict(re.findall(r"Modelo ([A-D])\*\*\nsoy (\S+)", card.text))


async def test_answers_stand_side_by_side_without_names(
    bot: Afina, ana: Person, named: ProtocolEngine, new_model: MakeModel, owner_of: Callable[..., Owner]
) -> None:
    poet = await new_model(owner_of(ana), "poeta", shared=True)
    critic = await new_model(owner_of(ana), "critico", shared=True)
    card = await compared(ana, modelo1="poeta", modelo2="critico", modelo3=f"base:{BASE}")
    assert not card.ephemeral
    assert set(columns(card).values()) == {poet.adapter_name, critic.adapter_name, BASE}
    assert [button.label for button in card.buttons] == ["A", "B", "C", "Empate", "Ver quién es quién"]
    assert "¿quién eres?" in card.text


async def test_a_vote_reveals_to_the_voter_and_counts_in_the_ranking(
    services: Services,
    place: Playground,
    ana: Person,
    named: ProtocolEngine,
    new_model: MakeModel,
    owner_of: Callable[..., Owner],
) -> None:
    poet = await new_model(owner_of(ana), "poeta", shared=True)
    async with running(services):
        card = await compared(ana, modelo1="poeta", modelo2=f"base:{BASE}")
    async with running(services):  # buttons outlive a restart
        letter = next(key for key, name in columns(card).items() if name == poet.adapter_name)
        told = await (await card.click(letter)).done()
        assert told.ephemeral
        assert "Has elegido **poeta**" in told.text
        for voter in ("Luis", "Eva"):
            person = place.person(voter)
            seen = next(m for m in await person.history() if m.id == card.id)
            await (await seen.click(letter if voter == "Luis" else "Empate")).done()
        ranking = (await (await ana.slash("comparar_ranking")).done()).text
        assert ranking.index("poeta") < ranking.index(BASE)
        assert "3 votos" in ranking
        assert "Aún no hay un ganador claro" in ranking
        again = await (await card.click("Empate")).done()
        assert "tu voto se queda" in again.text
        assert (await (await ana.slash("comparar_ranking")).done()).text == ranking


async def test_who_looks_first_no_longer_votes(
    bot: Afina, ana: Person, named: ProtocolEngine, new_model: MakeModel, owner_of: Callable[..., Owner]
) -> None:
    await new_model(owner_of(ana), "poeta", shared=True)
    card = await compared(ana, modelo1="poeta", modelo2=f"base:{BASE}")
    told = await (await card.click("Ver quién es quién")).done()
    assert "poeta" in told.text
    assert "no sería a ciegas" in (await (await card.click("A")).done()).text
    assert "Todavía no hay votos" in (await (await ana.slash("comparar_ranking")).done()).text


async def test_a_private_model_is_compared_in_private(
    bot: Afina, ana: Person, named: ProtocolEngine, new_model: MakeModel, owner_of: Callable[..., Owner]
) -> None:
    await new_model(owner_of(ana), "poeta")
    assert (await compared(ana, modelo1="poeta", modelo2=f"base:{BASE}")).ephemeral


@pytest.mark.parametrize("other", ["poeta", "nadie"])
async def test_one_model_or_an_unknown_one_is_refused(
    bot: Afina, ana: Person, named: ProtocolEngine, new_model: MakeModel, owner_of: Callable[..., Owner], other: str
) -> None:
    await new_model(owner_of(ana), "poeta")
    answer = await (await ana.slash("comparar", mensaje="x", modelo1="poeta", modelo2=other)).done()
    assert ("dos y cuatro" if other == "poeta" else "No encuentro") in answer.text


async def test_where_a_voice_fails_the_others_answer_and_nobody_votes(
    bot: Afina, ana: Person, named: ProtocolEngine, new_model: MakeModel, owner_of: Callable[..., Owner]
) -> None:
    await new_model(owner_of(ana), "poeta", shared=True)
    named.load_refusal = (400, "Loading lora x failed: LoRA rank 64 is greater than max_lora_rank 16.")
    answer = await ana.slash("comparar", mensaje="¿quién eres?", modelo1="poeta", modelo2=f"base:{BASE}")
    card = await (await answer.done()).wait_edit(button="Ver quién es quién", timeout=10)
    assert list(columns(card).values()) == [BASE]
    assert "\n-# ⚠️ " in card.text  # a note, not words of the model
    assert "rango" in card.text
    assert "esta vez no se vota" in card.text
    assert [button.label for button in card.buttons] == ["Ver quién es quién"]


def test_a_newcomer_can_read_the_ranking() -> None:
    clear = [Ballot(models=("a", "b"), winner="a")] * 30 + [Ballot(models=("a", "b"), winner="b")] * 2
    rows = [(f"modelo_{standing.model}", standing) for standing in rank(clear)]
    text = standings(rows)
    assert text.startswith("1. **modelo\\_a** gana el ")
    assert text.endswith("**modelo\\_a** va claramente por delante.")
    assert "32 votos" in text
    assert standings(rows[:1]).count("\n") == 0
