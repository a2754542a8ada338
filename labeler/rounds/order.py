"""The pool in an order: what the model says of each candidate, and which a strategy chooses first."""

from __future__ import annotations

import contextlib
import hashlib
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from labeler.domain import AUDIT, ImageRef
from labeler.rank import registry, strategies
from labeler.rank.features import FeatureMap
from labeler.rank.head import QuickModel
from labeler.rank.strategies import Pool
from labeler.rank.vectors import Part, Transformed
from labeler.rounds.learning import Learner, Material

Indices = npt.NDArray[np.int64]

_LOT = 1  # keeps the audit's random numbers apart from the strategy's


class Timing:
    """Seconds by step; the steps of one round add up over the processes that worked on it."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    @contextlib.contextmanager
    def step(self, name: str) -> Iterator[None]:
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - start

    def added_to(self, stored: Mapping[str, float]) -> dict[str, float]:
        names = [*stored, *(name for name in self.seconds if name not in stored)]
        return {name: stored.get(name, 0.0) + self.seconds.get(name, 0.0) for name in names}


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """Rows of the candidates in the order they are to be asked about, and why each.

    Attributes:
        indices: (k,) positions in the candidates.
        why: one word for each.
        strategy: the one that chose the first of them.
    """

    indices: Indices
    why: Sequence[str]
    strategy: str


class Order:
    """Candidates with what the model says of them; computed once, asked as often as needed.

    Args:
        classes: names in order.
        material: pool and training images.
        model: None before a first one.
        features: the vector recipe; that of the model where there is one.
        rows: (n,) rows of the material that may be chosen.
        seed: of everything random.
        audit: share of every batch that is drawn by lot instead, in [0, 1].
        vectors: (N, D) the recipe's vectors of all of the material, where they are at hand.
    """

    def __init__(
        self,
        classes: Sequence[str],
        material: Material,
        model: QuickModel | None,
        features: FeatureMap,
        rows: Indices,
        seed: int,
        *,
        audit: float = 0.0,
        vectors: npt.NDArray[np.float32] | None = None,
    ) -> None:
        self._classes, self._audit = classes, audit
        self._material, self._rows, self._seed = material, rows, seed
        self._has_model = model is not None
        # Most strategies look at a few thousand images: the vectors of the others are never all there at once.
        source = Transformed(material.raw, features) if vectors is None else vectors
        self._pool = Pool(
            vectors=Part(source, rows),
            ids=np.array([material.refs[index].sha256 for index in rows]),
            probabilities=None if model is None else _said_by(model, material.raw, rows, vectors),
            labelled_vectors=source[material.labelled],
            labelled_y=material.y[material.labelled],
        )

    def __len__(self) -> int:
        return len(self._rows)

    @cached_property
    def uncertainty(self) -> npt.NDArray[np.float64]:
        """(n,), NaN before a first model."""
        p = self._pool.probabilities
        return np.full(len(self), np.nan) if p is None else strategies.uncertainty_of(p)

    @property
    def confidence(self) -> npt.NDArray[np.float64]:
        """(n,) probability of the class that is suggested, NaN before a first model."""
        p = self._pool.probabilities
        return np.full(len(self), np.nan) if p is None else p.max(axis=1)

    def ref(self, at: int) -> ImageRef:
        ref: ImageRef = self._material.refs[int(self._rows[at])]
        return ref

    def said(self, at: int) -> dict[str, Any]:
        """What the model says of a candidate, in the columns of a proposal."""
        row: dict[str, Any] = {"image_id": self.ref(at).id, "probability": None, "uncertainty": None, "predicted": None}
        p = self._pool.probabilities
        if p is not None:
            row |= said(p[at], self._classes)
            row["uncertainty"] = float(self.uncertainty[at])
        return row

    def choose(self, strategy: str, k: int) -> Chosen:
        """The first k by a strategy; ``auto`` and strategies that need a model before there is one go by the rule.

        The audit's share stands last. It is drawn from all candidates before the strategy looks at what is left.
        """
        return self._batch(self._named(strategy, k), np.arange(len(self)), k, self._seed)

    def long(self, strategy: str, k: int, batches: int, most: int) -> Chosen:
        """An order for several batches: each chosen by the strategy from what the earlier ones left.

        After that many batches the rest follows by uncertainty, or by lot before a first model, up to ``most``.
        """
        first = self.choose(strategy, k)
        indices, why = first.indices, list(first.why)
        for number in range(1, batches):
            left = self._without(indices)
            if not len(left):
                break
            more = self._batch(first.strategy, left, k, self._seed + number)
            indices = np.concatenate([indices, more.indices])
            why += more.why
        left = self._without(indices)
        wanted = min(len(left), most - len(indices))
        if wanted > 0:
            rest = strategies.select(
                "uncertainty" if self._has_model else "random", self._part(left), wanted, seed=self._seed
            )
            indices = np.concatenate([indices, left[rest.indices]])
            why += rest.why
        return Chosen(indices, why, first.strategy)

    def _batch(self, strategy: str, rows: Indices, k: int, seed: int) -> Chosen:
        """One batch of k from some of the candidates."""
        drawn = self._drawn(rows, k, seed)
        left = rows[~np.isin(rows, drawn)] if len(drawn) else rows
        if not len(left):
            return Chosen(drawn, (AUDIT,) * len(drawn), strategy)
        made = strategies.select(strategy, self._part(left), k - len(drawn), seed=seed)
        why = (*(made.why or ("",) * len(made.indices)), *(AUDIT,) * len(drawn))
        return Chosen(np.concatenate([left[made.indices], drawn]), why, strategy)

    def _drawn(self, rows: Indices, k: int, seed: int) -> Indices:
        """The audit's share of a batch of k, by lot; a fraction of an image is an image as often as that."""
        share = self._audit * k
        if share <= 0:
            return np.empty(0, dtype=np.int64)
        rng = np.random.default_rng([seed, _LOT])
        wanted = min(int(share) + int(rng.random() < share % 1), k - 1, len(rows))
        by_id = rows[np.argsort(self._pool.ids[rows], kind="stable")]
        return by_id[rng.choice(len(rows), size=wanted, replace=False)].astype(np.int64)

    def _named(self, asked: str, k: int) -> str:
        if asked != "auto" and (self._has_model or not registry.get(asked).needs_model):
            return asked
        counts = np.bincount(self._pool.labelled_y, minlength=len(self._classes)).tolist()
        p = self._pool.probabilities
        expected = None if p is None else p.mean(axis=0)
        return strategies.default_strategy(k=k, has_model=self._has_model, counts=counts, expected=expected)

    def _without(self, indices: Indices) -> Indices:
        left = np.ones(len(self), dtype=np.bool_)
        left[indices] = False
        return np.flatnonzero(left)

    def _part(self, rows: Indices) -> Pool:
        return self._pool if len(rows) == len(self) else self._pool.part(rows)


def _said_by(
    model: QuickModel, raw: npt.NDArray[np.floating], rows: Indices, vectors: npt.NDArray[np.float32] | None
) -> npt.NDArray[np.float64]:
    """Probabilities of some rows: from their vectors where those are at hand."""
    return model.predict_proba(raw, rows) if vectors is None else model.predict_vectors(vectors[rows], raw[rows])


def ordered(learner: Learner, material: Material, model: QuickModel | None, rows: Indices, seed: int) -> Order:
    """The candidates of a workspace in the order of its settings."""
    features = model.features if model is not None else learner.feature_map(material)
    settings = learner.settings
    return Order(settings.classes, material, model, features, rows, seed, audit=settings.audit)


def said(probabilities: npt.NDArray[np.float64], classes: Sequence[str]) -> dict[str, Any]:
    """``probability`` and ``predicted`` of one image as the contract defines them."""
    best = int(np.argmax(probabilities))
    column = 0 if len(classes) == 2 else best
    return {"probability": float(probabilities[column]), "predicted": classes[best]}


def candidates(material: Material, skipped: set[int]) -> Indices:
    """Rows of the material that may be proposed; skipped images only when nothing else is left."""
    unlabelled = material.waiting
    fresh = np.array([row for row in unlabelled.tolist() if material.refs[row].id not in skipped], dtype=np.int64)
    return fresh if len(fresh) else unlabelled


def derived(seed: int, number: int) -> int:
    """A seed of this round's own, so that two rounds of one workspace do not draw alike."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def pool_hash(refs: Sequence[ImageRef]) -> str:
    """One digest for a set of images in order."""
    digest = hashlib.sha256()
    for ref in refs:
        digest.update(bytes.fromhex(ref.sha256))
    return digest.hexdigest()
