"""The page of faults: all 39 rows, and every test that it names is there."""

import ast
import re

import pytest

from tests.operations.test_threats import find_test
from tests.test_project import ROOT

TEXT = (ROOT / "docs" / "fallos.md").read_text(encoding="utf-8").split("## Cuánto tarda")[0]


def test_every_fault_has_a_row_and_every_row_a_test():
    rows = [row for row in TEXT.splitlines() if row.startswith("| ") and "Qué falla" not in row]
    numbers = [int(found[1]) for row in rows if (found := re.match(r"\| (\d+) ", row))]
    assert sorted(numbers) == list(range(1, 40))
    assert [row for row in rows if "::test_" not in row] == []


@pytest.mark.parametrize("name", sorted(set(re.findall(r"`(tests/[\w/]+\.py(?:::\w+)+)`", TEXT))))
def test_the_test_behind_a_row_exists(name):
    assert isinstance(find_test(name), ast.FunctionDef | ast.AsyncFunctionDef)
