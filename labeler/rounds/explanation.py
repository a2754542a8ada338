"""Why an image was chosen: what the model said of it, and the labelled images it is most like."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from labeler.domain import ImageRef, Split, UnknownName
from labeler.embed.cache import VectorCache
from labeler.embed.service import STORED
from labeler.rank.features import FeatureMap
from labeler.record import images, queries
from labeler.record.tables import Image
from labeler.rounds.learning import Learner

NEIGHBOURS = 3


@dataclass(frozen=True, slots=True)
class Neighbour:
    """A labelled image; ``similarity`` is the cosine of the two vectors, at most 1."""

    image_id: int
    sha256: str
    label: str
    similarity: float


@dataclass(frozen=True, slots=True)
class Explanation:
    """What the newest round that proposed the image said of it; without one everything but the neighbours is empty."""

    image_id: int
    probability: float | None
    uncertainty: float | None
    predicted: str | None
    why: str
    strategy: str
    neighbours: tuple[Neighbour, ...]


def explain(learner: Learner, image_id: int) -> Explanation:
    """Explain one image from what is on record and in the cache of vectors; computes no vector.

    Raises:
        UnknownName: no such image.
    """
    with learner.store.read() as session:
        image = session.get(Image, image_id)
        if image is None:
            raise UnknownName(f"no image {image_id} in this workspace", "reload the page")
        found = queries.newest_proposal(session, image_id)
        labelled = [ref for ref in images.refs(session, Split.TRAIN) if ref.label and ref.id != image_id]
    proposal, strategy = found if found is not None else (None, "")
    return Explanation(
        image_id=image_id,
        probability=proposal.probability if proposal is not None else None,
        uncertainty=proposal.uncertainty if proposal is not None else None,
        predicted=proposal.predicted if proposal is not None else None,
        why=proposal.why if proposal is not None else "",
        strategy=strategy,
        neighbours=_neighbours(learner, image.sha256, labelled),
    )


def _neighbours(learner: Learner, sha256: str, labelled: Sequence[ImageRef]) -> tuple[Neighbour, ...]:
    """The nearest labelled images by the vectors that the head sees."""
    cache = VectorCache(learner.paths.vectors / learner.backbone.key, learner.backbone.dimension, STORED)
    absent = set(cache.missing([sha256, *(ref.sha256 for ref in labelled)]))
    known = [ref for at, ref in enumerate(labelled, start=1) if at not in absent]
    if 0 in absent or not known:
        return ()
    raw = cache.gather([sha256, *(ref.sha256 for ref in known)])
    found = learner.model()
    features: FeatureMap = found[1].features if found is not None else FeatureMap.fit(raw, learner.parts)
    vectors = features.transform(raw).astype(np.float32)
    vectors /= np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    similarity = vectors[1:] @ vectors[0]
    nearest = np.lexsort((np.array([ref.sha256 for ref in known]), -similarity))[:NEIGHBOURS]
    return tuple(
        Neighbour(known[at].id, known[at].sha256, known[at].label or "", round(float(similarity[at]), 4))
        for at in nearest.tolist()
    )
