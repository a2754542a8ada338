"""Asking the model in use about files, whether they are in the workspace or not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from labeler.domain import LabelerError
from labeler.embed import service
from labeler.pool import ingest
from labeler.rank.head import QuickModel
from labeler.rank.strategies import uncertainty_of
from labeler.record.tables import ModelVersion
from labeler.rounds.learning import Learner


def required(learner: Learner) -> tuple[ModelVersion, QuickModel]:
    """The model in use.

    Raises:
        LabelerError: there is none that fits the workspace's classes and backbone.
    """
    found = learner.model_to_ask()
    if found is None:
        raise LabelerError("there is no trained model yet", "label images of two classes, then run `labeler train`")
    return found


def expand(paths: Sequence[Path]) -> list[Path]:
    """The files named, each folder replaced by the files below it.

    Raises:
        LabelerError: a path does not exist.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            files += ingest.walk(path)
        elif path.exists():
            files.append(path)
        else:
            raise LabelerError(f"{path} does not exist", "check the path")
    return files


def predict(learner: Learner, paths: Sequence[Path]) -> list[dict[str, Any]]:
    """One row per file, in order: what the model says of it, or why it cannot be read.

    ``probability`` is P(first class) for two classes, else that of the predicted class.
    """
    version, model = required(learner)
    files = expand(paths)
    settings = learner.settings
    # A link is followed here: only the pools insist on real files.
    real = [file.resolve() for file in files]
    vectors, failed = service.embed_files(
        real,
        compiled=learner.paths.compiled,
        backbone=learner.backbone_of(version),
        threads=settings.threads,
        max_pixels=settings.max_pixels,
        progress=learner.progress,
    )
    reasons = dict(failed)
    readable = [file for file in real if file not in reasons]
    probabilities = model.predict_proba(vectors) if len(readable) else np.empty((0, len(model.classes)))
    said = dict(zip(readable, zip(probabilities, uncertainty_of(probabilities), strict=True), strict=True))
    rows: list[dict[str, Any]] = []
    for file, at in zip(files, real, strict=True):
        if at in reasons:
            rows.append({"path": str(file), "predicted": None, "probability": None, "error": reasons[at]})
            continue
        row, uncertainty = said[at]
        best = int(row.argmax())
        rows.append(
            {
                "path": str(file),
                "predicted": model.classes[best],
                "probability": float(row[0] if len(model.classes) == 2 else row[best]),
                "uncertainty": float(uncertainty),
                "probabilities": {name: float(p) for name, p in zip(model.classes, row, strict=True)},
                "model": version.name,
            }
        )
    return rows
