"""One simulated run: the loop of a workspace on images whose labels are known, in memory.

Every step is the one a live round takes: :class:`labeler.rounds.order.Order` chooses, ``QuickModel.fit`` learns, the
seeds are derived alike. What is left out is disk and record. A test runs both side by side and compares the decisions.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from labeler.domain import AUDIT, ImageRef
from labeler.rank import quality, stopping
from labeler.rank.features import FeatureMap
from labeler.rank.head import Head, QuickModel
from labeler.retrain import evaluate
from labeler.rounds.learning import Material
from labeler.rounds.measures import SAMPLE
from labeler.rounds.order import Indices, Order, derived

Float64 = npt.NDArray[np.float64]
FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Photographs:
    """Labelled images with their activations.

    Attributes:
        refs: n images, by SHA-256, none twice.
        raw: (n, D) activations, maybe memory-mapped.
        y: (n,) class numbers.
        classes: names in order.
        parts: (dimension, weight) of each part of a vector.
        backbone_key: whose activations they are.
    """

    refs: Sequence[ImageRef]
    raw: npt.NDArray[np.floating]
    y: npt.NDArray[np.int64]
    classes: tuple[str, ...]
    parts: tuple[tuple[int, float], ...]
    backbone_key: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What one run does.

    Attributes:
        strategy: its name; ``auto`` follows the rule of a live round.
        seed: of the test split, the examples and everything a round draws.
        k: images in a round.
        budget: labels at which the run ends; it ends earlier when the pool is empty.
        test: images kept apart for testing.
        audit: share of each batch drawn by lot.
        examples: labelled images of each class there are before the first round.
        C: inverse regularisation strength of the head.
    """

    strategy: str
    seed: int
    k: int
    budget: int
    test: int
    audit: float = 0.0
    examples: int = 0
    C: float = 30.0


@dataclass(slots=True)
class Curve:
    """What a run measured; a value per round in every list.

    Attributes:
        labels: so far. counts: of each class. accuracy, balanced_accuracy, roc_auc, ece: on the test images.
        estimate: what a workspace without test images would believe: [accuracy, low, high], None before a model.
        seconds: of choosing, learning and predicting.
        chosen: SHA-256 of the images in the order they were asked about.
        stop_at: labels at which the stopping rule said so, None where it did not.
    """

    strategy: str
    seed: int
    labels: list[int] = field(default_factory=list)
    counts: list[list[int]] = field(default_factory=list)
    accuracy: list[float] = field(default_factory=list)
    balanced_accuracy: list[float] = field(default_factory=list)
    roc_auc: list[float | None] = field(default_factory=list)
    ece: list[float] = field(default_factory=list)
    estimate: list[list[float] | None] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)
    stop_at: int | None = None


def test_split(photographs: Photographs, n: int, seed: int) -> npt.NDArray[np.bool_]:
    """bool (images,): n of them, every class in proportion, drawn by the seed; each class keeps an image on both sides
    where it has two.
    """
    y, classes = photographs.y, len(photographs.classes)
    sizes = np.bincount(y, minlength=classes)
    share = n * sizes / max(sizes.sum(), 1)
    wanted = np.floor(share).astype(np.int64)
    for number in np.argsort(-(share - wanted), kind="stable")[: n - int(wanted.sum())]:
        wanted[number] += 1
    wanted = np.clip(wanted, np.minimum(1, sizes // 2), np.maximum(sizes - 1, 0))
    rng = np.random.default_rng([seed, 0])
    taken = np.zeros(len(y), dtype=np.bool_)
    for number in range(classes):
        taken[rng.permutation(np.flatnonzero(y == number))[: wanted[number]]] = True
    return taken


def given_examples(photographs: Photographs, plan: Plan) -> list[str]:
    """SHA-256 of the labelled images a run begins with."""
    begun = _Run(photographs, plan)
    return [begun.material.refs[row].sha256 for row in begun.material.labelled.tolist()]


def run(photographs: Photographs, plan: Plan) -> Curve:
    """The rounds of a plan, one after the other."""
    return _Run(photographs, plan).finish()


def full_supervision(photographs: Photographs, plan: Plan) -> float:
    """Test accuracy of the head on every label of the pool: what a run works towards."""
    tested = test_split(photographs, plan.test, plan.seed)
    raw, y = photographs.raw, photographs.y
    features = FeatureMap.fit(raw[~tested], photographs.parts)
    X = features.transform(raw[~tested])
    head = Head.uncalibrated(X, y[~tested], n_classes=len(photographs.classes), C=plan.C)
    said = head.predict_proba(features.transform(raw[tested])).argmax(axis=1)
    return float((said == y[tested]).mean())


class _Run:
    """The state of a run between its rounds."""

    def __init__(self, photographs: Photographs, plan: Plan) -> None:
        self.plan, self.classes = plan, photographs.classes
        tested = test_split(photographs, plan.test, plan.seed)
        rows = np.flatnonzero(~tested)
        self.truth = photographs.y[rows]
        self.material = Material(
            [photographs.refs[row] for row in rows.tolist()],
            photographs.raw[rows],
            np.full(len(rows), -1, dtype=np.int64),
            photographs.backbone_key,
        )
        self.parts = photographs.parts
        # Pool and training images together are the same in every round, and so are the recipe and its vectors.
        self.features = FeatureMap.fit(self.material.raw, self.parts)
        self.vectors = self.features.transform(self.material.raw)
        self.test_vectors = self.features.transform(photographs.raw[tested])
        self.test_y = photographs.y[tested]
        self.model: QuickModel | None = None
        self.audited: list[int] = []
        self.said: list[tuple[int, npt.NDArray[np.int64]]] = []
        self.turns: list[stopping.Turn] = []
        self.curve = Curve(plan.strategy, plan.seed)
        self._give_examples()

    def _give_examples(self) -> None:
        rng = np.random.default_rng([self.plan.seed, 1])
        for number in range(len(self.classes)):
            members = rng.permutation(np.flatnonzero(self.truth == number))[: self.plan.examples]
            self.material.y[members] = number
        self._learn()

    def finish(self) -> Curve:
        number = 0
        while len(self.material.labelled) < self.plan.budget:
            waiting = self.material.waiting
            if not len(waiting):
                break
            number += 1
            start = time.perf_counter()
            self._ask(waiting, number)
            self._learn()
            self._measure(time.perf_counter() - start)
        return self.curve

    def _ask(self, waiting: Indices, number: int) -> None:
        plan = self.plan
        k = min(plan.k, plan.budget - len(self.material.labelled))
        order = Order(
            self.classes,
            self.material,
            self.model,
            self.features,
            waiting,
            derived(plan.seed, number),
            audit=plan.audit,
            vectors=self.vectors,
        )
        chosen = order.choose(plan.strategy, k)
        rows = waiting[chosen.indices]
        self.material.y[rows] = self.truth[rows]
        self.audited += [row for row, why in zip(rows.tolist(), chosen.why, strict=True) if why == AUDIT]
        self.curve.chosen += [self.material.refs[row].sha256 for row in rows.tolist()]

    def _learn(self) -> None:
        """As in a live round: with labels of one class only the model before, if any, stays."""
        labels = self.material.y[self.material.labelled]
        if len(np.unique(labels)) < 2:
            return
        self.model = QuickModel.fit(
            self.material.raw,
            self.material.y,
            parts=self.parts,
            classes=self.classes,
            backbone_key=self.material.backbone_key,
            C=self.plan.C,
            seed=self.plan.seed,
            features=self.features,
            vectors=self.vectors,
        )

    def _measure(self, seconds: float) -> None:
        labels = self.material.y[self.material.labelled]
        p = self._test_probabilities(labels)
        table = evaluate.confusion(self.test_y, p.argmax(axis=1), len(self.classes))
        truths = table.sum(axis=1)
        curve = self.curve
        curve.labels.append(len(labels))
        curve.counts.append(np.bincount(labels, minlength=len(self.classes)).tolist())
        curve.accuracy.append(float(table.diagonal().sum() / table.sum()))
        curve.balanced_accuracy.append(float((table.diagonal() / np.maximum(truths, 1))[truths > 0].mean()))
        curve.roc_auc.append(evaluate.mean_roc_auc(self.test_y, p))
        curve.ece.append(evaluate.calibration_error(p.argmax(axis=1) == self.test_y, p.max(axis=1)))
        curve.seconds.append(seconds)
        said = self.model.head.predict_proba(self.vectors) if self.model is not None else None
        curve.estimate.append(self._estimate(said))
        if said is not None:
            self._compare(len(labels), said[:SAMPLE].argmax(axis=1))

    def _test_probabilities(self, labels: npt.NDArray[np.int64]) -> Float64:
        if self.model is not None:
            return self.model.head.predict_proba(self.test_vectors)
        only = np.zeros((len(self.test_y), len(self.classes)))  # everything is called what was seen so far
        only[:, int(labels[0]) if len(labels) else 0] = 1.0
        return only

    def _estimate(self, said: Float64 | None) -> list[float] | None:
        if said is None or self.model is None:
            return None
        chosen = self.material.labelled
        position = {row: at for at, row in enumerate(chosen.tolist())}
        found = quality.accuracy(
            said[self.material.waiting],
            self.model.head.out_of_fold,
            self.material.y[chosen],
            np.array([position[row] for row in self.audited], dtype=np.int64),
        )
        return [found.accuracy, found.low, found.high]

    def _compare(self, labels: int, now: npt.NDArray[np.int64]) -> None:
        """The stopping rule's comparison, as :mod:`labeler.rounds.measures` makes it for a workspace."""
        before = [said for n, said in self.said if n <= labels - stopping.LABELS_APART]
        turn = stopping.Turn(labels)
        if before:
            agreement = stopping.agreement(before[-1], now)
            turn = stopping.Turn(labels, agreement, stopping.kappa(before[-1], now, len(self.classes)))
        self.said.append((labels, now))
        self.turns.append(turn)
        if self.curve.stop_at is None:
            verdict = stopping.verdict(self.turns, len(self.material.waiting))
            if verdict.state == "stop" and verdict.reason == "agree":
                self.curve.stop_at = labels
