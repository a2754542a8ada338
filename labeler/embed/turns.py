"""Writers of a cache folder, one at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from labeler.pool.disk import make_folder

LOCK = "writing.lock"


@contextlib.contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold the folder's lock while something is written there under a temporary name, ``*.tmp``.

    Whoever holds it is the only writer, so that a temporary file found here now was left by a process that was
    killed: it is removed. The lock goes with the process, however that ends.

    Raises:
        OSError: the folder cannot be made or written to.
    """
    from filelock import FileLock

    make_folder(folder)
    with FileLock(folder / LOCK):
        for left in folder.glob("*.tmp"):
            left.unlink(missing_ok=True)
        yield
