"""How good a model is: the metrics of the contract, and an honest estimate where no test images exist.

In numpy alone: importing scikit-learn for nine numbers would double the time of a round. The tests hold every number
together with ``sklearn.metrics``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from labeler.domain import InvalidScores

Float64 = npt.NDArray[np.float64]
Labels = npt.NDArray[np.integer]

ECE_BINS = 15
CERTAINTY = 0.95  # of every interval
_Z = 1.959963984540054  # the normal distribution's quantile for it
_DRAWS = 2000


def metrics(y: Labels, probabilities: Float64, *, classes: Sequence[str], split: str) -> dict[str, Any]:
    """The metrics of the contract.

    Two classes: precision, recall, F1 and ROC AUC are those of the first class, the positive one. More: their
    unweighted means over the classes (precision, recall and F1 over those that occur in truth or predictions, ROC AUC
    one class against the rest over those that have both sides). A quotient 0/0 counts as 0.

    Args:
        y: (n,) true class numbers, n >= 1.
        probabilities: (n, C) rows adding up to 1; the prediction is the greatest, the first of equals.
        classes: the C names, in order.
        split: what the images are, e.g. ``test``; handed through.

    Returns:
        ``split, n, accuracy, balanced_accuracy, precision, recall, f1, roc_auc, ece, confusion``: plain numbers and
        lists, ready for JSON. ``roc_auc`` is None where the truth holds one class only. ``ece`` is the expected
        calibration error over 15 equal-width bins of the predicted class's probability (Naeini et al., AAAI 2015).
        ``confusion[t][p]`` counts images of class t predicted as p. ``intervals`` and ``reliability`` are those of
        :func:`intervals` and :func:`reliability`.

    Raises:
        InvalidScores: shapes do not fit, nothing to evaluate, or a value is NaN or infinite.
    """
    _check(y, probabilities, len(classes))
    predicted = probabilities.argmax(axis=1)
    table = confusion(y, predicted, len(classes))
    hits, truths, guesses = table.diagonal(), table.sum(axis=1), table.sum(axis=0)
    recalls, precisions = _ratio(hits, truths), _ratio(hits, guesses)
    f1s = _ratio(2 * hits, truths + guesses)
    reported = slice(0, 1) if len(classes) == 2 else (truths + guesses) > 0
    return {
        "split": split,
        "n": len(y),
        "accuracy": float(hits.sum() / len(y)),
        "balanced_accuracy": float(recalls[truths > 0].mean()),
        "precision": float(precisions[reported].mean()),
        "recall": float(recalls[reported].mean()),
        "f1": float(f1s[reported].mean()),
        "roc_auc": mean_roc_auc(y, probabilities),
        "ece": calibration_error(predicted == y, probabilities.max(axis=1)),
        "confusion": table.tolist(),
        "intervals": intervals(table.tolist()),
        "reliability": reliability(predicted == y, probabilities.max(axis=1)),
    }


def estimate(accuracy: float | None, n: int) -> dict[str, Any]:
    """The keys of :func:`metrics` where no image was kept apart for testing: all but an expected accuracy stay None.

    Args:
        accuracy: to be expected on images like these, see :func:`labeler.rank.quality.accuracy`; None when there is
            nothing to go by.
        n: images it rests on.

    Returns:
        The keys of :func:`metrics` with ``split`` "estimate" and ``estimated`` True.
    """
    unknown = (
        "balanced_accuracy",
        "precision",
        "recall",
        "f1",
        "roc_auc",
        "ece",
        "confusion",
        "intervals",
        "reliability",
    )
    return {"split": "estimate", "estimated": True, "n": n, "accuracy": accuracy, **dict.fromkeys(unknown)}


def confusion(y: Labels, predicted: Labels, n_classes: int) -> npt.NDArray[np.int64]:
    """int64 (n_classes, n_classes): rows are the truth, columns the predictions."""
    counts = np.bincount(y.astype(np.int64) * n_classes + predicted, minlength=n_classes * n_classes)
    return counts.reshape(n_classes, n_classes)


def roc_auc(positive: npt.NDArray[np.bool_], scores: npt.NDArray[np.floating]) -> float | None:
    """The chance that a positive image has the higher score, ties counting half; None where one side is empty."""
    n_positive = int(positive.sum())
    n_negative = len(positive) - n_positive
    if n_positive == 0 or n_negative == 0:
        return None
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = last - 0.5 * (counts - 1)
    rank_sum = float(mean_rank[inverse][positive].sum())
    return (rank_sum - 0.5 * n_positive * (n_positive + 1)) / (n_positive * n_negative)


def intervals(table: Sequence[Sequence[int]]) -> dict[str, list[float]]:
    """Between which bounds accuracy and F1 lie with 95 % certainty, given that so many test images were drawn by lot.

    Accuracy: the score interval (Wilson, JASA 1927). F1: quantiles of its posterior (Goutte and Gaussier, "A
    probabilistic interpretation of precision, recall and F-score", ECIR 2005), here for any number of classes: 2,000
    draws of the table's cells from a Dirichlet distribution with two images' worth of prior. A plain bootstrap would
    call a model without a mistake on ten images perfect.

    Args:
        table: ``confusion`` of :func:`metrics`, at least one image in it.

    Returns:
        ``accuracy`` and ``f1``, each [low, high] and never without the value itself.
    """
    counts = np.asarray(table, dtype=np.int64)
    n, size = int(counts.sum()), len(counts)
    low, high = wilson(int(counts.diagonal().sum()), n)
    rng = np.random.default_rng(0)
    drawn = rng.dirichlet(counts.ravel() + 2.0 / size**2, size=_DRAWS).reshape(_DRAWS, size, size)
    f1 = float(_f1(counts[None].astype(np.float64))[0])
    f1_low, f1_high = np.quantile(_f1(drawn), [(1 - CERTAINTY) / 2, (1 + CERTAINTY) / 2])
    return {"accuracy": [low, high], "f1": [min(f1, float(f1_low)), max(f1, float(f1_high))]}


def _f1(tables: Float64) -> Float64:
    """The F1 that :func:`metrics` reports, of each of (m, C, C) tables."""
    both = tables.sum(axis=2) + tables.sum(axis=1)
    f1s = 2 * tables.diagonal(axis1=1, axis2=2) / np.where(both > 0, both, 1.0)
    if tables.shape[1] == 2:
        return f1s[:, 0]
    occurring = both > 0
    mean: Float64 = np.where(occurring, f1s, 0.0).sum(axis=1) / occurring.sum(axis=1)
    return mean


def wilson(hits: int, n: int) -> tuple[float, float]:
    """The 95 % score interval of a share ``hits / n``, n >= 1."""
    share, z2 = hits / n, _Z * _Z
    middle = (share + z2 / (2 * n)) / (1 + z2 / n)
    reach = _Z * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return (0.0 if hits == 0 else middle - reach), (1.0 if hits == n else middle + reach)


def reliability(correct: npt.NDArray[np.bool_], confidence: npt.NDArray[np.floating]) -> list[dict[str, float]]:
    """The bins behind :func:`calibration_error`: how sure the model was, and how often it was right.

    Returns:
        Of each bin with images in it, by rising confidence: ``n``, ``hits``, ``confidence`` (mean) and ``accuracy``.
    """
    bins = _bins(confidence)
    n = np.bincount(bins, minlength=ECE_BINS)
    hits = np.bincount(bins, weights=correct.astype(np.float64), minlength=ECE_BINS)
    sure = np.bincount(bins, weights=confidence.astype(np.float64), minlength=ECE_BINS)
    return [
        {
            "n": int(n[b]),
            "hits": int(hits[b]),
            "confidence": float(sure[b] / n[b]),
            "accuracy": float(hits[b] / n[b]),
        }
        for b in np.flatnonzero(n)
    ]


def calibration_error(correct: npt.NDArray[np.bool_], confidence: npt.NDArray[np.floating]) -> float:
    """Mean gap between confidence and accuracy over 15 bins (i/15, (i+1)/15], weighted by the images in them."""
    bins = _bins(confidence)
    gap = np.bincount(bins, weights=correct.astype(np.float64) - confidence, minlength=ECE_BINS)
    return float(np.abs(gap).sum() / len(confidence))


def _bins(confidence: npt.NDArray[np.floating]) -> npt.NDArray[np.int64]:
    numbers: npt.NDArray[np.int64] = np.clip(np.ceil(confidence * ECE_BINS).astype(np.int64) - 1, 0, ECE_BINS - 1)
    return numbers


def mean_roc_auc(y: Labels, probabilities: Float64) -> float | None:
    """:func:`roc_auc` of the first of two classes; of more its mean over each against the rest."""
    columns = range(1) if probabilities.shape[1] == 2 else range(probabilities.shape[1])
    areas = [roc_auc(y == column, probabilities[:, column]) for column in columns]
    known = [area for area in areas if area is not None]
    return float(np.mean(known)) if known else None


def _ratio(numerator: npt.NDArray[np.int64], denominator: npt.NDArray[np.int64]) -> Float64:
    return numerator / np.maximum(denominator, 1)


def _check(y: Labels, probabilities: Float64, n_classes: int) -> None:
    if probabilities.ndim != 2 or y.shape != (len(probabilities),) or probabilities.shape[1] != n_classes:
        raise InvalidScores(
            f"probabilities of shape {probabilities.shape} for {len(y)} images and {n_classes} classes", "train again"
        )
    if len(y) == 0:
        raise InvalidScores("there is no labelled image to evaluate on", "put labelled images into pools/Test")
    if not np.isfinite(probabilities).all():
        raise InvalidScores("the model's probabilities hold NaN or infinity", "train again")
    if int(y.min()) < 0 or int(y.max()) >= n_classes:
        raise InvalidScores(f"a true label lies outside the {n_classes} classes", "check the classes setting")
