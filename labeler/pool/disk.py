"""The few disk operations that moving and taking in share: hashes, and a name given without overwriting."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

from labeler import faults
from labeler.domain import LabelerError, MoveError
from labeler.durable import sync_folder
from labeler.pool.names import TEMP_PREFIX, candidates, shown

_CHUNK = 1 << 20

NO_LINK = frozenset({errno.EXDEV, errno.EPERM, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EMLINK})
"""What ``link`` answers where it cannot work at all: another device, or a file system without hard links."""


def sha256_of(file: Path) -> str:
    """Hex digest of the bytes of ``file``, read in pieces."""
    with file.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def status_of(file: Path) -> os.stat_result | None:
    """``lstat`` of ``file``, None where nothing has that name."""
    try:
        return os.lstat(file)
    except (FileNotFoundError, NotADirectoryError):
        return None


@contextlib.contextmanager
def replacing(file: Path) -> Iterator[TextIO]:
    """A stream of UTF-8 text that becomes ``file`` when the ``with`` ends well, whole or not at all.

    File names that are no UTF-8 are written with escapes; line ends as they are given.

    Raises:
        LabelerError: the file cannot be written.
    """
    temporary = file.with_name(f"{TEMP_PREFIX}{secrets.token_hex(8)}")
    try:
        with temporary.open("x", encoding="utf-8", errors="backslashreplace", newline="") as stream:
            yield stream
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(file)
        sync_folder(file.parent)
    except OSError as error:
        raise LabelerError(f"{shown(file)} cannot be written: {error.strerror}", "choose another place") from None
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def make_folder(folder: Path) -> None:
    """Make ``folder`` and what is missing above it, durably."""
    if folder.is_dir():
        return
    make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    sync_folder(folder.parent)


def holds(file: Path, status: os.stat_result | None, sha256: str, size: int | None) -> bool:
    """Whether ``file`` has these bytes. It is read only if its size, where that is known, leaves the question open."""
    if status is None or not stat.S_ISREG(status.st_mode):
        return False
    return (size is None or status.st_size == size) and sha256_of(file) == sha256


def put_link(source: Path, folder: Path, name: str, sha256: str) -> Path:
    """Give the file ``source`` a second name in ``folder``, the first candidate that is free.

    Raises:
        OSError: as ``link``; one of :data:`NO_LINK` where hard links do not work.
        MoveError: every candidate is taken.
    """
    for candidate in candidates(name, sha256):
        with contextlib.suppress(FileExistsError):
            os.link(source, folder / candidate, follow_symlinks=False)
            return folder / candidate
    raise _all_taken(folder, name)


def put_copy(source: Path, folder: Path, name: str, sha256: str, step: str) -> Path:
    """Copy ``source`` into ``folder`` under the first candidate that is free; never seen there half-written.

    Args:
        source: what to copy.
        folder: where to.
        name: wanted name.
        sha256: digest the copy must have.
        step: start of the fault points passed: ``<step>.copied`` and ``<step>.published``.

    Raises:
        OSError: reading or writing failed; nothing is left behind.
        MoveError: the bytes are not those promised, or every candidate is taken.
    """
    temporary = folder / f"{TEMP_PREFIX}{sha256[:16]}-{secrets.token_hex(4)}"
    try:
        if _copy(source, temporary) != sha256 or sha256_of(temporary) != sha256:
            raise MoveError(f"{shown(source)} is not the file it was when it was read", "run the command again")
        faults.point(f"{step}.copied")
        final = _publish(temporary, folder, name, sha256)
        faults.point(f"{step}.published")
    finally:
        with contextlib.suppress(FileNotFoundError):
            temporary.unlink()
    return final


def _copy(source: Path, target: Path) -> str:
    """Copy bytes and time of change; returns the digest of what was read, once all of it is on disk."""
    digest = hashlib.sha256()
    with source.open("rb") as reader, target.open("xb") as writer:
        while chunk := reader.read(_CHUNK):
            digest.update(chunk)
            writer.write(chunk)
        writer.flush()
        status = os.fstat(reader.fileno())
        if os.utime in os.supports_fd:
            os.utime(writer.fileno(), ns=(status.st_atime_ns, status.st_mtime_ns))
        os.fsync(writer.fileno())
    return digest.hexdigest()


def _publish(temporary: Path, folder: Path, name: str, sha256: str) -> Path:
    try:
        return put_link(temporary, folder, name, sha256)
    except OSError as error:
        if error.errno not in NO_LINK:
            raise
    return _publish_without_links(temporary, folder, name, sha256)


def _publish_without_links(temporary: Path, folder: Path, name: str, sha256: str) -> Path:
    """Where there are no hard links a name is reserved by an empty file, then the copy takes its place.

    An empty file found there counts as such a reservation that was cut short: it is no image and holds no byte
    that could be lost.
    """
    for candidate in candidates(name, sha256):
        final = folder / candidate
        try:
            final.open("xb").close()
        except FileExistsError:
            status = status_of(final)
            if status is None or not stat.S_ISREG(status.st_mode) or status.st_size:
                continue
        temporary.replace(final)
        return final
    raise _all_taken(folder, name)


def _all_taken(folder: Path, name: str) -> MoveError:
    return MoveError(f"{shown(folder / name)} is taken, and so is every name made with its hash", "clear the folder")
