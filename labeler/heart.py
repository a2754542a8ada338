"""A sign in the workspace that the worker of a page is at work, and what others do when they see it."""

from __future__ import annotations

import contextlib
import os
import time

from labeler.workspace import WorkspacePaths

#: Of the worker itself. At 10 eight people without a pause starved it: a new ranking every 12 s instead of every few.
NICENESS = 5
_BEAT_EVERY_S = 1.0
_FRESH_S = 5.0
_HEARTBEAT = "worker.alive"


class Heart:
    """Leaves a sign in the workspace that work goes on: the time of a file, renewed once a second at most.

    Args:
        paths: the workspace.
    """

    def __init__(self, paths: WorkspacePaths) -> None:
        self._file = paths.db / _HEARTBEAT
        self._last = -_BEAT_EVERY_S

    def beat(self) -> None:
        if time.monotonic() - self._last >= _BEAT_EVERY_S:
            self._last = time.monotonic()
            with contextlib.suppress(OSError):  # a full disk stops the work soon enough
                self._file.touch()


def heartbeat_s(paths: WorkspacePaths) -> float | None:
    """Seconds since the worker last looked for work or got on with a job; None when it never did."""
    try:
        return max(0.0, time.time() - (paths.db / _HEARTBEAT).stat().st_mtime)
    except OSError:
        return None


def give_way(paths: WorkspacePaths) -> None:
    """Let people who label at this moment go first: this process gets less of the processor while they need it.

    An import beside thirty-two people took half of the machine from their answers.
    """
    seen = heartbeat_s(paths)
    if seen is not None and seen < _FRESH_S:
        with contextlib.suppress(OSError, AttributeError):  # there is no such thing on Windows
            os.nice(max(0, NICENESS - os.nice(0)))
