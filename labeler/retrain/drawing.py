"""What every figure of the reports has in common: size, colours, lines, legend, and the way to a PNG.

Drawn with Matplotlib's objects on the Agg canvas, never through pyplot: nothing global is read or changed, so a worker
thread may draw. Every figure is 10.7 cm wide, as a column of a printed page and, scaled, a telephone are; its letters
stay legible at both. Colours are those of Okabe and Ito (2008), which the colour-blind tell apart; what tells two
things apart on paper without colour is the kind of line, the label beside it, or the number in it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Float64 = npt.NDArray[np.float64]

WIDTH = 4.2  # inches
DPI = 200
TEXT, SMALL = 9.5, 8.5  # points
INK, FAINT = "#1a1a1a", "#8a8a8a"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#56B4E9", "#E69F00")
# Not as many as colours, so that a colour comes back with another line.
LINES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.4)), (0, (6, 2, 1.5, 2)))


@dataclass(frozen=True, slots=True)
class Drawing:
    """A figure: the PNG's bytes, and what it shows in words for who cannot see it."""

    png: bytes
    alt: str


@dataclass(frozen=True, slots=True, eq=False)
class Curve:
    """A line over [0, 1] with the number that sums it up.

    Attributes:
        name: what the line stands for.
        x, y: (m,) its points.
        spread: (m,) standard deviation over the runs, None for one run.
        value: area below the line, the mean over the runs.
        sd: the value's standard deviation over the runs, None for one run.
    """

    name: str
    x: Float64
    y: Float64
    spread: Float64 | None
    value: float
    sd: float | None

    @property
    def label(self) -> str:
        digits = 4 if self.value >= 0.99 else 3
        return f"{self.name}  {self.value:.{digits}f}" + (f" ± {self.sd:.{digits}f}" if self.sd is not None else "")


def one_figure(height: float) -> tuple[Figure, Axes]:
    figure, (axes,) = figures(1, height)
    return figure, axes


def figures(
    n: int, height: float, *, heights: Sequence[float] | None = None, sharex: bool = False
) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, height), dpi=DPI, layout="constrained")
    grid = figure.subplots(n, 1, sharex=sharex, squeeze=False, height_ratios=heights)
    panels: list[Axes] = list(grid[:, 0])
    for axes in panels:
        axes.tick_params(labelsize=SMALL, color=FAINT)
        axes.spines[["top", "right"]].set_visible(False)
        axes.spines[["bottom", "left"]].set_color(FAINT)
    return figure, panels


def draw_lines(axes: Axes, curves: Sequence[Curve]) -> None:
    for number, curve in enumerate(curves):
        colour = COLOURS[number % len(COLOURS)]
        axes.plot(curve.x, curve.y, color=colour, linestyle=LINES[number % len(LINES)], linewidth=1.5)
        if curve.spread is not None:
            low, high = np.clip(curve.y - curve.spread, 0, 1), np.clip(curve.y + curve.spread, 0, 1)
            axes.fill_between(curve.x, low, high, color=colour, alpha=0.15, linewidth=0)


def unit_square(axes: Axes, x: str, y: str) -> None:
    axes.set_xlim(0, 1.01)
    axes.set_ylim(0, 1.015)
    axes.set_xlabel(x, fontsize=TEXT)
    axes.set_ylabel(y, fontsize=TEXT)


def beside(axes: Axes, point: tuple[float, float], text: str, colour: str) -> None:
    axes.annotate(text, point, xytext=(5, 0), textcoords="offset points", fontsize=SMALL, color=colour, va="center")


def no_tick_beyond(axes: Axes, most: float) -> None:
    """Room at the right is for text: there is no 140 % and no epoch that was not run."""
    axes.set_xticks([tick for tick in axes.get_xticks() if axes.get_xlim()[0] <= tick <= most])


def enlarged(axes: Axes, curves: Sequence[Curve], place: tuple[float, float, float, float], x: float) -> None:
    """The upper corner from ``x`` on, a fifth of the scale wide, drawn large at ``place``."""
    corner = axes.inset_axes(place, xlim=(x - 0.004, x + 0.204), ylim=(0.8, 1.004))
    draw_lines(corner, curves)
    corner.tick_params(labelsize=SMALL - 1.5)
    corner.set_xticks([x, x + 0.1, x + 0.2])
    corner.set_yticks([0.8, 0.9, 1.0])
    axes.indicate_inset_zoom(corner, edgecolor=FAINT)


def values_in_words(curves: Sequence[Curve]) -> str:
    return "; ".join(f"{curve.name} {curve.value:.3f}" for curve in curves)


def legend_height(curves: Sequence[Curve]) -> float:
    return 0.24 + 0.17 * len(curves)


def legend(figure: Figure, curves: Sequence[Curve], title: str) -> None:
    """Below the axes, the best first; every curve keeps the colour of its place in the list, from figure to figure."""
    from matplotlib.lines import Line2D

    order = sorted(range(len(curves)), key=lambda number: -curves[number].value)
    keys = [Line2D([], [], color=COLOURS[i % len(COLOURS)], linestyle=LINES[i % len(LINES)], lw=1.5) for i in order]
    figure.legend(
        keys,
        [curves[number].label for number in order],
        title=title,
        loc="outside lower center",
        frameon=False,
        fontsize=SMALL,
        title_fontsize=SMALL,
        handlelength=2.8,
        borderpad=0.1,
        labelspacing=0.25,
    )


def crowded(places: Sequence[float], apart: float) -> list[bool]:
    """Which labels would run into the one to their right; the last, where most images are, always stays."""
    hidden, right = [], math.inf
    for place in reversed(places):
        hidden.append(right - place < apart)
        right = right if hidden[-1] else place
    return hidden[::-1]


def number_in_words(mean: float, sd: float | None, unit: str) -> str:
    digits = 0 if abs(mean) >= 1000 else 1 if abs(mean) >= 10 else 2
    text = f"{mean:,.{digits}f}" + (f" ± {sd:,.{digits}f}" if sd is not None else "")
    return f"{text} {unit}".rstrip()


def finished(figure: Figure, alt: str) -> Drawing:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text

    for text in figure.findobj(Text):
        text.set_parse_math(False)  # a dollar sign in a name is a dollar sign
    out = io.BytesIO()
    canvas: Any = FigureCanvasAgg(figure)
    canvas.print_png(out, metadata={"Description": alt, "Software": None})  # savefig would draw everything twice
    return Drawing(out.getvalue(), alt)
