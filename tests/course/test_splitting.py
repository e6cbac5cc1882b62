"""Passages respect the structure of a page and are always slices of it."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bot.course.passage import Document, Passage
from bot.course.splitting import Splitter, plain

LONG = "Una frase que dice algo útil sobre el entrenamiento. " * 60


def split(text: str, title: str = "Página") -> list[Passage]:
    return Splitter().split(Document(file="a.md", title=title, text=text))


@given(st.text(alphabet=st.sampled_from("abc #-*|`\n.áé1[]()>"), max_size=3000))
def test_any_text_gives_slices_of_itself_within_the_limit(text: str) -> None:
    for passage in split(text):
        assert passage.text in text
        assert 0 < len(passage.text) <= 1000


def test_long_paragraphs_are_cut_between_sentences() -> None:
    assert all(passage.text.endswith(".") for passage in split(LONG))


def test_a_passage_knows_its_headings() -> None:
    passages = split(f"# Página\n\n## Una\n\n{'a ' * 400}\n\n### Dentro\n\n{'b ' * 400}\n\n## Otra\n\n{'c ' * 400}")
    assert [passage.heading for passage in passages] == [("Una",), ("Una", "Dentro"), ("Otra",)]


def test_a_line_in_bold_counts_as_a_heading() -> None:
    passages = split(f"## Sección\n\n**Función de pérdida**\n\n{'a ' * 400}\n\n**Optimizador**\n\n{'b ' * 400}")
    assert [passage.heading[-1] for passage in passages] == ["Función de pérdida", "Optimizador"]


def test_small_neighbouring_sections_share_a_passage() -> None:
    (passage,) = split("## Herramientas\n\n### Una\n\nSirve de algo.\n\n### Otra\n\nSirve de más.")
    assert passage.heading == ("Herramientas",)


def test_rows_of_a_table_stay_whole() -> None:
    rows = "\n".join(f"| opción {i} | {'x' * 300} |" for i in range(9))
    passages = split(f"## Tabla\n\n| a | b |\n|---|---|\n{rows}")
    assert len(passages) > 1
    assert all(
        line.startswith("|") and line.endswith("|") for p in passages for line in p.text.splitlines() if "op" in line
    )


def test_front_matter_is_not_text() -> None:
    assert not any("autor" in passage.text for passage in split("---\nautor: yo\n---\n\n# A\n\nTexto de la página."))


@pytest.mark.parametrize(
    ("markdown", "readable"),
    [
        ("[el curso](https://ejemplo.org/a_(b)?x=1)", "el curso"),
        ("![una curva](img/curva.png) baja", "una curva baja"),
        ("| a    | b   |\n| :--- | --- |\n| 1    | 2   |", "a — b\n\n1 — 2"),
        ("> [!NOTE]\n> Cuidado.", "> \n> Cuidado."),
        ("`P(A | B)` es la de A", "`P(A | B)` es la de A"),
        ("| Qwen | `<\\|im_start\\|>` |", "Qwen — `<|im_start|>`"),
    ],
)
def test_plain_text_keeps_labels_and_drops_addresses(markdown: str, readable: str) -> None:
    assert plain(markdown) == readable


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    "hostile", ["-" * 5000 + "x", "|" * 5000, "[" * 5000, "*" * 5000, "a" * 5000, "# " + "#" * 5000]
)
def test_a_hostile_line_costs_no_time(hostile: str) -> None:
    for passage in split(f"# Página\n\n{hostile}\n\nTexto."):
        plain(passage.text)
