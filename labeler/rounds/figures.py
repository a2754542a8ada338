"""The figures of the page, as JSON-able values. Everything that needs vectors was computed by the worker's evaluation;
here it is read and put together.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any

from labeler.domain import JobState, UnknownName
from labeler.rank import stopping
from labeler.record import jobs, models, statistics
from labeler.record.statistics import Measured, Shown
from labeler.record.store import Session, Store
from labeler.record.tables import Ranking
from labeler.retrain import evaluate
from labeler.rounds import views
from labeler.rounds.handout import FINETUNE_JOB
from labeler.rounds.networks import FINETUNE
from labeler.rounds.version_files import CONTEST
from labeler.settings import Settings
from labeler.workspace import WorkspacePaths

ROUNDS = 100
POINTS = 200  # of the curve; of more models every so many-th is drawn
RANKINGS = 50  # among which the one before is looked for
IMAGES = 60
FLAGS = 200

#: Written by whoever simulates: ``labeler simulate --json`` of images like these. Its curves named ``random`` are drawn
#: beside the workspace's own.
REFERENCE = "reference.json"


def model(store: Store, settings: Settings, paths: WorkspacePaths) -> dict[str, Any]:
    """For the Model tab."""
    with store.read() as session:
        measured = [m for m in statistics.measured(session) if tuple(m.classes) == settings.classes]
        found = views.counted(session, settings)
        in_use = found["model"]["name"] if found["model"] is not None else None
        mine = [m for m in measured if m.name == in_use]
        return {
            **found,
            "curve": {**curve(measured), "random": reference(paths)},
            "estimate": (mine[-1].metrics.get("estimate") or None) if mine else None,
            "confusion": confusion(mine),
            "reliability": reliability(mine),
            "uncertainty": uncertainty(statistics.rankings(session, RANKINGS)),
            "rounds": rounds(session),
            "refreshes": refreshes(session),
            "stopping": stop(measured, found["pool"]),
        }


def refreshes(session: Session) -> dict[str, Any]:
    """The tries to refresh the backbone, newest first, with how their contests ended; and the one under way."""
    job = jobs.last(session, FINETUNE_JOB)
    busy = job is not None and job.state in (JobState.QUEUED.value, JobState.RUNNING.value)
    tries = []
    for version in reversed(models.every(session, removed=True)):
        said = version.settings.get(CONTEST)
        if version.kind != FINETUNE or not said:
            continue
        state = "adopted" if said["adopted"] else "won" if said["won"] else "lost"
        shown = {name: said[name] for name in ("champion", "challenger", "reason")}
        tries.append({"model": version.name, "labelled": version.labelled, "state": state, **shown})
    under_way = {"progress": job.progress, "message": job.message} if job is not None and busy else None
    return {"under_way": under_way, "tries": tries}


# -------------------------------------------------------------------------------------------------------- curve


def curve(measured: Sequence[Measured]) -> dict[str, Any]:
    """Accuracy and F1 by number of labels: on the test set where there is one, else as estimated.

    Returns:
        ``split`` and ``points``, by rising labels: labels, model, accuracy, f1 and, where images were tested,
        ``intervals`` {accuracy: [low, high], f1: [low, high]}.
    """
    split = _split(measured)
    by_labels = {m.labelled: m for m in measured if m.split == split and m.metrics.get("accuracy") is not None}
    chosen = [by_labels[labels] for labels in sorted(by_labels)]
    if len(chosen) > POINTS:
        step = (len(chosen) - 1) / (POINTS - 1)
        chosen = [chosen[round(number * step)] for number in range(POINTS)]
    return {"split": split, "points": [_point(m) for m in chosen]}


def _split(measured: Sequence[Measured]) -> str | None:
    splits = [m.split for m in measured]
    return "test" if "test" in splits else (splits[-1] if splits else None)


def _point(m: Measured) -> dict[str, Any]:
    table = m.metrics.get("confusion")
    intervals = m.metrics.get("intervals") or (evaluate.intervals(table) if table else None)
    return {
        "labels": m.labelled,
        "model": m.name,
        "n": m.metrics.get("n"),
        "accuracy": m.metrics["accuracy"],
        "f1": m.metrics.get("f1"),
        "intervals": intervals,
    }


def reference(paths: WorkspacePaths) -> list[dict[str, float]] | None:
    """Mean accuracy in random order by labels, where somebody left a simulation of it; None where nobody did."""
    try:
        content = json.loads((paths.db / REFERENCE).read_text(encoding="utf-8"))
        curves = [c for c in content["curves"] if c["strategy"] == "random"]
        pairs = [(int(n), float(a)) for c in curves for n, a in zip(c["labels"], c["accuracy"], strict=True)]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    by_labels: dict[int, list[float]] = {}
    for labels, accuracy in pairs:
        by_labels.setdefault(labels, []).append(accuracy)
    return [{"labels": n, "accuracy": sum(a) / len(a)} for n, a in sorted(by_labels.items())] or None


# --------------------------------------------------------------------------------------------------- the mistakes


def confusion(mine: Sequence[Measured]) -> dict[str, Any] | None:
    """The table of the model in use; without a test set that of the labelled images, each held out.

    Returns:
        ``basis`` ("test" or "held out"), ``n`` and ``table`` (rows are the truth); None before there is one.
    """
    basis, metrics = _judged(mine)
    return None if metrics is None else {"basis": basis, "n": metrics["n"], "table": metrics["confusion"]}


def reliability(mine: Sequence[Measured]) -> dict[str, Any] | None:
    """How sure the model in use was and how often it was right, with 95 % bounds; None before it is known."""
    basis, metrics = _judged(mine)
    if metrics is None or not metrics.get("reliability"):
        return None
    bins = []
    for one in metrics["reliability"]:
        low, high = evaluate.wilson(int(one["hits"]), int(one["n"]))
        bins.append({**one, "low": low, "high": high})
    return {"basis": basis, "n": metrics["n"], "ece": metrics["ece"], "bins": bins}


def _judged(mine: Sequence[Measured]) -> tuple[str, Mapping[str, Any] | None]:
    for m in reversed(mine):
        if m.split == _split(mine) and m.metrics.get("confusion"):
            return m.split, m.metrics
        if m.metrics.get("held_out"):
            return "held out", m.metrics["held_out"]
    return "", None


def cell(store: Store, classes: Sequence[str], true: str, predicted: str) -> dict[str, Any]:
    """The images of one cell of the table, the surest first.

    Returns:
        ``total`` and ``images`` (60 at most): image_id, sha256, name, label, predicted, probability.

    Raises:
        UnknownName: no such class.
    """
    numbers = {name: number for number, name in enumerate(classes)}
    for name in (true, predicted):
        if name not in numbers:
            raise UnknownName(f"no class {name!r} in this workspace", "reload the page")
    with store.read() as session:
        kept = statistics.newest_predictions(session)
        rows = kept.metrics["predictions"] if kept is not None else []
        behind = [(row[0], row[3]) for row in rows if (row[1], row[2]) == (numbers[true], numbers[predicted])]
        behind.sort(key=lambda pair: -pair[1])
        found = statistics.shown(session, [image for image, _ in behind[:IMAGES]])
    listed = [
        {**_image(found[image]), "label": true, "predicted": predicted, "probability": probability}
        for image, probability in behind[:IMAGES]
        if image in found
    ]
    return {"total": len(behind), "images": listed}


def flagged(store: Store) -> list[dict[str, Any]]:
    """The images people marked, newest mark first."""
    with store.read() as session:
        marks = statistics.flags(session, FLAGS)
    return [
        {
            **_image(mark.image),
            "label": mark.image.label,
            "annotator": mark.annotator,
            "note": mark.text,
            "at": mark.at.isoformat(timespec="seconds"),
        }
        for mark in marks
    ]


def _image(image: Shown) -> dict[str, Any]:
    return {"image_id": image.image_id, "sha256": image.sha256, "name": PurePosixPath(image.path).name}


# --------------------------------------------------------------------------------------------- rounds, pool, end


def uncertainty(rankings: Sequence[Ranking]) -> dict[str, Any] | None:
    """The pool by uncertainty (images in equal bins from 0 to 1) as the newest two models saw it.

    Returns:
        ``now`` and ``before`` (None while there is but one), each ``labels`` and ``images``; None before a ranking.
    """
    filled = [row for row in rankings if sum(row.histogram)]
    if not filled:
        return None
    now = filled[0]
    # An order renewed without a new label (images were imported) is no other view of the pool.
    earlier = [row for row in filled if row.labelled < now.labelled and len(row.histogram) == len(now.histogram)]
    drawn = [{"labels": row.labelled, "images": list(row.histogram)} for row in (now, *earlier[:1])]
    return {"now": drawn[0], "before": drawn[1] if earlier else None}


def rounds(session: Session) -> list[dict[str, Any]]:
    """The newest rounds, newest first."""
    rows = []
    for row, name, labelled, metrics in statistics.rounds(session, ROUNDS):
        shown = metrics or {}
        figures = {key: shown.get(key) for key in ("accuracy", "f1", "roc_auc", "ece", "estimated")}
        rows.append(
            {
                "round": row.number,
                "state": row.state,
                "k": row.k,
                "strategy": row.strategy,
                "labelled": labelled,
                "model": name,
                "metrics": figures if metrics is not None else None,
            }
        )
    return rows


def stop(measured: Sequence[Measured], pool: int) -> dict[str, Any]:
    """What the stopping rule says: the verdict's fields, and ``expected_errors`` among the images still in the pool."""
    by_version: dict[str, Measured] = {m.name: m for m in measured if "pool" in m.metrics}
    turns = []
    for m in by_version.values():
        seen = m.metrics["pool"]
        turns.append(stopping.Turn(m.labelled, seen.get("agreement"), seen.get("kappa")))
    said = stopping.verdict(turns, pool)
    last = list(by_version.values())[-1].metrics["pool"] if by_version else {}
    share = last["expected_errors"] / last["pool"] if last.get("pool") else None
    return {
        "state": said.state,
        "reason": said.reason,
        "turns": said.turns,
        "of": stopping.TURNS,
        "agreement": said.agreement,
        "threshold": stopping.AGREEMENT,
        "needed": said.needed,
        "told_in": said.told_in,
        "apart": stopping.LABELS_APART,
        "expected_errors": None if share is None else share * pool,
        "pool": pool,
        "sentence": stopping.in_words(said),
    }


def advice(store: Store, settings: Settings) -> dict[str, Any]:
    """What the stopping rule says now, for the shell: see :func:`stop`."""
    with store.read() as session:
        measured = [m for m in statistics.measured(session) if tuple(m.classes) == settings.classes]
        return stop(measured, statistics.count_pool(session))
