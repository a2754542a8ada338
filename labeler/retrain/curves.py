"""What learning curves of several strategies and seeds say together: bands, labels to a target, area, peers paired."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

BEHIND = 0.005  # of full supervision: the target that labels are counted to
BAND = (0.1, 0.9)
_DRAWS = 1_000


@dataclass(frozen=True, slots=True, eq=False)
class Runs:
    """The curves of one strategy on the label counts that all its seeds share.

    Attributes:
        strategy: its name.
        labels: (m,) label counts, rising.
        accuracy: (seeds, m). balanced_accuracy: (seeds, m).
        full: (seeds,) accuracy with every label.
    """

    strategy: str
    labels: npt.NDArray[np.int64]
    accuracy: Float64
    balanced_accuracy: Float64
    full: Float64


def together(strategy: str, curves: Sequence[Mapping[str, Any]], full: Mapping[int, float]) -> Runs:
    """Curves of one strategy as arrays.

    Args:
        curves: one per seed, with ``seed``, ``labels``, ``accuracy`` and ``balanced_accuracy``; where a round of one
            seed has other label counts, only the common ones are kept.
        full: accuracy with every label, by seed.
    """
    common = sorted(set.intersection(*(set(curve["labels"]) for curve in curves)))

    def rows(name: str) -> Float64:
        at = [dict(zip(curve["labels"], curve[name], strict=True)) for curve in curves]
        return np.array([[values[n] for n in common] for values in at], dtype=np.float64)

    ends = np.array([full[int(curve["seed"])] for curve in curves], dtype=np.float64)
    labels = np.array(common, dtype=np.int64)
    return Runs(strategy, labels, rows("accuracy"), rows("balanced_accuracy"), ends)


def summary(runs: Runs, *, behind: float = BEHIND, seed: int = 0) -> dict[str, Any]:
    """The figures of one strategy.

    Returns:
        ``labels``, ``mean`` and ``band`` ([low, high] at each, the 10 % and 90 % quantiles over seeds); ``area``,
        the mean accuracy over the curve (trapezoids, labels on a linear scale); ``target``, full supervision minus
        ``behind``, mean over seeds; ``labels_to_target``, where the mean over seeds first reaches it, with
        ``labels_to_target_interval`` [low, high], 80 % by drawing seeds with replacement; None where it is not reached.
    """
    gap = runs.accuracy - (runs.full - behind)[:, None]
    rng = np.random.default_rng(seed)
    drawn = rng.integers(0, len(gap), (_DRAWS, len(gap)))
    reached = np.array([_reached(gap[rows], runs.labels) for rows in drawn])
    low, high = (_known(float(np.quantile(reached, q, method="inverted_cdf"))) for q in BAND)
    return {
        "strategy": runs.strategy,
        "seeds": len(gap),
        "labels": runs.labels.tolist(),
        "mean": runs.accuracy.mean(axis=0).tolist(),
        "band": np.quantile(runs.accuracy, BAND, axis=0).T.tolist(),
        "balanced_mean": runs.balanced_accuracy.mean(axis=0).tolist(),
        "area": float(areas(runs).mean()),
        "target": float((runs.full - behind).mean()),
        "labels_to_target": _known(_reached(gap, runs.labels)),
        "labels_to_target_interval": [low, high],
    }


def areas(runs: Runs) -> Float64:
    """(seeds,) mean accuracy over each curve."""
    if len(runs.labels) < 2:
        return runs.accuracy[:, 0]
    steps = np.diff(runs.labels)
    middles = 0.5 * (runs.accuracy[:, 1:] + runs.accuracy[:, :-1])
    found: Float64 = (middles * steps).sum(axis=1) / steps.sum()
    return found


def paired(ours: Runs, theirs: Runs) -> tuple[float, float]:
    """Mean difference of the areas over the same seeds, and its standard error, both in accuracy."""
    common = np.intersect1d(ours.labels, theirs.labels)
    difference = _cut(ours, common) - _cut(theirs, common)
    error = float(difference.std(ddof=1) / np.sqrt(len(difference))) if len(difference) > 1 else float("nan")
    return float(difference.mean()), error


def _cut(runs: Runs, labels: npt.NDArray[np.int64]) -> Float64:
    kept = np.isin(runs.labels, labels)
    return areas(Runs(runs.strategy, labels, runs.accuracy[:, kept], runs.balanced_accuracy[:, kept], runs.full))


def _reached(gap: Float64, labels: npt.NDArray[np.int64]) -> float:
    """Labels at which the mean over seeds first reaches the target; infinity where it does not."""
    at = np.flatnonzero(gap.mean(axis=0) >= -1e-12)
    return float(labels[at[0]]) if len(at) else float("inf")


def _known(value: float) -> int | None:
    return None if np.isinf(value) else int(value)
