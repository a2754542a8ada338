"""Folds and temperature."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labeler.rank import calibration, logistic


@given(st.lists(st.integers(2, 30), min_size=2, max_size=5), st.integers(0, 3))
def test_every_fold_leaves_every_class_in_training(sizes: list[int], seed: int) -> None:
    y = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes))
    folds = calibration.stratified_folds(y, 5, seed)
    assert folds is not None
    assert set(folds) == set(range(min(5, *sizes)))
    for fold in range(folds.max() + 1):
        assert set(y[folds != fold]) == set(range(len(sizes)))
        for number, size in enumerate(sizes):
            assert abs(np.sum(y[folds == fold] == number) - size / (folds.max() + 1)) < 1
    assert np.ptp(np.bincount(folds)) <= 1


def test_folds_follow_the_seed() -> None:
    y = np.arange(40) % 2
    first, again, other = (calibration.stratified_folds(y, 5, seed) for seed in (0, 0, 1))
    assert first is not None
    assert again is not None
    assert other is not None
    assert (first == again).all()
    assert (first != other).any()


def test_a_class_with_one_label_cannot_be_folded() -> None:
    assert calibration.stratified_folds(np.array([0, 0, 0, 1]), 5, 0) is None


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
    assert 0.5 < few < 1.0
    assert calibration.LOWEST <= many < few


def test_stays_within_bounds() -> None:
    always_wrong = calibration.fit_temperature(np.full((500, 1), 9.0), np.zeros((500, 1)))
    assert always_wrong == pytest.approx(calibration.HIGHEST, rel=1e-3)
