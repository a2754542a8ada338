"""Core-set and TypiClust: what they cover, and what they call typical."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from labeler.rank import clusters, coverage
from labeler.rank.strategies import Pool, select


def lumps(sizes: list[int], seed: int = 0, width: int = 100) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    owner = np.repeat(np.arange(len(sizes)), sizes)
    return (3.0 * rng.normal(size=(len(sizes), width))[owner] + rng.normal(size=(len(owner), width))).astype(
        np.float32
    ), owner


def pool_of(vectors: npt.NDArray[np.float32], labelled: npt.NDArray[np.float32] | None = None) -> Pool:
    labelled = vectors[:0] if labelled is None else labelled
    ids = np.array([f"{i:05d}" for i in range(len(vectors))])
    return Pool(vectors, ids, None, labelled, np.zeros(len(labelled), dtype=np.int64))


# ----------------------------------------------------------------------------------------------------- core-set


@pytest.mark.parametrize("covered", [0, 1, 700])
def test_farthest_first_by_the_book(covered: int) -> None:
    """Against the definition, every distance worked out anew at every step."""
    rng = np.random.default_rng(covered)
    points = rng.normal(size=(60, 3)).astype(np.float32)
    anchors = rng.normal(size=(covered, 3)).astype(np.float32)
    rows = clusters.farthest_first(points, 20, covered=anchors).tolist()
    expected: list[int] = []
    if not covered:
        expected.append(int(np.linalg.norm(points - points.mean(axis=0), axis=1).argmin()))
    while len(expected) < 20:
        taken = np.concatenate([anchors, points[expected]])
        expected.append(int(np.linalg.norm(points[:, None] - taken[None], axis=2).min(axis=1).argmax()))
    assert rows == expected


@pytest.mark.parametrize("seed", range(3))
def test_diverse_goes_where_no_label_is(seed: int) -> None:
    vectors, owner = lumps([100, 100, 20, 20], seed)
    labelled = np.flatnonzero(owner < 2)[::10]
    rest = np.setdiff1d(np.arange(len(vectors)), labelled)
    selection = select("diverse", pool_of(vectors[rest], vectors[labelled]), 2, seed=seed)
    assert sorted(owner[rest][selection.indices].tolist()) == [2, 3]


def test_diverse_of_a_large_pool_works_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "SAMPLE", 200)
    monkeypatch.setattr(coverage, "SAMPLE_PER_CHOICE", 2)
    seen: list[int] = []
    real = clusters.farthest_first

    def watched(points: npt.NDArray[np.float32], k: int, *, covered: npt.NDArray[np.float32]) -> npt.NDArray[np.int64]:
        seen.append(len(points))
        return real(points, k, covered=covered)

    monkeypatch.setattr(coverage, "farthest_first", watched)
    vectors, owner = lumps([500, 400, 300])
    selection = select("diverse", pool_of(vectors), 3, seed=0)
    assert seen == [200]
    assert set(owner[selection.indices].tolist()) == {0, 1, 2}


# ----------------------------------------------------------------------------------------------------- typical


@pytest.mark.parametrize("seed", range(3))
def test_typical_asks_the_large_clusters_without_a_label(seed: int) -> None:
    vectors, owner = lumps([200, 120, 60, 30], seed)
    assert owner[select("typical", pool_of(vectors), 4, seed=seed).indices].tolist() == [0, 1, 2, 3]
    labelled = np.array([0, 200])
    rest = np.setdiff1d(np.arange(len(vectors)), labelled)
    selection = select("typical", pool_of(vectors[rest], vectors[labelled]), 2, seed=seed)
    assert owner[rest][selection.indices].tolist() == [2, 3]


def test_typical_images_have_near_neighbours() -> None:
    """A lump and stray points around it: the choice is in the dense middle, not merely at the mean."""
    rng = np.random.default_rng(0)
    dense = 0.1 * rng.normal(size=(30, 5)) + 2.0
    stray = 3.0 * rng.normal(size=(200, 5))
    vectors = np.concatenate([stray, dense]).astype(np.float32)
    assert select("typical", pool_of(vectors), 1, seed=0).indices[0] >= 200


def test_mean_distance_to_neighbours_by_the_book() -> None:
    points = np.random.default_rng(0).normal(size=(700, 4)).astype(np.float32)
    distances = np.sort(np.linalg.norm(points[:, None] - points[None], axis=2), axis=1)
    expected = distances[:, 1 : coverage.NEIGHBOURS + 1].mean(axis=1)
    np.testing.assert_allclose(coverage._mean_distance_to_neighbours(points), expected, rtol=1e-3)
    assert coverage._mean_distance_to_neighbours(points[:1]).tolist() == [0.0]


def test_more_images_than_clusters_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coverage, "MOST_CLUSTERS", 2)
    vectors, owner = lumps([50, 30])
    assert owner[select("typical", pool_of(vectors), 6, seed=0).indices].tolist() == [0, 1, 0, 1, 0, 1]


def test_a_cluster_that_is_used_up_hands_its_turn_on() -> None:
    assert coverage._turns(np.array([5, 1, 0]), np.array([0, 0, 0]), 5).tolist() == [0, 1, 0, 0, 0]
    assert coverage._turns(np.array([5, 3]), np.array([2, 0]), 4).tolist() == [1, 1, 0, 1]


def test_a_huge_cluster_is_judged_by_its_middle(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors, _ = lumps([300])
    whole = select("typical", pool_of(vectors), 1, seed=0)
    monkeypatch.setattr(coverage, "EXAMINED", 100)
    part = select("typical", pool_of(vectors), 1, seed=0)
    distance = np.linalg.norm(vectors - vectors.mean(axis=0), axis=1)
    assert distance[part.indices[0]] <= np.quantile(distance, 0.34)
    assert distance[whole.indices[0]] <= np.quantile(distance, 0.34)


def test_one_pool_one_choice_with_labels_in_any_order() -> None:
    vectors, _ = lumps([80, 80])
    pool = pool_of(vectors[20:], vectors[:20])
    turned = replace(pool, labelled_vectors=vectors[:20][::-1])
    for name in ("diverse", "typical"):
        assert select(name, pool, 9, seed=4).indices.tolist() == select(name, turned, 9, seed=4).indices.tolist()
