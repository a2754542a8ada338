"""Ways to break a disk for real, for the length of a ``with``: mounts, rights, and what can be done without either."""

from __future__ import annotations

import contextlib
import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from labeler.domain import LabelerError

_OVERRIDE = (1 << 1) | (1 << 2)  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH: root's way past the modes of files
_VERSION_3 = 0x20080522


def said(error: LabelerError, *words: str) -> None:
    """The error is one line that names what it has to name and says what to do."""
    assert "\n" not in str(error)
    assert error.remedy
    for word in words:
        assert word in str(error), f"{word!r} is not in {error}"


def assert_one_line(code: int, out: str, err: str, *words: str) -> None:
    """A command that failed as it should: exit code 1, one line on stderr, no traceback."""
    assert code == 1, out + err
    [line] = err.splitlines()
    assert line.startswith("labeler: ")
    assert "unexpected" not in line
    assert "bug" not in line
    for word in words:
        assert word in line, f"{word!r} is not in {line}"


@contextlib.contextmanager
def small_disk(folder: Path, kib: int) -> Iterator[Path]:
    """A file system of so many KiB in memory, mounted at a folder that is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    _mount("-t", "tmpfs", "-o", f"size={kib}k", "tmpfs", str(folder))
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


@contextlib.contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """The folder and all below it refuse writing with EROFS, also to root."""
    _mount("--bind", str(folder), str(folder))
    try:
        _mount("-o", "remount,ro,bind", str(folder))
        yield
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=False, capture_output=True)


def _mount(*arguments: str) -> None:
    try:
        done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("no `mount` on this machine")
    if done.returncode:
        pytest.skip(f"this process may not mount a file system: {done.stderr.strip()}")


@contextlib.contextmanager
def forbidden(path: Path, mode: int = 0) -> Iterator[None]:
    """The modes of ``path`` count, also for root: its capability to pass them over is laid down meanwhile.

    Threads that are started inside inherit that; those that run already keep it.
    """
    before = path.stat().st_mode
    path.chmod(mode)
    try:
        with _without_override():
            yield
    finally:
        path.chmod(before)


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


class _Sets(ctypes.Structure):
    _fields_ = (("effective", ctypes.c_uint32), ("permitted", ctypes.c_uint32), ("inheritable", ctypes.c_uint32))


@contextlib.contextmanager
def _without_override() -> Iterator[None]:
    if os.geteuid() != 0:  # then the modes count anyway
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if not hasattr(libc, "capset"):
        pytest.skip("root reads everything, and its capabilities cannot be laid down here")
    header, sets = _Header(_VERSION_3, 0), (_Sets * 2)()
    assert libc.capget(ctypes.byref(header), sets) == 0
    kept = sets[0].effective
    sets[0].effective = kept & ~_OVERRIDE
    assert libc.capset(ctypes.byref(header), sets) == 0
    try:
        yield
    finally:
        sets[0].effective = kept
        assert libc.capset(ctypes.byref(header), sets) == 0


def fill(folder: Path, leave_kib: int) -> Path:
    """Fill the disk of a folder but for so many KiB; returns the file that does it."""
    file = folder / ".ballast"
    with file.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
        while True:
            stream.write(bytes(4096))
    os.truncate(file, max(0, file.stat().st_size - (leave_kib << 10)))
    return file
