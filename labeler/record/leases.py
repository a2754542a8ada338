"""Who works on what: an image of a round is leased to as many people at a time as shall label it, one by default.

Functions take a session of a write transaction and never commit. As SQLite lets in one writer at a time, what is
looked up and what is then taken are one step: no two people are ever handed the same image. (Label Studio checks
first and takes afterwards; with eight people a tenth of their answers were wasted on images of one another.)
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from labeler.domain import OPEN_STATES, RoundState
from labeler.record import queries
from labeler.record.tables import Image, Lease, ProposalRow, Round, now


@dataclass(frozen=True, slots=True)
class Held:
    """What one person has of a round.

    Attributes:
        proposals: every proposal leased to the person, decided or not.
        open: those that still wait for this person's answer; what ran out and is with another by now is his.
        expires_at: when the first of the open ones may go to somebody else.
    """

    proposals: frozenset[int]
    open: tuple[int, ...]
    expires_at: dt.datetime


_HELD = (
    select(Lease.proposal_id, Lease.expires_at)
    .join(ProposalRow, ProposalRow.id == Lease.proposal_id)
    .where(ProposalRow.round_id == bindparam("round"), Lease.annotator_id == bindparam("who"))
)


def held(session: Session, round_id: int, annotator_id: int, overlap: int) -> Held | None:
    """What the person has of the round; None when nothing of it waits for the person any more."""
    rows = session.connection().execute(_HELD, {"round": round_id, "who": annotator_id})
    mine = {row.proposal_id: row.expires_at for row in rows}
    if not mine:
        return None
    waiting = tuple(proposal for proposal in free(session, round_id, annotator_id, overlap) if proposal in mine)
    if not waiting:
        return None
    return Held(frozenset(mine), waiting, min(mine[proposal] for proposal in waiting))


_ROUNDS_OF = select(ProposalRow.round_id).distinct().join(Lease, Lease.proposal_id == ProposalRow.id)
_ROUNDS_OF = _ROUNDS_OF.where(Lease.annotator_id == bindparam("who"))
_OTHER = select(Lease.id).where(
    Lease.proposal_id == ProposalRow.id, Lease.annotator_id != bindparam("who"), Lease.expires_at > bindparam("now")
)
_WITH_FREE = (
    select(ProposalRow.round_id)
    .distinct()
    .join(Round, Round.id == ProposalRow.round_id)
    .join(Image, Image.id == ProposalRow.image_id)
    .where(Round.state.in_([state.value for state in OPEN_STATES]), ~Image.missing, ~_OTHER.exists())
    .where(~queries.decided(ProposalRow.round_id, ProposalRow.image_id))
)


def rounds_of(session: Session, annotator_id: int) -> set[int]:
    """Rounds of which the person has or had something."""
    return set(session.connection().scalars(_ROUNDS_OF, {"who": annotator_id}))


def rounds_with_free(session: Session, annotator_id: int) -> set[int]:
    """Open rounds with an undecided image that is with nobody else."""
    return set(session.connection().scalars(_WITH_FREE, {"who": annotator_id, "now": now()}))


_THESE = Lease.proposal_id.in_(bindparam("these", expanding=True))
_WITH_OTHERS = select(Lease.proposal_id).where(
    _THESE, Lease.annotator_id != bindparam("who"), Lease.expires_at > bindparam("now")
)


def free(session: Session, round_id: int, annotator_id: int, overlap: int) -> list[int]:
    """Proposals of the round that may be handed to the person, in rank order."""
    waiting = _answerable(session, round_id, annotator_id, overlap)
    if not waiting:
        return []
    if overlap > 1:  # a voice that was given stays one, also when its lease has run out
        taken = _with_voices(session, round_id, waiting, annotator_id)
        return [proposal for proposal in waiting if taken[proposal] < overlap]
    given = {"these": waiting, "who": annotator_id, "now": now()}
    with_others = set(session.connection().scalars(_WITH_OTHERS, given))
    return [proposal for proposal in waiting if proposal not in with_others]


_RUN_OUT = delete(Lease).where(_THESE, Lease.annotator_id != bindparam("who"), Lease.expires_at <= bindparam("now"))
_MINE = select(Lease.proposal_id).where(_THESE, Lease.annotator_id == bindparam("who"))
_RENEW = update(Lease).where(_THESE, Lease.annotator_id == bindparam("who")).values(expires_at=bindparam("expires"))


def take(session: Session, proposal_ids: Sequence[int], annotator_id: int, seconds: float) -> None:
    """Lease these proposals to the person, or renew; what has run out for others ends."""
    moment = now()
    expires = moment + dt.timedelta(seconds=seconds)
    connection, given = session.connection(), {"these": list(proposal_ids), "who": annotator_id}
    connection.execute(_RUN_OUT, {**given, "now": moment})
    mine = set(connection.scalars(_MINE, given))
    if mine:
        connection.execute(_RENEW, {**given, "expires": expires})
    rows = [
        {"proposal_id": proposal, "annotator_id": annotator_id, "expires_at": expires}
        for proposal in proposal_ids
        if proposal not in mine
    ]
    if rows:
        connection.execute(insert(Lease), rows)


_WAITING = (
    select(ProposalRow.id)
    .join(Round, Round.id == ProposalRow.round_id)
    .where(Round.state.in_([state.value for state in OPEN_STATES]))
)


def shorten(session: Session, seconds: float) -> None:
    """End leases of open rounds that run longer than any is given for when they would if they were given now.

    The clock was set back since; without this nobody else would get those images until it is there again.
    """
    latest = now() + dt.timedelta(seconds=seconds)
    too_long = update(Lease).where(Lease.expires_at > latest, Lease.proposal_id.in_(_WAITING))
    session.connection().execute(too_long.values(expires_at=latest))


def any_too_long(session: Session, seconds: float) -> bool:
    """Whether :func:`shorten` has anything to do."""
    latest = now() + dt.timedelta(seconds=seconds)
    too_long = select(Lease.id).where(Lease.expires_at > latest, Lease.proposal_id.in_(_WAITING))
    return session.connection().scalar(too_long.limit(1)) is not None


_ENDING = (
    select(Lease.id)
    .where(Lease.annotator_id == bindparam("who"), Lease.expires_at > bindparam("now"))
    .where(Lease.expires_at < bindparam("soon"))
    .limit(1)
)


def renew(session: Session, annotator_id: int, seconds: float) -> None:
    """Somebody who answers keeps what he has: leases that end within half their time start anew."""
    moment = now()
    soon, late = (moment + dt.timedelta(seconds=share * seconds) for share in (0.5, 1.0))
    given = {"who": annotator_id, "now": moment, "soon": soon}
    if session.connection().scalar(_ENDING, given) is not None:
        mine = update(Lease).where(Lease.annotator_id == annotator_id, Lease.expires_at > moment)
        session.execute(mine.where(Lease.expires_at < soon).values(expires_at=late))


def take_again(session: Session, round_id: int, image_id: int, annotator_id: int, seconds: float) -> None:
    """Lease an image of a round to the person who took its answer back, unless another has it meanwhile."""
    query = select(ProposalRow.id).where(ProposalRow.round_id == round_id, ProposalRow.image_id == image_id)
    proposal = session.scalar(query)
    if proposal is None:
        return
    others = select(Lease.id).join(ProposalRow, ProposalRow.id == Lease.proposal_id)
    others = others.where(ProposalRow.image_id == image_id, Lease.annotator_id != annotator_id)
    if session.scalar(others.where(Lease.expires_at > now()).limit(1)) is None:
        take(session, [proposal], annotator_id, seconds)


def let_go(session: Session, image_id: int) -> None:
    """End the leases of an image in rounds that are over: nobody has it before him there any more."""
    over = select(ProposalRow.id).join(Round, Round.id == ProposalRow.round_id)
    over = over.where(ProposalRow.image_id == image_id, Round.state.not_in([state.value for state in OPEN_STATES]))
    session.execute(delete(Lease).where(Lease.proposal_id.in_(over)))


def leased_images(session: Session) -> set[int]:
    """Images without a label that are with somebody now; of a round that was given up nobody has any."""
    query = select(ProposalRow.image_id).join(Lease, Lease.proposal_id == ProposalRow.id)
    query = query.join(Round, Round.id == ProposalRow.round_id).where(Round.state != RoundState.ABANDONED.value)
    query = query.join(Image, Image.id == ProposalRow.image_id).where(Image.label.is_(None))
    return set(session.scalars(query.where(Lease.expires_at > now())))


def holders(session: Session) -> dict[int, int]:
    """Of each undecided image of an open round, with how many people it is now: for checks and metrics."""
    query = select(ProposalRow.image_id, func.count(func.distinct(Lease.annotator_id)))
    query = query.join(Lease, Lease.proposal_id == ProposalRow.id).join(Round, Round.id == ProposalRow.round_id)
    query = query.where(Lease.expires_at > now(), Round.state.in_([state.value for state in OPEN_STATES]))
    query = query.where(~queries.decided(ProposalRow.round_id, ProposalRow.image_id))
    return {row[0]: row[1] for row in session.execute(query.group_by(ProposalRow.image_id))}


def _answerable(session: Session, round_id: int, annotator_id: int, overlap: int) -> list[int]:
    """Proposals of the round that are undecided and, with an overlap, not answered by this person."""
    waiting = queries.open_images(session, round_id)
    if overlap == 1 or not waiting:
        return [proposal for proposal, _ in waiting]
    voices = queries.voices(session, round_id, [image for _, image in waiting])
    return [proposal for proposal, image in waiting if annotator_id not in voices.get(image, {})]


def _with_voices(session: Session, round_id: int, waiting: Sequence[int], annotator_id: int) -> dict[int, int]:
    """How many others each proposal is with or has been answered by, nobody counted twice."""
    query = select(ProposalRow.id, ProposalRow.image_id).where(ProposalRow.id.in_(waiting))
    images = {row.image_id: row.id for row in session.execute(query)}
    people: dict[int, set[int]] = {proposal: set() for proposal in waiting}
    held = select(Lease.proposal_id, Lease.annotator_id)
    for row in session.execute(held.where(Lease.proposal_id.in_(waiting), Lease.expires_at > now())):
        people[row.proposal_id].add(row.annotator_id)
    for image, of_image in queries.voices(session, round_id, list(images)).items():
        people[images[image]].update(of_image)
    return {proposal: len(who - {annotator_id}) for proposal, who in people.items()}
