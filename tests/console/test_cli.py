"""The command line as its users meet it: words in Spanish, codes 0, 1 and 2, no traceback."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bot.cli import main

NO_TORCH = importlib.util.find_spec("torch") is None
GOOD = {"messages": [{"role": "user", "content": "¿Hola?"}, {"role": "assistant", "content": "Hola, ¿qué tal?"}]}
NO_ANSWER = {"messages": [{"role": "user", "content": "¿Hola?"}]}


@pytest.fixture(autouse=True)
def own_data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AFINA_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    for name in ("DISCORD_TOKEN", "REDIS_URL", "AFINA_ENGINE_URL", "AFINA_LLM"):
        monkeypatch.delenv(name, raising=False)


def lines(*rows: object) -> str:
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


@pytest.fixture
def course(tmp_path: Path) -> Path:
    folder = tmp_path / "curso"
    folder.mkdir()
    (folder / "lora.md").write_text(
        "# LoRA\n\n## Qué se entrena\n\nLoRA entrena dos matrices pequeñas por capa y deja quieto el modelo base.\n",
        encoding="utf-8",
    )
    return folder


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["volar"],
        ["check"],
        ["ask"],
        ["ask", "hola", "--batch", "x.jsonl"],
        ["ask", "hola", "--passages", "-1"],
        ["train"],
        ["train", "datos.jsonl", "--preset", "magico"],
        ["train", "datos.jsonl", "--seed", "siete"],
        ["check", "a.jsonl", "b.jsonl", "--fix", "c.jsonl"],
        ["chat"],
        ["bases", "borrar"],
    ],
)
def test_wrong_use_ends_with_2_and_says_what_is_missing(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        code: object = main(arguments)
    except SystemExit as left:
        code = left.code
    said = capsys.readouterr().err
    assert code == 2
    assert said
    assert "Traceback" not in said
    assert not any(word in said for word in ("usage", "error:", "required", "invalid"))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ask", "hola", "--course", "nada"], "No existe la carpeta"),
        (["ask", "--batch", "nada.jsonl"], "No puedo leer"),
        (["train", "nada.jsonl"], "nada.jsonl"),
        (["chat", "nadie", "--message", "hola"], "No encuentro ningún modelo"),
        (["bases", "descargar", "nada"], "No hay ningún modelo base"),
        (["bot"], "DISCORD_TOKEN"),
        (["up"], "DISCORD_TOKEN"),
        pytest.param(["worker"], "Redis", marks=pytest.mark.skipif(NO_TORCH, reason="needs torch")),
        pytest.param(
            ["models", "fusionar", "nadie", "fuera"],
            "Fusionando",
            marks=pytest.mark.skipif(NO_TORCH, reason="needs torch"),
        ),
    ],
)
def test_what_cannot_be_done_ends_with_1_and_a_sentence(
    arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(arguments)
    said = capsys.readouterr()
    assert code == 1
    assert words in said.err + said.out
    assert "Traceback" not in said.err + said.out


WITHOUT_TORCH = """
import importlib.util, sys
find_spec = importlib.util.find_spec
importlib.util.find_spec = lambda name, *others: None if name == "torch" else find_spec(name, *others)
from bot.cli import main
sys.exit(main(sys.argv[1:]))
"""


def test_where_torch_is_not_installed_the_bot_starts_alone(tmp_path: Path) -> None:
    environment = {
        **os.environ,
        "DISCORD_TOKEN": "da-igual",
        "AFINA_DISCORD_API": "http://127.0.0.1:9/api/v10",
        "AFINA_DATA_DIR": str(tmp_path / "datos"),
    }
    command = [sys.executable, "-c", WITHOUT_TORCH, "up"]
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True, cwd=tmp_path) as up:
        assert up.stderr is not None
        said = ""
        while "Discord does not answer" not in said:  # the bot is at work
            line = up.stderr.readline()
            assert line, said
            said += line
        up.terminate()
        said += up.stderr.read()
    assert up.returncode == 0
    assert "arranco solo el bot" in said
    assert "starting it again" not in said
    done = subprocess.run(
        [*command, "--sin-bot"], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, "AFINA_TORCH=auto" in done.stderr) == (1, True)


def test_a_setting_that_makes_no_sense_is_named(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AFINA_MAX_LINES", "muchas")
    assert main(["models"]) == 2
    assert "AFINA_MAX_LINES" in capsys.readouterr().err


class TestCheck:
    def test_prints_one_object_a_line_for_each_file(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (tmp_path / "bien.jsonl").write_text(lines(*[GOOD] * 3), encoding="utf-8")
        (tmp_path / "mal.jsonl").write_text(lines(GOOD, NO_ANSWER), encoding="utf-8")
        assert main(["check", "--json", "bien.jsonl", "mal.jsonl"]) == 1
        first, second = map(json.loads, capsys.readouterr().out.splitlines())
        assert set(first) == {"file", "verdict", "format", "examples", "usable", "problems", "stats"}
        assert (first["file"], first["format"], first["usable"]) == ("bien.jsonl", "messages", 3)
        errors = [problem for problem in second["problems"] if problem["severity"] == "error"]
        assert [(problem["line"], problem["field"]) for problem in errors] == [(2, "messages")]
        assert set(errors[0]) == {"code", "severity", "line", "field", "message", "fix"}

    def test_warnings_are_no_failure(self, tmp_path: Path) -> None:
        (tmp_path / "pocos.jsonl").write_text(lines(GOOD), encoding="utf-8")
        assert main(["check", "pocos.jsonl"]) == 0

    def test_a_missing_file_is_a_rejected_one(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["check", "--json", "nada.jsonl"]) == 1
        assert json.loads(capsys.readouterr().out)["verdict"] == "rejected"

    def test_fix_writes_a_file_that_passes_and_leaves_the_original(self, tmp_path: Path) -> None:
        broken, fixed = tmp_path / "mal.jsonl", tmp_path / "bien.jsonl"
        broken.write_text(lines(*[GOOD] * 12, NO_ANSWER), encoding="utf-8")
        before = broken.read_bytes()
        assert main(["check", str(broken), "--fix", str(fixed)]) == 0
        assert broken.read_bytes() == before
        assert main(["check", str(fixed)]) == 0

    def test_fix_never_overwrites_the_original(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
        broken = tmp_path / "mal.jsonl"
        broken.write_text(lines(GOOD, NO_ANSWER), encoding="utf-8")
        assert main(["check", str(broken), "--fix", str(broken)]) == 1
        assert "original" in capsys.readouterr().out
        assert broken.read_text(encoding="utf-8") == lines(GOOD, NO_ANSWER)


class TestAsk:
    def test_prints_the_answer_with_its_sources(self, course: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["ask", "¿qué entrena LoRA?", "--course", str(course), "--json", "--passages", "2"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["found"] is True
        assert said["sources"][0]["file"] == "lora.md"
        assert set(said["sources"][0]) == {"file", "title", "excerpt", "score"}
        assert all(len(passage["text"]) <= 1000 for passage in said["passages"])

    def test_says_when_the_course_does_not_cover_it(self, course: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["ask", "receta de tortilla de patatas", "--course", str(course), "--json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert (said["found"], said["sources"]) == (False, [])

    def test_answers_a_file_of_questions_with_their_ids(
        self, course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        batch = tmp_path / "preguntas.jsonl"
        batch.write_text(lines({"id": "a", "question": "lora?"}, {"id": 2, "question": "fútbol"}), encoding="utf-8")
        assert main(["ask", "--batch", str(batch), "--course", str(course), "--json"]) == 0
        assert [json.loads(line)["id"] for line in capsys.readouterr().out.splitlines()] == ["a", 2]

    def test_names_the_line_of_a_batch_that_is_no_question(
        self, course: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        batch = tmp_path / "preguntas.jsonl"
        batch.write_text(lines({"id": "a", "question": "lora?"}) + "hola\n", encoding="utf-8")
        assert main(["ask", "--batch", str(batch), "--course", str(course)]) == 1
        assert "línea 2" in capsys.readouterr().err


def test_models_says_what_to_do_when_there_are_none(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models"]) == 0
    assert "afina train" in capsys.readouterr().out


def test_bases_lists_the_catalogue(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bases", "--json"]) == 0
    bases = {row["id"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}
    assert bases["afina-mini"]["downloaded"] is True
    assert all(row["licence"] and row["context"] for row in bases.values())


def test_doctor_names_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--json"]) == 1
    findings = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert findings["Discord"]["state"] == "bad"
    assert "DISCORD_TOKEN" in findings["Discord"]["fix"]
    assert findings["Redis"]["state"] == "good"
