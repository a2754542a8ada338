"""Networks that were trained here: which one a version stands on, and training another."""

from __future__ import annotations

import contextlib
import shutil
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from labeler import faults
from labeler.domain import ImageRef, WorkspaceBusy
from labeler.durable import sync_file, sync_folder
from labeler.embed import backbones
from labeler.embed.backbones import Backbone, Part
from labeler.pool.disk import make_folder, sha256_of
from labeler.rank.features import FeatureMap
from labeler.rank.head import Head, QuickModel
from labeler.record import images
from labeler.record.tables import ModelVersion
from labeler.retrain import apart
from labeler.rounds import journal, versioning
from labeler.rounds.version_files import HISTORY, NETWORK
from labeler.workspace import WorkspacePaths, exclusive

if TYPE_CHECKING:
    from labeler.rounds.learning import Learner, Material

#: One training at a time in a workspace: it takes all the cores there are.
LOCK = "training"
LOCK_WAIT_S = 3600.0
FINETUNE = "finetune"

Labels = npt.NDArray[np.integer]


def of_version(version: ModelVersion, learner: Learner) -> Backbone | None:
    """The trained network below a version; None for a frozen backbone, or where the settings ask for another."""
    kept = version.settings.get(NETWORK)
    if not kept:
        return None
    settings = learner.settings
    if kept["model"] != settings.model or kept["base_key"] not in ("", learner.configured.key):
        return None
    return described(learner.paths, kept)


def described(paths: WorkspacePaths, kept: Mapping[str, Any]) -> Backbone:
    """The backbone that ``ModelVersion.settings["network"]`` describes."""
    return backbones.of_file(
        paths.root / kept["path"],
        name=kept["name"],
        input_size=kept["input_size"],
        parts=[Part(*part) for part in kept["parts"]],
        preprocessing=kept["preprocessing"],
        precision=kept["precision"],
        digest=kept["digest"],
    )


def train(
    learner: Learner, material: Material, taken: versioning.Snapshot, seed: int, tensorboard: Path | None
) -> tuple[ModelVersion, QuickModel]:
    """Train the network that the settings name from its first weights, and save it as the version in use.

    Raises:
        NotTrainable, WeightsUnavailable, LabelerError: see :func:`labeler.retrain.apart.train`.
    """
    settings = learner.settings
    kind = settings.model
    base = _base(learner) if kind == "transfer" else None
    refs = [material.refs[row] for row in material.labelled]
    y = material.y[material.labelled]
    with contextlib.ExitStack() as filing:
        with scratch(learner.paths) as folder:
            made = _made(learner, kind, base, refs, y, seed, folder, tensorboard)
            filing.enter_context(versioning.filing(learner.paths))  # from here on until it is on record
            network = keep(learner, made, model=kind, name=kind, base=base)
        model = _readout_as_head(made, described(learner.paths, network), settings.classes)
        extra = {HISTORY: made.figures["history"], "parameters": made.figures["parameters"]}
        return versioning.save(learner, model, taken, kind=kind, seed=seed, network=network, extra=extra), model


def _made(
    learner: Learner,
    kind: str,
    base: Backbone | None,
    refs: Sequence[ImageRef],
    y: Labels,
    seed: int,
    folder: Path,
    tensorboard: Path | None,
) -> apart.Made:
    job = apart.Job(
        task=kind,  # type: ignore[arg-type]  # the setting's choices
        files=files_of(learner, refs),
        y=y,
        shas=[ref.sha256 for ref in refs],
        classes=learner.settings.classes,
        seed=seed,
        settings=learner.settings,
        compiled=learner.paths.compiled,
        backbone=base,
        tensorboard=tensorboard,
    )
    return apart.train(job, folder, learner.progress)


def _base(learner: Learner) -> Backbone:
    """What a transfer model stands on: the pooled vector of the backbone, at the size that is set."""
    s = learner.settings
    size = s.input_size or None
    return backbones.resolve(s.backbone, weights=s.weights, vectors=backbones.POOLED, input_size=size)


def _readout_as_head(made: apart.Made, backbone: Backbone, classes: Sequence[str]) -> QuickModel:
    """The network's own output layer as the head on its features; as sure as training left it."""
    kernel, bias = made.arrays["kernel"].astype(np.float32), made.arrays["bias"].astype(np.float64)
    features = FeatureMap.plain([(part.dimension, part.weight) for part in backbone.parts])
    head = Head(kernel, bias, 1.0, np.arange(len(classes)), len(classes))
    return QuickModel(features, head, tuple(classes), backbone.key)


@contextlib.contextmanager
def scratch(paths: WorkspacePaths) -> Iterator[Path]:
    """A folder for one training, held alone; what a killed one left is cleared away first.

    Raises:
        WorkspaceBusy: another training went on for an hour.
    """
    home = _home(paths)
    with exclusive(paths, LOCK, wait_s=LOCK_WAIT_S):
        shutil.rmtree(home, ignore_errors=True)
        folder = home / uuid.uuid4().hex
        make_folder(folder)
        try:
            yield folder
        finally:
            shutil.rmtree(home, ignore_errors=True)


def _home(paths: WorkspacePaths) -> Path:
    return paths.db / "cache" / "training"


def clear_scratch(paths: WorkspacePaths) -> None:
    """Remove what a killed training left, images' arrays and all; while one is under way nothing is done."""
    if not _home(paths).exists():
        return
    with contextlib.suppress(WorkspaceBusy), exclusive(paths, LOCK):
        shutil.rmtree(_home(paths), ignore_errors=True)


def keep(learner: Learner, made: apart.Made, *, model: str, name: str, base: Backbone | None) -> dict[str, Any]:
    """Move a trained network to the other models, durably, and describe it for the record.

    To be called within :func:`labeler.rounds.versioning.filing`, which lasts until a version that has it is saved.

    Args:
        model: the setting that asks for it.
        name: of the backbone it grew from, or of its kind.
        base: the backbone it grew from or stands on.
    """
    digest = sha256_of(made.network)
    file = learner.paths.models / f"{name}-{digest[:16]}.keras"
    versioning.announce(file)
    sync_file(made.network)
    made.network.replace(file)
    sync_folder(learner.paths.models)
    faults.point("network.kept")
    size = int(made.figures["input_size"])
    tuned = model == "head"  # a fine-tuned network scales pixels as its backbone did, int8 form included
    return {
        "path": learner.paths.relative(file),
        "digest": digest,
        "name": name,
        "model": model,
        "base_key": learner.configured.key if base is not None else "",
        "input_size": size,
        "parts": made.figures["parts"],
        "preprocessing": base.preprocessing if tuned and base is not None else backbones.own_preprocessing(size),
        "precision": base.precision if tuned and base is not None else backbones.FLOAT32,
    }


def files_of(learner: Learner, refs: Sequence[ImageRef]) -> list[Path]:
    """Where the images lie once TensorFlow is loaded: of those that were answered last the move may be pending."""
    journal.drain(learner.store, learner.paths)
    with learner.store.read() as session:
        now = images.images_by_sha(session, [ref.sha256 for ref in refs])
    return [learner.paths.absolute(now[ref.sha256].path if ref.sha256 in now else ref.path) for ref in refs]
