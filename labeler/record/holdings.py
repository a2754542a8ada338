"""What a record holds, for backups and for whoever has to say what is in one. Functions take a session and never
commit.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from labeler.domain import MoveState
from labeler.record import images
from labeler.record.tables import Annotator, DecisionRow, Image, MoveRow, Round

_AT_ONCE = 5_000


def counted(session: Session) -> dict[str, int]:
    """How much there is of what a person would miss; ``last_decision`` is the newest decision's number."""
    labelled = images.count(session, Image, Image.label.is_not(None))
    return {
        "images": images.count(session, Image),
        "labelled": labelled,
        "missing": images.count_missing(session),
        "decisions": images.count(session, DecisionRow),
        "last_decision": session.scalar(select(func.max(DecisionRow.id))) or 0,
        "rounds": images.count(session, Round),
        "accounts": images.count(session, Annotator, Annotator.password_hash.is_not(None)),
        "quarantined": images.count_quarantined(session),
    }


def image_rows(session: Session) -> Iterator[dict[str, Any]]:
    """Every image by path: sha256, path, split, label, missing; a few at a time."""
    query = select(Image.sha256, Image.path, Image.split, Image.label, Image.missing).order_by(Image.path, Image.id)
    for row in session.execute(query.execution_options(yield_per=_AT_ONCE)).mappings():
        yield dict(row)


def pending_moves(session: Session) -> list[dict[str, str]]:
    """The moves that were asked for and are not carried out, oldest first."""
    query = select(Image.sha256, Image.path, MoveRow.folder, MoveRow.file_name)
    query = query.join(Image, Image.id == MoveRow.image_id).where(MoveRow.state == MoveState.PENDING.value)
    return [dict(row) for row in session.execute(query.order_by(MoveRow.id)).mappings()]
