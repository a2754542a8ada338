"""The report of an evaluation, and a comparison of models: gathered from the workspace, drawn in ``retrain/``."""

from __future__ import annotations

import io
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version as version_of
from pathlib import Path
from typing import Any

import numpy as np

from labeler.domain import ImageRef, LabelerError, NotTrainable, Split
from labeler.embed import service
from labeler.pool.decode import picture, read
from labeler.rank.calibration import stratified_folds
from labeler.record import images, statistics
from labeler.record.tables import ModelVersion
from labeler.retrain import groups, report
from labeler.retrain.compare import Comparison
from labeler.rounds import predicting
from labeler.rounds.learning import Learner
from labeler.rounds.version_files import HISTORY

KEYS = ("n", "accuracy", "balanced_accuracy", "precision", "recall", "f1", "roc_auc", "ece", "confusion")
THUMBNAIL = 240  # pixels along the longer side
TESTED_SHARE = 5  # without a test set every fifth labelled image is kept for the test


def write(learner: Learner, folder: Path, *, split: Split, groups_csv: Path | None = None) -> dict[str, Any]:
    """Evaluate the model in use on a split, put that on record and write the report.

    Args:
        folder: a new one, an empty one, or an earlier report's.
        groups_csv: ``path,group``; without it groups are told from the file names.

    Returns:
        ``model``, ``metrics`` and ``report``, the page's path.

    Raises:
        LabelerError: the split has no labelled image, or the folder holds something else.
    """
    report.check(folder, report.KIND)
    version, model = predicting.required(learner)
    tested = learner.material(split, backbone=learner.backbone_of(version))
    rows = tested.labelled
    if not len(rows):
        raise LabelerError(
            f"a report needs labelled images, and {split.value} has none",
            f"put some into pools/{split.folder}/<class>, or give --split train",
        )
    refs, y = [tested.refs[row] for row in rows], tested.y[rows]
    probabilities = model.predict_proba(tested.raw[rows])
    metrics = learner.evaluate(version, model, split=split)
    paths = [ref.path for ref in refs]
    named = groups.from_csv(groups_csv, paths, learner.paths.root) if groups_csv else None
    classes = learner.settings.classes
    page = report.write(
        folder,
        report.EvaluationReport(
            title=f"{' or '.join(classes)}: how good is the model?",
            model=version.name,
            kind=_kind(version),
            created=f"{version.created_at:%Y-%m-%d %H:%M} UTC",
            settings={key: value for key, value in version.settings.items() if not isinstance(value, (dict, list))},
            seed=version.seed,
            parent=_parent(learner, version),
            split=split.value,
            classes=classes,
            paths=paths,
            y=y,
            probabilities=probabilities,
            metrics=metrics,
            labelled=version.labelled,
            machine=machine(),
            distribution=_distribution(learner),
            thumbnails=_thumbnails(learner, refs),
            history=version.settings.get(HISTORY),
            groups=named or groups.from_names(paths, classes),
            groups_from=groups_csv.name if groups_csv else "file names",
            learning_curve=_curve(learner, split),
        ),
    )
    return {"model": version.name, "metrics": dict(metrics), "report": str(page)}


def _kind(version: ModelVersion) -> str:
    words = {"head": "head on", "finetune": "fine-tuned", "transfer": "transfer model on"}
    return f"{words[version.kind]} {version.backbone}" if version.kind in words else version.kind.upper()


def _parent(learner: Learner, version: ModelVersion) -> str | None:
    with learner.store.read() as session:
        parent = session.get(ModelVersion, version.parent_id) if version.parent_id else None
    return parent.name if parent is not None else None


def _distribution(learner: Learner) -> dict[str, dict[str, int]]:
    with learner.store.read() as session:
        counts = images.counts(session)
    return {split: {label or "no label": n for label, n in labels.items()} for split, labels in counts.items()}


def _curve(learner: Learner, split: Split) -> list[tuple[int, float, float, float]] | None:
    """Every evaluated model on that split, by its labels."""
    with learner.store.read() as session:
        found = [row for row in statistics.measured(session) if row.split == split.value]
    curve = {
        row.labelled: (row.labelled, row.metrics["accuracy"], *row.metrics["intervals"]["accuracy"])
        for row in found
        if row.metrics.get("intervals")
    }
    return [curve[labels] for labels in sorted(curve)] if len(curve) > 1 else None


def _thumbnails(learner: Learner, refs: Sequence[ImageRef]) -> Callable[[int], bytes]:
    def thumbnail(row: int) -> bytes:
        file = learner.paths.absolute(refs[row].path)
        limit = learner.settings.max_pixels
        image = picture(read(file, max_pixels=limit), file, max_pixels=limit, at_least=THUMBNAIL)
        image.thumbnail((THUMBNAIL, THUMBNAIL))
        out = io.BytesIO()
        image.save(out, "JPEG", quality=82)
        return out.getvalue()

    return thumbnail


def machine() -> str:
    """Processor, cores and versions, in one line."""
    parts = [
        platform.machine(),
        f"{service.thread_count(0)} cores",
        platform.system(),
        f"Python {platform.python_version()}",
    ]
    return ", ".join([*parts, *(f"{name} {version_of(name)}" for name in ("labeler", "tensorflow", "keras", "numpy"))])


# ------------------------------------------------------------------------------------------------------- comparison


def compare(learner: Learner, chosen: Sequence[str], seeds: Sequence[int]) -> Comparison:
    """Train models on the labelled images and test them on ``pools/Test``, or on a fifth of the labels without one.

    Raises:
        NotTrainable: nothing is labelled. Else see :func:`labeler.retrain.compare.compare`.
    """
    from labeler.retrain.compare import compare as run

    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    train, test = _sides(learner)
    numbers = {name: number for number, name in enumerate(learner.settings.classes)}

    def side(refs: Sequence[ImageRef]) -> tuple[list[Path], Any]:
        files = [learner.paths.absolute(ref.path) for ref in refs]
        return files, np.array([numbers[ref.label or ""] for ref in refs], dtype=np.int64)

    settings = learner.settings
    return run(
        chosen,
        *side(train),
        *side(test),
        settings=settings,
        classes=settings.classes,
        seeds=seeds,
        compiled=learner.paths.compiled,
        progress=learner.progress,
    )


def _sides(learner: Learner) -> tuple[list[ImageRef], list[ImageRef]]:
    known = set(learner.settings.classes)
    with learner.store.read() as session:
        train = [ref for ref in images.refs(session, Split.TRAIN) if ref.label in known]
        test = [ref for ref in images.refs(session, Split.TEST) if ref.label in known]
    train.sort(key=lambda ref: ref.sha256)
    if len({ref.label for ref in train}) < 2:
        raise NotTrainable(
            "there are no labels of two classes to train on", "label images, or import a labelled folder"
        )
    if test:
        return train, sorted(test, key=lambda ref: ref.sha256)
    y = np.array([sorted(known).index(ref.label or "") for ref in train])
    held_out = stratified_folds(y, TESTED_SHARE, learner.settings.seed) == 0
    kept = [ref for ref, out in zip(train, held_out, strict=True) if not out]
    return kept, [ref for ref, out in zip(train, held_out, strict=True) if out]


def summary(comparison: Comparison) -> list[Mapping[str, Any]]:
    """The contestants as JSON-able rows."""
    return [
        {
            "name": row.name,
            "seed": row.seed,
            "input_size": row.input_size,
            "weights": row.weights,
            "metrics": {key: row.metrics[key] for key in KEYS},
            "seconds": row.seconds,
            "parameters": row.parameters,
            "trainable": row.trainable,
            "images_per_second": row.images_per_second,
        }
        for row in comparison.contestants
    ]
