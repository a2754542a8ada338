"""Giving a workspace another record: alone in it, the old one kept, the new one in its place in one step."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from labeler import faults
from labeler.domain import LabelerError
from labeler.durable import sync_file, sync_folder
from labeler.pool.disk import NO_LINK, make_folder
from labeler.pool.names import TEMP_PREFIX
from labeler.record import copies
from labeler.record.tables import now
from labeler.workspace import WorkspacePaths, exclusive

#: Held until a new record fits the files: serving, both workers, and finishing rounds.
_OUTER = ("serve", "worker", "tuner", "finish", "training")
#: Held while the record is exchanged; what brings it and the files together afterwards takes them itself.
_INNER = ("sort", "intake", "moves")
_STAGING = f"{TEMP_PREFIX}record-"
#: What may be swept: a backup that is being written to db/ is nobody's leftover.
_OURS = (_STAGING, copies.TEMPORARY)


@contextlib.contextmanager
def alone(paths: WorkspacePaths) -> Iterator[None]:
    """Keep every other labeler out of a workspace for the length of the block; what killed ones left there goes first.

    Raises:
        WorkspaceBusy: one serves it, trains, imports or moves files; the message carries its pid.
    """
    with contextlib.ExitStack() as held:
        for name in _OUTER:
            held.enter_context(exclusive(paths, name))
        with quiet(paths):
            _sweep(paths.db)
        yield


def clear_leftovers(paths: WorkspacePaths) -> None:
    """Remove what a killed restore, rebuild or migration left in ``db/``; costs one look at the folder otherwise."""
    with contextlib.suppress(LabelerError, OSError):  # somebody is at work there, or the disk refuses: it can wait
        if any(name.startswith(_OURS) for name in os.listdir(paths.db)):
            with alone(paths):
                pass


@contextlib.contextmanager
def quiet(paths: WorkspacePaths) -> Iterator[None]:
    """No file moves and none comes in.

    Raises:
        WorkspaceBusy: somebody is at it.
    """
    with contextlib.ExitStack() as held:
        for name in _INNER:
            held.enter_context(exclusive(paths, name))
        yield


def check_closed(record: Path) -> None:
    """See that no program has the record open, and bring it into one file; a damaged one is left as it is.

    Raises:
        RecordOpen: one has.
    """
    if record.is_file():
        try:
            copies.in_one_file(record)
        except copies.RecordOpen:
            raise
        except LabelerError:
            return


@contextlib.contextmanager
def staging(record: Path) -> Iterator[Path]:
    """A hidden folder beside the record for the one to come; the caller is :func:`alone` in the workspace.

    Raises:
        LabelerError: it cannot be made.
    """
    folder = record.with_name(f"{_STAGING}{os.urandom(8).hex()}")
    try:
        folder.mkdir(mode=0o700)
    except OSError as error:
        raise LabelerError(f"{folder.parent} cannot be written: {error.strerror}", "free some space there") from None
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _sweep(folder: Path) -> None:
    for left in [path for start in _OURS for path in folder.glob(f"{start}*")]:
        if left.is_dir():
            shutil.rmtree(left, ignore_errors=True)
        else:
            left.unlink(missing_ok=True)


def exchange(paths: WorkspacePaths, record: Path, new: Path, why: str, *others: Path) -> Path | None:
    """Put the record ``new`` in the place of ``record``, which is kept in a folder of its own beside it.

    The old files get second names there first; the new record then takes the name in one step, so that whoever dies
    in between leaves the one or the other, whole.

    Args:
        new: one file on the same file system; nobody has it open.
        why: of the folder's name: ``restore`` or ``rebuild``.
        others: more files to keep there, which stay where they are, too.

    Returns:
        The folder; None when there was nothing to keep.

    Raises:
        LabelerError: the system refused; the old record is in its place.
    """
    try:
        with quiet(paths):
            old = [file for file in _files_of(record) if os.path.lexists(file)]
            kept = _kept(record, why, [*old, *(file for file in others if file.is_file())])
            faults.point(f"{why}.kept")
            for file in old[1:] if record in old else old:  # left there, it would be read as the new record's
                file.unlink()
            sync_file(new)
            new.replace(record)
            sync_folder(record.parent)
            faults.point(f"{why}.exchanged")
    except OSError as error:
        raise LabelerError(f"{record} cannot be replaced: {error.strerror}", "free some space there") from None
    return kept


def beside(new: Path, record: Path) -> Path:
    """The file ``new``, copied into the record's folder where that is on another file system.

    Raises:
        LabelerError: there is no room.
    """
    try:
        if new.stat().st_dev == record.parent.stat().st_dev:
            return new
        target = record.with_name(f"{_STAGING}{os.urandom(8).hex()}.db")
        shutil.copyfile(new, target)
        target.chmod(0o600)
    except OSError as error:
        raise LabelerError(f"{record.parent} cannot be written: {error.strerror}", "free some space there") from None
    return target


def _files_of(record: Path) -> list[Path]:
    return [record, *(record.with_name(record.name + end) for end in copies.COMPANIONS)]


def _kept(record: Path, why: str, files: list[Path]) -> Path | None:
    if not files:
        return None
    name = f"before-{why}-{now():%Y%m%dT%H%M%SZ}"
    numbered = (record.with_name(name if number == 1 else f"{name}-{number}") for number in range(1, 10_000))
    folder = next(place for place in numbered if not os.path.lexists(place))
    make_folder(folder)
    folder.chmod(0o700)
    for file in files:
        _second_name(file, folder / file.name)
    sync_folder(folder)
    return folder


def _second_name(file: Path, target: Path) -> None:
    try:
        os.link(file, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
        shutil.copy2(file, target, follow_symlinks=False)
        sync_file(target)
