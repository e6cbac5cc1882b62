"""The threat model page: every row has a test that exists, every risk a row; and the few that had no home elsewhere."""

import ast
import re
from pathlib import Path

import pytest

from tests.test_project import ROOT

PAGE = ROOT / "docs" / "amenazas.md"
ROWS = re.findall(r"^\|(?! ?-| Qué podría).*\|$", PAGE.read_text(encoding="utf-8"), flags=re.M)
SOURCES = [path for top in ("bot", "jobs") for path in (ROOT / top).rglob("*.py")]


def named_tests() -> list[str]:
    return re.findall(r"`(tests/[\w/]+\.py(?:::\w+)+)`", PAGE.read_text(encoding="utf-8"))


def find_test(name: str) -> ast.AST:
    """The definition behind "tests/x.py::TestY::test_z"; fails when there is none."""
    file, *path = name.split("::")
    scope: ast.AST = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    for step in path:
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
        named = [node for node in ast.iter_child_nodes(scope) if isinstance(node, kinds) and node.name == step]
        assert named, f"{file} has no {step}"
        scope = named[0]
    return scope


@pytest.mark.parametrize("name", named_tests())
def test_the_test_behind_a_row_exists_and_can_fail(name):
    test = find_test(name)
    assert isinstance(test, ast.FunctionDef | ast.AsyncFunctionDef)
    judged = [node for node in ast.walk(test) if isinstance(node, ast.Assert)]
    judged += [node for node in ast.walk(test) if isinstance(node, ast.Call) and "raises" in ast.unparse(node.func)]
    assert judged, f"{name} asserts nothing"
    assert not any("skip" in ast.unparse(mark) for mark in test.decorator_list)


def test_every_row_has_its_test():
    assert len(ROWS) > 30
    assert [row for row in ROWS if "::test_" not in row] == []


def test_every_risk_of_the_list_has_rows():
    sections = re.split(r"^### ", PAGE.read_text(encoding="utf-8"), flags=re.M)[1:]
    assert [section[:5] for section in sections] == [f"LLM{number:02}" for number in range(1, 11)]
    assert all("::test_" in section for section in sections)


def calls(path: Path) -> list[ast.Call]:
    return [node for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))) if isinstance(node, ast.Call)]


def test_nothing_unpickles_or_runs_code_of_a_model():
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        imported = {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
        imported |= {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
        assert not imported & {"pickle", "cPickle", "dill", "cloudpickle", "marshal", "shelve", "joblib"}, path
        for call in calls(path):
            options = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
            name = ast.unparse(call.func)
            assert name not in ("eval", "exec", "os.system", "yaml.load", "yaml.unsafe_load"), path
            assert options.get("shell", "False") == "False", path
            assert options.get("trust_remote_code", "False") == "False", path
            assert not name.endswith("torch.load") or options["weights_only"] == "True", path


def test_no_model_is_given_tools():
    """What a model says is shown to a person and nothing else: no file lends it functions to call."""
    lending = {
        str(path.relative_to(ROOT))
        for path in (ROOT / "bot").rglob("*.py")
        for call in calls(path)
        if ast.unparse(call.func).rsplit(".", 1)[-1] in ("bind_tools", "create_agent", "bind_functions")
        or {"tools", "tool_choice", "functions"} & {keyword.arg for keyword in call.keywords}
    }
    assert lending == set()


def test_the_instructions_hold_nothing_secret():
    prompts = sorted((ROOT / "prompts").glob("*.md"))
    assert prompts
    for prompt in prompts:
        text = prompt.read_text(encoding="utf-8")
        variables = set(re.findall(r"\{(\w+)\}", text)) | set(re.findall(r"\$\{?(\w+)\}?", text))
        assert not {name for name in variables if re.search(r"token|key|secret|password|user|guild", name, flags=re.I)}
        assert not re.search(r"https?://|\b\d{17,20}\b|confidencial|secret|no reveles", text, flags=re.I)
