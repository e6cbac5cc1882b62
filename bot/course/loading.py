"""Files to documents: Markdown, text, PDF, notebooks, HTML, DOCX, and ZIP archives of them.

Rule of this file: every format becomes mended Markdown, and a file that cannot be read becomes a `Refusal` with a
Spanish reason, never an exception that stops the others. Documents are data: nothing in them is run, fetched or
followed. Scanned PDFs (pictures of text) are refused, not read by OCR. Readers of formats are imported when needed.
"""

from __future__ import annotations

import contextlib
import io
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import ftfy

from bot.course.passage import Document
from bot.course.splitting import clean_heading

MAX_BYTES = 25 * 2**20  # of one file, and of all members of one archive together
MAX_MEMBERS = 500  # files of one archive


@dataclass(frozen=True, kw_only=True, slots=True)
class Refusal:
    """A file that is not part of the course, and why (Spanish)."""

    file: str
    reason: str


# What the first byte of an accented UTF-8 letter looks like when read as Latin-1, Mac Roman, cp850 or cp1250.
_SUSPECT = re.compile("[ÃÂâ√¬├┬ĂÄÅÐ]")


class Unreadable(Exception):
    """Why a file cannot be read, in Spanish."""


def supported(name: str) -> bool:
    return _suffix(name) in _READERS or _suffix(name) == ".zip"


def read(file: str, content: bytes) -> Iterator[Document | Refusal]:
    """Documents of one file; several for an archive.

    >>> [d.title for d in read("a.md", b"# Hola")]
    ['Hola']
    """
    if len(content) > MAX_BYTES:
        yield Refusal(file=file, reason="Ocupa más de 25 MiB.")
    elif _suffix(file) == ".zip":
        yield from _archive(file, content)
    elif _suffix(file) in _READERS:
        yield _document(file, content)
    else:
        yield Refusal(file=file, reason=f"No conozco este tipo de archivo. Leo {_formats()} y zip.")


def _formats() -> str:
    return ", ".join(sorted(suffix.removeprefix(".") for suffix in _READERS))


def course_files(folder: Path) -> list[Path]:
    """Readable files below a folder in a stable order; a README beside other files describes the folder, not the
    subject, and hidden files are not part of a course."""
    found = [
        path
        for path in sorted(folder.rglob("*"))
        if path.is_file()
        and supported(path.name)
        and not any(part.startswith(".") for part in path.relative_to(folder).parts)
        and path.resolve().is_relative_to(folder.resolve())
    ]
    pages = [path for path in found if path.stem.lower() != "readme"]
    return pages or found


def mend(content: bytes) -> str:
    """Text of a file: BOM and line ends removed, wrong encodings undone (also UTF-8 read as Mac Roman)."""
    for encoding in ("utf-8-sig", "utf-16") if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig",):
        try:
            text = content.decode(encoding)
            break
        except UnicodeDecodeError:
            continue
    else:
        text = content.decode("cp1252", errors="replace")
    text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return _undo_mojibake(text)


def _undo_mojibake(text: str) -> str:
    """A whole file is nearly always broken in one way; where only parts are, each line is judged alone."""
    if not _SUSPECT.search(text):
        return text
    if (whole := _fix(text)) != text:
        return whole
    return "\n".join(_fix(line) if _SUSPECT.search(line) else line for line in text.split("\n"))


def _fix(text: str) -> str:
    """What ftfy mends, and UTF-8 read as cp850 (the old DOS and the console of Windows), which it does not know."""
    mended = ftfy.fix_encoding(text)
    if mended == text and re.search("[├┬]", text):
        with contextlib.suppress(UnicodeError):
            return text.encode("cp850").decode("utf-8")
    return mended


def _document(file: str, content: bytes) -> Document | Refusal:
    try:
        title, text = _READERS[_suffix(file)](content)
    except Unreadable as error:
        return Refusal(file=file, reason=str(error))
    except Exception:  # the readers of foreign formats raise nearly anything on broken files
        return Refusal(file=file, reason="El archivo está dañado o no es del tipo que dice su nombre.")
    if not text.strip():
        return Refusal(file=file, reason="No tiene texto que se pueda leer (¿es un escaneo o una imagen?).")
    return Document(file=file, title=title or _first_heading(text) or _name(file), text=text, url=_front(text, "url"))


def _archive(file: str, content: bytes) -> Iterator[Document | Refusal]:
    try:
        archive = zipfile.ZipFile(io.BytesIO(content))
    except zipfile.BadZipFile:
        yield Refusal(file=file, reason="El ZIP está dañado.")
        return
    members = [info for info in archive.infolist() if not info.is_dir() and _wanted(info.filename)]
    if len(members) > MAX_MEMBERS or sum(info.file_size for info in members) > MAX_BYTES:
        yield Refusal(file=file, reason=f"El ZIP pasa de {MAX_MEMBERS} archivos o de 25 MiB al abrirlo.")
        return
    if not members:
        yield Refusal(file=file, reason=f"El ZIP no tiene ningún archivo de los que leo: {_formats()}.")
    left = MAX_BYTES
    for info in members:
        name = f"{file}/{info.filename}"
        try:
            with archive.open(info) as member:
                data = member.read(left + 1)  # the sizes in an archive's directory may lie
        except (zipfile.BadZipFile, RuntimeError, NotImplementedError, OSError):
            yield Refusal(file=name, reason="Está dañado o lleva contraseña.")
            continue
        left -= len(data)
        if left < 0:
            yield Refusal(file=file, reason="El ZIP pasa de 25 MiB al abrirlo.")
            return
        yield _document(name, data)


def _wanted(member: str) -> bool:
    path = PurePosixPath(member)
    hidden = any(part.startswith((".", "__MACOSX")) for part in path.parts)
    return _suffix(member) in _READERS and not hidden and ".." not in path.parts and not path.is_absolute()


def _markdown(content: bytes) -> tuple[str, str]:
    text = mend(content)
    return _front(text, "title") or "", text


def _front(text: str, key: str) -> str | None:
    """A value of the front matter (the lines between --- at the top)."""
    block = re.match(r"\A---\n(.*?)\n---\n", text, re.DOTALL)
    found = re.search(rf"^{key}:\s*[\"']?(.+?)[\"']?\s*$", block.group(1), re.MULTILINE) if block else None
    return found.group(1) if found else None


def _pdf(content: bytes) -> tuple[str, str]:
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(content))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("El PDF está protegido con contraseña.")
    pages = [page.extract_text() or "" for page in reader.pages]
    text = "\n\n".join(f"## Página {number}\n\n{_reflow(page)}" for number, page in enumerate(pages, 1) if page.strip())
    title = (reader.metadata.title if reader.metadata else None) or ""
    return title.strip(), text


def _reflow(page: str) -> str:
    """Lines of a printed page joined to paragraphs; hyphens at line ends undone; no line can pose as Markdown."""
    page = re.sub(r"(\w)-\n(\w)", r"\1\2", mend(page.encode()))
    page = re.sub(r"(?<![.!?:…])\n(?=[^\n•\-–*])", " ", page)
    return re.sub(r"^#", r"\\#", page, flags=re.MULTILINE).replace("\n", "\n\n")


def _notebook(content: bytes) -> tuple[str, str]:
    import nbformat

    read_notebook: Callable[..., Any] = nbformat.reads
    with warnings.catch_warnings():  # cells without ids are old, not wrong
        warnings.simplefilter("ignore")
        notebook = read_notebook(mend(content), as_version=4)
    language = notebook.metadata.get("kernelspec", {}).get("language", "python")
    cells = []
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cells.append(cell.source)
        elif cell.cell_type == "code" and cell.source.strip():
            cells.append(f"```{language}\n{cell.source}\n```")
    return "", "\n\n".join(cells)


def _html(content: bytes) -> tuple[str, str]:
    from bot.course.html import to_markdown

    return to_markdown(mend(content))


def _docx(content: bytes) -> tuple[str, str]:
    import docx
    from docx.table import Table

    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if sum(info.file_size for info in archive.infolist()) > 4 * MAX_BYTES:
            raise Unreadable("El documento pasa de 100 MiB al abrirlo.")
    document = docx.Document(io.BytesIO(content))
    parts: list[str] = []
    for block in document.iter_inner_content():
        if isinstance(block, Table):
            rows = [" | ".join(cell.text.replace("\n", " ") for cell in row.cells) for row in block.rows]
            divider = " | ".join("---" for _ in block.columns)
            parts.append("\n".join(f"| {row} |" for row in (*rows[:1], divider, *rows[1:])))
        elif block.text.strip():
            parts.append(_docx_paragraph(block))
    return document.core_properties.title or "", "\n\n".join(parts)


def _docx_paragraph(paragraph: Any) -> str:
    style = (paragraph.style.name or "") if paragraph.style else ""
    if style == "Title":
        return f"# {paragraph.text}"
    if heading := re.match(r"(?:Heading|Título) (\d)", style):
        return f"{'#' * min(int(heading.group(1)), 6)} {paragraph.text}"
    return f"- {paragraph.text}" if style.startswith("List") else str(paragraph.text)


def _suffix(name: str) -> str:
    return PurePosixPath(name).suffix.lower()


def _name(file: str) -> str:
    return re.sub(r"[-_]+", " ", re.sub(r"^\d+[-_]", "", PurePosixPath(file).stem)).strip().capitalize()


def _first_heading(text: str) -> str:
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    found = re.search(r"^#{1,2}\s+(.+)$", prose, re.MULTILINE)
    return clean_heading(found.group(1)) if found else ""


_READERS: dict[str, Callable[[bytes], tuple[str, str]]] = {
    ".md": _markdown,
    ".markdown": _markdown,
    ".txt": _markdown,
    ".pdf": _pdf,
    ".ipynb": _notebook,
    ".html": _html,
    ".htm": _html,
    ".docx": _docx,
}
