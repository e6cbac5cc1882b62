"""The table of rules as a page for people: `python -m jobs.dataset.rules_page > docs/problemas.md`.

Rule of this file: it prints what `jobs.dataset.rules` says and adds nothing; a test keeps the page current.
"""

from __future__ import annotations

import re
import sys

from jobs.dataset.rules import (
    CHAT_RULES,
    CONTENT_RULES,
    FILE_RULES,
    SET_RULES,
    SHAPE_RULES,
    SYNTAX_RULES,
    Rule,
    Severity,
)

HEAD = """# Problemas que encuentra el validador

Esta tabla sale del código (`python -m jobs.dataset.rules_page > docs/problemas.md`); no la edites a mano.

**Error**: no se puede entrenar tal como está. **Aviso**: se puede, pero míralo. **Arreglado**: se corrige al leer, y se
dice. Las líneas se cuentan desde 1, con las vacías incluidas; lo que es de todo el archivo no lleva línea. Lo que va
entre llaves se rellena con lo que haya en el archivo, acortado y sin nada que pueda mencionar a nadie ni revelar un
secreto. «Reparar» es el botón de Discord; en la terminal, `afina check … --fix SALIDA`.
"""
SECTIONS = (
    ("Del archivo", FILE_RULES),
    ("De la línea como texto y como JSON", SYNTAX_RULES),
    ("De la forma del ejemplo", SHAPE_RULES),
    ("De la conversación", CHAT_RULES),
    ("De los textos", CONTENT_RULES),
    ("Del conjunto", SET_RULES),
)
NAMES = {Severity.ERROR: "error", Severity.WARNING: "aviso", Severity.FIXED: "arreglado"}


def page() -> str:
    blocks = [HEAD]
    for title, rules in SECTIONS:
        rows = "\n".join(_row(code, rule) for code, rule in rules.items())
        blocks.append(
            f"## {title}\n\n| código | gravedad | qué pasa | qué hacer | curso |\n|---|---|---|---|---|\n{rows}\n"
        )
    return "\n".join(blocks)


def _row(code: str, rule: Rule) -> str:
    course = f"[{rule.page.split('-')[0]}](../course/{rule.page})"
    return f"| `{code}` | {NAMES[rule.severity]} | {_cell(rule.message)} | {_cell(rule.fix)} | {course} |"


def _cell(text: str) -> str:
    plain = re.sub(r"\{(\w+)(?::[^}]*)?\}", r"{\1}", text)
    return plain.replace("\\", "\\\\").replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(page())
