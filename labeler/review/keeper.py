"""Keeping a worker process beside the server: started with it, replaced when it dies, ended with it."""

from __future__ import annotations

import logging
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from labeler import logs
from labeler.workspace import WorkspacePaths

_FIRST_PAUSE_S = 0.5
_LONGEST_PAUSE_S = 30.0
_STEADY_S = 60.0
#: For the worker to put its job back, and for that of the long jobs to do the same.
STOP_WAIT_S = 10.0
_log = logging.getLogger(__name__)


class WorkerKeeper:
    """Keeps one worker process alive while the block runs: a dead one is replaced, ever more slowly if it keeps dying.

    The page works without it (answers are stored by this process); only training waits.

    Args:
        start: starts the worker process.
        first_pause_s: seconds before the first replacement; doubled with each death that follows soon.
    """

    def __init__(self, start: Callable[[], subprocess.Popen[Any]], first_pause_s: float = _FIRST_PAUSE_S) -> None:
        self._start = start
        self._first_pause_s = first_pause_s
        self._ending = threading.Event()
        self._last_one = threading.Event()
        self._process: subprocess.Popen[Any] | None = None
        self._thread = threading.Thread(target=self._keep, name="worker-keeper", daemon=True)

    def __enter__(self) -> WorkerKeeper:
        self._thread.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.replace_no_more()
        self._ending.set()
        self._thread.join()

    @property
    def pid(self) -> int | None:
        """The worker's process id; None while there is none."""
        process = self._process
        return process.pid if process is not None and process.poll() is None else None

    def replace_no_more(self) -> None:
        """From now on a worker that ends stays ended: whoever stops us may have stopped it too."""
        self._last_one.set()

    def _keep(self) -> None:
        pause = self._first_pause_s
        while not self._ending.is_set():
            started = time.monotonic()
            code = self._live_once()
            if self._ending.is_set():
                return
            if time.monotonic() - started >= _STEADY_S:
                pause = self._first_pause_s
            # A service manager may stop the worker together with us: that is no accident.
            if self._last_one.wait(pause):
                return
            logs.say(_log, logging.WARNING, f"the worker ended ({code}); starting it again")
            pause = min(pause * 2, _LONGEST_PAUSE_S)

    def _live_once(self) -> str:
        """Start a worker and wait for its end, or for ours; says how it ended."""
        try:
            process = self._process = self._start()
        except OSError as error:
            return f"could not start: {error.strerror}"
        while process.poll() is None:
            if self._ending.wait(0.2):
                _end(process)
        return f"exit code {process.returncode}"


def _end(process: subprocess.Popen[Any]) -> None:
    process.terminate()
    try:
        process.wait(STOP_WAIT_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def starter(paths: WorkspacePaths, overrides: Mapping[str, Any]) -> Callable[[], subprocess.Popen[Any]]:
    from labeler import worker

    return lambda: worker.start(paths, overrides)
