"""The models a workspace has had, as the shell shows them. Reads only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from labeler.record import models
from labeler.record.store import Store
from labeler.record.tables import ModelVersion
from labeler.rounds import version_files, versions
from labeler.rounds.version_files import CONTEST, DECISIONS, HISTORY, NETWORK
from labeler.workspace import WorkspacePaths


def listed(store: Store, *, removed: bool = False) -> list[dict[str, Any]]:
    """Every version, oldest first, as JSON-able rows; with ``removed`` also those whose file was taken away."""
    with store.read() as session:
        rows = models.every(session, removed=True)
        figures = models.newest_evaluations(session)
    names = {row.id: row.name for row in rows}
    return [_row(row, names, figures.get(row.id, {})) for row in rows if removed or row.removed_at is None]


def _row(version: ModelVersion, names: Mapping[int, str], figures: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": version.name,
        "kind": version.kind,
        "parent": names.get(version.parent_id or 0),
        "labelled": version.labelled,
        "created_at": version.created_at.isoformat(timespec="seconds"),
        "accuracy": figures.get("accuracy"),
        "split": figures.get("split"),
        "estimated": bool(figures.get("estimated", False)),
        "backbone": version.backbone,
        "in_use": version.in_use,
        "removed_at": version.removed_at.isoformat(timespec="seconds") if version.removed_at is not None else None,
    }


def details(store: Store, paths: WorkspacePaths, name: str) -> dict[str, Any]:
    """Everything about a version, as JSON-able values.

    ``decisions`` are inclusive ranges of the decisions it was trained on, None for versions made before they were
    kept: then it is every one in force up to ``last_decision``. ``file_state`` is sound, damaged, missing or removed.

    Raises:
        UnknownName: no such version.
    """
    with store.read() as session:
        version = versions.named(session, name)
        rows = {row.id: row for row in models.every(session, removed=True)}
        evaluated = models.evaluations(session, version.id)
        proposed, led = models.rounds_by(session, version.id)
        figures = models.latest_metrics(session, version.id)
    names = {row.id: row.name for row in rows.values()}
    known = (NETWORK, CONTEST, DECISIONS, HISTORY, models.CHOSEN_AT)
    return {
        **_row(version, names, figures or {}),
        "ancestors": [row.name for row in _ancestors(version, rows)],
        "children": [row.name for row in rows.values() if row.parent_id == version.id],
        "classes": list(version.classes),
        "decisions": version.settings.get(DECISIONS),
        "last_decision": version.last_decision_id,
        "chosen_at_decision": version.settings.get(models.CHOSEN_AT),
        "seed": version.seed,
        "settings": {key: value for key, value in version.settings.items() if key not in known},
        "backbone_key": version.backbone_key,
        "file": version.path,
        "file_state": version_files.state(paths, version),
        "digest": version.digest,
        "network": version.settings.get(NETWORK),
        "contest": version.settings.get(CONTEST),
        "history": version.settings.get(HISTORY),
        "metrics": dict(figures) if figures is not None else None,
        "evaluations": [
            {
                "split": row.split,
                "n": row.n,
                "accuracy": row.metrics.get("accuracy"),
                "created_at": row.created_at.isoformat(timespec="seconds"),
            }
            for row in evaluated
        ],
        "proposed_rounds": proposed,
        "trained_in_rounds": led,
    }


def _ancestors(version: ModelVersion, rows: Mapping[int, ModelVersion]) -> list[ModelVersion]:
    """The parent, its parent and so on; a row can only point at an older one, so this ends."""
    found: list[ModelVersion] = []
    at = rows.get(version.parent_id or 0)
    while at is not None:
        found.append(at)
        at = rows.get(at.parent_id or 0)
    return found


def ranges(given: Iterable[Sequence[int]] | None, last: int) -> str:
    """The decisions of a training set in words: ``1-50, 53-90``, or how far they went."""
    if given is None:
        return f"decisions up to {last}"
    return ", ".join(f"{first}-{end}" if first != end else f"{first}" for first, end in given) or "none"
