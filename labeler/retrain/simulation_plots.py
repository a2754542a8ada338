"""The figures of a simulation's report: learning curves with bands, and the estimate of accuracy beside the truth.

Drawn with the frame, colours and lines of :mod:`labeler.retrain.plots`, so that all reports look alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np
import numpy.typing as npt

from labeler.retrain.curves import BAND, Runs, areas
from labeler.retrain.drawing import (
    COLOURS,
    FAINT,
    INK,
    LINES,
    SMALL,
    TEXT,
    Curve,
    Drawing,
    beside,
    finished,
    legend,
    legend_height,
    no_tick_beyond,
    one_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Float64 = npt.NDArray[np.float64]
Measure = Literal["accuracy", "balanced_accuracy"]

_SETTLED = 0.2  # of the curve: from here on the picture must hold all of it
_TOO_TALL = 3.0  # times the height of what is settled: then the beginning is cut off
_LEAST_SPAN = 0.01  # of accuracy on the axis


def learning_curves(runs: Sequence[Runs], measure: Measure, target: float | None = None) -> Drawing:
    """Mean and 10-90 % band over seeds of every strategy, by number of labels.

    Args:
        runs: of each strategy, at least one, each with at least one label count; the colour goes by the place.
        measure: which of the two.
        target: a line across, in accuracy.
    """
    lines = [getattr(each, measure) for each in runs]
    named = [_in_legend(each, values) for each, values in zip(runs, lines, strict=True)]
    figure, axes = one_figure(3.3 + legend_height(named))
    for number, (each, values) in enumerate(zip(runs, lines, strict=True)):
        colour, line = COLOURS[number % len(COLOURS)], LINES[number % len(LINES)]
        if len(values) > 1:
            low, high = 100 * np.quantile(values, BAND, axis=0)
            axes.fill_between(each.labels, low, high, color=colour, alpha=0.15, linewidth=0)
        axes.plot(each.labels, 100 * values.mean(axis=0), color=colour, linestyle=line, linewidth=1.5)
    end = max(int(each.labels[-1]) for each in runs)
    _accuracy_axis(axes, _reach([each.labels for each in runs], lines, target), end)
    if target is not None:
        axes.axhline(100 * target, color=FAINT, linewidth=0.8)
        axes.annotate(
            f"target {100 * target:.1f}", (0, 100 * target), xytext=(3, 2), textcoords="offset points",
            fontsize=SMALL, color=INK, va="bottom",
        )  # fmt: skip
    axes.set_ylabel(measure.replace("_", " ") + " (%)", fontsize=TEXT)
    legend(figure, named, "mean over the curve")
    ends = "; ".join(
        f"{each.strategy} from {100 * values[:, 0].mean():.1f} % at {each.labels[0]:,} labels "
        f"to {100 * values[:, -1].mean():.1f} % at {each.labels[-1]:,}"
        for each, values in zip(runs, lines, strict=True)
    )
    return finished(figure, f"{measure.replace('_', ' ').capitalize()} on the test images by labels: {ends}.")


def estimate(
    strategy: str, labels: npt.NDArray[np.int64], truth: Float64, believed: Float64, *, certainty: float
) -> Drawing:
    """What a workspace without test images would have believed, beside what the test images say; means over seeds.

    Args:
        labels: (m,) counts, m >= 1.
        truth: (m,) accuracy on the test images.
        believed: (m, 3) estimate, lower and upper bound.
        certainty: of the bounds.
    """
    figure, axes = one_figure(3.0)
    said, low, high = 100 * believed.T
    axes.fill_between(labels, low, high, color=COLOURS[1], alpha=0.18, linewidth=0)
    axes.plot(labels, said, color=COLOURS[1], linestyle=LINES[1], linewidth=1.5)
    axes.plot(labels, 100 * truth, color=COLOURS[0], linewidth=1.5)
    end = int(labels[-1])
    _accuracy_axis(axes, _reach([labels], [np.stack([truth, *believed.T])], None), end)
    apart = _apart(100 * float(truth[-1]), float(said[-1]), axes.get_ylim())
    beside(axes, (end, apart[0]), "truth", COLOURS[0])
    beside(axes, (end, apart[1]), "estimate", COLOURS[1])
    axes.set_xlim(right=1.24 * end)
    no_tick_beyond(axes, end)
    axes.set_ylabel("accuracy (%)", fontsize=TEXT)
    return finished(
        figure,
        f"{strategy}: estimated accuracy with its {certainty:.0%} interval beside the accuracy on the test images, by "
        f"labels. At {end:,} labels estimated {said[-1]:.1f} % ({low[-1]:.1f} to {high[-1]:.1f}), "
        f"true {100 * truth[-1]:.1f} %.",
    )


def _in_legend(runs: Runs, values: Float64) -> Curve:
    """Name and mean over the curve, as :mod:`labeler.retrain.drawing` writes its legends."""
    over = areas(Runs(runs.strategy, runs.labels, values, values, runs.full))
    sd = float(over.std(ddof=1)) if len(over) > 1 else None
    return Curve(runs.strategy, runs.labels.astype(np.float64), values.mean(axis=0), None, float(over.mean()), sd)


def _reach(
    labels: Sequence[npt.NDArray[np.int64]], lines: Sequence[Float64], target: float | None
) -> tuple[float, float]:
    """Lowest and highest accuracy of the picture.

    A curve that climbs from 50 to 99 % says nothing where strategies differ, at its end: its first fifth may begin
    below the axis.
    """
    end = max(int(each[-1]) for each in labels)
    everything = np.concatenate([values.ravel() for values in lines])
    settled = [v[:, n >= _SETTLED * end].ravel() for n, v in zip(labels, lines, strict=True)]
    late = np.concatenate([*settled, [target]] if target is not None else settled)
    top = float(max(everything.max(), late.max()))
    bottom = float(min(everything.min(), late.min()))
    if top - bottom > _TOO_TALL * max(top - late.min(), _LEAST_SPAN):
        bottom = float(late.min()) - 0.1 * (top - float(late.min()))
    return min(bottom, top - _LEAST_SPAN), top


def _accuracy_axis(axes: Axes, reach: tuple[float, float], end: int) -> None:
    low, high = reach
    room = 0.04 * (high - low)
    axes.set_ylim(100 * max(low - room, 0.0), 100 * min(high + room, 1.0) + 0.05)
    axes.set_xlim(0, 1.03 * end)
    axes.set_xlabel("labels", fontsize=TEXT)
    no_tick_beyond(axes, end)


def _apart(one: float, other: float, limits: tuple[float, float]) -> tuple[float, float]:
    """Heights of two words beside the ends of two lines, moved until they do not run into each other."""
    least = 0.07 * (limits[1] - limits[0])
    missing = least - abs(one - other)
    if missing <= 0:
        return one, other
    push = missing / 2 if one >= other else -missing / 2
    return one + push, other - push
