"""Comparing the record with the disk, both ways, and healing what is certain."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from labeler.domain import Action, LabelerError, Progress, Split
from labeler.pool import ingest, mover
from labeler.pool.disk import sha256_of
from labeler.record import images, models, moves, queries
from labeler.record.store import Store
from labeler.record.tables import DecisionRow, Image, MoveRow
from labeler.rounds import decisions, deep_check, journal, scan, sorting
from labeler.settings import Settings
from labeler.workspace import WorkspacePaths, exclusive

_LOCK_WAIT_S = 600.0
Report = Callable[[Progress], None] | None


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing in which record and disk disagree.

    Attributes:
        kind: pending-move, missing-file, unrecorded-file, changed-file, wrong-folder, wrong-label, wrong-split,
            unfinished-sort, leftover, missing-model, missing-quarantined or damaged-record; of a deep check also
            damaged-model and damaged-vectors.
        path: what it concerns, workspace-relative.
        detail: what is wrong, in words.
    """

    kind: str
    path: str
    detail: str


def verify(
    store: Store,
    paths: WorkspacePaths,
    settings: Settings,
    *,
    repair: bool,
    deep: bool = False,
    progress: Report = None,
) -> dict[str, Any]:
    """Every difference; with ``repair`` first heal what is certain, then say what was there and what is left.

    Certain is: replaying the journal, going on with a sorting run that was cut off, removing our own temporaries,
    adopting files that people added, moved or removed, copying the label of the last decision in force, and moving a
    file to the folder of its label. A file that is gone for good is recorded as missing, its rows stay.

    Without ``deep`` a file of the recorded size and time is taken for what it was. With it every file is read, which
    finds what a failing disk changed; people can go on deciding meanwhile. What only that finds is healed for vectors,
    which are made anew; for images and models it is said what to do.
    """
    found = _differences(store, paths, settings)
    repaired: list[Difference] = []
    notes: list[str] = []
    if repair and found:
        notes = _repair(store, paths, settings)
        left = _differences(store, paths, settings)
        repaired = [difference for difference in found if difference not in left]
        found = left
    report: dict[str, Any] = {}
    if deep:
        read = deep_check.check(store, paths, settings, progress, repair=repair)
        said = {(difference.kind, difference.path) for difference in found}
        found += [Difference(*item) for item in read.differences if item[:2] not in said]
        repaired += [Difference(*item) for item in read.repaired]
        report["read"] = {"files": read.files, "bytes": read.bytes}
    with store.read() as session:
        checked = len(images.files(session))
    return {
        "clean": not found,
        "images": checked,
        "differences": [asdict(difference) for difference in found],
        "repaired": [asdict(difference) for difference in repaired],
        "notes": notes,
        **report,
    }


def _differences(store: Store, paths: WorkspacePaths, settings: Settings) -> list[Difference]:
    # Under both locks nothing moves while we compare; people can go on deciding, their moves wait a moment.
    with exclusive(paths, "intake", wait_s=_LOCK_WAIT_S), exclusive(paths, "moves", wait_s=_LOCK_WAIT_S):
        with store.read() as session:
            found = [Difference("damaged-record", "db/labeler.db", line) for line in images.damage(session)]
            recorded = images.every(session)
            pending = moves.images_moving(session)
            in_force = queries.decisions_in_force(session, [image.id for image in recorded])
            versions = models.every(session)
            aside = images.quarantined(session)
        on_disk = {paths.relative(file): file for split in Split for file in _files(paths, split)}
        present = {image.path: image for image in recorded if not image.missing}
        # Links, which are neither followed nor moved: the record says so.
        refused = {row.source for row in aside if row.path is None}
        for image in recorded:
            decision = in_force.get(image.id)
            found += _undecided(image, decision)
            if image.missing:
                continue
            if image.id in pending:
                found.append(Difference("pending-move", image.path, "a decision's move is not carried out yet"))
            elif image.path not in on_disk:
                found.append(Difference("missing-file", image.path, "on record, not on disk"))
            elif _changed(image, on_disk[image.path]):
                found.append(Difference("changed-file", image.path, "its bytes are not the ones on record"))
            elif not _belongs(image):
                found.append(Difference("wrong-folder", image.path, f"its label is {image.label}"))
        for path, file in on_disk.items():
            if file.is_symlink() and scan.printable(path) in refused:
                continue
            if path not in present and not _arriving(file, recorded, pending):
                found.append(Difference("unrecorded-file", path, "on disk, not on record"))
        found += _leftovers(paths)
        found += [
            Difference("unfinished-sort", "db/labeler.db", f"sorting run {run} was cut off")
            for run in sorting.cut_off(store, paths)
        ]
        found += [
            Difference("missing-model", model.path, f"model {model.name} cannot be used")
            for model in versions
            if not (paths.root / model.path).is_file()
        ]
        found += [
            Difference("missing-quarantined", row.path, "set aside on record, not on disk")
            for row in aside
            if row.path is not None and not os.path.lexists(paths.root / row.path)
        ]
    return found


def _undecided(image: Image, decision: DecisionRow | None) -> list[Difference]:
    """In what an image differs from the decision that counts."""
    label = decision.label if decision is not None else None
    if label != image.label:
        return [Difference("wrong-label", image.path, f"{image.label} on the image, {label} decided")]
    if _by_model(decision) != (image.split == Split.SORTED.value):
        who = "the model" if _by_model(decision) else "somebody"
        return [Difference("wrong-split", image.path, f"{who} decided, and it is {image.split}")]
    return []


def _by_model(decision: DecisionRow | None) -> bool:
    return decision is not None and decision.action == Action.SORT.value


def _files(paths: WorkspacePaths, split: Split) -> Iterable[Path]:
    return ingest.walk(paths.split(split), strict=True) if paths.split(split).is_dir() else ()


def _changed(image: Image, file: Path) -> bool:
    stat = file.lstat()
    if (stat.st_size, stat.st_mtime_ns) == (image.size, image.mtime_ns):
        return False
    return stat.st_size != image.size or sha256_of(file) != image.sha256


def _belongs(image: Image) -> bool:
    split, label = Split(image.split), image.label
    folder = PurePosixPath(decisions.destination(image, split, label)[0])
    if split is Split.UNLABELLED:  # any depth, as it was imported or put there
        folder = PurePosixPath("pools", split.folder)
    return folder in PurePosixPath(image.path).parents


def _arriving(file: Path, recorded: Iterable[Image], pending: set[int]) -> bool:
    """Whether an unrecorded file is the far end of a move that was cut off; the journal will settle it."""
    sizes = {image.size for image in recorded if image.id in pending}
    if file.lstat().st_size not in sizes:
        return False
    sha256 = sha256_of(file)
    return any(image.id in pending and image.sha256 == sha256 for image in recorded)


def _leftovers(paths: WorkspacePaths) -> list[Difference]:
    return [
        Difference("leftover", paths.relative(file), "a temporary file of a process that was killed")
        for file in mover.leftovers(paths.pools)
    ]


def _repair(store: Store, paths: WorkspacePaths, settings: Settings) -> list[str]:
    notes = [str(problem) for problem in journal.drain(store, paths, verify=True)]
    notes += sorting.finish(store, paths)
    journal.clear_leftovers(paths)
    try:
        report = scan.scan(store, paths, settings, vanished_is_fine=True)
        notes += report.notes
    except LabelerError as error:
        notes.append(str(error))
    with store.write() as session:
        recorded = images.every(session)
        in_force = queries.decisions_in_force(session, [image.id for image in recorded])
        for image in recorded:
            decision = in_force.get(image.id)
            label = decision.label if decision is not None else None
            mixed = _by_model(decision) != (image.split == Split.SORTED.value)
            if (label != image.label or mixed) and decision is not None:
                decisions.relabel(session, image, label, decision.id, machine=_by_model(decision))
            elif not image.missing and decision is not None and not _belongs(image):
                folder, name = decisions.destination(image, Split(image.split), image.label)
                session.add(MoveRow(image_id=image.id, decision_id=decision.id, folder=folder, file_name=name))
    notes += [str(problem) for problem in journal.drain(store, paths)]
    return notes


def tidy(report: dict[str, Any]) -> str:
    """One line that sums a report up."""
    left = len(report["differences"])
    healed = len(report["repaired"])
    text = f"{report['images']} images checked: " + ("record and disk agree" if not left else f"{left} difference(s)")
    if "read" in report:
        text += f", {report['read']['files']} files read ({report['read']['bytes'] / 1e6:.0f} MB)"
    return text + (f", {healed} repaired" if healed else "")
