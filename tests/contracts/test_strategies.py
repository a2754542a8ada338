"""What every strategy must do, whoever wrote it: the class runs over every registered name by itself."""

from __future__ import annotations

import hashlib
import importlib.util
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from labeler.domain import InvalidScores, LabelerError
from labeler.rank import registry
from labeler.rank.strategies import Pool, Selection, names, select
from labeler.rank.vectors import Part

DIMENSIONS = 12

#: Those of another package that stand for the rest, one that asks a model and one that does not.
OUTSIDE = ("skactiveml:UncertaintySampling", "skactiveml:CoreSet")
EVERY = [*names(), *(OUTSIDE if importlib.util.find_spec("skactiveml") else ())]


def make_pool(n: int, *, classes: int = 2, labelled: int = 6, seed: int = 0, frozen: bool = True) -> Pool:
    """A pool of a few lumps with probabilities that follow them, and ids that are no rows in order."""
    rng = np.random.default_rng(seed)
    lumps = rng.normal(size=(max(classes, 4), DIMENSIONS))
    owner = rng.integers(0, len(lumps), size=n)
    vectors = (lumps[owner] + 0.3 * rng.normal(size=(n, DIMENSIONS))).astype(np.float32)
    scores = rng.normal(size=(n, classes)) * 2
    probabilities = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    pool = Pool(
        vectors=vectors,
        ids=np.array([hashlib.sha256(f"{seed}/{i}".encode()).hexdigest() for i in range(n)], dtype="<U64"),
        probabilities=probabilities,
        labelled_vectors=rng.normal(size=(labelled, DIMENSIONS)).astype(np.float32),
        labelled_y=np.arange(labelled, dtype=np.int64) % classes,
    )
    if frozen:
        for array in arrays_of(pool):
            array.setflags(write=False)
    return pool


def arrays_of(pool: Pool) -> list[npt.NDArray[Any]]:
    assert pool.probabilities is not None
    return [np.asarray(pool.vectors), pool.ids, pool.probabilities, pool.labelled_vectors, pool.labelled_y]


def rows_of(pool: Pool, rows: npt.NDArray[np.int64]) -> Pool:
    """The same pool, other rows or another order."""
    p = pool.probabilities
    return replace(pool, vectors=pool.vectors[rows], ids=pool.ids[rows], probabilities=None if p is None else p[rows])


def chosen_ids(pool: Pool, selection: Selection) -> list[str]:
    return [str(name) for name in pool.ids[selection.indices]]


@pytest.mark.parametrize("name", EVERY)
class TestEveryStrategy:
    @pytest.mark.parametrize("classes", [2, 3, 10])
    def test_chooses_k_different_images(self, name: str, classes: int) -> None:
        pool = make_pool(60, classes=classes)
        selection = select(name, pool, 7, seed=1)
        assert selection.indices.dtype == np.int64
        assert selection.indices.shape == (7,)
        assert len(set(selection.indices.tolist())) == 7
        assert selection.indices.min() >= 0
        assert selection.indices.max() < 60
        assert selection.strategy == name
        assert len(selection.why) == 7
        assert all(word and " " not in word for word in selection.why)
        assert selection.utilities.shape == (60,)
        assert selection.utilities.dtype == np.float64
        assert (selection.utilities >= 0).all()
        assert (selection.utilities <= 1).all()

    def test_exhausts_the_pool(self, name: str) -> None:
        pool = make_pool(53)
        seen: set[str] = set()
        while len(pool):
            selection = select(name, pool, 10, seed=3)
            new = chosen_ids(pool, selection)
            assert seen.isdisjoint(new)
            seen.update(new)
            pool = rows_of(pool, np.setdiff1d(np.arange(len(pool)), selection.indices))
        assert len(seen) == 53
        assert len(select(name, pool, 10, seed=3).indices) == 0

    def test_takes_the_rest(self, name: str) -> None:
        assert sorted(select(name, make_pool(5), 50, seed=0).indices.tolist()) == [0, 1, 2, 3, 4]

    def test_one_image(self, name: str) -> None:
        assert select(name, make_pool(1, labelled=0), 1, seed=0).indices.tolist() == [0]

    def test_same_seed_same_choice(self, name: str) -> None:
        first, again = (select(name, make_pool(80), 9, seed=11) for _ in range(2))
        assert first.indices.tolist() == again.indices.tolist()
        assert first.why == again.why

    def test_global_random_state_plays_no_part(self, name: str) -> None:
        np.random.seed(1)  # noqa: NPY002 - the very thing that must not matter
        first = select(name, make_pool(80), 9, seed=11)
        np.random.seed(2)  # noqa: NPY002
        again = select(name, make_pool(80), 9, seed=11)
        after = np.random.random()  # noqa: NPY002
        np.random.seed(2)  # noqa: NPY002
        assert again.indices.tolist() == first.indices.tolist()
        assert after == np.random.random()  # noqa: NPY002 - nor was it used up

    @pytest.mark.parametrize("seed", range(3))
    def test_order_of_rows_plays_no_part(self, name: str, seed: int) -> None:
        pool = make_pool(90, seed=seed)
        rng = np.random.default_rng(seed)
        shuffled, labelled = rows_of(pool, rng.permutation(90)), rng.permutation(6)
        shuffled = replace(
            shuffled, labelled_vectors=pool.labelled_vectors[labelled], labelled_y=pool.labelled_y[labelled]
        )
        first, second = select(name, pool, 12, seed=seed), select(name, shuffled, 12, seed=seed)
        assert chosen_ids(pool, first) == chosen_ids(shuffled, second)
        assert first.why == second.why

    def test_vectors_made_on_demand_are_as_good_as_an_array(self, name: str) -> None:
        pool = make_pool(50)
        backwards = np.arange(50)[::-1]
        turned = replace(rows_of(pool, backwards), vectors=Part(np.asarray(pool.vectors), backwards))
        first, second = select(name, pool, 8, seed=2), select(name, turned, 8, seed=2)
        assert chosen_ids(pool, first) == chosen_ids(turned, second)

    def test_inputs_are_left_alone(self, name: str) -> None:
        pool = make_pool(40, frozen=False)
        before = [array.tobytes() for array in arrays_of(pool)]
        select(name, pool, 6, seed=0)
        assert [array.tobytes() for array in arrays_of(pool)] == before

    @pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, -0.5, 1.5])
    def test_bad_probabilities_are_refused(self, name: str, bad: float) -> None:
        pool = make_pool(30, frozen=False)
        assert pool.probabilities is not None
        pool.probabilities[17, 1] = bad
        with pytest.raises(InvalidScores):
            select(name, pool, 5, seed=0)

    def test_wrong_shapes_are_refused(self, name: str) -> None:
        pool = make_pool(30)
        assert pool.probabilities is not None
        wrong = (
            replace(pool, probabilities=pool.probabilities[:-1]),
            replace(pool, probabilities=pool.probabilities[:, 0]),
            replace(pool, probabilities=pool.probabilities[:, :1]),
            replace(pool, vectors=np.asarray(pool.vectors)[:-1]),
            replace(pool, vectors=np.asarray(pool.vectors)[:, 0]),
            replace(pool, labelled_vectors=pool.labelled_vectors[:, :-1]),
            replace(pool, labelled_y=pool.labelled_y[:-1]),
        )
        for broken in wrong:
            with pytest.raises(InvalidScores):
                select(name, broken, 5, seed=0)

    @pytest.mark.parametrize("k", [0, -1])
    def test_k_below_one_is_refused(self, name: str, k: int) -> None:
        with pytest.raises(LabelerError, match="k = "):
            select(name, make_pool(10), k, seed=0)

    def test_twins_do_no_harm(self, name: str) -> None:
        pool = make_pool(40)
        assert pool.probabilities is not None
        all_alike = replace(
            pool,
            vectors=np.repeat(np.asarray(pool.vectors)[:1], 40, axis=0),
            probabilities=np.repeat(pool.probabilities[:1], 40, 0),
        )
        assert len(set(select(name, all_alike, 15, seed=0).indices.tolist())) == 15
        zeros = replace(pool, vectors=np.zeros((40, DIMENSIONS), dtype=np.float32))
        assert len(set(select(name, zeros, 15, seed=0).indices.tolist())) == 15

    def test_a_certain_model_does_no_harm(self, name: str) -> None:
        certain = np.tile([1.0, 0.0], (40, 1))
        selection = select(name, replace(make_pool(40), probabilities=certain), 8, seed=0)
        assert len(set(selection.indices.tolist())) == 8

    @pytest.mark.parametrize("classes", [2, 4])
    def test_equal_probabilities_do_no_harm(self, name: str, classes: int) -> None:
        level = np.full((40, classes), 1 / classes)
        selection = select(name, replace(make_pool(40, classes=classes), probabilities=level), 8, seed=0)
        assert len(set(selection.indices.tolist())) == 8

    @pytest.mark.parametrize("labelled", [1, 7])
    def test_labels_of_one_class_do_no_harm(self, name: str, labelled: int) -> None:
        pool = make_pool(40, labelled=labelled)
        pool = replace(pool, labelled_y=np.ones(labelled, dtype=np.int64))
        for probabilities in (pool.probabilities, None):
            if probabilities is None and registry.get(name).needs_model:
                continue
            selection = select(name, replace(pool, probabilities=probabilities), 9, seed=0)
            assert len(set(selection.indices.tolist())) == 9

    def test_a_class_without_labels_does_no_harm(self, name: str) -> None:
        pool = make_pool(40, classes=3, labelled=8)
        pool = replace(pool, labelled_y=2 * (np.arange(8) % 2))
        assert len(set(select(name, pool, 9, seed=0).indices.tolist())) == 9

    def test_before_a_first_model(self, name: str) -> None:
        pool = replace(make_pool(30), probabilities=None)
        if registry.get(name).needs_model:
            with pytest.raises(InvalidScores, match="cold-start"):
                select(name, pool, 5, seed=0)
        else:
            selection = select(name, pool, 5, seed=0)
            assert len(set(selection.indices.tolist())) == 5
            assert np.isnan(selection.utilities).all()


@pytest.mark.parametrize("name", names())
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(n=st.integers(1, 70), k=st.integers(1, 90), labelled=st.integers(0, 5), seed=st.integers(0, 5))
def test_chooses_exactly_what_there_is(name: str, n: int, k: int, labelled: int, seed: int) -> None:
    selection = select(name, make_pool(n, labelled=labelled, seed=seed), k, seed=seed)
    assert len(set(selection.indices.tolist())) == len(selection.indices) == min(k, n)
