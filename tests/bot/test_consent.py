"""What is recorded with data (who attested what, when, under which licence), and what `/privacidad` says."""

from __future__ import annotations

from typing import Any

import pytest

from bot import datasets, models, versions
from bot.consent import CONSENTS, LICENCES, VERSION, joined, licence_name
from bot.records import ChatThread, Owner
from bot.render.help import privacy_texts
from bot.services import Services
from bot.settings import Settings
from jobs.moderation import Wishes
from tests.bot.test_models import model_of

__all__ = ["model_of"]  # fixtures

ANA, EVA = Owner(guild_id=11, user_id=1), Owner(guild_id=11, user_id=2)
LINES = "".join(f'{{"prompt": "¿{n}?", "completion": "{n} más"}}\n' for n in range(20)).encode()


async def received(services: Services, data: bytes = LINES, **more: Any) -> Any:
    made = None
    async for step in datasets.receive(services, ANA, name="a.jsonl", data=data, consent_at=5.0, **more):
        made = step
    return made


async def test_consent_and_licence_stay_with_the_data_and_what_is_made_of_them(services: Services) -> None:
    first = await received(services, licence="cc-by")
    kept = await services.store.dataset(first.id, ANA)
    assert (kept.consent_at, kept.consent_version, kept.licence) == (5.0, VERSION, "cc-by")
    assert kept.owner == ANA
    train, held = await versions.split(services, first.id, ANA, percent=20)
    assert {one.licence for one in (train, held)} == {"cc-by"}
    assert train.consent_version == VERSION
    row = (await services.store.everything(ANA))["datasets"][0]
    assert {"consent_at", "consent_version", "licence"} <= set(row)


def test_joined_data_have_the_licence_that_all_agree_on() -> None:
    assert joined("cc-by", "cc-by") == "cc-by"
    assert licence_name(joined("cc-by", "cc0")) == "varias"
    assert licence_name(None) == "sin indicar"


def test_texts_fit_into_discord() -> None:
    assert all(len(text) <= 100 for text in (*CONSENTS.values(), *LICENCES.values()))


async def test_a_server_s_own_words_count_in_data_too(services: Services) -> None:
    await services.moderation.change(ANA.guild_id, block=["15 más"])
    made = await received(services)
    assert made.verdict == "rejected"
    assert made.usable == 19
    assert [group["code"] for group in made.report["groups"]] == ["disallowed_content"]
    repaired, changes = await versions.repair(services, made.id, ANA)
    assert (repaired.usable, repaired.verdict) == (19, "valid")
    assert [change.code for change in changes] == ["disallowed_content"]
    await services.moderation.change(ANA.guild_id, forget=["15 más"])
    assert (await received(services)).verdict == "valid"


def test_the_command_line_uses_the_machine_s_wishes(settings: Settings) -> None:
    strict = settings.model_copy(update={"moderation": "strict"})
    assert datasets.limits_of(strict).moderation == Wishes(level="strict")


async def test_a_model_in_use_says_so_before_it_is_deleted(services: Services, model_of: Any) -> None:
    model = await model_of(ANA)
    assert await models.in_use(services, ANA, model.id) == ""
    for number, owner in ((1, ANA), (2, EVA)):
        await services.store.open_chat(
            ChatThread(thread_id=number, owner=owner, model_id=model.id, base_id="x", instructions="")
        )
    assert "2 hilos abiertos, 1 de otras personas" in await models.in_use(services, ANA, model.id)
    await services.store.close_chat(1)
    assert "un hilo abierto de otra persona" in await models.in_use(services, ANA, model.id)


@pytest.mark.parametrize(
    ("changes", "said", "not_said"),
    [
        ({}, ["te aviso 14 días antes", "a los 30 días; si vuelves", "Tus modelos, nunca"], ["filtro"]),
        ({"keep_unused_datasets_days": 0, "departure_days": 0}, ["hasta que alguien lo borre"], ["nunca entrenaste"]),
        ({"keep_backups_days": 7}, ["7 días como mucho"], []),
        ({"moderation_url": "https://filtro.ejemplo/v1"}, ["filtro de contenido externo"], ["**Fuera de aquí**  nada"]),
        ({"embeddings": "bge-m3"}, ["para buscar"], ["**Fuera de aquí**  nada"]),
        ({"trackers": ("wandb",)}, ["Weights & Biases"], ["**Fuera de aquí**  nada"]),
    ],
)
def test_the_privacy_page_says_the_numbers_of_this_machine(
    settings: Settings, changes: dict[str, Any], said: list[str], not_said: list[str]
) -> None:
    text = "\n".join(privacy_texts(settings.model_copy(update=changes)))
    assert [words for words in said if words not in text] == []
    assert [words for words in not_said if words in text] == []
    assert len(text) < 4000  # one card
