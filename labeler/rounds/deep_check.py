"""`labeler verify --deep`: every byte read again and held against what the record says it was.

A disk that fails changes bytes and leaves size and time as they were, so nothing short of reading finds it. That takes
as long as the disk takes; no lock is held meanwhile. What looks changed is looked at once more under the lock of the
moves, for a decision may have moved the file while it was being read.
"""

from __future__ import annotations

import contextlib
import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from labeler.domain import Progress
from labeler.embed import cache
from labeler.pool.disk import sha256_of
from labeler.record import copies, images, models
from labeler.record.store import Store
from labeler.record.tables import Image
from labeler.rounds import version_files
from labeler.settings import Settings
from labeler.workspace import WorkspacePaths, exclusive

Report = Callable[[Progress], None] | None
#: Kind, path and detail of a difference.
Found = tuple[str, str, str]

_LOCK_WAIT_S = 600.0
_AHEAD_PER_THREAD = 4
_OF_IMAGE = (
    "its bytes changed while size and time stayed: put the original back from a copy of pools/; or `touch` the file "
    "and run `labeler verify --repair` to keep it as an image of its own"
)
_OF_MODEL = "a file of model {name} is not the one that was saved: `labeler restore` a backup made with --with-models, "
_OF_MODEL += "or use another, `labeler models list`"
_OF_ASIDE = "its bytes are not those that were set aside: nothing depends on it, remove it if you like"


@dataclass(slots=True)
class Read:
    """What reading everything found.

    Attributes:
        files, bytes: how much was read.
        differences: kind, path and detail of each.
        repaired: those that are healed.
    """

    files: int = 0
    bytes: int = 0
    differences: list[Found] = field(default_factory=list)
    repaired: list[Found] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """A file and the digest it must have. ``image`` is its row, 0 for what is no image; ``name`` a model's."""

    file: Path
    sha256: str
    image: int = 0
    name: str = ""


def check(store: Store, paths: WorkspacePaths, settings: Settings, progress: Report = None, *, repair: bool) -> Read:
    """Read images, what is set aside, models, vectors and the record itself.

    Files that are missing are left to the ordinary comparison.

    Args:
        repair: remove damaged vectors: they are made anew.
    """
    wanted = _wanted(store, paths)
    shards = sorted(paths.vectors.rglob(f"*{cache.SUFFIX}")) if paths.vectors.is_dir() else []
    total = len(wanted) + len(shards)
    read = Read()
    for item, digest, size in _hashed(wanted, settings.threads):
        read.files += 1
        read.bytes += size
        if digest is not None and digest != item.sha256:
            read.differences += _changed(store, paths, item, digest)
        if progress is not None:
            progress(Progress("reading files again", read.files, total))
    for file in shards:
        _check_shard(paths, file, read, repair)
        if progress is not None:
            progress(Progress("reading files again", read.files, total))
    read.differences += _record(store)
    return read


def _wanted(store: Store, paths: WorkspacePaths) -> list[_Wanted]:
    """What there is to read, as the record is now; by path, which is how disks like it."""
    with store.read() as session:
        present = [
            _Wanted(paths.absolute(row.path), row.sha256, row.id) for row in images.files(session) if not row.missing
        ]
        aside = [(row.path, row.sha256) for row in images.quarantined(session)]
        versions = models.every(session)
    present.sort(key=lambda item: item.file)
    kept = [_Wanted(paths.absolute(path), sha256) for path, sha256 in aside if path is not None and sha256 is not None]
    networks: dict[Path, _Wanted] = {}
    for version in versions:
        for file, digest in version_files.files_of(paths, version).items():
            networks.setdefault(file, _Wanted(file, digest, name=version.name))
    return [*present, *kept, *networks.values()]


def _hashed(wanted: Iterable[_Wanted], threads: int) -> Iterator[tuple[_Wanted, str | None, int]]:
    """Each with its digest, None where it cannot be read, and its bytes; in order, a few files ahead."""
    count = threads if threads >= 1 else os.cpu_count() or 4
    pool = ThreadPoolExecutor(count, thread_name_prefix="labeler-verify")
    source = iter(wanted)
    waiting: deque[tuple[_Wanted, Future[tuple[str | None, int]]]] = deque()
    try:
        while True:
            while len(waiting) < count * _AHEAD_PER_THREAD and (item := next(source, None)) is not None:
                waiting.append((item, pool.submit(_digest, item.file)))
            if not waiting:
                return
            item, future = waiting.popleft()
            yield item, *future.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _digest(file: Path) -> tuple[str | None, int]:
    try:
        return sha256_of(file), file.stat().st_size
    except FileNotFoundError:
        return None, 0
    except OSError:  # a disk that cannot give the bytes has not kept them
        return "", 0


def _changed(store: Store, paths: WorkspacePaths, item: _Wanted, digest: str) -> list[Found]:
    if not item.image:
        kind, detail = ("damaged-model", _OF_MODEL.format(name=item.name)) if item.name else ("changed-file", _OF_ASIDE)
        return [(kind, paths.relative(item.file), detail)]
    with exclusive(paths, "intake", wait_s=_LOCK_WAIT_S), exclusive(paths, "moves", wait_s=_LOCK_WAIT_S):
        with store.read() as session:
            row = session.get_one(Image, item.image)
        now, _ = _digest(paths.absolute(row.path))
        if row.missing or now is None or now == row.sha256:
            return []
    return [("changed-file", row.path, _OF_IMAGE if now else "it cannot be read: put it back from a copy of pools/")]


def _check_shard(paths: WorkspacePaths, file: Path, read: Read, repair: bool) -> None:
    read.files += 1
    try:
        problem = cache.shard_problem(file)
        read.bytes += file.stat().st_size
    except FileNotFoundError:
        return
    except OSError as error:
        problem = f"it cannot be read: {error.strerror}"
    if problem is None:
        return
    if repair:
        with contextlib.suppress(OSError):
            file.unlink()
            read.repaired.append(("damaged-vectors", paths.relative(file), f"{problem}; its images are embedded anew"))
            return
    detail = f"{problem}: `labeler verify --deep --repair` removes it, its images are embedded anew"
    read.differences.append(("damaged-vectors", paths.relative(file), detail))


def _record(store: Store) -> list[Found]:
    """What SQLite finds when it reads all of the record; the ordinary check passes over the indexes."""
    try:
        file = copies.file_of(store.url, "a check")
    except copies.NotSqlite:
        return []
    return [("damaged-record", "db/labeler.db", line) for line in copies.damage(file)]
