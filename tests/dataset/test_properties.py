"""Whatever a file holds: a report comes out, a repaired file has no errors, and repairing it again changes nothing.

AFINA_TEST_FILES sets how many files a property sees (the default keeps the suite quick; 10000 is the project's goal).
"""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from jobs.dataset import Limits, Verdict, check_file, read_examples, repair_file
from jobs.dataset.fast import FastReader
from jobs.dataset.problem import Findings
from jobs.dataset.reading import read_line
from jobs.dataset.shapes import Shape
from tests.dataset.clean import CLEAN

FILES = int(os.environ.get("AFINA_TEST_FILES", "150"))
LIMITS = Limits(line_bytes=20_000, lines=60, file_bytes=200_000, messages=8, depth=12)

ROWS = [row for make in CLEAN.values() for row in make()[:3]]
KEYS = [
    "messages",
    "role",
    "content",
    "prompt",
    "completion",
    "label",
    "text",
    "chosen",
    "rejected",
    "conversations",
    "from",
    "value",
    "instruction",
    "input",
    "output",
    "tools",
    "tool_calls",
    "weight",
    "preferred_output",
    "non_preferred_output",
    "function_call",
    "history",
    "system",
    "x",
]
WORDS = [
    "user",
    "assistant",
    "User",
    " tool ",
    "human",
    "gpt",
    "developer",
    "",
    "hola",
    "</s>",
    "a\u200bb",
    "Ã±",
    "\0",
    "\ud83d",
    "ghp_16C7e42F292c6912E7710c838347Ae178B4a",
    "ana@x.es",
    "\u202e",
    "👨‍👩‍👧",
    "<think>",
    "[INST]",
]

scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=12)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=5),
    max_leaves=12,
)


@st.composite
def broken_rows(draw: st.DrawFn) -> Any:
    """A good row with something in it replaced, dropped or added."""
    row = json.loads(json.dumps(draw(st.sampled_from(ROWS))))
    for _ in range(draw(st.integers(0, 2))):
        place = row
        while isinstance(place, dict | list) and place:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = draw(st.sampled_from(keys))
            if draw(st.booleans()) or not isinstance(place[key], dict | list):
                action = draw(st.sampled_from(["replace", "drop", "add"]))
                if action == "replace":
                    place[key] = draw(values)
                elif action == "drop":
                    del place[key]
                elif isinstance(place, dict):
                    place[draw(st.sampled_from(KEYS))] = draw(values)
                else:
                    place.append(draw(values))
                break
            place = place[key]
    return row


@st.composite
def lines(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["good", "broken", "broken", "broken", "odd", "bytes", "cut", "python", "blank"]))
    if kind == "bytes":
        return draw(st.binary(max_size=40))
    if kind == "blank":
        return draw(st.sampled_from([b"", b"  ", b"\t\r", "\u3000".encode(), b"// nota"]))
    value = draw(values) if kind == "odd" else draw(broken_rows()) if kind != "good" else draw(st.sampled_from(ROWS))
    text = str(value) if kind == "python" else json.dumps(value, ensure_ascii=draw(st.booleans()))
    raw = text.encode("utf-8", draw(st.sampled_from(["surrogatepass", "replace"])))
    if kind == "cut":
        raw = raw[: draw(st.integers(0, len(raw)))]
    return raw + draw(st.sampled_from([b"", b"", b"", b",", b" {}", b"\r", b" # nota"]))


@st.composite
def files(draw: st.DrawFn) -> bytes:
    parts = draw(st.lists(lines(), max_size=14))
    end = draw(st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r"]))
    data = draw(st.sampled_from([b"", b"", b"", b"\xef\xbb\xbf"])) + end.join(parts) + draw(st.sampled_from([b"", end]))
    wrap = draw(st.sampled_from(["none"] * 6 + ["array", "utf-16", "latin-1"]))
    if wrap == "array":
        return b"[" + b",\n".join(parts) + b"]"
    if wrap != "none":
        return data.decode("utf-8", "replace").encode(wrap, "replace")
    return data


many = settings(max_examples=FILES, deadline=None, suppress_health_check=list(HealthCheck))


@many
@given(files())
def test_a_report_always_comes_out_and_every_problem_is_whole(data: bytes) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "a.jsonl")
        path.write_bytes(data)
        report = check_file(path, limits=LIMITS)
        json.dumps(report.to_dict(), ensure_ascii=False).encode()
        for problem in report.problems:
            assert problem.message
            assert problem.fix
            assert (problem.line is None) == (problem.field is None)
        examples = list(read_examples(path, limits=LIMITS))
    assert len(examples) == (report.usable or 0)
    bad = {problem.line for problem in report.problems if problem.severity == "error"}
    assert not bad & {example.line for example in examples}


@many
@given(files(), st.booleans())
def test_a_repaired_file_has_no_errors_and_stays_as_it_is(data: bytes, redact: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path, once, twice = (Path(folder, name) for name in ("a.jsonl", "b.jsonl", "c.jsonl"))
        path.write_bytes(data)
        repair = repair_file(path, once, limits=LIMITS, redact=redact)
        assert path.read_bytes() == data
        if repair.report is None:
            assert not once.exists()
            return
        assert repair.report.verdict is not Verdict.REJECTED, repair.report.problems
        assert repair.usable == repair.report.examples > 0
        again = repair_file(once, twice, limits=LIMITS, redact=redact)
        assert again.changes == ()
        assert once.read_bytes() == twice.read_bytes()
        assert sorted(child.name for child in Path(folder).iterdir()) == ["a.jsonl", "b.jsonl", "c.jsonl"]


@many
@given(lines())
def test_the_fast_way_never_says_more_than_the_slow_one(raw: bytes) -> None:
    raw = raw.replace(b"\n", b"")
    fast = FastReader(LIMITS)
    slow, quick = Findings(1, LIMITS), Findings(1, LIMITS)
    reading = read_line(raw, slow)
    assert read_line(raw, quick, fast) == reading
    assert quick.problems == slow.problems
    if fast.is_plain_chat(raw):
        assert reading.shape is Shape.MESSAGES
        assert reading.example is not None
        assert slow.problems == []
