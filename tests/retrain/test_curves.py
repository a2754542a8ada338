"""What curves say together: every figure by hand once, and what must hold of all of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from labeler.retrain import curves
from labeler.retrain.curves import Runs

#: Two seeds, both with 98.5 % at the end of all labels: the target is 98 %.
FIRST, SECOND, FULL = [0.90, 0.98, 0.99], [0.94, 0.96, 1.00], {0: 0.985, 1: 0.985}


def curve(seed: int, accuracy: list[float], labels: list[int] | None = None) -> dict[str, Any]:
    counts = labels or [10 * number for number in range(1, len(accuracy) + 1)]
    balanced = [value - 0.01 for value in accuracy]
    return {"seed": seed, "labels": counts, "accuracy": accuracy, "balanced_accuracy": balanced}


def both() -> Runs:
    return curves.together("it", [curve(0, FIRST), curve(1, SECOND)], FULL)


@st.composite
def some_runs(draw: st.DrawFn) -> Runs:
    """One to five seeds, up to eight rounds of any size, accuracies in hundredths."""
    seeds, rounds = draw(st.integers(1, 5)), draw(st.integers(1, 8))
    labels = np.cumsum(draw(st.lists(st.integers(1, 60), min_size=rounds, max_size=rounds)))
    values = draw(st.lists(st.integers(0, 100), min_size=seeds * rounds, max_size=seeds * rounds))
    ends = draw(st.lists(st.integers(0, 100), min_size=seeds, max_size=seeds))
    accuracy = np.array(values).reshape(seeds, rounds) / 100
    return Runs("it", labels, accuracy, accuracy, np.array(ends) / 100)


# ------------------------------------------------------------------------------------------------------------ by hand


def test_the_summary_by_hand() -> None:
    found = curves.summary(both())
    assert (found["strategy"], found["seeds"], found["labels"]) == ("it", 2, [10, 20, 30])
    assert found["mean"] == pytest.approx([0.92, 0.97, 0.995])
    assert found["balanced_mean"] == pytest.approx([0.91, 0.96, 0.985])
    assert found["band"] == [pytest.approx(pair) for pair in ([0.904, 0.936], [0.962, 0.978], [0.991, 0.999])]
    # (0.94 + 0.985) / 2 for the first seed, (0.95 + 0.98) / 2 for the second
    assert found["area"] == pytest.approx((0.9625 + 0.965) / 2)
    assert found["target"] == pytest.approx(0.98)
    assert found["labels_to_target"] == 30
    # Of the four draws of two seeds only twice the first one is there at 20 labels.
    assert found["labels_to_target_interval"] == [20, 30]


def test_the_target_is_that_of_the_seeds_together() -> None:
    """One seed is beyond its own target, the other behind by more."""
    runs = curves.together("it", [curve(0, [0.90, 0.95]), curve(1, [0.80, 0.839])], {0: 0.95, 1: 0.85})
    assert curves.summary(runs)["labels_to_target"] is None
    assert curves.summary(runs, behind=0.01)["labels_to_target"] == 20
    assert curves.summary(runs, behind=0.01)["target"] == pytest.approx(0.89)


def test_what_is_not_reached_is_none() -> None:
    found = curves.summary(curves.together("it", [curve(0, FIRST), curve(1, [0.9, 0.9, 0.9])], FULL))
    assert found["labels_to_target"] is None
    assert found["labels_to_target_interval"] == [20, None]


def test_a_target_that_is_met_exactly_is_met() -> None:
    """0.985 - 0.005 is not 0.98 in floating point."""
    runs = curves.together("it", [curve(0, [0.5, 0.98])], {0: 0.985})
    assert curves.summary(runs)["labels_to_target"] == 20


def test_only_label_counts_that_all_seeds_have_are_compared() -> None:
    runs = curves.together("it", [curve(0, FIRST), curve(1, [0.7, 0.8], [20, 25])], FULL)
    assert runs.labels.tolist() == [20]
    assert runs.accuracy.tolist() == [[0.98], [0.7]]
    assert runs.balanced_accuracy.tolist() == [[0.97], [pytest.approx(0.69)]]
    assert curves.summary(runs)["area"] == pytest.approx(0.84), "one point is its own mean"


def test_seeds_keep_their_own_full_supervision() -> None:
    runs = curves.together("it", [curve(7, FIRST), curve(3, SECOND)], {3: 0.3, 7: 0.7})
    assert runs.full.tolist() == [0.7, 0.3]


def test_a_wide_step_counts_for_more() -> None:
    runs = curves.together("it", [curve(0, [0.5, 0.7, 0.9], [10, 20, 100])], {0: 1.0})
    assert curves.areas(runs) == pytest.approx([(10 * 0.6 + 80 * 0.8) / 90])


def test_the_paired_difference_by_hand() -> None:
    worse = curves.together("other", [curve(0, [0.88, 0.96, 0.97]), curve(1, [0.90, 0.92, 0.96])], FULL)
    mean, error = curves.paired(both(), worse)
    # 0.02 for the first seed, 0.04 for the second: mean 0.03, standard deviation 0.01 sqrt(2)
    assert mean == pytest.approx(0.03)
    assert error == pytest.approx(0.01)


def test_the_difference_is_taken_where_both_were_measured() -> None:
    longer = curves.together("longer", [curve(0, [*FIRST, 0.1]), curve(1, [*SECOND, 0.1])], FULL)
    assert list(curves.paired(both(), longer)) == pytest.approx([0.0, 0.0])


def test_one_seed_has_no_standard_error() -> None:
    one = curves.together("one", [curve(0, FIRST)], FULL)
    mean, error = curves.paired(one, one)
    assert mean == 0.0
    assert np.isnan(error)


# ---------------------------------------------------------------------------------------------------- what must hold


@settings(deadline=None, max_examples=15)
@given(some_runs())
def test_figures_stay_within_what_they_sum_up(runs: Runs) -> None:
    found = curves.summary(runs)
    assert runs.accuracy.min() - 1e-9 <= found["area"] <= runs.accuracy.max() + 1e-9
    assert all(low <= high for low, high in found["band"])
    possible = {*runs.labels.tolist(), None}
    assert {found["labels_to_target"], *found["labels_to_target_interval"]} <= possible
    low, high = (np.inf if end is None else end for end in found["labels_to_target_interval"])
    assert low <= high
    assert found == curves.summary(runs), "the same again"


@settings(deadline=None, max_examples=15)
@given(some_runs(), st.integers(0, 50), st.integers(0, 50))
def test_a_lower_target_is_never_reached_later(runs: Runs, one: int, other: int) -> None:
    near, far = sorted((one / 100, other / 100))
    at = [curves.summary(runs, behind=behind)["labels_to_target"] for behind in (far, near)]
    assert (at[0] or np.inf) <= (at[1] or np.inf)


@settings(deadline=None, max_examples=10)
@given(some_runs(), st.randoms(use_true_random=False))
def test_the_order_of_the_seeds_does_not_matter(runs: Runs, random: Any) -> None:
    order = list(range(len(runs.full)))
    random.shuffle(order)
    mixed = Runs("it", runs.labels, runs.accuracy[order], runs.balanced_accuracy[order], runs.full[order])
    found, other = curves.summary(runs), curves.summary(mixed)
    assert other["labels_to_target"] == found["labels_to_target"]
    for name in ("mean", "band", "area"):
        assert np.asarray(other[name]) == pytest.approx(np.asarray(found[name])), name


@settings(deadline=None, max_examples=40)
@given(some_runs())
def test_a_strategy_is_as_far_before_another_as_that_is_behind_it(runs: Runs) -> None:
    other = Runs("other", runs.labels, runs.accuracy**2, runs.balanced_accuracy, runs.full)
    (there, error), (back, same) = curves.paired(runs, other), curves.paired(other, runs)
    assert there == pytest.approx(-back)
    assert there >= -1e-12
    assert np.isnan(error) if len(runs.full) == 1 else error == pytest.approx(same)
