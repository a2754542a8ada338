"""`labeler rebuild`: a record made anew from ``pools/``, for when ``db/`` is lost and there is no backup.

A folder says what an image is and which label it has; the file says the rest of what can be known. What only the old
record knew is gone, and is named. The new record is made under another name and takes its place when it is whole, so
that a rebuild that was cut off is simply run again.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from labeler import faults, settings, workspace
from labeler.domain import LabelerError, Progress, RecordError, Split, WorkspaceError
from labeler.pool import ingest, mover
from labeler.pool.names import is_passed_over, shown
from labeler.record import copies, images
from labeler.record.store import Store, sqlite_url
from labeler.record.tables import Quarantined
from labeler.rounds import aside, reconciling, verification
from labeler.settings import Settings
from labeler.workspace import WorkspacePaths

Report = Callable[[Progress], None] | None

#: What no folder tells.
UNKNOWN = (
    "who decided what, and when",
    "skipped images, opinions and flags",
    "rounds, what the model said of each image, and how images were chosen",
    "models and their figures: the next round trains one from the labels",
    "what the model had sorted: it is in the pool again",
    "accounts: nobody signs in until `labeler users add`",
)
_FORCE = "--force keeps it aside and makes another"
_SOUND = "a sound image by now; why it was set aside is not known"


def rebuild(
    paths: WorkspacePaths,
    *,
    classes: tuple[str, ...] | None = None,
    force: bool = False,
    database: str | None = None,
    progress: Report = None,
) -> dict[str, Any]:
    """Make the record anew from the files.

    Args:
        paths: the workspace; its ``db/`` is made where it is missing.
        classes: in order, where ``labeler.toml`` is lost too; by default the names of the class folders.
        force: also when there is a record that can be used; it is kept beside the new one, as any is.
        database: URL of the record, where it is not the workspace's own.

    Returns:
        What ``labeler rebuild --json`` prints; ``unknown`` is what could not be made anew.

    Raises:
        WorkspaceError: there is no ``pools/``, or nothing tells the classes.
        RecordError: there is a usable record and no ``force``. WorkspaceBusy: another labeler is at work there.
    """
    if not paths.pools.is_dir():
        raise WorkspaceError(f"{paths.root} has no pools/ to make a record from", "name the workspace with -w DIR")
    paths.db.mkdir(mode=0o700, exist_ok=True)
    with aside.alone(paths):
        values = _settings(paths, classes)
        record = copies.file_of(database or values.database or sqlite_url(paths.database), "a rebuild")
        aside.check_closed(record)
        if not force:
            _check_useless(record)
        with aside.staging(record) as folder:
            made = folder / "labeler.db"
            document = _made(made, paths, values, progress)
            copies.in_one_file(made)
            faults.point("rebuild.made")
            kept = aside.exchange(paths, record, made, "rebuild")
        document |= _checked(record, paths, values)
    notes = [*document.pop("notes"), *_left(paths, record)]
    return {
        "workspace": str(paths.root),
        "classes": list(values.classes),
        "kept": paths.relative(kept) if kept is not None and kept.is_relative_to(paths.root) else kept and str(kept),
        **document,
        "unknown": list(UNKNOWN),
        "notes": notes,
    }


# ------------------------------------------------------------------------------------------------------ what is there


def _check_useless(record: Path) -> None:
    """See that nothing would be lost by another record in this one's place.

    Raises:
        RecordError: it can be used, by this labeler or by another.
    """
    if not record.is_file():
        return
    try:
        copies.check(record)
        if copies.revision(record) is None:
            return
    except LabelerError:
        return
    try:
        number, decisions, accounts = copies.holds(record)
    except RecordError:
        raise RecordError(f"the record {record} was made by another labeler", _FORCE) from None
    if number or decisions or accounts:
        what = f"the record {record} can be used: it has {number} images and {decisions} decisions"
        raise RecordError(what, f"`labeler verify --repair` mends it; {_FORCE}")


def _settings(paths: WorkspacePaths, classes: tuple[str, ...] | None) -> Settings:
    """The workspace's settings; a ``labeler.toml`` that is lost is made anew, with the classes given or found.

    Raises:
        WorkspaceError: other classes than ``labeler.toml`` has were given, or there are too few folders to tell.
    """
    if not (paths.root / settings.FILE_NAME).is_file():
        classes = classes or _found_classes(paths)
    workspace.create(paths.root, classes)
    return settings.load(paths.root)


def _found_classes(paths: WorkspacePaths) -> tuple[str, ...] | None:
    """The names of the class folders; None where they are among the default ones, whose order is known."""
    found: set[str] = set()
    for split in (Split.TRAIN, Split.VALIDATION, Split.TEST, Split.SORTED):
        folder = paths.split(split)
        if folder.is_dir():
            found |= {entry.name for entry in folder.iterdir() if entry.is_dir() and not is_passed_over(entry.name)}
    if found <= set(Settings().classes):
        return None
    if len(found) < 2:
        [only] = found
        raise WorkspaceError(
            f"labeler.toml is lost, and {shown(only)!r} is the only class folder", "give all with --classes A,B"
        )
    return settings.check_classes(sorted(found))


# ------------------------------------------------------------------------------------------------------------- making


def _made(made: Path, paths: WorkspacePaths, values: Settings, progress: Report) -> dict[str, Any]:
    """Make the new record: images and labels from the folders, then the reasons for what is set aside."""
    store = Store(sqlite_url(made))
    try:
        found = reconciling.reconcile(store, paths, values, progress)
        faults.point("rebuild.scanned")
        quarantined = _quarantined(store, paths, values, progress)
        with store.read() as session:
            counts = images.counts(session)
    finally:
        store.close()
    by_split = {split: {label or "-": n for label, n in of.items()} for split, of in counts.items() if of}
    return {
        "images": found.added,
        "labels": found.labels,
        "counts": by_split,
        "quarantined": quarantined,
        "notes": found.notes,
    }


def _quarantined(store: Store, paths: WorkspacePaths, values: Settings, progress: Report) -> list[dict[str, str]]:
    """Put the files of ``pools/Quarantine`` on record with the reason that is found for each now."""
    with store.read() as session:
        known = {row.path: row.reason for row in images.quarantined(session) if row.path is not None}
    files = [file for file in ingest.walk(paths.quarantine) if paths.relative(file) not in known]
    outcomes = ingest.examine(
        files,
        root=paths.quarantine,
        max_pixels=values.max_pixels,
        threads=values.threads,
        progress=progress,
        total=len(files),
    )
    rows = [_row(store, paths, outcome) for outcome in outcomes]
    with store.write() as session:
        session.add_all(rows)
    found = [{"path": row.path or row.source, "reason": row.reason} for row in rows]
    return [*({"path": path, "reason": reason} for path, reason in known.items()), *found]


def _row(store: Store, paths: WorkspacePaths, outcome: ingest.Accepted | ingest.Rejected) -> Quarantined:
    if isinstance(outcome, ingest.Accepted):
        sha256: str | None = outcome.facts.sha256
        with store.read() as session:
            twin = images.by_sha(session, outcome.facts.sha256)
        reason = f"byte-identical to {twin.path}" if twin is not None else _SOUND
    else:
        sha256, reason = outcome.sha256, outcome.reason
    file, source = outcome.file, shown(paths.relative(outcome.file))
    if not paths.relative(file).isprintable() and sha256 is not None:  # the record holds text only
        name = ingest.safe_name(file.name, sha256[:16])
        with contextlib.suppress(LabelerError):
            file = mover.move(file, paths.quarantine, name=name, sha256=sha256)
    path = paths.relative(file)
    return Quarantined(source=source, path=path if path.isprintable() else None, sha256=sha256, reason=reason)


def _checked(record: Path, paths: WorkspacePaths, values: Settings) -> dict[str, Any]:
    store = Store(sqlite_url(record))
    try:
        report = verification.verify(store, paths, values, repair=False)
    finally:
        store.close()
    return {"clean": report["clean"], "differences": report["differences"]}


def _left(paths: WorkspacePaths, record: Path) -> Sequence[str]:
    """What lies about that a person may want: models nobody refers to, and older copies of the record."""
    notes = []
    models = sum(1 for file in paths.models.iterdir() if file.is_file()) if paths.models.is_dir() else 0
    if models:
        notes.append(f"{models} file(s) in {paths.relative(paths.models)} belong to no model any more")
    older = sorted(record.parent.glob("before-migration-*.db"))
    if older:
        notes.append(f"{older[-1].name} is an older record: `labeler restore` takes it, with what it knew")
    return notes
