"""Model versions and their evaluations. Functions take a session and never commit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from labeler.record.tables import Evaluation, ModelVersion


def in_use(session: Session) -> ModelVersion | None:
    return session.scalar(select(ModelVersion).where(ModelVersion.in_use).limit(1))


def use(session: Session, version: ModelVersion) -> None:
    """Make ``version`` the one that proposes and predicts."""
    session.execute(update(ModelVersion).where(ModelVersion.in_use).values(in_use=False))
    version.in_use = True
    session.flush()


def latest_metrics(session: Session, version_id: int) -> Mapping[str, Any] | None:
    """The newest evaluation of a model, without what it said of each image."""
    query = select(Evaluation.metrics).where(Evaluation.model_version_id == version_id)
    found = session.scalar(query.order_by(Evaluation.id.desc()).limit(1))
    return {name: value for name, value in found.items() if name != "predictions"} if found is not None else None


def next_name(session: Session) -> str:
    """The name of the version to come: m0001, m0002, ..."""
    return f"m{(session.scalar(select(func.max(ModelVersion.id))) or 0) + 1:04d}"


def every(session: Session) -> list[ModelVersion]:
    """Every version, oldest first."""
    return list(session.scalars(select(ModelVersion).order_by(ModelVersion.id)))
