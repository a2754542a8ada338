"""Folds and temperature."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.rank import calibration, logistic


@given(st.lists(st.integers(2, 30), min_size=2, max_size=5), st.integers(0, 3))
def test_every_fold_leaves_every_class_in_training(sizes: list[int], seed: int) -> None:
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    folds = calibration.stratified_folds(y, 5, seed)
    assert calibration.foldable(y)
    assert set(folds) == set(range(min(5, *sizes)))
    for fold in range(folds.max() + 1):
        assert set(y[folds != fold]) == set(range(len(sizes)))
        for number, size in enumerate(sizes):
            assert abs(np.sum(y[folds == fold] == number) - size / (folds.max() + 1)) < 1
    assert np.ptp(np.bincount(folds)) <= 1


def test_folds_follow_the_seed() -> None:
    y = np.arange(40) % 2
    first, again, other = (calibration.stratified_folds(y, 5, seed) for seed in (0, 0, 1))
    assert (first == again).all()
    assert (first != other).any()


def test_a_class_with_one_label_cannot_be_held_out() -> None:
    assert not calibration.foldable(np.array([0, 0, 0, 1]))
    assert calibration.foldable(np.array([0, 0, 1, 1]))


@pytest.mark.parametrize("C", [0.3, 30.0])
@pytest.mark.parametrize("width", [5, 200])
def test_leave_one_out_is_near_to_fitting_without_each(C: float, width: int) -> None:
    rng = np.random.default_rng(0)
    X = rng.normal(size=(60, width))
    y = (X[:, 0] + rng.normal(size=60) > 0).astype(int)
    X /= np.linalg.norm(X, axis=1, keepdims=True)
    targets = (y == 0).astype(np.float64)[:, None]
    Z = logistic.reduce_rows(X)
    found = calibration.leave_one_out(Z, targets, logistic.fit(Z, targets, C), C)
    exact = np.empty((60, 1))
    for i in range(60):
        rest = np.arange(60) != i
        without = logistic.fit(Z[rest], targets[rest], C)
        exact[i] = Z[i] @ without[:-1] + without[-1]
    found_p, exact_p = logistic.probabilities(found)[:, 0], logistic.probabilities(exact)[:, 0]
    fitted_p = logistic.probabilities(Z @ (w := logistic.fit(Z, targets, C))[:-1] + w[-1])[:, 0]
    assert np.abs(found_p - exact_p).mean() < 0.02
    assert np.abs(found_p - exact_p).mean() < 0.15 * np.abs(fitted_p - exact_p).mean() + 0.002


def test_leave_one_out_of_labels_known_by_heart() -> None:
    Z = np.vstack([10 * np.eye(6), 10 * np.eye(6)])
    targets = np.tile([[1.0], [0.0]], (6, 1))
    targets[6:] = targets[:6]
    held_out = calibration.leave_one_out(Z, targets, logistic.fit(Z, targets, 1e4), 1e4)
    assert np.isfinite(held_out).all()
    assert ((held_out > 0) == (targets > 0.5)).all()


def test_labels_stand_for_the_images_near_them() -> None:
    labelled = np.eye(3)
    pool = np.array([[1.0, 0.1, 0], [0.9, 0, 0.1], [0.1, 1.0, 0], [1.0, 0, 0]])
    found = calibration.images_represented(labelled, pool, np.random.default_rng(0))
    np.testing.assert_allclose(found, np.array([4, 2, 1]) * 3 / 7)
    alone = calibration.images_represented(labelled, pool[:0], np.random.default_rng(0))
    np.testing.assert_allclose(alone, 1.0)


def test_a_large_pool_is_represented_by_a_sample() -> None:
    rng = np.random.default_rng(0)
    pool = np.eye(2)[rng.integers(0, 4, size=20_000) // 3]
    found = calibration.images_represented(np.eye(2), pool, np.random.default_rng(1))
    np.testing.assert_allclose(found, [1.5, 0.5], atol=0.06)


def test_a_weight_of_nought_leaves_a_label_out_and_only_proportions_count() -> None:
    rng = np.random.default_rng(0)
    logits = 3 * rng.normal(size=(300, 1))
    targets = (rng.uniform(size=(300, 1)) < logistic.probabilities(logits / 2)[:, :1]).astype(np.float64)
    kept = rng.random(300) < 0.5
    alone = calibration.fit_temperature(logits[kept], targets[kept])
    assert calibration.fit_temperature(logits, targets, kept.astype(float)) == pytest.approx(alone)
    assert calibration.fit_temperature(logits, targets, 7.0 * kept.astype(float)) == pytest.approx(alone)


def test_few_labels_that_stand_for_much_count_as_few() -> None:
    # All right and far from certain: the more such labels, the surer the head may become.
    logits, targets = np.full((100, 1), 1.0), np.ones((100, 1))
    even = calibration.fit_temperature(logits, targets)
    uneven = np.where(np.arange(100) < 5, 19.0, 5 / 95)
    assert even < calibration.fit_temperature(logits, targets, uneven) < math.exp(calibration.PRIOR_MEAN)


@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("factor", [0.5, 1.0, 3.0])
def test_finds_the_factor_by_which_logits_are_too_large(classes: int, factor: float) -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(4000, 1 if classes == 2 else classes)) * 2
    p = logistic.probabilities(logits)
    y = (rng.uniform(size=(4000, 1)) > p.cumsum(axis=1)).sum(axis=1)
    targets = (y == 0).astype(float)[:, None] if classes == 2 else np.eye(classes)[y]
    assert calibration.fit_temperature(factor * logits, targets) == pytest.approx(factor, rel=0.1)


def test_a_few_labels_do_not_make_it_certain() -> None:
    few = calibration.fit_temperature(np.array([[3.0], [-3.0], [2.0], [-2.0]]), np.array([[1.0], [0.0], [1.0], [0.0]]))
    many = calibration.fit_temperature(np.tile([[3.0], [-3.0]], (500, 1)), np.tile([[1.0], [0.0]], (500, 1)))
    assert 0.5 < few < math.exp(calibration.PRIOR_MEAN)
    assert calibration.LOWEST <= many < few


def test_stays_within_bounds() -> None:
    always_wrong = calibration.fit_temperature(np.full((500, 1), 9.0), np.zeros((500, 1)))
    assert always_wrong == pytest.approx(calibration.HIGHEST, rel=1e-3)
