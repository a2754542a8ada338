"""The report of a simulation: learning curves, labels to the target, and whether estimate and stopping rule hold.

Made from the JSON document of ``labeler simulate`` alone, so that a page can be made from a document that was kept.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from labeler.retrain import curves, drawing, report, simulation_plots
from labeler.retrain.curves import BEHIND, Runs

Document = Mapping[str, Any]
Rows = Sequence[Mapping[str, Any]]

KIND = "simulation"
FROM = 100  # labels from which on the estimate is held to what it promises
CERTAINTY = 0.90  # of the estimate's interval, see labeler.rank.quality
_COLUMNS = 8  # label counts in the tables of accuracy


def check(folder: Path) -> None:
    """Refuse a folder that :func:`write` would refuse; to be asked before hours of simulation.

    Raises:
        LabelerError: as :func:`write`.
    """
    report.check(folder, KIND)


def write(folder: Path, document: Document) -> Path:
    """Write the report into ``folder``, which is made if it is missing; returns the page.

    Args:
        folder: for ``index.html``, its figures and ``metrics.json``.
        document: of ``labeler simulate --json``: ``k``, ``n_test``, ``curves`` and ``full_supervision``, at least one
            curve with at least one round; ``images``, ``classes``, ``audit``, ``examples``, ``settings`` and ``notes``
            are shown where they are there.

    Raises:
        LabelerError: the folder holds something else than an earlier simulation, or cannot be written.
    """
    check(folder)
    by_strategy = _by_strategy(document["curves"])
    full = {int(each["seed"]): float(each["accuracy"]) for each in document["full_supervision"]}
    runs = [curves.together(name, rows, full) for name, rows in by_strategy.items()]
    found = [_figures_of(each, runs[0], by_strategy[each.strategy]) for each in runs]
    figures = {
        "accuracy": simulation_plots.learning_curves(runs, "accuracy", float((runs[0].full - BEHIND).mean())),
        "balanced-accuracy": simulation_plots.learning_curves(runs, "balanced_accuracy"),
    }
    estimates = _estimates(by_strategy)
    drawings = figures | {f"estimate-{number}": drawing for number, drawing in enumerate(estimates.values(), start=1)}
    numbers = {
        "kind": KIND,
        **{name: value for name, value in document.items() if name not in ("strategies", "report", "notes")},
        "notes": [_without_folders(note) for note in document.get("notes", ())],
        "strategies": found,
        "files": sorted(f"{name}.png" for name in drawings),
    }
    page = report.render(
        "simulation.html",
        kind=KIND,
        numbers=numbers,
        strategies=found,
        best=_best(found),
        full=sorted(full.items()),
        marks=_marks(runs[0].labels),
        end=max(int(each.labels[-1]) for each in runs),
        behind=BEHIND,
        start=FROM,
        certainty=CERTAINTY,
        figures=figures,
        estimates=estimates,
    )
    return report.publish(folder, page, numbers, {f"{name}.png": drawing.png for name, drawing in drawings.items()})


# ----------------------------------------------------------------------------------------------------------- numbers


def trust(rows: Rows, start: int = FROM) -> dict[str, Any] | None:
    """How far the estimate was from the truth, over every round of every curve with at least ``start`` labels.

    The truth is accuracy on the test images, which chance moves too: with few of them even a perfect estimate misses.

    Args:
        rows: curves with ``labels``, ``accuracy`` and ``estimate``, a list of [accuracy, low, high] or None.

    Returns:
        ``rounds`` counted; ``error``, the mean absolute difference; ``bias``, the mean of estimate minus truth;
        ``coverage``, the share of rounds whose interval holds the truth; ``width`` of the interval, the mean. None
        where there is no such round.
    """
    known = [
        (*each, truth)
        for row in rows
        for labels, each, truth in zip(row["labels"], row.get("estimate", ()), row["accuracy"], strict=False)
        if labels >= start and each is not None
    ]
    if not known:
        return None
    said, low, high, truth = np.array(known, dtype=np.float64).T
    return {
        "rounds": len(known),
        "error": float(np.abs(said - truth).mean()),
        "bias": float((said - truth).mean()),
        "coverage": float(((low <= truth) & (truth <= high)).mean()),
        "width": float((high - low).mean()),
    }


def stops(rows: Rows) -> dict[str, Any]:
    """Where the stopping rule ended the runs, and what labelling on to the end of the curve would have brought.

    Returns:
        ``runs`` and ``stopped``, how many of them; ``labels``, [fewest, median, most] at the stop; ``loss``, the mean
        of accuracy at the end minus accuracy at the stop, and ``worst``, the greatest: None where none stopped.
    """
    at, lost = [], []
    for row in rows:
        if row.get("stop_at") is not None:
            at.append(int(row["stop_at"]))
            lost.append(row["accuracy"][-1] - row["accuracy"][row["labels"].index(row["stop_at"])])
    return {
        "runs": len(rows),
        "stopped": len(at),
        "labels": [min(at), int(np.median(at)), max(at)] if at else None,
        "loss": float(np.mean(lost)) if lost else None,
        "worst": float(max(lost)) if lost else None,
    }


def seconds(rows: Rows) -> dict[str, float]:
    """``median`` and ``most`` of the seconds that choosing, learning and predicting took in a round."""
    every = np.concatenate([np.array(row["seconds"], dtype=np.float64) for row in rows])
    return {"median": float(np.median(every)), "most": float(every.max())}


def _by_strategy(rows: Rows) -> dict[str, list[Mapping[str, Any]]]:
    """Curves by strategy, in the order in which they were asked for."""
    found: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        found.setdefault(row["strategy"], []).append(row)
    return found


def _figures_of(runs: Runs, first: Runs, rows: Rows) -> dict[str, Any]:
    """Everything the page says of a strategy."""
    gap, error = (None, None) if runs is first else curves.paired(first, runs)
    band = np.quantile(runs.balanced_accuracy, curves.BAND, axis=0).T.tolist()
    return {
        **curves.summary(runs),
        "balanced_band": band,
        "end": int(runs.labels[-1]),
        "ahead": gap,
        "ahead_error": None if error is None or np.isnan(error) else error,
        "area_sd": float(curves.areas(runs).std(ddof=1)) if len(runs.accuracy) > 1 else None,
        "seconds": seconds(rows),
        "trust": trust(rows),
        "stops": stops(rows),
    }


def _best(found: Rows) -> Mapping[str, Any]:
    """The strategy that needed the fewest labels; of equal ones the one that was better all along."""
    return min(found, key=lambda each: (each["labels_to_target"] or np.inf, -each["area"]))


def _marks(labels: npt.NDArray[np.int64]) -> list[int]:
    """Label counts for a table: the first, the last, and evenly spaced ones between them."""
    places = np.linspace(0, len(labels) - 1, min(_COLUMNS, len(labels))).round().astype(np.int64)
    return [int(n) for n in labels[np.unique(places)]]


def _estimates(by_strategy: Mapping[str, Rows]) -> dict[str, drawing.Drawing]:
    """By strategy, where every seed has an estimate at some common number of labels."""
    drawn: dict[str, drawing.Drawing] = {}
    for name, rows in by_strategy.items():
        known = [
            {n: (truth, *each) for n, truth, each in zip(*columns, strict=False) if each is not None}
            for columns in ((row["labels"], row["accuracy"], row.get("estimate", ())) for row in rows)
        ]
        common = sorted(set.intersection(*(set(each) for each in known)))
        if common:
            table = np.array([[each[n] for n in common] for each in known], dtype=np.float64).mean(axis=0)
            labels = np.array(common, dtype=np.int64)
            drawn[name] = simulation_plots.estimate(name, labels, table[:, 0], table[:, 1:], certainty=CERTAINTY)
    return drawn


def _without_folders(note: str) -> str:
    """The page goes to other people: of a file's path it says the name and its class folder."""
    path, colon, reason = note.partition(": ")
    return f"{'/'.join(PurePosixPath(path).parts[-2:])}{colon}{reason}"
