"""Model versions and their evaluations. Functions take a session and never commit.

A version's row is part of the record and stays for ever: rounds, rankings and evaluations point at it. What can go is
its file; ``removed_at`` says since when.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from labeler.domain import UNFINISHED_STATES
from labeler.record.tables import Evaluation, ModelVersion, Ranking, Round, now

#: Where a version that a person went back to keeps how far the decisions had come at that moment.
CHOSEN_AT = "chosen_at_decision"


def in_use(session: Session) -> ModelVersion | None:
    return session.scalar(select(ModelVersion).where(ModelVersion.in_use).limit(1))


def use(session: Session, version: ModelVersion) -> None:
    """Make ``version`` the one that proposes and predicts."""
    session.execute(update(ModelVersion).where(ModelVersion.in_use).values(in_use=False))
    version.in_use = True
    session.flush()


def choose(session: Session, version: ModelVersion, last_decision_id: int) -> None:
    """A person's choice: use ``version``, and let nothing that was learned from today's decisions take its place."""
    version.settings = {**version.settings, CHOSEN_AT: last_decision_id}
    use(session, version)


def take_over(session: Session, version: ModelVersion, began_with: int | None) -> bool:
    """Use a version that was just trained, unless another took its place while it was under training.

    That is one a person went back to, or one on a backbone that was refreshed meanwhile.

    Args:
        version: the new one.
        began_with: id of the version in use when the training began; None when there was none.

    Returns:
        Whether ``version`` is in use now.
    """
    current = in_use(session)
    other = current if current is not None and current.id != began_with else None
    if other is not None and (
        learned_up_to(other) >= version.last_decision_id or other.backbone_key != version.backbone_key
    ):
        return False
    use(session, version)
    return True


def learned_up_to(version: ModelVersion) -> int:
    """The newest decision after which there is a reason to train anew.

    That is the last one the version was trained on; for a version that a person went back to, the last one there was
    when he did so: he has seen those labels and does not want what was learned from them.
    """
    return max(version.last_decision_id, int(version.settings.get(CHOSEN_AT, 0)))


def by_name(session: Session, name: str) -> ModelVersion | None:
    return session.scalar(select(ModelVersion).where(ModelVersion.name == name))


def newest_of_kind(session: Session, kind: str) -> ModelVersion | None:
    """The newest version of a kind, removed or not."""
    query = select(ModelVersion).where(ModelVersion.kind == kind)
    return session.scalar(query.order_by(ModelVersion.id.desc()).limit(1))


def latest_metrics(session: Session, version_id: int) -> Mapping[str, Any] | None:
    """The newest evaluation of a model, without what it said of each image."""
    query = select(Evaluation.metrics).where(Evaluation.model_version_id == version_id)
    found = session.scalar(query.order_by(Evaluation.id.desc()).limit(1))
    return _figures(found) if found is not None else None


def newest_evaluations(session: Session) -> dict[int, dict[str, Any]]:
    """Version -> the figures of its newest evaluation, for all versions in one statement."""
    newest = select(func.max(Evaluation.id)).group_by(Evaluation.model_version_id)
    query = select(Evaluation.model_version_id, Evaluation.metrics).where(Evaluation.id.in_(newest))
    return {version: _figures(metrics) for version, metrics in session.execute(query)}


def evaluations(session: Session, version_id: int) -> list[Evaluation]:
    """Every evaluation of a version, oldest first."""
    query = select(Evaluation).where(Evaluation.model_version_id == version_id)
    return list(session.scalars(query.order_by(Evaluation.id)))


def _figures(metrics: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in metrics.items() if name != "predictions"}


def next_name(session: Session) -> str:
    """The name of the version to come: m0001, m0002, ..."""
    return f"m{(session.scalar(select(func.max(ModelVersion.id))) or 0) + 1:04d}"


def every(session: Session, *, removed: bool = False) -> list[ModelVersion]:
    """Every version that has its file, oldest first; with ``removed`` also those whose file was taken away."""
    query = select(ModelVersion).order_by(ModelVersion.id)
    return list(session.scalars(query if removed else query.where(ModelVersion.removed_at.is_(None))))


def count_present(session: Session) -> int:
    """How many versions have their file."""
    query = select(func.count()).select_from(ModelVersion).where(ModelVersion.removed_at.is_(None))
    return session.scalar(query) or 0


def mark_removed(session: Session, versions: Iterable[ModelVersion]) -> None:
    """Note that the files of these versions are of no use any more."""
    moment = now()
    for version in versions:
        version.removed_at = moment
    session.flush()


def rounds_by(session: Session, version_id: int) -> tuple[list[int], list[int]]:
    """The numbers of the rounds a version proposed, and of those that led to it."""
    proposed = select(Round.number).where(Round.model_version_id == version_id).order_by(Round.number)
    led = select(Round.number).where(Round.trained_version_id == version_id).order_by(Round.number)
    return list(session.scalars(proposed)), list(session.scalars(led))


def needed_now(session: Session) -> dict[int, list[str]]:
    """Version -> what points at it and is not over: unfinished rounds, the ranking in use, the newest round."""
    uses: dict[int, list[str]] = {}
    unfinished = [state.value for state in UNFINISHED_STATES]
    for row in session.scalars(select(Round).where(Round.state.in_(unfinished)).order_by(Round.number)):
        for version in {row.model_version_id, row.trained_version_id} - {None}:
            uses.setdefault(version or 0, []).append(f"round {row.number} is {row.state}")
    ranking = session.scalar(select(Ranking).order_by(Ranking.id.desc()).limit(1))
    if ranking is not None and ranking.model_version_id is not None:
        uses.setdefault(ranking.model_version_id, []).append("the ranking in use was made with it")
    return uses


def newest_trained(session: Session) -> int | None:
    """The version the newest round led to that led to any."""
    query = select(Round.trained_version_id).where(Round.trained_version_id.is_not(None))
    return session.scalar(query.order_by(Round.number.desc()).limit(1))
