"""Decisions, rounds and their proposals. Functions take a session and never commit: the
caller owns the transaction.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import ColumnElement, SQLColumnExpression, bindparam, func, insert, select, update
from sqlalchemy.orm import Session, aliased

from labeler.domain import (
    OPEN_STATES,
    TRANSITIONS,
    UNFINISHED_STATES,
    Action,
    IllegalTransition,
    Proposal,
    RoundState,
)
from labeler.record import images
from labeler.record.tables import Annotator, DecisionRow, Image, ProposalRow, Round, now

#: What a reviewer says of an image.
REVIEWED = (Action.CONFIRM.value, Action.CORRECT.value, Action.SKIP.value)

# ---------------------------------------------------------------------------------------------------- decisions


# Statements of the way from an answer to its acknowledgement are built once: composing one anew costs several times
# what SQLite needs to carry it out.

_ANNOTATOR = select(Annotator).where(Annotator.name == bindparam("name"))


def find_annotator(session: Session, name: str) -> Annotator | None:
    return session.scalar(_ANNOTATOR, {"name": name})


def annotator(session: Session, name: str, kind: str = "person") -> Annotator:
    """The annotator of that name, made when there is none."""
    found = find_annotator(session, name)
    if found is None:
        found = Annotator(name=name, kind=kind)
        session.add(found)
        session.flush()
    return found


_NEWEST = (
    select(func.max(DecisionRow.id))
    .where(DecisionRow.image_id.in_(bindparam("images", expanding=True)), ~DecisionRow.opinion)
    .group_by(DecisionRow.image_id)
)
_BY_ID = select(DecisionRow).where(DecisionRow.id.in_(bindparam("ids", expanding=True)))


def decisions_in_force(session: Session, image_ids: Sequence[int]) -> dict[int, DecisionRow]:
    """For each image the decision that counts now: the last one, or what an UNDO went back to. May be a SKIP.

    Opinions are passed over: they do not decide.
    """
    in_force: dict[int, DecisionRow] = {}
    undone: dict[int, int] = {}
    for block in images.blocks(image_ids):
        newest = session.connection().scalars(_NEWEST, {"images": block}).all()
        if not newest:  # most images that are asked about have no decision yet, and rows are dear to ask for
            continue
        for row in session.scalars(_BY_ID, {"ids": newest}):
            if row.action == Action.UNDO.value:
                undone[row.image_id] = row.supersedes or 0
            else:
                in_force[row.image_id] = row
    for block in images.blocks(list(undone.values())):
        before = select(DecisionRow.supersedes).where(DecisionRow.id.in_(block), DecisionRow.supersedes.is_not(None))
        for row in session.scalars(select(DecisionRow).where(DecisionRow.id.in_(before))):
            in_force[row.image_id] = row
    return in_force


_OPERATIONS = select(DecisionRow.id).where(DecisionRow.op_id.in_(bindparam("operations", expanding=True)))


def known_operations(session: Session, op_ids: Sequence[str]) -> dict[str, DecisionRow]:
    """The decisions that are on record under these op_ids."""
    rows: dict[str, DecisionRow] = {}
    for block in images.blocks(op_ids):
        found = session.connection().scalars(_OPERATIONS, {"operations": block}).all()
        if found:
            rows |= {row.op_id: row for row in session.scalars(_BY_ID, {"ids": found})}
    return rows


_LAST_DECISION = select(func.max(DecisionRow.id))


def last_decision_id(session: Session) -> int:
    """The number of the newest decision, 0 before the first: with it a training set is named exactly."""
    return session.connection().scalar(_LAST_DECISION) or 0


_DECIDE = insert(DecisionRow).returning(DecisionRow.id)


def add_decision(session: Session, **values: Any) -> DecisionRow:
    """Append a decision; the row that is returned is a copy, no part of the session."""
    values = {"created_at": now(), **values}
    number = session.connection().execute(_DECIDE, values).scalar_one()
    return DecisionRow(id=number, **values)


def newest_in_force(session: Session, *, up_to: int | None = None) -> DecisionRow | None:
    """The newest decision of a reviewer that still counts: what the next undo takes back.

    Args:
        up_to: the newest that may be meant.
    """
    return next(iter(newest_decisions(session, limit=1, up_to=up_to)), None)


def newest_decisions(
    session: Session,
    *,
    limit: int,
    annotator_id: int | None = None,
    action: Action | None = None,
    up_to: int | None = None,
) -> list[DecisionRow]:
    """The newest decisions of reviewers, or of one of them, that still count; newest first."""
    wanted = REVIEWED if action is None else (action.value,)
    query = select(DecisionRow).where(DecisionRow.action.in_(wanted), ~DecisionRow.opinion)
    if annotator_id is not None:
        query = query.where(DecisionRow.annotator_id == annotator_id)
    if up_to is not None:
        query = query.where(DecisionRow.id <= up_to)
    query = query.order_by(DecisionRow.id.desc())
    found: list[DecisionRow] = []
    # Not two by two for a single one: after many undos the newest that counts lies far back.
    page = max(2 * limit, 100)
    rows = session.scalars(query.limit(page)).all()
    while rows and len(found) < limit:
        in_force = decisions_in_force(session, sorted({row.image_id for row in rows}))
        found += [row for row in rows if in_force.get(row.image_id) is row]
        rows = session.scalars(query.where(DecisionRow.id < rows[-1].id).limit(page)).all() if len(rows) == page else []
    return found[:limit]


def voices(session: Session, round_id: int, image_ids: Sequence[int]) -> dict[int, dict[int, DecisionRow]]:
    """Of each image the opinions given in a round: annotator -> that person's last, unless taken back."""
    found: dict[int, dict[int, DecisionRow]] = {}
    query = select(DecisionRow).where(DecisionRow.opinion, DecisionRow.round_id == round_id)
    for row in session.scalars(query.where(DecisionRow.image_id.in_(image_ids)).order_by(DecisionRow.id)):
        of_image = found.setdefault(row.image_id, {})
        if row.action == Action.UNDO.value:
            of_image.pop(row.annotator_id, None)
        else:
            of_image[row.annotator_id] = row
    return found


def others_since(session: Session, decision_id: int, annotator_id: int) -> bool:
    """Whether somebody else has answered after the decision of that number."""
    query = select(DecisionRow.id).where(DecisionRow.id > decision_id, DecisionRow.annotator_id != annotator_id)
    return session.scalar(query.limit(1)) is not None


def last_decided_at(session: Session, annotator_id: int) -> dt.datetime | None:
    """When the annotator last answered."""
    query = select(DecisionRow.created_at).where(DecisionRow.annotator_id == annotator_id)
    return session.scalar(query.order_by(DecisionRow.id.desc()).limit(1))


def count_since(session: Session, decision_id: int) -> int:
    """How many decisions that count were made after the one of that number."""
    query = select(func.count()).select_from(DecisionRow)
    return session.scalar(query.where(DecisionRow.id > decision_id, ~DecisionRow.opinion)) or 0


# ------------------------------------------------------------------------------------------------------- rounds


def unfinished_round(session: Session) -> Round | None:
    """The oldest round that is not over yet. While several people label there may be more."""
    states = [state.value for state in UNFINISHED_STATES]
    return session.scalar(select(Round).where(Round.state.in_(states)).order_by(Round.number).limit(1))


def rounds_in(session: Session, states: Sequence[RoundState]) -> list[Round]:
    """The rounds in one of the given states, oldest first."""
    values = [state.value for state in states]
    return list(session.scalars(select(Round).where(Round.state.in_(values)).order_by(Round.number)))


_OPEN_ROUNDS = (
    select(Round.id, Round.strategy)
    .where(Round.state.in_([state.value for state in OPEN_STATES]), Round.number > bindparam("after"))
    .order_by(Round.number)
)


def open_rounds(session: Session, *, after: int) -> list[tuple[int, str]]:
    """Row and strategy of the rounds that wait for answers, oldest first; of those numbered above ``after``."""
    return [(row.id, row.strategy) for row in session.connection().execute(_OPEN_ROUNDS, {"after": after})]


_ROUND_BY_NUMBER = select(Round).where(Round.number == bindparam("number"))


def round_by_number(session: Session, number: int) -> Round | None:
    return session.scalar(_ROUND_BY_NUMBER, {"number": number})


def every_round(session: Session) -> list[Round]:
    """Every round, oldest first."""
    return list(session.scalars(select(Round).order_by(Round.number)))


def last_evaluated(session: Session) -> Round | None:
    """The newest round that is over."""
    done = select(Round).where(Round.state == RoundState.EVALUATED.value)
    return session.scalar(done.order_by(Round.number.desc()).limit(1))


def count_evaluated(session: Session) -> int:
    return images.count(session, Round, Round.state == RoundState.EVALUATED.value)


def last_round(session: Session) -> Round | None:
    return session.scalar(select(Round).order_by(Round.number.desc()).limit(1))


def advance(session: Session, round_id: int, source: RoundState, target: RoundState) -> None:
    """Move a round from one state to the next by compare-and-swap.

    Raises:
        IllegalTransition: that step does not exist, or the round is not in ``source`` (any more).
    """
    if target not in TRANSITIONS[source]:
        raise IllegalTransition(f"a round cannot go from {source} to {target}")
    change = update(Round).where(Round.id == round_id, Round.state == source.value)
    result = session.execute(change.values(state=target.value, updated_at=now()))
    if getattr(result, "rowcount", 0) != 1:
        raise IllegalTransition(f"round {round_id} is not in state {source}", "somebody else moved it; look again")


def proposals(session: Session, round_id: int) -> list[Proposal]:
    """A round's batch in rank order, each with the path its file has now."""
    query = select(ProposalRow, Image.sha256, Image.path).join(Image, Image.id == ProposalRow.image_id)
    return [
        Proposal(sha, path, row.rank, row.probability, row.uncertainty, row.predicted, row.image_id, row.why)
        for row, sha, path in session.execute(query.where(ProposalRow.round_id == round_id).order_by(ProposalRow.rank))
    ]


def original_proposals(session: Session, round_id: int) -> list[Proposal]:
    """A round's batch in rank order, each with the path it had when it was proposed."""
    query = select(ProposalRow, Image.sha256).join(Image, Image.id == ProposalRow.image_id)
    return [
        Proposal(sha, row.path, row.rank, row.probability, row.uncertainty, row.predicted, row.image_id, row.why)
        for row, sha in session.execute(query.where(ProposalRow.round_id == round_id).order_by(ProposalRow.rank))
    ]


def decided(round_id: int | SQLColumnExpression[int], image_id: SQLColumnExpression[int]) -> ColumnElement[bool]:
    """Whether an image has a decision of that round which nobody took back: the round waits for it no longer."""
    undo = aliased(DecisionRow)
    taken_back = select(undo.id).where(
        undo.supersedes == DecisionRow.id, undo.action == Action.UNDO.value, ~undo.opinion
    )
    made = select(DecisionRow.id).where(
        DecisionRow.image_id == image_id,
        DecisionRow.round_id == round_id,
        DecisionRow.action.in_(REVIEWED),
        ~DecisionRow.opinion,
        ~taken_back.exists(),
    )
    return made.exists()


def images_of(session: Session, proposal_ids: Collection[int]) -> list[int]:
    """The images these proposals are about."""
    return list(session.scalars(select(ProposalRow.image_id).where(ProposalRow.id.in_(proposal_ids))))


def proposals_of(
    session: Session, wanted: Collection[tuple[int, int]]
) -> dict[tuple[int | None, int], tuple[int, ProposalRow]]:
    """What rounds said of images: (round's row, image) -> (round's number, proposal)."""
    query = select(Round.number, ProposalRow).join(Round, Round.id == ProposalRow.round_id)
    query = query.where(ProposalRow.image_id.in_([image for _, image in wanted]))
    query = query.where(ProposalRow.round_id.in_({of_round for of_round, _ in wanted}))
    return {(row.round_id, row.image_id): (number, row) for number, row in session.execute(query)}


def newest_proposal(session: Session, image_id: int) -> tuple[ProposalRow, str] | None:
    """What the newest round that proposed an image said of it, and that round's strategy."""
    query = select(ProposalRow, Round.strategy).join(Round, Round.id == ProposalRow.round_id)
    row = session.execute(query.where(ProposalRow.image_id == image_id).order_by(Round.number.desc()).limit(1)).first()
    return (row[0], row[1]) if row is not None else None


_OPEN_IMAGES = (
    select(ProposalRow.id, ProposalRow.image_id)
    .join(Image, Image.id == ProposalRow.image_id)
    .where(ProposalRow.round_id == bindparam("round"), ~Image.missing)
    .where(~decided(ProposalRow.round_id, ProposalRow.image_id))
    .order_by(ProposalRow.rank)
)


def open_images(session: Session, round_id: int) -> list[tuple[int, int]]:
    """Proposal and image of what a round waits for, in rank order; a vanished file waits for none."""
    return [(row[0], row[1]) for row in session.connection().execute(_OPEN_IMAGES, {"round": round_id})]


def waiting(session: Session, round_id: int) -> list[Proposal]:
    """The images of a round's batch that wait for a decision."""
    left = {image for _, image in open_images(session, round_id)}
    return [proposal for proposal in proposals(session, round_id) if proposal.image_id in left]


_UNDECIDED = (
    select(func.count())
    .select_from(ProposalRow)
    .join(Image, Image.id == ProposalRow.image_id)
    .where(ProposalRow.round_id == bindparam("round"), ~Image.missing)
    .where(~decided(ProposalRow.round_id, ProposalRow.image_id))
)


def undecided(session: Session, round_id: int) -> int:
    """How many images of a round's batch wait for a decision; asked after every one, so it is one statement."""
    return session.connection().scalar(_UNDECIDED, {"round": round_id}) or 0


_PREDICTIONS = select(ProposalRow.image_id, ProposalRow.predicted).where(
    ProposalRow.round_id == bindparam("round"), ProposalRow.image_id.in_(bindparam("images", expanding=True))
)


def predictions(session: Session, round_id: int, image_ids: Sequence[int]) -> dict[int, str | None]:
    """What the model said of these images of a round when it proposed them."""
    rows = session.connection().execute(_PREDICTIONS, {"round": round_id, "images": image_ids})
    return {row.image_id: row.predicted for row in rows}


def decision_counts(session: Session, round_id: int) -> dict[str, int]:
    """Confirmed, corrected and skipped images of a round, by the decision in force."""
    query = select(ProposalRow.image_id).where(ProposalRow.round_id == round_id)
    tally = {Action.CONFIRM.value: 0, Action.CORRECT.value: 0, Action.SKIP.value: 0}
    for row in decisions_in_force(session, list(session.scalars(query))).values():
        if row.round_id == round_id:
            tally[row.action] += 1
    return tally
