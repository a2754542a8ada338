"""Every metric against scikit-learn."""

from __future__ import annotations

import json
import warnings

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn import metrics as reference

from labeler.domain import InvalidScores
from labeler.retrain.evaluate import ECE_BINS, estimate, intervals, metrics, reliability, wilson

Case = tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]


@st.composite
def cases(draw: st.DrawFn, classes: int) -> Case:
    """Truths and probabilities, with ties, and with classes that do not occur."""
    n = draw(st.integers(1, 40))
    y = np.array(draw(st.lists(st.integers(0, classes - 1), min_size=n, max_size=n)))
    parts = draw(st.lists(st.lists(st.integers(0, 4), min_size=classes, max_size=classes), min_size=n, max_size=n))
    counts = np.array(parts, dtype=np.float64) + 1e-3
    return y, counts / counts.sum(axis=1, keepdims=True)


def names_of(classes: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(classes))


@settings(deadline=None, max_examples=80)
@given(cases(2))
def test_two_classes_as_scikit_learn(case: Case) -> None:
    y, p = case
    found = metrics(y, p, classes=names_of(2), split="test")
    predicted = p.argmax(axis=1)
    assert found["accuracy"] == pytest.approx(reference.accuracy_score(y, predicted))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(y, predicted))
    for name, function in (
        ("precision", reference.precision_score),
        ("recall", reference.recall_score),
        ("f1", reference.f1_score),
    ):
        assert found[name] == pytest.approx(function(y, predicted, pos_label=0, zero_division=0)), name
    if len(set(y)) == 2:
        assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(y == 0, p[:, 0]))
    else:
        assert found["roc_auc"] is None
    assert found["confusion"] == reference.confusion_matrix(y, predicted, labels=[0, 1]).tolist()


@settings(deadline=None, max_examples=60)
@given(cases(4))
def test_more_classes_as_scikit_learn(case: Case) -> None:
    y, p = case
    found = metrics(y, p, classes=names_of(4), split="test")
    predicted = p.argmax(axis=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert found["balanced_accuracy"] == pytest.approx(reference.balanced_accuracy_score(y, predicted))
    for name, function in (
        ("precision", reference.precision_score),
        ("recall", reference.recall_score),
        ("f1", reference.f1_score),
    ):
        assert found[name] == pytest.approx(function(y, predicted, average="macro", zero_division=0)), name
    assert found["confusion"] == reference.confusion_matrix(y, predicted, labels=range(4)).tolist()
    assume(len(set(y)) == 4)
    assert found["roc_auc"] == pytest.approx(reference.roc_auc_score(y, p, multi_class="ovr", average="macro"))


@settings(deadline=None)
@given(cases(3))
def test_calibration_error_by_its_definition(case: Case) -> None:
    y, p = case
    confidence, correct = p.max(axis=1), p.argmax(axis=1) == y
    expected = 0.0
    for i in range(ECE_BINS):
        inside = (confidence > i / ECE_BINS) & (confidence <= (i + 1) / ECE_BINS)
        if inside.any():
            expected += inside.mean() * abs(correct[inside].mean() - confidence[inside].mean())
    assert metrics(y, p, classes=names_of(3), split="test")["ece"] == pytest.approx(expected, abs=1e-9)


def test_calibration_error_of_a_calibrated_and_of_a_boastful_model() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(size=50_000)
    y = (rng.uniform(size=50_000) >= p).astype(np.int64)
    assert metrics(y, np.column_stack([p, 1 - p]), classes=names_of(2), split="test")["ece"] < 0.01
    always = np.tile([1.0, 0.0], (50_000, 1))
    assert metrics(y, always, classes=names_of(2), split="test")["ece"] == pytest.approx(0.5, abs=0.01)


def test_the_contracts_keys_as_plain_json() -> None:
    y = np.array([0, 0, 1, 1, 1])
    p = np.array([[0.9, 0.1], [0.4, 0.6], [0.2, 0.8], [0.3, 0.7], [0.6, 0.4]])
    found = metrics(y, p, classes=("withMask", "withoutMask"), split="test")
    assert list(found) == [
        "split",
        "n",
        "accuracy",
        "balanced_accuracy",
        "precision",
        "recall",
        "f1",
        "roc_auc",
        "ece",
        "confusion",
        "intervals",
        "reliability",
    ]
    assert json.loads(json.dumps(found)) == found
    # Rows are the truth: one withMask was taken for withoutMask, one withoutMask for withMask.
    assert (found["split"], found["n"], found["confusion"]) == ("test", 5, [[1, 1], [1, 2]])
    assert found["accuracy"] == 0.6
    assert found["precision"] == 0.5
    assert found["roc_auc"] == pytest.approx(5 / 6)


def test_what_cannot_be_evaluated() -> None:
    y, p = np.array([0, 1]), np.array([[0.5, 0.5], [0.2, 0.8]])
    wrong: list[tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]] = [
        (y[:1], p),
        (y, p[:, :1]),
        (y, p[0]),
        (y[:0], p[:0]),
        (y + 1, p),
        (y - 1, p),
        (y, np.where(p == 0.2, np.nan, p)),
    ]
    for labels, probabilities in wrong:
        with pytest.raises(InvalidScores):
            metrics(labels, probabilities, classes=names_of(2), split="test")


def test_an_estimate_says_that_it_is_one_and_claims_nothing_more() -> None:
    found = estimate(0.93, 40)
    assert (found["split"], found["estimated"], found["n"], found["accuracy"]) == ("estimate", True, 40, 0.93)
    p = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.5]])
    of_metrics = metrics(np.array([0, 1, 0]), p, classes=names_of(2), split="test")
    assert set(found) == set(of_metrics) | {"estimated"}
    assert {found[key] for key in set(of_metrics) - {"split", "n", "accuracy"}} == {None}


@settings(deadline=None, max_examples=60)
@given(st.integers(1, 500), st.data())
def test_the_bounds_of_a_share_are_where_the_score_test_just_rejects(n: int, data: st.DataObject) -> None:
    """Wilson's definition: the share p at which the one observed lies 1.96 standard errors (of p itself) away."""
    hits = data.draw(st.integers(0, n))
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    assert low == 0 if hits == 0 else (hits / n - low) / np.sqrt(low * (1 - low) / n) == pytest.approx(1.959964)
    assert high == 1 if hits == n else (high - hits / n) / np.sqrt(high * (1 - high) / n) == pytest.approx(1.959964)


@settings(deadline=None, max_examples=40)
@given(st.integers(2, 4), st.data())
def test_intervals_hold_the_value_and_stay_within_0_and_1(classes: int, data: st.DataObject) -> None:
    y, p = data.draw(cases(classes))
    found = metrics(y, p, classes=names_of(classes), split="test")
    for key in ("accuracy", "f1"):
        low, high = found["intervals"][key]
        assert 0 <= low <= found[key] <= high <= 1
    assert found["intervals"] == intervals(found["confusion"])


def test_intervals_cover_the_truth_as_often_as_they_say() -> None:
    """300 test sets of 100 images from a model whose true accuracy and F1 are known."""
    cells = np.array([[0.40, 0.05], [0.10, 0.45]])
    true = {"accuracy": 0.85, "f1": 2 * 0.40 / (2 * 0.40 + 0.05 + 0.10)}
    rng = np.random.default_rng(1)
    drawn = [intervals(rng.multinomial(100, cells.ravel()).reshape(2, 2).tolist()) for _ in range(300)]
    for key, value in true.items():
        covered = np.mean([low <= value <= high for low, high in (found[key] for found in drawn)])
        assert 0.91 <= covered <= 0.99, key


def test_a_faultless_model_on_ten_images_is_not_certain() -> None:
    for low, high in intervals([[5, 0], [0, 5]]).values():
        assert high == 1
        assert 0.6 < low < 0.95


@settings(deadline=None, max_examples=40)
@given(cases(3))
def test_reliability_bins_add_up_to_the_calibration_error(case: Case) -> None:
    y, p = case
    found = metrics(y, p, classes=names_of(3), split="test")
    bins = reliability(p.argmax(axis=1) == y, p.max(axis=1))
    assert found["reliability"] == bins
    assert sum(one["n"] for one in bins) == len(y)
    gap = sum(one["n"] * abs(one["confidence"] - one["accuracy"]) for one in bins) / len(y)
    assert gap == pytest.approx(found["ece"])
    assert sum(one["hits"] for one in bins) == pytest.approx(found["accuracy"] * len(y))
