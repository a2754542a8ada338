"""What an evaluation keeps for the page beside the metrics: numbers that need vectors, so the worker computes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from labeler.domain import ImageRef, LabelerError
from labeler.rank import quality, stopping
from labeler.rank.head import QuickModel
from labeler.record import statistics
from labeler.record.tables import ModelVersion
from labeler.retrain import evaluate

if TYPE_CHECKING:
    from labeler.rounds.learning import Learner, Material

#: Images of pool and training on which successive models are compared: the first by SHA-256, which is as good as
#: drawn by lot and the same from round to round. The share that agrees is then known to 0.3 points.
SAMPLE = 2_000
#: What the model said of single images is kept for so many at most (the first by SHA-256).
PREDICTIONS = 5_000
#: Images of pool and training that speak for all where the accuracy is estimated: the first by SHA-256.
ESTIMATE_SAMPLE = 20_000

Float64 = npt.NDArray[np.float64]
Rows = list[list[float | int]]


def predictions(refs: Sequence[ImageRef], y: npt.NDArray[np.integer], probabilities: Float64) -> Rows:
    """What the model says of images whose label is known, for looking at the mistakes.

    Returns:
        Of each image [id, number of its class, number of the predicted class, probability of that one].
    """
    best = probabilities.argmax(axis=1)
    sure = probabilities.max(axis=1)
    return [
        [ref.id, int(truth), int(said), round(float(p), 4)]
        for ref, truth, said, p in list(zip(refs, y, best, sure, strict=True))[:PREDICTIONS]
    ]


def held_out(
    learner: Learner, version: ModelVersion, model: QuickModel, material: Material
) -> tuple[dict[str, Any], Rows]:
    """Without a test set: how models that had not seen a label would have judged that image.

    No substitute for the accuracy (the labelled images are the difficult ones) but the mistakes are worth a look.

    Args:
        material: pool and training images; what was labelled after the training is left out.

    Returns:
        The key ``held_out`` for the metrics (confusion, reliability, calibration error, n), and the predictions;
        both empty where the model holds none, or a label it learned from has changed since.
    """
    said, rows = _held_out(learner, version, model, material)
    if said is None:
        return {}, []
    y = material.y[rows]
    figures = evaluate.metrics(y, said, classes=model.classes, split="held out")
    kept = {name: figures[name] for name in ("n", "confusion", "reliability", "ece")}
    return {"held_out": kept}, predictions([material.refs[row] for row in rows], y, said)


def _held_out(
    learner: Learner, version: ModelVersion, model: QuickModel, material: Material
) -> tuple[Float64 | None, list[int]]:
    """The model's held-out probabilities and the rows of the material they belong to; None where it holds none, or a
    label it learned from has changed since.
    """
    said = model.head.out_of_fold
    with learner.store.read() as session:
        changed = statistics.decided_since(session, version.last_decision_id)
    rows = [row for row in material.labelled.tolist() if material.refs[row].id not in changed]
    return (None, []) if said is None or len(said) != len(rows) else (said, rows)


def estimate(
    learner: Learner, version: ModelVersion, model: QuickModel, material: Material, probabilities: Float64
) -> dict[str, Any]:
    """The accuracy to expect on images like all of these, pool and labelled, and how it is known.

    Args:
        material: pool and training images, in which the model has learned every label or all but the newest.
        probabilities: what the model says of the first :data:`ESTIMATE_SAMPLE` of them.

    Returns:
        ``accuracy``, ``low`` and ``high`` (bounds of 90 % certainty), ``n`` images it speaks of and ``audited``, how
        many of the labelled ones were drawn by lot; empty where there is nothing to go by.
    """
    said, rows = _held_out(learner, version, model, material)
    waiting = np.flatnonzero(material.y < 0)
    if not len(waiting) and said is None:
        return {}
    with learner.store.read() as session:
        drawn = statistics.audited(session)
    audited = np.array([at for at, row in enumerate(rows) if material.refs[row].id in drawn], dtype=np.int64)
    looked_at = probabilities[waiting[waiting < len(probabilities)]]
    made = quality.accuracy(looked_at, said, material.y[rows], audited, pool=len(waiting))
    bounds = {"accuracy": made.accuracy, "low": made.low, "high": made.high}
    return {**bounds, "n": len(waiting) + len(rows), "audited": len(audited)}


def pool(learner: Learner, version: ModelVersion, material: Material, probabilities: Float64) -> dict[str, Any]:
    """How the model sees the pool, and how much it still changes its mind.

    Args:
        material: pool and training images ordered by SHA-256.
        probabilities: what the model says of the first of them, at least :data:`SAMPLE` where there are so many.

    Returns:
        ``pool`` (images), ``sample`` (images of it looked at), ``expected_errors`` (images of the whole pool that the
        model would file wrongly) and, where there was a model of 50 labels fewer, ``compared_with`` (its labels),
        ``agreement`` and ``kappa`` over pool and training images.
    """
    raw, waiting = material.raw[:SAMPLE], material.waiting[material.waiting < SAMPLE]
    if not len(raw):
        return {}
    with learner.store.read() as session:
        size = statistics.count_pool(session)
        earlier = statistics.version_before(session, version, stopping.LABELS_APART)
    errors = stopping.expected_errors(probabilities[waiting])
    figures = {
        "pool": size,
        "sample": len(waiting),
        "expected_errors": errors * size / max(len(waiting), 1),
    }
    return figures | (_compared(learner, earlier, raw, probabilities[:SAMPLE]) if earlier is not None else {})


def _compared(
    learner: Learner, earlier: ModelVersion, raw: npt.NDArray[np.floating], probabilities: Float64
) -> dict[str, Any]:
    try:
        other = QuickModel.load(learner.paths.root / earlier.path, earlier.digest)
    except (LabelerError, OSError):  # somebody removed it: the next comparison will be with another
        return {}
    before, now = other.predict_proba(raw).argmax(axis=1), probabilities.argmax(axis=1)
    return {
        "compared_with": earlier.labelled,
        "agreement": stopping.agreement(before, now),
        "kappa": stopping.kappa(before, now, probabilities.shape[1]),
    }
