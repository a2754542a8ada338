"""What each strategy chooses, beyond what the contract asks of all."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from labeler.domain import InvalidScores
from labeler.rank.scores import entropy_of, labelled_order
from labeler.rank.strategies import Pool, default_strategy, most_useful, select, uncertainty_of


def pool_of(
    vectors: npt.NDArray[np.floating], p: npt.NDArray[np.floating] | None, ids: list[str] | None = None
) -> Pool:
    return Pool(
        vectors=np.asarray(vectors, dtype=np.float32),
        ids=np.array(ids or [f"{i:04d}" for i in range(len(vectors))]),
        probabilities=None if p is None else np.column_stack([p, 1 - np.asarray(p)]),
        labelled_vectors=np.empty((0, np.asarray(vectors).shape[1]), dtype=np.float32),
        labelled_y=np.empty(0, dtype=np.int64),
    )


# ------------------------------------------------------------------------------------------------- uncertainty


def test_uncertainty_is_the_contracts_formula() -> None:
    p = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
    assert uncertainty_of(np.column_stack([p, 1 - p])).tolist() == [0.0, 0.5, 1.0, 0.5, 0.0]
    three = np.array([[0.5, 0.3, 0.2], [1 / 3, 1 / 3, 1 / 3], [1.0, 0.0, 0.0], [0.2, 0.5, 0.3]])
    np.testing.assert_allclose(uncertainty_of(three), [0.8, 1.0, 0.0, 0.8], atol=1e-12)


@given(hnp.arrays(np.float64, st.integers(1, 20), elements=st.floats(0, 1)))
def test_the_margin_of_two_classes_is_the_distance_from_even_odds(p: npt.NDArray[np.float64]) -> None:
    two = np.column_stack([p, 1 - p])
    with_an_impossible_third = np.column_stack([two, np.zeros(len(p))])
    np.testing.assert_allclose(uncertainty_of(two), 1 - np.abs(2 * p - 1), atol=1e-12)
    np.testing.assert_allclose(uncertainty_of(two), uncertainty_of(with_an_impossible_third), atol=1e-12)


@pytest.mark.parametrize("shape", [(3,), (3, 1), (3, 2, 2)])
def test_uncertainty_refuses_other_shapes(shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidScores):
        uncertainty_of(np.full(shape, 0.5))


def test_uncertainty_strategy_ranks_by_closeness_to_even_odds_and_ties_by_id() -> None:
    pool = pool_of(np.zeros((6, 2)), np.array([0.9, 0.4, 0.5, 0.6, 0.1, 0.99]), ids=["f", "e", "d", "c", "b", "a"])
    selection = select("uncertainty", pool, 5, seed=0)
    # 0.4 and 0.6 are equally far from even odds, and so are 0.9 and 0.1: "c" before "e", "b" before "f".
    assert pool.ids[selection.indices].tolist() == ["d", "c", "e", "b", "f"]


@given(
    hnp.arrays(np.float64, st.integers(1, 40), elements=st.sampled_from([0.0, 0.25, 0.5, 0.75, 1.0])),
    st.integers(1, 50),
    st.integers(0, 3),
)
def test_most_useful_is_the_head_of_the_full_sort(u: npt.NDArray[np.float64], k: int, seed: int) -> None:
    ids = np.random.default_rng(seed).permutation([f"{i:03d}" for i in range(len(u))])
    full = sorted(range(len(u)), key=lambda row: (-u[row], ids[row]))
    assert most_useful(u, ids, k).tolist() == full[:k]


# ------------------------------------------------------------------------------------------------------ random


def test_random_is_fair() -> None:
    pool = pool_of(np.zeros((10, 2)), None)
    counts = np.bincount(np.concatenate([select("random", pool, 3, seed=s).indices for s in range(2000)]), minlength=10)
    # 600 expected each, standard deviation about 20.
    assert counts.min() > 500
    assert counts.max() < 700


def test_random_follows_the_seed() -> None:
    pool = pool_of(np.zeros((100, 2)), None)
    batches = {tuple(select("random", pool, 5, seed=s).indices.tolist()) for s in range(20)}
    assert len(batches) == 20


# -------------------------------------------------------------------------------------------------- cold start


def lumps(sizes: list[int], seed: int = 0, width: int = 100) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    centres = 3.0 * rng.normal(size=(len(sizes), width))
    owner = np.repeat(np.arange(len(sizes)), sizes)
    return (centres[owner] + rng.normal(size=(len(owner), width))).astype(np.float32), owner


@pytest.mark.parametrize("seed", range(5))
def test_cold_start_takes_one_of_every_lump_the_large_ones_first(seed: int) -> None:
    vectors, owner = lumps([200, 100, 50, 25, 10], seed)
    selection = select("cold-start", pool_of(vectors, None), 5, seed=seed)
    assert owner[selection.indices].tolist() == [0, 1, 2, 3, 4]


def test_cold_start_takes_the_middle_of_a_lump() -> None:
    vectors, owner = lumps([300, 300])
    for row in select("cold-start", pool_of(vectors, None), 2, seed=0).indices:
        mine = vectors[owner == owner[row]]
        distance = np.linalg.norm(mine - mine.mean(axis=0), axis=1)
        assert np.linalg.norm(vectors[row] - mine.mean(axis=0)) <= np.quantile(distance, 0.1)


@pytest.mark.parametrize("seed", range(5))
def test_cold_start_asks_again_where_nothing_was_asked(seed: int) -> None:
    vectors, owner = lumps([200, 100, 50, 25], seed)
    pool = pool_of(vectors, None)
    labelled = np.flatnonzero(owner <= 1)[::60]
    rest = np.setdiff1d(np.arange(len(vectors)), labelled)
    again = replace(
        pool,
        vectors=vectors[rest],
        ids=pool.ids[rest],
        labelled_vectors=vectors[labelled],
        labelled_y=np.zeros(len(labelled), dtype=np.int64),
    )
    chosen = owner[rest][select("cold-start", again, 2, seed=seed).indices]
    assert sorted(chosen.tolist()) == [2, 3]


def test_cold_start_of_a_large_pool_works_on_a_sample(monkeypatch: pytest.MonkeyPatch) -> None:
    from labeler.rank import spread

    monkeypatch.setattr(spread, "COLD_START_SAMPLE", 300)
    vectors, owner = lumps([600, 400, 200])
    pool = pool_of(vectors, None)
    selection = select("cold-start", pool, 3, seed=0)
    assert owner[selection.indices].tolist() == [0, 1, 2]
    order = np.random.default_rng(1).permutation(len(vectors))
    shuffled = replace(pool, vectors=vectors[order], ids=pool.ids[order])
    again = select("cold-start", shuffled, 3, seed=0)
    assert shuffled.ids[again.indices].tolist() == pool.ids[selection.indices].tolist()


@pytest.mark.parametrize("name", ["cold-start", "weighted-kmeans"])
def test_clustering_refuses_broken_vectors(name: str) -> None:
    vectors, _ = lumps([20, 20])
    vectors[7, 3] = np.nan
    with pytest.raises(InvalidScores):
        select(name, pool_of(vectors, np.full(40, 0.5)), 4, seed=0)


# --------------------------------------------------------------------------------------------- weighted k-means


def test_weighted_k_means_spreads_where_plain_uncertainty_repeats_itself() -> None:
    vectors, owner = lumps([50, 50, 50, 50])
    p = np.array([0.5, 0.55, 0.6, 0.65])[owner]
    pool = pool_of(vectors, p)
    assert set(owner[select("uncertainty", pool, 4, seed=0).indices]) == {0}
    spread = select("weighted-kmeans", pool, 4, seed=0)
    assert owner[spread.indices].tolist() == [0, 1, 2, 3]


def test_weighted_k_means_leaves_certain_images_alone() -> None:
    vectors, owner = lumps([50, 50, 50, 50])
    p = np.array([0.5, 0.45, 1.0, 0.0])[owner]
    chosen = select("weighted-kmeans", pool_of(vectors, p), 6, seed=0).indices
    assert set(owner[chosen]) == {0, 1}


def test_weighted_k_means_clusters_only_the_most_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    from labeler.rank import spread

    monkeypatch.setattr(spread, "CANDIDATES", 30)
    monkeypatch.setattr(spread, "CANDIDATES_PER_CHOICE", 2)
    rng = np.random.default_rng(0)
    p = rng.uniform(size=300)
    selection = select("weighted-kmeans", pool_of(rng.normal(size=(300, 8)), p), 5, seed=0)
    assert set(selection.indices) <= set(np.argsort(np.abs(p - 0.5))[:30])


# ---------------------------------------------------------------------------------------------------- the rule


@pytest.mark.parametrize(
    ("k", "has_model", "counts", "expected"),
    [
        (50, False, [0, 0], "cold-start"),
        (10, False, [1, 0], "look-alikes"),
        (10, False, [0, 3], "look-alikes"),
        (10, False, [4, 0], "cold-start"),
        (10, False, [0, 200], "cold-start"),
        (10, True, [1, 1], "cold-start"),
        (10, True, [8, 1], "cold-start"),
        (10, True, [9, 1], "look-alikes"),
        (10, True, [23, 4], "look-alikes"),
        (10, True, [22, 4], "weighted-kmeans"),
        (10, True, [40, 5], "weighted-kmeans"),
        (10, True, [300, 4], "look-alikes"),
        (10, True, [300, 5], "uncertainty"),
        (10, False, [10, 10], "cold-start"),
        (10, True, [5, 5], "weighted-kmeans"),
        (10, True, [30, 29], "weighted-kmeans"),
        (10, True, [30, 30], "uncertainty"),
        (50, True, [75, 74], "weighted-kmeans"),
        (50, True, [75, 75], "uncertainty"),
        # A class nobody has seen yet does not count as rare: there is nothing to look like it.
        (10, True, [60, 60, 0], "uncertainty"),
        (10, True, [60, 60, 1], "look-alikes"),
    ],
)
def test_default_strategy(k: int, has_model: bool, counts: list[int], expected: str) -> None:
    assert default_strategy(k=k, has_model=has_model, counts=counts) == expected
    assert default_strategy(k=k, has_model=has_model, counts=np.array(counts)) == expected


def test_rare_is_a_part_of_an_even_share() -> None:
    even = [6] * 9 + [4]
    assert default_strategy(k=20, has_model=True, counts=even) == "weighted-kmeans"
    assert default_strategy(k=20, has_model=True, counts=[*even[:9], 1]) == "look-alikes"


@pytest.mark.parametrize(
    ("counts", "expected", "rule"),
    [
        ([20, 20], [0.9, 0.1], "uncertainty"),
        ([20, 20], [0.8, 0.2], "weighted-kmeans"),
        ([20, 20], [0.1, 0.9], "uncertainty"),
        ([18, 2], [0.97, 0.03], "look-alikes"),
        ([5, 2], [0.97, 0.03], "cold-start"),
        # A class without a label is not what the model finds rare: it knows nothing of it.
        ([20, 20, 0], [0.5, 0.5, 0.0], "weighted-kmeans"),
        ([20, 20, 20], [0.5, 0.41, 0.09], "uncertainty"),
    ],
)
def test_what_the_model_finds_rare_is_left_to_uncertainty(counts: list[int], expected: list[float], rule: str) -> None:
    assert default_strategy(k=10, has_model=True, counts=counts, expected=expected) == rule
    assert default_strategy(k=10, has_model=True, counts=counts, expected=np.array(expected)) == rule


# ------------------------------------------------------------------------------------------- margin and entropy


def pool_of_classes(p: npt.NDArray[np.float64]) -> Pool:
    return replace(pool_of(np.zeros((len(p), 2)), None), probabilities=p)


@given(hnp.arrays(np.float64, st.integers(1, 30), elements=st.floats(0, 1)), st.integers(1, 30))
def test_margin_and_entropy_of_two_classes_are_the_order_of_uncertainty(p: npt.NDArray[np.float64], k: int) -> None:
    pool = pool_of(np.zeros((len(p), 2)), p)
    plain = select("uncertainty", pool, k, seed=0).indices.tolist()
    assert select("margin", pool, k, seed=0).indices.tolist() == plain
    assert select("entropy", pool, k, seed=0).indices.tolist() == plain


def test_entropy_is_shannons_in_units_of_the_largest() -> None:
    p = np.array([[1.0, 0.0, 0.0], [1 / 3, 1 / 3, 1 / 3], [0.5, 0.5, 0.0], [0.5, 0.25, 0.25]])
    np.testing.assert_allclose(
        entropy_of(p), [0.0, 1.0, np.log(2) / np.log(3), 1.5 * np.log(2) / np.log(3)], atol=1e-12
    )


def test_margin_and_entropy_differ_for_three_classes() -> None:
    two_way, three_way = [0.48, 0.47, 0.05], [0.40, 0.32, 0.28]
    pool = pool_of_classes(np.array([two_way, three_way, [0.9, 0.05, 0.05]]))
    assert select("margin", pool, 1, seed=0).indices.tolist() == [0]
    assert select("entropy", pool, 1, seed=0).indices.tolist() == [1]


# ------------------------------------------------------------------------------------------------- the labelled


def test_the_order_of_the_labelled_is_their_own() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(20, 4)).astype(np.float32), rng.integers(0, 3, size=20)
    pool = replace(pool_of(np.zeros((3, 4)), None), labelled_vectors=X, labelled_y=y)
    mixed = rng.permutation(20)
    other = replace(pool, labelled_vectors=X[mixed], labelled_y=y[mixed])
    np.testing.assert_array_equal(X[labelled_order(pool)], X[mixed][labelled_order(other)])
    np.testing.assert_array_equal(y[labelled_order(pool)], y[mixed][labelled_order(other)])
