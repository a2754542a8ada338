"""The models a workspace has had: going back to one, and taking away the files of old ones.

A version's row stays for ever, for rounds and evaluations point at it; only files go. The record says first that a
version is removed, then its file is deleted: a process that dies in between leaves a file nobody needs, and the next
call of :func:`prune` or :func:`remove` deletes it.
"""

from __future__ import annotations

import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from labeler import faults
from labeler.domain import LabelerError, Split, UnknownName
from labeler.durable import sync_folder
from labeler.embed import backbones
from labeler.rank import stopping
from labeler.rank.head import QuickModel
from labeler.record import images, jobs, models, queries, statistics
from labeler.record.store import Session, Store
from labeler.record.tables import ModelVersion
from labeler.rounds import networks, version_files
from labeler.rounds.handout import REFRESH_JOB
from labeler.rounds.version_files import CONTEST, NETWORK
from labeler.settings import Settings
from labeler.workspace import WorkspacePaths

#: Versions that :func:`prune` keeps besides those that are needed.
KEEP = 10


class ModelNeeded(LabelerError):
    """A version that must not be removed, or not without saying so."""


@dataclass(frozen=True, slots=True)
class Removed:
    """What a removal did.

    Attributes:
        names: versions that are removed now.
        freed: bytes of the files that were deleted, those left by an earlier call included.
        notes: what referred to them, and files that stay because another version needs them.
    """

    names: Sequence[str]
    freed: int
    notes: Sequence[str] = ()


def named(session: Session, name: str) -> ModelVersion:
    """The version of that name; `UnknownName` when there is none."""
    version = models.by_name(session, name)
    if version is None:
        raise UnknownName(f"there is no model {name!r}", "see `labeler models list`")
    return version


# ------------------------------------------------------------------------------------------------------- going back


def use(store: Store, paths: WorkspacePaths, settings: Settings, name: str) -> dict[str, Any]:
    """Make a version the one in use and ask for a ranking by it.

    It stays in use until somebody labels on: what was learned from decisions that are on record now does not take its
    place. The next retraining learns from every label in force, those that came after the version too.

    Returns:
        ``{"model", "before", "labelled", "learned", "newer"}``: labels in force, how many of them the version learned
        from, and how many decisions came after.

    Raises:
        UnknownName: no such version.
        LabelerError: it was removed, its file is damaged or missing, or it does not fit the workspace.
    """
    with store.read() as session:
        version = named(session, name)
    _check_fits(paths, settings, version)
    with store.write() as session:
        version = named(session, name)
        if version.removed_at is not None:  # by another process, a moment ago
            raise version_files.removed(version)
        before = models.in_use(session)
        models.choose(session, version, queries.last_decision_id(session))
        jobs.queue(session, REFRESH_JOB)
        newer = queries.count_since(session, version.last_decision_id)
        train = images.counts(session)[Split.TRAIN.value]
    return {
        "model": version.name,
        "before": before.name if before is not None else None,
        "learned": version.labelled,
        "labelled": sum(number for label, number in train.items() if label is not None),
        "newer": newer,
    }


def load(store: Store, paths: WorkspacePaths, name: str | None = None) -> tuple[ModelVersion, QuickModel]:
    """A version, by default the one in use, with its model; the files are checked against their digests.

    Raises:
        UnknownName: no such version.
        LabelerError: there is none in use, it was removed, or a file of it is damaged or missing.
    """
    with store.read() as session:
        version = named(session, name) if name is not None else models.in_use(session)
    if version is None:
        raise LabelerError("there is no trained model yet", "label images of two classes, then run `labeler train`")
    version_files.check_sound(paths, version)
    return version, QuickModel.load(paths.root / version.path, version.digest)


def _check_fits(paths: WorkspacePaths, settings: Settings, version: ModelVersion) -> None:
    version_files.check_sound(paths, version)
    if tuple(version.classes) != settings.classes:
        raise LabelerError(
            f"the model {version.name} knows {', '.join(version.classes)}, this workspace "
            f"{', '.join(settings.classes)}",
            "use another: `labeler models list`",
        )
    backbone = backbone_of(version, paths, settings)
    kept = version.settings.get(NETWORK) or {}
    configured = _resolved(settings, settings.vectors, settings.precision, settings.weights)
    if kept:
        wanted, fits = {"model": kept["model"]}, kept["base_key"] in ("", configured.key)
    else:
        wanted = {"backbone": backbone.name, "weights": backbone.weights, "precision": backbone.precision}
        fits = configured.key == backbone.key
    differing = {key: value for key, value in wanted.items() if value != getattr(settings, key)}
    if differing:
        lines = ", ".join(f'{key} = "{value}"' for key, value in differing.items())
        raise LabelerError(f"the model {version.name} was made with {lines}", "set that in labeler.toml first")
    if not fits:
        raise LabelerError(
            f"the model {version.name} was made for other vectors", "set backbone, weights and vectors as they were"
        )


def backbone_of(version: ModelVersion, paths: WorkspacePaths, settings: Settings) -> backbones.Backbone:
    """What a version stands on: its network, else the backbone of its key among those the settings can describe.

    Raises:
        LabelerError: none has that key, so its weights or this program are others by now.
    """
    kept = version.settings.get(NETWORK)
    if kept:
        return networks.described(paths, kept)
    for weights in dict.fromkeys((settings.weights, backbones.IMAGENET, backbones.NO_WEIGHTS)):
        for vectors in dict.fromkeys((settings.vectors, backbones.MULTI_DEPTH, backbones.POOLED)):
            for precision in dict.fromkeys((settings.precision, backbones.FLOAT32, backbones.INT8)):
                with contextlib.suppress(LabelerError):
                    found = _resolved(settings.replace(backbone=version.backbone), vectors, precision, weights)
                    if found.key == version.backbone_key:
                        return found
    raise LabelerError(
        f"the model {version.name} was made with {version.backbone_key}, which is not to be had any more",
        "set `weights` to the file it was made with, or train again",
    )


def _resolved(settings: Settings, vectors: str, precision: str, weights: str) -> backbones.Backbone:
    return backbones.resolve(settings.backbone, weights=weights, vectors=vectors, precision=precision)


# --------------------------------------------------------------------------------------------------------- removing


def remove(store: Store, paths: WorkspacePaths, names: Sequence[str], *, force: bool = False) -> Removed:
    """Remove versions, all that are named or none. A version that is removed already is passed over.

    Args:
        force: also those that something refers to which is not over; what, is said in the notes.

    Raises:
        UnknownName: no such version.
        ModelNeeded: one is in use; or, without ``force``, a round, the ranking or another version refers to it.
    """
    with store.write() as session:
        versions = [version for version in (named(session, name) for name in names) if version.removed_at is None]
        notes: list[str] = []
        for version in versions:
            if version.in_use:
                raise ModelNeeded(f"the model {version.name} is in use", "use another first: `labeler models use NAME`")
            notes += [f"{version.name}: {reason}" for reason in _references(session, version, versions)]
        if notes and not force:
            raise ModelNeeded(f"not removed: {'; '.join(notes)}", "remove it all the same with --force")
        models.mark_removed(session, versions)
    faults.point("versions.marked")
    freed, kept = _clear(store, paths, {version.id for version in versions})
    return Removed(tuple(version.name for version in versions), freed, (*notes, *kept))


def _references(session: Session, version: ModelVersion, going: Sequence[ModelVersion]) -> list[str]:
    """Why somebody may still want a version, in words."""
    reasons = list(models.needed_now(session).get(version.id, ()))
    for other in models.every(session):
        if other in going:
            continue
        if version.name in _names_in(other.settings.get(CONTEST)):
            reasons.append(f"{other.name} was compared with it")
        if other.parent_id == version.id and other.kind != "head":
            reasons.append(f"{other.name} was trained from it")
    return reasons


def prune(store: Store, paths: WorkspacePaths, *, keep: int = KEEP) -> Removed:
    """Remove old versions nobody needs, and files that an interrupted removal left.

    Kept are the newest ``keep``; the one in use, the one it was last compared with, and the one the newest round led
    to; those an unfinished round or the ranking refers to; what a kept one was compared with in its contest; and the
    network that a kept head sits on.

    Args:
        keep: how many of the newest, at least 1.
    """
    with store.read() as session:
        going = _superfluous(session, max(1, keep))
    if going:
        with store.write() as session:
            going = _superfluous(session, max(1, keep))
            models.mark_removed(session, going)
        faults.point("versions.marked")
    freed, notes = _clear(store, paths, {version.id for version in going})
    return Removed(tuple(version.name for version in going), freed, notes)


def prune_when_many(store: Store, paths: WorkspacePaths, *, keep: int) -> None:
    """:func:`prune` once there are twice as many as are kept: it looks at every version there ever was."""
    with store.read() as session:
        many = models.count_present(session) >= 2 * keep
    if many:
        prune(store, paths, keep=keep)


def _superfluous(session: Session, keep: int) -> list[ModelVersion]:
    rows = models.every(session)
    current = models.in_use(session)
    kept = {row.id for row in rows[-keep:]} | set(models.needed_now(session))
    kept.add(models.newest_trained(session) or 0)
    if current is not None:
        earlier = statistics.version_before(session, current, stopping.LABELS_APART)
        kept |= {current.id} | ({earlier.id} if earlier is not None else set())
    contested = {name for row in rows if row.id in kept for name in _names_in(row.settings.get(CONTEST))}
    kept |= {row.id for row in rows if row.name in contested}
    networks = {version_files.network_path(row) for row in rows if row.id in kept} - {None}
    # A head on a trained network keeps the version that trained it: without that row's file nobody could go back.
    kept |= {row.id for row in rows if row.kind != "head" and version_files.network_path(row) in networks}
    return [row for row in rows if row.id not in kept]


def _names_in(value: Any) -> set[str]:
    """Every text in a JSON value: a contest names the other version somewhere, under a key of its own."""
    if isinstance(value, str):
        return {value}
    if isinstance(value, Mapping):
        return {name for item in value.values() for name in _names_in(item)}
    if isinstance(value, (list, tuple)):
        return {name for item in value for name in _names_in(item)}
    return set()


def _clear(store: Store, paths: WorkspacePaths, going: Collection[int]) -> tuple[int, list[str]]:
    """Delete the files of removed versions that no other version needs.

    Returns:
        Bytes freed, and which files of the versions ``going`` stay.
    """
    with store.read() as session:
        rows = models.every(session, removed=True)
    needed = {file for row in rows if row.removed_at is None for file in version_files.files_of(paths, row)}
    freed, notes = 0, []
    for row in rows:
        if row.removed_at is None:
            continue
        for file in version_files.files_of(paths, row):
            if file not in needed:
                freed += _delete(file)
            elif row.id in going:
                notes.append(f"{paths.relative(file)} of {row.name} stays: another version needs it")
    if freed:
        sync_folder(paths.models)
    return freed, notes


def _delete(file: Path) -> int:
    try:
        size = file.lstat().st_size
        file.unlink()
    except FileNotFoundError:
        return 0
    except OSError as error:
        raise LabelerError(f"{file} cannot be deleted: {error.strerror}", "delete it, or try again") from None
    faults.point("versions.deleted")
    return size
