"""Noticing at the start of a round what people did to ``pools/`` by hand: added, removed, renamed, relabelled."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from labeler.domain import Action, Answer, LabelerError, Progress, Split
from labeler.pool import ingest, mover
from labeler.pool.disk import sha256_of
from labeler.record import images, moves, queries
from labeler.record.store import Session, Store
from labeler.record.tables import Image, Quarantined
from labeler.rounds import decisions, intake, journal
from labeler.settings import Settings
from labeler.workspace import WorkspacePaths, exclusive

_CHUNK = 100
_LOCK_WAIT_S = 600.0
#: When more than this share of at least _ALARM_FROM images vanished at once, a disk is missing, not the images.
_ALARM_SHARE, _ALARM_FROM = 0.5, 20


@dataclass(slots=True)
class ScanReport:
    """What a scan found changed; all zero in the ordinary case. ``corrected`` counts images that a person dragged from
    one class of what the model sorted to another."""

    added: int = 0
    moved: int = 0
    missing: int = 0
    returned: int = 0
    corrected: int = 0
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Known:
    id: int
    sha256: str
    size: int
    mtime_ns: int
    missing: bool


@dataclass(frozen=True, slots=True)
class _Places:
    """What the walk saw: every path, of those whose file is another or was touched, whose it was, and which images
    were on their way: where those lie is the journal's business, also under a second name of theirs."""

    on_disk: set[str]
    owners: dict[str, _Known]
    moving: set[int]

    def still_there(self, paths: WorkspacePaths, image: Image) -> bool:
        """Whether the image lies where the record has it, so that a second file of these bytes is a twin."""
        if image.path not in self.on_disk:
            return False
        return image.path not in self.owners or _holds(paths.absolute(image.path), image.sha256)

    def give_up(self, session: Session, path: str, sha256: str) -> None:
        """The file at ``path`` is another now: whose path it was is missing until its own bytes turn up."""
        owner = self.owners.get(path)
        before = session.get(Image, owner.id) if owner is not None and owner.sha256 != sha256 else None
        if before is not None and before.path == path:
            before.missing = True
            session.flush()


def _holds(file: Path, sha256: str) -> bool:
    try:
        return sha256_of(file) == sha256
    except OSError:
        return False


def scan(
    store: Store,
    paths: WorkspacePaths,
    settings: Settings,
    progress: Callable[[Progress], None] | None = None,
    *,
    vanished_is_fine: bool = False,
) -> ScanReport:
    """Bring the record up to date with the files in ``pools/``.

    Reads file sizes and times only; a file is opened when it is new or changed.

    Args:
        vanished_is_fine: a person has confirmed that most images may be gone.

    Raises:
        LabelerError: most of the images vanished at once, so that a disk is probably not mounted; nothing changed.
    """
    report = ScanReport()
    with exclusive(paths, "intake", wait_s=_LOCK_WAIT_S):
        # A process that was killed may have left a file half-way, which must not be taken for a person's doing.
        journal.drain(store, paths)
        # Under the lock of the moves the record and the disk agree but for what people did by hand.
        with exclusive(paths, "moves", wait_s=_LOCK_WAIT_S):
            with store.read() as session:
                moving = moves.images_moving(session)
            on_disk = _walk(paths, settings.classes, report)
            known = _known(store)
        # A missing image's last path may have a new owner: the present one speaks for the path.
        by_path = {path: row for path, row in known if row.missing} | {p: row for p, row in known if not row.missing}
        way = {(row.size, row.mtime_ns): row.id for _, row in known if row.id in moving}
        fresh = [path for path, status in on_disk.items() if not _unchanged(by_path.get(path), status)]
        arriving = {path: way[key] for path in fresh if (key := _stamp(on_disk[path])) in way}
        fresh = [path for path in fresh if path not in arriving]
        gone = {row.id for path, row in known if not row.missing and path not in on_disk}
        gone -= set(arriving.values())
        if not vanished_is_fine:
            _alarm(len(gone), sum(1 for _, row in known if not row.missing), len(fresh), paths)
        returned = [row.id for path, row in by_path.items() if row.missing and path in on_disk and path not in fresh]
        owners = {path: by_path[path] for path in fresh if path in by_path and not by_path[path].missing}
        seen = _adopt(store, paths, settings, fresh, _Places(set(on_disk), owners, moving), report, progress)
        overwritten = {row.id for row in owners.values()}
        report.missing = _set_missing(store, paths, sorted((gone | overwritten) - seen), overwritten)
        report.returned = _set_returned(store, returned)
    if report.corrected:
        journal.drain(store, paths)
    if report.added:
        intake.mark_near_duplicates(store, settings.near_duplicate_bits)
    return report


def _walk(paths: WorkspacePaths, classes: Sequence[str], report: ScanReport) -> dict[str, os.stat_result]:
    on_disk: dict[str, os.stat_result] = {}
    strange: dict[str, int] = {}
    for split in Split:
        if not paths.split(split).is_dir():
            continue
        for file in ingest.walk(paths.split(split), strict=True):
            relative = paths.relative(file)
            if intake.label_of(relative, classes)[0] is None:
                folder = relative.rpartition("/")[0]
                strange[folder] = strange.get(folder, 0) + 1
                continue
            on_disk[relative] = file.lstat()
    report.notes += [f"{folder}: {n} file(s) passed over, it is no class folder" for folder, n in strange.items()]
    return on_disk


def _known(store: Store) -> list[tuple[str, _Known]]:
    with store.read() as session:
        return [
            (row.path, _Known(row.id, row.sha256, row.size, row.mtime_ns, row.missing)) for row in images.files(session)
        ]


def _unchanged(row: _Known | None, status: os.stat_result) -> bool:
    return row is not None and (row.size, row.mtime_ns) == _stamp(status)


def _stamp(status: os.stat_result) -> tuple[int, int]:
    """What a file keeps when it gets another name."""
    return status.st_size, status.st_mtime_ns


def _alarm(gone: int, present: int, fresh: int, paths: WorkspacePaths) -> None:
    if gone > fresh and present >= _ALARM_FROM and gone > present * _ALARM_SHARE:
        raise LabelerError(
            f"{gone} of {present} images are gone from {paths.pools}",
            "mount the disk they are on; or run `labeler verify --repair` if they were removed on purpose",
        )


def _adopt(
    store: Store,
    paths: WorkspacePaths,
    settings: Settings,
    fresh: Sequence[str],
    places: _Places,
    report: ScanReport,
    progress: Callable[[Progress], None] | None,
) -> set[int]:
    """Examine and record new and changed files; returns the ids of the images they turned out to be."""
    seen: set[int] = set()
    outcomes = ingest.examine(
        [paths.root.joinpath(path) for path in fresh],
        root=paths.pools,
        max_pixels=settings.max_pixels,
        threads=settings.threads,
        progress=progress if len(fresh) > _CHUNK else None,
        total=len(fresh),
    )
    for chunk in intake.chunks(outcomes, _CHUNK):
        accepted = _at_rest(store, [o for o in chunk if isinstance(o, ingest.Accepted)], places.moving)
        accepted = [_storable(outcome, paths) for outcome in accepted]
        accepted = _in_its_pool(store, paths, accepted)
        _put_aside(store, paths, [o for o in chunk if isinstance(o, ingest.Rejected)], report)
        twins: list[ingest.Rejected] = []
        with store.write() as session:
            rows = images.images_by_sha(session, [outcome.facts.sha256 for outcome in accepted])
            for outcome in accepted:
                sha, path = outcome.facts.sha256, paths.relative(outcome.file)
                row = rows.get(sha)
                if row is not None and not row.missing and row.path != path and places.still_there(paths, row):
                    twins.append(ingest.Rejected(outcome.file, f"byte-identical to {row.path}", sha))
                    continue
                split, label = intake.label_of(path, settings.classes)
                if split is Split.SORTED and row is not None and label is not None:
                    report.corrected += _sorted_by_hand(session, paths, settings.classes, outcome, row, label)
                    seen.add(row.id)
                    continue
                if row is not None and row.path != path:
                    report.moved += 1
                places.give_up(session, path, sha)
                report.added += row is None
                rows[sha] = intake.insert(session, paths, outcome.file, split or Split.UNLABELLED, label, outcome)
                seen.add(rows[sha].id)
        _put_aside(store, paths, twins, report)
    return seen


def _at_rest(store: Store, accepted: list[ingest.Accepted], moving: set[int]) -> list[ingest.Accepted]:
    """The same files without those of images that were on their way (moved between two disks they are new files)."""
    if not moving:
        return accepted
    with store.read() as session:
        rows = images.images_by_sha(session, [outcome.facts.sha256 for outcome in accepted])
    return [o for o in accepted if (row := rows.get(o.facts.sha256)) is None or row.id not in moving]


def _in_its_pool(store: Store, paths: WorkspacePaths, accepted: list[ingest.Accepted]) -> list[ingest.Accepted]:
    """The same files, those in ``pools/Sorted`` that no run put there moved to the pool: they are nobody's label.

    They may come from another workspace, or from a run that a restored record knows nothing of.
    """
    by_hand = {o.facts.sha256 for o in accepted if paths.split(Split.SORTED) in o.file.parents}
    if not by_hand:
        return accepted
    with store.read() as session:
        rows = images.images_by_sha(session, sorted(by_hand))
    strange = by_hand - {sha for sha, row in rows.items() if row.split == Split.SORTED.value}
    pool = paths.split(Split.UNLABELLED)
    return [
        ingest.Accepted(mover.move(o.file, pool, name=o.file.name, sha256=o.facts.sha256), o.facts)
        if o.facts.sha256 in strange
        else o
        for o in accepted
    ]


def _sorted_by_hand(
    session: Session, paths: WorkspacePaths, classes: Sequence[str], outcome: ingest.Accepted, row: Image, label: str
) -> bool:
    """An image of ``pools/Sorted`` that a person renamed or dragged; in another class there it has got its label.

    Returns:
        Whether it has: its file then has a way to go, to Train.
    """
    before = row.label
    intake.insert(session, paths, outcome.file, Split.SORTED, before, outcome)
    if label == before:
        return False
    files = queries.annotator(session, intake.FILES, kind="files")
    answer = Answer(outcome.facts.sha256, Action.IMPORT, label, decisions.new_operation())
    decisions.record(session, decisions.Reviewer(files.id), [answer], None, classes)
    return True


def _storable(outcome: ingest.Accepted, paths: WorkspacePaths) -> ingest.Accepted:
    """The same file, renamed where its name is no valid text: neither the record nor a page could hold it."""
    path = paths.relative(outcome.file)
    if path.isprintable():  # which undecodable bytes in a name are not, either
        return outcome
    parts = PurePosixPath(path).parts
    depth = 2 if parts[1] == Split.UNLABELLED.folder else 3
    folder = paths.root.joinpath(*parts[:depth])
    sha256 = outcome.facts.sha256
    name = ingest.safe_name(outcome.file.name, sha256[:16])
    return ingest.Accepted(mover.move(outcome.file, folder, name=name, sha256=sha256), outcome.facts)


def _put_aside(store: Store, paths: WorkspacePaths, rejected: Sequence[ingest.Rejected], report: ScanReport) -> None:
    """Move what cannot be used to ``pools/Quarantine``; what cannot even be moved stays and is said."""
    rows = []
    for outcome in rejected:
        kept: Path | None = None
        try:
            paths.quarantine.mkdir(parents=True, exist_ok=True)
            sha = outcome.sha256 or _digest(outcome.file)
            if sha:
                name = ingest.safe_name(outcome.file.name, sha[:16])
                kept = mover.move(outcome.file, paths.quarantine, name=name, sha256=sha)
        except (LabelerError, OSError):
            kept = None
        shown = printable(paths.relative(outcome.file))
        report.notes.append(f"{shown}: {outcome.reason}" + ("" if kept else " (left where it is)"))
        path = paths.relative(kept) if kept else None
        rows.append(Quarantined(source=shown, path=path, sha256=outcome.sha256, reason=outcome.reason))
    if rows:
        with store.write() as session:
            known = {row.source for row in images.quarantined(session) if row.path is None}
            session.add_all(row for row in rows if row.path is not None or row.source not in known)


def _digest(file: Path) -> str:
    """The digest of a regular file that was not read, for it is empty or too large; else nothing."""
    status = file.lstat()
    return sha256_of(file) if stat.S_ISREG(status.st_mode) else ""


def printable(path: str) -> str:
    """A path as the record keeps it: bytes that are no UTF-8 are written as escapes."""
    return path.encode("utf-8", "backslashreplace").decode()


def _set_missing(store: Store, paths: WorkspacePaths, gone: Sequence[int], overwritten: set[int]) -> int:
    """Mark images whose file is gone; looked at once more, a decision may have moved it since the walk."""
    if not gone:
        return 0
    with exclusive(paths, "moves", wait_s=_LOCK_WAIT_S), store.write() as session:
        lost = [
            image
            for image in gone
            if image in overwritten or not os.path.lexists(paths.absolute(session.get_one(Image, image).path))
        ]
        images.set_missing(session, lost, True)
        return len(lost)


def _set_returned(store: Store, returned: Sequence[int]) -> int:
    if returned:
        with store.write() as session:
            images.set_missing(session, returned, False)
    return len(returned)
