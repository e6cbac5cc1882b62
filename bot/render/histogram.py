"""How long the examples are, as a picture that a phone shows well.

Rule of this file: statistics → PNG bytes; pure, and slow enough (0.2 s) to run in a thread. Same colours as the loss
curve; text large enough to read when the picture is as wide as a phone.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

from bot.render.curve import GRID, INK, LAST_SURE_GLYPH, PAPER, TRAIN, VALIDATION
from bot.render.numbers import number


def draw_histogram(stats: Mapping[str, Any], *, title: str) -> bytes | None:
    """A PNG of 1000 × 600 pixels: examples by length in tokens, with the median and the 95th percentile.

    None where there is nothing to draw. `stats` as `jobs.dataset.stats.summarise` makes them.
    """
    bins = stats.get("histogram") or {}
    if not any(bins.get("counts", ())):
        return None
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), dpi=100, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=PAPER)
    edges, counts = bins["edges"], bins["counts"]
    width = edges[1] - edges[0]
    axes.set_xlim(edges[0], edges[-1])
    axes.set_ylim(0, 1.3 * max(counts))  # room for the names of the lines
    axes.bar(edges[:-1], counts, width=width * 0.92, align="edge", color=TRAIN)
    _mark(axes, stats["tokens"]["median"], "mediana", colour=INK, height=0.97)
    _mark(axes, stats["tokens"]["p95"], "p95", colour=VALIDATION, height=0.86)
    _dress(axes, title, clipped=stats["tokens"]["max"] >= edges[-1])
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=PAPER)
    return buffer.getvalue()


def _mark(axes: Any, value: float, name: str, *, colour: str, height: float) -> None:
    """A vertical line with its name beside it, on the side with more room."""
    axes.axvline(value, color=colour, linewidth=3)
    low, high = axes.get_xlim()
    left = value > low + 0.6 * (high - low)
    axes.annotate(
        f"{name} {number(value)}".replace("\u202f", " "),
        xy=(value, height),
        xycoords=("data", "axes fraction"),
        xytext=(-10 if left else 10, 0),
        textcoords="offset points",
        ha="right" if left else "left",
        va="top",
        color=colour,
        fontsize=18,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 3},
        zorder=5,  # over the other line
    )


def _dress(axes: Any, title: str, *, clipped: bool) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    safe = "".join(c if c.isprintable() and ord(c) < LAST_SURE_GLYPH else "·" for c in title)
    axes.set_title(safe[:60].replace("$", r"\$"), color=INK, fontsize=20, pad=14, loc="left")
    axes.set_xlabel("tokens de un ejemplo" + (" (la última barra suma los más largos)" if clipped else ""))
    axes.set_ylabel("ejemplos")
    for label in (axes.xaxis.label, axes.yaxis.label):
        label.set_color(INK)
        label.set_fontsize(17)
    axes.tick_params(colors=INK, labelsize=16)
    axes.grid(color=GRID, linewidth=1, axis="y")
    axes.set_axisbelow(True)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=6))
    axes.yaxis.set_major_locator(MaxNLocator(integer=True, nbins=5))
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: number(value).replace("\u202f", " ")))
    for side in axes.spines.values():
        side.set_visible(False)
