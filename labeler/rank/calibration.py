"""How sure the head may be: a temperature fitted on what it said of images it had not learned from.

Temperature scaling (Guo, Pleiss, Sun and Weinberger, "On calibration of modern neural networks", ICML 2017) divides
every logit by one number, so it changes no ranking of two classes and no prediction. Fitted on the training logits it
would be useless, as the head separates its own labels; out-of-fold logits are what is left without a validation set.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from labeler.rank.logistic import probabilities

Float64 = npt.NDArray[np.float64]

LOWEST, HIGHEST = 0.125, 8.0
# Standard deviation of log T around 0 before any label is seen: keeps a handful of labels, all of them right by luck,
# from claiming certainty. With a hundred labels it no longer matters.
_PRIOR_DEVIATION = 0.7
_SMALLEST_CLASS = 2


def stratified_folds(y: npt.NDArray[np.integer], folds: int, seed: int) -> npt.NDArray[np.int64] | None:
    """Deal every class evenly into folds.

    Returns:
        int64 (n,), the fold of each label, every fold lacking no class in its training part; fewer folds than asked
        for where the smallest class has fewer members; None where it has but one.
    """
    _, inverse, counts = np.unique(y, return_inverse=True, return_counts=True)
    smallest = int(counts.min())
    if smallest < _SMALLEST_CLASS:
        return None
    used = min(folds, smallest)
    rng = np.random.default_rng(seed)
    fold = np.empty(len(y), dtype=np.int64)
    dealt = 0
    for number in range(len(counts)):
        members = rng.permutation(np.flatnonzero(inverse == number))
        # Going on where the last class ended keeps the folds equally large.
        fold[members] = (dealt + np.arange(len(members))) % used
        dealt += len(members)
    return fold


def fit_temperature(logits: Float64, targets: Float64) -> float:
    """The temperature of least negative log-likelihood, under a prior centred on 1, between 1/8 and 8.

    Args:
        logits: (n, c) out-of-fold, uncalibrated; c = 1 for two classes.
        targets: (n, c) one-hot, for c = 1 one where the first class is true.
    """
    truth = targets > 0.5 if logits.shape[1] > 1 else np.column_stack([targets > 0.5, targets <= 0.5])

    def cost(log_temperature: float) -> float:
        chosen = probabilities(logits / math.exp(log_temperature))[truth]
        surprise = -float(np.log(np.maximum(chosen, 1e-300)).sum())
        return surprise + 0.5 * (log_temperature / _PRIOR_DEVIATION) ** 2

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
