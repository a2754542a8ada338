"""How many mistakes to expect of a model on images nobody has looked at, with an interval.

The expectation is the sum of what calibrated probabilities leave to chance. Its interval mixes three doubts, by
simulation: chance itself (which of the images turn out wrong), how well the held-out labels pin the temperature down,
and that one temperature is too simple a law for all images alike (:data:`MISFIT`).

Images drawn by lot, the audit, are the only evidence that assumes nothing. They join the estimate by their number: the
model's word counts as so many images drawn by lot as its interval is wide.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from labeler.rank.calibration import PRIOR_DEVIATION
from labeler.rank.logistic import Float64

CERTAINTY = 0.90  # of every interval
_BOUNDS = ((1 - CERTAINTY) / 2, (1 + CERTAINTY) / 2)
#: Of an error share e that the model expects the true one differs, beside all else, by a standard deviation of
#: MISFIT * sqrt(e). Chosen on four tasks (faces clean, degraded, upper halves, 12 x 12 pixels; 100 to 500 labels),
#: where 90 % of the intervals then held the truth.
MISFIT = 0.06
#: Labels a strategy chose tell less of the temperature of the rest than labels drawn by lot would: about half as much.
_TELLING = 0.5
_DRAWS = 4_000
_NODES = 33
_ROWS = 5_000


@dataclass(frozen=True, slots=True)
class Errors:
    """Wrong images among some: the number to expect, and between which bounds it lies with 90 % certainty."""

    expected: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Accuracy:
    """The share of right predictions to expect, and between which bounds it lies with 90 % certainty."""

    accuracy: float
    low: float
    high: float


def accuracy(
    waiting: Float64,
    held_out: Float64 | None,
    y: npt.NDArray[np.integer],
    audited: npt.NDArray[np.int64],
    *,
    pool: int | None = None,
) -> Accuracy:
    """The accuracy on images like all of these together, pool and labelled, where none was kept apart for testing.

    Args:
        waiting: (n, C) calibrated probabilities of images without a label.
        held_out: (m, C) calibrated held-out probabilities of the labelled ones; None with too few labels.
        y: (m,) class numbers of the labelled images.
        audited: positions in y of the images that were drawn by lot.
        pool: images without a label, where ``waiting`` is a sample of them.
    """
    held = np.empty((0, waiting.shape[1])) if held_out is None else held_out
    n = len(waiting) if pool is None else pool
    shares = _error_shares(waiting, held_out) * n + _error_shares(held, held_out) * len(held)
    if not n + len(held):
        return Accuracy(0.5, 0.0, 1.0)
    expected = (_left(waiting) * n + _left(held) * len(held)) / (n + len(held))
    shares = np.clip(shares / (n + len(held)), 1e-6, 1.0 - 1e-6)
    if not len(audited) or held_out is None:
        low, high = np.quantile(shares, _BOUNDS)
        return Accuracy(1.0 - expected, 1.0 - max(float(high), expected), 1.0 - min(float(low), expected))
    wrong = int((held_out[audited].argmax(axis=1) != y[audited]).sum())
    return _with_audit(expected, float(shares.std()), wrong, len(audited))


def _with_audit(expected: float, deviation: float, wrong: int, n: int) -> Accuracy:
    """What the model expects, as a Beta distribution of that spread, after n images drawn by lot."""
    mean = min(max(expected, 1e-4), 1.0 - 1e-4)
    weight = max(mean * (1.0 - mean) / max(deviation, 1e-4) ** 2 - 1.0, 1.0)
    a, b = mean * weight + wrong, (1.0 - mean) * weight + n - wrong
    draws = np.random.default_rng(0).beta(a, b, _DRAWS)
    low, high = np.quantile(draws, _BOUNDS)
    return Accuracy(1.0 - a / (a + b), 1.0 - float(high), 1.0 - float(low))


def expected_errors(probabilities: Float64, held_out: Float64 | None) -> Errors:
    """The mistakes among images that are filed as the model says.

    Args:
        probabilities: (n, C) calibrated, of the images in question.
        held_out: (m, C) calibrated held-out probabilities of the labelled images, ``Head.out_of_fold``; None where
            there are too few labels to hold any out.
    """
    n = len(probabilities)
    if n == 0:
        return Errors(0.0, 0.0, 0.0)
    expected = _left(probabilities) * n
    counts = np.minimum(np.random.default_rng(1).poisson(_error_shares(probabilities, held_out) * n), n)
    low, high = np.quantile(counts, _BOUNDS)
    return Errors(expected, min(float(low), expected), max(float(high), expected))


def temperature_doubt(held_out: Float64 | None) -> float:
    """Standard deviation of the logarithm of the temperature: the prior's, made smaller by every label that tells.

    The Fisher information of one label about log T is p (1 - p) z^2, z its logit: none where the model is certain.
    """
    information = 1.0 / PRIOR_DEVIATION**2
    if held_out is not None and len(held_out):
        p = np.clip(held_out, 1e-9, 1.0 - 1e-9)
        logits = np.log(p)
        centre = (p * logits).sum(axis=1, keepdims=True)
        information += _TELLING * float((p * (logits - centre) ** 2).sum())
    return 1.0 / math.sqrt(information)


def _left(probabilities: Float64) -> float:
    """The share of mistakes the probabilities themselves expect."""
    return float((1.0 - probabilities.max(axis=1)).mean()) if len(probabilities) else 0.0


def _error_shares(probabilities: Float64, held_out: Float64 | None) -> Float64:
    """Shares of mistakes that may be true of such images, as draws; the same draws whatever the images."""
    if not len(probabilities):
        return np.zeros(_DRAWS)
    rng = np.random.default_rng(0)
    nodes = np.linspace(-3.0, 3.0, _NODES)
    doubt = temperature_doubt(held_out)
    means = [_mean_error(probabilities, math.exp(node * doubt)) for node in nodes]
    share = np.interp(rng.standard_normal(_DRAWS), nodes, means)
    misfit = MISFIT * np.sqrt(share) * rng.standard_normal(_DRAWS)
    # The model may be far better than it expects, but never without a mistake by decree.
    drawn: Float64 = np.maximum(share + misfit, 0.1 * share)
    return drawn


def _mean_error(probabilities: Float64, temperature: float) -> float:
    """What is left to chance at another temperature; of many images those at evenly spaced ranks speak for all."""
    p = probabilities
    if len(p) > _ROWS:
        order = np.argsort(p.max(axis=1), kind="stable")
        p = p[order[np.linspace(0, len(p) - 1, _ROWS).astype(np.int64)]]
    logits = np.log(np.clip(p, 1e-12, 1.0)) / temperature
    scaled = np.exp(logits - logits.max(axis=1, keepdims=True))
    return float((1.0 - scaled.max(axis=1) / scaled.sum(axis=1)).mean())
