"""A prompt never goes out with a hole in it, and what is put in stays text."""

from pathlib import Path

import pytest

from bot.prompts import PromptError, Prompts


@pytest.fixture
def prompts(tmp_path: Path) -> Prompts:
    (tmp_path / "saludo.md").write_text("Hola, $name.\n", encoding="utf-8")
    return Prompts(tmp_path)


def test_variables_are_filled_in(prompts: Prompts) -> None:
    assert prompts.render("saludo", name="Ana") == "Hola, Ana."


def test_a_value_that_looks_like_a_variable_stays_as_it_is(prompts: Prompts) -> None:
    assert prompts.render("saludo", name="$name ${name} $$") == "Hola, $name ${name} $$."


@pytest.mark.parametrize("variables", [{}, {"nombre": "Ana"}, {"name": "Ana", "extra": "x"}])
def test_missing_and_unknown_variables_are_errors(prompts: Prompts, variables: dict[str, str]) -> None:
    with pytest.raises(PromptError, match="saludo"):
        prompts.render("saludo", **variables)


def test_a_prompt_that_is_not_there_is_an_error(prompts: Prompts) -> None:
    with pytest.raises(PromptError, match="adios"):
        prompts.render("adios")
