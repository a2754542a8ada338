"""Renewing the ranking: finish what is decided, learn what is new, and put the pool in a new order.

The worker does this while people go on labelling from the order before. It reads how far the decisions had come
before it looks at anything else, so what is answered meanwhile is never taken for learned.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from labeler import faults
from labeler.domain import ImageRef, Lane, NotTrainable
from labeler.rank.head import QuickModel
from labeler.record import accounts, images, models, queries, rankings
from labeler.record.store import Session
from labeler.record.tables import ModelVersion, Ranking
from labeler.rounds import loop, scan
from labeler.rounds.handout import RESERVE, reserve
from labeler.rounds.learning import Learner, Material
from labeler.rounds.order import Order, Timing, candidates, derived, ordered, pool_hash, said

#: Batches chosen with the strategy's full care, for people who work side by side. The rest goes by uncertainty.
BATCHES = 2
MISTAKES = 200
#: Vectors are made for so long before the pool is ranked, once there are of so many images: enough that the first
#: batches are chosen from a fair sample of a pool of any size.
EMBED_S, FIRST = 5.0, 2_000
HISTOGRAM_BINS = 20

Row = dict[str, Any]


def renew(learner: Learner) -> tuple[Ranking, int]:
    """Finish the decided rounds, train if anything is new, and swap in a new ranking.

    Of a pool that has just grown by thousands only what has vectors is ranked: people go on with that, and each
    further ranking takes in more.

    Returns:
        The ranking, and how many images of the pool wait for their vectors.

    Raises:
        LabelerError: a file could not be moved or read; everything decided is kept.
    """
    with learner.at_hand():
        return _renew(learner)


def _renew(learner: Learner) -> tuple[Ranking, int]:
    timing = Timing()
    finished = loop.finish_decided(learner)
    with timing.step("scan"):
        scan.scan(learner.store, learner.paths, learner.settings, learner.progress)
    with learner.store.read() as session:
        last_decision = queries.last_decision_id(session)
        skipped = images.skipped_ids(session)
        previous = rankings.newest(session)
        people = accounts.count(session)
    with timing.step("embed"):
        left = learner.embed_ahead(EMBED_S, FIRST)
        material = learner.everything()
    with timing.step("fit"):
        version, model = _model(learner, material, last_decision, trained=bool(finished))
        if version is not None:  # a network that was trained just now sees with other eyes
            material = learner.fitting(material, version)
    with timing.step("rank"):
        number = previous.id + 1 if previous is not None else 1
        rows = candidates(material, skipped)
        order = ordered(learner, material, model, rows, derived(learner.settings.seed, number)) if len(rows) else None
        strategy, lanes = _lanes(learner, order, reserve(people, learner.settings.k))
        lanes[Lane.MISTAKES] = mistakes(learner, material, version, model, last_decision)
    ranking = Ranking(
        model_version_id=version.id if version is not None else None,
        strategy=strategy,
        parameters={
            "asked": learner.settings.strategy,
            "backbone": learner.settings.backbone,
            "model": learner.settings.model,
        },
        seed=learner.settings.seed,
        backbone=version.backbone if version is not None else learner.configured.name,
        backbone_key=material.backbone_key,
        pool=len(rows),
        pool_hash=pool_hash([material.refs[index] for index in rows]),
        labelled=len(material.labelled),
        last_decision_id=last_decision,
        histogram=_histogram(order),
        timing=timing.seconds,
    )
    faults.point("ranking.made")
    with learner.store.write() as session:
        _swap(session, ranking, lanes)
    faults.point("ranking.swapped")
    return ranking, left


def _swap(session: Session, ranking: Ranking, lanes: dict[Lane, list[Row]]) -> None:
    rankings.swap(session, ranking, lanes)
    faults.point("ranking.written")


def _model(
    learner: Learner, material: Material, last_decision: int, *, trained: bool
) -> tuple[ModelVersion | None, QuickModel | None]:
    """The model in use, trained anew first when it does not know every decision.

    Under steady labelling there is always a newer decision: one that was ``trained`` a moment ago will do.
    """
    found = learner.model()
    if found is not None and (trained or models.learned_up_to(found[0]) >= last_decision):
        return found
    if not len(material.labelled):
        return None, None
    try:
        version, model = learner.train(material, seed=learner.settings.seed)
    except NotTrainable:  # one class so far: the images are chosen for their variety
        return found if found is not None else (None, None)
    learner.evaluate(version, model, material=material)
    return version, model


def _lanes(learner: Learner, order: Order | None, most: int) -> tuple[str, dict[Lane, list[Row]]]:
    settings = learner.settings
    if order is None:
        return settings.strategy, {Lane.MAIN: [], Lane.GRID: []}
    chosen = order.long(settings.strategy, settings.k, BATCHES, most)
    main = [{**order.said(at), "why": why} for at, why in zip(chosen.indices.tolist(), chosen.why, strict=True)]
    return chosen.strategy, {Lane.MAIN: main, Lane.GRID: _grid(order, settings.grid_confidence)}


def _grid(order: Order, least: float) -> list[Row]:
    """For pages of many at once: the least certain of those the model is fairly sure of first.

    Such a page teaches the most that a page can on which few suggestions are wrong. What the model is less sure of
    follows, surest first.
    """
    confidence = order.confidence
    if not len(order) or np.isnan(confidence).any():
        return []
    ids = np.array([order.ref(at).sha256 for at in range(len(order))])
    sure = confidence >= least
    key = np.where(sure, confidence, 2.0 - confidence)
    rows = np.lexsort((ids, key))[:RESERVE]
    return [{**order.said(at), "why": "grid"} for at in rows.tolist()]


def mistakes(
    learner: Learner, material: Material, version: ModelVersion | None, model: QuickModel | None, last_decision: int
) -> list[Row]:
    """Labelled images by how little heads that had not seen their label believe in it.

    Northcutt, Jiang, Chuang, "Confident Learning" (2021): out-of-fold probabilities find wrong labels; those of a
    model that has learned the label by heart do not.
    """
    if model is None or version is None or model.head.out_of_fold is None:
        return []
    refs: Sequence[ImageRef] = [material.refs[row] for row in material.labelled]
    y = material.y[material.labelled]
    if learner.fitted is not None and learner.fitted[0] == version.id:
        _, refs, y = learner.fitted
    elif version.last_decision_id < last_decision:
        return []  # an older model, and which images it learned from is not at hand
    held_out = model.head.out_of_fold
    if len(held_out) != len(y):
        return []
    own = held_out[np.arange(len(y)), y]
    disputed = np.flatnonzero(own < held_out.max(axis=1))
    ids = np.array([refs[at].sha256 for at in disputed.tolist()])
    ranked = disputed[np.lexsort((ids, own[disputed]))][:MISTAKES]
    classes = learner.settings.classes
    return [
        {
            "image_id": refs[at].id,
            **said(held_out[at], classes),
            "uncertainty": float(own[at]),
            "why": "disputed",
        }
        for at in ranked.tolist()
    ]


def _histogram(order: Order | None) -> list[int]:
    if order is None or np.isnan(order.uncertainty).any():
        return []
    counts, _ = np.histogram(order.uncertainty, bins=HISTOGRAM_BINS, range=(0.0, 1.0))
    return [int(count) for count in counts]
