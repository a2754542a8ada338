"""What the record says, in the forms the shell and the page show. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from labeler.domain import OPEN_STATES, RoundResult, RoundState, Split
from labeler.record import images, jobs, models, queries
from labeler.record.jobs import JobView
from labeler.record.store import Session, Store
from labeler.record.tables import ModelVersion, Round
from labeler.settings import Settings


@dataclass(frozen=True, slots=True)
class BatchItem:
    """One image of the batch as the page holds it; ``action`` and ``label`` are of the decision in force, if any."""

    image_id: int
    sha256: str
    rank: int
    probability: float | None
    uncertainty: float | None
    predicted: str | None
    why: str
    action: str | None
    label: str | None


@dataclass(frozen=True, slots=True)
class RoundSummary:
    """The last round that is over."""

    number: int
    labelled: int
    decisions: dict[str, int]
    metrics: dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Everything the labelling page needs at once; ``round`` is None while none is open."""

    round: int | None
    state: str | None
    k: int
    strategy: str
    pool: int
    labelled: int
    classes: tuple[str, ...]
    items: tuple[BatchItem, ...]
    model: str | None
    job: JobView | None
    previous: RoundSummary | None

    @property
    def ready(self) -> bool:
        return self.round is not None


def batch(store: Store, settings: Settings) -> Batch:
    """The open round's batch with every image's state."""
    with store.read() as session:
        row = queries.unfinished_round(session)
        is_open = row is not None and RoundState(row.state) in OPEN_STATES
        pool, labelled = totals(session)
        model = models.in_use(session)
        job = jobs.last(session)
        return Batch(
            round=row.number if row is not None and is_open else None,
            state=row.state if row is not None else None,
            k=row.k if row is not None else settings.k,
            strategy=row.strategy if row is not None else settings.strategy,
            pool=pool,
            labelled=labelled,
            classes=settings.classes,
            items=tuple(_items(session, row)) if row is not None and is_open else (),
            model=model.name if model is not None else None,
            job=jobs.view(job) if job is not None else None,
            previous=_previous(session),
        )


def _items(session: Session, row: Round) -> list[BatchItem]:
    proposals = queries.proposals(session, row.id)
    in_force = queries.decisions_in_force(session, [proposal.image_id for proposal in proposals])
    items = []
    for p in proposals:
        decision = in_force.get(p.image_id)
        counts = decision is not None and decision.round_id == row.id
        items.append(
            BatchItem(
                image_id=p.image_id,
                sha256=p.sha256,
                rank=p.rank,
                probability=p.probability,
                uncertainty=p.uncertainty,
                predicted=p.predicted,
                why=p.why,
                action=decision.action if decision is not None and counts else None,
                label=decision.label if decision is not None and counts else None,
            )
        )
    return items


def _previous(session: Session) -> RoundSummary | None:
    row = queries.last_evaluated(session)
    if row is None:
        return None
    decisions = queries.decision_counts(session, row.id)
    return RoundSummary(row.number, decisions["confirm"] + decisions["correct"], decisions, round_metrics(session, row))


def totals(session: Session) -> tuple[int, int]:
    """Present images without a label, and present images that a model may train on."""
    counts = images.counts(session)
    pool = sum(counts[Split.UNLABELLED.value].values())
    return pool, sum(number for label, number in counts[Split.TRAIN.value].items() if label is not None)


def round_metrics(session: Session, row: Round) -> dict[str, Any] | None:
    """The evaluation a round led to; of an open round, that of the model which proposed it."""
    version = row.trained_version_id or row.model_version_id
    metrics = models.latest_metrics(session, version) if version is not None else None
    return dict(metrics) if metrics is not None else None


def round_result(store: Store, round_id: int, notes: Sequence[str] = ()) -> RoundResult:
    """A round in the form of ``labeler round --json``."""
    with store.read() as session:
        row = session.get_one(Round, round_id)
        pool, labelled = totals(session)
        version = session.get(ModelVersion, row.trained_version_id or row.model_version_id or 0)
        return RoundResult(
            round=row.number,
            state=row.state,
            k=row.k,
            strategy=row.strategy,
            backbone=row.backbone,
            pool=pool,
            labelled=labelled,
            proposals=queries.original_proposals(session, row.id),
            decisions=queries.decision_counts(session, row.id),
            metrics=round_metrics(session, row),
            timing={**row.timing, "total": sum(row.timing.values())},
            model=version.name if version is not None else None,
            notes=tuple(notes),
        )


def rounds(session: Session) -> list[dict[str, Any]]:
    """Every round, oldest first, with its counts and metrics."""
    rows = []
    labelled = 0
    for row in queries.every_round(session):
        decisions = queries.decision_counts(session, row.id)
        version = session.get(ModelVersion, row.trained_version_id) if row.trained_version_id else None
        labelled = version.labelled if version is not None else labelled
        rows.append(
            {
                "round": row.number,
                "state": row.state,
                "k": row.k,
                "strategy": row.strategy,
                "labelled": labelled,
                "decisions": decisions,
                "model": version.name if version is not None else None,
                "metrics": round_metrics(session, row) if version is not None else None,
                "timing": dict(row.timing),
            }
        )
    return rows


def model_view(session: Session, version: ModelVersion) -> dict[str, Any]:
    """A model version as the shell and the page show it."""
    metrics = models.latest_metrics(session, version.id)
    return {
        "name": version.name,
        "kind": version.kind,
        "in_use": version.in_use,
        "backbone": version.backbone,
        "labelled": version.labelled,
        "created_at": version.created_at.isoformat(timespec="seconds"),
        "digest": version.digest,
        "metrics": dict(metrics) if metrics is not None else None,
    }


def overview(store: Store, settings: Settings) -> dict[str, Any]:
    """For the Model tab: counts, class balance, rounds, the model in use."""
    with store.read() as session:
        return {**_counts(session, settings), "rounds": rounds(session)}


def _counts(session: Session, settings: Settings) -> dict[str, Any]:
    pool, labelled = totals(session)
    counts = images.counts(session)
    model = models.in_use(session)
    return {
        "classes": list(settings.classes),
        "pool": pool,
        "labelled": labelled,
        "counts": {split: {label or "": n for label, n in row.items()} for split, row in counts.items()},
        "model": model_view(session, model) if model is not None else None,
    }


def status(store: Store, settings: Settings) -> dict[str, Any]:
    """What is where, for ``labeler status``."""
    with store.read() as session:
        row = queries.unfinished_round(session)
        waiting = queries.undecided(session, row.id) if row is not None else 0
        return {
            **_counts(session, settings),
            "round": None
            if row is None
            else {"round": row.number, "state": row.state, "k": row.k, "undecided": waiting},
            "rounds_done": queries.count_evaluated(session),
            "missing": images.count_missing(session),
            "near_duplicates": images.count_near_duplicates(session),
            "quarantined": images.count_quarantined(session),
            "pending_moves": queries.count_pending(session),
        }
