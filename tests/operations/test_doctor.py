"""`afina doctor` names each thing that a volunteer can get wrong, and how to mend it."""

import pytest
from pydantic import ValidationError

from bot.console.doctor import CHECKS, examine
from bot.settings import Settings, explain
from jobs.attempt import connect
from jobs.contract import WorkerInfo
from jobs.queue import WORKER_KEY
from playground import Limits, Playground
from playground.permissions import Permission
from tests.bot.protocol_engine import BASE, protocol_engine
from tests.course.openai_server import openai_server


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


async def test_an_object_store_that_cannot_be_reached(tmp_path, forgotten_buckets, monkeypatch):
    for name, value in {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    seen = await found(tmp_path, artifacts_url="s3://cubo/afina")
    assert seen["Archivos"].state == "bad"
    assert (await found(tmp_path))["Archivos"].state == "good"


async def test_an_object_store_whose_package_is_missing(tmp_path):
    seen = await found(tmp_path, artifacts_url="gs://cubo/afina")
    assert "falta el paquete" in seen["Archivos"].text


async def test_a_model_that_words_answers_or_judges_messages(tmp_path):
    async with openai_server() as server:
        server.will_say("hola", "none")
        address = {"llm": "openai:m", "moderation_llm": "openai:m", "llm_url": server.url}
        seen = await found(tmp_path, **address)
    assert (seen["Respuestas redactadas"].state, seen["Filtro de contenido"].state) == ("good", "good")
    seen = await found(tmp_path, **address, moderation_fail="closed")
    assert (seen["Respuestas redactadas"].state, seen["Filtro de contenido"].state) == ("bad", "bad")
    seen = await found(tmp_path, **address)
    assert "solo miran las listas" in seen["Filtro de contenido"].text
    assert "AFINA_LLM" in (await found(tmp_path, llm="inventado"))["Respuestas redactadas"].fix


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"DISCORD_TOKEN": "un tökén"}, "DISCORD_TOKEN: lleva espacios o letras"),
        ({"REDIS_URL": "localhost:6379"}, "REDIS_URL: tiene que empezar por redis:// o rediss:// o unix://"),
        ({"AFINA_ENGINE_URL": "10.0.0.5:8000"}, "AFINA_ENGINE_URL: tiene que empezar por http:// o https://"),
        ({"AFINA_METRICS_PORT": "hola"}, "AFINA_METRICS_PORT: tiene que ser un número entero"),
        ({"AFINA_SHARDS": "-1"}, "AFINA_SHARDS: tiene que ser como mínimo 0"),
        ({"AFINA_MEMBERS_INTENT": "quizá"}, "AFINA_MEMBERS_INTENT: tiene que ser true o false"),
        ({"AFINA_LOG_FORMAT": "xml"}, "AFINA_LOG_FORMAT: tiene que ser 'text' o"),
    ],
)
def test_a_setting_that_means_nothing_is_named_by_every_process_and_its_value_is_not_told(
    settings, said, monkeypatch, tmp_path
):
    monkeypatch.chdir(tmp_path)
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValidationError) as caught:
        Settings()
    assert said in explain(caught.value)
    assert next(iter(settings.values())) not in explain(caught.value)


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
