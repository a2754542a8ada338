"""Moving files behind the answers, so that nobody who labels waits for a disk."""

from __future__ import annotations

import logging
import threading
from types import TracebackType
from typing import Self

from labeler import logs
from labeler.domain import LabelerError
from labeler.rounds import journal
from labeler.rounds.engine import Workspace

_log = logging.getLogger(__name__)
#: A move that failed (a full disk, a lock held by another process) is tried again this often.
_AGAIN_S = 5.0
#: Answers come one by one; moving them a few at a time costs one lock and one transaction for all.
_GATHER_S = 0.1
#: The end of the server waits no longer for the last moves: the journal has them.
LAST_S = 10.0


class MoverThread:
    """Carries out the journal of a workspace while the block runs; at its end nothing that could be moved in a few
    seconds is left.

    An answer is on record, with the move it asks for, before it is acknowledged: a process that dies here loses
    nothing, the next start carries on from the journal.
    """

    def __init__(self, workspace: Workspace) -> None:
        self._workspace = workspace
        self._asked = threading.Event()
        self._ending = False
        self._said: set[str] = set()
        self._thread = threading.Thread(target=self._run, name="mover", daemon=True)

    def __enter__(self) -> Self:
        self._workspace.move_later = self._asked.set
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._workspace.move_later = None
        self._ending = True
        self._asked.set()
        self._thread.join(LAST_S)
        if self._thread.is_alive():
            logs.say(_log, logging.WARNING, "files are left for the next start to move")

    def _run(self) -> None:
        pause: float | None = None if self._resumed() else _AGAIN_S
        while not self._ending:
            self._asked.wait(pause)
            if not self._ending:
                threading.Event().wait(_GATHER_S)
            self._asked.clear()
            pause = None if self._drained() else _AGAIN_S
        self._drained()

    def _resumed(self) -> bool:
        """Replay what an earlier process left, reading each file before it is moved."""
        try:
            self._workspace.resume()
        except (LabelerError, OSError) as error:
            logs.say(_log, logging.ERROR, "files could not be moved", reason=logs.reason(error))
            return False
        return True

    def _drained(self) -> bool:
        try:
            problems = journal.drain(self._workspace.store, self._workspace.paths)
        except (LabelerError, OSError) as error:
            logs.say(_log, logging.ERROR, "files could not be moved", reason=logs.reason(error))
            return False
        said = {str(problem): problem for problem in problems}
        new = [said[text] for text in sorted(said.keys() - self._said)]
        if new:
            event = "files could not be moved, `labeler verify` names them"
            reasons = ", ".join(sorted({logs.reason(problem) for problem in new}))
            logs.say(_log, logging.WARNING, event, files=len(new), reasons=reasons)
        for problem in new:
            logs.say(_log, logging.DEBUG, "a file could not be moved", why=problem)
        self._said = set(said)
        return not problems
