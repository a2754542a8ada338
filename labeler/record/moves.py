"""The journal of moves: what decisions asked for, and what has been carried out. Functions take a session and never
commit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, insert, select, update
from sqlalchemy.orm import Session

from labeler.domain import MoveState
from labeler.record import images
from labeler.record.tables import DecisionRow, Image, MoveRow, now


@dataclass(frozen=True, slots=True)
class PendingMove:
    """A journalled move that is not known to be done, with what is needed to carry it out."""

    id: int
    image_id: int
    sha256: str
    source: str
    folder: str
    file_name: str
    size: int
    mtime_ns: int


_ASK = insert(MoveRow)


def ask(session: Session, image_id: int, decision_id: int, folder: str, file_name: str) -> None:
    """Put a move into the journal, in the transaction of the decision that asks for it."""
    row = {"image_id": image_id, "decision_id": decision_id, "folder": folder, "file_name": file_name}
    session.connection().execute(_ASK, {**row, "state": MoveState.PENDING.value, "created_at": now()})


def ask_many(session: Session, wanted: Sequence[tuple[int, int, str, str]]) -> None:
    """The same for many: (image, decision, folder, file name) each."""
    given = {"state": MoveState.PENDING.value, "created_at": now()}
    names = ("image_id", "decision_id", "folder", "file_name")
    if wanted:
        session.connection().execute(_ASK, [{**dict(zip(names, row, strict=True)), **given} for row in wanted])


def pending(session: Session, limit: int = 1000) -> list[PendingMove]:
    """The oldest pending moves, at most one per image: a second one starts where the first ends."""
    first = select(func.min(MoveRow.id)).where(MoveRow.state == MoveState.PENDING.value).group_by(MoveRow.image_id)
    what = (Image.sha256, Image.path, MoveRow.folder, MoveRow.file_name, Image.size, Image.mtime_ns)
    query = select(MoveRow.id, MoveRow.image_id, *what)
    query = query.join(Image, Image.id == MoveRow.image_id).where(MoveRow.id.in_(first)).order_by(MoveRow.id)
    return [PendingMove(*row) for row in session.execute(query.limit(limit))]


def last_pending(session: Session) -> int | None:
    """The newest pending move."""
    return session.scalar(select(func.max(MoveRow.id)).where(MoveRow.state == MoveState.PENDING.value))


def count_pending(session: Session, round_id: int | None = None) -> int:
    """How many moves are pending, of one round's decisions or of all."""
    query = select(func.count()).select_from(MoveRow).where(MoveRow.state == MoveState.PENDING.value)
    if round_id is not None:
        query = query.join(DecisionRow, DecisionRow.id == MoveRow.decision_id).where(DecisionRow.round_id == round_id)
    return session.scalar(query) or 0


def count_blocking(session: Session, round_id: int) -> int:
    """Pending moves of a round's decisions whose file has not vanished: these must be done before COMMITTED."""
    query = select(func.count()).select_from(MoveRow).join(DecisionRow, DecisionRow.id == MoveRow.decision_id)
    query = query.join(Image, Image.id == MoveRow.image_id).where(DecisionRow.round_id == round_id, ~Image.missing)
    return session.scalar(query.where(MoveRow.state == MoveState.PENDING.value)) or 0


def images_moving(session: Session) -> set[int]:
    """Images with a move that is not known to be done."""
    return set(session.scalars(select(MoveRow.image_id).where(MoveRow.state == MoveState.PENDING.value)))


def done(session: Session, moved: Sequence[tuple[PendingMove, str]]) -> None:
    """Close moves: each file lies at its final path now, durably."""
    if not moved:
        return
    closed = {"state": MoveState.DONE.value, "done_at": now(), "error": None}
    session.execute(update(MoveRow), [{"id": move.id, "final_path": path, **closed} for move, path in moved])
    images.set_paths(session, {move.image_id: path for move, path in moved})


def failed(session: Session, move: PendingMove, error: str, *, vanished: bool) -> None:
    """Leave a move pending and say why; a vanished file makes its image missing, the rows stay."""
    session.execute(update(MoveRow).where(MoveRow.id == move.id).values(error=error))
    if vanished:
        images.set_missing(session, [move.image_id], True)
