"""Model versions put on record: the file first, then the row that names it and everything it came from."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from labeler import faults
from labeler.domain import ImageRef, WorkspaceBusy
from labeler.pool.disk import make_folder
from labeler.rank.head import QuickModel
from labeler.record import models, queries
from labeler.record.store import Store
from labeler.record.tables import ModelVersion
from labeler.rounds import version_files
from labeler.rounds.version_files import DECISIONS, NETWORK
from labeler.workspace import WorkspacePaths, exclusive

if TYPE_CHECKING:
    from labeler.rounds.learning import Learner


#: Held from the writing of a model's file until its row is on record.
LOCK = "models"
LOCK_WAIT_S = 600.0
_NOTE = ".saving-"


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What a model is about to learn from.

    Attributes:
        labelled: how many images.
        last_decision: the newest decision there was.
        decisions: the numbers of those that count, as inclusive ranges.
        began_with: the version in use at that moment.
    """

    labelled: int
    last_decision: int
    decisions: Sequence[Sequence[int]]
    began_with: int | None


def snapshot(learner: Learner, refs: Sequence[ImageRef]) -> Snapshot:
    """Note the decisions behind the labels of these images."""
    labels = {ref.id: ref.label for ref in refs}
    with learner.store.read() as session:
        last = queries.last_decision_id(session)
        in_force = queries.decisions_in_force(session, list(labels))
        current = models.in_use(session)
    numbers = sorted(row.id for image, row in in_force.items() if row.label == labels[image])
    return Snapshot(len(refs), last, ranges(numbers), current.id if current is not None else None)


def ranges(numbers: Sequence[int]) -> list[list[int]]:
    """Ascending numbers as inclusive ranges: [1, 2, 3, 7] -> [[1, 3], [7, 7]]."""
    found: list[list[int]] = []
    for number in numbers:
        if found and number == found[-1][1] + 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return found


def save(
    learner: Learner,
    model: QuickModel,
    taken: Snapshot,
    *,
    kind: str,
    seed: int,
    network: Mapping[str, Any] | None = None,
    extra: Mapping[str, Any] | None = None,
    use: bool = True,
) -> ModelVersion:
    """Save a model and put it on record; to be called within :func:`filing`.

    Args:
        taken: what it learned from.
        kind: ``head``, ``finetune``, ``cnn``, ``ann`` or ``transfer``.
        network: the trained network it stands on; by default that of the model in use or of the one it began with.
        extra: more for the version's settings: its history, its contest.
        use: whether it takes over, unless a person chose another while it was trained.
    """
    settings = learner.settings
    kept: dict[str, Any] = {"head_c": settings.head_c, "vectors": settings.vectors, DECISIONS: taken.decisions}
    with learner.store.read() as session:
        name = models.next_name(session)
        parent = models.in_use(session)
        began = session.get(ModelVersion, taken.began_with or 0)
    for base in (parent, began):  # where another took over meanwhile, the network is that of the one it began with
        if network is None and base is not None and base.backbone_key == model.backbone_key:
            network = base.settings.get(NETWORK)
    if network is not None:
        kept[NETWORK] = dict(network)
    content = model.encoded()
    digest = hashlib.sha256(content).hexdigest()
    # Two processes may train at once: the digest keeps their files apart where the next number is the same.
    file = learner.paths.models / f"{name}-{digest[:8]}.npz"
    announce(file)
    model.save(file, content)
    faults.point("train.saved")
    version = ModelVersion(
        kind=kind,
        parent_id=parent.id if parent is not None else None,
        path=learner.paths.relative(file),
        digest=digest,
        backbone=learner.settings.backbone if kind in ("head", "finetune") else kind,
        backbone_key=model.backbone_key,
        classes=list(model.classes),
        settings=kept | dict(extra or {}),
        seed=seed,
        labelled=taken.labelled,
        last_decision_id=taken.last_decision,
    )
    with learner.store.write() as session:
        version.name = models.next_name(session)
        session.add(version)
        session.flush()
        if use:
            models.take_over(session, version, taken.began_with)
    for done in version_files.files_of(learner.paths, version):
        _note_of(done).unlink(missing_ok=True)
    faults.point("train.recorded")
    return version


# ------------------------------------------------------------------------------------------------- what a kill leaves


@contextlib.contextmanager
def filing(paths: WorkspacePaths) -> Iterator[None]:
    """Hold the lock of the models: while it is free no model is on its way onto the record.

    Raises:
        WorkspaceBusy: another process had it for ten minutes.
    """
    with exclusive(paths, LOCK, wait_s=LOCK_WAIT_S):
        yield


def announce(file: Path) -> None:
    """Note beside a model's file, before it is written, that it is on its way onto the record.

    By the note, and by nothing else, is known that a file nobody names is ours to remove: others may lie there for
    reasons of their own, and all of them do after a record was lost.
    """
    make_folder(file.parent)
    _note_of(file).touch()


def _note_of(file: Path) -> Path:
    return file.with_name(_NOTE + file.name)


def clear_unrecorded(store: Store, paths: WorkspacePaths) -> int:
    """Remove half-written models and such as never got on record, of processes that were killed; returns how many.

    Cheap when there are none. While somebody saves a model it is left for later.
    """
    if not any(name.startswith(".") for name in _names(paths)):
        return 0
    try:
        with exclusive(paths, LOCK):
            return _clear_unrecorded(store, paths)
    except WorkspaceBusy:
        return 0


def _clear_unrecorded(store: Store, paths: WorkspacePaths) -> int:
    with store.read() as session:
        rows = models.every(session, removed=True)
    named = {file for row in rows for file in version_files.files_of(paths, row)}
    cleared = 0
    for name in _names(paths):
        file = paths.models / name
        if name.startswith(_NOTE):
            unrecorded = paths.models / name.removeprefix(_NOTE)
            if unrecorded not in named and unrecorded.exists():
                unrecorded.unlink()
                cleared += 1
            file.unlink()
        elif name.startswith(".") and name.endswith(".tmp"):
            file.unlink()
            cleared += 1
    return cleared


def _names(paths: WorkspacePaths) -> list[str]:
    return os.listdir(paths.models) if paths.models.is_dir() else []
