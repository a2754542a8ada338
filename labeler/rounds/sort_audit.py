"""What people say of images the model sorted: the batch drawn by lot, and how many errors that tells of.

The images are drawn without replacement from a known number, so the interval is the exact one of the hypergeometric
distribution (as Clopper and Pearson, "The use of confidence or fiducial limits", Biometrika 1934, for the binomial):
it needs no assumption about the model, and is a point once every image has been looked at.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from labeler.domain import Proposal
from labeler.rank.quality import CERTAINTY
from labeler.record import sorting
from labeler.record.sorting import Audited
from labeler.record.store import Session, Store
from labeler.record.tables import ModelVersion, SortRun

#: Why an image of the audit is before a person.
WHY = "sorted"


def proposals(store: Store, run_id: int) -> list[Proposal]:
    """The images of a run's audit that nobody has looked at, as they are put before an annotator."""
    with store.read() as session:
        return [
            Proposal(
                image.sha256, image.path, item.audit or 0, item.probability, item.uncertainty, item.label, image.id, WHY
            )
            for item, image in sorting.waiting(session, run_id)
        ]


def view(session: Session, run: SortRun) -> dict[str, Any]:
    """A run as `labeler sort` prints it: what it sorted, what to expect, what its audit says."""
    version = session.get_one(ModelVersion, run.model_version_id)
    done = run.planned - run.passed_over
    return {
        "run": run.id,
        "state": run.state,
        "model": version.name,
        "above": run.above,
        "pool": run.pool,
        "sorted": done,
        "by_class": sorting.by_class(session, run.id),
        "left": run.pool - done,
        "passed_over": run.passed_over,
        "expected_errors": dict(run.expected),
        "audit": estimate(sorting.audited(session, run.id), done),
        "undone": run.undone,
        "created_at": run.created_at.isoformat(timespec="seconds"),
        "undone_at": run.undone_at.isoformat(timespec="seconds") if run.undone_at is not None else None,
    }


def views(store: Store) -> list[dict[str, Any]]:
    """Every run, oldest first."""
    with store.read() as session:
        return [view(session, run) for run in sorting.every(session)]


def estimate(seen: Audited, of: int) -> dict[str, Any]:
    """The errors among the images of a run, from those of them that were drawn by lot and answered.

    Args:
        seen: what became of the audit.
        of: images the run sorted.

    Returns:
        ``right``, ``wrong``, ``unsure`` and ``waiting``; ``errors`` with ``expected``, ``low`` and ``high`` (images of
        the run, 90 %), and ``share`` with the same; both None before the first answer.
    """
    counts = {"right": seen.right, "wrong": seen.wrong, "unsure": seen.unsure, "waiting": seen.waiting}
    answered = seen.right + seen.wrong
    if not answered:
        return {**counts, "errors": None, "share": None}
    low, high = bounds(seen.wrong, answered, of)
    errors = {"expected": of * seen.wrong / answered, "low": float(low), "high": float(high)}
    return {**counts, "errors": errors, "share": {name: value / of for name, value in errors.items()}}


def bounds(wrong: int, drawn: int, of: int, certainty: float = CERTAINTY) -> tuple[int, int]:
    """Between which numbers the wrong ones among ``of`` images lie, when ``wrong`` of ``drawn`` by lot are wrong.

    Args:
        wrong: 0 <= wrong <= drawn; drawn: 1 <= drawn <= of.
    """
    tail = (1.0 - certainty) / 2.0
    least, most = wrong, of - (drawn - wrong)
    # Many wrong ones make few wrong draws unlikely, and the other way round: both tails are monotone.
    high = _last(least, most, lambda total: _up_to(wrong, drawn, total, of) > tail)
    low = most - _last(0, most - least, lambda less: _up_to(drawn - wrong, drawn, of - (most - less), of) > tail)
    return low, high


def _last(first: int, last: int, holds: Callable[[int], bool]) -> int:
    """The last number from ``first`` to ``last`` for which ``holds``, which it does for the first and stops once."""
    while first < last:
        middle = (first + last + 1) // 2
        if holds(middle):
            first = middle
        else:
            last = middle - 1
    return first


def _up_to(most: int, drawn: int, marked: int, of: int) -> float:
    """The chance that at most so many of ``drawn`` images are marked ones, of which there are ``marked`` among all."""
    least = max(0, drawn - (of - marked))
    total = _log_choose(of, drawn)
    return sum(
        math.exp(_log_choose(marked, k) + _log_choose(of - marked, drawn - k) - total)
        for k in range(least, min(most, marked, drawn) + 1)
    )


def _log_choose(n: int, k: int) -> float:
    return math.lgamma(n + 1) - math.lgamma(k + 1) - math.lgamma(n - k + 1)
