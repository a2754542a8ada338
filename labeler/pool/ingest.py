"""Taking files in: find them, decode each in full, and put it into a pool; a typed outcome for every file.

One bad file among a million neither stops the others nor goes unnoticed: it comes out as :class:`Rejected` with
its reason, in its place.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from labeler import faults
from labeler.domain import ImageFacts, LabelerError, MoveError, Progress, UnusableImage
from labeler.durable import sync_folder
from labeler.pool.disk import NO_LINK, holds, make_folder, put_copy, put_link, status_of
from labeler.pool.mover import move, refusal
from labeler.pool.names import candidates, is_passed_over, safe_name, shown
from labeler.pool.near_duplicates import near_duplicates

__all__ = [
    "TAKE_FAULT_POINTS",
    "Accepted",
    "Rejected",
    "examine",
    "near_duplicates",
    "safe_name",
    "take_in",
    "walk",
]

TAKE_FAULT_POINTS = ("take.start", "take.copied", "take.published", "take.synced")
"""Every place where a crash test may kill :func:`take_in` in mode copy, in order."""

_READ_AHEAD_PER_THREAD = 4


@dataclass(frozen=True, slots=True)
class Accepted:
    """A file that is a sound image."""

    file: Path
    facts: ImageFacts


@dataclass(frozen=True, slots=True)
class Rejected:
    """A file that cannot be used. ``sha256`` is None where its bytes were not read (links, folders, too large)."""

    file: Path
    reason: str
    sha256: str | None


def walk(folder: Path, *, strict: bool = False) -> Iterator[Path]:
    """Every regular file below ``folder``, at any depth, by name within each folder.

    Passed over: names with a leading dot, ``Thumbs.db``, ``ehthumbs.db``, ``desktop.ini``, ``__MACOSX``; pipes,
    sockets and devices. A symbolic link is given as if it were a file and never followed, and a folder that cannot
    be listed is given in place of its files, so that :func:`examine` reports both.

    Args:
        strict: a folder that cannot be listed is an error: its files must not be taken for gone.

    Raises:
        LabelerError: ``folder`` itself is no folder or cannot be listed.
    """
    try:
        waiting = _entries(folder)
    except OSError as error:
        raise _unlistable(folder, error) from None
    while waiting:
        entry = waiting.pop()
        if is_passed_over(entry.name):
            continue
        path = Path(entry.path)
        if entry.is_symlink() or entry.is_file(follow_symlinks=False):
            yield path
        elif entry.is_dir(follow_symlinks=False):
            try:
                waiting += _entries(path)
            except OSError as error:
                if strict:
                    raise _unlistable(path, error) from None
                yield path


def _unlistable(folder: Path, error: OSError) -> LabelerError:
    return LabelerError(f"{shown(folder)} cannot be listed: {error.strerror}", "make the folder readable")


def _entries(folder: Path) -> list[os.DirEntry[str]]:
    """What lies in ``folder``, last name first, to be popped."""
    with os.scandir(folder) as listing:
        return sorted(listing, key=lambda entry: entry.name, reverse=True)


def examine(
    files: Iterable[Path],
    *,
    root: Path | None,
    max_pixels: int,
    threads: int,
    progress: Callable[[Progress], None] | None = None,
    total: int | None = None,
) -> Iterator[Accepted | Rejected]:
    """Read, hash and decode every file in full; one outcome each, in the order given.

    Args:
        files: what to examine; drawn only as far ahead as a few files per thread, so it may be endless.
        root: folder the files must really lie in; None where they may lie anywhere.
        max_pixels: larger pictures are rejected.
        threads: decoders at work at once; below 1, one per core. Memory holds one decoded picture for each.
        progress: called after each file.
        total: how many files there are, for ``progress``.
    """
    count = threads if threads >= 1 else len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else 4
    home = None if root is None else root.resolve()
    waiting: deque[Future[Accepted | Rejected]] = deque()
    source = iter(files)
    pool = ThreadPoolExecutor(count, thread_name_prefix="labeler-decode")
    done = 0
    try:
        while True:
            while len(waiting) < count * _READ_AHEAD_PER_THREAD and (file := next(source, None)) is not None:
                waiting.append(pool.submit(_examine_one, file, home, max_pixels))
            if not waiting:
                return
            outcome = waiting.popleft().result()
            done += 1
            if progress is not None:
                progress(Progress("reading images", done, total))
            yield outcome
    finally:
        # Not waited for: after Ctrl-C the caller goes on at once and the pictures in work are dropped.
        pool.shutdown(wait=False, cancel_futures=True)


def _examine_one(file: Path, home: Path | None, max_pixels: int) -> Accepted | Rejected:
    sha256 = None
    # Here and not above: a round without new files needs no decoder, and its import takes 0.16 s.
    from labeler.pool.decode import facts, read

    try:
        _check_place(file, home)
        data = read(file, max_pixels=max_pixels)
        sha256 = hashlib.sha256(data).hexdigest()
        return Accepted(file, facts(data, file, max_pixels=max_pixels, sha256=sha256))
    except UnusableImage as error:
        return Rejected(file, error.reason, sha256)


def _check_place(file: Path, home: Path | None) -> None:
    """Reject links, and files that a linked folder puts outside ``home``; others go on to be read."""
    link = os.path.islink(file)  # noqa: PTH114 (Path.is_symlink raises for an impossible name)
    try:
        target = file.resolve(strict=True) if home is not None or link else None
    except (OSError, RuntimeError, ValueError):  # links in a circle; a NUL in the path
        if link:
            raise UnusableImage(shown(file), "broken symbolic link") from None
        return
    if target is not None and home is not None and not target.is_relative_to(home):
        kind = "symbolic link out of the folder" if link else "outside the folder"
        raise UnusableImage(shown(file), kind)
    if link:
        raise UnusableImage(shown(file), "symbolic link")


def take_in(source: Path, folder: Path, *, name: str, sha256: str, mode: Literal["copy", "move", "link"]) -> Path:
    """Put a file into a pool folder without overwriting anything; returns where it lies.

    The name is made safe (:func:`safe_name`); where another file has it, digits of the hash are added. A file with
    these bytes already there under one of those names means it is done. Safe to call again after a crash; what a
    killed copy left behind is hidden, and ``mover.sweep`` removes it.

    Args:
        source: the file.
        folder: where it goes; made where missing.
        name: wanted name.
        sha256: hex digest of the bytes ``source`` had when it was examined.
        mode: ``copy``; ``move`` (the source is gone afterwards); or ``link``, a hard link: no space, but whoever
            edits the original in place then edits the pool.

    Raises:
        VanishedFile: in mode move, neither source nor target is there.
        MoveError: the source changed meanwhile, the system refused, or hard links do not work there.
    """
    name = safe_name(name, sha256[:16])
    if mode == "move":
        return move(source, folder, name=name, sha256=sha256)
    try:
        return _take_beside(source, folder, name, sha256, mode)
    except OSError as error:
        if mode == "link" and error.errno in NO_LINK:
            what = f"{shown(source)} cannot be hard-linked into {shown(folder)}: {error.strerror}"
            raise MoveError(what, "use --mode copy") from None
        raise refusal(source, folder, error) from None


def _take_beside(source: Path, folder: Path, name: str, sha256: str, mode: Literal["copy", "link"]) -> Path:
    faults.point("take.start")
    status = os.lstat(source)
    if not stat.S_ISREG(status.st_mode):
        raise MoveError(f"{shown(source)} is no regular file", "give the file itself")
    make_folder(folder)
    final = _already_there(folder, name, sha256, status)
    if final is None:
        put = put_link(source, folder, name, sha256) if mode == "link" else None
        final = put or put_copy(source, folder, name, sha256, "take")
    sync_folder(folder)
    faults.point("take.synced")
    return final


def _already_there(folder: Path, name: str, sha256: str, source: os.stat_result) -> Path | None:
    for candidate in candidates(name, sha256):
        target = folder / candidate
        status = status_of(target)
        with contextlib.suppress(PermissionError):  # taken by a file nobody may read: not ours
            if status and (os.path.samestat(source, status) or holds(target, status, sha256, source.st_size)):
                return target
    return None
