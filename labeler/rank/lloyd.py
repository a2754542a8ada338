"""Weighted Lloyd iterations."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

FloatArray = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

# Where more points than this share change hands, adding them all up anew costs less than moving each.
_MANY = 8


def lloyd(points: FloatArray, centres: FloatArray, k: int, mass: Float64, iterations: int) -> tuple[float, Indices]:
    """Move the first k centres, in place, until no point changes hands.

    Args:
        points: (n, d).
        centres: (k + m, d), the last m stay where they are.
        mass: (n,) weights of the points.
        iterations: at most.

    Returns:
        The weighted cost, and int64 (n,) the centre of each point.
    """
    # |p - c|^2 = |p|^2 - 2 p.c + |c|^2, and |p|^2 is the same for every centre: one product finds the nearest.
    columns = np.concatenate([points.T, np.ones((1, len(points)), dtype=np.float32)])
    space = np.empty((len(centres), len(points)), dtype=np.float32)
    owner = _nearest(columns, centres, space)
    sums = _summed(points, owner, mass, len(centres))
    for _ in range(iterations):
        _move(centres, k, sums, owner, mass)
        after = _nearest(columns, centres, space)
        changed = np.flatnonzero(after != owner)
        if not len(changed):
            break
        if len(changed) * _MANY > len(points):
            sums = _summed(points, after, mass, len(centres))
        else:
            sums += _exchanged(points[changed], owner[changed], after[changed], mass[changed], len(centres))
        owner = after
    return float(mass @ np.square(points - centres[owner]).sum(axis=1)), owner


def distances(points: FloatArray, squared: FloatArray, centres: FloatArray) -> FloatArray:
    """Squared distances, float32 (n, number of centres), never below zero.

    Args:
        squared: (n,) squared lengths of the points.
    """
    out: FloatArray = points @ centres.T
    out *= -2.0
    out += squared[:, None]
    out += np.einsum("ij,ij->i", centres, centres)[None, :]
    np.maximum(out, 0.0, out=out)
    return out


def _nearest(columns: FloatArray, centres: FloatArray, space: FloatArray) -> Indices:
    """The centre nearest to each point, of equals the first: int64 (n,).

    Args:
        columns: (d + 1, n) the points, each with a 1 below it.
        space: (number of centres, n) to work in.
    """
    with_length = np.concatenate([-2.0 * centres, np.einsum("ij,ij->i", centres, centres)[:, None]], axis=1)
    np.matmul(with_length, columns, out=space)
    # Four times as fast as argmin: numpy finds the least of whole rows at once, but not where it stands.
    number, point = np.divmod(np.flatnonzero(space == space.min(axis=0)), space.shape[1])
    nearest = np.zeros(space.shape[1], dtype=np.int64)
    nearest[point[::-1]] = number[::-1]
    return nearest


def _move(centres: FloatArray, k: int, sums: Float64, owner: Indices, mass: Float64) -> None:
    """Put the first k centres in the middle of their points; a cluster without mass is left where it is."""
    total = np.bincount(owner, weights=mass, minlength=len(centres))
    heavy = np.flatnonzero(total[:k] > 0.0)
    centres[heavy] = sums[heavy] / total[heavy, None]


def _summed(points: FloatArray, owner: Indices, mass: Float64, clusters: int) -> Float64:
    """Weighted sum of the points of each cluster, (clusters, d)."""
    # Numbers of sixteen bits are sorted by counting.
    order = np.argsort(owner.astype(np.uint16) if clusters < 1 << 16 else owner, kind="stable")
    starts = np.searchsorted(owner[order], np.arange(clusters))
    weighted = points[order] * mass[order, None].astype(np.float32)
    # reduceat gives a wrong row for an empty run; those clusters have no mass and are not asked for.
    return np.add.reduceat(weighted, np.minimum(starts, len(owner) - 1), axis=0).astype(np.float64)


def _exchanged(points: FloatArray, before: Indices, after: Indices, mass: Float64, clusters: int) -> Float64:
    """What points that change hands add to the sums of the clusters."""
    rows = np.arange(len(points))
    signed = np.zeros((clusters, len(points)))
    signed[after, rows] = mass
    signed[before, rows] = -mass
    return signed @ points.astype(np.float64)
