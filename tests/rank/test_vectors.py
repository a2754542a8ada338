"""Vectors that are made when they are asked for."""

from __future__ import annotations

import numpy as np
import pytest

from labeler.rank.features import FeatureMap
from labeler.rank.strategies import Pool, select
from labeler.rank.vectors import Part, Transformed, projected

PARTS = [(4, 0.7), (6, 1.0)]


@pytest.fixture(scope="module")
def lazily() -> Transformed:
    raw = np.random.default_rng(0).gamma(1.0, size=(40, 10)).astype(np.float16)
    raw.setflags(write=False)
    return Transformed(raw, FeatureMap.fit(raw, PARTS))


def test_rows_on_demand_are_the_rows_of_the_whole(lazily: Transformed) -> None:
    whole = lazily.features.transform(lazily.raw)
    rows = np.array([7, 3, 3, 39])
    assert lazily.shape == whole.shape == (40, 10)
    assert len(lazily) == 40
    np.testing.assert_array_equal(lazily[rows], whole[rows])
    np.testing.assert_array_equal(np.asarray(lazily), whole)
    assert lazily[rows].dtype == np.float32


def test_a_part_of_a_part(lazily: Transformed) -> None:
    whole = np.asarray(lazily)
    half = Part(lazily, np.arange(0, 40, 2))
    some = Part(half, np.array([19, 0, 5]))
    assert some.shape == (3, 10)
    assert len(some) == 3
    np.testing.assert_array_equal(np.asarray(some), whole[[38, 0, 10]])
    np.testing.assert_array_equal(some[np.array([1, 1])], whole[[0, 0]])


def test_a_pool_made_on_demand_is_chosen_from_like_an_array(lazily: Transformed) -> None:
    p = np.random.default_rng(1).uniform(size=40)
    ids = np.array([f"{i:03d}" for i in range(40)])
    whole = np.asarray(lazily)
    labelled, y = whole[:4], np.array([0, 1, 0, 1])
    both = [Pool(vectors, ids, np.column_stack([p, 1 - p]), labelled, y) for vectors in (whole, lazily)]
    left = np.arange(39, 3, -1)
    for name in ("uncertainty", "weighted-kmeans", "cold-start", "committee", "diverse", "typical", "look-alikes"):
        chosen = [select(name, pool, 6, seed=0).indices.tolist() for pool in both]
        assert chosen[0] == chosen[1], name
        chosen = [select(name, pool.part(left), 6, seed=0).indices.tolist() for pool in both]
        assert chosen[0] == chosen[1], name


def test_the_whole_of_a_pool_is_the_pool(lazily: Transformed) -> None:
    ids = np.array([f"{i:03d}" for i in range(40)])
    pool = Pool(lazily, ids, None, np.empty((0, 10), dtype=np.float32), np.empty(0, dtype=np.int64))
    assert pool.part(np.arange(40)) is pool
    turned = pool.part(np.arange(40)[::-1])
    assert turned.ids.tolist() == ids[::-1].tolist()
    assert turned.probabilities is None


def test_a_projection_of_whatever_holds_the_vectors(lazily: Transformed) -> None:
    whole = np.asarray(lazily)
    directions = np.random.default_rng(2).normal(size=(10, 3)).astype(np.float32)
    backwards, rows = np.arange(40)[::-1], np.array([5, 0, 5, 39])
    for vectors in (whole, lazily, Part(whole, backwards), Part(Part(lazily, backwards), backwards)):
        meant = vectors[rows] @ directions
        found = projected(vectors, rows, directions)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, meant, atol=1e-6)
    assert projected(lazily, np.empty(0, dtype=np.int64), directions).shape == (0, 3)
