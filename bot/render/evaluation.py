"""What an evaluation says, readable on a phone: the verdict in words, a narrow table, examples side by side.

Rule of this file: evaluation → text; no Discord objects. Numbers that were not measured are «—», never 0. The verdict
is the worker's (`Evaluation.verdict`); this file only words it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from bot.render.numbers import loss, number, percent, plain
from jobs.contract import Comparison, Evaluation, Interval, Score, Verdict

HEADLINES = {
    Verdict.BETTER: "Mejora clara",
    Verdict.NO_DIFFERENCE: "Sin diferencia clara",
    Verdict.WORSE: "Ha empeorado: mejor no lo uses",
    Verdict.NOT_MEASURED: "No hay bastantes ejemplos para saberlo",
}
MISSING = "—"
UNMEASURED = "Sin medir: no había ejemplos apartados con los que comprobarlo. Sube más, o un archivo de validación."

# Label of a row and how to read its value; the first ones matter most. Phones show about 34 characters a line.
_ROWS: tuple[tuple[str, Callable[[Score], str | None]], ...] = (
    ("acierto", lambda score: _share(score.accuracy)),
    ("F1 macro", lambda score: None if score.macro_f1 is None else percent(score.macro_f1)),
    ("idénticas", lambda score: None if score.accuracy else _share(score.exact_match)),
    ("chrF", lambda score: None if score.chrf is None else number(score.chrf.value, 1)),
    ("BLEU", lambda score: None if score.bleu is None else number(score.bleu, 1)),
    ("ROUGE-L", lambda score: None if score.rouge_l is None else number(score.rouge_l, 2)),
    ("pérdida", lambda score: None if score.loss is None else loss(score.loss)),
    ("tokens", lambda score: None if score.prompt_tokens is None else number(score.prompt_tokens)),
)


def is_preference(evaluation: Evaluation) -> bool:
    """Judged by which of two answers the model prefers, not by what it writes."""
    return evaluation.tuned.accuracy is not None and not evaluation.labels


def headline(evaluation: Evaluation) -> str:
    return HEADLINES[evaluation.verdict]


def summary(evaluation: Evaluation) -> str:
    """The worker's sentences without the verdict that the headline already gave."""
    text = evaluation.summary.strip()
    for words in (headline(evaluation), headline(evaluation).partition(":")[0]):
        if text.casefold().startswith(words.casefold()):
            rest = text[len(words) :].lstrip(" :.")
            return rest[:1].upper() + rest[1:]
    return text


def table(evaluation: Evaluation) -> str:
    """Base, base with examples in the prompt, tuned: a code block of at most 34 characters a line."""
    columns: list[tuple[str, Score]] = [("base", evaluation.base)]
    if evaluation.few_shot is not None:
        columns.append((f"base+{evaluation.few_shot_examples}", evaluation.few_shot))
    columns.append(("tuyo", evaluation.tuned))
    lines = [["", *(title for title, _ in columns)]]
    for label, read in _ROWS:
        if label == "acierto" and is_preference(evaluation):
            label = "prefiere"  # noqa: PLW2901 - the good answer, before the bad one
        cells = [read(score) for _, score in columns]
        if any(cell is not None for cell in cells):
            lines.append([label, *(cell or MISSING for cell in cells)])
    return f"```\n{_align(lines)}\n```"


def details(evaluation: Evaluation) -> str:
    """What the table leaves out: on how many rows, how sure, what guessing would give."""
    parts = [f"Medido en {number(evaluation.examples)} ejemplos que no ha visto al entrenar."]
    chrf = evaluation.tuned.chrf
    if evaluation.tuned.accuracy is not None:
        parts.append(f"Su acierto real está entre {_range(evaluation.tuned.accuracy)} (intervalo del 95 %).")
    elif chrf is not None and evaluation.verdict is not Verdict.NOT_MEASURED:
        parts.append(f"Su chrF real está entre {number(chrf.low, 1)} y {number(chrf.high, 1)} (intervalo del 95 %).")
    if is_preference(evaluation):
        parts.append("Elegir a cara o cruz acertaría el 50\u00a0%.")
    elif evaluation.majority is not None:
        parts.append(f"Responder siempre la etiqueta más común acertaría el {percent(evaluation.majority)}.")
    legend = []
    if evaluation.few_shot is not None:
        shots = evaluation.few_shot_examples
        legend.append(f"base+{shots}: la base con {shots} ejemplos en el prompt")
    if evaluation.tuned.prompt_tokens is not None:
        legend.append("tokens: los de cada petición" + _saving(evaluation))
    return " ".join(parts) + (f"\n-# {' · '.join(legend)}" if legend else "")


def _saving(evaluation: Evaluation) -> str:
    """The tokens of a request that a tuned model does without: those of the examples that the base needs."""
    with_examples = evaluation.few_shot.prompt_tokens if evaluation.few_shot else None
    if with_examples is None or evaluation.tuned.prompt_tokens is None:
        return ""
    return f"; el tuyo se ahorra {number(with_examples - evaluation.tuned.prompt_tokens)}"


def samples(evaluation: Evaluation, *, mistakes_first: bool = False, limit: int = 5, width: int = 220) -> list[str]:
    """Examples as blocks of text: question, what was expected, and the answers of each."""
    chosen = list(evaluation.samples)
    if mistakes_first:
        chosen.sort(key=lambda sample: is_right(sample.tuned, sample.expected))
    return [_sample(sample, width, marked=not is_preference(evaluation)) for sample in chosen[:limit]]


def samples_head(evaluation: Evaluation) -> str:
    """What the examples show, in one sentence."""
    count, wrong = len(evaluation.samples), len(mistakes(evaluation))
    if is_preference(evaluation):
        return "Así contesta a preguntas que no vio al entrenar. La nota mide otra cosa: qué respuesta prefiere de dos."
    if wrong:
        return f"Falla {wrong} de estos {count} ejemplos, que no vio al entrenar."
    return "Acierta todos estos ejemplos, que no vio al entrenar."


def mistakes(evaluation: Evaluation) -> Sequence[Comparison]:
    """The shown examples where the tuned answer is not the expected one, letter case and spaces aside."""
    return [sample for sample in evaluation.samples if not is_right(sample.tuned, sample.expected)]


def is_right(answer: str, expected: str) -> bool:
    return " ".join(answer.split()).casefold() == " ".join(expected.split()).casefold()


def _sample(sample: Comparison, width: int, *, marked: bool) -> str:
    mark = ("✓ " if is_right(sample.tuned, sample.expected) else "✗ ") if marked else ""
    wanted = "Se esperaba" if marked else "La preferida"
    lines = [f"**{plain(sample.prompt, width)}**", f"{wanted}: {plain(sample.expected, width) or MISSING}"]
    lines.append(f"{mark}El tuyo: {plain(sample.tuned, width) or MISSING}")
    lines.append(f"-# base: {plain(sample.base, width) or MISSING}")
    if sample.few_shot is not None:
        lines.append(f"-# base con ejemplos: {plain(sample.few_shot, width) or MISSING}")
    return "\n".join(lines)


def _share(interval: Interval | None) -> str | None:
    return None if interval is None else percent(interval.value)


def _range(interval: Interval) -> str:
    return f"{number(interval.low * 100)} y {percent(interval.high)}"


def _align(lines: Sequence[Sequence[str]]) -> str:
    """First column left, the others right, two spaces apart."""
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if index == 0 else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )
