"""The figures of the reports: values in, a PNG and its description in words out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

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
    crowded,
    draw_lines,
    enlarged,
    figures,
    finished,
    legend,
    legend_height,
    no_tick_beyond,
    number_in_words,
    one_figure,
    unit_square,
    values_in_words,
)
from labeler.retrain.evaluate import CERTAINTY, roc_auc, wilson

if TYPE_CHECKING:
    pass

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]
Run = tuple[Labels, Float64]  # true class numbers (n,) and probabilities (n, C)

_GRID = np.linspace(0.0, 1.0, 201)
_LEVEL_LABEL = 12  # letters of a class name beneath a column before it is turned
_FEW_CLASSES = 4  # of which a confusion matrix has room for large numbers
_KINDS_IN_WORDS = 8  # kinds of mistakes that a description reads out
_GOOD = 0.9  # value from which a curve lies in the corner


# ------------------------------------------------------------------------------------------------- curves from scores


def roc_points(positive: npt.NDArray[np.bool_], scores: Float64) -> tuple[Float64, Float64]:
    """False and true positive rate at every threshold, from (0, 0) to (1, 1); both sides must occur."""
    hits, others = _cumulated(positive, scores)
    return np.r_[0.0, others / others[-1]], np.r_[0.0, hits / hits[-1]]


def recall_points(positive: npt.NDArray[np.bool_], scores: Float64) -> tuple[Float64, Float64, float]:
    """Recall, precision at every threshold from the strictest on, and the average precision; a positive must occur."""
    hits, others = _cumulated(positive, scores)
    recall, precision = hits / hits[-1], hits / (hits + others)
    return recall, precision, float((np.diff(recall, prepend=0.0) * precision).sum())


def _cumulated(positive: npt.NDArray[np.bool_], scores: Float64) -> tuple[Float64, Float64]:
    """Positives and negatives at or above each distinct score, the greatest first."""
    order = np.argsort(-scores, kind="stable")
    last = np.r_[np.flatnonzero(np.diff(scores[order])), len(scores) - 1]
    hits = np.cumsum(positive[order])[last].astype(np.float64)
    return hits, last + 1.0 - hits


def roc_curve(name: str, runs: Sequence[Run], columns: Sequence[int]) -> Curve | None:
    """The ROC curve of a model: averaged at equal false positive rates (Fawcett, 2006) over classes and runs.

    Args:
        name: of the model or class.
        runs: one (y, probabilities) per seed.
        columns: the classes, each against the rest; two classes have one curve, that of the first.

    Returns:
        None where no run has both sides of any of the classes.
    """
    lines, areas = [], []
    for y, probabilities in runs:
        known = [c for c in columns if 0 < int((y == c).sum()) < len(y)]
        if known:
            points = [roc_points(y == c, probabilities[:, c]) for c in known]
            areas.append(float(np.mean([roc_auc(y == c, probabilities[:, c]) or 0.0 for c in known])))
            if len(runs) == len(known) == 1:
                return Curve(name, *points[0], None, areas[0], None)
            lines.append(np.mean([_at_grid(x, line) for x, line in points], axis=0))
    return _averaged(name, lines, areas, start=0.0) if lines else None


def recall_curve(name: str, runs: Sequence[Run], columns: Sequence[int]) -> Curve | None:
    """Precision over recall, averaged as :func:`roc_curve`; None where none of the classes occurs."""
    lines, areas = [], []
    for y, probabilities in runs:
        known = [c for c in columns if (y == c).any()]
        if known:
            points = [recall_points(y == c, probabilities[:, c]) for c in known]
            areas.append(float(np.mean([area for _, _, area in points])))
            if len(runs) == len(known) == 1:
                recall, precision, area = points[0]
                return Curve(name, np.r_[0.0, recall], np.r_[precision[0], precision], None, area, None)
            lines.append(np.mean([p[np.searchsorted(r, _GRID - 1e-12)] for r, p, _ in points], axis=0))
    return _averaged(name, lines, areas, start=None) if lines else None


def _at_grid(x: Float64, y: Float64) -> Float64:
    last = np.r_[np.flatnonzero(np.diff(x)), len(x) - 1]  # the upper end of every vertical stretch
    return np.interp(_GRID, x[last], y[last])


def _averaged(name: str, lines: Sequence[Float64], areas: Sequence[float], start: float | None) -> Curve:
    several = len(lines) > 1
    x, y = _GRID, np.mean(lines, axis=0)
    spread = np.std(lines, axis=0, ddof=1) if several else None
    if start is not None:
        x, y = np.r_[0.0, x], np.r_[start, y]
        spread = np.r_[0.0, spread] if spread is not None else None
    return Curve(name, x, y, spread, float(np.mean(areas)), float(np.std(areas, ddof=1)) if several else None)


# ---------------------------------------------------------------------------------------------------------- figures


def roc(curves: Sequence[Curve]) -> Drawing:
    """ROC curves, listed the best first; a corner is enlarged where they all lie in it. At least one curve."""
    figure, axes = one_figure(3.7 + legend_height(curves))
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
    draw_lines(axes, curves)
    unit_square(axes, "false positive rate", "true positive rate")
    if min(curve.value for curve in curves) > _GOOD:
        enlarged(axes, curves, (0.36, 0.14, 0.6, 0.6), x=0.0)
    legend(figure, curves, "area under the curve (AUC)")
    return finished(figure, f"ROC curves, true over false positive rate. Area: {values_in_words(curves)}.")


def precision_recall(curves: Sequence[Curve], prevalence: float | None = None) -> Drawing:
    """Precision over recall, as :func:`roc`. ``prevalence`` is the precision of guessing. At least one curve."""
    figure, axes = one_figure(3.7 + legend_height(curves))
    if prevalence is not None:
        axes.axhline(prevalence, color=FAINT, linewidth=0.8)
        axes.text(0.99, prevalence - 0.015, "guessing", color=INK, fontsize=SMALL, va="top", ha="right")
    draw_lines(axes, curves)
    unit_square(axes, "recall", "precision")
    if min(curve.value for curve in curves) > _GOOD:
        enlarged(axes, curves, (0.14, 0.14, 0.6, 0.6), x=0.8)
    legend(figure, curves, "average precision")
    return finished(figure, f"Precision over recall. Average precision: {values_in_words(curves)}.")


def confusion(table: Sequence[Sequence[int]], classes: Sequence[str]) -> Drawing:
    """Counts, share of the row beneath, shade by share; rows are the truth."""
    from matplotlib import colormaps

    counts = np.asarray(table)
    size = len(counts)
    totals = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(totals, 1)
    few = size <= _FEW_CLASSES
    figure, axes = one_figure(3.3 if few else 4.2)
    axes.imshow(shares, cmap=colormaps["Blues"], vmin=0.0, vmax=1.15, aspect="auto")
    big, small = (TEXT + 4, SMALL) if few else (7.8, 6.2)
    for row, column in np.ndindex(size, size):
        ink = "white" if shares[row, column] > 0.6 else INK
        share = f"{100 * shares[row, column]:.{1 if few else 0}f} %" if totals[row, 0] else "-"
        if not few and row != column and not counts[row, column]:
            ink, share = FAINT, ""
        bold = "bold" if row == column else "normal"
        axes.text(column, row + 0.02, f"{counts[row, column]:,}", color=ink, fontsize=big, weight=bold, ha="center")
        axes.text(column, row + 0.1, share, color=ink, fontsize=small, ha="center", va="top")
    axes.set_xticks(range(size), classes, rotation=0 if few and max(map(len, classes)) <= _LEVEL_LABEL else 90)
    tall = [f"{name}\n(n = {n:,})" if few else name for name, n in zip(classes, totals[:, 0], strict=True)]
    axes.set_yticks(range(size), tall)
    axes.set_xlabel("predicted", fontsize=TEXT)
    axes.set_ylabel("true class", fontsize=TEXT)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return finished(figure, _confusion_in_words(counts, classes))


def _confusion_in_words(counts: npt.NDArray[np.integer], classes: Sequence[str]) -> str:
    right, n = int(counts.diagonal().sum()), int(counts.sum())
    said = f"Confusion matrix: {right:,} of {n:,} right."
    cells = [(int(counts[t, p]), t, p) for t in range(len(counts)) for p in range(len(counts)) if t != p]
    wrong = sorted((cell for cell in cells if cell[0]), key=lambda cell: -cell[0])
    said += "".join(f" {count:,} {classes[t]} taken for {classes[p]}." for count, t, p in wrong[:_KINDS_IN_WORDS])
    return said + (f" {len(wrong) - _KINDS_IN_WORDS} kinds of mistakes more." if len(wrong) > _KINDS_IN_WORDS else "")


def reliability(bins: Sequence[Mapping[str, float]], n_classes: int) -> Drawing:
    """How often the model was right by how sure it was, with 95 % intervals, over the images in each bin.

    Args:
        bins: ``n, hits, confidence, accuracy`` of each (``evaluate.reliability``).
        n_classes: the prediction's probability is at least one over it.
    """
    figure, (axes, below) = figures(2, 4.4, heights=(3.0, 1.0), sharex=True)
    sure, right = [b["confidence"] for b in bins], [b["accuracy"] for b in bins]
    bounds = [wilson(int(b["hits"]), int(b["n"])) for b in bins]
    reach = [
        [r - low for r, (low, _) in zip(right, bounds, strict=True)],
        [high - r for r, (_, high) in zip(right, bounds, strict=True)],
    ]
    axes.plot([0, 1], [0, 1], color=FAINT, linewidth=0.8)
    axes.errorbar(sure, right, yerr=np.clip(reach, 0, 1), fmt="o-", color=COLOURS[0], markersize=4, capsize=2, lw=1.2)
    low = min([1.0 / n_classes, *sure]) - 0.02
    axes.set_xlim(low, 1.02)
    axes.set_ylim(min([low, *(bound for bound, _ in bounds)]) - 0.02, 1.03)
    axes.text(0.02, 0.98, "too timid", fontsize=SMALL, color=INK, va="top", transform=axes.transAxes)
    axes.text(0.98, 0.03, "too sure", fontsize=SMALL, color=INK, ha="right", transform=axes.transAxes)
    axes.set_ylabel("share right", fontsize=TEXT)
    counts = [int(b["n"]) for b in bins]
    below.bar(sure, counts, width=0.02, color="#9fb8c8", edgecolor=INK, linewidth=0.5)
    below.set_yscale("log")
    below.set_ylim(0.7, max(counts, default=1) * 6)
    below.set_yticks([])
    below.set_yticks([], minor=True)
    close = crowded(sure, (1.04 - low) / 13)
    for x, n, hidden in zip(sure, counts, close, strict=True):
        if not hidden:
            below.text(x, n * 1.25, f"{n:,}", fontsize=SMALL - 1, ha="center", color=INK)
    below.set_ylabel("images\n(log)", fontsize=TEXT)
    below.set_xlabel("confidence of the model", fontsize=TEXT)
    listed = "; ".join(f"{b['confidence']:.2f} sure, {b['accuracy']:.2f} right, {int(b['n']):,} images" for b in bins)
    return finished(figure, f"Reliability: how often the model was right by how sure it was. {listed}.")


def history(values: Mapping[str, Any]) -> Drawing:
    """Loss and accuracy of every epoch, training and held out; ``values`` as ``History.as_json``."""
    from matplotlib.ticker import MaxNLocator

    figure, both = figures(2, 4.2, heights=(1.0, 1.0), sharex=True)
    epochs = range(1, len(values["loss"]) + 1)
    best = int(values.get("best_epoch") or 0)
    for axes, name in zip(both, ("loss", "accuracy"), strict=True):
        for key, said, colour, line in ((name, "training", 0, 0), (f"val_{name}", "held out", 1, 1)):
            points = list(values.get(key) or ())
            if points:
                axes.plot(epochs, points, color=COLOURS[colour], linestyle=LINES[line], marker="o", markersize=3)
                beside(axes, (epochs[-1], points[-1]), said, COLOURS[colour])
        if best:
            axes.axvline(best, color=FAINT, linewidth=0.8)
        axes.set_ylabel(name, fontsize=TEXT)
        axes.margins(x=0.04, y=0.12)
        axes.set_xlim(0.7, epochs[-1] + max(0.3, 0.27 * len(epochs)))
    if best:
        both[0].text(best, 1.0, " kept", transform=both[0].get_xaxis_transform(), fontsize=SMALL, color=INK, va="top")
    both[1].xaxis.set_major_locator(MaxNLocator(integer=True))
    no_tick_beyond(both[1], epochs[-1])
    both[1].set_xlabel("epoch", fontsize=TEXT)
    kept = f" The weights of epoch {best} were kept." if best else ""
    end = f"loss {values['loss'][0]:.3f} to {values['loss'][-1]:.3f}"
    return finished(figure, f"Loss and accuracy over {len(epochs)} epochs: training {end}.{kept}")


def distribution(counts: Mapping[str, Mapping[str, int]], classes: Sequence[str]) -> Drawing:
    """How many images each class has in every split, one panel per split, all to one scale."""
    figure, panels = figures(len(counts), 0.55 + len(counts) * (0.32 + 0.23 * len(classes)), sharex=True)
    most = max([n for split in counts.values() for n in split.values()], default=0)
    for axes, (split, of_class) in zip(panels, counts.items(), strict=True):
        values = [int(of_class.get(name, 0)) for name in classes]
        total = sum(values)
        rows = range(len(classes))
        axes.barh(rows, values, color=COLOURS[0], height=0.72)
        for row, n in enumerate(values):
            share = f"  ({100 * n / total:.0f} %)" if total else ""
            axes.text(n, row, f" {n:,}{share}", fontsize=SMALL, va="center", color=INK)
        axes.set_yticks(rows, classes)
        axes.invert_yaxis()
        axes.set_title(f"{split}  ({total:,})", fontsize=TEXT, loc="left", weight="bold")
        axes.tick_params(axis="y", length=0)
        axes.spines[["bottom", "left"]].set_visible(False)
        axes.set_xticks([])
    panels[-1].set_xlim(0, max(most, 1) * 1.35)
    listed = "; ".join(
        f"{split}: " + ", ".join(f"{of_class.get(name, 0):,} {name}" for name in classes)
        for split, of_class in counts.items()
    )
    return finished(figure, f"Images of each class. {listed}.")


def bars(
    names: Sequence[str], values: Sequence[Sequence[float]], label: str, *, unit: str = "", from_zero: bool = True
) -> Drawing:
    """One bar per name: the mean of its values, their standard deviation, every single value as a dot.

    Args:
        names: from top to bottom.
        values: of each name, one per seed, at least one.
        label: of the axis.
        unit: after every number, e.g. ``%``.
        from_zero: bars from zero; else only means and deviations, on an axis that begins where they do.
    """
    figure, axes = one_figure(0.75 + 0.36 * len(names))
    means = [float(np.mean(v)) for v in values]
    sds = [float(np.std(v, ddof=1)) if len(v) > 1 else None for v in values]
    said = [number_in_words(m, s, unit) for m, s in zip(means, sds, strict=True)]
    ends = []
    for row, (mean, sd, single) in enumerate(zip(means, sds, values, strict=True)):
        if from_zero:
            axes.barh(row, mean, color="#a9c6da", edgecolor=INK, linewidth=0.6, height=0.66)
        else:
            axes.plot(mean, row, "D", color=COLOURS[0], markersize=5)
        if sd is not None:
            axes.errorbar(mean, row, xerr=sd, color=INK, capsize=3, linewidth=1.1)
            axes.plot(single, [row] * len(single), "o", color=INK, markersize=2.2, alpha=0.7)
        ends.append(max([mean + (sd or 0.0), *single]))
    low = 0.0 if from_zero else min(min([m - (s or 0.0), *v]) for m, s, v in zip(means, sds, values, strict=True))
    span = (max(ends) - low) or abs(max(ends)) or 1.0
    for row, (end, text) in enumerate(zip(ends, said, strict=True)):
        axes.text(end + 0.025 * span, row, text, fontsize=SMALL, va="center", color=INK)
    axes.set_xlim(low if from_zero else low - 0.06 * span, max(ends) + span * (0.06 + 0.034 * max(map(len, said))))
    axes.set_yticks(range(len(names)), names)
    axes.set_ylim(len(names) - 0.4, -0.6)
    if unit == "%":
        no_tick_beyond(axes, 100)
    axes.tick_params(axis="y", length=0)
    axes.set_xlabel(label + (f" ({unit})" if unit else ""), fontsize=TEXT)
    listed = "; ".join(f"{name} {text}" for name, text in zip(names, said, strict=True))
    return finished(figure, f"{label.capitalize()}, mean and standard deviation over seeds: {listed}.")


def learning_curve(points: Sequence[tuple[int, float, float, float]]) -> Drawing:
    """Accuracy over the number of labels with its interval; ``points`` are (labels, accuracy, low, high)."""
    figure, axes = one_figure(3.0)
    labels, accuracy, low, high = (np.array(column, dtype=np.float64) for column in zip(*points, strict=True))
    axes.fill_between(labels, 100 * low, 100 * high, color=COLOURS[0], alpha=0.18, linewidth=0)
    axes.plot(labels, 100 * accuracy, "o-", color=COLOURS[0], markersize=3.5, linewidth=1.4)
    end = (labels[-1], 100 * accuracy[-1])
    beside(axes, end, f"{end[1]:.1f} %", INK)
    axes.set_xlabel("labels", fontsize=TEXT)
    axes.set_ylabel("accuracy (%)", fontsize=TEXT)
    axes.set_xlim(0, 1.18 * labels[-1])
    no_tick_beyond(axes, labels[-1])
    said = (
        f"from {100 * accuracy[0]:.1f} % at {labels[0]:,.0f} labels to {100 * accuracy[-1]:.1f} % at {labels[-1]:,.0f}"
    )
    return finished(figure, f"Accuracy over the number of labels, with {CERTAINTY:.0%} interval: {said}.")
