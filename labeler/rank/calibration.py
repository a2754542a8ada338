"""How sure the head may be: a temperature fitted on what it would say of its labels, had it not learned them.

Temperature scaling (Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017) divides
every logit by one number, so it changes no prediction and no ranking of two classes. Fitted on the training logits it
would be useless, as the head separates its own labels; logits held out are what is left without a validation set.

Labels that a strategy chose are the difficult ones, and a temperature fitted on them as they are makes the head far
too modest about the rest. Each label therefore counts for the images of the pool that lie nearest to it. Measured on
two tasks made hard (upper halves of the faces; 12 x 12 pixels), 200 and 500 labels chosen by uncertainty: error of the
estimated accuracy 10.9 and 2.7 points with five folds and equal weights, 4.3 and 0.4 with both measures of this file.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from labeler.rank.features import blocks
from labeler.rank.logistic import probabilities

Float64 = npt.NDArray[np.float64]

LOWEST, HIGHEST = 0.125, 8.0
POOL_SAMPLE = 2_000
# What log T is expected to be before any label is seen, and how far it may be from that. Keeps a handful of labels, all
# of them right by luck, from claiming certainty: on upper halves of faces 100 labels asked for T = 0.6 where 1.3 was
# right. Heads of few labels are too sure far more often than too modest. With 300 labels it no longer matters.
PRIOR_MEAN, PRIOR_DEVIATION = 0.1, 0.35
_SMALLEST_CLASS = 2
_ROWS = 512


def foldable(y: npt.NDArray[np.integer]) -> bool:
    """Whether every class keeps a member when any one label is held out."""
    return int(np.unique(y, return_counts=True)[1].min()) >= _SMALLEST_CLASS


def stratified_folds(y: npt.NDArray[np.integer], folds: int, seed: int) -> npt.NDArray[np.int64]:
    """Deal every class evenly into folds.

    Args:
        y: (n,) class numbers that are :func:`foldable`.

    Returns:
        int64 (n,), the fold of each label; fewer folds than asked for where the smallest class has fewer members, so
        that no class is missing where a fold is left out.
    """
    _, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    used = min(folds, int(counts.min()))
    rng = np.random.default_rng(seed)
    fold = np.empty(len(y), dtype=np.int64)
    dealt = 0
    for number in range(len(counts)):
        members = rng.permutation(np.flatnonzero(inverse == number))
        # Going on where the last class ended keeps the folds equally large.
        fold[members] = (dealt + np.arange(len(members))) % used
        dealt += len(members)
    return fold


def leave_one_out(Z: Float64, targets: Float64, parameters: Float64, C: float) -> Float64:
    """What n two-class heads, each without one label, would say of the label they lack; without fitting them.

    One Newton step from the common optimum, in closed form (Pregibon, "Logistic regression diagnostics", Annals of
    Statistics 1981; for penalised problems of many dimensions Rad and Maleki, JRSS B 2020). Cheaper than folds, no
    smaller training sets, and nothing left to chance.

    Args:
        Z: (n, r) rows; targets: (n, 1); parameters: (r + 1, 1), the optimum of ``logistic.fit`` for them.

    Returns:
        (n, 1) logits.
    """
    rows = np.column_stack([Z, np.ones(len(Z))])
    logits = rows @ parameters
    p = probabilities(logits)[:, :1]
    curvature = p * (1.0 - p)
    hessian = rows.T @ (rows * curvature)
    # The intercept has no penalty; the crumb keeps the matrix regular when every label is fitted with certainty.
    hessian[np.diag_indices(len(hessian))] += np.append(np.full(Z.shape[1], 1.0 / C), 1e-8)
    leverage = np.einsum("ij,ji->i", rows, np.linalg.solve(hessian, rows.T))[:, None]
    held_out: Float64 = logits + leverage * (p - targets) / np.maximum(1.0 - curvature * leverage, 1e-6)
    return held_out


def images_represented(
    labelled: npt.NDArray[np.floating], pool: npt.NDArray[np.floating], rng: np.random.Generator
) -> Float64:
    """How many images each labelled one stands for: itself, and the pool's share that is nearest to it.

    Args:
        labelled: (n, D) vectors, of equal length as the feature recipe makes them; pool: (N, D), N >= 0.

    Returns:
        float64 (n,), adding up to n. Of a large pool 2,000 images, drawn by lot, speak for all.
    """
    drawn = np.arange(len(pool))
    if len(pool) > POOL_SAMPLE:
        drawn = np.sort(rng.choice(len(pool), size=POOL_SAMPLE, replace=False))
    counts = np.zeros(len(labelled))
    for rows in blocks(len(drawn), _ROWS):
        nearest = (pool[drawn[rows]] @ labelled.T).argmax(axis=1)
        counts += np.bincount(nearest, minlength=len(labelled))
    share: Float64 = counts * (len(pool) / max(len(drawn), 1)) + 1.0
    share *= len(labelled) / share.sum()
    return share


def fit_temperature(logits: Float64, targets: Float64, weights: Float64 | None = None) -> float:
    """The temperature of least negative log-likelihood, under a prior near 1, between 1/8 and 8.

    Unequal weights count as fewer labels (Kish's effective number), or a few that stand for much would speak loudest.

    Args:
        logits: (n, c) held out, uncalibrated; c = 1 for two classes.
        targets: (n, c) one-hot, for c = 1 one where the first class is true.
        weights: (n,) how much each label counts, adding up to n; None means equally.
    """
    truth = targets > 0.5 if logits.shape[1] > 1 else np.column_stack([targets > 0.5, targets <= 0.5])
    mass = np.ones(len(logits)) if weights is None else weights * (weights.sum() / np.square(weights).sum())

    def cost(log_temperature: float) -> float:
        chosen = probabilities(logits / math.exp(log_temperature))[truth]
        surprise = -float(mass @ np.log(np.maximum(chosen, 1e-300)))
        return surprise + 0.5 * ((log_temperature - PRIOR_MEAN) / PRIOR_DEVIATION) ** 2

    return math.exp(_golden_section(cost, math.log(LOWEST), math.log(HIGHEST)))


def _golden_section(cost: Callable[[float], float], low: float, high: float, tolerance: float = 1e-4) -> float:
    ratio = (math.sqrt(5.0) - 1.0) / 2.0
    left, right = high - ratio * (high - low), low + ratio * (high - low)
    at_left, at_right = cost(left), cost(right)
    while high - low > tolerance:
        if at_left <= at_right:
            high, right, at_right = right, left, at_left
            left = high - ratio * (high - low)
            at_left = cost(left)
        else:
            low, left, at_left = left, right, at_right
            right = low + ratio * (high - low)
            at_right = cost(right)
    return 0.5 * (low + high)
