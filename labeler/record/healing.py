"""What a record is told when it comes back to files that have moved on without it. Functions take a session and never
commit.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from labeler.domain import OPEN_STATES, Action, MoveState, RoundState
from labeler.record import images, models, queries
from labeler.record.tables import DecisionRow, Image, ModelVersion, MoveRow, now


@dataclass(frozen=True, slots=True)
class Unsettled:
    """A pending move: whose file, where the record has it, and where it was to go."""

    id: int
    image_id: int
    sha256: str
    path: str
    folder: str
    file_name: str


def unsettled(session: Session) -> dict[int, list[Unsettled]]:
    """Every pending move of each image, oldest first."""
    query = select(MoveRow.id, MoveRow.image_id, Image.sha256, Image.path, MoveRow.folder, MoveRow.file_name)
    query = query.join(Image, Image.id == MoveRow.image_id).where(MoveRow.state == MoveState.PENDING.value)
    found: dict[int, list[Unsettled]] = {}
    for row in session.execute(query.order_by(MoveRow.id)):
        found.setdefault(row.image_id, []).append(Unsettled(*row))
    return found


def close_moves(session: Session, moves: Sequence[Unsettled], path: str | None) -> None:
    """Take moves out of the journal: carried out, the file lies at ``path``; or given up, for it is elsewhere."""
    said = {"state": MoveState.DONE.value, "done_at": now(), "final_path": path}
    said["error"] = None if path is not None else "given up: the file was found elsewhere, or not at all"
    for block in images.blocks([move.id for move in moves]):
        session.execute(update(MoveRow).where(MoveRow.id.in_(block)).values(**said))
    if path is not None:
        images.set_paths(session, {moves[-1].image_id: path})


def forget_files(session: Session, versions: Iterable[ModelVersion]) -> None:
    """Note that these models' files are gone; one of them that is in use is so no longer, and the next is trained."""
    versions = list(versions)
    models.mark_removed(session, versions)
    for version in versions:
        version.in_use = False
    session.flush()


def placed_since(session: Session, decision_id: int) -> dict[int, str | None]:
    """Image -> label of the decisions after that one that a file's folder made; the last of each image."""
    query = select(DecisionRow.image_id, DecisionRow.label).where(DecisionRow.id > decision_id)
    query = query.where(DecisionRow.action == Action.IMPORT.value).order_by(DecisionRow.id)
    return {row.image_id: row.label for row in session.execute(query)}


def give_up_rounds(session: Session, decided: Collection[int]) -> list[int]:
    """Abandon the open rounds that wait for one of these images, so that nobody is asked for it again.

    What else such a round waited for is in the pool, and comes with the next round.

    Returns:
        The numbers of the rounds.
    """
    given_up = []
    for row in queries.rounds_in(session, OPEN_STATES):
        if any(image in decided for _, image in queries.open_images(session, row.id)):
            queries.advance(session, row.id, RoundState(row.state), RoundState.ABANDONED)
            given_up.append(row.number)
    return given_up
