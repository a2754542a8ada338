"""Query by committee: heads that learned from different samples of the labels, and what they do not agree on."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from labeler.rank import logistic
from labeler.rank.features import blocks
from labeler.rank.registry import Choice, Pool, register
from labeler.rank.scores import labelled_order, most_useful, utilities

Float64 = npt.NDArray[np.float64]
Indices = npt.NDArray[np.int64]

HEADS = 10
C = 30.0
# Where the model itself is sure, heads of the same recipe do not differ: no vote beyond these is worth its cost.
VOTED, VOTED_PER_CHOICE = 20_000, 50
_ROWS = 4096


@register("committee")
def _committee(pool: Pool, k: int, rng: np.random.Generator) -> Choice:
    """Images on which ten heads disagree most, by vote entropy; equal votes go by the model's uncertainty.

    Engelson and Dagan, "Minimizing manual annotation cost in supervised training" (ACL 1996); the heads are fitted on
    bootstrap samples (Abe and Mamitsuka, "Query learning strategies using boosting and bagging", ICML 1998), each of
    which holds every class. The max(20000, 50 k) most uncertain images are voted on. With labels of one class only
    there is nothing to disagree about, and the order is that of ``uncertainty``.
    """
    uncertain = utilities(pool)
    candidates = most_useful(uncertain, pool.ids, max(VOTED, VOTED_PER_CHOICE * k))
    disagreement = _vote_entropy(pool, candidates, rng)
    # The candidates come by uncertainty and id already: a stable sort keeps that order within equal votes.
    order = np.argsort(-disagreement, kind="stable")[:k]
    why = ("disputed" if split else "uncertain" for split in (disagreement[order] > 0.0).tolist())
    return Choice(candidates[order], tuple(why))


def _vote_entropy(pool: Pool, candidates: Indices, rng: np.random.Generator) -> Float64:
    """Entropy of the votes in nats, rounded so that equal votes are equal numbers; zeros without a second class."""
    order = labelled_order(pool)
    X, y = pool.labelled_vectors[order], pool.labelled_y[order]
    present, y = np.unique(y, return_inverse=True)
    if len(present) < 2:
        return np.zeros(len(candidates))
    weights, bias = _heads(X, y, len(present), rng)
    votes = np.zeros((len(candidates), len(present)))
    for rows in blocks(len(candidates), _ROWS):
        logits = np.einsum("nd,hdc->nhc", pool.vectors[candidates[rows]], weights, optimize=True) + bias
        voted = logits[:, :, 0] <= 0.0 if len(present) == 2 else logits.argmax(axis=2)
        for number in range(len(present)):
            votes[rows, number] = (voted == number).sum(axis=1)
    share = votes / HEADS
    logs = np.log(share, out=np.zeros_like(share), where=share > 0.0)
    entropy: Float64 = np.round(-(share * logs).sum(axis=1), 9)
    return entropy


def _heads(
    X: npt.NDArray[np.floating], y: Indices, classes: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], Float64]:
    """Weights float32 (heads, D, c) and biases float64 (heads, c); c = 1 for two classes, the logit of the first."""
    Z = logistic.reduce_rows(X)
    columns = np.arange(1 if classes == 2 else classes)
    targets = (y[:, None] == columns).astype(np.float64)
    together = logistic.fit(Z, targets, C)
    weights = np.empty((HEADS, X.shape[1], len(columns)), dtype=np.float32)
    bias = np.empty((HEADS, len(columns)))
    for head in range(HEADS):
        drawn = bootstrap(y, rng)
        parameters = logistic.fit(Z[drawn], targets[drawn], C, together)
        bias[head] = parameters[-1]
        weights[head] = parameters[:-1] if Z.shape[1] == X.shape[1] else _in_full(X, Z, targets, drawn, parameters)
    return weights, bias


def _in_full(X: npt.NDArray[np.floating], Z: Float64, targets: Float64, drawn: Indices, parameters: Float64) -> Float64:
    """Weights for all D columns from those for the reduced rows, by the condition of the optimum W = C X^T (Y - P)."""
    said = logistic.probabilities(Z[drawn] @ parameters[:-1] + parameters[-1])[:, : targets.shape[1]]
    pull = np.zeros_like(targets)
    np.add.at(pull, drawn, targets[drawn] - said)
    weights: Float64 = C * (X.T.astype(np.float64) @ pull)
    return weights


def bootstrap(y: Indices, rng: np.random.Generator) -> Indices:
    """As many rows as there are, with replacement; one of each class is certain. int64 (len(y),)."""
    kept = [rng.choice(np.flatnonzero(y == number)) for number in np.unique(y).tolist()]
    return np.concatenate([kept, rng.integers(0, len(y), size=len(y) - len(kept))]).astype(np.int64)
