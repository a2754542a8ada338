"""Taking images in: `labeler import`, and noticing what people changed in ``pools/`` by hand.

The bytes are examined outside any transaction; a chunk of files is then put in place and recorded under the intake
lock. A kill in between leaves files without a row, which the next scan or the next run of the same import adopts.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from labeler import faults
from labeler.domain import Action, Answer, DiskRefused, LabelerError, MoveError, Progress, Split
from labeler.pool import ingest, layouts, near_duplicates
from labeler.record import images, queries
from labeler.record.store import Session, Store
from labeler.record.tables import Image, Quarantined
from labeler.rounds import decisions, journal
from labeler.settings import FILE_NAME, Settings
from labeler.workspace import WorkspacePaths, exclusive

#: The annotator under whose name labels that came with a folder are recorded.
FILES = "files"
_CHUNK = 100
#: Images put on record by one transaction: people who label wait for it, and this process has the lower priority.
_AT_ONCE = 25
_LOCK_WAIT_S = 600.0
Mode = Literal["copy", "move", "link"]
Report = Callable[[Progress], None] | None
T = TypeVar("T")


@dataclass(slots=True)
class ImportResult:
    """What `labeler import` did; :meth:`as_json` is its fixed output."""

    imported: int = 0
    labelled: int = 0
    twins: list[dict[str, str]] = field(default_factory=list)
    quarantined: list[dict[str, str]] = field(default_factory=list)
    near_duplicates: int = 0

    def as_json(self) -> dict[str, Any]:
        return {
            "imported": self.imported,
            "duplicates": len(self.twins),
            "quarantined": self.quarantined,
            "labelled": self.labelled,
            "near_duplicates": self.near_duplicates,
            "twins": self.twins,
        }


def import_images(
    store: Store, paths: WorkspacePaths, settings: Settings, source: Path, *, into: str, mode: Mode, progress: Report
) -> ImportResult:
    """Take in a file, a folder, a labelled tree or a CSV.

    Raises:
        LabelerError: the source does not exist or its layout does not fit ``into``; nothing was taken in.
        DiskRefused: the disk is full or read-only; what was taken in before stays, and the same import goes on.
    """
    found = list(layouts.read_layout(source, into=into, classes=settings.classes))
    if paths.root.resolve().is_relative_to(source.resolve()):
        found = [item for item in found if not _is_own(paths, item.file)]
    result = ImportResult()
    outcomes = ingest.examine(
        [item.file for item in found],
        root=source if source.is_dir() else None,
        max_pixels=settings.max_pixels,
        threads=settings.threads,
        progress=progress,
        total=len(found),
    )
    for chunk in chunks(zip(found, outcomes, strict=True), _CHUNK):
        with exclusive(paths, "intake", wait_s=_LOCK_WAIT_S):
            _take_chunk(store, paths, settings, chunk, mode, result)
    journal.drain(store, paths)
    if result.imported:
        result.near_duplicates = mark_near_duplicates(store, settings.near_duplicate_bits)
    return result


def _take_chunk(
    store: Store,
    paths: WorkspacePaths,
    settings: Settings,
    chunk: Sequence[tuple[layouts.Found, ingest.Accepted | ingest.Rejected]],
    mode: Mode,
    result: ImportResult,
) -> None:
    shas = [outcome.facts.sha256 for _, outcome in chunk if isinstance(outcome, ingest.Accepted)]
    with store.read() as session:
        known = {sha: (row.path, row.missing, _given(row)) for sha, row in images.images_by_sha(session, shas).items()}
        rejected = {row.sha256 for row in images.quarantined(session) if row.sha256 is not None}
    taken: dict[str, tuple[Path, layouts.Found, ingest.Accepted]] = {}
    labels: dict[str, str] = {}
    rows: list[Quarantined] = []
    refused: DiskRefused | None = None
    for found, outcome in chunk:
        if isinstance(outcome, ingest.Rejected):
            rows += _quarantine(paths, outcome, mode, rejected, result)
            continue
        sha = outcome.facts.sha256
        path, missing, label = known.get(sha, ("", True, None))
        if sha in taken or not missing:
            first = paths.relative(taken[sha][0]) if sha in taken else path
            result.twins.append({"path": str(outcome.file), "of": first})
            if found.label is not None and label is None and sha not in taken and found.split is Split.TRAIN:
                labels[sha] = found.label
            continue
        try:
            final = ingest.take_in(outcome.file, _folder(paths, found), name=outcome.file.name, sha256=sha, mode=mode)
        except DiskRefused as error:  # it would refuse all the others
            refused = error
            break
        except MoveError as error:
            result.quarantined.append({"path": str(outcome.file), "reason": str(error)})
            continue
        taken[sha] = (final, found, outcome)
    faults.point("import.taken")
    _record(store, paths, taken, known)
    if rows or labels:
        with store.write() as session:
            session.add_all(rows)
            _label_known(session, labels, settings)
    faults.point("import.recorded")
    result.imported += len(taken)
    result.labelled += sum(1 for _, found, _ in taken.values() if found.label is not None) + len(labels)
    if refused is not None:
        raise DiskRefused(refused.what, f"{refused.remedy}; {result.imported} are imported and stay")


def _folder(paths: WorkspacePaths, found: layouts.Found) -> Path:
    split = found.split or Split.UNLABELLED
    folder = paths.split(split) if found.label is None else paths.class_folder(split, found.label)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_own(paths: WorkspacePaths, file: Path) -> bool:
    """Whether a file is the workspace's own: a folder that is imported may lie around it, and the record stays."""
    own = file.resolve()
    folders = (paths.db.resolve(), paths.pools.resolve())
    return any(folder in own.parents for folder in folders) or own == (paths.root / FILE_NAME).resolve()


def _record(
    store: Store,
    paths: WorkspacePaths,
    taken: Mapping[str, tuple[Path, layouts.Found, ingest.Accepted]],
    known: Collection[str],
) -> None:
    """Put files that are in their places on record, a few at a time."""
    fresh = {
        sha: _row(paths, final, found.split or Split.UNLABELLED, outcome)
        for sha, (final, found, outcome) in taken.items()
        if sha not in known
    }
    for some in chunks(taken.items(), _AT_ONCE):
        with store.write() as session:
            new = _insert_new(session, {sha: fresh[sha] for sha, _ in some if sha in fresh})
            for sha, (final, found, outcome) in some:
                insert(session, paths, final, found.split or Split.UNLABELLED, found.label, outcome, new.get(sha))


def _insert_new(session: Session, rows: dict[str, Image]) -> dict[str, Image]:
    """Record images that nobody has seen before, all at once."""
    already = images.images_by_sha(session, list(rows))  # a scan may have been faster
    new = {sha: row for sha, row in rows.items() if sha not in already}
    session.add_all(new.values())
    session.flush()
    return new


def _row(paths: WorkspacePaths, file: Path, split: Split, outcome: ingest.Accepted) -> Image:
    facts, stat, path = outcome.facts, file.stat(), paths.relative(file)
    return Image(
        sha256=facts.sha256,
        path=path,
        home=path,
        split=split.value,
        width=facts.width,
        height=facts.height,
        format=facts.format,
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        dhash=facts.dhash,
        missing=False,
    )


def insert(
    session: Session,
    paths: WorkspacePaths,
    file: Path,
    split: Split,
    label: str | None,
    outcome: ingest.Accepted,
    new: Image | None = None,
) -> Image:
    """Record a file that lies in its place: a new image, or a known one that came back or was moved by hand.

    Args:
        new: its row, where that has just been made.
    """
    taken_over = False
    image = new or images.by_sha(session, outcome.facts.sha256)
    if image is None:
        image = _row(paths, file, split, outcome)
        session.add(image)
        session.flush()
    elif new is None:
        stat = file.stat()
        taken_over = image.split == Split.SORTED.value and split is not Split.SORTED  # from the model, by a person
        image.path, image.split, image.missing = paths.relative(file), split.value, False
        image.size, image.mtime_ns = stat.st_size, stat.st_mtime_ns
    if image.label != label or taken_over:
        # The folder says so: a decision of whoever put the file there.
        files = queries.annotator(session, FILES, kind="files")
        decisions.record_placed(session, files.id, image, label)
    return image


def _given(image: Image) -> str | None:
    """The label that somebody gave; what the model sorted has none."""
    return image.label if image.split != Split.SORTED.value else None


def _label_known(session: Session, labels: dict[str, str], settings: Settings) -> None:
    if not labels:
        return
    files = queries.annotator(session, FILES, kind="files")
    answers = [Answer(sha, Action.IMPORT, label, decisions.new_operation()) for sha, label in labels.items()]
    decisions.record(session, decisions.Reviewer(files.id), answers, None, settings.classes)


def _quarantine(
    paths: WorkspacePaths, outcome: ingest.Rejected, mode: Mode, rejected: set[str], result: ImportResult
) -> list[Quarantined]:
    """Keep the unusable file for a person to look at, where it can be read at all, and say why."""
    result.quarantined.append({"path": str(outcome.file), "reason": outcome.reason})
    kept: str | None = None
    if outcome.sha256 is not None:
        if outcome.sha256 in rejected:
            return []
        rejected.add(outcome.sha256)
        try:
            paths.quarantine.mkdir(parents=True, exist_ok=True)
            name = outcome.file.name
            kept = paths.relative(
                ingest.take_in(outcome.file, paths.quarantine, name=name, sha256=outcome.sha256, mode=mode)
            )
        except (LabelerError, OSError):
            kept = None  # it stays where it is; the row says why it was refused
    source = str(outcome.file).encode("utf-8", "backslashreplace").decode()
    return [Quarantined(source=source, path=kept, sha256=outcome.sha256, reason=outcome.reason)]


def mark_near_duplicates(store: Store, bits: int) -> int:
    """Point every image at the earliest one that looks the same; returns how many have one."""
    with store.read() as session:
        rows = images.signatures(session)
    twins = near_duplicates.near_duplicates([dhash for _, dhash, _ in rows], bits)
    changes: dict[int, int | None] = {}
    for (image, _, before), twin in zip(rows, twins, strict=True):
        first = rows[twin][0] if twin is not None else None
        if first != before:
            changes[image] = first
    if changes:
        with store.write() as session:
            images.set_near_duplicates(session, changes)
    return sum(1 for twin in twins if twin is not None)


def chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """The items in lists of at most ``size``."""
    iterator = iter(items)
    while chunk := list(itertools.islice(iterator, size)):
        yield chunk


def label_of(relative: str, classes: Sequence[str]) -> tuple[Split | None, str | None]:
    """Split and label that a workspace-relative path stands for; (None, None) when it stands for none.

    ``pools/Train/withMask/a.jpg`` gives (TRAIN, "withMask"); ``pools/Train/cats/a.jpg`` gives (None, None).
    """
    parts = relative.split("/")  # asked for every file of every scan: no path objects here
    split = next((split for split in Split if len(parts) > 2 and parts[1] == split.folder), None)
    if split is None:
        return None, None
    if split is Split.UNLABELLED:
        return split, None
    return (split, parts[2]) if len(parts) > 3 and parts[2] in classes else (None, None)
