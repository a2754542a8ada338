"""What a run of `labeler sort` is going to do: which images the model is sure of, and how many errors to expect."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labeler import faults
from labeler.domain import ImageRef, NothingToDo, SortState, Split
from labeler.rank.quality import expected_errors
from labeler.rank.strategies import uncertainty_of
from labeler.record import images, sorting
from labeler.record.tables import ModelVersion, SortRun
from labeler.rounds.learning import Learner
from labeler.rounds.order import said
from labeler.rounds.predicting import required

Float64 = npt.NDArray[np.float64]
_PART = 1_000  # images of a plan that are written down in one transaction


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    """What a run would do.

    Attributes:
        version: the model that sorts.
        refs: the pool, n images by SHA-256.
        probabilities: (n, C) calibrated, of each.
        sure: (n,) whether it is sorted.
        expected: wrong images to expect, each with ``images``, ``expected``, ``low`` and ``high`` (90 %): ``before``
            (if all of the pool were sorted now), ``sorted`` and ``left``.
        notes: files that cannot be read.
    """

    version: ModelVersion
    refs: Sequence[ImageRef]
    probabilities: Float64
    sure: npt.NDArray[np.bool_]
    expected: dict[str, dict[str, float]]
    notes: Sequence[str]

    def by_class(self, classes: Sequence[str]) -> dict[str, int]:
        """How many images it sorts into each class that gets any."""
        counts = np.bincount(self.probabilities[self.sure].argmax(axis=1), minlength=len(classes))
        return {name: int(n) for name, n in zip(classes, counts, strict=True) if n}


def plan(learner: Learner, above: float) -> Plan:
    """Which images of the pool the model in use is sure of; nothing is written.

    Left to people are images that wait in an open round, are with somebody, or were skipped.

    Args:
        above: least probability of the predicted class.

    Raises:
        NothingToDo: the pool is empty, or the model is sure enough of none.
        LabelerError: there is no model.
    """
    version, model = required(learner)
    material = learner.material(Split.UNLABELLED, backbone=learner.backbone_of(version))
    if not len(material.refs):
        raise NothingToDo("the pool is empty: there is nothing to sort", "import more images")
    with learner.store.read() as session:
        kept = sorting.with_people(session) | images.skipped_ids(session)
    free = np.array([ref.id not in kept for ref in material.refs])
    probabilities = model.predict_proba(material.raw)
    sure = (probabilities.max(axis=1) >= above) & free
    if not sure.any():
        raise NothingToDo(
            f"the model is {above:.1%} sure of none of the {len(free)} images in the pool",
            "label more, or lower --above",
        )

    def among(rows: npt.NDArray[np.bool_]) -> dict[str, float]:
        errors = expected_errors(probabilities[rows], model.head.out_of_fold)
        return {"images": int(rows.sum()), **asdict(errors)}

    expected = {"before": among(np.ones_like(sure)), "sorted": among(sure), "left": among(~sure)}
    return Plan(version, material.refs, probabilities, sure, expected, material.notes)


def would_sort(learner: Learner, *, above: float) -> dict[str, Any]:
    """What :func:`sort` would do now, in the form of `labeler sort --dry-run --json`; raises what :func:`plan` does."""
    made = plan(learner, above)
    chosen = int(made.sure.sum())
    return {
        "run": None,
        "dry_run": True,
        "model": made.version.name,
        "above": above,
        "pool": len(made.refs),
        "sorted": chosen,
        "by_class": made.by_class(learner.settings.classes),
        "left": len(made.refs) - chosen,
        "expected_errors": made.expected,
        "notes": list(made.notes),
    }


def write_down(learner: Learner, made: Plan, *, above: float, audit: int, seed: int) -> int:
    """Put a plan on record, in parts; returns the number of the run, which is to be carried out from now on."""
    rows = np.flatnonzero(made.sure)
    run = SortRun(
        state=SortState.PLANNING.value,
        model_version_id=made.version.id,
        above=above,
        seed=seed,
        audit=audit,
        pool=len(made.refs),
        planned=len(rows),
        expected=made.expected,
    )
    with learner.store.write() as session:
        session.add(run)
        session.flush()
        run_id = run.id
    classes = learner.settings.classes
    uncertainty = uncertainty_of(made.probabilities)
    for start in range(0, len(rows), _PART):
        items = [
            _item(run_id, start + at, made, row, classes, float(uncertainty[row]))
            for at, row in enumerate(rows[start : start + _PART].tolist(), start=1)
        ]
        with learner.store.write() as session:
            sorting.add_items(session, items)
        faults.point("sort.planning")
    with learner.store.write() as session:
        sorting.advance(session, session.get_one(SortRun, run_id), SortState.SORTING)
    faults.point("sort.planned")
    return run_id


def _item(
    run_id: int, position: int, made: Plan, row: int, classes: Sequence[str], uncertainty: float
) -> dict[str, Any]:
    by_model = said(made.probabilities[row], classes)
    return {
        "run_id": run_id,
        "position": position,
        "image_id": made.refs[row].id,
        "label": by_model["predicted"],
        "probability": by_model["probability"],
        "uncertainty": uncertainty,
    }
