"""Expected errors and accuracy: right where the probabilities are, wide where little is known, moved by an audit."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeler.rank import quality
from labeler.rank.quality import accuracy, expected_errors

NONE = np.empty(0, dtype=np.int64)


def both(p: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.column_stack([p, 1.0 - p])


def test_of_no_image_no_error_is_expected() -> None:
    assert expected_errors(np.empty((0, 2)), None) == quality.Errors(0.0, 0.0, 0.0)


def test_the_expectation_is_what_the_probabilities_leave_to_chance() -> None:
    found = expected_errors(both(np.array([0.9, 0.2, 0.5])), None)
    assert found.expected == pytest.approx(0.1 + 0.2 + 0.5)
    assert found.low <= found.expected <= found.high


@settings(deadline=None, max_examples=40)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=30), st.integers(2, 4))
def test_bounds_are_bounds(values: list[float], classes: int) -> None:
    p = np.array(values)
    probabilities = np.column_stack([p, *[(1.0 - p) / (classes - 1)] * (classes - 1)])
    found = expected_errors(probabilities, probabilities)
    assert 0.0 <= found.low <= found.expected <= found.high <= len(p)
    share = accuracy(probabilities, probabilities, np.zeros(len(p), dtype=np.int64), NONE)
    assert 0.0 <= share.low <= share.accuracy <= share.high <= 1.0


def test_labels_narrow_the_interval() -> None:
    rng = np.random.default_rng(0)
    pool, held_out = both(rng.beta(0.4, 0.4, 2_000)), both(rng.beta(1.0, 1.0, 400))
    y = np.zeros(400, dtype=np.int64)
    few = accuracy(pool, held_out[:20], y[:20], NONE)
    many = accuracy(pool, held_out, y, NONE)
    assert many.high - many.low < 0.8 * (few.high - few.low)


def test_a_sample_speaks_for_the_pool() -> None:
    rng = np.random.default_rng(0)
    pool, held_out = both(rng.beta(0.2, 0.2, 4_000)), both(rng.uniform(0.3, 0.7, 100))
    y = np.zeros(100, dtype=np.int64)
    whole = accuracy(pool, held_out, y, NONE)
    sample = accuracy(pool[:1_000], held_out, y, NONE, pool=4_000)
    assert sample.accuracy == pytest.approx(whole.accuracy, abs=0.01)
    assert sample.accuracy > accuracy(pool[:1_000], held_out, y, NONE).accuracy + 0.01


@pytest.mark.parametrize("temperature", [0.8, 1.0, 1.3])
def test_the_truth_lies_within_as_often_as_said(temperature: float) -> None:
    """Probabilities that are too sure or too modest by as much as real heads are."""
    inside = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        logits = 2.5 * rng.standard_normal(3_000)
        truth = rng.random(3_000) < 1.0 / (1.0 + np.exp(-logits / temperature))
        said = both(1.0 / (1.0 + np.exp(-logits)))
        found = expected_errors(said[:2_800], said[2_800:])
        wrong = int(((logits > 0) != truth)[:2_800].sum())
        inside += found.low <= wrong <= found.high
    assert inside >= 0.8 * 60


def test_an_audit_corrects_a_model_that_is_too_sure() -> None:
    rng = np.random.default_rng(0)
    pool = both(np.where(rng.random(2_000) < 0.5, 0.97, 0.03))
    held_out, y = pool[:100], (rng.random(100) < 0.3).astype(np.int64)
    y = np.where(pool[:100, 0] > 0.5, y, 1 - y)  # 30 % of what it says is wrong, and it expects 3 %
    believed = accuracy(pool, held_out, y, NONE)
    audited = accuracy(pool, held_out, y, np.arange(100))
    assert believed.accuracy == pytest.approx(0.97, abs=1e-6)
    assert audited.accuracy < 0.88
    assert audited.low < audited.accuracy < audited.high


def test_an_audit_without_a_mistake_makes_the_bounds_closer() -> None:
    pool = both(np.full(1_000, 0.9))
    held_out, y = pool[:200], np.zeros(200, dtype=np.int64)
    alone, audited = accuracy(pool, held_out, y, NONE), accuracy(pool, held_out, y, np.arange(200))
    assert audited.accuracy > alone.accuracy
    assert audited.high - audited.low < alone.high - alone.low


def test_with_nothing_to_go_by_nothing_is_claimed() -> None:
    found = accuracy(np.empty((0, 2)), None, NONE, NONE)
    assert (found.low, found.high) == (0.0, 1.0)
