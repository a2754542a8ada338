"""The report of several models trained on the same data: one table, the curves of all, the bars, a confusion matrix
each, with the spread over seeds everywhere; and the same as CSV and as rows for the shell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from labeler.pool.csv_table import write_csv
from labeler.retrain import drawing, plots, report
from labeler.retrain.evaluate import CERTAINTY

Float64 = npt.NDArray[np.float64]

KIND = "comparison"
TABLE = "comparison.csv"
#: Of each: key in ``evaluate.metrics``, heading.
METRICS = (
    ("accuracy", "accuracy"),
    ("precision", "precision"),
    ("recall", "recall"),
    ("f1", "F1"),
    ("roc_auc", "ROC AUC"),
)
_NONE = "-"


class HasJson(Protocol):
    """A value that tells itself in plain numbers; ``retrain.training.History`` is one."""

    def as_json(self) -> dict[str, Any]: ...


class Contestant(Protocol):
    """One training of one model; ``retrain.compare`` has the class.

    Attributes:
        name, weights, input_size: what was trained; trainings that agree in these are the seeds of one model.
        seed: of this training.
        metrics: of ``evaluate.metrics`` on the test images.
        y, probabilities: (n,) and (n, C) on the test images.
        seconds: of training.
        parameters, trainable: how many numbers the network holds, and how many of them were trained.
        images_per_second: of prediction.
        history: of the training, with ``as_json``, or None.
    """

    @property
    def name(self) -> str: ...
    @property
    def weights(self) -> str: ...
    @property
    def input_size(self) -> int: ...
    @property
    def seed(self) -> int: ...
    @property
    def metrics(self) -> Mapping[str, Any]: ...
    @property
    def y(self) -> npt.NDArray[np.integer[Any]]: ...
    @property
    def probabilities(self) -> npt.NDArray[np.floating[Any]]: ...
    @property
    def seconds(self) -> float: ...
    @property
    def parameters(self) -> int: ...
    @property
    def trainable(self) -> int: ...
    @property
    def images_per_second(self) -> float: ...
    @property
    def history(self) -> HasJson | None: ...


@dataclass(frozen=True, slots=True, eq=False)
class Model:
    """The seeds of one model.

    Attributes:
        label: its name, with size and weights where the name alone is not unique.
        name, weights, input_size, parameters, trainable: as of every seed.
        runs: one :class:`Contestant` per seed, by seed.
    """

    label: str
    name: str
    weights: str
    input_size: int
    parameters: int
    trainable: int
    runs: tuple[Contestant, ...]

    @property
    def runtime(self) -> str:
        """What the speed was measured in, where the trainings say so: speeds in two runtimes are no comparison."""
        return str(getattr(self.runs[0], "runtime", ""))

    def values(self, key: str) -> list[float]:
        """One number per seed, of a metric, ``seconds`` or ``images_per_second``; undefined ones left out."""
        found = [run.metrics[key] if key in run.metrics else getattr(run, key) for run in self.runs]
        return [float(value) for value in found if value is not None]

    def mean(self, key: str) -> float | None:
        values = self.values(key)
        return float(np.mean(values)) if values else None

    def sd(self, key: str) -> float | None:
        """Standard deviation over the seeds (n - 1); None for one."""
        values = self.values(key)
        return float(np.std(values, ddof=1)) if len(values) > 1 else None


def models(contestants: Sequence[Contestant]) -> list[Model]:
    """Seeds put together, the most accurate model first."""
    together: dict[tuple[str, str, int], list[Contestant]] = {}
    for one in contestants:
        together.setdefault((one.name, one.weights, one.input_size), []).append(one)
    found = []
    for (name, weights, size), runs in together.items():
        same_name = [key for key in together if key[0] == name]
        more = [str(size)] if len({key[2] for key in same_name}) > 1 else []
        more += [Path(weights).name] if len({key[1] for key in same_name}) > 1 else []
        label = f"{name} ({', '.join(more)})" if more else name
        ordered = tuple(sorted(runs, key=lambda run: run.seed))
        found.append(Model(label, name, weights, size, runs[0].parameters, runs[0].trainable, ordered))
    return sorted(found, key=lambda model: (-(model.mean("accuracy") or 0.0), model.label))


def table(contestants: Sequence[Contestant]) -> tuple[list[str], list[list[str]]]:
    """Header and rows for the shell: mean and, with several seeds, standard deviation; the most accurate first."""
    header = ["model", "input", "weights", "seeds", *(name for _, name in METRICS), "seconds", "parameters", "images/s"]
    rows = []
    for model in models(contestants):
        metrics = [_said(model, key, 4 if key == "roc_auc" else 1) for key, _ in METRICS]
        rows.append(
            [
                model.name,
                str(model.input_size),
                model.weights,
                str(len(model.runs)),
                *metrics,
                _said(model, "seconds", 1),
                f"{model.parameters:,}",
                _said(model, "images_per_second", 0),
            ]
        )
    return header, rows


def _said(model: Model, key: str, digits: int) -> str:
    """``98.1 ± 0.3``; metrics but the ROC AUC in percent."""
    mean, sd = model.mean(key), model.sd(key)
    scale = 100.0 if key in dict(METRICS) and key != "roc_auc" else 1.0
    if mean is None:
        return _NONE
    return f"{scale * mean:,.{digits}f}" + (f" ± {scale * sd:,.{digits}f}" if sd is not None else "")


def behind(models: Sequence[Model], *, seed: int = 0) -> list[tuple[float, float, float] | None]:
    """By how much accuracy each model is behind the first, with a 95 % interval, paired by image.

    Both models judged the same images, so the difference is taken image by image, averaged over the seeds they share,
    and the images are resampled (2,000 times). That tells how far the test images decide it, not how far other seeds
    would.

    Returns:
        Of each model (difference, low, high); None for the first, and where the two have no seed in common or saw
        other images.
    """
    rng = np.random.default_rng(seed)
    found: list[tuple[float, float, float] | None] = []
    for model in models:
        gap = _gaps(models[0], model) if model is not models[0] else None
        if gap is None:
            found.append(None)
            continue
        drawn = [float(gap[rng.integers(0, len(gap), len(gap))].mean()) for _ in range(report.RESAMPLES)]
        low, high = np.quantile(drawn, [(1 - CERTAINTY) / 2, (1 + CERTAINTY) / 2])
        found.append((float(gap.mean()), float(low), float(high)))
    return found


def _gaps(first: Model, other: Model) -> Float64 | None:
    """(n,) right minus right of every image, averaged over the seeds that both have."""
    mine = {run.seed: run for run in first.runs}
    pairs = [(mine[run.seed], run) for run in other.runs if run.seed in mine]
    if not pairs or any(not np.array_equal(a.y, b.y) or len(a.y) != len(pairs[0][0].y) for a, b in pairs):
        return None
    gaps = [_right(a).astype(np.float64) - _right(b) for a, b in pairs]
    mean: Float64 = np.mean(gaps, axis=0)
    return mean


def _right(run: Contestant) -> npt.NDArray[np.bool_]:
    right: npt.NDArray[np.bool_] = run.probabilities.argmax(axis=1) == run.y
    return right


def check(folder: Path) -> None:
    """Refuse a folder that :func:`write` would refuse; to be asked before hours of training.

    Raises:
        LabelerError: as :func:`write`.
    """
    report.check(folder, KIND)


def write(
    folder: Path, contestants: Sequence[Contestant], failures: Sequence[tuple[str, str]], classes: Sequence[str]
) -> Path:
    """Write the comparison into ``folder``, which is made if it is missing; returns the page.

    Args:
        folder: for ``index.html``, its figures, ``metrics.json`` and ``comparison.csv``.
        contestants: every training that came to its end; at least one, or a failure.
        failures: (name, reason) of the others.
        classes: the C names, in order.

    Raises:
        LabelerError: the folder holds something else than an earlier comparison, or cannot be written.
    """
    check(folder)
    found = models(contestants)
    distances = behind(found)
    figures = _figures(found, classes) if found else {}
    confusions = {f"confusion-{i}": plots.confusion(_summed(m), classes) for i, m in enumerate(found, start=1)}
    histories = _histories(found)
    drawings = figures | confusions | {f"history-{i}": d for i, d in enumerate(histories.values(), start=1)}
    numbers = {
        "kind": KIND,
        "classes": list(classes),
        "models": [_numbers(model, distance) for model, distance in zip(found, distances, strict=True)],
        "failures": [list(failure) for failure in failures],
        "files": sorted(f"{name}.png" for name in drawings),
    }
    header, rows = table(contestants)
    page = report.render(
        "comparison.html",
        kind=KIND,
        classes=classes,
        models=found,
        header=header,
        rows=rows,
        best=_best(found),
        distances=distances,
        failures=failures,
        figures=figures,
        confusions=list(confusions.values()),
        histories=histories,
    )
    file = report.publish(folder, page, numbers, {f"{name}.png": drawing.png for name, drawing in drawings.items()})
    write_csv(folder / TABLE, [_cells(model) for model in found], header=_columns())
    return file


def _best(found: Sequence[Model]) -> dict[str, float]:
    """The highest mean of every metric, to be marked in the table."""
    return {key: max((mean for m in found if (mean := m.mean(key)) is not None), default=0.0) for key, _ in METRICS}


def _figures(found: Sequence[Model], classes: Sequence[str]) -> dict[str, drawing.Drawing]:
    columns = range(1) if len(classes) == 2 else range(len(classes))
    names = [model.label for model in found]
    scores = {
        model.label: [(run.y, np.asarray(run.probabilities, np.float64)) for run in model.runs] for model in found
    }
    roc = [curve for name, runs in scores.items() if (curve := plots.roc_curve(name, runs, columns))]
    recall = [curve for name, runs in scores.items() if (curve := plots.recall_curve(name, runs, columns))]
    percent = {key: [[100 * value for value in model.values(key)] for model in found] for key in ("accuracy", "f1")}
    drawn = {
        "accuracy": plots.bars(names, percent["accuracy"], "test accuracy", unit="%", from_zero=False),
        "accuracy-bars": plots.bars(names, percent["accuracy"], "test accuracy", unit="%"),
        "f1-bars": plots.bars(names, percent["f1"], "F1", unit="%"),
        "seconds": plots.bars(names, [model.values("seconds") for model in found], "training", unit="s"),
        "speed": plots.bars(names, [m.values("images_per_second") for m in found], "prediction", unit="images/s"),
        "parameters": plots.bars(names, [[m.parameters / 1e6] for m in found], "parameters", unit="million"),
    }
    if roc:
        drawn["roc"] = plots.roc(roc)
    if recall:
        drawn["precision-recall"] = plots.precision_recall(recall)
    return drawn


def _histories(found: Sequence[Model]) -> dict[str, drawing.Drawing]:
    """By label, of every model whose first seed was trained in epochs."""
    histories = {model.label: model.runs[0].history for model in found}
    values = {label: history.as_json() for label, history in histories.items() if history is not None}
    return {label: plots.history(value) for label, value in values.items() if value["loss"]}


def _summed(model: Model) -> list[list[int]]:
    """The confusion matrices of all seeds together."""
    counts: list[list[int]] = np.sum([run.metrics["confusion"] for run in model.runs], axis=0).tolist()
    return counts


def _numbers(model: Model, distance: tuple[float, float, float] | None) -> dict[str, Any]:
    keys = (*(key for key, _ in METRICS), "seconds", "images_per_second")
    same = ("label", "name", "weights", "input_size", "parameters", "trainable", "runtime")
    return {
        **{name: getattr(model, name) for name in same},
        "seeds": [run.seed for run in model.runs],
        **{key: {"mean": model.mean(key), "sd": model.sd(key), "values": model.values(key)} for key in keys},
        "behind_first": list(distance) if distance else None,
        "confusion": _summed(model),
    }


def _columns() -> list[str]:
    keys = (*(key for key, _ in METRICS), "seconds", "images_per_second")
    spread = [f"{key}_{kind}" for key in keys for kind in ("mean", "sd")]
    return ["name", "input_size", "weights", "seeds", *spread, "parameters", "trainable", "runtime"]


def _cells(model: Model) -> list[str]:
    """One line of the CSV: plain numbers, empty where there is none."""
    keys = (*(key for key, _ in METRICS), "seconds", "images_per_second")
    spread = [value for key in keys for value in (model.mean(key), model.sd(key))]
    said = ["" if value is None else f"{value:.6g}" for value in spread]
    start = [model.name, str(model.input_size), model.weights, str(len(model.runs))]
    return [*start, *said, str(model.parameters), str(model.trainable), model.runtime]
