"""Builds that lose things on purpose: the harness that finds nothing in them would find nothing anywhere."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.crash.kills import SERVE, Kill
from tests.crash.programs import REPOSITORY

_MOVED = Kill(SERVE, "journal.moved")
_POWER_CUT = Kill("group")


@dataclass(frozen=True, slots=True)
class Breakage:
    """One change of one file of the package: ``before`` must stand there exactly once."""

    file: str
    before: str
    after: str


#: The journal is not replayed: a move that the process before did not finish is never carried out.
NO_REPLAY = (
    Breakage("rounds/journal.py", "LOCK_WAIT_S = 60.0\n", "LOCK_WAIT_S = 60.0\n_left_before = [-1]\n"),
    Breakage(
        "rounds/journal.py",
        "    if last is None:\n        return []\n    problems",
        "    if _left_before[0] < 0:\n        _left_before[0] = last or 0\n"
        "    if last is None:\n        return []\n    problems",
    ),
    Breakage(
        "rounds/journal.py",
        "if move.id not in failed and move.id <= last]",
        "if move.id not in failed and _left_before[0] < move.id <= last]",
    ),
)
#: The journal is ticked off before the file has moved.
TICKED_FIRST = (
    Breakage(
        "rounds/journal.py",
        "            outcomes = mover.move_many([_request(paths, move) for move in wave], verify=verify)\n"
        '            faults.point("journal.moved")\n'
        "            _mark(store, paths, wave, outcomes)\n",
        "            requests = [_request(paths, move) for move in wave]\n"
        "            _mark(store, paths, wave, [mover.MoveOutcome(r.folder / r.name, None) for r in requests])\n"
        '            faults.point("journal.moved")\n'
        "            outcomes = mover.move_many(requests, verify=verify)\n",
    ),
)
#: An answer is acknowledged before it is on record.
ACKNOWLEDGED_FIRST = (
    Breakage(
        "rounds/engine.py",
        "        receipts = self._together.write("
        "lambda session: self._written(session, annotator, kind, answers, number, admin))\n",
        "        import threading\n"
        "\n"
        "        def later() -> None:\n"
        "            with self.store.write() as session:\n"
        "                self._written(session, annotator, kind, answers, number, admin)\n"
        "\n"
        "        threading.Timer(0.7, later).start()\n"
        "        receipts = [Receipt(answer.op_id, True, answer.label) for answer in answers]\n",
    ),
)


#: Each with the kills that bring it to light, and the kinds of violation of which one must be found.
BROKEN: Mapping[str, tuple[Sequence[Breakage], Sequence[Kill], frozenset[str]]] = {
    "the journal is not replayed": (NO_REPLAY, [_MOVED, _POWER_CUT], frozenset({"half-done"})),
    "the journal is ticked off first": (TICKED_FIRST, [_MOVED, _POWER_CUT], frozenset({"misplaced"})),
    "acknowledged before it is stored": (ACKNOWLEDGED_FIRST, [_POWER_CUT, _POWER_CUT], frozenset({"lost"})),
}


def copy_broken(folder: Path, changes: Sequence[Breakage], source: Path = REPOSITORY) -> Path:
    """A folder with a copy of the package, changed.

    Raises:
        AssertionError: a text that was to be changed is not there, or more than once: the source has moved on.
    """
    package = folder / "labeler"
    shutil.copytree(source / "labeler", package, ignore=shutil.ignore_patterns("__pycache__"))
    for change in changes:
        file = package / change.file
        text = file.read_text(encoding="utf-8")
        assert text.count(change.before) == 1, (
            f"{change.file} holds {change.before!r} {text.count(change.before)} times"
        )
        file.write_text(text.replace(change.before, change.after), encoding="utf-8")
    return folder
