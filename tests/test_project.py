"""The project keeps its own promises: walls, settings, tree, licence of names."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bot.settings import Settings

ROOT = Path(__file__).resolve().parent.parent

GPU_PACKAGES = ("torch", "transformers", "peft", "trl", "datasets", "bitsandbytes", "accelerate", "jobs.gpu")
DISCORD_PACKAGES = ("discord", "bot", "aiosqlite", "langchain", "langchain_core", "langchain_openai")

IMPORT_ALL = """
import importlib, importlib.abc, pkgutil, sys
blocked = {blocked!r}
class Wall(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if any(name == wall or name.startswith(wall + ".") for wall in blocked):
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Wall())
package = importlib.import_module({package!r})
for module in pkgutil.walk_packages(package.__path__, {package!r} + "."):
    if not module.name.endswith("__main__") and not any(module.name.startswith(skip) for skip in {skip!r}):
        importlib.import_module(module.name)
"""


@pytest.mark.parametrize(
    ("package", "blocked", "skip"),
    [
        ("bot", GPU_PACKAGES, ()),
        ("jobs", (*GPU_PACKAGES, *DISCORD_PACKAGES), ("jobs.gpu",)),
        ("jobs.gpu", DISCORD_PACKAGES, ()),
        ("playground", (*GPU_PACKAGES, *DISCORD_PACKAGES, "jobs"), ()),
    ],
)
def test_everything_below_a_package_imports_with_the_other_side_missing(
    package: str, blocked: tuple[str, ...], skip: tuple[str, ...]
) -> None:
    if package == "jobs.gpu":
        pytest.importorskip("torch")
    code = IMPORT_ALL.format(package=package, blocked=blocked, skip=skip)
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def environment_names() -> set[str]:
    prefix = str(Settings.model_config["env_prefix"])
    names = set()
    for field, info in Settings.model_fields.items():
        alias = info.validation_alias
        names.add(alias.choices[0] if alias is not None else prefix + field.upper())  # type: ignore[union-attr]
    return names


def test_the_example_environment_explains_every_setting_and_no_other() -> None:
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"^([A-Z_]+)=", example, flags=re.M)) == environment_names()


def test_the_example_environment_gives_the_defaults() -> None:
    assert Settings(_env_file=ROOT / ".env.example").max_lines == Settings(_env_file=None).max_lines


def tracked_files() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout
    return [ROOT / name for name in listed.decode().split("\0") if name and (ROOT / name).is_file()]


def test_the_tree_in_the_readme_is_the_tree_on_disk() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    block = readme.split("<!-- tree -->")[1].split("```")[1]
    stack: list[str] = []
    told: set[str] = set()
    for line in block.splitlines()[1:]:
        name = line.split("#")[0].rstrip()
        if not name.strip():
            continue
        depth = (len(name) - len(name.lstrip())) // 2
        stack = [*stack[:depth], name.strip().rstrip("/")]
        told.add("/".join(stack) + ("/" if name.strip().endswith("/") else ""))
    files = {path.relative_to(ROOT).as_posix() for path in tracked_files()}
    missing = {name for name in told if not (ROOT / name).exists()}
    # A folder that is told as one line covers what lies in it; the code is told file by file.
    closed = {name for name in told if name.endswith("/") and not any(t != name and t.startswith(name) for t in told)}
    untold = {
        f for f in files if f not in told and not any(f.startswith(c) for c in closed) and not f.endswith("__init__.py")
    }
    assert (missing, untold) == (set(), set())


def test_python_modules_say_what_they_are_for() -> None:
    modules = {path: path.read_text(encoding="utf-8") for path in tracked_files() if path.suffix == ".py"}
    silent = [path.relative_to(ROOT) for path, text in modules.items() if text and not text.lstrip().startswith('"""')]
    assert silent == []
