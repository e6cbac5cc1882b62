"""Every format becomes readable Markdown, and a file that cannot be read says why in Spanish."""

import io
import json
import zipfile
from pathlib import Path

import docx
import pytest
from pypdf import PdfWriter
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

from bot.course.loading import Refusal, course_files, mend, read
from bot.course.passage import Document

SENTENCE = "La cuantización guarda los pesos con menos bits: así el modelo cabe en una tarjeta más pequeña. ¿Cuándo?"


def only(file: str, content: bytes) -> Document:
    found = list(read(file, content))
    assert len(found) == 1
    assert isinstance(found[0], Document), found[0]
    return found[0]


def pdf(text: str) -> bytes:
    writer = PdfWriter()
    page = writer.add_blank_page(600, 800)
    font = DictionaryObject(
        {
            NameObject("/Type"): NameObject("/Font"),
            NameObject("/Subtype"): NameObject("/Type1"),
            NameObject("/BaseFont"): NameObject("/Helvetica"),
            NameObject("/Encoding"): NameObject("/WinAnsiEncoding"),
        }
    )
    page[NameObject("/Resources")] = DictionaryObject({NameObject("/Font"): DictionaryObject({NameObject("/F"): font})})
    stream = DecodedStreamObject()
    stream.set_data(f"BT /F 12 Tf 50 700 Td ({text}) Tj ET".encode("cp1252"))
    page[NameObject("/Contents")] = stream
    out = io.BytesIO()
    writer.write(out)
    return out.getvalue()


def word(text: str) -> bytes:
    document = docx.Document()
    document.add_heading("Cuantización", level=1)
    document.add_paragraph(text)
    table = document.add_table(rows=2, cols=2)
    table.cell(0, 0).text, table.cell(0, 1).text = "formato", "bits"
    table.cell(1, 0).text, table.cell(1, 1).text = "NF4", "4"
    out = io.BytesIO()
    document.save(out)
    return out.getvalue()


def notebook(text: str) -> bytes:
    cells = [
        {"cell_type": "markdown", "metadata": {}, "source": f"# Cuantización\n\n{text}"},
        {"cell_type": "code", "metadata": {}, "source": "bits = 4", "outputs": [], "execution_count": None},
    ]
    return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}).encode()


def html(text: str) -> bytes:
    return (
        f"<html><head><title>Cuantización</title><style>p{{}}</style></head><body><nav>Menú del sitio</nav>"
        f"<h2>Bits</h2><p>{text}</p><pre>bits = 4</pre><script>alert(1)</script>"
        f"<p style='display: none'>invisible</p></body></html>"
    ).encode()


def archive(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            file.writestr(name, content)
    return out.getvalue()


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("a.md", f"# Cuantización\n\n{SENTENCE}".encode()),
        ("a.txt", SENTENCE.encode()),
        ("a.pdf", pdf(SENTENCE)),
        ("a.docx", word(SENTENCE)),
        ("a.ipynb", notebook(SENTENCE)),
        ("a.html", html(SENTENCE)),
    ],
)
def test_every_format_gives_its_text(file: str, content: bytes) -> None:
    assert SENTENCE in only(file, content).text


def test_code_of_notebooks_and_pages_stays_in_fences() -> None:
    assert "```python\nbits = 4\n```" in only("a.ipynb", notebook(SENTENCE)).text
    assert "```\nbits = 4\n```" in only("a.html", html(SENTENCE)).text


def test_what_a_reader_of_a_page_does_not_see_is_left_out() -> None:
    text = only("a.html", html(SENTENCE)).text
    assert not any(hidden in text for hidden in ("alert", "invisible", "Menú del sitio", "p{}"))


def test_tables_of_word_documents_become_markdown_tables() -> None:
    assert "| NF4 | 4 |" in only("a.docx", word(SENTENCE)).text


@pytest.mark.parametrize(
    "broken",
    [
        SENTENCE.encode().decode("mac_roman").encode(),  # UTF-8 read as Mac Roman
        SENTENCE.encode().decode("latin-1").encode(),  # UTF-8 read as Latin-1
        SENTENCE.encode().decode("cp850").encode(),  # UTF-8 read as the console of Windows does
        SENTENCE.encode("cp1252"),
        b"\xef\xbb\xbf" + SENTENCE.encode(),
        SENTENCE.encode("utf-16"),
    ],
    ids=["mac-roman", "latin-1", "cp850", "cp1252", "bom", "utf-16"],
)
def test_wrong_encodings_are_mended(broken: bytes) -> None:
    assert mend(broken) == SENTENCE


def test_one_broken_paragraph_among_good_ones_is_mended_alone() -> None:
    broken = SENTENCE.encode().decode("mac_roman")
    assert mend(f"{SENTENCE}\n{broken}".encode()) == f"{SENTENCE}\n{SENTENCE}"


def test_the_members_of_an_archive_keep_their_place() -> None:
    found = list(read("curso.zip", archive(**{"uno.md": b"# Uno\n\nhola", "sub/dos.txt": b"adios", "foto.png": b"x"})))
    assert [document.file for document in found] == ["curso.zip/uno.md", "curso.zip/sub/dos.txt"]


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("a.exe", b"MZ", "No conozco este tipo"),
        ("a.pdf", b"%PDF-1.4 roto", "dañado"),
        ("a.docx", b"PK\x03\x04 roto", "dañado"),
        ("a.ipynb", b"{", "dañado"),
        ("a.zip", b"PK roto", "dañado"),
        ("a.md", b"  \n ", "texto"),
        ("a.zip", archive(**{"foto.png": b"x"}), "ningún archivo de los que leo: docx,"),
        ("a.zip", archive(**{f"{i}.md": b"x" for i in range(501)}), "500"),
        ("a.zip", archive(**{"bomba.txt": b"0" * (26 * 2**20)}), "25 MiB"),
    ],
)
def test_what_cannot_be_read_says_why(file: str, content: bytes, reason: str) -> None:
    (refusal,) = read(file, content)
    assert isinstance(refusal, Refusal)
    assert reason in refusal.reason


def test_an_archive_cannot_reach_outside_itself() -> None:
    (refusal,) = read("a.zip", archive(**{"../../fuera.md": b"# Fuera"}))
    assert isinstance(refusal, Refusal)


@pytest.mark.parametrize("unit", ["<p>dato", "<tr><td>dato<td>otro"])
def test_a_page_may_leave_its_tags_open(unit: str) -> None:
    page = f"<h1>Hoja</h1><table>{unit * 2000}" if "tr" in unit else f"<h1>Hoja</h1>{unit * 2000}"
    assert only("a.html", page.encode()).text.count("dato") == 2000


def test_a_readme_beside_pages_describes_the_folder_and_is_not_a_page(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("# Esta carpeta")
    assert [path.name for path in course_files(tmp_path)] == ["README.md"]
    (tmp_path / "uno.md").write_text("# Uno")
    assert [path.name for path in course_files(tmp_path)] == ["uno.md"]


def test_a_link_out_of_the_folder_is_not_followed(tmp_path: Path) -> None:
    outside = tmp_path / "secreto.md"
    outside.write_text("# Secreto")
    folder = tmp_path / "curso"
    folder.mkdir()
    (folder / "enlace.md").symlink_to(outside)
    assert course_files(folder) == []
