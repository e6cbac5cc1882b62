"""One table of rules: every code is used, explained in the course, and the page about them is current."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from jobs.dataset import check_file
from jobs.dataset.rules import RULES
from jobs.dataset.rules_page import page
from jobs.dataset.samples import SAMPLES, sample_file

ROOT = Path(__file__).parents[2]
SOURCES = "".join(
    path.read_text(encoding="utf-8") for path in (ROOT / "jobs/dataset").glob("*.py") if path.name != "rules.py"
)


def test_the_page_about_problems_is_current() -> None:
    assert (ROOT / "docs/problemas.md").read_text(encoding="utf-8") == page()


@pytest.mark.parametrize("code", RULES)
def test_every_rule_is_used_and_has_its_page_in_the_course(code: str) -> None:
    assert f'"{code}"' in SOURCES
    assert (ROOT / "course" / RULES[code].page).is_file()


def test_every_code_in_use_is_in_the_table() -> None:
    used = re.findall(r'(?:found\.add|make_problem|_refuse)\(\s*(?:Container\.\w+, )?"(\w+)"', SOURCES)
    assert len(used) > 40
    assert set(used) <= set(RULES)


@pytest.mark.parametrize("name", SAMPLES)
def test_the_files_to_start_from_are_valid(name: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(sample_file(name))
    report = check_file(path)
    assert [problem.message for problem in report.problems] == []
    assert report.usable == 10
