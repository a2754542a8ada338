"""The runs of `labeler sort`: what each planned, how far it has come, what people said of it since. Functions take a
session and never commit.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import bindparam, delete, func, insert, select, update
from sqlalchemy.orm import Session

from labeler.domain import OPEN_STATES, Action, SortState, Split
from labeler.record import images, leases, queries
from labeler.record.tables import DecisionRow, Image, ModelVersion, ProposalRow, Round, SortItem, SortRun, now

#: A run in one of these is not over: the next start goes on with it, or takes it off the record.
UNFINISHED = (SortState.PLANNING, SortState.SORTING, SortState.UNDOING)

# --------------------------------------------------------------------------------------------------------- runs


def unfinished(session: Session) -> list[SortRun]:
    """Runs that were begun and are not over, oldest first."""
    values = [state.value for state in UNFINISHED]
    return list(session.scalars(select(SortRun).where(SortRun.state.in_(values)).order_by(SortRun.id)))


def every(session: Session) -> list[SortRun]:
    """Every run, oldest first."""
    return list(session.scalars(select(SortRun).order_by(SortRun.id)))


def newest(session: Session) -> SortRun | None:
    return session.scalar(select(SortRun).order_by(SortRun.id.desc()).limit(1))


def newest_done(session: Session) -> SortRun | None:
    """The newest run that was not taken back: what an undo without a number means."""
    done = select(SortRun).where(SortRun.state == SortState.DONE.value)
    return session.scalar(done.order_by(SortRun.id.desc()).limit(1))


def discard(session: Session, run: SortRun) -> None:
    """Take a run that was cut off while it was planned off the record: nothing was sorted by it."""
    session.execute(delete(SortItem).where(SortItem.run_id == run.id))
    session.execute(delete(SortRun).where(SortRun.id == run.id))


def add_items(session: Session, items: Sequence[Mapping[str, Any]]) -> None:
    """Write part of a plan down; each with ``run_id``, ``position``, ``image_id`` and what the model says of it."""
    given = {"passed_over": False, "audit": None}
    session.execute(insert(SortItem), [{**given, **item} for item in items])


def advance(session: Session, run: SortRun, state: SortState, **values: Any) -> None:
    """Note a run's next state."""
    session.execute(update(SortRun).where(SortRun.id == run.id).values(state=state.value, **values))
    session.expire(run)


# ------------------------------------------------------------------------------------------------------- images


def with_people(session: Session) -> set[int]:
    """Images that wait in an open round or are with somebody: the model leaves them to people."""
    proposed = select(ProposalRow.image_id).join(Round, Round.id == ProposalRow.round_id)
    proposed = proposed.where(Round.state.in_([state.value for state in OPEN_STATES]))
    return set(session.scalars(proposed)) | leases.leased_images(session)


def items_after(session: Session, run_id: int, position: int, limit: int) -> list[SortItem]:
    """The next items of a run in order."""
    query = select(SortItem).where(SortItem.run_id == run_id, SortItem.position > position)
    return list(session.scalars(query.order_by(SortItem.position).limit(limit)))


def images_of(session: Session, items: Sequence[SortItem]) -> dict[int, Image]:
    """The images that items are about."""
    found: dict[int, Image] = {}
    for block in images.blocks([item.image_id for item in items]):
        found |= {image.id: image for image in session.scalars(select(Image).where(Image.id.in_(block)))}
    return found


def pass_over(session: Session, items: Sequence[SortItem]) -> None:
    """Note that these were planned and not sorted."""
    if items:
        ids = [item.id for item in items]
        session.execute(update(SortItem).where(SortItem.id.in_(ids)).values(passed_over=True))


_DECIDE = insert(DecisionRow).returning(DecisionRow.image_id, DecisionRow.id)


def decide(session: Session, rows: Sequence[Mapping[str, Any]]) -> dict[int, int]:
    """Append decisions of a run; returns image -> number of its decision."""
    if not rows:
        return {}
    moment = now()
    given = {"created_at": moment, "opinion": False, "round_id": None, "elapsed_ms": None}
    return {row.image_id: row.id for row in session.execute(_DECIDE, [{**given, **row} for row in rows])}


def still_sorted(session: Session, run_id: int, image_ids: Sequence[int]) -> dict[int, DecisionRow]:
    """Those of the images that lie where the run put them: nobody has decided them since."""
    in_force = queries.decisions_in_force(session, image_ids)
    return {image: row for image, row in in_force.items() if is_of(row, run_id)}


def is_of(row: DecisionRow, run_id: int) -> bool:
    """Whether a decision is one by which that run sorted an image."""
    return row.action == Action.SORT.value and row.sort_run_id == run_id


# -------------------------------------------------------------------------------------------------------- audit


def sorted_ids(session: Session, run_id: int) -> list[int]:
    """The items of a run that were sorted by it, in order."""
    query = select(SortItem.id).where(SortItem.run_id == run_id, ~SortItem.passed_over)
    return list(session.scalars(query.order_by(SortItem.position)))


def draw(session: Session, items: Sequence[int]) -> None:
    """Number these items as the run's audit, in the order given."""
    rows = [{"number": number, "item": item} for number, item in enumerate(items, start=1)]
    if rows:
        change = update(SortItem).where(SortItem.id == bindparam("item")).values(audit=bindparam("number"))
        session.connection().execute(change, rows)


_WAITING = (
    select(SortItem, Image)
    .join(SortRun, SortRun.id == SortItem.run_id)
    .join(Image, Image.id == SortItem.image_id)
    .where(SortItem.audit.is_not(None), SortRun.state == SortState.DONE.value)
    .where(Image.split == Split.SORTED.value, ~Image.missing, Image.label == SortItem.label)
    .order_by(SortItem.run_id, SortItem.audit)
)


def waiting(session: Session, run_id: int | None = None) -> list[tuple[SortItem, Image]]:
    """Images drawn for a person that nobody has looked at yet, of one run or of all, each once."""
    query = _WAITING if run_id is None else _WAITING.where(SortItem.run_id == run_id)
    found = {image.id: (item, image) for item, image in session.execute(query)}
    return list(found.values())


def count_waiting(session: Session) -> int:
    """How many images drawn for a person nobody has looked at yet."""
    query = select(func.count(func.distinct(_WAITING.subquery().c.image_id)))
    return session.scalar(query) or 0


@dataclass(frozen=True, slots=True)
class Audited:
    """What became of a run's audit, by the decisions that count: ``right`` and ``wrong`` are people's labels that
    are and are not the model's, ``unsure`` were skipped, ``waiting`` nobody has looked at. What was taken back unseen
    is in none of them."""

    right: int = 0
    wrong: int = 0
    unsure: int = 0
    waiting: int = 0


def audited(session: Session, run_id: int) -> Audited:
    """Count a run's audit."""
    query = select(SortItem.image_id, SortItem.label).where(SortItem.run_id == run_id, SortItem.audit.is_not(None))
    said: dict[int, str] = {row.image_id: row.label for row in session.execute(query)}
    counts = {"right": 0, "wrong": 0, "unsure": 0, "waiting": 0}
    in_force = queries.decisions_in_force(session, list(said))
    for image, row in in_force.items():
        counts[_verdict(row, said[image])] += 1
    return Audited(**counts)


def _verdict(row: DecisionRow, label: str) -> str:
    if row.action == Action.SORT.value:
        return "waiting"
    if row.label is None:
        return "unsure"
    return "right" if row.label == label else "wrong"


# ------------------------------------------------------------------------------------------------------- counts


def by_class(session: Session, run_id: int) -> dict[str, int]:
    """How many images a run sorted into each class."""
    query = select(SortItem.label, func.count()).where(SortItem.run_id == run_id, ~SortItem.passed_over)
    return {row[0]: row[1] for row in session.execute(query.group_by(SortItem.label).order_by(SortItem.label))}


def said_of(session: Session, rows: Collection[DecisionRow]) -> dict[int, tuple[SortItem, str]]:
    """What the model said of images that it sorted: image -> its item, and the model's name.

    Args:
        rows: the decisions that count; those of people are passed over.
    """
    wanted = {row.image_id: row.sort_run_id for row in rows if row.action == Action.SORT.value}
    found: dict[int, tuple[SortItem, str]] = {}
    query = select(SortItem, ModelVersion.name).join(SortRun, SortRun.id == SortItem.run_id)
    query = query.join(ModelVersion, ModelVersion.id == SortRun.model_version_id)
    for block in images.blocks(list(wanted)):
        for item, name in session.execute(query.where(SortItem.image_id.in_(block))):
            if item.run_id == wanted[item.image_id]:
                found[item.image_id] = (item, name)
    return found
