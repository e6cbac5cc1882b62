"""Files of strangers are read in a child process with limits; what goes wrong there is told, not felt."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from jobs.dataset import Limits, check_file
from jobs.dataset.sandbox import ask_child, child_steps
from jobs.errors import DatasetError, TooLarge
from tests.dataset.clean import as_jsonl, capitals, classification, kto, tool_use


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "datos.jsonl"
    path.write_bytes(as_jsonl(tool_use() + capitals()) + b'{"messages": []}\n')
    return path


async def test_the_structure_comes_first_and_the_whole_report_after(file: Path) -> None:
    steps = [step async for step in child_steps("check", limits=Limits(), path=str(file), name="míos.jsonl")]
    assert [step["complete"] for step in steps] == [False, True]
    whole = check_file(file, name="míos.jsonl").to_dict()
    assert {key: steps[-1][key] for key in whole} == json.loads(json.dumps(whole))
    (group,) = [group for group in steps[0]["groups"] if group["code"] == "empty_messages"]
    assert (group["count"], group["lines"], group["severity"]) == (1, [25], "error")


async def test_a_child_that_needs_too_much_memory_is_told(tmp_path: Path) -> None:
    path = tmp_path / "grande.jsonl"
    path.write_bytes(as_jsonl(classification()) * 1500)
    with pytest.raises(TooLarge):
        await ask_child("check", limits=Limits(memory_bytes=96 * 2**20), path=str(path), name="x")


async def test_a_child_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    path = tmp_path / "grande.jsonl"
    path.write_bytes(as_jsonl(classification()) * 1500)
    with pytest.raises(TooLarge):
        await ask_child("check", limits=Limits(seconds=0.05), path=str(path), name="x")


async def test_a_refusal_of_the_child_reaches_the_person_in_words(file: Path, tmp_path: Path) -> None:
    other = tmp_path / "otro.jsonl"
    other.write_bytes(as_jsonl(kto()))
    with pytest.raises(DatasetError, match="misma clase"):
        await ask_child("merge", limits=Limits(), paths=[str(file), str(other)], out=str(tmp_path / "c.jsonl"))


async def test_the_child_knows_no_secret_of_the_parent(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from jobs.dataset.sandbox import _harmless

    monkeypatch.setenv("DISCORD_TOKEN", "x")
    monkeypatch.setenv("HF_TOKEN", "x")
    assert not {"DISCORD_TOKEN", "HF_TOKEN"} & _harmless(os.environ).keys()


async def test_a_split_copies_whole_lines_and_keeps_groups_together(tmp_path: Path) -> None:
    path, train, validation = (tmp_path / name for name in ("a.jsonl", "t.jsonl", "v.jsonl"))
    path.write_bytes(as_jsonl(kto()))  # two answers to each prompt
    counts = await ask_child(
        "split", limits=Limits(), path=str(path), train=str(train), validation=str(validation), fraction=0.2, seed=7
    )
    assert counts == {"train": 16, "validation": 4}
    lines = path.read_bytes().splitlines()
    ours, theirs = train.read_bytes().splitlines(), validation.read_bytes().splitlines()
    assert sorted(ours + theirs) == sorted(lines)
    prompts = [{json.loads(line)["prompt"] for line in side} for side in (ours, theirs)]
    assert not prompts[0] & prompts[1]
    overlap = await ask_child("overlap", limits=Limits(), train=str(train), validation=str(path))
    assert [problem["line"] for problem in overlap["train"]] == list(range(1, 17))


async def test_merging_keeps_each_example_once_and_a_sample_keeps_the_order(tmp_path: Path) -> None:
    one, two, out = (tmp_path / name for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
    one.write_bytes(as_jsonl(capitals()))
    two.write_bytes(as_jsonl(capitals()[:5] + classification()))
    merged = await ask_child("merge", limits=Limits(), paths=[str(one), str(two)], out=str(out))
    assert merged == {"examples": len(capitals()) + len(classification())}
    assert check_file(out).usable == merged["examples"]
    some = tmp_path / "d.jsonl"
    await ask_child("sample", limits=Limits(), path=str(out), out=str(some), count=7, seed=3)
    places = [out.read_bytes().splitlines().index(line) for line in some.read_bytes().splitlines()]
    assert len(places) == 7
    assert places == sorted(places)


async def test_examples_are_shown_as_the_model_sees_them(file: Path) -> None:
    shown = [
        step async for step in child_steps("show", limits=Limits(), path=str(file), template=None, start=11, count=2)
    ]
    assert [example["line"] for example in shown] == [12, 13]
    pieces = shown[1]["pieces"]
    assert "".join(text for text, _ in pieces) == (
        "<|im_start|>user\n¿Cuál es la capital de Francia?<|im_end|>\n"
        "<|im_start|>assistant\nLa capital de Francia es París.<|im_end|>\n"
    )
    assert [text for text, learnt in pieces if learnt] == ["La capital de Francia es París.<|im_end|>"]


async def test_the_whole_report_lands_in_two_files(file: Path, tmp_path: Path) -> None:
    out = tmp_path / "informe"
    told = await ask_child("whole", limits=Limits(), path=str(file), name="míos", out=str(out))
    rows = [json.loads(line) for line in (tmp_path / "informe.jsonl").read_text().splitlines()]
    assert told == {"problems": len(rows)} == {"problems": 1}
    assert "línea 25 (messages): La lista de mensajes está vacía." in (tmp_path / "informe.txt").read_text()
