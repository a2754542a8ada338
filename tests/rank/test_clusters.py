"""Principal components and k-means against scikit-learn."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.cluster import KMeans
from sklearn.decomposition import PCA

from labeler.domain import InvalidScores
from labeler.rank import clusters


def cloud(n: int, width: int, seed: int = 0) -> npt.NDArray[np.float32]:
    """Points whose variance falls off along hidden directions, off the origin."""
    rng = np.random.default_rng(seed)
    spread = 0.8 ** np.arange(width)
    rotation = np.linalg.qr(rng.normal(size=(width, width)))[0]
    points: npt.NDArray[np.float64] = (rng.normal(size=(n, width)) * spread) @ rotation + 3.0
    return points.astype(np.float32)


def test_components_hold_the_variance_that_scikit_learns_hold() -> None:
    X = cloud(400, 150)
    points, _ = clusters.principal_components(X, 20, np.random.default_rng(0))
    exact = PCA(20, svd_solver="full").fit_transform(X)
    assert points.shape == (400, 20)
    assert points.dtype == np.float32
    np.testing.assert_allclose(points.std(axis=0), exact.std(axis=0), rtol=0.02)
    np.testing.assert_allclose(np.abs(points[:, :10]), np.abs(exact[:, :10]), atol=0.05)


def test_a_part_of_many_rows_gives_nearly_the_components_of_all(monkeypatch: pytest.MonkeyPatch) -> None:
    X = cloud(3000, 80)
    whole, _ = clusters.principal_components(X, 15, np.random.default_rng(0))
    monkeypatch.setattr(clusters, "_FITTED_ROWS", 1000)
    part, _ = clusters.principal_components(X, 15, np.random.default_rng(0))
    assert part.shape == (3000, 15)
    # What is kept of the variance, not the signs and turns of single directions, is what clustering sees.
    assert float(part.var(axis=0).sum()) >= 0.99 * float(whole.var(axis=0).sum())
    np.testing.assert_allclose(part.mean(axis=0), 0.0, atol=1e-3)


@pytest.mark.parametrize(("n", "width"), [(1, 5), (3, 200), (200, 3), (50, 50)])
def test_fewer_rows_or_columns_than_components(n: int, width: int) -> None:
    X = cloud(n, width)
    points, other = clusters.principal_components(X, 64, np.random.default_rng(0), also=X[:1])
    assert points.shape[1] <= min(64, width)
    assert other.shape == (1, points.shape[1])
    gap = X[:, None] - X[None]
    kept = points[:, None] - points[None]
    # Nothing is lost where nothing has to be: all distances are those of before.
    np.testing.assert_allclose((kept**2).sum(axis=2), (gap**2).sum(axis=2), rtol=1e-2, atol=1e-3)


def test_components_of_broken_vectors_are_refused() -> None:
    X = cloud(30, 10)
    X[3, 3] = np.inf
    with pytest.raises(InvalidScores):
        clusters.principal_components(X, 5, np.random.default_rng(0))


@pytest.mark.parametrize("k", [1, 5, 20])
@pytest.mark.parametrize("weighted", [False, True])
def test_as_good_a_clustering_as_scikit_learns(k: int, weighted: bool) -> None:
    X = cloud(500, 16)
    weights = np.random.default_rng(1).uniform(size=500) if weighted else None
    centres, owner = clusters.k_means(X, k, np.random.default_rng(0), weights=weights)
    mass = np.ones(500) if weights is None else weights
    cost = float((mass * np.square(X - centres[owner]).sum(axis=1)).sum())
    reference = KMeans(k, n_init=10, random_state=0).fit(X, sample_weight=weights).inertia_
    assert cost <= 1.05 * reference
    for number in range(k):
        mine = owner == number
        np.testing.assert_allclose(centres[number], np.average(X[mine], axis=0, weights=mass[mine]), atol=1e-3)


def test_fixed_centres_stay() -> None:
    X = cloud(200, 8)
    fixed = X[:3].copy()
    centres, owner = clusters.k_means(X, 4, np.random.default_rng(0), fixed=fixed)
    np.testing.assert_array_equal(centres[4:], fixed)
    assert owner[:3].tolist() == [4, 5, 6]


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 40), st.integers(1, 50), st.integers(1, 5), st.booleans(), st.integers(0, 3))
def test_representatives_are_different_rows(n: int, k: int, distinct: int, weighted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(distinct, 4)).astype(np.float32)[rng.integers(0, distinct, size=n)]
    weights = rng.integers(0, 2, size=n).astype(np.float64) if weighted else None
    rows = clusters.representatives(X, k, rng, weights=weights, fixed=X[:2])
    assert len(set(rows.tolist())) == len(rows) == min(k, n)


def test_twins_are_represented_once_before_any_is_taken_twice() -> None:
    X = np.repeat(10 * np.eye(5, dtype=np.float32), [50, 40, 30, 20, 10], axis=0)
    kind = np.repeat(np.arange(5), [50, 40, 30, 20, 10])
    rows = clusters.representatives(X, 8, np.random.default_rng(0))
    assert kind[rows[:5]].tolist() == [0, 1, 2, 3, 4]
    # Among twins the first row, which is the smallest id.
    assert rows[:5].tolist() == [0, 50, 90, 120, 140]


def test_more_images_than_clusters_can_be_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(clusters, "_MOST_CLUSTERS", 4)
    rows = clusters.representatives(cloud(60, 6), 25, np.random.default_rng(0))
    assert len(set(rows.tolist())) == 25
