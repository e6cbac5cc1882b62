"""What is certain is mended and listed; the rest is left out and said; the original stays."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from jobs.dataset import Repair, Verdict, check_file, read_examples, repair_file
from tests.dataset.clean import as_jsonl, capitals, chat, sharegpt

ROWS = capitals()
WHOLE = as_jsonl(ROWS)


def mended(data: bytes, folder: Path, **options: Any) -> tuple[Repair, list[Any]]:
    path, out = folder / "a.jsonl", folder / "b.jsonl"
    path.write_bytes(data)
    repair = repair_file(path, out, **options)
    assert path.read_bytes() == data
    return repair, [json.loads(line) for line in out.read_bytes().splitlines()] if out.exists() else []


def zipped(**files: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name.replace("__", "/") + ".jsonl", data)
    return file.getvalue()


TABLE = "pregunta,respuesta\n" + "".join(
    f'"{row["messages"][0]["content"]}","{row["messages"][1]["content"]}"\n' for row in ROWS
)
CONTAINERS = {
    "array": json.dumps(ROWS).encode(),
    "array on lines": json.dumps(ROWS, indent=1).encode(),
    "pretty-printed": b"\n".join(json.dumps(row, indent=2).encode() for row in ROWS),
    "wrapped in an object": json.dumps({"data": ROWS}, indent=2).encode(),
    "gzip": gzip.compress(WHOLE),
    "zip": zipped(datos=WHOLE),
    "zip with an evil path": zipped(**{"..__..__etc__datos": WHOLE}),
    "gzip of an array": gzip.compress(json.dumps(ROWS).encode()),
    "UTF-16": WHOLE.decode().encode("utf-16"),
    "UTF-16 without a mark": WHOLE.decode().encode("utf-16-be"),
    "Windows-1252": WHOLE.decode().encode("cp1252"),
    "CRLF with a mark": b"\xef\xbb\xbf" + WHOLE.replace(b"\n", b"\r\n"),
    "Windows-1252 array": json.dumps(ROWS, ensure_ascii=False).encode("cp1252"),
    "Windows-1252 CSV": TABLE.encode("cp1252"),
    "CR": WHOLE.replace(b"\n", b"\r"),
    "blank lines": WHOLE.replace(b"\n", b"\n\n"),
    "CSV": TABLE.encode(),
    "CSV with a mark and semicolons": b"\xef\xbb\xbf" + TABLE.replace('","', '";"').replace(",r", ";r").encode(),
    "a comma after each line": WHOLE.replace(b"\n", b",\n"),
    "Python's own notation": "\n".join(str(row) for row in ROWS).encode(),
    "all on one line": b" ".join(json.dumps(row).encode() for row in ROWS),
    "everything twice": WHOLE + WHOLE,
    "comments between": b"// nota\n" + WHOLE.replace(b"\n", b"\n# otra\n"),
}


@pytest.mark.parametrize("kind", CONTAINERS)
def test_the_same_examples_come_out_of_every_container(kind: str, tmp_path: Path) -> None:
    repair, rows = mended(CONTAINERS[kind], tmp_path)
    assert rows == ROWS
    assert repair.changes
    assert repair.report is not None
    assert repair.report.verdict is Verdict.VALID
    assert sorted(child.name for child in tmp_path.iterdir()) == ["a.jsonl", "b.jsonl"]


def turns(*pairs: tuple[Any, Any], **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": role, "content": content} for role, content in pairs], **more}


GOOD = turns(("user", "¿Qué es?"), ("assistant", "Una prueba."))
MENDS: dict[str, tuple[bytes, list[Any], str]] = {
    "names of roles": (
        as_jsonl([turns(("Human", "¿Qué es?"), (" Assistant", "Una prueba."))]),
        [GOOD],
        "role_miscased",
    ),
    "what follows the last answer": (
        as_jsonl([turns(("user", "¿Qué es?"), ("assistant", "Una prueba."), ("user", "Vale"))]),
        [GOOD],
        "last_not_assistant",
    ),
    "keys that are not used": (as_jsonl([{**GOOD, "fecha": "hoy"}]), [GOOD], "unknown_key"),
    "a number as content": (
        as_jsonl([turns(("user", "¿Cuánto?"), ("assistant", 42))]),
        [turns(("user", "¿Cuánto?"), ("assistant", "42"))],
        "content_not_text",
    ),
    "what nobody sees": (
        as_jsonl([turns(("user", "¿Qué\u200b es?"), ("assistant", "Una prueba.\u202e"))]),
        [GOOD],
        "invisible_character",
    ),
    "broken accents": (
        as_jsonl([turns(("user", "Â¿QuÃ© es?"), ("assistant", "Una prueba."))]),
        [GOOD],
        "invisible_character",
    ),
    "an object of no known shape whose meaning is certain": (
        as_jsonl([{"pregunta": "¿Qué es?", "respuesta": "Una prueba."}]),
        [GOOD],
        "other_program",
    ),
    "a judgement as a number": (
        as_jsonl([{"prompt": "a", "completion": "b", "label": 0}]),
        [{"prompt": "a", "completion": "b", "label": False}],
        "label_not_boolean",
    ),
    "one key twice": (
        b'{"messages": [], ' + as_jsonl([GOOD])[1:],
        [GOOD],
        "duplicate_key",
    ),
}


@pytest.mark.parametrize("kind", MENDS)
def test_what_is_certain_is_mended(kind: str, tmp_path: Path) -> None:
    data, expected, code = MENDS[kind]
    repair, rows = mended(data, tmp_path)
    assert rows == expected
    assert code in [change.code for change in repair.changes]
    assert all(change.line == 1 for change in repair.changes)


LOST = {
    "an empty answer": as_jsonl([turns(("user", "¿Qué es?"), ("assistant", ""))]),
    "a cut line": b'{"messages": [{"role": "user", "content": "hol',
    "an unknown role": as_jsonl([turns(("user", "a"), ("alien", "b"))]),
    "an unknown shape": b'{"a": 1}',
    "nothing": b"",
    "a web page": b"<!doctype html><html></html>",
    "a bomb": gzip.compress(b"a" * 60_000_000),
}


@pytest.mark.parametrize("kind", LOST)
def test_where_nothing_usable_is_left_nothing_is_written(kind: str, tmp_path: Path) -> None:
    repair, rows = mended(LOST[kind], tmp_path)
    assert (repair.report, repair.usable, rows) == (None, 0, [])
    assert [child.name for child in tmp_path.iterdir()] == ["a.jsonl"]


def test_a_line_that_cannot_be_mended_is_left_out_and_said(tmp_path: Path) -> None:
    repair, rows = mended(WHOLE + LOST["an empty answer"], tmp_path)
    assert rows == ROWS
    (change,) = repair.changes
    assert (change.line, change.code) == (13, "empty_content")
    assert "Línea quitada" in change.message


def test_chats_of_several_shapes_become_messages(tmp_path: Path) -> None:
    mixed = [*capitals()[:3], {"prompt": "Di algo", "completion": "Algo"}, *sharegpt()[:1]]
    repair, rows = mended(as_jsonl(mixed), tmp_path)
    assert rows[3] == chat("Di algo", "Algo")
    assert rows[4] == chat(
        *[turn["value"] for turn in sharegpt()[0]["conversations"][1:]], system="Eres divulgador científico."
    )
    assert repair.report is not None
    assert (repair.report.format, repair.usable) == ("messages", 5)


def test_secrets_and_personal_data_are_covered_only_if_asked(tmp_path: Path) -> None:
    said = "Mi token es ghp_16C7e42F292c6912E7710c838347Ae178B4a y mi correo ana.lopez@correo.es"
    data = as_jsonl([chat("¿Cuál era?", said)])
    assert mended(data, tmp_path)[1][0]["messages"][1]["content"] == said
    covered = mended(data, tmp_path, redact=True)[1][0]["messages"][1]["content"]
    assert covered == "Mi token es [token de GitHub] y mi correo [una dirección de correo]"


def test_weights_survive_a_conversion(tmp_path: Path) -> None:
    weighted = chat("Uno", "Primero", "Dos", "Segundo")
    weighted["messages"][1]["weight"] = 0
    path, out = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    path.write_bytes(as_jsonl([weighted, {"prompt": "Di algo", "completion": "Algo"}]))
    before = [[turn.learn for turn in example.messages] for example in read_examples(path)]
    repair_file(path, out)
    after = [[turn.learn for turn in example.messages] for example in read_examples(out)]
    assert after[:1] == before[:1] == [[False, False, False, True]]
    assert check_file(out).usable == 2
