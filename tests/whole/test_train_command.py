"""`afina train`, then `afina chat`, as somebody without Discord uses them: real processes, a real training."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent

pytestmark = [pytest.mark.timeout(400), pytest.mark.slow]


def afina(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    own = ("DISCORD_TOKEN", "REDIS_URL", "AFINA_ENGINE_URL")
    environment = {name: value for name, value in os.environ.items() if name not in own}
    return subprocess.run(
        [sys.executable, "-m", "bot.cli", *arguments],
        cwd=ROOT,
        env=environment | {"AFINA_DATA_DIR": str(folder / "data")},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def judged_answers() -> str:
    capitals = {"España": "Madrid", "Perú": "Lima", "Chile": "Santiago", "Cuba": "La Habana"}
    rows = []
    for number in range(24):
        country, city = list(capitals.items())[number % 4]
        good = number % 2 == 0
        rows.append(
            {"prompt": f"¿Capital de {country}? ({number})", "completion": city if good else "Ni idea.", "label": good}
        )
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def test_a_file_of_judged_answers_becomes_a_model_that_answers(tmp_path: Path) -> None:
    source = tmp_path / "votos.jsonl"
    source.write_text(judged_answers(), encoding="utf-8")
    trained = afina(tmp_path, "train", str(source), "--name", "votos", "--preset", "rapido", "--json")
    assert trained.returncode == 0, trained.stderr + trained.stdout
    *events, last = map(json.loads, trained.stdout.splitlines())
    assert {"phase", "metrics", "result"} <= {event["type"] for event in events}
    assert (last["state"], last["model"]["name"], last["model"]["base"]) == ("succeeded", "votos", "afina-mini")

    listed = json.loads(afina(tmp_path, "models", "--json").stdout)
    assert listed["adapter_name"] == last["model"]["adapter"]

    said = afina(tmp_path, "chat", "votos", "--message", "¿Capital de Perú?", "--temperature", "0", "--json")
    assert said.returncode == 0, said.stderr
    assert json.loads(said.stdout)["answer"].strip()
