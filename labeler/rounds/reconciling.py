"""Bringing a record together with files that have moved on without it: after a backup was restored, or for a new one.

The folder says the label. What the record does not know of is taken back from there, as a scan takes files that people
moved by hand; what it does know and the files contradict is settled first, so that no old journal moves a file back.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from labeler.domain import Progress, Split
from labeler.durable import sync_folder
from labeler.pool import ingest
from labeler.pool.disk import holds, sha256_of, status_of
from labeler.pool.names import candidates
from labeler.record import healing, images, queries
from labeler.record.healing import Unsettled
from labeler.record.store import Store
from labeler.rounds import journal, scan, sorting
from labeler.settings import Settings
from labeler.workspace import WorkspacePaths

Report = Callable[[Progress], None] | None


@dataclass(slots=True)
class Reconciled:
    """What the files told the record.

    Attributes:
        labels: images whose label was taken from their folder.
        unlabelled: images that lost theirs: their file lies in the pool.
        added: files that were not on record.
        rounds: numbers of open rounds that were given up.
        notes: what a person should know.
    """

    labels: int = 0
    unlabelled: int = 0
    added: int = 0
    rounds: list[int] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def settle(store: Store, paths: WorkspacePaths) -> None:
    """Correct what the record believes of files, before anything is moved; writes to the record only.

    A move that was pending and has been carried out is marked done. One whose file is neither where it was nor where
    it was to go is given up: somebody decided anew since, and the old move would undo that.
    """
    with store.read() as session:
        pending = healing.unsettled(session)
    closed = [_settled(paths, moves) for moves in pending.values()]
    with store.write() as session:
        for moves, path in closed:
            if moves:
                healing.close_moves(session, moves, path)


def _settled(paths: WorkspacePaths, moves: list[Unsettled]) -> tuple[list[Unsettled], str | None]:
    """Which of an image's pending moves are over, and where its file lies if one of them brought it there."""
    first = moves[0]
    if _holds(paths.absolute(first.path), first.sha256):
        return [], None  # nothing has happened yet: the journal is right
    for number in range(len(moves), 0, -1):
        move = moves[number - 1]
        for name in candidates(move.file_name, move.sha256):
            target = paths.absolute(move.folder) / name
            if _holds(target, move.sha256):
                return moves[:number], paths.relative(target)
    return moves, None


def _holds(file: Path, sha256: str) -> bool:
    return holds(file, status_of(file), sha256, None)


def reconcile(store: Store, paths: WorkspacePaths, settings: Settings, progress: Report = None) -> Reconciled:
    """Carry out what the journal asks for, then take from the folders what the record does not know.

    The record is :func:`settle`\\ d; nobody else is at work in the workspace.

    Raises:
        LabelerError: the disk or the record refused; another call goes on.
    """
    with store.read() as session:
        last = queries.last_decision_id(session)
    journal.clear_leftovers(paths)
    found = Reconciled()
    problems = journal.drain(store, paths, verify=True)
    found.notes += _finished_moves(store, paths)
    scanned = scan.scan(store, paths, settings, progress, vanished_is_fine=True)
    found.added, found.notes = scanned.added, found.notes + scanned.notes
    # Only now: a run that was cut off would otherwise sort by where files were.
    found.notes += sorting.finish(store, paths, progress)
    problems += journal.drain(store, paths)
    found.notes += [" ".join(str(problem).split()) for problem in problems]
    with store.write() as session:
        placed = healing.placed_since(session, last)
        found.rounds = healing.give_up_rounds(session, {image for image, label in placed.items() if label is not None})
    found.labels = sum(1 for label in placed.values() if label is not None)
    found.unlabelled = len(placed) - found.labels
    return found


# -------------------------------------------------------------------------------------------- moves that were cut off


def _finished_moves(store: Store, paths: WorkspacePaths) -> list[str]:
    """Take the old name from files that have two: a move the record does not know was killed between its steps.

    The name that the record does not know is the newer one; where it knows neither, the one in a class folder.
    """
    with store.read() as session:
        known = {row.path for row in images.files(session) if not row.missing}
    notes = []
    for old, new in _pairs(paths, known):
        sync_folder(new.parent)
        old.unlink()
        sync_folder(old.parent)
        notes.append(f"{paths.relative(new)} was being moved when something was killed, and has arrived")
    return notes


def _pairs(paths: WorkspacePaths, known: set[str]) -> Iterator[tuple[Path, Path]]:
    """Old and new name of every file that is in the pools twice, as a move that was cut off leaves it."""
    names: dict[tuple[int, int], list[Path]] = {}  # two names of one file: hard links
    pool: dict[int, list[Path]] = {}  # by size: a move across devices copies
    labelled: dict[int, list[Path]] = {}
    for split in Split:
        for file in ingest.walk(paths.split(split)) if paths.split(split).is_dir() else ():
            status = file.lstat()
            if not stat.S_ISREG(status.st_mode):
                continue
            if status.st_nlink > 1:
                names.setdefault((status.st_dev, status.st_ino), []).append(file)
            elif split in _UNDECIDED:
                pool.setdefault(status.st_size, []).append(file)
            elif paths.relative(file) not in known:
                labelled.setdefault(status.st_size, []).append(file)
    for files in names.values():
        if len(files) == 2 and (pair := _ordered(paths, files, known)) is not None:
            yield pair
    for size in labelled.keys() & pool.keys():
        arrived = {sha256_of(file): file for file in labelled[size]}
        yield from ((file, arrived[sha]) for file in pool[size] if (sha := sha256_of(file)) in arrived)


_UNDECIDED = (Split.UNLABELLED, Split.SORTED)


def _ordered(paths: WorkspacePaths, files: list[Path], known: set[str]) -> tuple[Path, Path] | None:
    """Old and new of two names; None where nothing tells."""
    unknown = [file for file in files if paths.relative(file) not in known]
    placed = [file for file in files if not any(paths.split(split) in file.parents for split in _UNDECIDED)]
    for newer in (unknown, placed):
        if len(newer) == 1:
            return next(file for file in files if file is not newer[0]), newer[0]
    return None
