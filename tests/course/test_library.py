"""Each server has its course: what ships with Afina, plus its own documents, and nobody else's."""

from pathlib import Path

import pytest

from bot.course.library import Library
from bot.errors import BadInput, NotFound

ZEPELIN = "# Zepelín\n\nEl método zepelín entrena el adaptador por las noches.".encode()


@pytest.fixture
def library(folder: Path, tmp_path: Path) -> Library:
    return Library(folder, tmp_path / "data")


def finds(library: Library, guild: int | None) -> bool:
    return any("zepelín" in passage.text for passage in library.course(guild).search("¿qué es el método zepelín?"))


def test_what_a_server_adds_is_found_there_and_nowhere_else(library: Library) -> None:
    library.add(1, "zepelin.md", ZEPELIN)
    assert (finds(library, 1), finds(library, 2), finds(library, None)) == (True, False, False)


def test_a_removed_document_is_gone(library: Library) -> None:
    library.add(1, "zepelin.md", ZEPELIN)
    library.remove(1, "zepelin.md")
    assert not finds(library, 1)


def test_added_documents_survive_a_restart(library: Library, folder: Path, tmp_path: Path) -> None:
    library.add(1, "zepelin.md", ZEPELIN)
    assert finds(Library(folder, tmp_path / "data"), 1)


def test_holdings_list_the_servers_own_files_first(library: Library) -> None:
    library.add(1, "zepelin.md", ZEPELIN)
    assert [(holding.file, holding.own) for holding in library.holdings(1)] == [
        ("zepelin.md", True),
        ("lora.md", False),
        ("sobreajuste.md", False),
    ]


@pytest.mark.parametrize(
    ("name", "content"), [("virus.exe", b"MZ"), ("roto.pdf", b"nada"), ("vacio.md", b" "), ("..", b"x"), (".md", b"x")]
)
def test_what_cannot_be_read_is_refused_and_not_kept(library: Library, name: str, content: bytes) -> None:
    with pytest.raises(BadInput):
        library.add(1, name, content)
    assert not any(holding.own for holding in library.holdings(1))


def test_a_name_cannot_leave_the_folder(library: Library, tmp_path: Path) -> None:
    library.add(1, "../../../fuera.md", ZEPELIN)
    assert [path.name for path in (tmp_path / "data" / "course" / "1").iterdir()] == ["fuera.md"]


def test_removing_what_is_not_there_is_not_found(library: Library) -> None:
    with pytest.raises(NotFound):
        library.remove(1, "lora.md")


def test_an_old_course_keeps_answering_while_a_new_one_is_built(library: Library) -> None:
    before = library.course(None)
    library.add(1, "zepelin.md", ZEPELIN)
    assert before.search("¿qué es LoRA?")


def test_only_changed_files_are_read_again(library: Library, folder: Path, tmp_path: Path) -> None:
    library.course(None)
    entries = {path: path.stat().st_mtime_ns for path in (tmp_path / "data" / "cache").rglob("*.msgpack")}
    (folder / "lora.md").write_text("# LoRA\n\nTexto nuevo.", encoding="utf-8")
    Library(folder, tmp_path / "data").course(None)
    now = {path: path.stat().st_mtime_ns for path in (tmp_path / "data" / "cache").rglob("*.msgpack")}
    assert len(now) == len(entries) + 1
    assert entries.items() <= now.items()


def test_a_broken_cache_entry_is_read_again(library: Library, folder: Path, tmp_path: Path) -> None:
    library.course(None)
    for path in (tmp_path / "data" / "cache").rglob("*.msgpack"):
        path.write_bytes(b"basura")
    assert Library(folder, tmp_path / "data").course(None).search("¿qué es LoRA?")
