"""Look-alikes: a rare class is found from one example, and no twin is asked about twice."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest

from labeler.rank.look_alikes import rarest_class
from labeler.rank.strategies import Pool, select

Labels = npt.NDArray[np.int64]


def rare_pool(
    rare: int = 12, common: int = 600, seed: int = 0, width: int = 30
) -> tuple[Pool, Labels, npt.NDArray[np.float32]]:
    """Lumps of which the last is the rare class (1); its truth, and a further example of each class."""
    rng = np.random.default_rng(seed)
    centres = 1.5 * rng.normal(size=(7, width))
    owner = np.concatenate([rng.integers(0, 6, size=common), np.full(rare, 6)])
    vectors = (centres[owner] + rng.normal(size=(len(owner), width))).astype(np.float32)
    examples = (centres[[0, 6]] + rng.normal(size=(2, width))).astype(np.float32)
    ids = np.array([f"{i:05d}" for i in rng.permutation(len(owner))])
    empty = np.empty(0, dtype=np.int64)
    return Pool(vectors, ids, None, vectors[:0], empty), (owner == 6).astype(np.int64), examples


@pytest.mark.parametrize("seed", range(5))
def test_one_example_finds_a_class_of_two_in_a_hundred(seed: int) -> None:
    pool, truth, examples = rare_pool(seed=seed)
    pool = replace(pool, labelled_vectors=examples[1:], labelled_y=np.array([1]))
    selection = select("look-alikes", pool, 10, seed=seed)
    assert selection.why == ("look-alike",) * 5 + ("typical",) * 5
    assert truth[selection.indices[:5]].sum() >= 4
    by_lot = select("random", pool, 10, seed=seed)
    assert truth[by_lot.indices].sum() <= 2


def test_with_a_model_it_is_the_model_that_says_what_is_alike() -> None:
    pool, truth, examples = rare_pool()
    rng = np.random.default_rng(1)
    p = np.where(truth == 1, 0.4, 0.2) + 0.1 * rng.uniform(size=len(truth))
    labelled = np.concatenate([np.repeat(examples[:1], 9, axis=0), examples[1:]])
    y = np.array([0] * 9 + [1])
    pool = replace(pool, probabilities=np.column_stack([1 - p, p]), labelled_vectors=labelled, labelled_y=y)
    selection = select("look-alikes", pool, 8, seed=0)
    assert selection.why == ("look-alike",) * 4 + ("uncertain",) * 4
    assert truth[selection.indices[:4]].tolist() == [1, 1, 1, 1]
    rest = np.setdiff1d(np.arange(len(truth)), selection.indices[:4])
    assert selection.indices[4:].tolist() == rest[np.argsort(-selection.utilities[rest])[:4]].tolist()


def test_a_model_without_that_class_leaves_it_to_the_examples() -> None:
    pool, truth, examples = rare_pool()
    flat = np.tile([0.7, 0.0, 0.3], (len(truth), 1))
    flat[:, 0] += np.linspace(0, 0.2, len(truth))
    flat[:, 2] = 1.0 - flat[:, 0]
    y = np.array([0, 0, 1])
    labelled = np.concatenate([examples[:1], examples[:1], examples[1:]])
    pool = replace(pool, probabilities=flat, labelled_vectors=labelled, labelled_y=y)
    assert truth[select("look-alikes", pool, 8, seed=0).indices[:4]].sum() >= 3


def test_twins_wait_until_nothing_else_is_left() -> None:
    """Forty copies of the best match: one of them is asked about, and none of the labelled image's own copies."""
    pool, _, examples = rare_pool(rare=10)
    best = select("look-alikes", replace(pool, labelled_vectors=examples[1:], labelled_y=np.array([1])), 1, seed=0)
    copies = np.concatenate([np.repeat(pool.vectors[best.indices], 39, axis=0), np.repeat(examples[1:], 5, axis=0)])
    vectors = np.concatenate([np.asarray(pool.vectors), copies])
    pool = replace(pool, vectors=vectors, ids=np.array([f"{i:05d}" for i in range(len(vectors))]))
    pool = replace(pool, labelled_vectors=examples[1:], labelled_y=np.array([1]))
    chosen = select("look-alikes", pool, 8, seed=0).indices[:4]
    match = (vectors[chosen] == vectors[best.indices]).all(axis=1)
    assert match.tolist() == [True, False, False, False]
    assert (chosen < len(vectors) - 5).all()
    only_twins = replace(pool, vectors=copies, ids=pool.ids[: len(copies)])
    assert len(set(select("look-alikes", only_twins, 8, seed=0).indices[:4].tolist())) == 4


def test_one_image_is_a_look_alike_and_halves_are_rounded_up() -> None:
    pool, truth, examples = rare_pool()
    pool = replace(pool, labelled_vectors=examples[1:], labelled_y=np.array([1]))
    only = select("look-alikes", pool, 1, seed=0)
    assert only.why == ("look-alike",)
    assert truth[only.indices[0]] == 1
    assert select("look-alikes", pool, 5, seed=0).why.count("look-alike") == 3


def test_without_a_label_it_is_a_cold_start() -> None:
    pool, _, _ = rare_pool()
    alike, cold = select("look-alikes", pool, 6, seed=3), select("cold-start", pool, 6, seed=3)
    assert alike.indices.tolist() == cold.indices.tolist()
    assert alike.why == cold.why


def test_rarest_class() -> None:
    assert rarest_class(np.array([2, 2, 0, 0, 0])) == 2
    assert rarest_class(np.array([1, 0, 1, 0])) == 0
    assert rarest_class(np.array([4])) == 4
