"""What the figures of the page are made from. Functions take a session, read only, and never commit."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session, aliased

from labeler.domain import AUDIT, Action, Split
from labeler.record import images
from labeler.record.tables import (
    Annotator,
    DecisionRow,
    Evaluation,
    Image,
    ModelVersion,
    Note,
    ProposalRow,
    Ranking,
    Round,
)

_REVIEWED = (Action.CONFIRM.value, Action.CORRECT.value, Action.SKIP.value)
#: Whose answers are somebody's opinion: not labels that came with a folder, nor what overlapping answers added up to.
_VOICES = ("person", "oracle")


# ------------------------------------------------------------------------------------------------------- models


@dataclass(frozen=True, slots=True)
class Measured:
    """A model version with its newest evaluation on a split."""

    name: str
    labelled: int
    backbone_key: str
    classes: Sequence[str]
    split: str
    metrics: Mapping[str, Any]


def measured(session: Session) -> list[Measured]:
    """Every evaluated model version, once for each split, oldest first."""
    newest = select(func.max(Evaluation.id)).group_by(Evaluation.model_version_id, Evaluation.split)
    query = select(
        ModelVersion.name,
        ModelVersion.labelled,
        ModelVersion.backbone_key,
        ModelVersion.classes,
        Evaluation.split,
        Evaluation.metrics,
    )
    query = query.join(Evaluation, Evaluation.model_version_id == ModelVersion.id).where(Evaluation.id.in_(newest))
    return [Measured(*row) for row in session.execute(query.order_by(ModelVersion.id, Evaluation.id))]


def version_before(session: Session, version: ModelVersion, labels: int) -> ModelVersion | None:
    """The newest model on the same backbone and classes that had learned from at least so many labels fewer."""
    query = select(ModelVersion).where(
        ModelVersion.id < version.id,
        ModelVersion.removed_at.is_(None),
        ModelVersion.kind == version.kind,
        ModelVersion.backbone_key == version.backbone_key,
        ModelVersion.labelled <= version.labelled - labels,
    )
    for found in session.scalars(query.order_by(ModelVersion.labelled.desc(), ModelVersion.id.desc()).limit(20)):
        if list(found.classes) == list(version.classes):
            return found
    return None


def forget_predictions(session: Session) -> None:
    """Take the images' predictions out of every evaluation on record: only the newest ones are ever looked at."""
    for row in session.scalars(select(Evaluation).order_by(Evaluation.id.desc()).limit(20)):
        if "predictions" in row.metrics:
            row.metrics = {name: value for name, value in row.metrics.items() if name != "predictions"}


def newest_predictions(session: Session) -> Evaluation | None:
    """The evaluation that kept what it said of single images."""
    for row in session.scalars(select(Evaluation).order_by(Evaluation.id.desc()).limit(20)):
        if row.metrics.get("predictions"):
            return row
    return None


def decided_since(session: Session, decision_id: int) -> set[int]:
    """Images with a decision after the one of that number."""
    return set(session.scalars(select(DecisionRow.image_id).where(DecisionRow.id > decision_id, ~DecisionRow.opinion)))


def audited(session: Session) -> set[int]:
    """Images that were put before somebody by lot, as the audit's share of a batch."""
    return set(session.scalars(select(ProposalRow.image_id).where(ProposalRow.why == AUDIT)))


def rankings(session: Session, limit: int) -> list[Ranking]:
    """The newest rankings, newest first."""
    return list(session.scalars(select(Ranking).order_by(Ranking.id.desc()).limit(limit)))


def rounds(session: Session, limit: int) -> list[tuple[Round, str | None, int | None, Mapping[str, Any] | None]]:
    """The newest rounds, newest first: each with the model it led to, that one's labels and its newest metrics."""
    newest = select(func.max(Evaluation.id)).where(Evaluation.model_version_id == ModelVersion.id)
    query = select(Round, ModelVersion.name, ModelVersion.labelled, Evaluation.metrics)
    query = query.outerjoin(ModelVersion, ModelVersion.id == Round.trained_version_id)
    query = query.outerjoin(Evaluation, Evaluation.id == newest.correlate(ModelVersion).scalar_subquery())
    return [
        (row[0], row[1], row[2], row[3]) for row in session.execute(query.order_by(Round.number.desc()).limit(limit))
    ]


# ------------------------------------------------------------------------------------------------------- images


def count_pool(session: Session) -> int:
    """Present images without a label."""
    return images.count(session, Image, Image.split == Split.UNLABELLED.value, ~Image.missing)


@dataclass(frozen=True, slots=True)
class Shown:
    """What the page needs to show an image."""

    image_id: int
    sha256: str
    path: str
    label: str | None


def shown(session: Session, image_ids: Sequence[int]) -> dict[int, Shown]:
    """The given images as far as their files are there."""
    found: dict[int, Shown] = {}
    for block in images.blocks(image_ids):
        query = select(Image.id, Image.sha256, Image.path, Image.label).where(Image.id.in_(block), ~Image.missing)
        found |= {row.id: Shown(*row) for row in session.execute(query)}
    return found


@dataclass(frozen=True, slots=True)
class Flag:
    """An image that somebody marked, and what was written beside it."""

    image: Shown
    annotator: str
    text: str
    at: dt.datetime


def flags(session: Session, limit: int) -> list[Flag]:
    """The newest notes, newest first."""
    query = select(Image.id, Image.sha256, Image.path, Image.label, Annotator.name, Note.text, Note.created_at)
    query = query.join(Image, Image.id == Note.image_id).join(Annotator, Annotator.id == Note.annotator_id)
    rows = session.execute(query.where(~Image.missing).order_by(Note.id.desc()).limit(limit))
    return [Flag(Shown(row[0], row[1], row[2], row[3]), row[4], row[5], row[6]) for row in rows]


# ------------------------------------------------------------------------------------------------------- people


@dataclass(slots=True)
class Person:
    """What one annotator has said of images; of each image the last word counts.

    ``confirm``, ``correct`` and ``skip`` add up to the images looked at. Times are in milliseconds on screen, of every
    answer that has one; ``timed`` counts these.
    """

    name: str
    kind: str
    by_class: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    timed: int = 0
    total_ms: int = 0
    median_ms: int | None = None
    p90_ms: int | None = None
    last_seen: dt.datetime | None = None


def people(session: Session) -> dict[int, Person]:
    """Everybody who has answered, by the number in the record."""
    query = select(Annotator.id, Annotator.name, Annotator.kind).where(Annotator.kind.in_(_VOICES))
    everybody = {row.id: Person(row.name, row.kind) for row in session.execute(query.order_by(Annotator.name))}
    answer = aliased(DecisionRow, _last_words().subquery())
    counted = select(answer.annotator_id, answer.action, answer.label, func.count())
    for who, action, label, n in session.execute(counted.group_by(answer.annotator_id, answer.action, answer.label)):
        everybody[who].actions[action] += n
        if label is not None:
            everybody[who].by_class[label] += n
    _add_times(session, everybody)
    return {who: person for who, person in everybody.items() if person.last_seen is not None}


def _add_times(session: Session, everybody: Mapping[int, Person]) -> None:
    seen = select(DecisionRow.annotator_id, func.max(DecisionRow.created_at)).group_by(DecisionRow.annotator_id)
    for who, at in session.execute(seen.where(DecisionRow.annotator_id.in_(everybody))):
        everybody[who].last_seen = at
    mine = (DecisionRow.action.in_(_REVIEWED), DecisionRow.elapsed_ms.is_not(None))
    sums = select(DecisionRow.annotator_id, func.count(), func.sum(DecisionRow.elapsed_ms)).where(*mine)
    for who, n, total in session.execute(sums.group_by(DecisionRow.annotator_id)):
        if who in everybody:
            person = everybody[who]
            person.timed, person.total_ms = n, int(total or 0)
            ordered = select(DecisionRow.elapsed_ms).where(*mine, DecisionRow.annotator_id == who)
            ordered = ordered.order_by(DecisionRow.elapsed_ms).limit(1)
            person.median_ms = session.scalar(ordered.offset((n - 1) // 2))
            person.p90_ms = session.scalar(ordered.offset(-(-9 * n // 10) - 1))  # nearest rank


def _last_words() -> Select[DecisionRow]:
    """Of each annotator and image the last answer that the same person did not take back; opinions count too."""
    undo = aliased(DecisionRow)
    kept = select(func.max(DecisionRow.id).label("id")).join(Annotator, Annotator.id == DecisionRow.annotator_id)
    taken_back = select(undo.id).where(
        undo.supersedes == DecisionRow.id,
        undo.action == Action.UNDO.value,
        undo.annotator_id == DecisionRow.annotator_id,
    )
    kept = kept.where(DecisionRow.action.in_(_REVIEWED), Annotator.kind.in_(_VOICES), ~taken_back.exists())
    return select(DecisionRow).where(DecisionRow.id.in_(kept.group_by(DecisionRow.annotator_id, DecisionRow.image_id)))


@dataclass(frozen=True, slots=True)
class Voices:
    """Images that at least two people have labelled.

    Attributes:
        answers: (annotator, image, label), one per person and image.
        final: image -> its label now, where it has one.
    """

    answers: Sequence[tuple[str, int, str]]
    final: Mapping[int, str]


def voices(session: Session, limit: int) -> Voices:
    """What different people said of the same images, of the ``limit`` newest images that more than one labelled."""
    answer = aliased(DecisionRow, _last_words().where(DecisionRow.label.is_not(None)).subquery())
    shared = select(answer.image_id).group_by(answer.image_id).having(func.count() > 1)
    ids = list(session.scalars(shared.order_by(answer.image_id.desc()).limit(limit)))
    answers: list[tuple[str, int, str]] = []
    final: dict[int, str] = {}
    for block in images.blocks(ids):
        query = select(Annotator.name, answer.image_id, answer.label).join(
            Annotator, Annotator.id == answer.annotator_id
        )
        query = query.where(answer.image_id.in_(block)).order_by(answer.image_id, Annotator.name)
        answers += [(row[0], row[1], row[2] or "") for row in session.execute(query)]
        labels = select(Image.id, Image.label).where(Image.id.in_(block), Image.label.is_not(None))
        final |= {row[0]: row[1] or "" for row in session.execute(labels)}
    return Voices(answers, final)
