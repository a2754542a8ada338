"""Other people's active learning in one loop: splits, vectors and head of a run of ours, their own choice of images.

A peer begins with images drawn by lot, as their manuals do, and goes on drawing until both classes have been seen. Its
head is scikit-learn's logistic regression of the strength ours has. No function here chooses an image but by the peer's
package; `plain uncertainty` is the one that needs none.

modAL 0.4.2.1, the newest, was written for an older scikit-learn: from 1.8 on its ``teach`` and ``fit`` fail (they pass
``force_all_finite``, which is gone). Its constructor and its queries work, so a learner is built anew on all labels in
every round, which is what ``teach`` would have come to.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import numpy.typing as npt

from labeler.rank.features import FeatureMap
from labeler.retrain import evaluate
from labeler.rounds import trial
from labeler.rounds.trial import Curve, Photographs, Plan

Indices = npt.NDArray[np.int64]

HEADS = 10  # of the committee, as many as ours has


@dataclass(frozen=True)
class Question:
    """What a peer may know when it chooses.

    Attributes:
        X: (N, D) vectors of the whole pool. labelled, waiting: rows of it. y: class numbers of the labelled ones.
        head: fitted on them, of strength C. k: images wanted.
    """

    X: npt.NDArray[np.float32]
    labelled: Indices
    y: Indices
    waiting: Indices
    head: Any
    C: float
    k: int
    seed: int


Query = Callable[[Question], Indices]  # positions in ``waiting``


def plain_uncertainty(asked: Question) -> Indices:
    p = asked.head.predict_proba(asked.X[asked.waiting])
    return np.argsort(p.max(axis=1), kind="stable")[: asked.k]


def modal_uncertainty(asked: Question) -> Indices:
    from modAL.uncertainty import uncertainty_sampling

    return _modal(asked, uncertainty_sampling)


def modal_ranked_batch(asked: Question) -> Indices:
    """Ranked batch-mode sampling (Cardoso et al., 2017), what modAL offers for batches."""
    from modAL.batch import uncertainty_batch_sampling

    return _modal(asked, uncertainty_batch_sampling)


def _modal(asked: Question, strategy: Any) -> Indices:
    from modAL.models import ActiveLearner

    learner = ActiveLearner(
        new_head(asked.C), query_strategy=strategy, X_training=asked.X[asked.labelled], y_training=asked.y
    )
    chosen, _ = learner.query(asked.X[asked.waiting], n_instances=asked.k)
    return np.asarray(chosen, dtype=np.int64)


def drop_query(asked: Question) -> Indices:
    """Gupte et al., "Revisiting active learning in the era of vision foundation models" (2024)."""
    from skactiveml.pool import DropQuery

    strategy = DropQuery(cluster_algo_dict={"random_state": asked.seed}, random_state=asked.seed)
    return _skactiveml(asked, strategy, clf=_their_head(asked))


def query_by_committee(asked: Question) -> Indices:
    """Vote entropy of heads fitted on bootstrap samples; a sample without one of the classes is drawn again."""
    from skactiveml.pool import QueryByCommittee

    rng = np.random.default_rng(asked.seed)
    heads: list[Any] = []
    while len(heads) < HEADS:
        rows = rng.integers(0, len(asked.y), len(asked.y))
        if len(np.unique(asked.y[rows])) == len(np.unique(asked.y)):
            heads.append(_their_head(asked).fit(asked.X[asked.labelled][rows], asked.y[rows]))
    strategy = QueryByCommittee(method="vote_entropy", random_state=asked.seed)
    return _skactiveml(asked, strategy, ensemble=heads, fit_ensemble=False)


def _skactiveml(asked: Question, strategy: Any, **models: Any) -> Indices:
    y = np.full(len(asked.X), np.nan)
    y[asked.labelled] = asked.y
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        chosen = strategy.query(X=asked.X, y=y, candidates=asked.waiting, batch_size=asked.k, **models)
    return np.searchsorted(asked.waiting, np.asarray(chosen)).astype(np.int64)


def _their_head(asked: Question) -> Any:
    from skactiveml.classifier import SklearnClassifier

    return SklearnClassifier(new_head(asked.C), classes=[0, 1], random_state=asked.seed)


def new_head(C: float) -> Any:
    from sklearn.linear_model import LogisticRegression

    return LogisticRegression(C=C, max_iter=1000)


#: By the name in the table: the package and how it chooses.
PEERS: dict[str, tuple[str, Query]] = {
    "plain uncertainty": ("scikit-learn", plain_uncertainty),
    "modAL uncertainty": ("modAL-python", modal_uncertainty),
    "modAL ranked batch": ("modAL-python", modal_ranked_batch),
    "scikit-activeml DropQuery": ("scikit-activeml", drop_query),
    "scikit-activeml QBC": ("scikit-activeml", query_by_committee),
}


def installed(name: str) -> str | None:
    """The version of the package behind a peer, None where it is not installed."""
    try:
        return version(PEERS[name][0])
    except PackageNotFoundError:
        return None


def run(photographs: Photographs, plan: Plan) -> Curve:
    """The rounds of a peer, named by the plan's strategy; two classes."""
    query = PEERS[plan.strategy][1]
    tested = trial.test_split(photographs, plan.test, plan.seed)
    features = FeatureMap.fit(photographs.raw[~tested], photographs.parts)
    X, X_test = features.transform(photographs.raw[~tested]), features.transform(photographs.raw[tested])
    y, y_test = photographs.y[~tested], photographs.y[tested]
    given = set(trial.given_examples(photographs, plan)) if plan.examples else set()
    pool = [ref.sha256 for ref, kept in zip(photographs.refs, tested.tolist(), strict=True) if not kept]
    labelled = np.array([row for row, sha in enumerate(pool) if sha in given], dtype=np.int64)
    by_lot = np.random.default_rng([plan.seed, 2]).permutation(len(X))
    curve, head = Curve(plan.strategy, plan.seed), _fitted(X, y, labelled, plan.C)
    while len(labelled) < min(plan.budget, len(X)):
        start = time.perf_counter()
        k = min(plan.k, plan.budget - len(labelled), len(X) - len(labelled))
        waiting = np.setdiff1d(np.arange(len(X)), labelled)
        if head is None:
            chosen = by_lot[np.isin(by_lot, waiting)][:k]
        else:
            seed = plan.seed * 100_003 + len(labelled)
            asked = Question(X, labelled, y[labelled], waiting, head, plan.C, k, seed)
            chosen = waiting[query(asked)]
        if len(np.unique(chosen)) != k:
            raise SystemExit(f"{plan.strategy} chose {len(np.unique(chosen))} images of {k}")
        labelled = np.concatenate([labelled, chosen])
        head = _fitted(X, y, labelled, plan.C)
        predicted = head.predict(X_test) if head is not None else np.full(len(X_test), y[labelled[0]])
        curve.seconds.append(time.perf_counter() - start)
        _measure(curve, y[labelled], y_test, predicted)
    return curve


def _fitted(X: npt.NDArray[np.float32], y: Indices, labelled: Indices, C: float) -> Any:
    if len(np.unique(y[labelled])) < 2:
        return None
    return new_head(C).fit(X[labelled], y[labelled])


def _measure(curve: Curve, labels: Indices, truth: Indices, predicted: Indices) -> None:
    table = evaluate.confusion(truth, predicted, 2)
    curve.labels.append(len(labels))
    curve.counts.append(np.bincount(labels, minlength=2).tolist())
    curve.accuracy.append(float(table.diagonal().sum() / table.sum()))
    curve.balanced_accuracy.append(float((table.diagonal() / np.maximum(table.sum(axis=1), 1)).mean()))
