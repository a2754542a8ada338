"""The numpy solver against scikit-learn, which is the definition of what it must find."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from sklearn.linear_model import LogisticRegression

from labeler.rank import logistic


def problem(
    n: int, classes: int, dimension: int = 60, seed: int = 0
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    rng = np.random.default_rng(seed)
    y = rng.permutation(np.arange(n) % classes)
    X = rng.normal(size=(n, dimension)) + 0.4 * rng.normal(size=(classes, dimension))[y]
    return X / np.linalg.norm(X, axis=1, keepdims=True), y


def targets_of(y: npt.NDArray[np.int64], classes: int) -> npt.NDArray[np.float64]:
    return (y == 0).astype(np.float64)[:, None] if classes == 2 else np.eye(classes)[y]


def reference(X: npt.NDArray[np.float64], y: npt.NDArray[np.int64], C: float) -> npt.NDArray[np.float64]:
    fitted = LogisticRegression(C=C, tol=1e-10, max_iter=100_000).fit(X, y)
    out: npt.NDArray[np.float64] = fitted.predict_proba(X)
    return out


@pytest.mark.parametrize("classes", [2, 3, 10])
@pytest.mark.parametrize("n", [20, 50, 200])
@pytest.mark.parametrize("C", [0.01, 1.0, 30.0])
def test_same_optimum_as_scikit_learn(n: int, classes: int, C: float) -> None:
    X, y = problem(n, classes)
    Z = logistic.reduce_rows(X)
    parameters = logistic.fit(Z, targets_of(y, classes), C)
    found = logistic.probabilities(Z @ parameters[:-1] + parameters[-1])
    np.testing.assert_allclose(found, reference(X, y, C), atol=1e-4)


def test_reduced_rows_keep_every_inner_product() -> None:
    X, _ = problem(25, 2)
    X[7] = X[3]
    Z = logistic.reduce_rows(X.astype(np.float32))
    assert Z.shape == (25, 25)
    assert Z.dtype == np.float64
    np.testing.assert_allclose(Z @ Z.T, X @ X.T, atol=1e-6)
    tall, _ = problem(50, 2)
    np.testing.assert_array_equal(logistic.reduce_rows(tall), tall)


@pytest.mark.parametrize("n", [2, 3, 40])
def test_twins_and_zeros_can_be_reduced(n: int) -> None:
    for X in (np.zeros((n, 200)), np.ones((n, 200)), np.full((n, 200), 1e-9)):
        assert np.isfinite(logistic.reduce_rows(X)).all()


def test_start_changes_the_way_and_not_the_end() -> None:
    X, y = problem(40, 2)
    targets = targets_of(y, 2)
    cold = logistic.fit(X, targets, 30.0)
    warm = logistic.fit(X, targets, 30.0, start=cold + 0.3)
    np.testing.assert_allclose(
        logistic.probabilities(X @ warm[:-1] + warm[-1]), logistic.probabilities(X @ cold[:-1] + cold[-1]), atol=1e-5
    )


def test_extreme_logits_stay_finite() -> None:
    with np.errstate(all="raise", under="ignore"):
        two = logistic.probabilities(np.array([[-1e4], [0.0], [1e4]]))
        three = logistic.probabilities(np.array([[1e4, -1e4, 0.0]]))
    assert two.tolist() == [[0.0, 1.0], [0.5, 0.5], [1.0, 0.0]]
    assert three.tolist() == [[1.0, 0.0, 0.0]]


def test_badly_scaled_columns() -> None:
    X, y = problem(100, 2, dimension=20)
    X = X * np.logspace(-3, 2, 20)
    parameters = logistic.fit(X, targets_of(y, 2), 1.0)
    found = logistic.probabilities(X @ parameters[:-1] + parameters[-1])
    np.testing.assert_allclose(found, reference(X, y, 1.0), atol=1e-3)
