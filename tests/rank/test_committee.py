"""The committee: what its heads learn, and what they dispute."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression

from labeler.rank import committee
from labeler.rank.strategies import Pool, select


def task(
    classes: int, n: int = 60, width: int = 40, seed: int = 0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Lumps that overlap, one for each class."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % classes
    return (rng.normal(size=(classes, width))[y] + rng.normal(size=(n, width))).astype(np.float32), y.astype(np.int64)


def pool_of(
    X: npt.NDArray[np.float32], p: npt.NDArray[np.float64], X_l: npt.NDArray[np.float32], y_l: npt.NDArray[np.int64]
) -> Pool:
    return Pool(X, np.array([f"{i:05d}" for i in range(len(X))]), p, X_l, y_l)


@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("n", [12, 60])
def test_a_head_is_scikit_learns_on_the_same_sample(classes: int, n: int) -> None:
    """Both ways to the weights: n small against the dimensions, and not."""
    X, y = task(classes, n)
    weights, bias = committee._heads(X, y, classes, np.random.default_rng(3))
    rng = np.random.default_rng(3)
    for head in range(committee.HEADS):
        drawn = committee.bootstrap(y, rng)
        exact = X.astype(np.float64)
        reference = LogisticRegression(C=committee.C, max_iter=5000, tol=1e-8).fit(exact[drawn], y[drawn])
        ours = X @ weights[head] + bias[head]
        # For two classes ours is the logit of the first, scikit-learn's that of the second.
        theirs = -reference.decision_function(exact)[:, None] if classes == 2 else reference.decision_function(exact)
        np.testing.assert_allclose(ours - ours.mean(axis=1, keepdims=True) * (classes > 2), theirs, atol=0.01)


def test_every_sample_holds_every_class() -> None:
    y = np.array([0] * 50 + [3])
    for seed in range(50):
        drawn = committee.bootstrap(y, np.random.default_rng(seed))
        assert drawn.shape == (51,)
        assert set(y[drawn]) == {0, 3}


def test_what_the_heads_dispute_comes_first() -> None:
    X, y = task(2, 400, width=6)
    p = np.full(len(X) - 30, 0.6)
    pool = pool_of(X[30:], np.column_stack([p, 1 - p]), X[:30], y[:30])
    selection = select("committee", pool, 40, seed=0)
    votes = committee._vote_entropy(pool, np.arange(len(pool)), np.random.default_rng(0))
    assert (np.diff(votes[selection.indices]) <= 0).all()
    assert votes[selection.indices].min() >= np.delete(votes, selection.indices).max() > 0.0
    assert selection.why[0] == "disputed"
    # The disputed lie nearer to the border of the two lumps than the rest.
    axis = X[y == 0].mean(axis=0) - X[y == 1].mean(axis=0)
    along = np.abs((X[30:] - X.mean(axis=0)) @ axis)
    assert along[selection.indices].mean() < 0.6 * along.mean()


def test_equal_votes_go_by_uncertainty() -> None:
    """Lumps far apart: all heads agree on everything."""
    X, y = task(2, 60, width=6)
    X += 30 * (2 * y[:, None] - 1).astype(np.float32)
    p = np.random.default_rng(0).uniform(size=40)
    pool = pool_of(X[20:], np.column_stack([p, 1 - p]), X[:20], y[:20])
    selection = select("committee", pool, 7, seed=0)
    assert selection.indices.tolist() == select("uncertainty", pool, 7, seed=0).indices.tolist()
    assert set(selection.why) == {"uncertain"}


def test_without_a_second_class_it_is_uncertainty() -> None:
    X, y = task(2, 60)
    p = np.random.default_rng(0).uniform(size=40)
    pool = pool_of(X[20:], np.column_stack([p, 1 - p]), X[:20], np.zeros(20, dtype=np.int64))
    plain = select("uncertainty", pool, 7, seed=0).indices.tolist()
    assert select("committee", pool, 7, seed=0).indices.tolist() == plain
    empty = replace(pool, labelled_vectors=X[:0], labelled_y=y[:0])
    assert select("committee", empty, 7, seed=0).indices.tolist() == plain


def test_only_the_most_uncertain_are_voted_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(committee, "VOTED", 30)
    monkeypatch.setattr(committee, "VOTED_PER_CHOICE", 2)
    X, y = task(2, 300)
    p = np.random.default_rng(0).uniform(size=280)
    pool = pool_of(X[20:], np.column_stack([p, 1 - p]), X[:20], y[:20])
    assert set(select("committee", pool, 5, seed=0).indices) <= set(np.argsort(np.abs(p - 0.5))[:30])
