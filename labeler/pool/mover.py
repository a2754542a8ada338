"""Moving image files so that a crash at any moment leaves each exactly once: knows files, knows no database.

The protocol, for one file or many: (1) give the file its new name beside the old one (a hard link, which never
overwrites; across devices a copy that is written, fsynced and verified under a hidden name first), (2) fsync the
target folder, (3) remove the old name, (4) fsync the source folder. At every moment the bytes have at least one
name. Whoever is killed in between calls :func:`move` again with the same arguments: it looks under every name the
file may have got, and goes on from there. The caller's journal decides *that* a file moves; this module only how.

No image is read while it moves on one device; a hash is computed where bytes were copied, where a name is taken by
a file of the same size, so that only its bytes tell whose it is, and where a file is not of the size and time it had.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from labeler import faults
from labeler.domain import DiskRefused, LabelerError, MoveError, VanishedFile
from labeler.durable import sync_folder
from labeler.pool.disk import NO_LINK, holds, make_folder, put_copy, put_link, sha256_of, status_of
from labeler.pool.names import TEMP_PREFIX, candidates, shown

FAULT_POINTS = (
    "move.start",
    "move.copied",
    "move.published",
    "move.linked",
    "move.target_synced",
    "move.source_unlinked",
    "move.source_synced",
)
"""Every place where a crash test may kill a move, in order; the second and third only where bytes are copied."""

_REMEDIES = {
    errno.ENOSPC: "free some space, then run the command again",
    errno.EDQUOT: "free some space, then run the command again",
    errno.EROFS: "make the disk writable, then run the command again",
    errno.EACCES: "give yourself write access to both folders, then run the command again",
    errno.EPERM: "give yourself write access to both folders, then run the command again",
    errno.ENAMETOOLONG: "shorten the name, then run the command again",
}
#: What is no single file's fault.
_OF_THE_DISK = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


@dataclass(frozen=True, slots=True)
class MoveRequest:
    """One file to move.

    Attributes:
        source: where it lies.
        folder: folder it goes to; made where missing.
        name: name wanted there; a suffix of the hash is added where a different file has it.
        sha256: hex digest of its bytes.
        known: size in bytes and time of change (ns) that it had when its digest was taken, where that is known: a
            file of other ones is read before it is moved, for somebody may have put another there.
    """

    source: Path
    folder: Path
    name: str
    sha256: str
    known: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True)
class MoveOutcome:
    """``final`` is where the file lies now; where it could not be moved it is None and ``error`` says why."""

    final: Path | None
    error: LabelerError | None


@dataclass(slots=True)
class _Step:
    """How far one request has come."""

    request: MoveRequest
    final: Path | None = None
    created: bool = False  # this call made ``final``, so this call may take it back
    unlink: bool = False  # ``source`` is a second name or copy of ``final`` and has to go
    error: LabelerError | None = None


def move(source: Path, folder: Path, *, name: str, sha256: str, verify: bool = False) -> Path:
    """Move one file as :func:`move_many` does; returns where it lies now.

    Raises:
        VanishedFile: it is neither at ``source`` nor under a name it could have got in ``folder``.
        MoveError: the system refused; the file is still at ``source``.
    """
    (outcome,) = move_many([MoveRequest(source, folder, name, sha256)], verify=verify)
    if outcome.final is None:
        raise outcome.error or MoveError(f"{shown(source)} was not moved")
    return outcome.final


def move_many(moves: Sequence[MoveRequest], *, verify: bool = False) -> list[MoveOutcome]:
    """Move files without overwriting any, each folder fsynced once per step; safe to call again after a crash.

    Args:
        moves: what to move; two requests must not name one source.
        verify: read every source first and refuse one whose bytes are not those of ``sha256`` (for replaying a
            journal after a crash, when somebody may have put another file there). Without it a source is trusted,
            unless it is not as its request knows it.

    Returns:
        One outcome per request, in order; a failure does not stop the others.
    """
    steps = [_Step(request) for request in moves]
    for step in steps:
        _guarded([step], partial(_place, step, verify))
    _sync(steps, lambda request: request.folder)
    faults.point("move.target_synced")
    for step in steps:
        if step.unlink and step.error is None:
            _guarded([step], partial(_remove_source, step))
    _sync(steps, lambda request: request.source.parent)
    faults.point("move.source_synced")
    return [MoveOutcome(None if step.error else step.final, step.error) for step in steps]


def sweep(folder: Path) -> list[Path]:
    """Remove what killed copies left half-written in ``folder`` and below; returns what was removed, sorted.

    Call it only while nobody else moves or takes in files (hold the workspace lock): their temporaries look alike.
    """
    removed = leftovers(folder)
    for file in removed:
        file.unlink(missing_ok=True)
    return removed


def leftovers(folder: Path) -> list[Path]:
    """The temporaries of moves and copies in ``folder`` and below, of running ones too, sorted."""
    return sorted(
        Path(parent, name) for parent, _, names in os.walk(folder) for name in names if name.startswith(TEMP_PREFIX)
    )


def _place(step: _Step, verify: bool) -> None:
    """Step 1: the file has its new name, and the old one still."""
    request = step.request
    faults.point("move.start")
    status = status_of(request.source)
    if status is not None and not stat.S_ISREG(status.st_mode):
        raise MoveError(f"{shown(request.source)} is no regular file", "put the image back, or run `labeler verify`")
    if _find_arrived(step, status):
        return
    if status is None:
        raise VanishedFile(f"{shown(request.source)} has vanished", "put it back, or run `labeler verify --repair`")
    changed = request.known is not None and request.known != (status.st_size, status.st_mtime_ns)
    if (verify or changed) and sha256_of(request.source) != request.sha256:
        raise VanishedFile(f"{shown(request.source)} holds another file now", "run `labeler verify --repair`")
    make_folder(request.folder)
    step.final = _put(request)
    step.created = step.unlink = True
    faults.point("move.linked")


def _put(request: MoveRequest) -> Path:
    try:
        return put_link(request.source, request.folder, request.name, request.sha256)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
    return put_copy(request.source, request.folder, request.name, request.sha256, "move")


def _find_arrived(step: _Step, source: os.stat_result | None) -> bool:
    """Whether an earlier call brought the file to its folder already; if so, ``step`` says what is left to do."""
    request = step.request
    for name in candidates(request.name, request.sha256):
        target = request.folder / name
        status = status_of(target)
        if status is None:
            continue
        if source is not None and os.path.samestat(source, status):
            step.final, step.unlink = target, not _one_entry(request.source, target, status)
            return True
        if holds(target, status, request.sha256, None if source is None else source.st_size):
            # The old name may meanwhile belong to another image: it goes only if its bytes are these.
            step.final, step.unlink = target, holds(request.source, source, request.sha256, status.st_size)
            return True
    return False


def _one_entry(source: Path, target: Path, status: os.stat_result) -> bool:
    """Whether two paths with one inode are one name of it, so that removing it would remove the file.

    They are if the file has no second name, or if they are spelt alike in one folder (also where the file system
    ignores case and only one of the spellings is in the listing).
    """
    if status.st_nlink == 1:
        return True
    if not source.parent.samefile(target.parent):
        return False
    return source.name == target.name or not {source.name, target.name} <= set(os.listdir(target.parent))


def _remove_source(step: _Step) -> None:
    """Step 3: the old name goes; if it cannot, the new one does, so that the image is not there twice."""
    try:
        step.request.source.unlink(missing_ok=True)
    except OSError:
        if step.created and step.final is not None:
            step.final.unlink(missing_ok=True)
        raise
    faults.point("move.source_unlinked")


def _sync(steps: Iterable[_Step], folder_of: Callable[[MoveRequest], Path]) -> None:
    """Fsync each folder once; a failure is that of every step whose folder it is."""
    by_folder: dict[Path, list[_Step]] = {}
    for step in steps:
        if step.error is None:
            by_folder.setdefault(folder_of(step.request), []).append(step)
    for folder, concerned in by_folder.items():
        if folder.is_dir():  # a source folder may be gone since the call that was cut short
            _guarded(concerned, partial(sync_folder, folder))


def _guarded(steps: Sequence[_Step], action: Callable[[], None]) -> None:
    """Run ``action``; what goes wrong becomes the error of ``steps``."""
    try:
        action()
    except LabelerError as error:
        for step in steps:
            step.error = error
    except OSError as error:
        for step in steps:
            step.error = refusal(step.request.source, step.request.folder, error)


def refusal(source: Path, folder: Path, error: OSError) -> MoveError:
    """The error a person gets when the system refused to move ``source`` into ``folder``."""
    remedy = _REMEDIES.get(error.errno or 0, "run the command again")
    kind = DiskRefused if error.errno in _OF_THE_DISK else MoveError
    return kind(f"{shown(source)} could not be put into {shown(folder)}: {error.strerror}", remedy)
