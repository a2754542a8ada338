"""Wrong labels: labelled images whose label the model disputes, and look-alikes that bear different labels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labeler.domain import ImageRef, LabelerError
from labeler.rank.head import QuickModel
from labeler.record import labels
from labeler.record.labels import Labelled
from labeler.record.tables import ModelVersion
from labeler.rounds import ranking
from labeler.rounds.learning import Learner, Material
from labeler.rounds.predicting import required
from labeler.rounds.version_files import DECISIONS

#: As many as the page's Mistakes tab is given.
MOST = ranking.MISTAKES


@dataclass(frozen=True, slots=True, eq=False)
class HeldOut:
    """The images a model learned from, in the order of its held-out probabilities.

    Attributes:
        refs: m images; y: (m,) their class numbers.
    """

    refs: list[ImageRef]
    y: npt.NDArray[np.int64]


def held_out(learner: Learner, version: ModelVersion, model: QuickModel) -> HeldOut | None:
    """Which images stand behind ``model.head.out_of_fold``, with the labels they had when the model was trained.

    None where the model holds none such, or its version does not name its decisions.
    """
    kept = model.head.out_of_fold
    if kept is None:
        return None
    numbers = {name: number for number, name in enumerate(learner.settings.classes)}
    with learner.store.read() as session:
        refs = labels.as_decided(session, version.settings.get(DECISIONS, ()))
    if len(refs) != len(kept) or any(ref.label not in numbers for ref in refs):
        return None
    return HeldOut(refs, np.array([numbers[ref.label or ""] for ref in refs], dtype=np.int64))


def review(learner: Learner, top: int) -> dict[str, Any]:
    """The labels to look at again: `labeler review-labels`.

    Args:
        top: how many disputed ones at most, up to :data:`MOST`.

    Returns:
        ``model``; ``labelled``, how many of its labels still stand; ``disputed``, the least believed first, each with
        ``sha256, path, label, predicted, probability`` (as everywhere, but held out: of heads that had not seen this
        label), ``label_probability`` (theirs of the label it has), ``annotator`` and ``round``; ``near_duplicates``,
        groups of look-alikes with more than one label.

    Raises:
        LabelerError: there is no model, or there are too few labels.
    """
    version, model = required(learner)
    if model.head.out_of_fold is None:
        raise LabelerError("there are too few labels to hold any of them against the others", "label more images")
    known = held_out(learner, version, model)
    if known is None:
        raise LabelerError(f"it is not known what the model {version.name} learned from", "run `labeler train`")
    with learner.store.read() as session:
        named = {row.sha256: row for row in labels.in_force(session)}
        alike = labels.near_duplicates_that_differ(session)
    standing = {ref.id: named[ref.sha256] for ref in known.refs if _stands(ref, named.get(ref.sha256))}
    disputed = [
        {
            "sha256": row.sha256,
            "path": row.path,
            "label": row.label,
            "predicted": item["predicted"],
            "probability": item["probability"],
            "label_probability": item["uncertainty"],
            "annotator": row.annotator,
            "round": row.round,
        }
        for item in _disputed(learner, version, model, known)
        if (row := standing.get(item["image_id"])) is not None
    ][:top]
    groups = [[{"sha256": r.sha256, "path": r.path, "label": r.label} for r in group] for group in alike]
    return {"model": version.name, "labelled": len(standing), "disputed": disputed, "near_duplicates": groups}


def _stands(ref: ImageRef, now: Labelled | None) -> bool:
    """Whether an image has the label the model learned still, and is there to be looked at."""
    return now is not None and now.label == ref.label and not now.missing


def _disputed(learner: Learner, version: ModelVersion, model: QuickModel, known: HeldOut) -> list[dict[str, Any]]:
    """The rows of the page's Mistakes, of these images: one rule for both."""
    nothing = np.empty((len(known.refs), 0), dtype=np.float32)  # it looks at what was held out, not at vectors
    material = Material(known.refs, nothing, known.y, version.backbone_key)
    return ranking.mistakes(learner, material, version, model, version.last_decision_id)
