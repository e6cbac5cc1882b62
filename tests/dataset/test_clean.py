"""Clean data comes out valid, whole and in its format: a false alarm costs as much as a miss."""

from __future__ import annotations

from pathlib import Path

import pytest

from jobs.dataset import Verdict, check_file, read_examples
from tests.dataset.clean import CLEAN, FORMATS, as_jsonl


@pytest.mark.parametrize("ascii_only", [False, True], ids=["utf8", "escaped"])
@pytest.mark.parametrize("name", CLEAN)
def test_a_clean_file_is_valid(name: str, ascii_only: bool, tmp_path: Path) -> None:
    rows = CLEAN[name]()
    path = tmp_path / "datos.jsonl"
    path.write_bytes(as_jsonl(rows, ascii_only=ascii_only))
    report = check_file(path)
    assert [(problem.code, problem.line, problem.field, problem.message) for problem in report.problems] == []
    assert report.verdict is Verdict.VALID
    assert (report.format, report.usable, report.examples) == (FORMATS[name], len(rows), len(rows))
    assert [example.line for example in read_examples(path)] == list(range(1, len(rows) + 1))
