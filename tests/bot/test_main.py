"""The bot as a process: `python -m bot` on the loopback Discord, with its own embedded Redis."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bot.logs import secrets_of
from bot.settings import ROOT, Settings
from jobs.logs import HIDDEN, JsonFormatter, LineFormatter, about
from playground import Limits, Playground


def environment(folder: Path, place: Playground | None = None, **more: str) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AFINA_", "DISCORD_", "REDIS_"))}
    kept |= {"AFINA_DATA_DIR": str(folder), "PYTHONPATH": str(ROOT)} | more
    if place is not None:
        kept |= {"AFINA_DISCORD_API": place.api_url, "AFINA_DISCORD_GATEWAY": place.gateway_url}
        kept.setdefault("DISCORD_TOKEN", place.token)
    return kept


@asynccontextmanager
async def process(folder: Path, variables: dict[str, str]) -> AsyncIterator[asyncio.subprocess.Process]:
    child = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bot", env=variables, cwd=folder.parent, stderr=subprocess.PIPE
    )
    try:
        yield child
    finally:
        if child.returncode is None:
            child.kill()
        await child.wait()


async def ready(folder: Path, child: asyncio.subprocess.Process) -> dict[str, float]:
    """What the bot writes when it is online."""
    file = folder / "run" / "bot.json"
    async with asyncio.timeout(30):
        while not file.exists():
            assert child.returncode is None, (await child.stderr.read()).decode()
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.05)
    return json.loads(file.read_text(encoding="utf-8"))


@pytest.fixture
async def place() -> AsyncIterator[Playground]:
    async with Playground(limits=Limits(enabled=False), acknowledge_within=10) as playground:
        playground.guild("Comunidad", channels=("general",))
        yield playground
        assert playground.unhandled == []


async def test_it_starts_answers_and_stops_when_asked(place: Playground, tmp_path: Path) -> None:
    folder = tmp_path / "datos"
    async with process(folder, environment(folder, place)) as child:
        said = await ready(folder, child)
        assert said["pid"] == child.pid
        await place.wait_bot("ayuda")
        answer = await place.person("Ana").slash("ayuda")
        assert "Qué puedes hacer" in answer.text
        child.send_signal(signal.SIGTERM)
        assert await asyncio.wait_for(child.wait(), 20) == 0
        errors = (await child.stderr.read()).decode()
        assert "Traceback" not in errors
        assert place.token not in errors


async def test_a_second_bot_on_the_same_data_ends_with_a_clear_sentence(place: Playground, tmp_path: Path) -> None:
    folder = tmp_path / "datos"
    async with process(folder, environment(folder, place)) as first:
        await ready(folder, first)
        async with process(folder, environment(folder, place)) as second:
            assert await asyncio.wait_for(second.wait(), 20) == 1
            assert "Ya hay un bot en marcha" in (await second.stderr.read()).decode()
        assert first.returncode is None


async def test_killed_hard_it_starts_again_at_once(place: Playground, tmp_path: Path) -> None:
    folder = tmp_path / "datos"
    async with process(folder, environment(folder, place)) as first:
        await ready(folder, first)
        first.kill()
        await first.wait()
    (folder / "run" / "bot.json").unlink()
    async with process(folder, environment(folder, place)) as second:
        await ready(folder, second)


async def test_a_broken_client_ends_the_process_for_its_supervisor(place: Playground, tmp_path: Path) -> None:
    folder = tmp_path / "datos"
    async with process(folder, environment(folder, place)) as child:
        await ready(folder, child)
        await place.gateway.send_everybody({"op": 0, "t": "MESSAGE_CREATE", "s": 1, "d": {"id": "no"}})
        assert await asyncio.wait_for(child.wait(), 20) == 1


@pytest.mark.parametrize(
    ("variables", "sentence"),
    [
        ({}, "Falta DISCORD_TOKEN"),
        ({"DISCORD_TOKEN": "otro"}, "Discord no acepta ese DISCORD_TOKEN"),
        ({"AFINA_METRICS_PORT": "hola"}, "AFINA_METRICS_PORT: tiene que ser un número entero"),
    ],
)
async def test_what_a_person_must_put_right_is_said_in_spanish(
    place: Playground, tmp_path: Path, variables: dict[str, str], sentence: str
) -> None:
    folder = tmp_path / "datos"
    known = environment(folder, place) | variables
    if not variables:
        del known["DISCORD_TOKEN"]
    async with process(folder, known) as child:
        (folder.parent / ".env").write_text("", encoding="utf-8")
        assert await asyncio.wait_for(child.wait(), 30) == 1
        errors = (await child.stderr.read()).decode()
        assert sentence in errors
        assert "Traceback" not in errors


async def test_without_the_message_intent_it_says_where_to_turn_it_on(tmp_path: Path) -> None:
    folder = tmp_path / "datos"
    async with (
        Playground(privileged=0) as strict,
        process(folder, environment(folder, strict)) as child,
    ):
        assert await asyncio.wait_for(child.wait(), 30) == 1
        assert "Message Content" in (await child.stderr.read()).decode()


# Logs


@pytest.mark.parametrize(
    "text",
    [
        "login with mi-token-secreto",
        "Authorization: Bot MTIzNDU2Nzg5MDEyMzQ1Njc4.GabcDE.abcdefghijklmnopqrstuvwxyz0123456789AB",
        "redis://usuario:contra-seña@host:6379/0",
        "Authorization: Bearer sk-clave-del-motor",
    ],
)
@pytest.mark.parametrize("format", ["text", "json"])
def test_no_secret_reaches_the_log(text: str, format: str) -> None:
    settings = Settings(
        _env_file=None,
        discord_token="mi-token-secreto",
        engine_key="sk-clave-del-motor",
        redis_url="redis://usuario:contra-seña@host:6379/0",
    )
    secrets = secrets_of(settings)
    formatter = LineFormatter(secrets) if format == "text" else JsonFormatter("bot", secrets)
    try:
        raise ValueError(text)
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "f", 1, "%s", (text,), sys.exc_info())
    shown = formatter.format(record)
    assert HIDDEN in shown
    for secret in ("mi-token-secreto", "contra-seña", "sk-clave-del-motor", "GabcDE"):
        assert secret not in shown


def test_a_log_line_names_its_job() -> None:
    record = logging.LogRecord("bot", logging.INFO, "f", 1, "hecho", (), None)
    record.job = "abc123"
    assert LineFormatter().format(record).endswith("INFO bot hecho job=abc123")
    with about(job="otro", attempt=2):
        assert LineFormatter().format(record).endswith("INFO bot hecho job=abc123 attempt=2")


def test_as_json_an_entry_is_one_object_with_its_job_and_its_traceback() -> None:
    with about(job="abc123", attempt=1):
        try:
            raise ValueError("dos\nlíneas")
        except ValueError:
            record = logging.LogRecord("bot.x", logging.ERROR, "f", 1, "se cayó %s", ("así",), sys.exc_info())
        entry = json.loads(JsonFormatter("worker").format(record))
    wanted = {"level": "ERROR", "logger": "bot.x", "part": "worker", "message": "se cayó así", "job": "abc123"}
    assert wanted.items() <= entry.items()
    assert "ValueError: dos" in entry["error"]
    assert entry["time"].endswith("+00:00")


def test_a_starting_bot_imports_nothing_heavy() -> None:
    """What takes long to import waits until somebody needs it; otherwise the bot is not ready within seconds."""
    code = (
        "import sys, bot.__main__\n"
        "from bot.client import load_cogs\n"
        "try: load_cogs(None)\n"
        "except AttributeError: pass\n"  # the cogs are imported before the first one misses its services
        "heavy = {'torch', 'scipy', 'numpy', 'matplotlib', 'langchain_core', 'lingua', 'datasketch'}\n"
        "print(sorted(heavy & set(sys.modules)), 'bot.cogs.ask' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(Path("x")), capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[] True"
