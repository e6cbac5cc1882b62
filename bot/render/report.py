"""The card of a dataset: verdict, counts, first problems by rule, what the model would learn, what training would take.

Rule of this file: dataset → blocks of text, short enough for a phone. Words of the file only enter as `jobs.dataset`
quoted them, and through `plain` once more. Buttons and pictures belong to the cog.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from bot.consent import licence_name
from bot.datasets import Shown, has_open_secrets
from bot.records import Dataset
from bot.render.cards import Accent
from bot.render.numbers import count, duration, number, percent, plain, quoted, size
from bot.render.pages import name as page_name
from bot.render.pages import page_of_rule
from bot.versions import Change

VERDICTS = {
    "valid": ("✅", "Listo para entrenar", Accent.GOOD),
    "warnings": ("⚠️", "Se puede entrenar, con avisos", Accent.WARN),
    "rejected": ("❌", "Hay que corregirlo", Accent.BAD),
}
FORMATS = {
    "messages": "chat",
    "prompt_completion": "prompt y completion",
    "alpaca": "Alpaca",
    "sharegpt": "ShareGPT",
    "preference": "preferencias",
    "kto": "votos (KTO)",
    "text": "texto corrido",
    "unknown": "formato desconocido",
}
MARKS = {"error": "✗", "warning": "⚠", "fixed": "✓"}
GROUPS = 6  # rules told on the card
LINES = 8  # line numbers told of a rule
CHANGES = 10  # told on the card of a repair
ROLES = {"system": "sistema", "user": "persona", "assistant": "asistente", "tool": "herramienta", "text": "texto"}


def accent(dataset: Dataset) -> Accent:
    return VERDICTS[dataset.verdict][2]


def report_texts(dataset: Dataset, *, plans: Sequence[str] = (), validation: Dataset | None = None) -> list[str]:
    """Blocks of a card; `plans` are lines about the bases on offer (`plan_line`)."""
    report = dataset.report
    blocks = [_head(dataset)]
    if groups := report.get("groups", []):
        blocks.append(_problems(groups))
    if has_open_secrets(dataset):
        blocks.append("🔒 Antes de entrenar, tapa los secretos o confirma que no lo son.")
    if report.get("complete") and dataset.usable and "tokens" in report["stats"]:
        blocks.append(stats_text(report["stats"]))
    if report.get("cut_short"):
        blocks.append(f"⚠ Solo he podido mirar la estructura: {plain(report['cut_short'], 200)}")
    if validation is not None:
        blocks.append(
            f"**Validación**  {plain(validation.name, 60)}: {count(validation.usable, 'ejemplo', 'ejemplos')} aparte, "
            f"{VERDICTS[validation.verdict][1].lower()}"
        )
    if plans:
        blocks.append("**Entrenarlo con…**\n" + "\n".join(plans))
    if not report.get("complete", True):
        blocks.append("⏳ Sigo mirando: repetidos, idiomas, secretos, datos personales y tokens…")
    return blocks


def _head(dataset: Dataset) -> str:
    mark, words, _ = VERDICTS[dataset.verdict]
    facts = [FORMATS.get(dataset.format or "", "no es JSONL"), size(dataset.bytes)]
    if dataset.report.get("usable") is not None:
        usable = count(dataset.usable, "utilizable", "utilizables")
        facts[1:1] = [count(dataset.examples, "ejemplo", "ejemplos"), usable]
    if dataset.licence is not None:
        facts.append(f"licencia: {licence_name(dataset.licence)}")
    version = f" v{dataset.version}" if dataset.version > 1 else ""
    return f"## {mark} {words}\n**{plain(dataset.name, 80)}**{version}\n{' · '.join(facts)}"


def _problems(groups: Sequence[dict[str, Any]]) -> str:
    shown = [_group(group) for group in groups[:GROUPS]]
    rest = sum(group["count"] for group in groups[GROUPS:])
    if rest:
        shown.append(f"… y {count(rest, 'observación', 'observaciones')} más en el informe completo.")
    return "\n".join(shown)


def _group(group: dict[str, Any]) -> str:
    where = lines_text(group["lines"], group["count"])
    field = group["field"]
    inside = f" (`{field}`)" if field not in (None, "$") and "`" not in field else ""
    return (
        f"{MARKS[group['severity']]} **{where}**{inside}: {plain(group['message'], 220)}\n"
        f"-# {plain(group['fix'], 220)}{_page(group['code'])}"
    )


def _page(code: str) -> str:
    """Where the course explains it."""
    page = page_of_rule(code)
    return f" (curso: {page_name(page)})" if page else ""


def lines_text(lines: Sequence[int], total: int) -> str:
    """«línea 3», «líneas 3, 7 y 12», «líneas 2–9», «líneas 3, 7, 12… (40 en total)», «todo el archivo»."""
    if not lines:
        return "todo el archivo"
    if total == 1:
        return f"línea {lines[0]}"
    together = consecutive(lines)
    shown = [str(first) if first == last else f"{first}–{last}" for first, last in together[:LINES]]
    if total > len(lines) or len(together) > LINES:
        return f"líneas {', '.join(shown)}… ({number(total)} en total)"
    return f"líneas {' y '.join([', '.join(shown[:-1]), shown[-1]] if len(shown) > 1 else shown)}"


def consecutive(lines: Sequence[int]) -> list[tuple[int, int]]:
    """First and last of each run of three lines or more that follow each other; other lines stand alone."""
    runs: list[tuple[int, int]] = []
    for _, run in groupby(enumerate(lines), key=lambda item: item[1] - item[0]):
        members = [line for _, line in run]
        runs += [(members[0], members[-1])] if len(members) > 2 else [(line, line) for line in members]
    return runs


def stats_text(stats: dict[str, Any]) -> str:
    """Lengths, what is learnt and what would be cut."""
    tokens, answer, turns = stats["tokens"], stats["answer_tokens"], stats["turns"]
    about = "unos " if stats.get("estimated") else ""
    lines = [
        f"**Tokens**  {about}{number(tokens['total'])}; por ejemplo, mediana {number(tokens['median'])}, "
        f"p5–p95 {number(tokens['p5'])}–{number(tokens['p95'])}, máximo {number(tokens['max'])}",
        f"**Se aprende**  el {percent(stats['learnt_share'])} de ellos; "
        f"una respuesta tiene {number(answer['median'])} (mediana)",
    ]
    if stats.get("kind") != "text":
        roles = " · ".join(
            f"{ROLES.get(role, role)} {number(spread['mean'])}" for role, spread in stats["role_tokens"].items()
        )
        lines.append(f"**Turnos**  mediana {number(turns['median'])}, máximo {number(turns['max'])}; media: {roles}")
    longer = {int(limit): many for limit, many in stats.get("longer", {}).items() if many}
    if longer:
        limit = max((one for one in longer if one <= 4096), default=min(longer))
        lines.append(f"-# {count(longer[limit], 'ejemplo pasa', 'ejemplos pasan')} de {number(limit)} tokens")
    return "\n".join(lines)


def plan_line(base: str, *, epochs: int, tokens: int, seconds: float, memory: int, fits: bool, affordable: bool) -> str:
    """One base on offer."""
    verdict = "cabe" if fits else "**no cabe**"
    if not affordable:
        verdict += ", **pide más minutos de los que te quedan**"
    return (
        f"{base}: unos {duration(seconds)} · {count(epochs, 'vuelta', 'vueltas')}, {number(tokens)} tokens · "
        f"{number(memory / 1e9, 1)} GB, {verdict}"
    )


def changes_text(changes: Sequence[Change]) -> str:
    """What a repair did, the same things together."""
    together: dict[str, list[int]] = {}
    for change in changes:
        together.setdefault(change.message, [])
        if change.line is not None:
            together[change.message].append(change.line)
    lines = [
        f"• {plain(message, 160)}" + (f" ({lines_text(where, len(where))})" if where else "")
        for message, where in sorted(together.items(), key=lambda item: -len(item[1]))
    ]
    rest = len(lines) - CHANGES
    return "\n".join([*lines[:CHANGES], *([f"… y {rest} clases de cambios más"] if rest > 0 else [])])


def changes_file(changes: Sequence[Change]) -> str:
    """Every change, one a line."""
    return "".join(
        f"{'archivo' if change.line is None else f'línea {change.line}'}: {change.message} [{change.code}]\n"
        for change in changes
    )


def example_texts(shown: Shown, *, place: int, name: str) -> list[str]:
    """One example in blocks: what the model reads, and what it learns to write."""
    head = f"## Ejemplo {number(place + 1)}\n{plain(name, 80)} · línea {number(shown.line)}"
    if shown.error:
        return [head, plain(shown.error, 300)]
    blocks = [head]
    room = 3200 // max(1, len(shown.pieces))
    for text, learnt in shown.pieces[:14]:
        if text.strip():
            label = "🟩 **Aprende a escribir esto**" if learnt else "⬜ Lee"
            blocks.append(f"{label}\n{quoted(text, max(120, room))}")
    if len(shown.pieces) > 14:
        blocks.append("…")
    if not shown.learns:
        blocks.append("❌ De este ejemplo no aprendería nada.")
    return ["\n".join(blocks)]


def list_text(datasets: Sequence[Dataset]) -> str:
    """One's datasets, the newest version of each, newest first."""
    if not datasets:
        return "## Tus datos\nTodavía no tienes. Empieza con `/datos plantilla` o sube un archivo con `/datos subir`."
    newest: dict[str, Dataset] = {}
    for dataset in datasets:
        if dataset.name not in newest or dataset.version > newest[dataset.name].version:
            newest[dataset.name] = dataset
    lines = [
        f"{VERDICTS[dataset.verdict][0]} **{plain(dataset.name, 60)}** v{dataset.version} · "
        f"{FORMATS.get(dataset.format or '', 'no es JSONL')} · {count(dataset.usable, 'utilizable', 'utilizables')} · "
        f"<t:{int(dataset.created_at)}:R>"
        for dataset in newest.values()
    ]
    return "\n".join(["## Tus datos", *lines[:30], *([f"… y {len(lines) - 30} más"] if len(lines) > 30 else [])])
