"""`afina doctor` names each thing that a volunteer can get wrong, and how to mend it."""

import pytest

from bot.console.doctor import CHECKS, examine
from bot.settings import Settings
from jobs.attempt import connect
from jobs.contract import WorkerInfo
from jobs.queue import WORKER_KEY
from playground import Limits, Playground
from playground.permissions import Permission
from tests.bot.protocol_engine import BASE, protocol_engine


@pytest.fixture
async def place():
    async with Playground(token="bueno", limits=Limits(enabled=False)) as playground:
        yield playground


async def found(tmp_path, **settings):
    findings = await examine(Settings(_env_file=None, data_dir=tmp_path, **settings))
    assert len(findings) == len(CHECKS)
    assert [finding for finding in findings if finding.state == "bad" and not finding.fix] == []
    return {finding.name: finding for finding in findings}


async def test_a_good_token_with_all_permissions(tmp_path, place):
    place.guild("Comunidad")
    seen = await found(tmp_path, discord_token="bueno", discord_api=place.api_url)
    assert (seen["Discord"].state, seen["Permisos"].state) == ("good", "good")
    assert place.unhandled == []


async def test_a_wrong_token(tmp_path, place):
    seen = await found(tmp_path, discord_token="malo", discord_api=place.api_url)
    assert (seen["Discord"].state, seen["Discord"].text) == ("bad", "el token no vale")
    assert "Reset Token" in seen["Discord"].fix


async def test_a_bot_that_nobody_invited(tmp_path, place):
    seen = await found(tmp_path, discord_token="bueno", discord_api=place.api_url)
    assert "ningún servidor" in seen["Permisos"].text
    assert "OAuth2" in seen["Permisos"].fix


async def test_a_server_that_withholds_permissions(tmp_path, place):
    place.guild("Abierta")
    guild = place.guild("Tacaña", bot_permissions=Permission.VIEW_CHANNEL | Permission.SEND_MESSAGES)
    guild.roles[guild.id].permissions = 0
    seen = await found(tmp_path, discord_token="bueno", discord_api=place.api_url)
    assert seen["Permisos"].state == "bad"
    assert "Tacaña" in seen["Permisos"].text
    assert "Abierta" not in seen["Permisos"].text
    assert "crear hilos privados" in seen["Permisos"].text
    assert "ver canales" not in seen["Permisos"].text


async def test_a_missing_intention(tmp_path):
    async with Playground(token="bueno", privileged=0) as strict:
        seen = await found(tmp_path, discord_token="bueno", discord_api=strict.api_url)
        assert "falta una intención" in seen["Discord"].text
        assert "AFINA_MESSAGE_CONTENT=false" in seen["Discord"].fix


async def test_a_shared_redis_without_workers_and_with_one(tmp_path, shared_redis):
    seen = await found(tmp_path, redis_url=shared_redis.url)
    assert (seen["Redis"].state, "afina worker" in seen["Redis"].fix) == ("warning", True)
    info = WorkerInfo(name="uno", hostname="h", device="cpu", device_name="CPU", memory_bytes=1)
    connect(shared_redis.url).set(WORKER_KEY + "uno", info.model_dump_json())
    seen = await found(tmp_path, redis_url=shared_redis.url)
    assert (seen["Redis"].state, seen["Redis"].text) == ("good", "responde; trabajadores: 1")


async def test_an_engine_that_serves_adapters(tmp_path):
    async with protocol_engine() as engine:
        seen = await found(tmp_path, engine_url=engine.url, default_base=BASE)
        assert (seen["Motor"].state, seen["Motor"].text) == ("good", f"responde y sirve {BASE}")


async def test_an_engine_with_another_base(tmp_path):
    async with protocol_engine() as engine:
        seen = await found(tmp_path, engine_url=engine.url, default_base="qwen3-0.6b")
        assert seen["Motor"].state == "bad"
        assert "--served-model-name=qwen3-0.6b" in seen["Motor"].fix


async def test_an_engine_that_is_not_there(tmp_path):
    seen = await found(tmp_path, engine_url="http://127.0.0.1:9")
    assert (seen["Motor"].state, "AFINA_ENGINE_URL" in seen["Motor"].fix) == ("bad", True)


async def test_a_base_that_was_not_fetched(tmp_path):
    seen = await found(tmp_path, default_base="qwen3-0.6b")
    assert seen["Modelo base"].fix.startswith("afina bases descargar qwen3-0.6b")
