"""The loss curve as a picture that a phone shows well.

Rule of this file: points → PNG bytes; pure, and slow enough (0.2 s) to run in a thread. It draws with matplotlib's
object interface, because pyplot keeps global state that threads must not share.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from bot.render.numbers import number

INK = "#E8E8EA"
GRID = "#3A3C43"
PAPER = "#1E1F22"  # Discord's dark theme; light readers see a dark plate, which reads well too
TRAIN = "#7AA2F7"
VALIDATION = "#F0A868"
LAST_SURE_GLYPH = 0x590  # Latin, Greek, Cyrillic: what the font of matplotlib has for certain


@dataclass(frozen=True, kw_only=True, slots=True)
class Points:
    """Losses over steps; either may be empty."""

    train: Sequence[tuple[int, float]]  # (step, nats)
    validation: Sequence[tuple[int, float]] = ()


def draw(points: Points, *, title: str) -> bytes:
    """A PNG of 1000 × 600 pixels. The training loss is shown raw, faint, and smoothed; validation with dots."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(10, 6), dpi=100, facecolor=PAPER, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.add_subplot(facecolor=PAPER)
    if points.train:
        steps = [step for step, _ in points.train]
        losses = [value for _, value in points.train]
        axes.plot(steps, losses, color=TRAIN, alpha=0.3, linewidth=1.5)
        marker = "o" if len(losses) == 1 else None
        axes.plot(steps, smooth(losses), color=TRAIN, linewidth=3, marker=marker, markersize=8, label="entrenamiento")
    if points.validation:
        steps = [step for step, _ in points.validation]
        losses = [value for _, value in points.validation]
        axes.plot(steps, losses, color=VALIDATION, linewidth=3, marker="o", markersize=8, label="validación")
    _dress(axes, title)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", facecolor=PAPER)
    return buffer.getvalue()


def smooth(values: Sequence[float]) -> list[float]:
    """Mean over a centred window of a tenth of the points; unlike an exponential mean it does not lag behind.

    The window narrows towards both ends, so that a short curve starts and ends where it did; what is no number leaves
    a gap.
    """
    widest = max(1, len(values) // 20)
    means: list[float] = []
    for index, value in enumerate(values):
        reach = max(widest // 4, min(widest, index, len(values) - 1 - index))
        window = [near for near in values[max(0, index - reach) : index + reach + 1] if math.isfinite(near)]
        means.append(sum(window) / len(window) if math.isfinite(value) else math.nan)
    return means


def _dress(axes: Any, title: str) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    safe = "".join(c if c.isprintable() and ord(c) < LAST_SURE_GLYPH else "·" for c in title)
    axes.set_title(safe.replace("$", r"\$"), color=INK, fontsize=20, pad=14, loc="left")
    axes.set_xlabel("paso", color=INK, fontsize=16)
    axes.set_ylabel("pérdida (más baja es mejor)", color=INK, fontsize=16)
    axes.tick_params(colors=INK, labelsize=14)
    axes.grid(color=GRID, linewidth=1)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=7))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: _tick(value)))
    for side in axes.spines.values():
        side.set_visible(False)
    low, high = axes.get_ylim()
    axes.set_ylim(max(0.0, low), high)
    if axes.get_legend_handles_labels()[0]:
        legend = axes.legend(fontsize=15, facecolor=PAPER, edgecolor=GRID, labelcolor=INK)
        legend.get_frame().set_alpha(0.9)


def _tick(value: float) -> str:
    """«0,25», «12 000»: as in Spanish, with a space that the font of matplotlib has."""
    return number(value).replace("\u202f", " ") if abs(value) >= 1000 else f"{value:.3g}".replace(".", ",")
