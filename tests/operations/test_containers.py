"""The container files, checked without a container engine.

Rule of this file: the Compose specification's own schema says whether the files are valid; the rest is what we promise
of every container (hardened, no token where none is needed) and that whatever the files name really exists. What only
an engine can show (that images build and start) is not covered here.
"""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from bot.settings import Settings
from tests.test_project import environment_names

ROOT = Path(__file__).resolve().parent.parent.parent
COMPOSE = ROOT / "docker-compose.yml"
REMOTE_WORKER = ROOT / "docker" / "worker.yml"
HOSTING = ROOT / "docs" / "alojamiento.md"
# Settings of the containers themselves, explained in the hosting page.
OF_CONTAINERS = {"WORKER_MEMORY", "WORKER_LABELS", "VLLM_MEMORY", "VLLM_GPU_MEMORY"}
OF_OBJECT_STORES = {"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_ENDPOINT_URL"}

compose = yaml.safe_load(COMPOSE.read_text(encoding="utf-8"))
remote = yaml.safe_load(REMOTE_WORKER.read_text(encoding="utf-8"))
SERVICES = {**compose["services"], **{f"worker.yml {name}": service for name, service in remote["services"].items()}}


def of_profile(name: str) -> dict[str, dict]:
    return {key: service for key, service in compose["services"].items() if name in service["profiles"]}


@pytest.mark.parametrize("file", [COMPOSE, REMOTE_WORKER], ids=lambda path: path.name)
def test_the_file_is_valid_by_the_compose_specification(file):
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def test_that_check_would_notice_a_misspelt_key(tmp_path):
    (tmp_path / "x.yml").write_text("services: {a: {image: x, read_onli: true}}")
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", tmp_path / "x.yml"]
    assert subprocess.run(command, capture_output=True, check=False, timeout=60).returncode == 1


class TestEveryContainer:
    @pytest.fixture(params=SERVICES, autouse=True)
    def service(self, request):
        return SERVICES[request.param]

    def test_can_change_nothing_but_its_volumes_and_gain_no_rights(self, service):
        assert service["read_only"] is True
        assert service["cap_drop"] == ["ALL"]
        assert "cap_add" not in service
        assert "privileged" not in service
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert service["init"] is True

    def test_cannot_take_all_memory_or_processes(self, service):
        assert service["pids_limit"] <= 4096
        assert service["mem_limit"]

    def test_is_not_root(self, service):
        if "build" in service:
            user = re.findall(r"^USER (\S+)", dockerfile(service).read_text(encoding="utf-8"), flags=re.M)[-1]
        else:
            user = service["user"].split(":")[0]
        assert user not in ("root", "0")

    def test_publishes_no_port_and_sees_nothing_of_the_host(self, service):
        assert "ports" not in service
        assert "network_mode" not in service
        assert "pid" not in service
        mounted = [volume.split(":")[0] for volume in service["volumes"]]
        assert set(mounted) <= {"data", "redis", "./tls"}

    def test_has_a_temporary_folder(self, service):
        assert [mount.split(":")[0] for mount in service["tmpfs"]] == ["/tmp"]


def dockerfile(service) -> Path:
    return ROOT / service["build"]["dockerfile"]


@pytest.mark.parametrize(
    "name", ["worker", "worker-gpu", "engine", "vllm", "bases", "worker.yml worker", "worker.yml bases"]
)
def test_only_the_bot_is_told_the_discord_token(name):
    assert "env_file" not in SERVICES[name]
    assert not any("TOKEN" in key and key != "HF_TOKEN" for key in SERVICES[name].get("environment") or {})


@pytest.mark.parametrize("name", ["redis", "worker", "worker-gpu", "engine", "vllm"])
def test_whatever_runs_models_or_keeps_the_queue_has_no_way_out(name):
    (network,) = compose["services"][name]["networks"]
    assert compose["networks"][network] == {"internal": True}


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_the_queue_is_out_of_reach_for_whatever_serves_models(profile):
    services = of_profile(profile)
    reach = {
        name for name, service in services.items() if set(service["networks"]) & set(services["redis"]["networks"])
    }
    assert {re.sub("-gpu$", "", name) for name in reach} == {"redis", "bot", "worker"}
    bot = next(service for name, service in services.items() if name.startswith("bot"))
    assert all(set(service["networks"]) & set(bot["networks"]) for service in services.values())


def test_the_one_networked_step_has_its_own_container_that_nothing_starts():
    assert compose["services"]["bases"]["networks"] == ["outside"]
    assert compose["services"]["bases"]["profiles"] == ["tools"]
    assert compose["services"]["bases"]["environment"]["HF_HUB_OFFLINE"] == "0"


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_a_profile_is_the_whole_of_afina(profile):
    services = of_profile(profile)
    kinds = {re.sub("-gpu$", "", name) for name in services}
    assert kinds == {"redis", "bot", "worker", "engine" if profile == "cpu" else "vllm"}
    for service in services.values():
        assert service["healthcheck"]["test"]
        assert service["restart"] == "unless-stopped"
        assert set(service.get("depends_on", {})) <= set(services)
    bot = next(service for name, service in services.items() if name.startswith("bot"))
    engine = re.search(r"//([a-z]+):8000", bot["environment"]["AFINA_ENGINE_URL"])[1]
    assert engine in services
    assert "redis" in services
    assert bot["environment"]["REDIS_URL"] == "redis://redis:6379/0"


def test_a_trainer_has_time_for_a_checkpoint():
    assert {SERVICES[name]["stop_grace_period"] for name in ("worker", "worker-gpu", "worker.yml worker")} == {"90s"}


def test_redis_loses_nothing_and_drops_nothing():
    command = compose["services"]["redis"]["command"]
    options = dict(zip(command[1::2], command[2::2], strict=True))
    assert (options["--appendonly"], options["--maxmemory-policy"]) == ("yes", "noeviction")


def test_a_copied_example_environment_does_not_move_the_data_out_of_the_volume():
    """`.env` names paths of a plain installation; inside the container they must lose."""
    example = set(
        re.findall(r"^(AFINA_\w+|REDIS_URL)=\S", (ROOT / ".env.example").read_text(encoding="utf-8"), flags=re.M)
    )
    paths = {name for name in example if name.endswith(("_DIR", "_URL", "_PORT"))}
    for name in ("bot", "bot-gpu"):
        assert paths <= set(compose["services"][name]["environment"])


@pytest.mark.parametrize("file", [COMPOSE, REMOTE_WORKER], ids=lambda path: path.name)
def test_every_setting_in_the_file_is_one_of_ours_and_explained(file):
    text = file.read_text(encoding="utf-8")
    named = set(re.findall(r"\$\{(\w+)", text)) | set(
        re.findall(r"^\s+((?:AFINA|REDIS|AWS|HF)_\w+):", text, flags=re.M)
    )
    named -= {"HF_HUB_OFFLINE"}
    assert named <= environment_names() | OF_CONTAINERS | OF_OBJECT_STORES
    explained = HOSTING.read_text(encoding="utf-8") + (ROOT / ".env.example").read_text(encoding="utf-8")
    assert {name for name in named if name not in explained} == set()


def test_what_the_containers_are_given_are_settings_that_work():
    for name in ("bot", "bot-gpu"):
        given = compose["services"][name]["environment"]
        fields = {key.removeprefix("AFINA_").lower(): value for key, value in given.items() if "$" not in value}
        settings = Settings(_env_file=None, **fields)
        assert settings.data_dir == Path("/data")


def commands_of_jobs_gpu() -> list[tuple[str, list[str]]]:
    """Every command line for `python -m jobs.gpu` in the container files, with the defaults of its variables."""
    found = []
    for name, service in SERVICES.items():
        words = [*service.get("entrypoint", []), *service.get("command", [])]
        if "build" in service and "worker" in service["build"]["dockerfile"] and words:
            words = words[3:] if words[:3] == ["python", "-m", "jobs.gpu"] else words
            if words[0] == "download":
                words.append("afina-mini")
            found.append((name, [re.sub(r"\$\{\w+:([-?])([^}]*)\}", r"\2", word) for word in words]))
    return found


@pytest.mark.parametrize(
    ("name", "words"), commands_of_jobs_gpu(), ids=lambda value: value if isinstance(value, str) else ""
)
def test_the_commands_are_understood(name, words, monkeypatch):
    from jobs.gpu.__main__ import parser

    for variable, value in (SERVICES[name].get("environment") or {}).items():
        monkeypatch.setenv(variable, value or "")
    parser().parse_args(words)


class TestEveryImage:
    @pytest.fixture(params=["bot", "worker"])
    def image(self, request):
        return ROOT / "docker" / f"{request.param}.Dockerfile"

    def test_copies_what_exists_and_is_not_kept_from_it(self, image):
        ignored = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
        copies = re.findall(r"^COPY (?!--from)(.+)$", image.read_text(encoding="utf-8"), flags=re.M)
        assert copies
        for line in copies:
            for source in shlex.split(line)[:-1]:
                assert (ROOT / source).exists(), source
                assert source not in ignored
                assert not source.startswith(".")

    def test_brings_every_package_and_every_file_of_a_package(self, image):
        import tomllib

        packages = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"][
            "packages"
        ]
        text = image.read_text(encoding="utf-8")
        for top in {package.split(".")[0] for package in packages}:
            assert f"COPY {top} {top}\n" in text

    def test_installs_extras_that_exist_and_locked_versions(self, image):
        import tomllib

        extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"][
            "optional-dependencies"
        ]
        text = image.read_text(encoding="utf-8")
        wanted = re.search(r'-e "\.\[([a-z0-9,]+)\]"', text)[1].split(",")
        assert set(wanted) <= set(extras)
        assert ("gpu" in wanted) == ("worker" in image.name)
        for line in re.findall(r"pip install.*", text):
            assert "-c constraints.txt" in line

    def test_starts_a_module_that_exists_as_somebody_who_is_not_root(self, image):
        text = image.read_text(encoding="utf-8")
        module = re.search(r'^ENTRYPOINT \["python", "-m", "([\w.]+)"\]', text, flags=re.M)[1]
        assert (ROOT / module.replace(".", "/") / "__main__.py").exists()
        assert re.search(r"^USER afina$", text, flags=re.M)
        assert text.index("\nUSER afina") < text.index("\nENTRYPOINT")

    def test_nothing_secret_is_built_in(self, image):
        assert not re.search(
            r"TOKEN|SECRET|PASSWORD", image.read_text(encoding="utf-8").replace("no Discord token", "")
        )
        assert "**/.*" in (ROOT / ".dockerignore").read_text(encoding="utf-8").split()


def test_the_bot_image_holds_no_torch():
    text = (ROOT / "docker" / "bot.Dockerfile").read_text(encoding="utf-8")
    assert not re.search(r"gpu|pip install.*torch", text)
