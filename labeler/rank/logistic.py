"""L2-regularised logistic regression for few rows and many columns, in numpy alone.

The optimum is that of ``sklearn.linear_model.LogisticRegression(C=C)`` (tests hold the two together); what differs is
the cost. A warm round is one short process: importing scikit-learn would take longer than everything it does.

Measured on 2 cores, 3104 dimensions, C = 30: 50 labels 15 ms (scikit-learn's fit 107), 1000 labels 300 ms (324), and
closer to the optimum than scikit-learn's default tolerance comes (1e-5 against 1e-2 in probability).

With n labels in D dimensions, n << D, the optimum lies in the span of the n rows (representer theorem), and the L2
penalty does not change under rotation. So the Gram matrix X X^T is factorised once into Z Z^T with Z of shape (n, n),
the same problem is solved on Z, and the weights come back from the optimality condition W = C X^T (Y - P).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

Float64 = npt.NDArray[np.float64]

_MEMORY = 12
_MAX_ITERATIONS = 1000
_TOLERANCE = 1e-7
_ARMIJO = 1e-4
# Relative to the mean squared length of a row: makes the factorisation of a Gram matrix with twin rows possible,
# and is equal to giving every row a private dimension of 1e-5 of its length, far below float32's own rounding.
_JITTER = 1e-10


def reduce_rows(X: npt.NDArray[np.floating]) -> Float64:
    """Coordinates with the same inner products as the rows of X in at most as many dimensions.

    Args:
        X: (n, D) rows.

    Returns:
        float64 (n, n), the Cholesky factor of X X^T; or X itself where n > D / 2, as the smaller problem would then
        no longer pay for the factorisation.
    """
    exact = np.asarray(X, dtype=np.float64)
    n, dimension = exact.shape
    if 2 * n > dimension:
        return exact
    gram = exact @ exact.T
    gram[np.diag_indices(n)] += _JITTER * (float(np.trace(gram)) / n or 1.0)
    return np.linalg.cholesky(gram).astype(np.float64, copy=False)


def fit(Z: Float64, targets: Float64, C: float, start: Float64 | None = None) -> Float64:
    """Minimise ``||W||^2 / 2 + C * sum(negative log-likelihood)``; the intercept is not penalised.

    Args:
        Z: (n, r) rows.
        targets: (n, c) one-hot rows; c = 1 means the logistic loss of one logit (1 for the first class, else 0),
            c >= 3 the softmax loss.
        C: inverse regularisation strength, > 0.
        start: (r + 1, c) parameters to start from.

    Returns:
        (r + 1, c): the weights, and the intercepts in the last row.
    """
    n, r = Z.shape
    c = targets.shape[1]
    scale = 1.0 / (C * n)

    def loss(flat: Float64) -> tuple[float, Float64]:
        parameters = flat.reshape(r + 1, c)
        weights = parameters[:-1]
        logits = Z @ weights + parameters[-1]
        value, residual = _likelihood(logits, targets)
        gradient = np.empty_like(parameters)
        gradient[:-1] = Z.T @ residual / n + scale * weights
        gradient[-1] = residual.sum(axis=0) / n
        return value / n + 0.5 * scale * float(np.vdot(weights, weights)), gradient.ravel()

    initial = np.zeros((r + 1) * c) if start is None else start.ravel().copy()
    return _lbfgs(loss, initial).reshape(r + 1, c)


def probabilities(logits: Float64) -> Float64:
    """Class probabilities, rows adding up to 1: (n, 1) logits give (n, 2), first class first; (n, c) give (n, c)."""
    if logits.shape[1] == 1:
        first = _sigmoid(logits[:, 0])
        return np.column_stack([first, 1.0 - first])
    shifted: Float64 = np.exp(logits - logits.max(axis=1, keepdims=True))
    shifted /= shifted.sum(axis=1, keepdims=True)
    return shifted


def _likelihood(logits: Float64, targets: Float64) -> tuple[float, Float64]:
    """Summed negative log-likelihood and its derivative by the logits."""
    if logits.shape[1] == 1:
        value = float(np.logaddexp(0.0, logits).sum() - np.vdot(targets, logits))
        return value, _sigmoid(logits) - targets
    top = logits.max(axis=1, keepdims=True)
    exp = np.exp(logits - top)
    total = exp.sum(axis=1, keepdims=True)
    value = float((np.log(total) + top).sum() - np.vdot(targets, logits))
    return value, exp / total - targets


def _sigmoid(x: Float64) -> Float64:
    # One exponential of a non-positive number: never overflows.
    small = np.exp(-np.abs(x))
    return np.where(x >= 0, 1.0, small) / (1.0 + small)


def _lbfgs(loss: Callable[[Float64], tuple[float, Float64]], x: Float64) -> Float64:
    """Minimise a smooth strictly convex function (Nocedal and Wright, Numerical Optimization, algorithm 7.5).

    Backtracking to sufficient decrease is enough: strict convexity gives every update positive curvature.
    """
    value, gradient = loss(x)
    steps: list[tuple[Float64, Float64, float]] = []
    for _ in range(_MAX_ITERATIONS):
        if np.abs(gradient).max() <= _TOLERANCE:
            break
        direction = -_two_loop(gradient, steps)
        slope = float(gradient @ direction)
        if slope >= 0:  # rounding has spoilt the memory: start again from steepest descent
            steps.clear()
            direction, slope = -gradient, -float(gradient @ gradient)
        length = 1.0 if steps else 1.0 / float(np.linalg.norm(gradient))
        moved = _backtrack(loss, x, value, direction, slope, length)
        if moved is None:
            break
        new_x, new_value, new_gradient = moved
        step, change = new_x - x, new_gradient - gradient
        curvature = float(step @ change)
        if curvature > 1e-16 * float(change @ change):
            steps.append((step, change, 1.0 / curvature))
            del steps[:-_MEMORY]
        x, value, gradient = new_x, new_value, new_gradient
    return x


def _two_loop(gradient: Float64, steps: list[tuple[Float64, Float64, float]]) -> Float64:
    q = gradient.copy()
    alphas = []
    for step, change, rho in reversed(steps):
        alpha = rho * float(step @ q)
        alphas.append(alpha)
        q -= alpha * change
    if steps:
        _, change, rho = steps[-1]
        q /= rho * float(change @ change)
    for (step, change, rho), alpha in zip(steps, reversed(alphas), strict=True):
        q += (alpha - rho * float(change @ q)) * step
    return q


def _backtrack(
    loss: Callable[[Float64], tuple[float, Float64]],
    x: Float64,
    value: float,
    direction: Float64,
    slope: float,
    length: float,
) -> tuple[Float64, float, Float64] | None:
    """A point of sufficient decrease along the direction; None where rounding leaves no decrease to be found."""
    for _ in range(40):
        candidate = x + length * direction
        new_value, new_gradient = loss(candidate)
        # The slack lets the last steps pass, where the decrease is below the rounding of the value itself.
        if new_value <= value + _ARMIJO * length * slope + 1e-14 * abs(value):
            return candidate, new_value, new_gradient
        length *= 0.5
    return None
