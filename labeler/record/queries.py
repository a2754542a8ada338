"""Decisions, the moves they ask for, rounds and their proposals. Functions take a session and never commit: the
caller owns the transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from labeler.domain import (
    TRANSITIONS,
    UNFINISHED_STATES,
    Action,
    IllegalTransition,
    MoveState,
    Proposal,
    RoundState,
)
from labeler.record import images
from labeler.record.tables import Annotator, DecisionRow, Image, MoveRow, ProposalRow, Round, now

# ---------------------------------------------------------------------------------------------------- decisions


def annotator(session: Session, name: str, kind: str = "person") -> Annotator:
    """The annotator of that name, made when there is none."""
    found = session.scalar(select(Annotator).where(Annotator.name == name))
    if found is None:
        found = Annotator(name=name, kind=kind)
        session.add(found)
        session.flush()
    return found


def decisions_in_force(session: Session, image_ids: Sequence[int]) -> dict[int, DecisionRow]:
    """For each image the decision that counts now: the last one, or what an UNDO went back to. May be a SKIP."""
    in_force: dict[int, DecisionRow] = {}
    undone: dict[int, int] = {}
    for block in images.blocks(image_ids):
        newest = select(func.max(DecisionRow.id)).where(DecisionRow.image_id.in_(block)).group_by(DecisionRow.image_id)
        for row in session.scalars(select(DecisionRow).where(DecisionRow.id.in_(newest))):
            if row.action == Action.UNDO.value:
                undone[row.image_id] = row.supersedes or 0
            else:
                in_force[row.image_id] = row
    for block in images.blocks(list(undone.values())):
        before = select(DecisionRow.supersedes).where(DecisionRow.id.in_(block), DecisionRow.supersedes.is_not(None))
        for row in session.scalars(select(DecisionRow).where(DecisionRow.id.in_(before))):
            in_force[row.image_id] = row
    return in_force


def known_operations(session: Session, op_ids: Sequence[str]) -> dict[str, DecisionRow]:
    """The decisions that are on record under these op_ids."""
    rows: dict[str, DecisionRow] = {}
    for block in images.blocks(op_ids):
        for row in session.scalars(select(DecisionRow).where(DecisionRow.op_id.in_(block))):
            rows[row.op_id] = row
    return rows


def last_decision_id(session: Session) -> int:
    """The number of the newest decision, 0 before the first: with it a training set is named exactly."""
    return session.scalar(select(func.max(DecisionRow.id))) or 0


def newest_in_force(session: Session) -> DecisionRow | None:
    """The newest decision of a reviewer that still counts: what the next undo takes back."""
    reviewers = [Action.CONFIRM.value, Action.CORRECT.value, Action.SKIP.value]
    query = select(DecisionRow).where(DecisionRow.action.in_(reviewers)).order_by(DecisionRow.id.desc())
    for rows in session.scalars(query).partitions(200):
        in_force = decisions_in_force(session, sorted({row.image_id for row in rows}))
        for row in rows:
            if in_force.get(row.image_id) is row:
                return row
    return None


# -------------------------------------------------------------------------------------------------------- moves


@dataclass(frozen=True, slots=True)
class PendingMove:
    """A journalled move that is not known to be done, with what is needed to carry it out."""

    id: int
    image_id: int
    sha256: str
    source: str
    folder: str
    file_name: str


def pending_moves(session: Session, limit: int = 1000) -> list[PendingMove]:
    """The oldest pending moves, at most one per image: a second one starts where the first ends."""
    first = select(func.min(MoveRow.id)).where(MoveRow.state == MoveState.PENDING.value).group_by(MoveRow.image_id)
    query = select(MoveRow.id, MoveRow.image_id, Image.sha256, Image.path, MoveRow.folder, MoveRow.file_name)
    query = query.join(Image, Image.id == MoveRow.image_id).where(MoveRow.id.in_(first)).order_by(MoveRow.id)
    return [PendingMove(*row) for row in session.execute(query.limit(limit))]


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


def moves_done(session: Session, moved: Sequence[tuple[PendingMove, str]]) -> None:
    """Close moves: each file lies at its final path now, durably."""
    if not moved:
        return
    closed = {"state": MoveState.DONE.value, "done_at": now(), "error": None}
    session.execute(update(MoveRow), [{"id": move.id, "final_path": path, **closed} for move, path in moved])
    images.set_paths(session, {move.image_id: path for move, path in moved})


def move_failed(session: Session, move: PendingMove, error: str, *, vanished: bool) -> None:
    """Leave a move pending and say why; a vanished file makes its image missing, the rows stay."""
    session.execute(update(MoveRow).where(MoveRow.id == move.id).values(error=error))
    if vanished:
        images.set_missing(session, [move.image_id], True)


# ------------------------------------------------------------------------------------------------------- rounds


def unfinished_round(session: Session) -> Round | None:
    """The round that is not over yet; there is never more than one."""
    states = [state.value for state in UNFINISHED_STATES]
    return session.scalar(select(Round).where(Round.state.in_(states)).order_by(Round.number).limit(1))


def round_by_number(session: Session, number: int) -> Round | None:
    return session.scalar(select(Round).where(Round.number == number))


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


def waiting(session: Session, round_id: int) -> list[Proposal]:
    """The images of a round's batch without a decision of that round in force; a vanished file waits for none."""
    batch = proposals(session, round_id)
    ids = [proposal.image_id for proposal in batch]
    in_force = decisions_in_force(session, ids)
    missing = set(session.scalars(select(Image.id).where(Image.id.in_(ids), Image.missing)))
    return [
        proposal
        for proposal in batch
        if proposal.image_id not in missing
        and (proposal.image_id not in in_force or in_force[proposal.image_id].round_id != round_id)
    ]


def undecided(session: Session, round_id: int) -> int:
    """How many images of a round's batch wait for a decision.

    Asked after every decision, so it reads four columns instead of whole rows, as :func:`waiting` does.
    """
    batch = select(ProposalRow.image_id).join(Image, Image.id == ProposalRow.image_id)
    ids = set(session.scalars(batch.where(ProposalRow.round_id == round_id, ~Image.missing)))
    newest = select(func.max(DecisionRow.id)).where(DecisionRow.image_id.in_(ids)).group_by(DecisionRow.image_id)
    columns = select(DecisionRow.image_id, DecisionRow.action, DecisionRow.round_id, DecisionRow.supersedes)
    decided, undone = set(), []
    for image, action, of_round, supersedes in session.execute(columns.where(DecisionRow.id.in_(newest))):
        if action == Action.UNDO.value:
            undone.append(supersedes)
        elif of_round == round_id:
            decided.add(image)
    if undone:
        before = select(DecisionRow.supersedes).where(DecisionRow.id.in_(undone), DecisionRow.supersedes.is_not(None))
        in_force = select(DecisionRow.image_id).where(DecisionRow.id.in_(before), DecisionRow.round_id == round_id)
        decided.update(session.scalars(in_force))
    return len(ids - decided)


def predictions(session: Session, round_id: int, image_ids: Sequence[int]) -> dict[int, str | None]:
    """What the model said of these images of a round when it proposed them."""
    query = select(ProposalRow.image_id, ProposalRow.predicted)
    query = query.where(ProposalRow.round_id == round_id, ProposalRow.image_id.in_(image_ids))
    return {row.image_id: row.predicted for row in session.execute(query)}


def decision_counts(session: Session, round_id: int) -> dict[str, int]:
    """Confirmed, corrected and skipped images of a round, by the decision in force."""
    query = select(ProposalRow.image_id).where(ProposalRow.round_id == round_id)
    tally = {Action.CONFIRM.value: 0, Action.CORRECT.value: 0, Action.SKIP.value: 0}
    for row in decisions_in_force(session, list(session.scalars(query))).values():
        if row.round_id == round_id:
            tally[row.action] += 1
    return tally
