"""Who labelled what, how fast, and how far people agree.

The coefficients come from libraries (Cohen's kappa from scikit-learn, Krippendorff's alpha from NLTK). Loading them
takes 150 MB and two seconds, too much for a web server that needs them now and then: a process of their own computes
them and gives everything back.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from labeler.domain import Action, LabelerError
from labeler.record import queries, statistics
from labeler.record.statistics import Person, Voices
from labeler.record.store import Store

IMAGES = 2_000  # labelled by several people; the newest so many are compared
LIMIT_S = 120.0

Answers = Sequence[tuple[str, int, str]]


class AgreementError(LabelerError):
    """The coefficients could not be computed."""


def team(store: Store, viewer: str, *, everyone: bool) -> dict[str, Any]:
    """For the Team tab: who labelled what and how fast.

    Args:
        viewer: who asks.
        everyone: False shows the viewer alone, beside the totals.

    Returns:
        ``people`` and ``total`` (labels, images looked at, people).
    """
    with store.read() as session:
        everybody = list(statistics.people(session).values())
    rows = [_person(person, viewer) for person in everybody]
    return {
        "people": [row for row in rows if everyone or row["me"]],
        "total": {"people": len(rows), "labels": sum(row["labels"] for row in rows)},
        "everyone": everyone,
    }


def _person(person: Person, viewer: str) -> dict[str, Any]:
    labels = person.actions[Action.CONFIRM.value] + person.actions[Action.CORRECT.value]
    seen = labels + person.actions[Action.SKIP.value]
    shares = {
        action.value: person.actions[action.value] / seen if seen else None
        for action in (Action.CONFIRM, Action.CORRECT, Action.SKIP)
    }
    return {
        "name": person.name,
        "kind": person.kind,
        "me": person.name == viewer,
        "labels": labels,
        "by_class": dict(person.by_class),
        **shares,
        "median_ms": person.median_ms,
        "p90_ms": person.p90_ms,
        "per_minute": 60_000 * person.timed / person.total_ms if person.total_ms else None,
        "last_seen": person.last_seen.isoformat(timespec="seconds") if person.last_seen is not None else None,
    }


def together(store: Store, viewer: str, *, everyone: bool) -> dict[str, Any] | None:
    """How far people agree on images that several of them labelled; None where there is none.

    Args:
        everyone: False keeps the others' names and figures back.

    Returns:
        ``images``, ``alpha`` (Krippendorff, nominal; None where it is not defined), ``people`` (with the label that
        counts: images, agreement, kappa) and ``pairs`` (a, b, images, agreement, kappa).

    Raises:
        AgreementError: the process that computes them failed.
    """
    figures = _kept.of(store)
    if figures is None or everyone:
        return figures
    own = [row for row in figures["people"] if row["name"] == viewer]
    return {**figures, "people": own, "pairs": []}


class _Kept:
    """The last figures, until another decision is made; one process at a time, however many people look."""

    def __init__(self) -> None:
        self._turn = threading.Lock()
        self._key: tuple[str, int] | None = None
        self._figures: dict[str, Any] | None = None

    def of(self, store: Store) -> dict[str, Any] | None:
        with self._turn:
            with store.read() as session:
                key = (store.url, queries.last_decision_id(session))
                found = statistics.voices(session, IMAGES) if key != self._key else None
            if found is not None:
                self._figures = _apart(found) if found.answers else None
                self._key = key
            return self._figures


_kept = _Kept()


def _apart(found: Voices) -> dict[str, Any]:
    question = json.dumps({"answers": list(found.answers), "final": list(found.final.items())})
    command = [sys.executable, "-m", "labeler.rounds.agreement"]
    try:
        done = subprocess.run(command, input=question, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    except (subprocess.SubprocessError, OSError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip().splitlines()
        raise AgreementError(f"agreement could not be computed: {said[-1] if said else error}") from None
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def coefficients(answers: Answers, final: Mapping[int, str]) -> dict[str, Any]:
    """The figures of :func:`together` from (person, image, label), one per person and image."""
    said: dict[str, dict[int, str]] = {}
    for who, image, label in answers:
        said.setdefault(who, {})[image] = label
    names = sorted(said)
    people = [{"name": who, **_alike(said[who], final)} for who in names]
    pairs = [
        {"a": a, "b": b, **_alike(said[a], said[b])}
        for at, a in enumerate(names)
        for b in names[at + 1 :]
        if said[a].keys() & said[b].keys()
    ]
    return {
        "images": len({image for _, image, _ in answers}),
        "alpha": _alpha(answers),
        "people": people,
        "pairs": pairs,
    }


def _alike(a: Mapping[int, str], b: Mapping[int, str]) -> dict[str, Any]:
    """Share of common images with the same label, and Cohen's kappa: None where both use one label only."""
    common = sorted(a.keys() & b.keys())
    first, second = [a[image] for image in common], [b[image] for image in common]
    same = sum(x == y for x, y in zip(first, second, strict=True))
    kappa = None
    if len({*first, *second}) > 1:
        from sklearn.metrics import cohen_kappa_score

        kappa = float(cohen_kappa_score(first, second))
    return {"images": len(common), "agreement": same / len(common) if common else None, "kappa": kappa}


def _alpha(answers: Answers) -> float | None:
    """Krippendorff's alpha for nominal data; None where everybody used one label only: there is nothing to agree on."""
    if len(Counter(label for _, _, label in answers)) < 2:
        return None
    from nltk.metrics.agreement import AnnotationTask

    return float(AnnotationTask(data=[(who, str(image), label) for who, image, label in answers]).alpha())


def main() -> None:
    """The entry of ``python -m labeler.rounds.agreement``: the question on stdin, the figures on stdout."""
    asked = json.load(sys.stdin)
    answers = [(str(who), int(image), str(label)) for who, image, label in asked["answers"]]
    print(json.dumps(coefficients(answers, {int(image): str(label) for image, label in asked["final"]})))


if __name__ == "__main__":
    main()
