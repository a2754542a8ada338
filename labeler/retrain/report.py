"""The report of one model: what it gets right, how sure that is, where it errs, and what it was made of.

One HTML page that needs nothing beside it (style and pictures inside, no script, no other host), the figures as PNG
for a paper, and the numbers as JSON for a program.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import itertools
import json
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from labeler import faults
from labeler.domain import LabelerError
from labeler.durable import sync_folder
from labeler.pool.disk import make_folder
from labeler.pool.names import TEMP_PREFIX, is_passed_over, shown
from labeler.retrain import drawing, plots
from labeler.retrain import groups as kinds
from labeler.retrain.evaluate import CERTAINTY, ECE_BINS

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]
Interval = tuple[float, float]

KIND = "evaluation"
RESAMPLES = 2_000
MISTAKES = 24
PAGE, NUMBERS = "index.html", "metrics.json"
_RESAMPLED_AT_ONCE = 2_000_000  # images times resamples: some 50 MB
_PENDING = f"{TEMP_PREFIX}report-"
_MARK = '<meta name="generator" content="labeler {kind}">'
_MARK_WITHIN = 1_000  # characters of the page


@dataclass(frozen=True, slots=True, eq=False)
class EvaluationReport:
    """What a report is made from: plain values, nothing that has to be looked up.

    Attributes:
        title: heading of the page.
        model, kind: the model version's name, and what kind it is, e.g. ``head on efficientnet_lite0``.
        created: when, as shown.
        settings: name -> value of those that were used.
        seed, parent: of the model; parent is the version it came from.
        split: which images these are, e.g. ``test``.
        classes: the C names, in order.
        paths: (n,) of the images, relative, POSIX.
        y: (n,) true class numbers, n >= 1.
        probabilities: (n, C) rows adding up to 1.
        metrics: of ``evaluate.metrics`` on the same.
        labelled: how many labels the model learned from.
        machine: one line: processor, cores, versions.
        distribution: split -> class -> images.
        thumbnails: gives the JPEG of image i; None shows no pictures.
        history: ``History.as_json`` of the training, if there was one.
        groups: (n,) the group of each image (``groups.from_csv``, ``groups.from_names``).
        groups_from: where the groups were read, e.g. ``beards.csv``.
        learning_curve: (labels, accuracy, low, high) of successive models.
    """

    title: str
    model: str
    kind: str
    created: str
    settings: Mapping[str, Any]
    seed: int | None
    parent: str | None
    split: str
    classes: Sequence[str]
    paths: Sequence[str]
    y: Labels
    probabilities: Float64
    metrics: Mapping[str, Any]
    labelled: int
    machine: str
    distribution: Mapping[str, Mapping[str, int]]
    thumbnails: Callable[[int], bytes] | None = None
    history: Mapping[str, Any] | None = None
    groups: Sequence[str | None] | None = None
    groups_from: str = "file names"
    learning_curve: Sequence[tuple[int, float, float, float]] | None = None


def write(folder: Path, content: EvaluationReport) -> Path:
    """Write the report into ``folder``, which is made if it is missing; returns the page.

    The page is complete before it takes the place of an older one, and it comes first: whenever the process dies, the
    page there is a whole one.

    Raises:
        LabelerError: the folder holds something else than an earlier evaluation report, or cannot be written.
        ValueError: lengths do not fit.
    """
    if not len(content.paths) == len(content.y) == len(content.probabilities):
        raise ValueError(f"{len(content.paths)} paths, {len(content.y)} labels, {len(content.probabilities)} rows")
    check(folder, KIND)
    predicted = content.probabilities.argmax(axis=1)
    intervals = bootstrap(content.y, content.probabilities, content.metrics)
    groups = kinds.summary(content.groups, content.y, predicted) if content.groups is not None else ()
    figures = _figures(content)
    numbers = {
        "kind": KIND,
        **{
            name: getattr(content, name) for name in ("title", "model", "created", "seed", "parent", "split", "machine")
        },
        "model_kind": content.kind,
        "labelled": content.labelled,
        "classes": list(content.classes),
        "metrics": dict(content.metrics),
        "bootstrap": {name: list(found) if found else None for name, found in intervals.items()},
        "per_class": (of_classes := per_class(content.metrics["confusion"], content.classes)),
        "averages": averages(of_classes),
        "groups": [{name: getattr(group, name) for name in kinds.Group.__slots__} for group in groups],
        "mistakes": [_mistake(content, row) for row in worst(content)],
        "distribution": {split: dict(counts) for split, counts in content.distribution.items()},
        "history": content.history,
        "learning_curve": content.learning_curve,
        "settings": dict(content.settings),
        "files": sorted(f"{name}.png" for name in figures),
    }
    page = render(
        "report.html",
        kind=KIND,
        content=content,
        numbers=numbers,
        groups=groups,
        figures=figures,
        rows=measure_rows(content.metrics, intervals, content.classes),
        guess=_best_guess(content.metrics["confusion"], content.classes),
        mistakes=[numbers["mistakes"][i] | {"uri": _thumbnail(content, row)} for i, row in enumerate(worst(content))],
        resamples=RESAMPLES,
    )
    return publish(folder, page, numbers, {f"{name}.png": drawing.png for name, drawing in figures.items()})


# ----------------------------------------------------------------------------------------------------------- numbers


def bootstrap(
    y: Labels, probabilities: Float64, metrics: Mapping[str, Any], *, seed: int = 0
) -> dict[str, Interval | None]:
    """95 % percentile intervals (Efron, 1979) of every metric, from the same 2,000 resamples of the images.

    Returns:
        By metric (low, high), widened to hold the value itself (resampling adds noise to every bin of the calibration
        error, so its resamples lie high); None where a value is undefined in the data or in more than half of the
        resamples, and where all of them agree: then there were too few mistakes to resample.
    """
    found: dict[str, Interval | None] = {}
    for name, drawn in resampled(y, probabilities, np.random.default_rng(seed)).items():
        known, value = drawn[np.isfinite(drawn)], metrics[name]
        found[name] = None
        if value is not None and len(known) > len(drawn) / 2 and known.min() < known.max():
            low, high = np.quantile(known, [(1 - CERTAINTY) / 2, (1 + CERTAINTY) / 2])
            found[name] = (min(float(low), value), max(float(high), value))
    return found


def resampled(
    y: Labels, probabilities: Float64, rng: np.random.Generator, resamples: int = RESAMPLES
) -> dict[str, Float64]:
    """(resamples,) values of every metric of ``evaluate.metrics`` on images drawn with replacement.

    All metrics of one resample see the same images. A resample is held as how often each image was drawn, so that all
    are worked out together as products of matrices. NaN where ``evaluate.metrics`` says None.
    """
    n, size = probabilities.shape
    predicted, confidence = probabilities.argmax(axis=1), probabilities.max(axis=1)
    cells = np.eye(size * size, dtype=np.float32)[y.astype(np.int64) * size + predicted]
    bins = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    gaps = np.eye(ECE_BINS)[bins] * ((predicted == y) - confidence)[:, None]
    columns = range(1) if size == 2 else range(size)
    parts: dict[str, list[Float64]] = {}
    for start in range(0, resamples, step := max(1, _RESAMPLED_AT_ONCE // n)):
        m = min(step, resamples - start)
        drawn = rng.integers(0, n, (m, n)) + n * np.arange(m)[:, None]
        times = np.bincount(drawn.ravel(), minlength=m * n).reshape(m, n)
        values = _of_tables((times.astype(np.float32) @ cells).astype(np.float64).reshape(m, size, size))
        values["ece"] = np.abs(times @ gaps).sum(axis=1) / n
        values["roc_auc"] = _mean_of_known([_areas(y == c, probabilities[:, c], times) for c in columns])
        for name, value in values.items():
            parts.setdefault(name, []).append(value)
    return {name: np.concatenate(values) for name, values in parts.items()}


def _of_tables(tables: Float64) -> dict[str, Float64]:
    """What a confusion matrix tells, of each of (m, C, C), as ``evaluate.metrics`` reports it."""
    hits, truths, guesses = tables.diagonal(axis1=1, axis2=2), tables.sum(axis=2), tables.sum(axis=1)
    recalls, precisions = hits / np.maximum(truths, 1), hits / np.maximum(guesses, 1)
    f1s = 2 * hits / np.maximum(truths + guesses, 1)
    occurring = truths + guesses > 0
    if tables.shape[1] == 2:
        occurring = np.array([[True, False]])
    reported = {"precision": precisions, "recall": recalls, "f1": f1s}
    return {
        "accuracy": hits.sum(axis=1) / tables.sum(axis=(1, 2)),
        "balanced_accuracy": recalls.sum(axis=1) / (truths > 0).sum(axis=1),
        **{name: (value * occurring).sum(axis=1) / occurring.sum(axis=1) for name, value in reported.items()},
    }


def _areas(positive: npt.NDArray[np.bool_], scores: Float64, times: npt.NDArray[np.int64]) -> Float64:
    """(m,) areas under the ROC curve with image i counted ``times[:, i]`` times; NaN where one side is empty."""
    order = np.argsort(scores, kind="stable")
    starts = np.r_[0, np.flatnonzero(np.diff(scores[order])) + 1]  # of images with equal scores
    drawn = times[:, order]
    ours = np.add.reduceat(drawn * positive[order], starts, axis=1).astype(np.float64)
    others = np.add.reduceat(drawn * ~positive[order], starts, axis=1).astype(np.float64)
    wins = (ours * (others.cumsum(axis=1) - 0.5 * others)).sum(axis=1)
    pairs = ours.sum(axis=1) * others.sum(axis=1)
    return _quotient(wins, pairs)


def _mean_of_known(values: Sequence[Float64]) -> Float64:
    table = np.array(values)
    known = np.isfinite(table)
    total, count = np.where(known, table, 0.0).sum(axis=0), known.sum(axis=0)
    return _quotient(total, count.astype(np.float64))


def _quotient(above: Float64, below: Float64) -> Float64:
    """NaN where it is 0/0."""
    out = np.full(len(below), np.nan)
    np.divide(above, below, out=out, where=below > 0)
    return out


def per_class(table: Sequence[Sequence[int]], classes: Sequence[str]) -> list[dict[str, Any]]:
    """``name, precision, recall, f1, support, predicted`` of every class; None where a quotient is 0/0."""
    counts = np.asarray(table)
    rows = []
    for c, name in enumerate(classes):
        hits, truths, guesses = int(counts[c, c]), int(counts[c].sum()), int(counts[:, c].sum())
        rows.append(
            {
                "name": name,
                "precision": hits / guesses if guesses else None,
                "recall": hits / truths if truths else None,
                "f1": 2 * hits / (truths + guesses) if truths + guesses else None,
                "support": truths,
                "predicted": guesses,
            }
        )
    return rows


def averages(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The last lines of a classification report: means of :func:`per_class`, what is undefined counting as zero.

    Plain over the classes that occur in truth or predictions, as ``evaluate.metrics`` has it, and weighted by support.
    """
    occurring = [row for row in rows if row["support"] + row["predicted"]]
    total = sum(row["support"] for row in rows)
    names = ("precision", "recall", "f1")
    plain = {key: sum(row[key] or 0.0 for row in occurring) / len(occurring) for key in names}
    weighted = {key: sum((row[key] or 0.0) * row["support"] for row in rows) / total for key in names}
    return [
        {"name": "mean of the classes", **plain, "support": total},
        {"name": "weighted by support", **weighted, "support": total},
    ]


def measure_rows(
    metrics: Mapping[str, Any], intervals: Mapping[str, Interval | None], classes: Sequence[str]
) -> list[dict[str, Any]]:
    """The table of metrics: ``name, key, value, low, high, says`` and, where a number is missing, ``why``."""
    of = f"“{classes[0]}”" if len(classes) == 2 else "a class, averaged over the classes"
    says = {
        "accuracy": ("Accuracy", "share of all images named correctly"),
        "balanced_accuracy": ("Balanced accuracy", "the same, every class counting equally"),
        "precision": ("Precision", f"share right among the images named {of}"),
        "recall": ("Recall", f"share found among the images that are {of}"),
        "f1": ("F1", "harmonic mean of precision and recall"),
        "roc_auc": ("ROC AUC", "chance that an image of the class scores above one that is not"),
        "ece": ("Calibration error", "mean gap between how sure it was and how often it was right (ECE)"),
    }
    undefined = _undefined(metrics["confusion"], classes)
    rows = []
    for key, (name, meaning) in says.items():
        value = None if key in undefined else metrics[key]
        bounds = intervals[key] if value is not None else None
        why = undefined.get(key, "") if value is None else ""
        if value is not None and bounds is None:
            why = "no interval: every resample gave the same value; these images are too few or too alike to tell"
        low, high = bounds or (None, None)
        rows.append({"key": key, "name": name, "says": meaning, "value": value, "low": low, "high": high, "why": why})
    return rows


def _undefined(table: Sequence[Sequence[int]], classes: Sequence[str]) -> dict[str, str]:
    """Which metrics these images cannot tell, and why."""
    counts = np.asarray(table)
    truths, guesses = counts.sum(axis=1), counts.sum(axis=0)
    why: dict[str, str] = {}
    if (truths > 0).sum() < 2:
        only = classes[int(truths.argmax())]
        why["roc_auc"] = why["balanced_accuracy"] = f"undefined: every image here is “{only}”"
    if len(classes) == 2 and not guesses[0]:
        why["precision"] = f"undefined: no image was named “{classes[0]}”"
    if len(classes) == 2 and not truths[0]:
        why["recall"] = why["f1"] = f"undefined: no image here is “{classes[0]}”"
    return why


def _best_guess(table: Sequence[Sequence[int]], classes: Sequence[str]) -> dict[str, Any]:
    """What answering the most frequent class every time would get right."""
    truths = np.asarray(table).sum(axis=1)
    return {"name": classes[int(truths.argmax())], "share": float(truths.max() / truths.sum())}


def worst(content: EvaluationReport) -> list[int]:
    """The images named wrongly with the most confidence, at most 24; ties by the SHA-256 of the path."""
    predicted, confidence = content.probabilities.argmax(axis=1), content.probabilities.max(axis=1)
    wrong = np.flatnonzero(predicted != content.y).tolist()

    def digest(row: int) -> str:
        return hashlib.sha256(content.paths[row].encode("utf-8", "surrogateescape")).hexdigest()

    return sorted(wrong, key=lambda row: (-float(confidence[row]), digest(row)))[:MISTAKES]


def _mistake(content: EvaluationReport, row: int) -> dict[str, Any]:
    predicted = int(content.probabilities[row].argmax())
    return {
        "path": shown(content.paths[row]),
        "truth": content.classes[int(content.y[row])],
        "predicted": content.classes[predicted],
        "probability": float(content.probabilities[row, predicted]),
    }


# ---------------------------------------------------------------------------------------------------------- pictures


def _figures(content: EvaluationReport) -> dict[str, drawing.Drawing]:
    """Every figure there is material for, by the name of its file."""
    y, classes, metrics = content.y, content.classes, content.metrics
    run = [(y, content.probabilities)]
    shown_classes = range(1) if len(classes) == 2 else range(len(classes))
    roc = [curve for c in shown_classes if (curve := plots.roc_curve(classes[c], run, [c]))]
    # Without an image of another class every threshold is precise: a line that says nothing.
    both_sides = [c for c in shown_classes if 0 < int((y == c).sum()) < len(y)]
    recall = [curve for c in both_sides if (curve := plots.recall_curve(classes[c], run, [c]))]
    prevalence = float((y == 0).mean()) if len(classes) == 2 else None
    drawn: dict[str, drawing.Drawing | None] = {
        "confusion": plots.confusion(metrics["confusion"], classes),
        "roc": plots.roc(roc) if roc else None,
        "precision-recall": plots.precision_recall(recall, prevalence) if recall else None,
        "reliability": plots.reliability(metrics["reliability"], len(classes)),
        "distribution": plots.distribution(content.distribution, classes) if content.distribution else None,
        "history": plots.history(content.history) if content.history and content.history["loss"] else None,
        "learning-curve": plots.learning_curve(content.learning_curve) if content.learning_curve else None,
    }
    return {name: drawing for name, drawing in drawn.items() if drawing is not None}


def _thumbnail(content: EvaluationReport, row: int) -> str | None:
    """A data URI; None for a picture that is gone or broken: the report is about the others too."""
    if content.thumbnails is None:
        return None
    try:
        return data_uri(content.thumbnails(row), "image/jpeg")
    except (LabelerError, OSError):
        return None


def data_uri(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"


# --------------------------------------------------------------------------------------------------------- the folder


def render(template: str, **values: Any) -> str:
    """A page from ``templates/``; every value is escaped, a missing one is an error."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("labeler.retrain"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["data_uri"] = data_uri
    counters = {"Table": itertools.count(1), "Figure": itertools.count(1)}
    # In the text rather than by CSS, so that a number is still there when a table is copied into a paper.
    return environment.get_template(template).render(
        mark=_MARK, numbered=lambda kind: f"{kind} {next(counters[kind])}.", **values
    )


def check(folder: Path, kind: str) -> None:
    """Refuse a folder that must not be written to; cheap, to be asked before long work.

    Raises:
        LabelerError: it is a file, cannot be read, or holds something and no earlier report of this kind.
    """
    try:
        names = [name for name in os.listdir(folder) if not is_passed_over(name)]
        if names and _MARK.format(kind=kind) not in _beginning(folder / PAGE):
            raise LabelerError(
                f"{shown(folder)} is not empty and holds no earlier {kind} report", "give a new or an empty folder"
            )
    except FileNotFoundError:
        return
    except OSError as error:
        raise LabelerError(f"{shown(folder)} cannot be used: {error.strerror}", "give a folder") from None


def _beginning(page: Path) -> str:
    if not page.is_file():
        return ""
    with page.open(encoding="utf-8", errors="replace") as stream:
        return stream.read(_MARK_WITHIN)


def publish(folder: Path, page: str, numbers: Mapping[str, Any], files: Mapping[str, bytes]) -> Path:
    """Put page, numbers and figures into a folder that :func:`check` passed; figures of an earlier report go.

    The page comes first, because it makes the folder one of ours: a run cut short is simply run again. The numbers come
    last, because they say which figures are ours.

    Raises:
        LabelerError: it cannot be written.
    """
    try:
        make_folder(folder)
        old = _figures_of_earlier(folder)
        _put(folder, PAGE, page.encode("utf-8", "replace"))
        faults.point("report.page")
        for name, content in files.items():
            _put(folder, name, content)
        for name in old - files.keys():
            (folder / name).unlink(missing_ok=True)
        _put(folder, NUMBERS, json.dumps(numbers, indent=1, allow_nan=False, default=_plain).encode("ascii"))
        for leftover in folder.glob(f"{_PENDING}*"):
            leftover.unlink(missing_ok=True)
        sync_folder(folder)
    except OSError as error:
        raise LabelerError(f"{shown(folder)} cannot be written: {error.strerror}", "give another folder") from None
    return folder / PAGE


def _put(folder: Path, name: str, content: bytes) -> None:
    """The file is there whole or not at all."""
    pending = folder / f"{_PENDING}{secrets.token_hex(8)}"
    try:
        with pending.open("xb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        faults.point("report.written")
        pending.replace(folder / name)
        sync_folder(folder)
    finally:
        with contextlib.suppress(OSError):
            pending.unlink()


def _figures_of_earlier(folder: Path) -> set[str]:
    """The figures that an earlier report says are its own; only plain names of PNGs are believed."""
    try:
        names = json.loads((folder / NUMBERS).read_text(encoding="ascii"))["files"]
        return {str(name) for name in names if str(name).endswith(".png") and Path(str(name)).name == name}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def _plain(value: Any) -> Any:
    """Numbers of NumPy as numbers, everything else (paths) as text."""
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else str(value)
