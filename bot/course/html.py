"""HTML pages to Markdown: headings, paragraphs, lists, tables and code of the main text.

Rule of this file: only the text that a reader sees. Scripts, styles, navigation, hidden elements and comments go.
"""

from __future__ import annotations

import re

from bs4 import BeautifulSoup
from bs4.element import Comment, NavigableString, Tag

_NOISE = ["script", "style", "noscript", "template", "nav", "header", "footer", "aside", "form", "iframe", "svg"]
_CONTAINERS = ("div", "section", "article", "main", "body", "html", "[document]", "figure", "details", "dl")
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)


def to_markdown(page: str) -> tuple[str, str]:
    """Title and Markdown of a page."""
    soup = BeautifulSoup(page, "lxml")
    title = soup.title.get_text(" ", strip=True) if soup.title else ""
    for tag in soup.find_all(_NOISE) + soup.find_all(style=_HIDDEN) + soup.find_all(hidden=True):
        tag.decompose()
    for comment in soup.find_all(string=lambda text: isinstance(text, Comment)):
        comment.extract()
    root = soup.find("main") or soup.find("article") or soup.body or soup
    return title, "\n\n".join(block for block in _blocks(root) if block.strip())


def _blocks(root: Tag) -> list[str]:
    blocks: list[str] = []
    loose: list[str] = []
    for child in root.children:
        if isinstance(child, Tag) and (child.name in _CONTAINERS or _is_block(child)):
            blocks.append(_squeeze(" ".join(loose)))
            loose = []
            blocks.extend(_blocks(child) if child.name in _CONTAINERS else [_block(child)])
        elif isinstance(child, NavigableString | Tag):
            loose.append(_inline(child))
    return [*blocks, _squeeze(" ".join(loose))]


def _is_block(tag: Tag) -> bool:
    return tag.name in ("p", "ul", "ol", "table", "pre", "blockquote", "hr") or bool(re.fullmatch(r"h[1-6]", tag.name))


def _block(tag: Tag) -> str:
    if tag.name.startswith("h") and tag.name != "hr":
        return f"{'#' * int(tag.name[1])} {_squeeze(_inline(tag))}"
    if tag.name == "pre":
        return f"```\n{tag.get_text().strip(chr(10))}\n```"
    if tag.name in ("ul", "ol"):
        return "\n".join(f"- {_squeeze(_inline(item))}" for item in tag.find_all("li", recursive=False))
    if tag.name == "table":
        return _table(tag)
    return "" if tag.name == "hr" else _squeeze(_inline(tag))


def _table(tag: Tag) -> str:
    rows = [[_squeeze(_inline(cell)) for cell in row.find_all(["th", "td"])] for row in tag.find_all("tr")]
    rows = [row for row in rows if row]
    if not rows:
        return ""
    lines = [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join([lines[0], "|" + "---|" * len(rows[0]), *lines[1:]])


def _inline(node: NavigableString | Tag) -> str:
    if isinstance(node, NavigableString):
        return str(node)
    if node.name == "code":
        return f"`{node.get_text()}`"
    if node.name == "br":
        return "\n"
    inner = "".join(_inline(child) for child in node.children if isinstance(child, NavigableString | Tag))
    href = node.get("href") if node.name == "a" else None
    linked = isinstance(href, str) and href.startswith("http") and inner.strip()
    return f"[{_squeeze(inner)}]({href})" if linked else inner


def _squeeze(text: str) -> str:
    return re.sub(r"\s+", " ", text).strip()
