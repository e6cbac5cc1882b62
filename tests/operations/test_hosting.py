"""The hosting page and the systemd units: what they tell people to type, name or set exists and is understood."""

import re
import shlex
import shutil
import subprocess

import pytest

from bot.console.parser import build_parser
from jobs.redis_server import find_binary
from tests.operations.hosting_page import PAGE, block_of
from tests.test_project import ROOT, environment_names

TEXT = PAGE.read_text(encoding="utf-8")
UNITS = sorted((ROOT / "docker" / "systemd").iterdir())
OF_CONTAINERS = {"WORKER_MEMORY", "WORKER_LABELS", "VLLM_MEMORY", "VLLM_GPU_MEMORY"}
# Settings of scripts/install.
OF_INSTALLATION = {"AFINA_EXTRAS", "AFINA_TORCH", "AFINA_TORCH_INDEX", "AFINA_PYTHON"}


def commands() -> list[str]:
    """Every `afina …` line of the page's code blocks, and those of the units."""
    blocks = re.findall(r"```\n(.*?)```", TEXT, flags=re.S)
    found = [line for block in blocks for line in block.splitlines()]
    found += re.findall(r"^ExecStart=(.*)$", "\n".join(unit.read_text() for unit in UNITS), flags=re.M)
    said = [re.search(r"(?:^|/|-gpu |bot )afina (\w.*)", line) for line in found]
    return [match[1].split("#")[0].strip() for match in said if match]


@pytest.mark.parametrize("command", commands())
def test_the_command_line_understands_it(command):
    build_parser().parse_args(shlex.split(command))


def test_there_are_commands_to_try():
    assert {command.split()[0] for command in commands()} >= {"doctor", "backup", "restore", "worker", "bases", "up"}


def test_every_setting_it_names_exists():
    named = set(re.findall(r"\b(AFINA_[A-Z_]+|REDIS_URL|DISCORD_TOKEN|HF_TOKEN|(?:WORKER|VLLM)_[A-Z_]+)", TEXT))
    assert named - environment_names() - OF_CONTAINERS - OF_INSTALLATION == set()


def test_every_file_it_names_exists():
    named = re.findall(r"\b((?:docker|scripts)/[\w./*-]+\w)", TEXT)
    wanted = {name for name in named if name != "docker/tls/ca.pem"}
    assert wanted
    assert {name for name in wanted if not list(ROOT.glob(name))} == set()


def test_every_service_it_names_is_in_the_compose_file():
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    for line in re.findall(r"docker compose ((?:exec|run|cp|stop|logs|build) .*)", TEXT):
        words = {word.split(":")[0] for word in re.findall(r"(?<=\s)[a-z][\w-]*(?=[\s:`]|$)", line)}
        assert words & set(re.findall(r"^  ([\w-]+):$", compose, flags=re.M)), line


@pytest.mark.parametrize("option", ["appendonly yes", "appendfsync everysec", "maxmemory-policy noeviction"])
def test_redis_accepts_the_options_of_the_page(option, tmp_path):
    assert option in block_of("redis.conf")
    name, value = option.split()
    process = subprocess.Popen(
        [str(find_binary()), "--port", "0", "--dir", str(tmp_path), f"--{name}", value],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        for line in process.stdout:
            assert "FATAL" not in line
            if "Server initialized" in line:
                break
    finally:
        process.terminate()
        process.wait()
        process.stdout.close()


@pytest.mark.parametrize("unit", UNITS, ids=lambda path: path.name)
def test_systemd_accepts_a_unit(unit, tmp_path):
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    for other in UNITS:  # with a program that exists here
        text = other.read_text().replace("/opt/afina/.venv/bin/afina", shutil.which("true"))
        (tmp_path / other.name).write_text(text)
    command = [analyze, "verify", "--man=no", str(tmp_path / unit.name)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    ours = [line for line in done.stderr.splitlines() if "afina" in line]
    assert (ours, done.returncode) == ([], 0)


@pytest.mark.parametrize("name", ["afina", "afina-worker", "afina-backup"])
def test_a_service_is_confined(name):
    lines = (ROOT / "docker" / "systemd" / f"{name}.service").read_text().splitlines()
    wanted = {"User=afina", "NoNewPrivileges=yes", "CapabilityBoundingSet=", "ProtectSystem=strict", "UMask=0077"}
    assert wanted <= set(lines)


@pytest.mark.parametrize("name", ["afina", "afina-worker", "afina-backup"])
def test_a_service_keeps_its_data_where_it_may_write_whatever_its_file_of_settings_says(name):
    """systemd lets a file win over `Environment=`, and the copied example names a folder of a plain installation."""
    text = (ROOT / "docker" / "systemd" / f"{name}.service").read_text()
    (started,) = re.findall(r"^ExecStart=(.*)$", text, flags=re.M)
    assert started.startswith("/usr/bin/env AFINA_DATA_DIR=/var/lib/afina /opt/afina/.venv/bin/afina ")
    assert "StateDirectory=afina\n" in text


@pytest.mark.parametrize("name", ["afina", "afina-worker"])
def test_what_trains_has_time_for_a_checkpoint_and_comes_back(name):
    text = (ROOT / "docker" / "systemd" / f"{name}.service").read_text()
    assert int(re.search(r"^TimeoutStopSec=(\d+)$", text, flags=re.M)[1]) >= 60
    assert "KillMode=mixed" in text
    assert "Restart=always" in text
