"""The labels in force with where each came from, for taking them out. Functions take a session and never commit."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import select
from sqlalchemy.orm import Session

from labeler.domain import ImageRef
from labeler.record import images, queries, sorting
from labeler.record.tables import Annotator, DecisionRow, Image, ModelVersion, ProposalRow, Round


@dataclass(frozen=True, slots=True)
class Labelled:
    """One labelled image.

    Attributes:
        path: workspace-relative POSIX path; where it was last seen when ``missing``.
        annotator: whose decision counts: a person, the oracle, the agreement of several, ``files``, or ``machine``
            where the model sorted the image itself (split ``sorted``).
        decided_at: UTC; None where no decision is on record.
        round: number of the round it was decided in, None for labels that came with the files.
        probability, uncertainty, predicted, model: what which model said when the image was proposed in that round,
            or sorted; None before a first model and outside rounds.
        elapsed_ms: milliseconds the image was on screen, when known.
    """

    path: str
    sha256: str
    split: str
    label: str
    missing: bool
    annotator: str | None
    decided_at: dt.datetime | None
    round: int | None
    probability: float | None
    uncertainty: float | None
    predicted: str | None
    model: str | None
    elapsed_ms: int | None


def in_force(session: Session) -> list[Labelled]:
    """Every labelled image with the decision its label comes from, ordered by SHA-256."""
    rows = list(session.scalars(select(Image).where(Image.label.is_not(None)).order_by(Image.sha256)))
    people = {row.id: row.name for row in session.scalars(select(Annotator))}
    return [labelled for block in images.blocks(rows) for labelled in _block(session, list(block), people)]


def _block(session: Session, rows: list[Image], people: dict[int, str]) -> Iterator[Labelled]:
    decisions = queries.decisions_in_force(session, [row.id for row in rows])
    proposed = _proposed(session, decisions)
    by_model = sorting.said_of(session, decisions.values())
    for row in rows:
        decision = decisions.get(row.id)
        number, proposal, model = proposed.get(row.id, (None, None, None))
        item = None
        if row.id in by_model:
            item, model = by_model[row.id]
        said = proposal or item
        yield Labelled(
            path=row.path,
            sha256=row.sha256,
            split=row.split,
            label=row.label or "",
            missing=row.missing,
            annotator=people[decision.annotator_id] if decision is not None else None,
            decided_at=decision.created_at if decision is not None else None,
            round=number,
            probability=said.probability if said is not None else None,
            uncertainty=said.uncertainty if said is not None else None,
            predicted=proposal.predicted if proposal is not None else item.label if item is not None else None,
            model=model,
            elapsed_ms=decision.elapsed_ms if decision is not None else None,
        )


def _proposed(
    session: Session, decisions: dict[int, DecisionRow]
) -> dict[int, tuple[int, ProposalRow | None, str | None]]:
    """Image -> number of the round it was decided in, its proposal there, and the model that made it."""
    query = select(Round.id, Round.number, ModelVersion.name)
    query = query.outerjoin(ModelVersion, ModelVersion.id == Round.model_version_id)
    wanted = {decision.round_id for decision in decisions.values() if decision.round_id is not None}
    rounds = {row[0]: (row[1], row[2]) for row in session.execute(query.where(Round.id.in_(wanted)))}
    rows = select(ProposalRow).where(ProposalRow.image_id.in_(decisions), ProposalRow.round_id.in_(wanted))
    proposals = {(row.round_id, row.image_id): row for row in session.scalars(rows)}
    return {
        image: (rounds[decision.round_id][0], proposals.get((decision.round_id, image)), rounds[decision.round_id][1])
        for image, decision in decisions.items()
        if decision.round_id in rounds
    }


def as_decided(session: Session, ranges: Sequence[Sequence[int]]) -> list[ImageRef]:
    """The images of decisions, given as inclusive ranges of numbers, with the labels of these; ordered by SHA-256."""
    wanted = [number for first, last in ranges for number in range(first, last + 1)]
    query = select(Image.id, Image.sha256, Image.path, DecisionRow.label)
    query = query.join(DecisionRow, DecisionRow.image_id == Image.id)
    found = [
        ImageRef(*row)
        for block in images.blocks(wanted)
        for row in session.execute(query.where(DecisionRow.id.in_(block)))
    ]
    return sorted(found, key=lambda ref: ref.sha256)


def near_duplicates_that_differ(session: Session) -> list[list[ImageRef]]:
    """Labelled images that look the same and bear more than one label, in groups ordered by their first image.

    Sorted ones are among them: where a person and the model differ about one picture, one of them is wrong.
    """
    query = select(Image.id, Image.sha256, Image.path, Image.label, Image.near_duplicate_of)
    twins = {row[0]: (ImageRef(*row[:4]), row[4]) for row in session.execute(query.where(~Image.missing)).all()}
    groups: dict[int, list[ImageRef]] = {}
    for ref, first in twins.values():
        while first in twins and twins[first][1] is not None:
            first = twins[first][1]
        if ref.label is not None:
            groups.setdefault(first or ref.id, []).append(ref)
    differing = [group for group in groups.values() if len({ref.label for ref in group}) > 1]
    return sorted((sorted(group, key=lambda ref: ref.sha256) for group in differing), key=lambda g: g[0].sha256)
