"""Principal components and weighted k-means in numpy: small, seeded, and without scikit-learn's import time."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from labeler.domain import InvalidScores
from labeler.rank.lloyd import distances, lloyd
from labeler.rank.vectors import Vectors, projected

FloatArray = npt.NDArray[np.float32]

_OVERSAMPLING = 32
_SMALLEST_VARIANCE = 1e-12
_FITTED_ROWS = 2_000
_MOST_CLUSTERS = 512
_ANCHOR_ROWS = 512


def principal_components(
    vectors: Vectors,
    dimensions: int,
    rng: np.random.Generator,
    also: FloatArray | None = None,
    rows: npt.NDArray[np.int64] | None = None,
) -> tuple[FloatArray, FloatArray]:
    """Coordinates along the directions of greatest variance.

    Randomised range finder (Halko, Martinsson and Tropp, "Finding structure with randomness", SIAM Review 2011): two
    thin matrix products instead of a decomposition of all of X. Of more than 2,000 rows so
    many, evenly spaced, speak for the directions; the coordinates are those of all.

    Args:
        vectors: (N, D) float32, or what makes them on demand.
        dimensions: components wanted; fewer come back where n or D is smaller.
        also: (m, D) further rows to give in the same coordinates.
        rows: (n,) rows that are meant, None for all.

    Returns:
        float32 (n, d) and float32 (m, d), d <= dimensions, the mean of the first at the origin.

    Raises:
        InvalidScores: a vector holds NaN or infinity.
    """
    rows = np.arange(len(vectors)) if rows is None else rows
    n = len(rows)
    fitted = np.arange(n) if n <= _FITTED_ROWS else np.linspace(0, n - 1, _FITTED_ROWS).astype(np.int64)
    part = vectors[rows[fitted]]
    components = _directions(part, _mean(part), dimensions, rng)
    points = np.empty((n, components.shape[1]), dtype=np.float32)
    points[fitted] = part @ components
    others = np.setdiff1d(np.arange(n), fitted, assume_unique=True)
    points[others] = projected(vectors, rows[others], components)
    middle = _mean(points)
    points -= middle
    other = np.empty((0, part.shape[1]), dtype=np.float32) if also is None else also
    return points, other @ components - middle


def _mean(X: FloatArray) -> FloatArray:
    mean: FloatArray = X.mean(axis=0)
    if not np.isfinite(mean).all():
        raise InvalidScores("the pool's vectors hold NaN or infinity", "remove db/cache/vectors and embed again")
    return mean


def _directions(X: FloatArray, mean: FloatArray, dimensions: int, rng: np.random.Generator) -> FloatArray:
    """The directions of greatest variance around the mean, float32 (D, d)."""
    n, width = X.shape
    sketch = min(dimensions + _OVERSAMPLING, n, width)
    basis = _orthonormal(_centred_product(X, mean, _orthonormal(_signed_sums(X, mean, sketch, rng))))
    across = _centred_back(X, mean, basis)
    # X is near basis @ across.T; the eigenvectors of the small matrix turn both to the principal directions.
    variance, turn = np.linalg.eigh(across.T.astype(np.float64) @ across)
    order = np.argsort(-variance)[: min(dimensions, sketch)]
    kept = turn[:, order].astype(np.float32)
    scale = np.sqrt(np.maximum(variance[order], _SMALLEST_VARIANCE)).astype(np.float32)
    components: FloatArray = across @ kept / scale
    return components


def _signed_sums(X: FloatArray, mean: FloatArray, sketch: int, rng: np.random.Generator) -> FloatArray:
    """Sums of rows with signs by lot, each row in one of them: float32 (D, sketch).

    Clarkson and Woodruff, "Low rank approximation and regression in input sparsity time" (STOC 2013). To read every row
    once costs nothing beside a product, so there is enough left for a few more columns: on 2,000 photographs they hold
    what 74 columns, a dense random start and a power iteration held (71.6 % of the variance), for half the products.
    """
    signs = rng.choice(np.array([-1.0, 1.0], dtype=np.float32), size=len(X))
    sums = np.stack([signs[at::sketch] @ X[at::sketch] for at in range(sketch)])
    sums -= np.outer([signs[at::sketch].sum() for at in range(sketch)], mean)
    return sums.T


def k_means(
    points: FloatArray,
    k: int,
    rng: np.random.Generator,
    *,
    weights: npt.NDArray[np.floating] | None = None,
    fixed: FloatArray | None = None,
    restarts: int = 3,
    iterations: int = 50,
) -> tuple[FloatArray, npt.NDArray[np.int64]]:
    """Weighted Lloyd iterations from k-means++ starts; the best of a few starts.

    Args:
        points: (n, d) float32.
        k: clusters, >= 1; at most n are made.
        weights: (n,) non-negative, of each point; None means equal.
        fixed: (m, d) centres that stay where they are and take the points near them for themselves.

    Returns:
        centres float32 (k + m, d), the fixed ones last, and int64 (n,) the centre of each point.
    """
    mass = _usable_weights(weights, len(points))
    anchors = np.empty((0, points.shape[1]), dtype=np.float32) if fixed is None else fixed
    k = min(k, len(points))
    attempts = []
    for _ in range(restarts):
        centres = np.concatenate([_spread_start(points, k, mass, anchors, rng), anchors])
        cost, owner = lloyd(points, centres, k, mass, iterations)
        attempts.append((cost, centres, owner))
    _, centres, owner = min(attempts, key=lambda attempt: attempt[0])
    return centres, owner


def representatives(
    points: FloatArray,
    k: int,
    rng: np.random.Generator,
    *,
    weights: npt.NDArray[np.floating] | None = None,
    fixed: FloatArray | None = None,
    restarts: int = 3,
) -> npt.NDArray[np.int64]:
    """Rows that stand for all: the point nearest to each of k centres, heaviest cluster first.

    Where there are fewer clusters than k (twins, a very large k) the second nearest of each cluster follow, and so on;
    points around the fixed centres come last. So there are always min(k, n) different rows.
    """
    clusters = min(k, len(points), _MOST_CLUSTERS)
    mass = _usable_weights(weights, len(points))
    centres, owner = k_means(points, clusters, rng, weights=mass, fixed=fixed, restarts=restarts)
    distance = np.square(points - centres[owner]).sum(axis=1)
    total = np.bincount(owner, weights=mass, minlength=len(centres))
    # Within a cluster by distance; the stable sort keeps the caller's (id) order among twins.
    order = np.lexsort((distance, owner))
    sorted_owner = owner[order]
    starts = np.searchsorted(sorted_owner, np.arange(len(centres)))
    turn = np.empty(len(points), dtype=np.int64)
    turn[order] = np.arange(len(points)) - starts[sorted_owner]
    taken = owner >= clusters
    return np.lexsort((np.arange(len(points)), distance, -total[owner], turn, taken))[:k].astype(np.int64)


def farthest_first(points: FloatArray, k: int, *, covered: FloatArray) -> npt.NDArray[np.int64]:
    """Greedy k-centre: each next row is the one farthest from those before it and from what is covered.

    Gonzalez, "Clustering to minimize the maximum intercluster distance" (1985): never more than twice the optimum.

    Args:
        points: (n, d) float32.
        covered: (m, d), m >= 0; without any the first row is the one nearest to the mean.

    Returns:
        int64 (min(k, n),), rows in the order they were chosen, ties by row.
    """
    k = min(k, len(points))
    distance = np.full(len(points), np.inf, dtype=np.float32)
    for start in range(0, len(covered), _ANCHOR_ROWS):
        np.minimum(distance, squared_distances(points, covered[start : start + _ANCHOR_ROWS]).min(axis=1), out=distance)
    chosen = np.empty(k, dtype=np.int64)
    for i in range(k):
        if i == 0 and not len(covered):
            chosen[i] = squared_distances(points, points.mean(axis=0)[None, :])[:, 0].argmin()
        else:
            chosen[i] = distance.argmax()
        np.minimum(distance, np.square(points - points[chosen[i]]).sum(axis=1), out=distance)
        distance[chosen[: i + 1]] = -1.0
    return chosen


def squared_distances(points: FloatArray, centres: FloatArray) -> FloatArray:
    """Squared Euclidean distances, float32 (number of points, number of centres), never below zero."""
    return distances(points, np.einsum("ij,ij->i", points, points), centres)


def _usable_weights(weights: npt.NDArray[np.floating] | None, n: int) -> npt.NDArray[np.float64]:
    if weights is None or not float(weights.sum()) > 0.0:
        return np.ones(n, dtype=np.float64)
    return np.asarray(weights, dtype=np.float64)


def _spread_start(
    points: FloatArray, k: int, mass: npt.NDArray[np.float64], anchors: FloatArray, rng: np.random.Generator
) -> FloatArray:
    """Greedy k-means++ (Arthur and Vassilvitskii, SODA 2007): far from the centres before, best of a few draws."""
    squared = np.einsum("ij,ij->i", points, points)
    columns = np.ascontiguousarray(points.T)
    trials = 2 + int(np.log(k))
    # One finite value everywhere where there is no centre yet: the first is drawn by mass alone.
    nearest = np.ones(len(points)) if len(anchors) == 0 else distances(points, squared, anchors).min(axis=1)
    chosen = np.empty(k, dtype=np.int64)
    for i in range(k):
        drawn = _draw(mass * nearest, mass, trials, rng)
        # A row for each draw: numpy is slow on rows of a few numbers.
        apart = (points[drawn] @ columns).astype(np.float64)
        apart *= -2.0
        apart += squared
        apart += squared[drawn, None]
        np.maximum(apart, 0.0, out=apart)
        if i > 0 or len(anchors):
            np.minimum(apart, nearest, out=apart)
        best = int((apart @ mass).argmin())
        chosen[i], nearest = drawn[best], apart[best]
    return points[chosen]


def _draw(
    potential: npt.NDArray[np.float64], mass: npt.NDArray[np.float64], trials: int, rng: np.random.Generator
) -> npt.NDArray[np.int64]:
    """Row numbers drawn in proportion to their potential; to their mass where every potential is zero."""
    cumulated = np.cumsum(potential)
    if not cumulated[-1] > 0.0:
        cumulated = np.cumsum(mass)
    places = np.searchsorted(cumulated, rng.random(trials) * cumulated[-1], side="right")
    rows: npt.NDArray[np.int64] = np.minimum(places, len(potential) - 1)
    return rows


def _centred_product(X: FloatArray, mean: FloatArray, right: FloatArray) -> FloatArray:
    return X @ right - mean @ right


def _centred_back(X: FloatArray, mean: FloatArray, left: FloatArray) -> FloatArray:
    return X.T @ left - np.outer(mean, left.sum(axis=0))


def _orthonormal(X: FloatArray) -> FloatArray:
    """An orthonormal basis of X's columns by the eigenvectors of X^T X: two products instead of a QR of tall X.

    QR makes thousands of small BLAS calls; where other programs use the processors it took ten times as long.
    Directions that rounding made meaningless become zero columns, which add nothing.
    """
    exact = X.astype(np.float64)
    values, vectors = np.linalg.eigh(exact.T @ exact)
    sound = values > 1e-12 * max(float(values[-1]), 1e-30)
    scale = np.where(sound, 1.0 / np.sqrt(np.where(sound, values, 1.0)), 0.0)
    basis: FloatArray = (exact @ (vectors * scale)).astype(np.float32)
    return basis
