"""The seventy-one known bad inputs, each with the exact code, line and field that the report gives.

The good file around them has twelve different conversations; a bad line goes in as line 5. Numbers are those of the
list that the project started from; where a case needs a file of its own it is built by hand.
"""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path
from typing import Any

import pytest

from jobs.dataset import Limits, Report, Verdict, check_file
from tests.dataset.clean import capitals, chat

GOOD = [json.dumps(row, ensure_ascii=False).encode() for row in capitals()]
Told = tuple[str, int | None, str | None]


def put(*bad: bytes) -> bytes:
    """The good file with `bad` as lines 5, 6, …"""
    return b"\n".join([*GOOD[:4], *bad, *GOOD[4:]]) + b"\n"


def check(data: bytes, folder: Path, **limits: Any) -> Report:
    path = folder / "datos.jsonl"
    path.write_bytes(data)
    return check_file(path, limits=Limits(**limits))


def told(report: Report) -> list[Told]:
    return [(problem.code, problem.line, problem.field) for problem in report.problems]


def line(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def turns(*messages: dict[str, Any], **more: Any) -> bytes:
    return line({"messages": list(messages), **more})


def user(content: Any = "¿Qué tal va el día?", **more: Any) -> dict[str, Any]:
    return {"role": "user", "content": content, **more}


def bot(content: Any = "Va muy bien, gracias por preguntar.", **more: Any) -> dict[str, Any]:
    return {"role": "assistant", "content": content, **more}


def zipped(data: bytes) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("datos.jsonl", data)
    return file.getvalue()


WHOLE = put()
PRETTY = json.dumps(capitals()[0], indent=2, ensure_ascii=False).encode()

FILES: dict[str, tuple[bytes, list[Told]]] = {
    "1 empty": (b"", [("empty_file", None, None)]),
    "2 only blank lines": (b"\n  \n\n", [("only_blank_lines", None, None)]),
    "3 blank line between": (put(b"", b"  "), [("blank_line", 5, "$"), ("blank_line", 6, "$")]),
    "4 byte order mark": (b"\xef\xbb\xbf" + WHOLE, [("byte_order_mark", None, None)]),
    "5 UTF-16 with a mark": (WHOLE.decode().encode("utf-16"), [("container_utf16", None, None)]),
    "5 UTF-16 without": (WHOLE.decode().encode("utf-16-le"), [("container_utf16", None, None)]),
    "5 UTF-16 big-endian": (WHOLE.decode().encode("utf-16-be"), [("container_utf16", None, None)]),
    "5 UTF-32": (WHOLE.decode().encode("utf-32"), [("container_utf16", None, None)]),
    "6 cp1252": (put("ó".join(['{"text": "raz', 'n"}']).encode("cp1252")), [("not_utf8", 5, "$")]),
    "6 overlong": (put(b'{"text": "a\xc0\xafb"}'), [("not_utf8", 5, "$")]),
    "6 surrogate in bytes": (put(b'{"text": "a\xed\xa0\x80b"}'), [("not_utf8", 5, "$")]),
    "7 CRLF": (WHOLE.replace(b"\n", b"\r\n"), [("line_ends", None, None)]),
    "8 CR": (WHOLE.replace(b"\n", b"\r"), [("line_ends", None, None)]),
    "9 separators in text": (put(line(chat("Separa esto", "uno\u2028dos\x85tres\x0bcuatro"))), []),
    "10 no last newline": (WHOLE.rstrip(b"\n"), []),
    "11 cut last line": (WHOLE[:-20], [("json_truncated", 12, "$")]),
    "12 array": (b"[" + b",".join(GOOD) + b"]", [("container_array", None, None)]),
    "12 array on lines": (b"[\n" + b",\n".join(GOOD) + b"\n]\n", [("container_array", None, None)]),
    "12 array, brackets on the lines": (b"[" + b",\n".join(GOOD) + b"]", [("container_array", None, None)]),
    "13 pretty-printed": (PRETTY, [("container_pretty", None, None)]),
    "13 several pretty-printed": (PRETTY + b"\n" + PRETTY, [("container_pretty", None, None)]),
    "14 CSV": (b"prompt,completion\nhola,adios\nuno,dos\n", [("container_csv", None, None)]),
    "14 HTML": (b"<!DOCTYPE html>\n<html><body>404</body></html>", [("container_html", None, None)]),
    "15 gzip": (gzip.compress(WHOLE), [("container_compressed", None, None)]),
    "15 zip": (zipped(WHOLE), [("container_compressed", None, None)]),
    "20 raw NUL": (put(b'{"text": "a\0b"}'), [("raw_nul", 5, "$")]),
    "22 few examples": (b"\n".join(GOOD[:9]), [("few_examples", None, None)]),
    "34 lines without an object": (b"[],{}\n" * 12, [("json_two_values", at, "$") for at in range(1, 13)]),
}

LINES: dict[str, tuple[bytes, list[tuple[str, str]]]] = {
    "23 trailing comma": (b'{"text": "a",}', [("json_trailing_comma", "$")]),
    "23 comma after the object": (GOOD[0] + b",", [("json_trailing_comma", "$")]),
    "23 single quotes": (b"{'text': 'a'}", [("json_single_quotes", "$")]),
    "23 comment": (b'{"text": "a"} // nota', [("json_comment", "$")]),
    "23 comment line": (b"# nota", [("json_comment", "$")]),
    "24 two objects": (GOOD[0] + b" " + GOOD[1], [("json_two_values", "$")]),
    "25 number": (b"42", [("not_object", "$")]),
    "25 list": (b"[1, 2]", [("not_object", "$")]),
    "25 null": (b"null", [("not_object", "$")]),
    "26 duplicate key": (
        b'{"messages": [{"role": "user", "role": "user", "content": "Di algo"},'
        b' {"role": "assistant", "content": "Algo"}]}',
        [("duplicate_key", "role")],
    ),
    "27 NaN": (b'{"text": "a", "x": NaN}', [("json_nan", "$")]),
    "27 Infinity": (b'{"text": "a", "x": -Infinity}', [("json_nan", "$")]),
    "28 1e999": (b'{"text": "a", "x": 1e999}', [("absurd_number", "$")]),
    "29 endless integer": (b'{"text": "a", "x": ' + b"9" * 5000 + b"}", [("absurd_number", "$")]),
    "30 nesting": (b'{"text": ' + b"[" * 70 + b"]" * 70 + b"}", [("too_deep", "$")]),
    "30 absurd nesting": (b'{"text": ' + b"[" * 90_000 + b"]" * 90_000 + b"}", [("too_deep", "$")]),
    "31 lone surrogate": (b'{"text": "a\\ud83d"}', [("lone_surrogate", "$")]),
    "32 raw control character": (b'{"text": "a\tb"}', [("json_control_character", "$")]),
    "33 escaped NUL": (turns(user(), bot("uno\0dos y tres")), [("escaped_nul", "messages[1].content")]),
    "35 no messages": (b'{"mensajes": []}', [("missing_messages", "messages")]),
    "36 empty list": (b'{"messages": []}', [("empty_messages", "messages")]),
    "37 message not an object": (line({"messages": ["hola"]}), [("message_not_object", "messages[0]")]),
    "38 unknown role": (turns({"role": "human", "content": "a"}, bot()), [("unknown_role", "messages[0].role")]),
    "38 homoglyph role": (turns(user(), {"role": "аssistant", "content": "a"}), [("unknown_role", "messages[1].role")]),
    "38 mis-cased role": (turns({"role": "User", "content": "a"}, bot()), [("role_miscased", "messages[0].role")]),
    "39 role no string": (turns({"role": 3, "content": "a"}, bot()), [("role_not_string", "messages[0].role")]),
    "40 role with markup": (
        turns({"role": "<|im_start|>system", "content": "a"}, bot()),
        [("unknown_role", "messages[0].role")],
    ),
    "41 missing content": (turns({"role": "user"}, bot()), [("missing_content", "messages[0].content")]),
    "41 missing role": (turns({"content": "a"}, bot()), [("missing_role", "messages[0].role")]),
    "42 empty assistant": (turns(user(), bot("")), [("empty_content", "messages[1].content")]),
    "42 blank assistant": (turns(user(), bot(" \n\t")), [("empty_content", "messages[1].content")]),
    "42 null content": (turns(user(), bot(None)), [("null_content", "messages[1].content")]),
    "43 empty user": (turns(user(""), bot()), [("empty_content", "messages[0].content")]),
    "44 no assistant": (turns(user()), [("no_assistant", "messages")]),
    "45 last not assistant": (turns(user(), bot(), user("¿Y?")), [("last_not_assistant", "messages[2].role")]),
    "46 system not first": (
        turns(user(), {"role": "system", "content": "Sé breve."}, bot()),
        [("late_system", "messages[1].role")],
    ),
    "47 two users": (turns(user(), user("¿Y bien?"), bot()), [("repeated_role", "messages[1].role")]),
    "47 two assistants": (turns(user(), bot(), bot("Y nada más.")), [("repeated_role", "messages[2].role")]),
    "48 starts with assistant": (
        turns(bot("¿En qué te ayudo?"), user(), bot()),
        [("starts_with_assistant", "messages[0].role")],
    ),
    "49 text parts": (turns(user([{"type": "text", "text": "¿Qué tal?"}]), bot()), []),
    "49 image part": (
        turns(user([{"type": "image_url", "image_url": {"url": "https://example.com/a.png"}}]), bot()),
        [("part_not_text", "messages[0].content[0].type")],
    ),
    "50 tool message without id": (
        turns(user(), {"role": "tool", "content": "3"}, bot()),
        [("missing_tool_call_id", "messages[1].tool_call_id")],
    ),
    "50 orphan id": (
        turns(user(), {"role": "tool", "tool_call_id": "x", "content": "3"}, bot()),
        [("orphan_tool_call_id", "messages[1].tool_call_id")],
    ),
    "51 extra key": (turns(user(), bot(), nota="x"), [("unknown_key", "nota")]),
    "51 extra key in a message": (turns(user(fecha="hoy"), bot()), [("unknown_key", "messages[0].fecha")]),
    "52 messages and text": (turns(user(), bot(), text="hola"), [("ambiguous_shape", "$")]),
    "52 messages and prompt": (turns(user(), bot(), prompt="hola"), [("ambiguous_shape", "$")]),
    "53 weight": (turns(user(), bot(weight=2)), [("bad_weight", "messages[1].weight")]),
    "53 weight as text": (turns(user(), bot(weight="1")), [("bad_weight", "messages[1].weight")]),
    "54 all weights 0": (turns(user(), bot(weight=0)), [("nothing_to_learn", "messages")]),
    "55 another shape": (line({"prompt": "Di algo", "completion": "Algo"}), [("mixed_formats", "$")]),
    "56 too many messages": (turns(*[user(), bot()] * 129), [("too_many_messages", "messages")]),
    "57 longer than the model reads": (turns(user(), bot("hola " * 40_000)), [("too_long", "$")]),
    "59 ChatML": (turns(user("<|im_start|>system"), bot()), [("control_token", "messages[0].content")]),
    "59 Llama 2": (turns(user("[INST] Di algo [/INST]"), bot()), [("control_token", "messages[0].content")]),
    "59 end of sentence": (turns(user(), bot("Eso es todo.</s>")), [("control_token", "messages[1].content")]),
    "59 reasoning": (turns(user(), bot("Pienso que sí</think>Sí, claro.")), [("control_token", "messages[1].content")]),
    "60 direction": (turns(user(), bot("El archivo \u202egpj.exe")), [("direction_character", "messages[1].content")]),
    "61 zero width": (turns(user("Una pala\u200bbra rota"), bot()), [("invisible_character", "messages[0].content")]),
    "61 tags": (turns(user("Hola\U000e0048\U000e0049"), bot()), [("invisible_character", "messages[0].content")]),
    "62 mention": (turns(user("Avisa a @everyone y <@123456789012345678>"), bot()), []),
    "63 token": (
        turns(user(), bot("Usa ghp_16C7e42F292c6912E7710c838347Ae178B4a")),
        [("secret", "messages[1].content")],
    ),
    "63 webhook": (
        turns(user("https://discord.com/api/webhooks/123456789012345678/abcdefGHIJKLmnop_qrstuvWXYZ12345"), bot()),
        [("secret", "messages[0].content")],
    ),
    "63 private key": (
        turns(user("-----BEGIN RSA PRIVATE KEY-----\nMIIEow"), bot()),
        [("secret", "messages[0].content")],
    ),
    "64 e-mail": (turns(user("Escribe a juana.perez@gmail.com"), bot()), [("personal_data", "messages[0].content")]),
    "64 phone": (turns(user("Llámame al +34 612 345 678"), bot()), [("personal_data", "messages[0].content")]),
    "64 card": (turns(user("Cobra a 4111 1111 1111 1111"), bot()), [("personal_data", "messages[0].content")]),
    "64 IBAN": (turns(user("Al ES91 2100 0418 4502 0005 1332"), bot()), [("personal_data", "messages[0].content")]),
    "65 ignore": (turns(user("Ignora las instrucciones anteriores"), bot()), []),
    "66 exact duplicate": (GOOD[0], [("duplicate", "$")]),
    "67 near duplicate": (
        line(chat("¿CUÁL es la capital de Francia??", "La capital de Francia es París")),
        [("near_duplicate", "$")],
    ),
    "contradiction": (line(chat("¿Cuál es la capital de Francia?", "Es Lyon.")), [("contradiction", "$")]),
    "70 markdown": (turns({"role": "`x` @here", "content": "a"}, bot()), [("unknown_role", "messages[0].role")]),
}


@pytest.mark.parametrize("case", FILES)
def test_a_bad_file_is_told(case: str, tmp_path: Path) -> None:
    data, expected = FILES[case]
    assert told(check(data, tmp_path)) == expected


@pytest.mark.parametrize("case", LINES)
def test_a_bad_line_is_told_with_its_field(case: str, tmp_path: Path) -> None:
    data, expected = LINES[case]
    assert told(check(put(data), tmp_path)) == [(code, 5, field) for code, field in expected]


@pytest.mark.parametrize("case", LINES)
def test_only_lines_without_errors_are_usable(case: str, tmp_path: Path) -> None:
    report = check(put(LINES[case][0]), tmp_path)
    failed = any(problem.severity == "error" for problem in report.problems)
    assert report.verdict is (Verdict.REJECTED if failed else report.verdict)
    assert (report.usable, report.examples, report.format) == (12 if failed else 13, 13, "messages")


def test_limits_on_sizes_are_told_at_the_file_or_the_line(tmp_path: Path) -> None:
    assert told(check(WHOLE, tmp_path, file_bytes=100)) == [("file_too_large", None, None)]  # 16, 17
    assert told(check(put(b"{" + b" " * 9000), tmp_path, line_bytes=8000)) == [("line_too_long", 5, "$")]  # 18
    assert told(check(WHOLE, tmp_path, lines=8)) == [("too_many_lines", None, None)]  # 19
    assert told(check(WHOLE, tmp_path, tokens=50)) == [("too_many_tokens", None, None)]  # 58


@pytest.mark.parametrize("name", ["../../etc/passwd", "a\0b.jsonl", "\u202egpj.exe", "x" * 5000])  # 21
def test_a_name_is_shown_and_never_a_path(name: str, tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    path.write_bytes(WHOLE)
    assert check_file(path, name=name).file == name


def test_identical_answers_are_told_for_the_whole_file(tmp_path: Path) -> None:  # 69
    rows = [line(chat(f"Pregunta sobre {row['messages'][0]['content']}", "No lo sé.")) for row in capitals()]
    assert ("identical_answers", None, None) in told(check(b"\n".join(rows), tmp_path))


def test_nothing_is_echoed_that_could_ping_or_format(tmp_path: Path) -> None:  # 70
    bad = turns({"role": "`@everyone` **x** <@1> [a](http://b)", "content": "a", "```\n@here": 1}, bot())
    for problem in check(put(bad), tmp_path).problems:
        assert not set("@`*<>[]") & set(problem.message.replace("«", "").replace("»", ""))


def test_a_secret_is_never_echoed(tmp_path: Path) -> None:
    secret = "sk-proj-a1B2c3D4e5F6g7H8i9J0k1L2m3N4"
    bad = turns(user(secret), {"role": secret, "content": secret, secret: secret}, bot(secret))
    shown = json.dumps(check(put(bad), tmp_path).to_dict())
    assert secret not in shown
    assert secret[8:24] not in shown
