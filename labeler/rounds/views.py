"""What the record says, in the forms the shell and the page show. Reads only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from labeler.domain import LabelerError, RoundResult, Split
from labeler.record import images, models, moves, queries, sorting
from labeler.record.store import Session, Store
from labeler.record.tables import ModelVersion, Round
from labeler.rounds import sort_audit
from labeler.settings import Settings


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


def trained(store: Store, notes: Sequence[str]) -> dict[str, Any]:
    """The model in use in the form of ``labeler train --json``."""
    with store.read() as session:
        version = models.in_use(session)
        if version is None:
            raise LabelerError("there is no trained model", "label images of two classes")
        metrics = models.latest_metrics(session, version.id)
        return {
            "model": version.name,
            "kind": version.kind,
            "labelled": version.labelled,
            "metrics": dict(metrics) if metrics is not None else None,
            "notes": list(notes),
        }


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
        return {**counted(session, settings), "rounds": rounds(session)}


def counted(session: Session, settings: Settings) -> dict[str, Any]:
    """What lies where by split and class, and the model in use: the head of every overview."""
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
        run = sorting.newest(session)
        return {
            **counted(session, settings),
            "round": None
            if row is None
            else {"round": row.number, "state": row.state, "k": row.k, "undecided": waiting},
            "rounds_done": queries.count_evaluated(session),
            "missing": images.count_missing(session),
            "near_duplicates": images.count_near_duplicates(session),
            "quarantined": images.count_quarantined(session),
            "pending_moves": moves.count_pending(session),
            "sort": sort_audit.view(session, run) if run is not None else None,
        }
