"""Strategies that look at where the images lie and not at what a model says: cover everything, or ask the typical."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from labeler.rank.clusters import FloatArray, farthest_first, k_means, principal_components, squared_distances
from labeler.rank.features import blocks
from labeler.rank.registry import Choice, Pool, register
from labeler.rank.scores import drawn_by_id, labelled_order

Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

PCA_DIMENSIONS = 64
SAMPLE, SAMPLE_PER_CHOICE = 10_000, 50
NEIGHBOURS = 20
# The paper's bound: more clusters than that hold too few images for a neighbourhood.
MOST_CLUSTERS = 500
# Typical images lie in the middle: of a larger cluster only so many, the nearest to its centre, are compared.
EXAMINED = 2_000
_ROWS = 512


@register("diverse", needs_model=False)
def _diverse(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    """Core-set: each next image is the one farthest from everything labelled or chosen so far.

    Sener and Savarese, "Active learning for convolutional neural networks: a core-set approach" (ICLR 2018), the
    greedy k-centre solution, in 64 principal components. A pool of more than max(10000, 50 k) images is represented by
    that many, drawn by lot. Without a label the first is the image nearest to the middle of all.
    """
    rows, points, covered = _points(pool, k, rng)
    return Choice(rows[farthest_first(points, k, covered=covered)], ("uncovered",) * k)


@register("typical", needs_model=False)
def _typical(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    """TypiClust: the most typical image of each of the largest clusters that hold no label.

    Hacohen, Dekel and Weinshall, "Active learning on a budget: opposite strategies suit high and low budgets" (ICML
    2022). Labelled images and pool are clustered together, into as many clusters as there will be labels, at most 500.
    Typical is what has a small mean distance to its 20 nearest neighbours in the cluster. Where every cluster has a
    label those with the fewest come first. A pool of more than max(10000, 50 k) images is represented by that many.
    """
    rows, points, labelled = _points(pool, k, rng)
    clusters = min(k + len(labelled), MOST_CLUSTERS, len(points) + len(labelled))
    everything = np.concatenate([points, labelled])
    centres, owner = k_means(everything, clusters, rng, restarts=1, iterations=20)
    here, there = owner[: len(points)], owner[len(points) :]
    asked = np.bincount(there, minlength=len(centres))
    turns = _turns(np.bincount(here, minlength=len(centres)), asked, k)
    chosen = np.empty(k, dtype=np.int64)
    for cluster in np.unique(turns).tolist():
        mine = np.flatnonzero(turns == cluster)
        chosen[mine] = _by_typicality(points, np.flatnonzero(here == cluster), centres[cluster], len(mine))
    return Choice(rows[chosen], ("typical",) * k)


def _points(pool: Pool, k: int, rng: np.random.Generator) -> tuple[Indices, FloatArray, FloatArray]:
    """Rows of the pool, and these and every labelled image in principal components of the pool."""
    rows = drawn_by_id(pool, max(SAMPLE, SAMPLE_PER_CHOICE * k), rng)
    labelled = pool.labelled_vectors[labelled_order(pool)]
    points, covered = principal_components(pool.vectors, PCA_DIMENSIONS, rng, also=labelled, rows=rows)
    return rows, points, covered


def _turns(sizes: Indices, asked: Indices, k: int) -> Indices:
    """From which cluster each of k images comes: fewest labels first, then the larger, and so round after round."""
    left, asked = sizes.copy(), asked.copy()
    turns = np.empty(k, dtype=np.int64)
    for turn in range(k):
        # An empty cluster comes last of all; there are k images, so one that is not empty is found.
        turns[turn] = np.lexsort((np.arange(len(left)), -sizes, asked, left == 0))[0]
        asked[turns[turn]] += 1
        left[turns[turn]] -= 1
    return turns


def _by_typicality(points: FloatArray, members: Indices, centre: FloatArray, wanted: int) -> Indices:
    """The most typical members, most typical first, ties by row."""
    distance = squared_distances(points[members], centre[None, :])[:, 0]
    examined = np.sort(np.argsort(distance, kind="stable")[: max(EXAMINED, wanted)])
    mean = _mean_distance_to_neighbours(points[members[examined]])
    return members[examined[np.argsort(mean, kind="stable")[:wanted]]]


def _mean_distance_to_neighbours(points: FloatArray) -> Float64:
    """Of each point to its 20 nearest, or to all others where there are fewer: float64 (n,)."""
    n = len(points)
    neighbours = min(NEIGHBOURS, n - 1)
    if neighbours < 1:
        return np.zeros(n)
    mean = np.empty(n)
    for rows in blocks(n, _ROWS):
        squared = squared_distances(points[rows], points)
        # The point itself is no neighbour, however rounding makes its distance come out.
        squared[np.arange(len(squared)), np.arange(rows.start, rows.stop)] = np.inf
        nearest = np.partition(squared, neighbours - 1, axis=1)[:, :neighbours]
        mean[rows] = np.sqrt(nearest).mean(axis=1)
    return mean
