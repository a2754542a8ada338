"""Carrying out the moves that decisions asked for; run after every decision and replayed at every start."""

from __future__ import annotations

from labeler import faults
from labeler.domain import LabelerError, VanishedFile, WorkspaceBusy
from labeler.pool import mover
from labeler.record import moves
from labeler.record.moves import PendingMove
from labeler.record.store import Store
from labeler.workspace import WorkspacePaths, exclusive

LOCK_WAIT_S = 60.0


def drain(store: Store, paths: WorkspacePaths, *, verify: bool = False) -> list[LabelerError]:
    """Carry out the moves that are pending now, oldest first, and mark each done once it is durable on disk.

    Those that are asked for meanwhile are left to the next call: under steady labelling this one would never end.

    Only one process drains at a time: an image's second move starts where its first one ends, so two readers of the
    journal could otherwise put a file back where the record no longer has it.

    Args:
        verify: read every file before it is moved and refuse one whose bytes changed; for replaying after a crash.

    Returns:
        What kept a move from being carried out; those stay pending and are tried again by the next call.
    """
    with store.read() as session:
        last = moves.last_pending(session)
    if last is None:
        return []
    problems: list[LabelerError] = []
    failed: set[int] = set()
    with exclusive(paths, "moves", wait_s=LOCK_WAIT_S):
        while True:
            with store.read() as session:
                pending = moves.pending(session, 1000 + len(failed))
            wave = [move for move in pending if move.id not in failed and move.id <= last]
            if not wave:
                return problems
            outcomes = mover.move_many([_request(paths, move) for move in wave], verify=verify)
            faults.point("journal.moved")
            _mark(store, paths, wave, outcomes)
            faults.point("journal.marked")
            for move, outcome in zip(wave, outcomes, strict=True):
                if outcome.error is not None:
                    failed.add(move.id)
                    problems.append(outcome.error)


def _request(paths: WorkspacePaths, move: PendingMove) -> mover.MoveRequest:
    source, folder = paths.absolute(move.source), paths.absolute(move.folder)
    return mover.MoveRequest(source, folder, move.file_name, move.sha256, (move.size, move.mtime_ns))


def _mark(store: Store, paths: WorkspacePaths, wave: list[PendingMove], outcomes: list[mover.MoveOutcome]) -> None:
    with store.write() as session:
        pairs = list(zip(wave, outcomes, strict=True))
        finals = [(move, outcome.final) for move, outcome in pairs if outcome.final is not None]
        moves.done(session, [(move, paths.relative(final)) for move, final in finals])
        for move, outcome in pairs:
            if outcome.final is None:
                vanished = isinstance(outcome.error, VanishedFile)
                moves.failed(session, move, str(outcome.error), vanished=vanished)


def clear_leftovers(paths: WorkspacePaths) -> int:
    """Remove temporary files that a killed process left; returns how many.

    Whoever makes one holds the lock of the moves or of the intake, so with both in hand none is in use. When another
    process holds one of them the sweep is left for later.
    """
    try:
        with exclusive(paths, "intake"), exclusive(paths, "moves"):
            return len(mover.sweep(paths.pools))
    except WorkspaceBusy:
        return 0
