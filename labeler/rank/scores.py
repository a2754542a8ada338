"""Numbers that strategies rank by, and the orders that make a choice independent of how the rows happen to lie."""

from __future__ import annotations

import hashlib

import numpy as np
import numpy.typing as npt

from labeler.domain import InvalidScores
from labeler.rank.registry import Pool

Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]


def uncertainty_of(probabilities: npt.NDArray[np.floating]) -> Float64:
    """Uncertainty in [0, 1]: 1 - |2p - 1| for two classes, 1 - (p1 - p2), the margin, for more.

    The two agree for two classes, as p1 - p2 = |2p - 1| there.

    Args:
        probabilities: (n, C), C >= 2, rows adding up to 1.

    Returns:
        float64 (n,).

    Raises:
        InvalidScores: wrong shape, or a value that is NaN, infinite or outside [0, 1].
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if p.ndim != 2 or p.shape[1] < 2:
        raise InvalidScores(f"probabilities of shape {p.shape} where (images, classes) was expected", "train again")
    # Written so that NaN fails: every comparison with NaN is false.
    if p.size and not (float(p.min()) >= 0.0 and float(p.max()) <= 1.0 + 1e-9):
        raise InvalidScores("the model's probabilities hold NaN or values outside 0..1", "train again")
    if p.shape[1] == 2:
        return np.clip(1.0 - np.abs(p[:, 0] - p[:, 1]), 0.0, 1.0)
    top_two = np.partition(p, p.shape[1] - 2, axis=1)[:, -2:]
    return np.clip(1.0 - (top_two[:, 1] - top_two[:, 0]), 0.0, 1.0)


def entropy_of(probabilities: npt.NDArray[np.floating]) -> Float64:
    """Shannon entropy of each row in units of the largest possible, log C: float64 (n,) in [0, 1].

    Args:
        probabilities: (n, C), C >= 2, checked already by :func:`uncertainty_of`.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    logs = np.log(p, out=np.zeros_like(p), where=p > 0.0)
    entropy: Float64 = np.clip(-np.einsum("ij,ij->i", p, logs) / np.log(p.shape[1]), 0.0, 1.0)
    return entropy


def utilities(pool: Pool) -> Float64:
    """Uncertainty of every image, float64 (n,); NaN before a first model."""
    return np.full(len(pool), np.nan) if pool.probabilities is None else uncertainty_of(pool.probabilities)


def most_useful(score: Float64, ids: npt.NDArray[np.str_], k: int) -> Indices:
    """Rows of the k greatest scores, greatest first, ties by id; sorts only those, not the whole pool."""
    n = len(score)
    if k < n:
        least = np.partition(score, n - k)[n - k]
        rows = np.flatnonzero(score >= least)
    else:
        rows = np.arange(n)
    return rows[np.lexsort((ids[rows], -score[rows]))][:k].astype(np.int64)


def by_id(pool: Pool) -> Indices:
    """Every row in the order of the ids; a pool that is in that order already costs one comparison a row."""
    return np.argsort(pool.ids, kind="stable").astype(np.int64)


def drawn_by_id(pool: Pool, size: int, rng: np.random.Generator, without: Indices | None = None) -> Indices:
    """At most ``size`` rows by lot, in the order of the ids.

    Args:
        without: rows that are not to be drawn.
    """
    rows = by_id(pool)
    if without is not None and len(without):
        rows = rows[~np.isin(rows, without)]
    if len(rows) > size:
        rows = rows[np.sort(rng.choice(len(rows), size=size, replace=False))]
    return rows


def labelled_order(pool: Pool) -> Indices:
    """The labelled rows in an order of their own: by a digest of vector and label, as the pool names no ids for them.

    Twins that carry the same label are alike in everything a strategy may know, so their order does not matter.
    """
    digests = [
        hashlib.sha256(int(label).to_bytes(8, "little", signed=True) + np.ascontiguousarray(vector).tobytes()).digest()
        for vector, label in zip(pool.labelled_vectors, pool.labelled_y, strict=True)
    ]
    return np.array(sorted(range(len(digests)), key=digests.__getitem__), dtype=np.int64)
