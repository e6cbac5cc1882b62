"""Canaries: no secret of the settings is ever written, by any process, at the most talkative level."""

import asyncio
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from bot.settings import ROOT
from playground import Limits, Playground
from tests.bot.test_main import environment, process, ready

TOKEN = "canario-MTIzNDU2-de-discord"
CANARIES = {
    "AFINA_ENGINE_KEY": "canario-clave-del-motor",
    "AFINA_LLM_KEY": "canario-clave-del-proveedor",
    "AFINA_EMBEDDINGS_KEY": "canario-clave-de-embeddings",
    "HF_TOKEN": "canario-hf",
    "AWS_SECRET_ACCESS_KEY": "canario-s3",
}


def written_below(folder: Path, but: set[str] = frozenset()) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name not in but}


def sightings(text: bytes, secrets: dict[str, str]) -> list[str]:
    return [name for name, secret in secrets.items() if secret.encode() in text]


@pytest.fixture
async def place():
    async with Playground(token=TOKEN, limits=Limits(enabled=False), acknowledge_within=10) as playground:
        playground.guild("Comunidad", channels=("general",))
        yield playground


async def test_the_bot_writes_no_secret_even_when_everything_is_logged(place, tmp_path):
    """It logs in, answers commands, meets a dead engine and provider, and a button nobody knows."""
    folder = tmp_path / "datos"
    variables = {
        **CANARIES,
        "AFINA_LOG_LEVEL": "DEBUG",
        "AFINA_LLM": "openai:modelo",
        "AFINA_LLM_URL": "http://127.0.0.1:9/v1",
        "AFINA_ENGINE_URL": "http://127.0.0.1:9",
        "AFINA_METRICS_PORT": "0",
    }
    async with process(folder, environment(folder, place, **variables)) as child:
        await_errors = asyncio.create_task(child.stderr.read())
        await ready(folder, child)
        await place.wait_bot("ayuda")
        ana = place.person("Ana", admin=True)
        for command, options in (("ayuda", {}), ("preguntar", {"pregunta": "¿Qué es LoRA?"}), ("admin salud", {})):
            await (await ana.slash(command, **options)).done(timeout=60)
        child.send_signal(signal.SIGTERM)
        await asyncio.wait_for(child.wait(), 30)
        errors = await await_errors
    assert b"DEBUG" in errors  # it did say everything
    secrets = CANARIES | {"DISCORD_TOKEN": TOKEN}
    assert sightings(errors, secrets) == []
    # Whoever has the token of an interaction can answer in the bot's name for 15 minutes.
    assert b"/interactions/" in errors
    assert re.findall(rb"/(?:interactions|webhooks)/\d+/[\w.-]{8,}", errors) == []
    assert re.findall(rb"token\W{2,4}[\w.-]{16,}", errors) == []
    for path, content in written_below(folder).items():
        assert sightings(content, secrets) == [], path


@pytest.mark.parametrize("command", [["doctor"], ["doctor", "--json"], ["backup", "copias"], ["chat", "nadie"]])
def test_the_command_line_says_no_secret(tmp_path, command):
    secrets = CANARIES | {"DISCORD_TOKEN": TOKEN, "REDIS_URL": "canario-de-redis"}
    variables = environment(
        tmp_path / "datos",
        DISCORD_TOKEN=TOKEN,
        AFINA_DISCORD_API="http://127.0.0.1:9/api",
        AFINA_ENGINE_URL="http://127.0.0.1:9",
        **CANARIES,
    )
    variables["REDIS_URL"] = "redis://afina:canario-de-redis@127.0.0.1:9/0"
    run = [sys.executable, "-m", "bot.cli", *command]
    done = subprocess.run(run, env=variables, cwd=tmp_path, capture_output=True, check=False, timeout=120)
    assert sightings(done.stdout + done.stderr, secrets) == []
    for path, content in written_below(tmp_path).items():
        assert sightings(content, secrets) == [], path


def test_a_backup_holds_no_environment(tmp_path):
    folder = tmp_path / "datos"
    folder.mkdir()
    (folder / ".env").write_text("DISCORD_TOKEN=canario-en-el-disco\n")
    variables = environment(folder, **CANARIES)
    code = "import asyncio, sys; from pathlib import Path; from bot.store import Store\n"
    code += "async def main():\n    async with Store.open(Path(sys.argv[1])): pass\nasyncio.run(main())"
    for run in (["-c", code, str(folder / "afina.sqlite3")], ["-m", "bot.cli", "backup", str(tmp_path / "copia.tar")]):
        subprocess.run([sys.executable, *run], env=variables, cwd=ROOT, check=True, capture_output=True, timeout=120)
    assert b"canario" not in (tmp_path / "copia.tar").read_bytes()


def test_the_password_of_redis_is_on_no_command_line(tmp_path):
    """`afina worker` becomes the worker: what everybody on the machine can read of it holds no password."""
    variables = environment(tmp_path / "datos")
    variables["REDIS_URL"] = "redis://afina:canario-de-redis@127.0.0.1:9/0"
    pytest.importorskip("torch")
    run = [sys.executable, "-m", "bot.cli", "worker"]
    with (tmp_path / "log").open("w") as log:
        child = subprocess.Popen(run, env=variables, cwd=ROOT, stdout=log, stderr=log)
    try:
        deadline = os.times().elapsed + 60
        while b"jobs.gpu" not in (line := Path(f"/proc/{child.pid}/cmdline").read_bytes()):
            assert child.poll() is None, (tmp_path / "log").read_text()
            assert os.times().elapsed < deadline
    finally:
        child.kill()
        child.wait()
    assert b"worker" in line
    assert b"canario" not in line
