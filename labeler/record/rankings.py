"""The order of the pool that batches are handed out from. Functions take a session and never commit."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import and_, bindparam, delete, func, insert, or_, select
from sqlalchemy.orm import Session

from labeler.domain import OPEN_STATES, Lane, RoundState, Split
from labeler.record import queries
from labeler.record.tables import DecisionRow, Image, Lease, ProposalRow, Ranking, RankingItem, Round, now

_NEWEST = select(Ranking).order_by(Ranking.id.desc()).limit(1)
_LEARNED = select(Ranking.last_decision_id).order_by(Ranking.id.desc()).limit(1)


def newest(session: Session) -> Ranking | None:
    """The ranking in use."""
    return session.scalar(_NEWEST)


def learned_up_to(session: Session) -> int:
    """The newest decision the ranking in use knows; 0 without a ranking."""
    return session.connection().scalar(_LEARNED) or 0


def swap(session: Session, ranking: Ranking, lanes: Mapping[Lane, Sequence[Mapping[str, Any]]]) -> None:
    """Put a new ranking in the place of the old one, in the caller's one transaction: nobody ever sees none.

    Args:
        lanes: for each lane its rows in order, each with ``image_id`` and what the model says of it.
    """
    session.add(ranking)
    session.flush()
    session.execute(delete(RankingItem))
    given = {"ranking_id": ranking.id, "probability": None, "uncertainty": None, "predicted": None}
    items = [
        {**given, "lane": lane.value, "position": at, **row}
        for lane, rows in lanes.items()
        for at, row in enumerate(rows, start=1)
    ]
    if items:
        _insert(session, items)


def _insert(session: Session, items: Sequence[Mapping[str, Any]]) -> None:
    """Straight to the driver, in two thirds of the time: people who answer wait meanwhile, and these are thousands."""
    connection = session.connection()
    names = list(items[0])
    statement = insert(RankingItem).compile(dialect=connection.dialect, column_keys=names)
    if statement.positional:
        values: list[Any] = [tuple(item[name] for name in statement.positiontup or ()) for item in items]
    else:
        values = [dict(item) for item in items]
    connection.exec_driver_sql(str(statement), values)


def length(session: Session, lane: Lane) -> int:
    """How many images the newest ranking has in a lane, handed out or not."""
    return session.scalar(select(func.count()).select_from(RankingItem).where(RankingItem.lane == lane.value)) or 0


@dataclass(frozen=True, slots=True)
class Available:
    """An image that may be put into a new round, with what the ranking says of it."""

    image_id: int
    path: str
    probability: float | None
    uncertainty: float | None
    predicted: str | None
    why: str


_SINCE = select(DecisionRow.id).where(
    DecisionRow.image_id == Image.id, DecisionRow.id > bindparam("last"), ~DecisionRow.opinion
)
_WITH_SOMEBODY = select(Lease.id).where(Lease.proposal_id == ProposalRow.id, Lease.expires_at > bindparam("now"))
_TAKEN = (
    select(ProposalRow.id)
    .join(Round, Round.id == ProposalRow.round_id)
    .where(ProposalRow.image_id == Image.id)
    .where(
        or_(
            Round.state.in_([state.value for state in OPEN_STATES]),
            and_(Round.state != RoundState.ABANDONED.value, _WITH_SOMEBODY.exists()),
        )
    )
)
_AVAILABLE = (
    select(
        Image.id,
        Image.path,
        RankingItem.probability,
        RankingItem.uncertainty,
        RankingItem.predicted,
        RankingItem.why,
    )
    .join(Image, Image.id == RankingItem.image_id)
    .where(RankingItem.lane == bindparam("lane"), Image.split == Split.UNLABELLED.value, ~Image.missing)
    .where(~_SINCE.exists(), ~_TAKEN.exists())
    .order_by(RankingItem.position)
    .limit(bindparam("limit"))
)


def available(session: Session, lane: Lane, ranking: Ranking, limit: int) -> list[Available]:
    """The first images of a lane that may be put into a new round.

    Left out is what has a label by now, was decided since the ranking was made, waits in an open round, or is with
    somebody who took an answer back.
    """
    given = {"lane": lane.value, "last": ranking.last_decision_id, "now": now(), "limit": limit}
    return [Available(*row) for row in session.connection().execute(_AVAILABLE, given)]


def disputes(session: Session, limit: int) -> list[tuple[RankingItem, Image]]:
    """Labelled images whose label the model disputes most, not looked at again since the ranking was made."""
    ranking = newest(session)
    if ranking is None:
        return []
    since = select(DecisionRow.id).where(DecisionRow.image_id == Image.id, DecisionRow.id > ranking.last_decision_id)
    query = select(RankingItem, Image).join(Image, Image.id == RankingItem.image_id)
    query = query.where(RankingItem.lane == Lane.MISTAKES.value, Image.label.is_not(None), ~Image.missing)
    query = query.where(~since.exists()).order_by(RankingItem.position).limit(limit)
    return [(item, image) for item, image in session.execute(query)]


def open_round(session: Session, row: Round, items: Sequence[Available]) -> Round:
    """Put a new round of these images on record; its number is the next one."""
    last = queries.last_round(session)
    row.number = last.number + 1 if last is not None else 1
    session.add(row)
    session.flush()
    rows = [
        {
            "round_id": row.id,
            "rank": rank,
            "image_id": item.image_id,
            "path": item.path,
            "probability": item.probability,
            "uncertainty": item.uncertainty,
            "predicted": item.predicted,
            "why": item.why,
        }
        for rank, item in enumerate(items, start=1)
    ]
    session.connection().execute(insert(ProposalRow), rows)
    return row
